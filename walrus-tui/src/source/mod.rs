//! Where snapshots come from: a cluster ([`live`]), one that is made up ([`simulated`]), or a
//! recording of either ([`replay`]). What they tell is kept ([`record`]).
//!
//! A source runs on threads of its own and tells what it has in messages. It is told what else is
//! looked at, a chain or groups, and answers with that, too.

pub mod live;
pub mod record;
pub mod replay;
pub mod simulated;

use std::{
    sync::{Arc, mpsc::SyncSender},
    time::Instant,
};

use tokio::sync::watch;
use walrus_admin::{
    Endpoint,
    connection::ClientList,
    event::Event,
    group::{GroupList, GroupStatus},
    partition::Chain,
    snapshot::Snapshot,
};
use walrus_types::UptimeMs;

use self::record::{Record, tape::Ended};
use crate::{
    app::doing::{Act, Acted},
    model::PartitionName,
};

/// What a source tells.
#[derive(Debug, Clone)]
pub enum Told {
    /// The cluster at one moment.
    Snapshot(Arc<Snapshot>),
    /// What changed since the last of these, one by one; `None` says that who is asked now tells no
    /// events, and they are to be read off snapshots.
    Events(Option<Vec<Event>>),
    /// The chain that is looked at, or why there is none.
    Chain {
        /// Of which partition.
        name: PartitionName,
        /// Its newest part.
        chain: Result<Arc<Chain>, String>,
    },
    /// Connections of clients, or why they cannot be told.
    Clients(Result<Arc<ClientList>, String>),
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
    /// What was told is kept so.
    Kept(Record),
    /// A recording that is replayed, or one that is written, goes on no more.
    Ended(Ended),
}

impl Told {
    /// Whether it is what was asked for beside the cluster.
    #[must_use]
    pub fn is_of(&self, also: &Also) -> bool {
        match (self, also) {
            (Self::Chain { name, .. }, Also::Chain(wanted)) => name == wanted,
            (Self::Group { name, .. }, Also::Group(wanted)) => name == wanted,
            (Self::Groups(_), Also::Groups) | (Self::Clients(_), Also::Clients) => true,
            _ => false,
        }
    }
}

/// What a source is asked for beside the cluster as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Also {
    /// A partition's chain.
    Chain(PartitionName),
    /// Connections of clients.
    Clients,
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

/// Where what is shown comes from. It runs on a thread of its own.
pub trait Source: Send {
    /// Who changes the cluster that it shows; nobody where there is none.
    fn hand(&self) -> Option<Arc<dyn Hand>> {
        None
    }

    /// Tells what it has, and what is `wanted` beside that, until all is told or nobody listens.
    /// `began` is when the console's time began.
    fn run(
        self: Box<Self>,
        began: Instant,
        wanted: watch::Receiver<Wanted>,
        tell: SyncSender<Told>,
    );
}

/// Asks whoever can change the cluster that is shown. Runs off the thread that draws.
pub trait Hand: Send + Sync {
    /// Asks, and waits for the answer. `known` are addresses that the cluster named, beside those
    /// that the console was given.
    fn act(&self, act: Act, known: Vec<Endpoint>) -> Acted;
}

/// Links of a chain that are asked for: what fits the largest screen several times.
pub const CHAIN_LINKS: usize = 500;
