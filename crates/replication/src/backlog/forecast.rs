//! When the segments of a partition go, if all goes on as lately.
//!
//! The rules are [`retention`](crate::retention)'s, asked the other way round: not whether a segment
//! goes now, but what it lacks. Segments go oldest first and whole, so none goes before those in
//! front of it. The open segment has to be rolled before it can go, by its size, its age or, where
//! nothing is appended any more, by retention itself. A forecast is the earliest moment: the monitor
//! looks every `WALRUS_MONITOR_CHECK_MS`.

use std::sync::Arc;

use walrus_types::{Offset, TimestampMs};

use super::{Known, Rate, Risk};
use crate::{
    retention::{Keep, Segment, lacking_bytes, lacking_seals, too_old_from},
    roll::RollLimits,
};

/// The rule that takes a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// `retention.ms`.
    Age,
    /// `retention.bytes`.
    Bytes,
    /// `walrus.retention.generations`.
    Generations,
}

impl Cause {
    /// The setting that says so.
    #[must_use]
    pub const fn setting(self) -> &'static str {
        match self {
            Self::Age => "retention.ms",
            Self::Bytes => "retention.bytes",
            Self::Generations => "walrus.retention.generations",
        }
    }
}

/// When a segment goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Goes {
    /// After so many milliseconds; 0 when the next look of the monitor takes it.
    In {
        /// After this.
        ms: u64,
        /// By this rule, or because one in front of it goes no earlier by it.
        cause: Cause,
    },
    /// At these rates and settings it stays.
    Never,
    /// That cannot be said yet.
    Unknown(Arc<str>),
}

/// How much is appended to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Growth {
    /// Records.
    pub records: Rate,
    /// Bytes of their batches.
    pub bytes: Rate,
}

/// A partition, as far as a forecast looks at it.
#[derive(Debug, Clone)]
pub struct Partition<'a> {
    /// Its sealed segments, oldest first.
    pub sealed: &'a [Segment],
    /// The open one, up to the commit offset.
    pub open: Segment,
    /// How old the first batch of the open one is, in milliseconds; 0 while it is empty.
    pub open_age_ms: u64,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// What is kept.
    pub keep: Keep,
    /// When the open one is rolled.
    pub roll: RollLimits,
    /// How much was appended lately.
    pub growth: Known<Growth>,
}

/// A segment and what becomes of it.
#[derive(Debug, Clone)]
struct Fate {
    base: Offset,
    /// Where a reader is past it. Of the open segment that is where it will be rolled.
    end: Offset,
    /// Its bytes and those of all that follow.
    bytes_from: u64,
    goes: Goes,
}

/// What becomes of the segments of a partition. Made once for all groups that read it.
///
/// Invariant: bases rise, and none goes before one in front of it.
#[derive(Debug, Clone)]
pub struct Outlook {
    fates: Vec<Fate>,
    log_start: Offset,
    commit: Offset,
}

impl Outlook {
    /// Looks at a partition.
    #[must_use]
    pub fn of(partition: &Partition<'_>, now: TimestampMs) -> Self {
        let Partition { sealed, open, log_start, .. } = partition;
        let filling = Filling::of(partition);
        let mut bytes_from: u64 = open.bytes + sealed.iter().map(|one| one.bytes).sum::<u64>();
        let mut goes = Goes::In { ms: 0, cause: Cause::Age };
        let mut fates = Vec::with_capacity(sealed.len() + 1);
        for (at, segment) in sealed.iter().enumerate() {
            let rest = (sealed.len() - at, bytes_from.saturating_sub(segment.bytes));
            goes = later(goes, sealed_goes(segment, rest, partition, &filling, now));
            let (base, end) = (segment.base, segment.end);
            fates.push(Fate { base, end, bytes_from, goes: goes.clone() });
            bytes_from = rest.1;
        }
        goes = later(goes, open_goes(partition, &filling, now));
        fates.push(Fate { base: open.base, end: filling.end, bytes_from, goes });
        Self { fates, log_start: *log_start, commit: open.end }
    }

