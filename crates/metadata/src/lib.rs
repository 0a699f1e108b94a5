//! What the cluster knows: nodes, topics, configs, and for each partition the chain of its
//! segments. A pure state machine: no clock, no randomness, no I/O, the same on every node.
//!
//! [`Metadata::apply`] judges a [`Command`] and answers with a [`Reply`]; a refusal is a reply.
//! A clone of [`Metadata`] costs nothing and never changes, so readers and snapshots hold views
//! while commands go on. Owns no log and no consensus: that is the `raft` crate.
//!
//! Where to read next: `partition.rs` for the chain, `apply/` for the rules, `queries.rs` for what a
//! controller asks, `map.rs` for what makes clones cheap, `snapshot.rs` for the bytes.

#![warn(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]

mod apply;
mod command;
mod diff;
pub mod limits;
pub mod map;
mod metadata;
mod node;
mod operation;
mod partition;
mod queries;
mod reply;
mod segment;
mod snapshot;
mod topic;
mod v1;
mod v2;
mod v3;

pub use command::{
    AddPartitions, Assign, Command, ConfigResource, DecodeError, Fence, NewTopic, NodeChange,
    Placement, Prune, Register, Roll, SetConfigs, SetMembers, SetNodeState,
};
pub use diff::Difference;
pub use metadata::Metadata;
pub use node::{Address, Addresses, Fences, Leader, Member, Node, NodeState};
pub use operation::{
    BeginOperation, End, EndOperation, Operation, Outcome, Rollover, Target, Work,
};
pub use partition::{Assignment, EpochEnd, Partition};
pub use queries::{Holding, Outstanding, Short};
pub use reply::{
    AddRefusal, AssignRefusal, ConfigBounds, ConfigRefusal, CoverageRefusal, CreateRefusal,
    FenceRefusal, Fenced, MembersRefusal, NodeStateRefusal, OperationRefusal,
    PartitionCountRefusal, PlacementRefusal, ProducerIdBlock, ProducerIdsSpent, PruneRefusal,
    Pruned, RegisterRefusal, Registered, Reply, RollRefusal, Rolled, TopicCreated, UnknownTopic,
};
pub use segment::{Coverage, Digest, Loss, Open, Reason, Sealed, SealedAt, Segment, SegmentKey};
pub use snapshot::SnapshotError;
pub use topic::Topic;
