//! Decides whether a topic holds what its producers were promised. Pure.
//!
//! It is fed the outcomes first, then every record of every partition in the order a consumer got
//! them. What it holds:
//!
//! - every acked value is read, at the offset of its ack;
//! - no value is read twice;
//! - offsets run from log start to end without a hole;
//! - the values of one run in one partition come in the order they were sent;
//! - nothing is read that was refused, or that nobody sent.
//!
//! It assumes idempotent producers and a topic that is neither compacted nor transactional; a
//! value below log start was pruned and is not lost.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{History, Outcome, ValueId};

/// Kept of each kind; the count says how many there were.
const EXAMPLES_MAX: usize = 10;

/// One broken promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "anomaly", rename_all = "kebab-case")]
pub enum Anomaly {
    /// Acked at this offset, and read nowhere.
    Lost { value: ValueId, offset: i64 },
    /// Read at more than one offset.
    Duplicate { value: ValueId, first: i64, again: i64 },
    /// Acked at one offset, read at another.
    Moved { value: ValueId, acked_at: i64, read_at: i64 },
    /// Offsets `[from, to)` should be there and were not read.
    Gap { partition: i32, from: i64, to: i64 },
    /// A consumer that asked for one partition in order was given an offset it already had.
    Backwards { partition: i32, expected: i64, got: i64 },
    /// A later value of the same run stands before it.
    Reordered { value: ValueId, offset: i64, after_seq: u64 },
    /// Read, although its producer was told for certain that it was not stored.
    RefusedButRead { value: ValueId, offset: i64, why: String },
    /// A record that no known run sent here, or whose bytes were altered.
    Foreign { partition: i32, offset: i64, value: Option<ValueId> },
    /// One value was acked twice, or two values at one offset.
    AckedTwice { value: ValueId, offset: i64 },
}

impl Anomaly {
    fn kind(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Duplicate { .. } => "duplicate",
            Self::Moved { .. } => "moved",
            Self::Gap { .. } => "gap",
            Self::Backwards { .. } => "backwards",
            Self::Reordered { .. } => "reordered",
            Self::RefusedButRead { .. } => "refused-but-read",
            Self::Foreign { .. } => "foreign",
            Self::AckedTwice { .. } => "acked-twice",
        }
    }
}

/// What the checker found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Verdict {
    pub acked: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Unknown to the producer, and found in the topic.
    pub unknown_read: u64,
    /// Acked, but the log starts above them now.
    pub below_log_start: u64,
    pub records_read: u64,
    pub partitions: usize,
    /// How often each kind of anomaly was found.
    pub anomalies: BTreeMap<&'static str, u64>,
    /// The first few of each kind.
    pub examples: Vec<Anomaly>,
}

impl Verdict {
    pub fn is_clean(&self) -> bool {
        self.anomalies.is_empty()
    }

    fn add(&mut self, anomaly: Anomaly) {
        let kind = anomaly.kind();
        *self.anomalies.entry(kind).or_default() += 1;
        if self.examples.iter().filter(|known| known.kind() == kind).count() < EXAMPLES_MAX {
            self.examples.push(anomaly);
        }
    }
}

/// What is known of one value.
#[derive(Debug, Clone, Default)]
struct Known {
    outcome: Option<Outcome>,
    read_at: Option<i64>,
}

/// One run's values in one partition, by number.
#[derive(Debug, Default)]
struct Stream {
    values: Vec<Known>,
    last_read: Option<u64>,
}

/// How far one partition was read.
#[derive(Debug)]
struct Progress {
    log_start: i64,
    next: i64,
    end: i64,
}

/// Collects outcomes and records; [`Self::finish`] gives the verdict.
#[derive(Debug, Default)]
pub struct Checker {
    streams: BTreeMap<(u64, i32), Stream>,
    runs: Vec<u64>,
    progress: BTreeMap<i32, Progress>,
    verdict: Verdict,
}

impl Checker {
    pub fn new(history: &History) -> Self {
        let runs = history.runs.iter().map(|run| run.run).collect();
        let mut checker = Self { runs, ..Self::default() };
        let mut acked_at = BTreeMap::new();
        for sent in &history.sent {
            match &sent.outcome {
                Outcome::Acked { offset } => {
                    checker.verdict.acked += 1;
                    let other = acked_at.insert((sent.value.partition, *offset), sent.value);
                    if other.is_some() {
                        let (value, offset) = (sent.value, *offset);
                        checker.verdict.add(Anomaly::AckedTwice { value, offset });
                    }
                }
                Outcome::Refused { .. } => checker.verdict.refused += 1,
                Outcome::Unknown { .. } => checker.verdict.unknown += 1,
            }
            checker.known(sent.value).outcome = Some(sent.outcome.clone());
        }
        checker
    }

