//! Carries what connections to other members say into the partitions that this node leads, and
//! stops those partitions when this life of the node is fenced.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use walrus_metadata::Metadata;
use walrus_replication::{Member, ReplicaSegment};
use walrus_storage::segment::Segment;
use walrus_types::TopicPartition;

use super::Partition;
use crate::{
    broker::Broker,
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

/// While no controller answers, asks the members of all segments that this node leads: their
/// answers extend its leases then, of partitions that are idle as well (L6).
pub async fn probe(broker: Arc<Broker>) {
    let mut ticks = tokio::time::interval(PROBE_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = broker.draining() => return,
        }
        if broker.lease.silent_ms(broker.clock.uptime()) >= SILENT_MS {
            broker.partitions().all().iter().for_each(Partition::probe);
        }
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
