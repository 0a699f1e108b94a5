//! What the cluster knows: nodes, topics, configs, and for each partition the chain of its
//! segments. A pure state machine: no clock, no randomness, no I/O, the same on every node.
//!
//! [`Metadata::apply`] judges a [`Command`] and answers with a [`Reply`]; a refusal is a reply.
//! A clone of [`Metadata`] costs nothing and never changes, so readers and snapshots hold views
//! while commands go on. Owns no log and no consensus: that is the `raft` crate.
//!
//! Where to read next: `partition.rs` for the chain, `apply/` for the rules, `map.rs` for what
//! makes clones cheap, `snapshot.rs` for the bytes.

#![warn(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]

mod apply;
mod command;
mod diff;
pub mod limits;
pub mod map;
mod metadata;
mod node;
mod partition;
mod reply;
mod snapshot;
mod topic;

pub use command::{
    AddPartitions, Command, ConfigResource, DecodeError, NewTopic, Placement, Prune, Register,
    Roll, SetConfigs,
};
pub use diff::Difference;
pub use metadata::Metadata;
pub use node::{Address, Addresses, Leader, Member, Node, NodeState};
pub use partition::{EpochEnd, Open, Partition, Reason, Sealed, SealedAt, Segment, SegmentKey};
pub use reply::{
    AddRefusal, ConfigBounds, ConfigRefusal, CreateRefusal, PartitionCountRefusal,
    PlacementRefusal, ProducerIdBlock, ProducerIdsSpent, PruneRefusal, Pruned, RegisterRefusal,
    Registered, Reply, RollRefusal, Rolled, TopicCreated, UnknownTopic,
};
pub use snapshot::SnapshotError;
pub use topic::Topic;
