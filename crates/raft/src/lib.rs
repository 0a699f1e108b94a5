//! The log that metadata is agreed on: openraft, with its log, vote and snapshots on disk.
//!
//! The one crate that knows openraft. [`MetadataNode`] takes commands, answers with what
//! [`walrus_metadata::Metadata`] replied, and shows the state as it is now. What the commands
//! mean is none of its business.
//!
//! ```text
//!  propose ─> openraft ─> log/ ──> WAL in raft_meta/wal/          append, flush, commit
//!                │  └───> network.rs ─> Transport: the other members, whose group.rs answers
//!                └──────> machine.rs ─> Metadata::apply ─> views, replies
//!                             └───────> snapshots.rs               then log/ forgets what is in it
//! ```
//!
//! Where to read next: `node.rs` for what others call, `log/mod.rs` for what is durable when.

mod config;
mod file;
mod group;
mod identity;
mod log;
mod machine;
mod membership;
mod message;
mod metrics;
mod network;
mod node;
mod propose;
mod snapshots;
mod standing;
#[cfg(test)]
mod suite;
mod transport;
mod types;
mod watch;

pub use config::RaftConfig;
pub use file::FileError;
pub use group::Group;
pub use identity::{Identity, IdentityError};
pub use log::{Broken, LogOpenError};
pub use membership::{Member, MembershipError, VOTERS_MAX};
pub use node::{MetadataNode, OpenError, Opened, Start, VOTE_LEASE};
pub use propose::ProposeError;
pub use standing::{Reached, Standing};
pub use transport::{Alone, CallError, Destination, Lane, Transport};
pub use types::{RaftId, RaftPeer};
pub use watch::Leadership;
