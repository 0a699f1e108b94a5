//! What the leader of a partition decides: which offset comes next, what is committed, which
//! batch is a repeat, when a segment ends, what retention takes; and what its members decide: what
//! they accept, answer, serve and cut.
//!
//! Everything here is plain structs: events in, answers out. No files, sockets, clocks, tasks or
//! randomness; `walrusd`'s partition shell reports what happened and carries out the answers.
//!
//! Where to read next: [`PartitionLeader`] is what the shell holds. It is made of [`Cursors`]
//! (how far each member is and what follows from it), [`ProducerTable`] (idempotence) and
//! [`RollLimits`] with a [`TokenBucket`] (when to roll). Beside it the shell holds [`Senders`],
//! which feed the other members; each of those holds a [`ReplicaSegment`], and its node [`Fences`].
//! [`retention`] stands apart: it judges a whole chain, and [`backlog`] says what of one a group has
//! still to read, and when that will be gone.
//!
//! The controller holds a [`liveness::Watch`] and a [`seal::ForcedSeal`] for each life that it
//! fenced; it and the leaders ask [`placement`] where the next segment goes, and it asks [`repair`]
//! which copies of sealed segments are missing. A leader holds its
//! leases in [`liveness`]. Who lags is told to all nodes by way of [`lag`].

#![warn(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]

pub mod backlog;
mod cursors;
pub mod lag;
mod leader;
pub mod liveness;
pub mod placement;
mod producers;
pub mod repair;
mod replica;
pub mod retention;
mod roll;
pub mod seal;
mod sender;
mod tally;

use walrus_types::planted;

pub use cursors::{Cursors, Member, OpenSegment, write_quorum};
pub use leader::{
    Accepted, Acks, Advance, AppendRefusal, Limits, OffsetOutOfRange, PARKED_MAX, PartitionLeader,
    Phase, RollRefusal, Rolled, SegmentFacts, UNCOMMITTED_BATCHES_MAX,
};
pub use producers::{DecodeError, ProducerTable, Remembered, SequenceError, Verdict};
pub use replica::{
    Append, FenceAnswer, FenceEffect, Fences, Flushed, Held, NoAnswer, OnDisk, Position, Refusal,
    ReplicaSegment, Sealing, Taken, Writer,
};
pub use roll::{Proposal, RollLimits, RollReason, TokenBucket, UptimeMs};
pub use sender::{Effect, SenderLimits, Senders};