    /// The first offset that may be read.
    #[must_use]
    pub const fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The end of what may be read: Kafka's high watermark.
    #[must_use]
    pub const fn commit(&self) -> Offset {
        self.commit
    }

    /// Bytes from the beginning of the segment of `offset` to the log's end.
    #[must_use]
    pub fn bytes_from(&self, offset: Offset) -> u64 {
        self.from(offset).first().map_or(0, |fate| fate.bytes_from)
    }

    /// When the segment of `offset` goes.
    #[must_use]
    pub fn goes(&self, offset: Offset) -> Goes {
        self.from(offset).first().map_or(Goes::Never, |fate| fate.goes.clone())
    }

    /// Whether a group that is to read `next`, and reads so fast, finds all segments there.
    pub(super) fn risk(&self, next: Offset, reads: &Known<Rate>) -> Risk {
        for fate in self.from(next) {
            let (ms, cause) = match &fate.goes {
                Goes::In { ms, cause } => (*ms, *cause),
                // Those behind it stay as well.
                Goes::Never => return Risk::None,
                Goes::Unknown(why) => return Risk::Unknown(Arc::clone(why)),
            };
            let reads = match reads {
                Ok(reads) => *reads,
                Err(why) => return Risk::Unknown(Arc::clone(why)),
            };
            let is_past = reads.time_for(fate.end.since(next)).is_some_and(|past| past <= ms);
            if !is_past {
                return Risk::Loses { in_ms: ms, from: next.max(fate.base), cause };
            }
        }
        Risk::None
    }

    /// The segment of `offset` and those behind it.
    fn from(&self, offset: Offset) -> &[Fate] {
        let after = self.fates.partition_point(|fate| fate.base <= offset);
        &self.fates[after.saturating_sub(1)..]
    }
}

/// How the open segment fills up.
#[derive(Debug)]
struct Filling {
    /// In how many milliseconds it is rolled, by its size or age. `None` when never.
    roll_ms: Known<Option<u64>>,
    /// How long each segment after it lasts.
    next_ms: Known<Option<u64>>,
    /// Whether anything is appended.
    grows: Known<bool>,
    /// Where it will end.
    end: Offset,
}

impl Filling {
    fn of(Partition { open, open_age_ms, roll, growth, .. }: &Partition<'_>) -> Self {
        let entries = open.end.since(open.base);
        let unknown = growth.as_ref().err();
        let rolls = |bytes: u64, entries: u64, age_ms: u64, begins_empty: bool| {
            let growth = growth.as_ref().ok();
            let by_bytes =
                growth.and_then(|growth| growth.bytes.time_for(roll.bytes.saturating_sub(bytes)));
            let by_entries = growth
                .and_then(|growth| growth.records.time_for(roll.entries.saturating_sub(entries)));
            // Age counts from the first batch, and an empty segment has none.
            let first = growth.and_then(|growth| growth.records.time_for(u64::from(begins_empty)));
            let left = roll.age_ms.saturating_sub(age_ms);
            let by_age = first.map(|first| first.saturating_add(left));
            by_bytes.into_iter().chain(by_entries).chain(by_age).min()
        };
        let known = |of: Option<u64>| unknown.map_or(Ok(of), |why| Err(Arc::clone(why)));
        let roll_ms = rolls(open.bytes, entries, *open_age_ms, entries == 0);
        let more = match (growth, roll_ms) {
            (Ok(growth), Some(ms)) => growth.records.within(ms),
            (Ok(_), None) | (Err(_), _) => 0,
        };
        Self {
            roll_ms: known(roll_ms),
            next_ms: known(rolls(0, 0, 0, true)),
            grows: growth.as_ref().map(|growth| growth.records.amount > 0).map_err(Arc::clone),
            end: open.end.plus(i64::try_from(more).unwrap_or(i64::MAX)),
        }
    }

