//! What the shell is to do, and what those who wait are told.

use bytes::Bytes;

use crate::{
    errors::{GroupError, OffsetError},
    records::Record,
};

/// A client that waits for its answer: a number of the shell's choosing, never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Waiter(pub u64);

/// An append, to be named when its outcome is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendId(pub u64);

/// What the shell is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Append these records behind those of every earlier effect, as one batch unless they are
    /// tombstones that take more than a batch may, and report
    /// [`Coordinator::appended`](crate::Coordinator::appended) when the outcome is known, in the
    /// order of the effects.
    Append {
        /// Which.
        id: AppendId,
        /// What; never empty.
        records: Vec<Record>,
    },
    /// Answer a client.
    Answer {
        /// Who waits.
        waiter: Waiter,
        /// What it is told.
        answer: Answer,
    },
}

/// What became of an append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The records are committed.
    Committed,
    /// They are not in the log and never will be; the next attempt may succeed.
    Refused,
    /// They are not in the log: too many bytes for it.
    TooLarge,
}

/// What a client is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// To a JoinGroup.
    Join(Result<Joined, JoinRefusal>),
    /// To a SyncGroup.
    Sync(Result<Synced, GroupError>),
    /// To an OffsetCommit: one for each offset, in their order.
    Commit(Result<Vec<Result<(), OffsetError>>, GroupError>),
    /// To an OffsetDelete: one for each partition, in their order.
    DeleteOffsets(Result<Vec<Result<(), OffsetError>>, GroupError>),
    /// To a DeleteGroups, for one group.
    DeleteGroup(Result<(), GroupError>),
}

/// The member is in the next generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// Its id.
    pub member: String,
    /// The generation.
    pub generation: i32,
    /// `consumer`, `connect` or anything else.
    pub protocol_type: String,
    /// What all members can do and most like best.
    pub protocol: String,
    /// Who assigns. A static follower that came back is told its leader's former id.
    pub leader: String,
    /// The leader need not assign again (KIP-814).
    pub skip_assignment: bool,
    /// All members, for the leader alone.
    pub members: Vec<JoinedMember>,
}

/// A member, as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member: String,
    /// Its name, if it is static.
    pub instance: Option<String>,
    /// What it said for the chosen protocol.
    pub metadata: Bytes,
}

/// Why a JoinGroup is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinRefusal {
    /// Why.
    pub error: GroupError,
    /// The member's id, new for [`GroupError::MemberIdRequired`].
    pub member: String,
}

/// What the member has to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synced {
    /// The group's type.
    pub protocol_type: String,
    /// The chosen protocol.
    pub protocol: String,
    /// In the words of the leader.
    pub assignment: Bytes,
}
