//! What the leader of a partition says to the events it is told, and the bounds it keeps.

use std::ops::Range;

use walrus_types::{Epoch, Offset, TimestampMs};

use crate::{
    producers::SequenceError,
    roll::{Proposal, RollReason},
};

/// Batches of one partition that may be appended and not yet committed; the next is refused.
pub const UNCOMMITTED_BATCHES_MAX: usize = 100_000;

/// Appends of one partition that may wait for the end of a roll; the next is refused.
pub const PARKED_MAX: usize = 10_000;

/// What a producer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// `acks=0`.
    None,
    /// `acks=1`: the leader's flush.
    Leader,
    /// `acks=all`: the commit.
    All,
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The batch has these offsets; the shell stores it and sends it to the other members.
    Fresh {
        /// Its first offset.
        base: Offset,
        /// The offset after it.
        end: Offset,
    },
    /// It is in the log already. To be answered with the original's offset, and only once that
    /// is committed, for a seal may still cut it (M9).
    Duplicate {
        /// The original's first offset.
        base: Offset,
        /// The offset after the original.
        end: Offset,
        /// The original's timestamp, for answers under `LogAppendTime`.
        timestamp: TimestampMs,
        /// Whether the answer may go out now.
        committed: bool,
    },
    /// A roll is under way. The shell keeps the request behind those parked before it, and hands
    /// it to [`append_parked`](super::PartitionLeader::append_parked) when the leader is open or sealed.
    Parked,
}

/// Why an append was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendRefusal {
    /// This node no longer leads. `NOT_LEADER_OR_FOLLOWER`.
    #[error("no longer the leader in epoch {0}")]
    Fenced(Epoch),
    /// `acks=all` promises more copies than there can be. `NOT_ENOUGH_REPLICAS`.
    #[error("{live} members are alive, min.insync.replicas is {min_insync}")]
    NotEnoughReplicas {
        /// Members taken for alive.
        live: usize,
        /// `min.insync.replicas`.
        min_insync: usize,
    },
    /// Commits are [`UNCOMMITTED_BATCHES_MAX`] behind. Retriable: `NOT_ENOUGH_REPLICAS`.
    #[error("{UNCOMMITTED_BATCHES_MAX} batches wait to be committed")]
    TooFarAhead,
    /// [`PARKED_MAX`] appends wait for a roll. Retriable: `NOT_LEADER_OR_FOLLOWER`.
    #[error("{PARKED_MAX} appends wait for a roll")]
    TooManyParked,
    /// The producer's epoch or sequence forbids it.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
}

/// What followed from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Advance {
    /// The commit offset rose to this: answer waiting producers, wake consumers.
    pub commit: Option<Offset>,
    /// A roll has drained: propose this, and repeat it until the segment is seen sealed.
    pub propose: Option<Proposal>,
}

/// Why no roll began.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RollRefusal {
    /// The token bucket is empty: try again later.
    #[error("rolls of this partition are limited; wait")]
    Throttled,
    /// There is nothing in it, and the reason is none that an empty segment could have.
    #[error("an empty segment does not roll for {0}")]
    Empty(RollReason),
    /// Another roll is under way.
    #[error("a roll for {0} is under way")]
    UnderWay(RollReason),
    /// This node no longer leads.
    #[error("no longer the leader")]
    NotLeading,
}

/// An offset outside what a partition has. `OFFSET_OUT_OF_RANGE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("offset {given} is outside {log_start}..={end}")]
pub struct OffsetOutOfRange {
    /// What was asked for.
    pub given: Offset,
    /// The first offset that is there.
    pub log_start: Offset,
    /// The last that could be asked for.
    pub end: Offset,
}

/// What follows from the segment's seal. Everything below its end is committed, whoever sealed
/// it: waiting producers below it are answered first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rolled {
    /// The leader is open again, in the successor's epoch.
    Leads {
        /// Batches that the sealed segment no longer covers. The shell writes them to the
        /// successor, at the same offsets and with the new epoch, before anything else; their
        /// producers go on waiting. Empty but after a roll for [`RollReason::QuorumLost`].
        carry: Range<Offset>,
    },
    /// Another node leads. Waiting and parked producers are answered `NOT_LEADER_OR_FOLLOWER`.
    Stopped,
}
