//! What a member says: to the leader that feeds it, to a controller that seals, to its own shell.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, Offset, StorageId, TimestampMs};

use super::{Fences, Writer};
use crate::roll::UptimeMs;

/// What a leader's message says beside its batch. Without a batch it asks where the member stands
/// and tells it the commit offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append {
    /// Who leads the segment.
    pub from: Writer,
    /// The disk that the segment's record names for the member.
    pub storage: StorageId,
    /// Which segment.
    pub epoch: Epoch,
    /// Where the leader thinks that the member's log ends.
    pub prev_end: Offset,
    /// Everything below it is committed.
    pub commit: Offset,
    /// Which of the leader's attempts to feed this member it belongs to. Goes back as it came.
    pub stream: u32,
    /// When it was sent, by the leader's clock. Goes back as it came.
    pub sent_at: UptimeMs,
}

/// Where a member stands. Tells the leader what to send next and what counts as durable, and that
/// the member had not fenced it when the message of `sent_at` came (M6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Of which segment.
    pub epoch: Epoch,
    /// What comes next here.
    pub end: Offset,
    /// Everything below it is on the member's disk and came from the leader.
    pub durable: Offset,
    /// The greatest [`Append::stream`] that was accepted.
    pub stream: u32,
    /// The greatest [`Append::sent_at`] that was accepted.
    pub sent_at: UptimeMs,
}

/// What becomes of a batch that was not refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// Store it behind what is there. The flush brings the answer.
    Store {
        /// The offset after it.
        end: Offset,
    },
    /// All of it is there, so it is not stored again. Answer this.
    Known(Position),
}

/// Why a message of the leader's, or a copy, was refused. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The Roll that opens the segment is not applied here yet (M19): wait and send again.
    #[error("metadata is applied up to {applied}, the segment is opened later")]
    NotYet {
        /// The index that is applied.
        applied: u64,
    },
    /// That life of the leader may write here no more.
    #[error("the leader is fenced")]
    Fenced,
    /// The segment has ended.
    #[error("the segment is sealed at {end}")]
    Sealed {
        /// Where.
        end: Offset,
    },
    /// The member's disk is not the one that the segment's record names (M2).
    #[error("the disk here is {known}, the segment names {given}")]
    OtherStorage {
        /// The one that is here.
        known: StorageId,
        /// The one that was expected.
        given: StorageId,
    },
    /// This node keeps no copy of the segment. Said by the shell.
    #[error("this node is no member of the segment")]
    NotMember,
    /// The batch does not begin where the log ends here: feed from there.
    #[error("the log ends at {end} here")]
    Gap {
        /// What comes next here.
        end: Offset,
    },
    /// The store has no room for now. Said by the shell, which took the batch back.
    #[error("the store takes nothing for now")]
    Busy,
    /// The bytes are not what the message says.
    #[error("the batch is not the one that is announced")]
    Malformed,
    /// A copy for a seal came before the fence was on disk.
    #[error("the leader is not fenced yet")]
    NotFenced,
    /// The disk failed: what is here cannot be told.
    #[error("the disk failed")]
    Failed,
}

impl Refusal {
    /// What a message gets about a segment that this node has not heard of.
    #[must_use]
    pub fn of_unknown(append: &Append, fences: &Fences, applied: u64) -> Self {
        if fences.covers(append.from) { Self::Fenced } else { Self::NotYet { applied } }
    }
}

/// What a fenced member tells a controller of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceAnswer {
    /// A vote: this much is here, on disk.
    Held(Held),
    /// No vote, and nothing about what there was: the disk is another one (M2).
    LostDisk {
        /// The one that is here.
        known: StorageId,
        /// The one that the segment names.
        named: StorageId,
    },
    /// The end is decided already.
    Sealed {
        /// Where.
        end: Offset,
    },
}

/// What a fenced member has of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Everything below is durable here, and nothing lies past it.
    pub end: Offset,
    /// Its bytes.
    pub bytes: u64,
    /// Greatest timestamp of it, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// The disk that it is on.
    pub storage: StorageId,
    /// The greatest commit offset that the leader told; no seal may end below it.
    pub commit: Offset,
}

/// Why a controller gets no answer yet, or none at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// The fence is not on disk: see [`FenceEffect::FlushThenAnswer`](super::FenceEffect).
    #[error("the fence is not durable yet")]
    NotFenced,
    /// What was accepted before the fence is not on disk.
    #[error("the log ends at {end} and is durable up to {durable}")]
    NotDurable {
        /// On disk.
        durable: Offset,
        /// Accepted.
        end: Offset,
    },
    /// The disk failed. That is an error and never an end.
    #[error("the disk failed")]
    Failed,
}

/// What follows from a flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flushed {
    /// For the leader; the shell groups them, one message per peer and flush.
    pub answer: Option<Position>,
    /// The sealed segment is whole up to here: see [`Sealing::finish`].
    pub finish: Option<Offset>,
}

/// What follows from the Roll that sealed the segment, in this order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sealing {
    /// Cut what lies past this: it is in no log.
    pub cut: Option<Offset>,
    /// Pull these offsets from any other member and hand them to
    /// [`copy`](super::ReplicaSegment::copy).
    pub pull: Option<Range<Offset>>,
    /// It is whole and durable up to here: write the producer table beside it, then seal the file.
    pub finish: Option<Offset>,
}
