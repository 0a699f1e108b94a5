//! The world as a running node gives it to its controller part: [`Cluster`] over the broker.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::{sync::watch, time::timeout};
use tracing::{debug, info};
use walrus_metadata::{Address, Command, Metadata, Reply, Topic};
use walrus_raft::{Lane, Leadership, ProposeError, RaftId};
use walrus_replication::{Held, Member, UptimeMs, liveness::Beat, seal::Report};
use walrus_types::{NodeId, SegmentId, StorageId, TimestampMs};

use super::{
    ControllerState,
    balance::roll_reason,
    beat,
    cluster::{Chore, Cluster, Copying, Fencing, TopicTerms},
    messages::{self, BeatReply, BeatRequest, Orders},
    watch as reign,
};
use crate::{
    broker::Broker,
    peer::{PeerIdentity, Subject, node},
    replica::messages::{
        self as members, CopyOrder, CopyReply, FenceReply, FenceRequest, RepairOrder, RepairReply,
    },
};

/// How long one heartbeat may take. The task that beats has less patience.
const BEAT_MAX: Duration = Duration::from_millis(500);
/// How long a member may take to flush and to report.
const FENCE_MAX: Duration = Duration::from_secs(10);
/// How long a member may take to copy a suffix.
const COPY_MAX: Duration = Duration::from_secs(30);
/// How long a node that stops waits for another one to be the controller.
const HAND_OVER_MAX: Duration = Duration::from_millis(500);
/// How long a member may take to say how far a copy is.
const REPAIR_MAX: Duration = Duration::from_secs(20);
/// How long a leader may take to take orders.
const ORDER_MAX: Duration = Duration::from_secs(5);

/// Beats, and is the controller whenever this node leads the metadata group, until the broker
/// stops; then another node is, at once.
pub async fn run(broker: Arc<Broker>) {
    let state = Arc::clone(&broker.controller);
    let world = Arc::new(World(Arc::clone(&broker)));
    tokio::select! {
        () = beat::run(Arc::clone(&world)) => {}
        () = reign::run(world, state) => {}
        () = broker.draining() => {}
    }
    hand_over(&broker).await;
}

/// Has the voter that is furthest lead the metadata group, if this node does.
async fn hand_over(broker: &Broker) {
    let (group, me) = (broker.raft.group(), RaftId::from(broker.identity.storage));
    if !group.leads() {
        return;
    }
    let members = group.members();
    let heirs = members.iter().filter(|member| member.votes && member.id != me);
    let Some(heir) = heirs.min_by_key(|member| member.lag_entries.unwrap_or(u64::MAX)) else {
        return;
    };
    let mut leadership = broker.raft.leadership();
    if let Err(why) = group.transfer(heir.id).await {
        debug!(%why, "the metadata group elects another leader by itself");
        return;
    }
    let led = timeout(HAND_OVER_MAX, leadership.wait_for(|now| !now.here && now.leader.is_some()));
    if led.await.is_ok() {
        info!(to = %heir.peer.node, "another node is the controller");
    }
}

/// A running node.
struct World(Arc<Broker>);

impl World {
    fn address_of(&self, node: NodeId) -> Result<(Address, StorageId), String> {
        let metadata = self.0.metadata();
        let known = metadata.node(node).ok_or_else(|| format!("there is no node {node}"))?;
        Ok((known.addresses.peer.clone(), known.storage))
    }

    async fn ask(
        &self,
        node: NodeId,
        how: (Lane, Subject),
        body: Bytes,
        limit: Duration,
    ) -> Result<Bytes, String> {
        let (at, storage) = self.address_of(node)?;
        let asked = self.0.links.ask((&at.host, at.port), Some(storage), how, body, limit).await;
        asked.map(|(_peer, answer)| answer).map_err(|why| why.to_string())
    }

    fn identity(&self) -> PeerIdentity {
        self.0.links.me()
    }
}

impl Cluster for World {
    fn me(&self) -> Member {
        Member { node: self.0.identity.node, storage: self.0.identity.storage }
    }

    fn uptime(&self) -> UptimeMs {
        self.0.clock.uptime()
    }

    fn now(&self) -> TimestampMs {
        self.0.clock.now()
    }

    fn views(&self) -> watch::Receiver<Arc<Metadata>> {
        self.0.raft.watch()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.0.raft.leadership()
    }

    fn terms_of(&self, topic: &Arc<Topic>) -> TopicTerms {
        self.0.terms_of(topic)
    }

