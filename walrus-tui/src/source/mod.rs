//! Where snapshots come from: a cluster ([`live`]), or one that is made up ([`simulated`]).
//!
//! A source runs on threads of its own and tells what it has in messages. It is told which chain
//! is looked at and answers with that, too.

pub mod live;
pub mod simulated;

use std::sync::Arc;

use walrus_admin::{partition::Chain, snapshot::Snapshot};
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
    /// Nobody answered.
    Lost {
        /// What the last question came to.
        why: String,
        /// When the next one is asked.
        next_at: UptimeMs,
    },
}

/// What a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Wanted {
    /// The chain to tell with each snapshot.
    pub chain: Option<PartitionName>,
    /// Rises when somebody wants news now.
    pub refreshes: u64,
}

/// Links of a chain that are asked for: what fits the largest screen several times.
pub const CHAIN_LINKS: usize = 500;