    /// Partition `partition` is about to be read from `log_start` to `end`.
    pub fn open(&mut self, partition: i32, log_start: i64, end: i64) {
        self.progress.insert(partition, Progress { log_start, next: log_start, end });
        self.verdict.partitions = self.progress.len();
    }

    /// A record was read; `value` is `None` if it is not one of ours.
    pub fn read(&mut self, partition: i32, offset: i64, value: Option<ValueId>) {
        self.verdict.records_read += 1;
        let progress = self.progress.get_mut(&partition).expect("a partition is opened, then read");
        let expected = progress.next;
        progress.next = expected.max(offset + 1);
        if offset > expected {
            self.verdict.add(Anomaly::Gap { partition, from: expected, to: offset });
        } else if offset < expected {
            self.verdict.add(Anomaly::Backwards { partition, expected, got: offset });
        }
        match value {
            Some(value) if value.partition == partition && self.runs.contains(&value.run) => {
                self.read_value(value, offset);
            }
            value => self.verdict.add(Anomaly::Foreign { partition, offset, value }),
        }
    }

    fn read_value(&mut self, value: ValueId, offset: i64) {
        let known = self.known(value);
        if let Some(first) = known.read_at {
            self.verdict.add(Anomaly::Duplicate { value, first, again: offset });
            return;
        }
        known.read_at = Some(offset);
        match known.outcome.clone() {
            Some(Outcome::Acked { offset: acked_at }) if acked_at != offset => {
                self.verdict.add(Anomaly::Moved { value, acked_at, read_at: offset });
            }
            Some(Outcome::Acked { .. }) => {}
            Some(Outcome::Refused { why }) => {
                self.verdict.add(Anomaly::RefusedButRead { value, offset, why });
            }
            Some(Outcome::Unknown { .. }) | None => self.verdict.unknown_read += 1,
        }
        let stream = self.streams.get_mut(&(value.run, value.partition)).expect("known made it");
        match stream.last_read {
            Some(after_seq) if after_seq > value.seq => {
                self.verdict.add(Anomaly::Reordered { value, offset, after_seq });
            }
            _ => stream.last_read = Some(value.seq),
        }
    }

    /// Every partition was read as far as it goes.
    pub fn finish(mut self) -> Verdict {
        for (&partition, progress) in &self.progress {
            if progress.next < progress.end {
                let (from, to) = (progress.next, progress.end);
                self.verdict.add(Anomaly::Gap { partition, from, to });
            }
        }
        for (&(run, partition), stream) in &self.streams {
            let log_start = self.progress.get(&partition).map_or(0, |found| found.log_start);
            for (seq, known) in (0..).zip(&stream.values) {
                if let (Some(Outcome::Acked { offset }), None) = (&known.outcome, known.read_at) {
                    if *offset < log_start {
                        self.verdict.below_log_start += 1;
                    } else {
                        let (value, offset) = (ValueId { run, partition, seq }, *offset);
                        self.verdict.add(Anomaly::Lost { value, offset });
                    }
                }
            }
        }
        self.verdict
    }

    fn known(&mut self, value: ValueId) -> &mut Known {
        let stream = self.streams.entry((value.run, value.partition)).or_default();
        let index = usize::try_from(value.seq).expect("this program is for 64-bit machines");
        if stream.values.len() <= index {
            stream.values.resize(index + 1, Known::default());
        }
        &mut stream.values[index]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RunInfo, Sent};
    use super::*;

    const RUN: u64 = 77;

    fn value(seq: u64) -> ValueId {
        ValueId { run: RUN, partition: 0, seq }
    }

    /// `acked 0@5`, `unknown 1`, `refused 2`, one per comma.
    fn history(script: &str) -> History {
        let mut history = History::default();
        let run = RunInfo { run: RUN, topic: "t".to_owned(), partitions: 1 };
        history.open_run(run).expect("no file is involved");
        for step in script.split(", ").filter(|step| !step.is_empty()) {
            let (word, rest) = step.split_once(' ').expect("word and number");
            let (seq, outcome) = match word {
                "acked" => {
                    let (seq, offset) = rest.split_once('@').expect("seq@offset");
                    (seq, Outcome::Acked { offset: offset.parse().expect("an offset") })
                }
                "unknown" => (rest, Outcome::Unknown { why: "timed out".to_owned() }),
                "refused" => (rest, Outcome::Refused { why: "too large".to_owned() }),
                other => panic!("no such outcome: {other}"),
            };
            let seq = seq.parse().expect("a number");
            history.push(Sent { value: value(seq), outcome }).expect("no file is involved");
        }
        history
    }

    /// Reads `reads` as (offset, seq) from a log `[log_start, end)` and names the anomalies found.
    fn verdict(script: &str, (log_start, end): (i64, i64), reads: &[(i64, u64)]) -> Verdict {
        let mut checker = Checker::new(&history(script));
        checker.open(0, log_start, end);
        for &(offset, seq) in reads {
            checker.read(0, offset, Some(value(seq)));
        }
        checker.finish()
    }

