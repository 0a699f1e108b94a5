//! How far consumer groups are behind: what each has to read of each partition, in records, in bytes
//! and in time, and whether retention takes it first.
//!
//! What that means is decided in [`walrus_replication::backlog`]. A group's coordinator knows what
//! it committed and asks the leaders for the rest ([`ask`]); [`look`] is one such look, [`board`]
//! what is told of it. Lists and scrapes share a look for [`FRESH_MS`]. For the rates alone a look is
//! taken every [`TICK`], at the groups that are loaded anyway.

pub mod ask;
mod board;
mod look;
mod paces;
mod scrape;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::join_all};
use parking_lot::{Mutex, MutexGuard};
use tokio::{sync::Mutex as LongLock, time::MissedTickBehavior};
use walrus_admin::group::{Group, GroupList, GroupStatus, Missing};
use walrus_types::{NodeId, UptimeMs};

use self::paces::Paces;
pub use self::{
    board::Board,
    scrape::{SCRAPED_MAX, scraped},
};
use crate::{broker::Broker, groups};

/// Between two looks for the rates.
const TICK: Duration = Duration::from_secs(10);
/// A look at all groups serves everybody who asks for so long.
const FRESH_MS: u64 = 2_000;

/// What this node remembers of lag.
#[derive(Debug, Default)]
pub struct Lags {
    paces: Mutex<Paces>,
    /// The last look. Held while the next one is taken, so that one is taken at a time.
    board: LongLock<Option<(UptimeMs, Arc<Board>)>>,
}

impl Lags {
    fn paces(&self) -> MutexGuard<'_, Paces> {
        self.paces.lock()
    }
}

/// Why nothing is told of a group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// There is none of that name.
    #[error("there is no such group")]
    NoSuchGroup,
    /// Who coordinates it does not tell, or nobody does now.
    #[error("{0}")]
    NotNow(String),
}

/// The groups that this node coordinates, a moment old at most.
///
/// # Errors
/// Why they are not known.
pub async fn board(broker: &Arc<Broker>) -> Result<Arc<Board>, String> {
    let mut last = broker.lags.board.lock().await;
    let now = broker.clock.uptime();
    if let Some((at, board)) = &*last
        && now.since(*at) < FRESH_MS
    {
        return Ok(Arc::clone(board));
    }
    let board = Arc::new(board::take(broker).await?);
    *last = Some((broker.clock.uptime(), Arc::clone(&board)));
    Ok(board)
}

/// A page of the groups of the cluster, by name. Asks every node that serves for those that it
/// coordinates.
pub async fn list(broker: &Arc<Broker>, after: Option<&str>, limit: usize) -> GroupList {
    let metadata = broker.metadata();
    let serves = metadata.nodes().iter().filter(|(_, node)| node.state.serves());
    let nodes: Vec<NodeId> = serves.map(|(node, _)| *node).collect();
    let mut asking = Vec::with_capacity(nodes.len());
    for node in nodes {
        asking.push(list_of(broker, node, after, limit).boxed());
    }
    let (mut groups, mut missing, mut more) = (BTreeMap::new(), Vec::new(), false);
    for (node, list) in join_all(asking).await {
        match list {
            Ok(list) => {
                more |= list.next.is_some();
                for group in list.items {
                    keep_coordinated(broker, &mut groups, group);
                }
            }
            Err(why) => missing.push(Missing { node, why }),
        }
    }
    more |= groups.len() > limit;
    let items: Vec<Group> = groups.into_values().take(limit).collect();
    let next = items.last().filter(|_| more).map(|last| last.group.clone());
    GroupList { items, next, missing }
}

async fn list_of(
    broker: &Arc<Broker>,
    node: NodeId,
    after: Option<&str>,
    limit: usize,
) -> (NodeId, Result<GroupList, String>) {
    let list = if node == broker.identity.node {
        board::list_here(broker, after, limit).await
    } else {
        ask::list(broker, node, after, limit).await
    };
    (node, list)
}

/// While a group changes hands two nodes may tell of it: whom the metadata names is believed.
fn keep_coordinated(broker: &Broker, groups: &mut BTreeMap<String, Group>, group: Group) {
    let coordinates =
        broker.groups.known_coordinator(broker, &group.group) == Some(group.coordinator);
    if coordinates || !groups.contains_key(&group.group) {
        groups.insert(group.group.clone(), group);
    }
}

/// One group, as its coordinator knows it.
///
/// # Errors
/// [`Untold`].
pub async fn group(broker: &Arc<Broker>, name: &str) -> Result<GroupStatus, Untold> {
    if broker.topic_by_name(groups::TOPIC).is_none() {
        // Nobody ever committed anything.
        return Err(Untold::NoSuchGroup);
    }
    let coordinator: Option<NodeId> = broker.groups.known_coordinator(broker, name);
    let told = match coordinator {
        None => Err("nobody coordinates the group now".to_owned()),
        Some(node) if node == broker.identity.node => board::group_here(broker, name).await,
        Some(node) => ask::group(broker, node, name).await,
    };
    told.map_err(Untold::NotNow)?.ok_or(Untold::NoSuchGroup)
}

/// Looks how fast groups read and partitions grow, until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.draining() => return,
        }
        let shards = broker.groups.loaded();
        let groups = board::groups_of(&shards).await;
        look::note(&broker, &groups).await;
        broker.lags.paces().forget(broker.clock.uptime());
    }
}