    /// When so many segments more are sealed.
    fn seals_ms(&self, count: usize) -> Known<Option<u64>> {
        let Some(more) = count.checked_sub(1) else { return Ok(Some(0)) };
        let (first, next) = (self.roll_ms.clone()?, self.next_ms.clone()?);
        let more = u64::try_from(more).unwrap_or(u64::MAX);
        Ok(first.and_then(|first| match more {
            0 => Some(first),
            more => Some(first.saturating_add(next?.saturating_mul(more))),
        }))
    }
}

/// `rest` is how many segments are sealed from this one on, and the bytes after it.
fn sealed_goes(
    segment: &Segment,
    rest: (usize, u64),
    partition: &Partition<'_>,
    filling: &Filling,
    now: TimestampMs,
) -> Goes {
    let keep = &partition.keep;
    let by_age = too_old_from(segment, keep).map(|from| until(from, now));
    let by_bytes = lacking_bytes(rest.1, keep).map_or(Ok(None), |lacking| match lacking {
        0 => Ok(Some(0)),
        lacking => partition.growth.clone().map(|growth| growth.bytes.time_for(lacking)),
    });
    let by_seals = lacking_seals(rest.0, keep).map_or(Ok(None), |count| filling.seals_ms(count));
    soonest([(Ok(by_age), Cause::Age), (by_bytes, Cause::Bytes), (by_seals, Cause::Generations)])
}

fn open_goes(partition: &Partition<'_>, filling: &Filling, now: TimestampMs) -> Goes {
    let (keep, open) = (&partition.keep, &partition.open);
    let after_roll = |more: u64| filling.roll_ms.clone().map(|ms| Some(ms?.saturating_add(more)));
    let by_age = match (keep.ms, &filling.grows) {
        (None, _) => Ok(None),
        // What is appended is as old as what is there, or nothing is and its newest stays that.
        (Some(_), _) if too_old_from(open, keep).is_some_and(|from| from <= now) => Ok(Some(0)),
        (Some(_), Ok(false)) => Ok(too_old_from(open, keep).map(|from| until(from, now))),
        // Its newest record will be of when it is rolled.
        (Some(keep_ms), Ok(true)) => after_roll(keep_ms.saturating_add(1)),
        (Some(_), Err(why)) => Err(Arc::clone(why)),
    };
    let by_bytes = match lacking_bytes(0, keep) {
        None => Ok(None),
        Some(0) => Ok(Some(0)),
        Some(lacking) => partition
            .growth
            .clone()
            .and_then(|growth| growth.bytes.time_for(lacking).map_or(Ok(None), after_roll)),
    };
    let by_seals = lacking_seals(0, keep).map_or(Ok(None), |count| filling.seals_ms(count));
    soonest([(by_age, Cause::Age), (by_bytes, Cause::Bytes), (by_seals, Cause::Generations)])
}

fn until(moment: TimestampMs, now: TimestampMs) -> u64 {
    u64::try_from(moment.0.saturating_sub(now.0)).unwrap_or(0)
}

/// The rule that comes first. One that cannot be told may come before all others, but not before
/// what goes at once.
fn soonest(rules: [(Known<Option<u64>>, Cause); 3]) -> Goes {
    let told = rules.iter().filter_map(|(known, cause)| Some(((*known.as_ref().ok()?)?, *cause)));
    let first = told.min();
    let untold = rules.iter().find_map(|(known, _)| known.as_ref().err());
    match (first, untold) {
        (Some((ms, cause)), None) | (Some((ms @ 0, cause)), Some(_)) => Goes::In { ms, cause },
        (None, None) => Goes::Never,
        (_, Some(why)) => Goes::Unknown(Arc::clone(why)),
    }
}

/// The later of the two. Behind one that nobody can tell of, nobody can tell either; but what stays
/// in any case stays.
fn later(before: Goes, own: Goes) -> Goes {
    match (before, own) {
        (Goes::Never, _) | (_, Goes::Never) => Goes::Never,
        (Goes::Unknown(why), _) | (_, Goes::Unknown(why)) => Goes::Unknown(why),
        (Goes::In { ms: before, .. }, own @ Goes::In { ms, .. }) if ms >= before => own,
        (before @ Goes::In { .. }, Goes::In { .. }) => before,
    }
}
