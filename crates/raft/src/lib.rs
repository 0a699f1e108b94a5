//! The log that metadata is agreed on: openraft, with its log, vote and snapshots on disk.
//!
//! The one crate that knows openraft. [`MetadataNode`] takes commands, answers with what
//! [`walrus_metadata::Metadata`] replied, and shows the state as it is now. What the commands
//! mean is none of its business.
//!
//! ```text
//!  propose ─> openraft ─> log/ ──> WAL in raft_meta/wal/          append, flush, commit
//!                └──────> machine.rs ─> Metadata::apply ─> views, replies
//!                             └───────> snapshots.rs               then log/ forgets what is in it
//! ```
//!
//! Where to read next: `node.rs` for what others call, `log/mod.rs` for what is durable when.

mod config;
mod file;
mod identity;
mod log;
mod machine;
mod metrics;
mod network;
mod node;
mod propose;
mod snapshots;
#[cfg(test)]
mod suite;
mod types;
mod watch;

pub use config::RaftConfig;
pub use file::FileError;
pub use identity::{Identity, IdentityError};
pub use log::{Broken, LogOpenError};
pub use node::{MetadataNode, OpenError, Opened};
pub use propose::ProposeError;
pub use types::{RaftId, RaftPeer};