    async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        self.0.raft.propose(&command).await
    }

    async fn fence(
        &self,
        node: NodeId,
        fencing: Fencing,
    ) -> Result<Vec<(SegmentId, Report)>, String> {
        let Fencing { fenced, index, segments } = fencing;
        let request = FenceRequest { fenced, index, segments };
        let reply: FenceReply = if node == self.0.identity.node {
            self.0.replicas.fence(request).await?
        } else {
            let body = members::encode(&request);
            let how = (Lane::Control, Subject::Fence);
            members::decode_reply(&self.ask(node, how, body, FENCE_MAX).await?)?
        };
        Ok(reply.reports)
    }

    async fn copy(&self, copying: Copying) -> Result<Option<Held>, String> {
        let Copying { segment, from_member, to_member, from, to } = copying;
        let (at, _storage) = self.address_of(from_member.node)?;
        let order = CopyOrder {
            segment,
            from_member,
            from_addr: (at.host, at.port),
            to_storage: to_member.storage,
            from,
            to,
        };
        let reply: CopyReply = if to_member.node == self.0.identity.node {
            self.0.replicas.copy(order).await?
        } else {
            let how = (Lane::Copy, Subject::Copy);
            let body = members::encode(&order);
            members::decode_reply(&self.ask(to_member.node, how, body, COPY_MAX).await?)?
        };
        Ok(reply.held)
    }

    async fn repair(&self, node: NodeId, order: RepairOrder) -> Result<RepairReply, String> {
        if node == self.0.identity.node {
            return self.0.replicas.repair(order).await;
        }
        let how = (Lane::Copy, Subject::Repair);
        let body = members::encode(&order);
        members::decode_reply(&self.ask(node, how, body, REPAIR_MAX).await?)
    }

    async fn order(&self, node: NodeId, orders: Orders) -> Result<(), String> {
        if node == self.0.identity.node {
            carry_out(&self.0, orders).await;
            return Ok(());
        }
        let how = (Lane::Control, Subject::Order);
        let answer = self.ask(node, how, messages::encode(&orders), ORDER_MAX).await?;
        if answer.is_empty() { Err("it takes no orders yet".into()) } else { Ok(()) }
    }

    async fn is_refused(&self, at: Address) -> bool {
        self.0.links.is_refused(&at.host, at.port).await
    }

    async fn beat(&self, leader: RaftId) -> Result<BeatReply, String> {
        let broker = &self.0;
        let flushes =
            [broker.store.stats().wal.oldest_flush_age, broker.raft.wal_stats().oldest_flush_age];
        let flush_age = flushes.into_iter().flatten().max().unwrap_or_default();
        let metadata = broker.metadata();
        let others = metadata
            .nodes()
            .iter()
            .filter(|(id, node)| **id != broker.identity.node && node.state.serves());
        let beat = Beat {
            incarnation: broker.identity.incarnation,
            applied: metadata.applied(),
            flush_age_ms: u64::try_from(flush_age.as_millis()).unwrap_or(u64::MAX),
            unreachable: broker
                .leading()
                .unreached(others.map(|(id, node)| (*id, node.incarnation))),
            is_leaving: broker.controller.is_leaving(),
        };
        let lag = broker.controller.tell_lag(broker.clock.uptime(), || {
            broker.partitions().all().iter().filter_map(|partition| partition.laggards()).collect()
        });
        let body = messages::encode(&BeatRequest { node: broker.identity.node, beat, lag });
        if StorageId::from(leader) == broker.identity.storage {
            return messages::decode(&broker.controller.heartbeat(self.identity(), &body));
        }
        let members = broker.raft.group().members();
        let known = members.into_iter().find(|member| member.id == leader);
        let peer = known.ok_or("the leader of the metadata group is no member")?.peer;
        let (at, how) = ((peer.host.as_str(), peer.port), (Lane::Control, Subject::Beat));
        let storage = Some(StorageId::from(leader));
        let asked = broker.links.ask(at, storage, how, body, BEAT_MAX).await;
        let (_peer, answer) = asked.map_err(|why| why.to_string())?;
        messages::decode(&answer)
    }

    fn beat_answered(&self, sent: UptimeMs, reply: &BeatReply) {
        self.0.controller.answered(reply);
        self.0.lease.beat_answered(reply.term, sent, reply.answer);
    }

    fn quorum_age_ms(&self) -> Option<u64> {
        let age = self.0.raft.group().quorum_age()?;
        Some(u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
    }

    async fn caught_up(&self, term: u64) -> bool {
        self.0.raft.group().caught_up(term).await.is_ok()
    }

    async fn elect(&self) -> Result<(), String> {
        self.0.raft.group().elect().await.map_err(|why| why.to_string())
    }

    fn members(&self) -> Vec<walrus_raft::Member> {
        self.0.raft.group().members()
    }

    async fn carry_out(&self, chore: Chore) -> Result<(), String> {
        let group = self.0.raft.group();
        let changed = match chore {
            Chore::Promote(member) => group.promote(member).await,
            Chore::Expel(member) => group.expel(member).await,
            Chore::HandOver(to) => group.transfer(to).await,
        };
        changed.map_err(|why| why.to_string())
    }
}

impl node::Beats for ControllerState {
    fn heartbeat(&self, from: PeerIdentity, bytes: &[u8]) -> Bytes {
        self.heartbeat(from, bytes)
    }

    fn peer_ended(&self, from: PeerIdentity) {
        self.peer_ended(from);
    }
}

/// Has the leader of partitions roll them: as the controller orders it, and an operator at any node.
///
/// # Errors
/// It was not reached, or takes no orders yet.
pub async fn order(broker: &Arc<Broker>, node: NodeId, orders: Orders) -> Result<(), String> {
    World(Arc::clone(broker)).order(node, orders).await
}

/// Takes a controller's orders.
#[derive(Debug)]
pub struct Obeys(pub std::sync::Weak<Broker>);

impl node::Orders for Obeys {
    fn order(&self, from: PeerIdentity, bytes: Bytes) -> BoxFuture<'static, Bytes> {
        let broker = self.0.upgrade();
        Box::pin(async move {
            match (broker, messages::decode::<Orders>(&bytes)) {
                (Some(broker), Ok(orders)) => {
                    // Partitions that were not asked for yet are loaded first; nobody waits for it.
                    tokio::spawn(async move { carry_out(&broker, orders).await });
                    messages::encode(&true)
                }
                (_, Err(why)) => {
                    tracing::warn!(peer = %from.node, why, "orders that are none");
                    Bytes::new()
                }
                (None, Ok(_)) => Bytes::new(),
            }
        })
    }
}

async fn carry_out(broker: &Arc<Broker>, orders: Orders) {
    for order in orders.0 {
        let reason = roll_reason(order.reason);
        let of = (order.partition, order.epoch);
        let begun = broker.order_roll(of, reason, order.placement).await;
        debug!(partition = %order.partition, %reason, begun, "the controller ordered a roll");
    }
}
