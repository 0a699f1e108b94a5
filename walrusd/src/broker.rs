//! What every request of a running node shares: its store, its metadata, its partitions, and the
//! budgets that bound them. The parts own their state; this names them and answers the questions
//! that take more than one of them.

use std::{collections::HashMap, net::SocketAddr, sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use parking_lot::RwLock;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use walrus_metadata::{Leader, Metadata, Placement, Topic};
use walrus_raft::MetadataNode;
use walrus_replication::{
    Limits, RollLimits, RollReason,
    placement::{self, LeaderPolicy, Occasion, Previous},
};
use walrus_storage::store::Store;
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, PartitionIndex, StorageId, TopicId, TopicPartition,
};
use walrus_wire::{frame::FrameLimits, kafka_protocol::error::ResponseError};

use crate::{
    api::{fetch::sessions::Sessions, list_offsets::SEARCHES_MAX},
    asked_in_vain::AskedInVain,
    clock::Clock,
    cluster_view,
    config::{ANSWERS_BYTES_MAX, Config},
    controller::{ControllerState, cluster::TopicTerms, nodes},
    events, gc,
    groups::{self, Groups},
    lag::Lags,
    lease::Lease,
    metrics::Metrics,
    net::clients::Clients,
    operations::Operations,
    partition::{
        Partition,
        leading::Leading,
        load,
        registry::{Registry, Unavailable},
        roll,
    },
    peer::{Links, feed::Feeds},
    producer_ids::ProducerIds,
    replica::Replicas,
    text::Queues,
    topic_config::TopicConfig,
    vitals,
};

/// Bytes on their way to consumers that all connections may hold together.
const FETCH_BYTES_MAX: usize = ANSWERS_BYTES_MAX;
/// A fetch that finds the budget spent waits this long before it answers with nothing.
const FETCH_BUDGET_WAIT: Duration = Duration::from_millis(500);
/// A node that clients may still be connected to is shown to them for so long after it went.
const SHOWN_LONGER: Duration = Duration::from_secs(5);
/// Rolls of one partition follow each other at this distance on average.
const ROLL_INTERVAL_MS: u64 = 20;
/// Rolls of one partition that may follow each other at once.
const ROLL_BURST: u32 = 50;

/// Who this node is, in this life.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Its number.
    pub node: NodeId,
    /// Its disk.
    pub storage: StorageId,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// A topic as one moment of the metadata has it, with its settings resolved.
#[derive(Debug, Clone)]
pub struct TopicView {
    /// The metadata's own.
    pub topic: Arc<Topic>,
    /// What is in force for it.
    pub config: Arc<TopicConfig>,
}

impl TopicView {
    /// Its id.
    pub fn id(&self) -> TopicId {
        self.topic.id
    }
}

/// A topic as it was when its settings were resolved, and they.
type Resolved = (Arc<Topic>, Arc<TopicConfig>);

/// Where a client finds a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Which node.
    pub id: NodeId,
    /// Name or address.
    pub host: String,
    /// Client port.
    pub port: u16,
    /// Its rack, where it has one.
    pub rack: Option<String>,
}

/// A running node.
#[derive(Debug)]
pub struct Broker {
    /// What was configured.
    pub config: Arc<Config>,
    /// Who this is.
    pub identity: Identity,
    /// The node's clocks.
    pub clock: Clock,
    /// The log.
    pub store: Store,
    /// The cluster's metadata, and where it is changed.
    pub raft: MetadataNode,
    /// Counters.
    pub metrics: Metrics,
    /// Incremental fetch sessions.
    pub sessions: Sessions,
    /// Consumer groups.
    pub groups: Groups,
    /// How far groups are behind.
    pub lags: Lags,
    /// What other nodes said of themselves.
    pub vitals: vitals::Board,
    /// What retention found, for whoever asks.
    pub gc: gc::Account,
    /// Who is connected.
    pub clients: Clients,
    /// What operators have the cluster do.
    pub operations: Operations,
    /// What changed in the cluster.
    pub events: events::Log,
    /// The text protocol's cursors.
    pub queues: Queues,
    /// What clients asked for that is not served.
    pub asked_in_vain: AskedInVain,
    /// Bytes that all requests being read may hold.
    pub request_budget: Arc<Semaphore>,
    /// Who this node's replicas are kept by, for other leaders.
    pub replicas: Arc<Replicas>,
    /// The lease of this life.
    pub lease: Arc<Lease>,
    /// This node as the controller, and as one that hears from it.
    pub controller: Arc<ControllerState>,
    /// Connections to other nodes.
    pub links: Arc<Links>,
    /// Connections by which other members are fed.
    pub feeds: Arc<Feeds>,
    leading: Arc<Leading>,
    backend: &'static str,
    /// Ids for idempotent producers.
    pub producer_ids: ProducerIds,
    /// Searches of records by time that may run at once.
    pub searches: Semaphore,
    fetch_budget: Arc<Semaphore>,
    request_bytes_max: usize,
    partitions: Registry,
    topic_defaults: TopicConfig,
    topic_configs: RwLock<HashMap<TopicId, Resolved>>,
    drain: watch::Sender<bool>,
}

