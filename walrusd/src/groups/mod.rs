//! Consumer groups as this node coordinates them: the shell around `walrus-groups`.
//!
//! A group belongs to a partition of `__consumer_offsets`, and whoever leads that partition
//! coordinates it. [`Shard`] is one such partition with the state of its groups: `load.rs` reads it
//! from the log when somebody asks for it first, `shard.rs` carries the decider's effects out,
//! `records.rs` makes batches of its records. Requests are read and answered in `api/groups/`.
//!
//! The partition's log is never older than its state needs: when most of it is spent, the whole
//! state is written to a new segment and what was before is pruned.

mod load;
mod records;
mod shard;

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use parking_lot::Mutex;
use tokio::{
    sync::{Mutex as LongLock, mpsc, watch},
    time::{Instant, MissedTickBehavior},
};
use tracing::{debug, warn};
use walrus_metadata::Partition as Chain;
use walrus_types::{NodeId, PartitionIndex};

pub use self::shard::{Asked, Shard};
use crate::{
    api::topics,
    broker::{Broker, TopicView},
    partition::{Partition, registry::Unavailable},
};

/// The topic that holds committed offsets.
pub const TOPIC: &str = "__consumer_offsets";
/// It is pruned by its coordinators alone.
const CONFIGS: &[(&str, &str)] = &[
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("walrus.retention.generations", "-1"),
    ("walrus.rollover.leader", "keep"),
];
/// A request waits so long for a partition that is being loaded.
const LOAD_PATIENCE: Duration = Duration::from_secs(1);
/// While the node stops, between two looks at whether all is done.
const STOP_LOOK: Duration = Duration::from_millis(10);
/// Partitions that may wait to be loaded at once.
const LOADS_MAX: usize = 4_096;

/// Why this node cannot answer for a group now. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unready {
    /// The topic of offsets is not there and could not be made, or not yet.
    #[error("{TOPIC}: {_0}")]
    NoTopic(String),
    /// Another node coordinates the group, or this one not yet or not any more.
    #[error("{TOPIC}: {_0}")]
    NotHere(Unavailable),
    /// Its state is being read.
    #[error("the group's state is being read")]
    Loading,
    /// Its state could not be read; the next request tries again.
    #[error("the group's state could not be read: {_0}")]
    Failed(Arc<str>),
}

/// How far the load of a partition is.
#[derive(Debug, Clone)]
enum Loaded {
    NotYet,
    Ready(Arc<Shard>),
    Failed(Arc<str>),
}

/// A partition whose groups this node coordinates, or is about to.
#[derive(Debug, Clone)]
struct Slot {
    partition: Arc<Partition>,
    loaded: watch::Receiver<Loaded>,
}

/// An order to load a partition and to keep it going.
#[derive(Debug)]
struct Order {
    index: i32,
    partition: Arc<Partition>,
    tell: watch::Sender<Loaded>,
}

/// The groups that this node coordinates.
#[derive(Debug)]
pub struct Groups {
    slots: Mutex<HashMap<i32, Slot>>,
    orders: mpsc::Sender<Order>,
    /// Taken by [`Groups::run`].
    ordered: LongLock<mpsc::Receiver<Order>>,
}

impl Default for Groups {
    fn default() -> Self {
        let (orders, ordered) = mpsc::channel(LOADS_MAX);
        Self { slots: Mutex::default(), orders, ordered: LongLock::new(ordered) }
    }
}

