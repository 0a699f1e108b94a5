//! What a group has still to read of a partition: how many records and bytes, how old the next one
//! is, when that will be deleted, and whether the group will have read it before.
//!
//! ```text
//!   deleted |  read  |          to be read          |
//!   --------+--------+------------------------------+-----------> offset
//!       log start  committed                   commit offset
//! ```
//!
//! [`judge`] is pure: the shell brings the chain, what the leader says of the open segment, the place
//! of the next record, and how fast both ends moved lately ([`pace`]). When segments go is forecast
//! in [`forecast`], by the rules of [`retention`](crate::retention) themselves.

pub mod forecast;
pub mod pace;

use std::sync::Arc;

use walrus_types::{Offset, TimestampMs};

pub use forecast::{Cause, Goes, Growth, Outlook, Partition};
pub use pace::{History, Rate};

/// What is known, or in a sentence why it is not.
pub type Known<T> = Result<T, Arc<str>>;

/// The batch that holds the next record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// Bytes of its segment before it. From there on a fetch sends: batches are sent whole.
    pub position: u64,
    /// When its first record was made, by its producer's clock; under LogAppendTime when the batch
    /// was appended. [`TimestampMs::NONE`] where the producer did not say. Records are not decoded
    /// for it, so a record in the middle of a batch counts as old as the first.
    pub timestamp: TimestampMs,
}

/// Where a group stands to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It has read all that there is.
    Read,
    /// There is more to be read.
    Behind,
    /// What it was to read next is deleted already.
    Lost {
        /// So many records are gone that it had not read.
        records: u64,
    },
    /// It has never committed an offset of this partition.
    NoCommit,
    /// What it committed lies past the end: the log was cut off, or the topic made anew.
    PastEnd {
        /// By so many records.
        records: u64,
    },
}

/// Whether a group loses records at the rates of now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Risk {
    /// It does not: there is nothing to be read, retention takes none of it, or the group is past
    /// each segment before that goes.
    None,
    /// It does.
    Loses {
        /// The first of them is deleted after this, in milliseconds.
        in_ms: u64,
        /// That record, or the first of its segment.
        from: Offset,
        /// The rule that takes it.
        cause: Cause,
    },
    /// That cannot be said yet.
    Unknown(Arc<str>),
}

/// What a group has still to read of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Where it stands.
    pub state: State,
    /// The record that it reads next: what it committed, or the log start where that is gone or
    /// nothing was committed.
    pub next: Offset,
    /// Records from `next` to the commit offset. What is deleted is not among them.
    pub records: u64,
    /// Bytes of the batches from the one that holds `next` to the log's end: what is appended and
    /// not committed yet is among them. 0 when there are no records.
    pub bytes: Known<u64>,
    /// How old the record at `next` is, in milliseconds; 0 when there is none to read, or when it
    /// says that it is from the future.
    pub age_ms: Known<u64>,
    /// When the segment of `next` goes. [`Goes::Never`] when there is nothing to be read.
    pub goes: Goes,
    /// Whether the group will have read on before.
    pub risk: Risk,
}

/// A group's end of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reader {
    /// What it committed.
    pub committed: Option<Offset>,
    /// The batch that holds the next record to be read, where somebody looked.
    pub spot: Known<Spot>,
    /// How many records it reads, by its commits of the last minutes.
    pub reads: Known<Rate>,
}

/// The next record that a group reads, of a partition with these marks.
#[must_use]
pub fn next_of(committed: Option<Offset>, log_start: Offset, commit: Offset) -> Offset {
    committed.unwrap_or(log_start).max(log_start).min(commit.max(log_start))
}

/// Judges how a group stands to a partition, of which `outlook` was made.
#[must_use]
pub fn judge(outlook: &Outlook, reader: &Reader, now: TimestampMs) -> Backlog {
    let (log_start, commit) = (outlook.log_start(), outlook.commit());
    let next = next_of(reader.committed, log_start, commit);
    let records = commit.since(next);
    let state = match reader.committed {
        None => State::NoCommit,
        Some(at) if at < log_start => State::Lost { records: log_start.since(at) },
        Some(at) if at > commit => State::PastEnd { records: at.since(commit) },
        Some(_) if records == 0 => State::Read,
        Some(_) => State::Behind,
    };
    if records == 0 {
        let (goes, risk) = (Goes::Never, Risk::None);
        return Backlog { state, next, records, bytes: Ok(0), age_ms: Ok(0), goes, risk };
    }
    let spot = || reader.spot.clone();
    let bytes = spot().map(|spot| outlook.bytes_from(next).saturating_sub(spot.position));
    let age_ms = spot().and_then(|spot| {
        if spot.timestamp <= TimestampMs::NONE {
            return Err("the record has no timestamp".into());
        }
        Ok(u64::try_from(now.0.saturating_sub(spot.timestamp.0)).unwrap_or(0))
    });
    let goes = outlook.goes(next);
    let risk = outlook.risk(next, &reader.reads);
    Backlog { state, next, records, bytes, age_ms, goes, risk }
}

#[cfg(test)]
mod tests;
