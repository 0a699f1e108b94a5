//! Which segments of a partition's chain retention takes, and why.
//!
//! One pure function over what metadata knows: [`judge`]. Segments go oldest first, whole, and
//! the first that stays keeps all after it. The open segment cannot go; when it should,
//! the answer says to roll it first, and the next round takes it. The shell turns the answer into
//! a Prune command; the files are unlinked after that is applied. When a segment will go is told by
//! [`backlog`](crate::backlog), from the same rules.
//!
//! The rules are Kafka's: `retention.ms` counts from a segment's greatest timestamp,
//! `retention.bytes` takes a segment only while what remains is not less than the limit. Beside
//! them stands the number of sealed segments, `WALRUS_RETENTION_GENERATIONS`.

use std::fmt;

use walrus_types::{Epoch, Offset, TimestampMs};

/// What is kept. `None` is no limit (Kafka's -1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Keep {
    /// `retention.ms`.
    pub ms: Option<u64>,
    /// `retention.bytes`.
    pub bytes: Option<u64>,
    /// The most sealed segments.
    pub generations: Option<usize>,
}

/// A segment, as far as retention looks at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Its number.
    pub epoch: Epoch,
    /// Its first offset.
    pub base: Offset,
    /// The offset after its last; of an open one, its commit offset.
    pub end: Offset,
    /// Its size.
    pub bytes: u64,
    /// Greatest timestamp of its batches, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// When a broker last knew it to be written to: the time of its seal, or of the open
    /// segment's last append. Batches cannot be younger, so their timestamps count for no more
    /// than this: one from the future would hold the chain for ever (L10).
    pub written_at: Option<TimestampMs>,
}

/// Why a segment goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// All of it lies below the log start.
    BelowLogStart {
        /// The log start.
        log_start: Offset,
    },
    /// Its newest record is too old.
    TooOld {
        /// How old that is.
        age_ms: u64,
        /// `retention.ms`.
        keep_ms: u64,
    },
    /// The chain is large enough without it.
    TooLarge {
        /// What remains when it is gone.
        rest_bytes: u64,
        /// `retention.bytes`.
        keep_bytes: u64,
    },
    /// There are too many sealed segments.
    TooMany {
        /// Sealed segments, with this one.
        sealed: usize,
        /// The most that stay.
        keep: usize,
    },
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BelowLogStart { log_start } => write!(f, "it ends below log start {log_start}"),
            Self::TooOld { age_ms, keep_ms } => {
                write!(f, "its newest record is {age_ms} ms old, retention.ms is {keep_ms}")
            }
            Self::TooLarge { rest_bytes, keep_bytes } => {
                write!(f, "{rest_bytes} bytes remain without it, retention.bytes is {keep_bytes}")
            }
            Self::TooMany { sealed, keep } => {
                write!(f, "it is the oldest of {sealed} sealed segments, {keep} are kept")
            }
        }
    }
}

/// What retention asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The log start once the segments are gone; never below what it was.
    pub log_start: Offset,
    /// Sealed segments that go, oldest first.
    pub drop: Vec<(Epoch, Why)>,
    /// The open segment should go too: roll it, and judge again.
    pub roll_first: Option<Why>,
    /// The first segment that stays, and what it still lacks to go; the open one where no sealed
    /// one stays.
    pub next: Option<Next>,
}

/// The segment that goes next, and what that is still away: whichever comes first takes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Its number.
    pub epoch: Epoch,
    /// Its size.
    pub bytes: u64,
    /// When it is too old, where time takes it.
    pub too_old_from: Option<TimestampMs>,
    /// How many more bytes have to come after it, where size takes it.
    pub lacking_bytes: Option<u64>,
    /// How many more segments have to be sealed, where their number takes it.
    pub lacking_seals: Option<usize>,
}

