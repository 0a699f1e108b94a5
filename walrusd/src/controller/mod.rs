//! What the node does without being asked: it follows the metadata and looks after its limits.
//!
//! [`follow`] carries what the metadata says into partitions and files (a deleted topic, a pruned
//! segment, a changed config). [`monitor`] looks at sizes, ages and retention every so often and
//! proposes rolls and prunes. Deciding is `walrus-replication`'s and `walrus-metadata`'s.

pub mod follow;
pub mod monitor;