    #[track_caller]
    fn check(script: &str, range: (i64, i64), reads: &[(i64, u64)], expected: &[(&str, u64)]) {
        let verdict = verdict(script, range, reads);
        let found: Vec<(&str, u64)> = verdict.anomalies.iter().map(|(k, n)| (*k, *n)).collect();
        assert_eq!(found, expected, "{:?}", verdict.examples);
        assert_eq!(verdict.is_clean(), expected.is_empty());
    }

    #[test]
    fn a_log_that_holds_what_was_acked_is_clean() {
        check("acked 0@0, acked 1@1, acked 2@2", (0, 3), &[(0, 0), (1, 1), (2, 2)], &[]);
        check("", (0, 0), &[], &[]);
    }

    #[test]
    fn an_acked_value_that_nobody_reads_is_lost() {
        check("acked 0@0, acked 1@1", (0, 1), &[(0, 0)], &[("lost", 1)]);
    }

    #[test]
    fn an_unknown_value_may_be_there_or_not() {
        let script = "acked 0@0, unknown 1, acked 2@1";
        check(script, (0, 2), &[(0, 0), (1, 2)], &[]);
        let found = verdict("acked 0@0, unknown 1", (0, 2), &[(0, 0), (1, 1)]);
        assert!(found.is_clean());
        assert_eq!((found.unknown, found.unknown_read), (1, 1));
    }

    #[test]
    fn a_value_without_any_outcome_is_unknown_too() {
        // Its producer was killed before the answer came.
        check("acked 0@0", (0, 2), &[(0, 0), (1, 1)], &[]);
    }

    #[test]
    fn a_value_at_two_offsets_is_a_duplicate() {
        check("acked 0@0", (0, 2), &[(0, 0), (1, 0)], &[("duplicate", 1)]);
        check("unknown 0", (0, 2), &[(0, 0), (1, 0)], &[("duplicate", 1)]);
    }

    #[test]
    fn a_value_away_from_its_acked_offset_was_moved() {
        check("acked 0@1", (0, 1), &[(0, 0)], &[("moved", 1)]);
    }

    #[test]
    fn a_hole_between_offsets_at_the_start_or_at_the_end_is_a_gap() {
        check("acked 0@0, acked 1@2", (0, 3), &[(0, 0), (2, 1)], &[("gap", 1)]);
        check("acked 0@1", (0, 2), &[(1, 0)], &[("gap", 1)]);
        check("acked 0@0", (0, 2), &[(0, 0)], &[("gap", 1)]);
    }

    #[test]
    fn an_offset_that_comes_again_went_backwards() {
        let expected = [("backwards", 1), ("duplicate", 1)];
        check("acked 0@0, acked 1@1", (0, 2), &[(0, 0), (1, 1), (1, 1)], &expected);
    }

    #[test]
    fn a_value_behind_a_later_one_was_reordered() {
        let script = "unknown 0, unknown 1";
        check(script, (0, 2), &[(0, 1), (1, 0)], &[("reordered", 1)]);
    }

    #[test]
    fn a_refused_value_must_not_be_read() {
        check("refused 0", (0, 1), &[(0, 0)], &[("refused-but-read", 1)]);
        check("refused 0", (0, 0), &[], &[]);
    }

    #[test]
    fn a_record_nobody_sent_here_is_foreign() {
        let elsewhere = ValueId { partition: 1, ..value(0) };
        let other_run = ValueId { run: RUN + 1, ..value(0) };
        for record in [None, Some(elsewhere), Some(other_run)] {
            let mut checker = Checker::new(&history(""));
            checker.open(0, 0, 1);
            checker.read(0, 0, record);
            assert_eq!(checker.finish().anomalies, BTreeMap::from([("foreign", 1)]), "{record:?}");
        }
    }

    #[test]
    fn two_values_acked_at_one_offset_break_a_promise_whatever_is_read() {
        let expected = [("acked-twice", 1), ("lost", 1)];
        check("acked 0@0, acked 1@0", (0, 1), &[(0, 0)], &expected);
    }

    #[test]
    fn a_pruned_value_is_not_lost() {
        let script = "acked 0@0, acked 1@1";
        check(script, (1, 2), &[(1, 1)], &[]);
        assert_eq!(verdict(script, (1, 2), &[(1, 1)]).below_log_start, 1);
    }

    #[test]
    fn examples_are_few_and_counts_are_whole() {
        let script: Vec<String> = (0..50).map(|n| format!("acked {n}@{n}")).collect();
        let found = verdict(&script.join(", "), (0, 0), &[]);
        assert_eq!(found.anomalies.get("lost"), Some(&50));
        assert_eq!(found.examples.len(), EXAMPLES_MAX);
    }
}