impl Next {
    fn of(segment: &Segment, rest: Rest, keep: &Keep) -> Option<Self> {
        let next = Self {
            epoch: segment.epoch,
            bytes: segment.bytes,
            too_old_from: too_old_from(segment, keep),
            lacking_bytes: lacking_bytes(rest.bytes, keep),
            lacking_seals: lacking_seals(rest.sealed, keep),
        };
        let lacks_nothing_known = next.too_old_from.is_none()
            && next.lacking_bytes.is_none()
            && next.lacking_seals.is_none();
        (!lacks_nothing_known).then_some(next)
    }
}

/// Judges a chain: its sealed segments, oldest first, and the open one if there is one.
///
/// # Panics
/// When the chain has gaps or is out of order: metadata promised otherwise.
#[must_use]
pub fn judge(
    sealed: &[Segment],
    open: Option<&Segment>,
    log_start: Offset,
    keep: &Keep,
    now: TimestampMs,
) -> Decision {
    let chain = || sealed.iter().chain(open);
    for (old, new) in chain().zip(chain().skip(1)) {
        let follows = old.epoch < new.epoch && old.end == new.base;
        assert!(follows, "the chain breaks between epochs {} and {}", old.epoch, new.epoch);
    }
    let mut decision = Decision { log_start, drop: Vec::new(), roll_first: None, next: None };
    let mut bytes: u64 = chain().map(|segment| segment.bytes).sum();
    for (at, segment) in sealed.iter().enumerate() {
        let rest = Rest { sealed: sealed.len() - at, bytes: bytes - segment.bytes };
        let Some(why) = below_log_start(segment, log_start)
            .or_else(|| too_many(rest, keep))
            .or_else(|| too_old_or_large(segment, rest, keep, now))
        else {
            decision.next = Next::of(segment, rest, keep);
            return decision;
        };
        decision.drop.push((segment.epoch, why));
        decision.log_start = decision.log_start.max(segment.end);
        bytes = rest.bytes;
    }
    if let Some(open) = open.filter(|open| open.end > open.base) {
        let rest = Rest { sealed: 0, bytes: bytes - open.bytes };
        // Deleted records alone are no reason to roll: a consumer of a queue-like topic deletes
        // all the time, and the next roll for size is soon enough.
        decision.roll_first = too_old_or_large(open, rest, keep, now);
        if decision.roll_first.is_none() {
            decision.next = Next::of(open, rest, keep);
        }
    }
    decision
}

/// What the chain is around the segment that is looked at: the oldest that is left.
#[derive(Clone, Copy)]
struct Rest {
    /// Sealed segments from this one on.
    sealed: usize,
    /// Bytes after this one.
    bytes: u64,
}

fn below_log_start(segment: &Segment, log_start: Offset) -> Option<Why> {
    (segment.end <= log_start).then_some(Why::BelowLogStart { log_start })
}

fn too_many(rest: Rest, keep: &Keep) -> Option<Why> {
    (lacking_seals(rest.sealed, keep)? == 0)
        .then(|| Why::TooMany { sealed: rest.sealed, keep: keep.generations.unwrap_or(0) })
}

fn too_old_or_large(segment: &Segment, rest: Rest, keep: &Keep, now: TimestampMs) -> Option<Why> {
    let too_old = || {
        let age_ms = now.0.saturating_sub(newest(segment)?.0);
        (now >= too_old_from(segment, keep)?).then_some(Why::TooOld {
            age_ms: u64::try_from(age_ms).unwrap_or(0),
            keep_ms: keep.ms?,
        })
    };
    let too_large = || {
        (lacking_bytes(rest.bytes, keep)? == 0)
            .then_some(Why::TooLarge { rest_bytes: rest.bytes, keep_bytes: keep.bytes? })
    };
    too_old().or_else(too_large)
}

/// The first moment at which a segment is too old; `None` where it never is.
pub(crate) fn too_old_from(segment: &Segment, keep: &Keep) -> Option<TimestampMs> {
    let keep_ms = i64::try_from(keep.ms?).unwrap_or(i64::MAX);
    Some(TimestampMs(newest(segment)?.0.saturating_add(keep_ms).saturating_add(1)))
}