/// What a [`Broker`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// See [`Broker::config`].
    pub config: Arc<Config>,
    /// See [`Broker::identity`].
    pub identity: Identity,
    /// See [`Broker::clock`].
    pub clock: Clock,
    /// See [`Broker::store`].
    pub store: Store,
    /// How the log reaches the disk, like `io_uring`.
    pub backend: &'static str,
    /// See [`Broker::raft`].
    pub raft: MetadataNode,
    /// See [`Broker::metrics`].
    pub metrics: Metrics,
    /// See [`Broker::replicas`].
    pub replicas: Arc<Replicas>,
    /// See [`Broker::lease`].
    pub lease: Arc<Lease>,
    /// See [`Broker::controller`].
    pub controller: Arc<ControllerState>,
    /// See [`Broker::links`].
    pub links: Arc<Links>,
    /// See [`Broker::feeds`].
    pub feeds: Arc<Feeds>,
    /// What its partitions share.
    pub leading: Arc<Leading>,
}

/// Partitions that one request loads at a time.
const LOADS_MAX: usize = 64;

impl Broker {
    /// A node that is about to serve.
    pub fn new(parts: Parts) -> Arc<Self> {
        let Parts { config, identity, clock, store, backend, raft, metrics, .. } = parts;
        let Parts { replicas, lease, controller, links, feeds, leading, .. } = parts;
        let request_bytes = usize::try_from(config.memory.requests_bytes_max).unwrap_or(usize::MAX);
        let request_bytes = request_bytes.min(Semaphore::MAX_PERMITS);
        Arc::new(Self {
            topic_defaults: TopicConfig::defaults(&config),
            config,
            identity,
            clock,
            store,
            backend,
            raft,
            metrics,
            sessions: Sessions::default(),
            groups: Groups::default(),
            lags: Lags::default(),
            vitals: vitals::Board::default(),
            gc: gc::Account::default(),
            clients: Clients::default(),
            operations: Operations::default(),
            events: events::Log::default(),
            queues: Queues::default(),
            asked_in_vain: AskedInVain::default(),
            request_budget: Arc::new(Semaphore::new(request_bytes)),
            request_bytes_max: request_bytes,
            replicas,
            lease,
            controller,
            links,
            feeds,
            leading,
            producer_ids: ProducerIds::default(),
            searches: Semaphore::new(SEARCHES_MAX),
            fetch_budget: Arc::new(Semaphore::new(FETCH_BYTES_MAX)),
            partitions: Registry::default(),
            topic_configs: RwLock::default(),
            drain: watch::Sender::new(false),
        })
    }

