//! What an operator has the cluster do: told first, then carried out by whoever is the controller.
//!
//! ```text
//!  asked ──> plan ──> told, kept for minutes ──> run ──> BeginOperation in the metadata
//!            (pure)    plans: the controller's memory          │
//!                                                              v
//!            every node: rolls what it leads and is due   the controller: stand ──> the next step
//!            (rolling)                                    (pure)          (drive)   or EndOperation
//! ```
//!
//! [`plan`] and [`stand`] decide from the metadata, the [`census`] and the members of the metadata
//! group, and nothing else: a controller that takes over finds the same next step. [`node_change`]
//! is what drains, undrains and removals come to. The shell is [`asked`], [`drive`], [`rolling`], [`removal`].

pub mod asked;
pub mod census;
pub mod drive;
pub mod node_change;
pub mod plan;
pub mod plans;
pub mod refusal;
pub mod removal;
pub mod rolling;
pub mod shown;
pub mod stand;

use std::sync::Arc;

use parking_lot::Mutex;
use walrus_admin::ApiError;
use walrus_metadata::{Metadata, Topic};
use walrus_raft::{Member, RaftId};

use self::{
    census::{Census, Latest},
    node_change::Facts,
    plans::Plans,
    refusal::broken_off,
};
use crate::broker::Broker;

/// What a node remembers for operators.
#[derive(Debug, Default)]
pub struct Operations {
    /// Plans that were told here, as the controller.
    pub plans: Mutex<Plans>,
    /// How many copies there are of what.
    pub census: Latest,
}

/// The cluster at one moment, as far as operations go by it.
#[derive(Debug, Clone)]
pub struct Look {
    /// What the cluster knows.
    pub metadata: Arc<Metadata>,
    /// What was counted in it.
    pub census: Arc<Census>,
    members: Vec<Member>,
    leader: Option<RaftId>,
}

impl Look {
    /// Looks, and counts where nobody has yet.
    ///
    /// # Errors
    /// The count was broken off: the node stops.
    pub async fn take(broker: &Arc<Broker>) -> Result<Self, ApiError> {
        let metadata = broker.metadata();
        let (counting, counted) = (Arc::clone(broker), Arc::clone(&metadata));
        let count = move || census_of(&counting, &counted);
        let census = tokio::task::spawn_blocking(count).await.map_err(|why| broken_off(&why))?;
        let group = broker.raft.group();
        Ok(Self { metadata, census, members: group.members(), leader: group.leader() })
    }

    /// What is judged by.
    pub fn facts(&self) -> Facts<'_> {
        let Self { metadata, census, members, leader } = self;
        Facts { metadata, census, members, leader: *leader }
    }
}

/// What is counted in a version of the metadata. Looks at all segments where nobody has yet: not for
/// threads that serve clients.
pub fn census_of(broker: &Broker, metadata: &Metadata) -> Arc<Census> {
    broker.operations.census.of(metadata, |topic| min_insync(broker, topic))
}

/// What a topic's acks=all needs.
fn min_insync(broker: &Broker, topic: &Arc<Topic>) -> usize {
    usize::try_from(broker.view(topic).config.min_insync_replicas).unwrap_or(1)
}