/// How many bytes more have to follow a segment before the chain is large enough without it;
/// `None` where it always is too small.
pub(crate) fn lacking_bytes(rest_bytes: u64, keep: &Keep) -> Option<u64> {
    Some(keep.bytes?.saturating_sub(rest_bytes))
}

/// How many segments more have to be sealed before one, from which on so many are, is one too many;
/// `None` where none ever is.
pub(crate) fn lacking_seals(sealed: usize, keep: &Keep) -> Option<usize> {
    Some(keep.generations?.saturating_add(1).saturating_sub(sealed))
}

/// The time of a segment's newest record, as far as it can be believed. Batches without any
/// timestamp are as old as their writing.
fn newest(segment: &Segment) -> Option<TimestampMs> {
    let claimed = Some(segment.max_timestamp).filter(|time| *time > TimestampMs::NONE);
    match (claimed, segment.written_at) {
        (Some(claimed), Some(written)) => Some(claimed.min(written)),
        (claimed, written) => claimed.or(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_000;

    /// A chain out of `bytes@timestamp` or `bytes@timestamp/written`, ten offsets each; the last
    /// is the open one.
    fn chain(text: &str) -> (Vec<Segment>, Segment) {
        let segment = |(at, text): (usize, &str)| {
            let (bytes, times) = text.split_once('@').unwrap();
            let (timestamp, written) = match times.split_once('/') {
                Some((timestamp, written)) => (timestamp, Some(written.parse().unwrap())),
                None => (times, None),
            };
            let at = i32::try_from(at).unwrap();
            let bytes = bytes.parse().unwrap();
            Segment {
                epoch: Epoch(at + 1),
                base: Offset(i64::from(at) * 10),
                end: Offset(i64::from(at) * 10 + if bytes == 0 { 0 } else { 10 }),
                bytes,
                max_timestamp: TimestampMs(timestamp.parse().unwrap()),
                written_at: written.map(TimestampMs),
            }
        };
        let mut all: Vec<Segment> = text.split_whitespace().enumerate().map(segment).collect();
        let open = all.pop().unwrap();
        (all, open)
    }

    fn word(why: Why) -> &'static str {
        match why {
            Why::BelowLogStart { .. } => "below",
            Why::TooOld { .. } => "old",
            Why::TooLarge { .. } => "large",
            Why::TooMany { .. } => "many",
        }
    }

    #[track_caller]
    fn check(keep: &Keep, log_start: i64, segments: &str, expected: &str) {
        let (sealed, open) = chain(segments);
        let decision = judge(&sealed, Some(&open), Offset(log_start), keep, TimestampMs(NOW));
        let mut said = format!("start={}", decision.log_start);
        for (epoch, why) in &decision.drop {
            said += &format!(" {epoch}:{}", word(*why));
        }
        if let Some(why) = decision.roll_first {
            said += &format!(" roll:{}", word(why));
        }
        assert_eq!(said, expected, "{segments}");
    }

    const ALL: Keep = Keep { ms: None, bytes: None, generations: None };
    const HUNDRED_MS: Keep = Keep { ms: Some(100), ..ALL };
    const HUNDRED_BYTES: Keep = Keep { bytes: Some(100), ..ALL };

    #[test]
    fn without_limits_everything_stays() {
        check(&ALL, 0, "50@1 50@2 50@3", "start=0");
    }

    #[test]
    fn a_segment_goes_when_its_newest_record_is_older_than_retention() {
        check(&HUNDRED_MS, 0, "5@899 5@900 5@1000", "start=10 1:old");
        check(&HUNDRED_MS, 0, "5@950 5@100 5@1000", "start=0"); // the first that stays keeps the rest
    }

    #[test]
    fn the_open_segment_is_rolled_when_it_is_all_that_is_left_and_too_old() {
        check(&HUNDRED_MS, 0, "5@1 5@2 5@3", "start=20 1:old 2:old roll:old");
        check(&HUNDRED_MS, 0, "5@1 5@950 5@3", "start=10 1:old");
        check(&HUNDRED_MS, 0, "5@1 5@2 0@-1", "start=20 1:old 2:old"); // an empty one stays
    }

    #[test]
    fn a_timestamp_from_the_future_counts_as_the_time_of_writing() {
        check(&HUNDRED_MS, 0, "5@99999 5@1000", "start=0"); // nothing better is known
        check(&HUNDRED_MS, 0, "5@99999/800 5@1000", "start=10 1:old");
        check(&HUNDRED_MS, 0, "5@99999/950 5@1000", "start=0");
        check(&HUNDRED_MS, 0, "5@-1/800 5@1000", "start=10 1:old"); // no timestamps at all
        check(&HUNDRED_MS, 0, "5@-1 5@1000", "start=0");
    }

    #[test]
    fn the_oldest_go_while_the_rest_is_not_less_than_retention_bytes() {
        check(&HUNDRED_BYTES, 0, "60@1 60@1 60@1", "start=10 1:large");
        check(&HUNDRED_BYTES, 0, "60@1 60@1 40@1", "start=10 1:large");
        check(&HUNDRED_BYTES, 0, "60@1 60@1 39@1", "start=0");
        let nothing = Keep { bytes: Some(0), ..ALL };
        check(&nothing, 0, "60@1 60@1 60@1", "start=20 1:large 2:large roll:large");
    }

    #[test]
    fn only_so_many_sealed_segments_stay() {
        for (generations, expected) in
            [(3, "start=0"), (1, "start=20 1:many 2:many"), (0, "start=30 1:many 2:many 3:many")]
        {
            let keep = Keep { generations: Some(generations), ..ALL };
            check(&keep, 0, "5@1 5@1 5@1 5@1", expected);
        }
    }

    #[test]
    fn what_lies_below_the_log_start_goes_and_the_log_start_never_falls() {
        check(&ALL, 10, "5@1 5@1 5@1", "start=10 1:below");
        check(&ALL, 19, "5@1 5@1 5@1", "start=19 1:below");
        check(&ALL, 30, "5@1 5@1 5@1", "start=30 1:below 2:below");
        check(&HUNDRED_MS, 15, "5@1 5@1 5@1000", "start=20 1:below 2:old");
    }

    #[test]
    fn what_goes_next_says_what_it_still_lacks() {
        let next = |keep: Keep, segments: &str| {
            let (sealed, open) = chain(segments);
            let decision = judge(&sealed, Some(&open), Offset(0), &keep, TimestampMs(NOW));
            let told = |next: Next| {
                let Next { epoch, bytes, too_old_from, lacking_bytes, lacking_seals } = next;
                (epoch.0, bytes, too_old_from.map(|at| at.0), lacking_bytes, lacking_seals)
            };
            decision.next.map(told)
        };
        let both = Keep { ms: Some(100), bytes: Some(100), generations: Some(5) };
        assert_eq!(next(ALL, "5@1 5@1"), None, "nothing takes it");
        assert_eq!(next(HUNDRED_MS, "5@1 7@950 5@1"), Some((2, 7, Some(1_051), None, None)));
        assert_eq!(next(HUNDRED_BYTES, "60@1 60@1"), Some((1, 60, None, Some(40), None)));
        assert_eq!(next(both, "9@950 5@1 5@1"), Some((1, 9, Some(1_051), Some(90), Some(4))));
        assert_eq!(next(HUNDRED_MS, "5@950"), Some((1, 5, Some(1_051), None, None)), "open");
        assert_eq!(next(HUNDRED_MS, "5@1"), None, "it goes as soon as it is sealed");
    }

    #[test]
    fn a_decision_explains_itself() {
        let why = Why::TooOld { age_ms: 899, keep_ms: 100 };
        assert_eq!(why.to_string(), "its newest record is 899 ms old, retention.ms is 100");
    }

    #[test]
    #[should_panic(expected = "the chain breaks between epochs 1 and 3")]
    fn a_chain_with_a_gap_is_refused() {
        let (sealed, open) = chain("5@1 5@1 5@1");
        let _broken = judge(&sealed[..1], Some(&open), Offset(0), &ALL, TimestampMs(NOW));
    }
}