    /// The metadata as this node has applied it.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.raft.state()
    }

    /// The topic of that name.
    pub fn topic_by_name(&self, name: &str) -> Option<TopicView> {
        self.metadata().topic_named(name).map(|topic| self.view(topic))
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<TopicView> {
        self.metadata().topic(id).map(|topic| self.view(topic))
    }

    /// A topic with its settings, which are resolved once for each change of the topic.
    pub fn view(&self, topic: &Arc<Topic>) -> TopicView {
        if let Some((known, config)) = self.topic_configs.read().get(&topic.id)
            && (Arc::ptr_eq(known, topic) || known.configs() == topic.configs())
        {
            return TopicView { topic: Arc::clone(topic), config: Arc::clone(config) };
        }
        let config = Arc::new(self.topic_defaults.with(topic.configs()));
        let entry = (Arc::clone(topic), Arc::clone(&config));
        self.topic_configs.write().insert(topic.id, entry);
        TopicView { topic: Arc::clone(topic), config }
    }

    /// The settings of a topic that sets none.
    pub fn topic_defaults(&self) -> &TopicConfig {
        &self.topic_defaults
    }

    /// A partition that this node leads, loaded when it is asked for the first time.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn partition(
        self: &Arc<Self>,
        topic: &TopicView,
        index: i32,
    ) -> Result<Arc<Partition>, Unavailable> {
        let id = TopicPartition { topic: topic.id(), partition: PartitionIndex(index) };
        if let Some(partition) = self.partitions.loaded(id) {
            return Ok(partition);
        }
        topic.topic.partition(id.partition).ok_or(Unavailable::Unknown)?;
        let partition = self.partitions.get_or_load(id, load::load(self, topic, id)).await?;
        // A change that came between the look and here was carried to no partition.
        roll::settle(self, &partition, partition.marks().epoch).await;
        Ok(partition)
    }

    /// As [`Broker::partition`], of one that this node has a lease for: its marks are true.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn leased(
        self: &Arc<Self>,
        topic: &TopicView,
        index: i32,
    ) -> Result<Arc<Partition>, Unavailable> {
        let partition = self.partition(topic, index).await?;
        partition.check_lease()?;
        Ok(partition)
    }

    /// Loads those of `indexes` that are not loaded, several at a time: after a start a request
    /// for thousands would else pay for one after the other. What cannot be loaded says so when
    /// it is asked for by [`Broker::partition`].
    pub async fn load_partitions(
        self: &Arc<Self>,
        topic: &TopicView,
        indexes: impl Iterator<Item = i32> + Send,
    ) {
        let absent = indexes.filter(|index| {
            let partition = PartitionIndex(*index);
            self.partitions.loaded(TopicPartition { topic: topic.id(), partition }).is_none()
        });
        stream::iter(absent)
            .for_each_concurrent(LOADS_MAX, |index| async move {
                drop(self.partition(topic, index).await);
            })
            .await;
    }

    /// The partitions that somebody asked for since the start.
    pub fn partitions(&self) -> &Registry {
        &self.partitions
    }

    /// A topic is gone: its partitions stop, what is kept for it is forgotten.
    pub fn forget_topic(&self, id: TopicId) {
        for partition in self.partitions.remove_topic(id) {
            partition.deleted();
        }
        self.topic_configs.write().remove(&id);
        self.queues.forget_topic(id);
    }

    /// This node in this life, as metadata names a leader.
    pub fn leader(&self) -> Leader {
        Leader { node: self.identity.node, incarnation: self.identity.incarnation }
    }

    /// What the partitions that this node leads share.
    pub fn leading(&self) -> &Arc<Leading> {
        &self.leading
    }

    /// The nodes as placement sees them.
    pub fn nodes(&self) -> placement::Nodes {
        nodes::nodes(&self.metadata(), &self.controller.silent(), self.clock.now())
    }

    /// What placement has to know of a topic.
    pub fn terms_of(&self, topic: &Arc<Topic>) -> TopicTerms {
        let config = self.view(topic).config;
        // A coordinator that moves disturbs all its groups.
        let internal = topic.name.starts_with("__");
        let default = if internal { LeaderPolicy::Keep } else { LeaderPolicy::LeastLoaded };
        TopicTerms {
            min_insync: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            policy: config.rollover_leader.unwrap_or(default),
            lax: false,
        }
    }

    /// Where the next segment of a partition goes.
    ///
    /// # Errors
    /// [`placement::Refusal`]: no node can take it now.
    pub fn place_next(
        &self,
        id: TopicPartition,
        occasion: Occasion,
    ) -> Result<Placement, placement::Refusal> {
        self.place(id, occasion, None)
    }

    /// Where the next segment of a partition goes when that node is to lead it.
    ///
    /// # Errors
    /// [`placement::Refusal`]: that node cannot lead it now.
    pub fn place_led_by(
        &self,
        id: TopicPartition,
        leader: NodeId,
    ) -> Result<Placement, placement::Refusal> {
        self.place(id, Occasion::Planned(RollReason::Operator), Some(leader))
    }

    fn place(
        &self,
        id: TopicPartition,
        occasion: Occasion,
        leader: Option<NodeId>,
    ) -> Result<Placement, placement::Refusal> {
        let metadata = self.metadata();
        let topic = metadata.topic(id.topic).ok_or(placement::Refusal::NobodyLives)?;
        let chain = topic.partition(id.partition).ok_or(placement::Refusal::NobodyLives)?;
        let TopicTerms { min_insync, policy, lax: _ } = self.terms_of(topic);
        let members = nodes::members(&chain.open().members);
        let assigned = nodes::assigned(&metadata, chain);
        let request = placement::Request {
            partition: id.partition,
            target: usize::from(topic.replicas_target).max(1),
            min_insync,
            previous: Some(Previous {
                members: &members,
                leader: chain.open().leader.node,
                short: &[],
            }),
            policy,
            occasion,
            salt: nodes::salt(id.topic),
            assigned: &assigned,
        };
        let placed = match leader {
            Some(leader) => placement::place_led_by(&self.nodes(), &request, leader)?,
            None => placement::place(&self.nodes(), &request)?,
        };
        Ok(nodes::placement(&placed))
    }

    /// The controller wants the open segment of `epoch`, which this node leads, to be followed by
    /// one elsewhere. False when there is nothing to roll, or a roll is under way.
    pub async fn order_roll(
        self: &Arc<Self>,
        (id, epoch): (TopicPartition, Epoch),
        reason: RollReason,
        to: Placement,
    ) -> bool {
        let Some(topic) = self.topic_by_id(id.topic) else { return false };
        let Ok(partition) = self.partition(&topic, id.partition.0).await else { return false };
        if *topic.topic.name == *groups::TOPIC {
            // Cursors that it keeps go to another node: with all that was handed out.
            let _held = self.queues.hold(self).await;
            return partition.begin_roll_to(epoch, (reason, to), self.clock.uptime());
        }
        partition.begin_roll_to(epoch, (reason, to), self.clock.uptime())
    }

    /// What a leader goes by, from a topic's settings.
    pub fn leader_limits(&self, config: &TopicConfig) -> Limits {
        let positive = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        Limits {
            min_insync: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            roll: RollLimits {
                bytes: positive(config.segment_bytes),
                entries: positive(config.segment_entries),
                age_ms: positive(config.segment_ms),
                interval_ms: ROLL_INTERVAL_MS,
                burst: ROLL_BURST,
            },
        }
    }

    /// Who leads, for a client whose idea of it is old (KIP-951).
    pub fn leader_hint(
        &self,
        code: ResponseError,
        partition: TopicPartition,
    ) -> Option<(NodeId, Epoch)> {
        match code {
            ResponseError::NotLeaderOrFollower
            | ResponseError::FencedLeaderEpoch
            | ResponseError::UnknownLeaderEpoch => {
                let metadata = self.metadata();
                let open = metadata.partition(partition)?.open();
                // Of one that is being sealed nobody knows yet who will lead what follows.
                metadata.may_lead(open.leader).then_some((open.leader.node, open.key.epoch))
            }
            _ => None,
        }
    }

    /// Where clients find the nodes. `reached` is the address by which the asking client came: what
    /// it is told when nothing is configured, for 0.0.0.0 would lead it nowhere.
    pub fn endpoints(&self, reached: SocketAddr) -> Vec<Endpoint> {
        let (host, port) = match self.config.client.advertised() {
            Some(advertised) => (advertised.host.as_str().to_owned(), advertised.port),
            None => (reached.ip().to_canonical().to_string(), reached.port()),
        };
        let rack = self.config.node.rack.as_ref().map(ToString::to_string);
        let own = Endpoint { id: self.identity.node, host, port, rack };
        let lost = self.leading.lost_within(SHOWN_LONGER);
        cluster_view::endpoints(&self.metadata(), own, &lost)
    }

    /// Whom clients are told to ask for changes of metadata.
    pub fn controller_id(&self) -> NodeId {
        let leader = self.raft.group().leader().map(StorageId::from);
        cluster_view::controller(&self.metadata(), leader, self.identity.node)
    }

    /// A share of the budget for bytes on their way to consumers. With `patience` it is waited
    /// for a moment; `None` when others hold it.
    pub async fn charge_fetch(&self, bytes: usize, patience: bool) -> Option<OwnedSemaphorePermit> {
        let permits = u32::try_from(bytes.clamp(1, FETCH_BYTES_MAX)).expect("the budget fits");
        let budget = Arc::clone(&self.fetch_budget);
        if !patience {
            return budget.try_acquire_many_owned(permits).ok();
        }
        tokio::time::timeout(FETCH_BUDGET_WAIT, budget.acquire_many_owned(permits)).await.ok()?.ok()
    }

    /// How the log reaches the disk.
    pub fn store_backend(&self) -> &'static str {
        self.backend
    }

    /// Bytes that requests under way hold beyond each connection's allowance.
    pub fn request_bytes(&self) -> u64 {
        let held = self.request_bytes_max - self.request_budget.available_permits();
        u64::try_from(held).unwrap_or(u64::MAX)
    }

    /// How long a client's frames may be.
    pub fn frame_limits(&self) -> FrameLimits {
        let produce = usize::try_from(self.config.client.request_bytes_max).unwrap_or(usize::MAX);
        let FrameLimits { control, .. } = FrameLimits::default();
        FrameLimits { produce, control: control.min(produce) }
    }

    /// No more requests are begun from now on.
    pub fn drain(&self) {
        self.drain.send_replace(true);
    }

    /// Whether the node is stopping.
    pub fn is_draining(&self) -> bool {
        *self.drain.borrow()
    }

    /// Ends when the node is stopping.
    pub async fn draining(&self) {
        // The sender is ours: waiting cannot fail while we are here.
        let mut stopping = self.drain.subscribe();
        drop(stopping.wait_for(|draining| *draining).await);
    }
}