impl Groups {
    /// The node that coordinates `group`; `None` while nobody does. Makes the topic of offsets where
    /// it is not there.
    ///
    /// # Errors
    /// [`Unready::NoTopic`].
    pub async fn coordinator(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<Option<NodeId>, Unready> {
        let topic = match broker.topic_by_name(TOPIC) {
            Some(topic) => topic,
            None => {
                let partitions = broker.config.groups.offsets_partitions;
                let made = topics::make_one(broker, TOPIC, partitions, CONFIGS).await;
                made.map_err(|why| Unready::NoTopic(why.message))?
            }
        };
        let index = PartitionIndex(index_of(&topic, group));
        let Some(chain) = topic.topic.partition(index) else { return Ok(None) };
        Ok(coordinates(broker, chain))
    }

    /// As [`Groups::coordinator`], and `None` too where the topic of offsets is not there.
    pub fn known_coordinator(&self, broker: &Broker, group: &str) -> Option<NodeId> {
        let topic = broker.topic_by_name(TOPIC)?;
        let index = PartitionIndex(index_of(&topic, group));
        coordinates(broker, topic.topic.partition(index)?)
    }

    /// The partition of `group`, which this node leads, and has a lease for.
    ///
    /// # Errors
    /// [`Unready::NotHere`].
    pub async fn partition(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<Arc<Partition>, Unready> {
        let topic = broker.topic_by_name(TOPIC).ok_or(Unready::NotHere(Unavailable::Unknown))?;
        let index = index_of(&topic, group);
        broker.leased(&topic, index).await.map_err(Unready::NotHere)
    }

    /// The groups among which `group` is, loaded when somebody asks for the first time.
    ///
    /// # Errors
    /// [`Unready`].
    pub async fn shard(&self, broker: &Arc<Broker>, group: &str) -> Result<Arc<Shard>, Unready> {
        let partition = self.partition(broker, group).await?;
        self.shard_of(partition, LOAD_PATIENCE).await
    }

    /// All groups that this node coordinates. What cannot be loaded is left out, and said.
    ///
    /// # Errors
    /// [`Unready::Loading`].
    pub async fn all(&self, broker: &Arc<Broker>) -> Result<Vec<Arc<Shard>>, Unready> {
        let Some(topic) = broker.topic_by_name(TOPIC) else { return Ok(Vec::new()) };
        let me = broker.identity.node;
        let chains = topic.topic.partitions().iter();
        let mine = chains.filter(|(_, chain)| chain.open().leader.node == me);
        let mine: Vec<i32> = mine.map(|(index, _)| index.0).collect();
        broker.load_partitions(&topic, mine.iter().copied()).await;
        let mut shards = Vec::with_capacity(mine.len());
        let until = Instant::now() + LOAD_PATIENCE;
        for index in mine {
            let Ok(partition) = broker.leased(&topic, index).await else { continue };
            let patience = until.saturating_duration_since(Instant::now());
            match self.shard_of(partition, patience).await {
                Ok(shard) => shards.push(shard),
                Err(Unready::Loading) => return Err(Unready::Loading),
                Err(why) => warn!(index, %why, "groups are left out of a list"),
            }
        }
        Ok(shards)
    }

    async fn shard_of(
        &self,
        partition: Arc<Partition>,
        patience: Duration,
    ) -> Result<Arc<Shard>, Unready> {
        let mut loaded = self.slot(partition)?;
        let known = tokio::time::timeout(
            patience,
            loaded.wait_for(|loaded| !matches!(loaded, Loaded::NotYet)),
        );
        match known.await {
            Err(_elapsed) => Err(Unready::Loading),
            // Whoever loads is gone: the node stops.
            Ok(Err(_gone)) => Err(Unready::NotHere(Unavailable::NotLeader)),
            Ok(Ok(loaded)) => match &*loaded {
                Loaded::Ready(shard) => Ok(Arc::clone(shard)),
                Loaded::Failed(why) => Err(Unready::Failed(Arc::clone(why))),
                Loaded::NotYet => Err(Unready::Loading),
            },
        }
    }

    /// The place of a partition as this node leads it now. One that it leads anew is loaded anew,
    /// for another node may have written meanwhile.
    fn slot(&self, partition: Arc<Partition>) -> Result<watch::Receiver<Loaded>, Unready> {
        let PartitionIndex(index) = partition.id().partition;
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(&index)
            && Arc::ptr_eq(&slot.partition, &partition)
            && slot.is_good()
        {
            return Ok(slot.loaded.clone());
        }
        let (tell, loaded) = watch::channel(Loaded::NotYet);
        let order = Order { index, partition: Arc::clone(&partition), tell };
        self.orders.try_send(order).map_err(|_full_or_stopping| Unready::Loading)?;
        slots.insert(index, Slot { partition, loaded: loaded.clone() });
        Ok(loaded)
    }

    /// The groups that somebody asked for and that this node coordinates.
    pub fn loaded(&self) -> Vec<Arc<Shard>> {
        let slots = self.slots.lock();
        let ready = slots.values().filter_map(|slot| match &*slot.loaded.borrow() {
            Loaded::Ready(shard) => Some(Arc::clone(shard)),
            Loaded::NotYet | Loaded::Failed(_) => None,
        });
        ready.collect()
    }

    /// A topic is no more: what groups committed for it is forgotten. Shards that are not loaded
    /// see that when they are.
    pub fn forget_topic(&self, name: &str) {
        for shard in self.loaded() {
            shard.forget_topic(name);
        }
    }

    /// Loads what is asked for, keeps it going and looks at what has been kept long enough, until
    /// the broker stops.
    pub async fn run(broker: Arc<Broker>) {
        let mut ordered = broker.groups.ordered.lock().await;
        let mut driven: FuturesUnordered<BoxFuture<'_, ()>> = FuturesUnordered::new();
        let check = Duration::from_millis(broker.config.groups.retention_check_ms.into());
        let mut checks = tokio::time::interval_at(Instant::now() + check, check);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stops = tokio::time::interval(STOP_LOOK);
        let mut draining = false;
        while !(draining && broker.queues.has_stopped()) {
            tokio::select! {
                Some(order) = ordered.recv() => driven.push(Box::pin(drive(&broker, order))),
                Some(()) = driven.next() => {}
                _ = checks.tick() => driven.push(Box::pin(expire(&broker))),
                // GET's cursors are kept once more before nobody is left to keep them.
                () = broker.draining(), if !draining => draining = true,
                _ = stops.tick(), if draining => {}
            }
        }
        // Members that wait would hold their connections.
        for shard in broker.groups.loaded() {
            shard.resign();
        }
        broker.groups.slots.lock().clear();
    }
}

impl Slot {
    fn is_good(&self) -> bool {
        match &*self.loaded.borrow() {
            Loaded::NotYet => true,
            Loaded::Ready(shard) => !shard.has_resigned(),
            Loaded::Failed(_) => false,
        }
    }
}

/// Who leads a partition of the topic of offsets.
fn coordinates(broker: &Broker, chain: &Chain) -> Option<NodeId> {
    let (open, metadata) = (chain.open(), broker.metadata());
    let node = open.leader.node;
    // What an earlier life of a node left open, and nobody else stores, it leads when asked.
    let is_alone = open.members.len() == 1;
    let serves = metadata.node(node).is_some_and(|node| node.state.serves());
    let leads = metadata.may_lead(open.leader) || (is_alone && serves);
    leads.then_some(node)
}

fn index_of(topic: &TopicView, group: &str) -> i32 {
    let partitions = i32::try_from(topic.topic.partitions().len()).unwrap_or(i32::MAX);
    walrus_groups::partition_of(group, partitions)
}

/// Loads a partition and keeps its groups going for as long as this node leads it.
async fn drive(broker: &Arc<Broker>, Order { index, partition, tell }: Order) {
    match load::load(broker, &partition).await {
        Ok(shard) => {
            tell.send_replace(Loaded::Ready(Arc::clone(&shard)));
            shard.run(broker).await;
            debug!(index, "this node coordinates the groups of a partition no more");
        }
        Err(why) => {
            warn!(index, why, "the groups of a partition could not be read");
            tell.send_replace(Loaded::Failed(why.into()));
        }
    }
    // The partition may be loaded anew already.
    let mut slots = broker.groups.slots.lock();
    if slots.get(&index).is_some_and(|slot| slot.loaded.same_channel(&tell.subscribe())) {
        slots.remove(&index);
    }
}

/// Loads all that this node coordinates and has each look at what has been kept long enough.
async fn expire(broker: &Arc<Broker>) {
    match broker.groups.all(broker).await {
        Ok(shards) => shards.iter().for_each(|shard| {
            shard.expire();
            shard.forget_unknown(broker);
        }),
        Err(why) => debug!(%why, "the retention of offsets is looked at the next time"),
    }
}
