//! Where snapshots come from: a cluster ([`live`]), or one that is made up ([`simulated`]).
//!
//! A source runs on threads of its own and tells what it has in messages. It is told what else is
//! looked at, a chain or groups, and answers with that, too.

pub mod live;
pub mod simulated;

use std::sync::Arc;

use walrus_admin::{
    group::{GroupList, GroupStatus},
    partition::Chain,
    snapshot::Snapshot,
};
use walrus_types::UptimeMs;

use crate::model::PartitionName;

/// What a source tells.
#[derive(Debug, Clone)]
pub enum Told {
    /// The cluster at one moment.
    Snapshot(Arc<Snapshot>),
    /// The chain that is looked at, or why there is none.
    Chain {
        /// Of which partition.
        name: PartitionName,
        /// Its newest part.
        chain: Result<Arc<Chain>, String>,
    },
    /// Consumer groups, or why they cannot be told.
    Groups(Result<Arc<GroupList>, String>),
    /// One of them, or why it cannot.
    Group {
        /// Its name.
        name: String,
        /// What is known of it.
        group: Result<Arc<GroupStatus>, String>,
    },
    /// Nobody answered.
    Lost {
        /// What the last question came to.
        why: String,
        /// When the next one is asked.
        next_at: UptimeMs,
    },
}

/// What a source is asked for beside the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Also {
    /// A partition's chain.
    Chain(PartitionName),
    /// Consumer groups.
    Groups,
    /// One of them.
    Group(String),
}

/// What a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// What to tell with each snapshot.
    pub also: Option<Also>,
    /// Rises when somebody wants news now.
    pub refreshes: u64,
}

/// Links of a chain that are asked for: what fits the largest screen several times.
pub const CHAIN_LINKS: usize = 500;
