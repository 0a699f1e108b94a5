//! Carries what connections to other members say into the partitions that this node leads, and
//! stops those partitions when this life of the node is fenced.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use tracing::{info, warn};
use walrus_metadata::Metadata;
use walrus_replication::{Member, ReplicaSegment};
use walrus_storage::segment::Segment;
use walrus_types::TopicPartition;

use super::Partition;
use crate::{
    broker::Broker,
    controller::cluster::is_alone,
    peer::{
        PeerIdentity,
        append::AnswerMessage,
        feed::{Fed, FeedPeer},
    },
    replica::OwnLead,
};

/// How often members are asked while no controller answers.
const PROBE_EVERY: Duration = Duration::from_millis(150);
/// A controller that did not answer for so long is taken for silent.
const SILENT_MS: u64 = 300;
/// Where no controller was heard for so long, one that others hear has fenced this node: a lease
/// with its margin lasts half of that.
const CUT_OFF_MS: u64 = 2_000;

/// The partitions of a broker, for as long as there is one.
#[derive(Debug)]
pub struct Partitions(Weak<Broker>);

impl Partitions {
    /// Of this broker.
    pub fn of(broker: &Arc<Broker>) -> Arc<Self> {
        Arc::new(Self(Arc::downgrade(broker)))
    }
}

fn member(peer: &PeerIdentity) -> Member {
    Member { node: peer.node, storage: peer.storage }
}

impl Fed for Partitions {
    fn connected(&self, to: PeerIdentity) {
        let Some(broker) = self.0.upgrade() else { return };
        // Noted first: a partition that is opened meanwhile sees it by itself.
        broker.leading().connected(member(&to));
        for partition in broker.partitions().all() {
            partition.connected(member(&to));
        }
    }

    fn disconnected(&self, to: PeerIdentity) {
        let Some(broker) = self.0.upgrade() else { return };
        broker.leading().disconnected(member(&to));
        for partition in broker.partitions().all() {
            partition.disconnected(member(&to));
        }
    }

    fn answered(&self, from: PeerIdentity, answers: Vec<AnswerMessage>) {
        let Some(broker) = self.0.upgrade() else { return };
        for AnswerMessage { partition, answer } in answers {
            if let Some(partition) = broker.partitions().loaded(partition) {
                partition.answered(&from, &answer);
            }
        }
    }
}

impl OwnLead for Partitions {
    fn fenced(&self) -> Vec<(TopicPartition, ReplicaSegment, Arc<Segment>)> {
        let Some(broker) = self.0.upgrade() else { return Vec::new() };
        broker.lease.fence_heard("a controller that seals");
        let led = broker.partitions().all();
        let stopped = led.iter().filter_map(|partition| {
            let (replica, segment) = partition.fenced()?;
            Some((partition.id(), replica, segment))
        });
        stopped.collect()
    }
}

/// Whether this node is cut off from its cluster, as far as it can tell. Others may have fenced it
/// without its knowledge, so what it knows of leaders may be old, and whoever goes by that would
/// stay with it for as long as this lasts.
pub fn is_cut_off(broker: &Broker) -> bool {
    let unheard_ms = broker.lease.unheard_ms(broker.clock.uptime());
    unheard_ms >= CUT_OFF_MS && !is_alone(&broker.metadata())
}

/// While no controller answers, asks the members of all segments that this node leads: their
/// answers extend its leases then, of partitions that are idle as well (L6). While nobody answers,
/// sends clients away.
pub async fn probe(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut was_cut_off = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.draining() => return,
        }
        if broker.lease.silent_ms(broker.clock.uptime()) >= SILENT_MS {
            broker.partitions().all().iter().for_each(Partition::probe);
        }
        let now = broker.clock.uptime();
        if is_alone(&broker.metadata()) {
            // Who is alone hears itself; others may join it.
            broker.lease.heard(now);
        }
        let cut_off = is_cut_off(&broker);
        if cut_off {
            broker.partitions().all().iter().for_each(|partition| partition.send_away(now));
        }
        match (was_cut_off, cut_off) {
            (false, true) => warn!("no controller was heard of late: clients are sent away"),
            (true, false) => info!("a controller is heard again"),
            _ => {}
        }
        was_cut_off = cut_off;
    }
}

/// The nodes that this one keeps connections to: all others that are in the cluster.
pub fn peers(metadata: &Metadata, me: walrus_types::NodeId) -> Vec<FeedPeer> {
    let others = metadata
        .nodes()
        .iter()
        .filter(|(id, node)| **id != me && node.state != walrus_metadata::NodeState::Removed);
    others
        .map(|(id, node)| FeedPeer {
            node: *id,
            storage: node.storage,
            host: node.addresses.peer.host.clone(),
            port: node.addresses.peer.port,
        })
        .collect()
}
