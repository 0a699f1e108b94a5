//! What a scrape of `/metrics` is told about the broker.

use std::sync::{Arc, Weak};

use walrus_metadata::{Metadata, NodeState};
use walrus_raft::MetadataNode;
use walrus_types::TopicPartition;

use crate::{
    broker::Broker,
    controller::nodes::{is_up, stored},
    metrics::{ClusterFacts, Facts, NodeFacts, PartitionFacts, RaftFacts},
};

/// Looks at a broker for as long as there is one; the admin port outlives it by a moment.
#[derive(Debug)]
pub struct BrokerFacts(Weak<Broker>);

impl BrokerFacts {
    /// Of this broker.
    pub fn new(broker: &Arc<Broker>) -> Self {
        Self(Arc::downgrade(broker))
    }
}

impl Facts for BrokerFacts {
    fn read(&self) -> NodeFacts {
        self.0.upgrade().map_or_else(NodeFacts::default, |broker| read(&broker))
    }
}

fn read(broker: &Broker) -> NodeFacts {
    let stats = broker.store.stats();
    let metadata = broker.metadata();
    let count = |count: usize| Some(u64::try_from(count).unwrap_or(u64::MAX));
    let segments = metadata.partitions().map(|(_, chain)| chain.segments()).sum();
    NodeFacts {
        records_wal: Some(stats.wal),
        raft_wal: Some(broker.raft.wal_stats()),
        hot_tail_bytes: Some(stats.tail_bytes),
        hot_tail_bytes_max: Some(broker.config.storage.hot_tail_bytes),
        disk_free_bytes: space(broker).map(|space| space.free_bytes),
        disk_reserve_bytes: Some(broker.config.storage.disk_reserve_bytes),
        disk_full: Some(stats.disk_full),
        request_bytes: Some(broker.request_bytes()),
        topics: count(metadata.topics_total()),
        partitions: count(metadata.partitions_total()),
        segments: count(segments),
        open_segment_files: count(stats.open_files),
        raft: raft(&broker.raft, broker),
        cluster: Some(cluster(broker, &metadata)),
        led: led(broker),
        // They take asking others: who scrapes does that before.
        lags: None,
    }
}

fn cluster(broker: &Broker, metadata: &Metadata) -> ClusterFacts {
    let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let here = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
    let members = broker.raft.group().members();
    let voters = members.iter().filter(|member| member.votes);
    ClusterFacts { size: count(here.count()), quorum: count(voters.count() / 2 + 1) }
}

/// The file system that a node's folder is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// How large it is.
    pub total_bytes: u64,
    /// What of it may be written by this process.
    pub free_bytes: u64,
}

/// How much room there is; `None` when the system does not say.
pub fn space(broker: &Broker) -> Option<Space> {
    let stat = rustix::fs::statvfs(&broker.config.node.data_dir).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Some(Space { total_bytes: bytes(stat.f_blocks), free_bytes: bytes(stat.f_bavail) })
}

fn raft(raft: &MetadataNode, broker: &Broker) -> Option<RaftFacts> {
    let metrics = raft.metrics();
    let number = |value: &serde_json::Value| value.as_u64();
    let is_leader = metrics["state"] == "Leader";
    Some(RaftFacts {
        leader: is_leader.then_some(broker.identity.node),
        is_leader,
        term: number(&metrics["current_term"])?,
        commit_index: number(&metrics["cluster_committed"]["index"]).unwrap_or(0),
        applied_index: broker.metadata().applied(),
    })
}

/// The partitions that somebody asked for: of the others there is nothing to tell.
fn led(broker: &Broker) -> Vec<PartitionFacts> {
    let metadata = broker.metadata();
    let loaded = broker.partitions().all();
    let facts = loaded.iter().filter_map(|partition| {
        let TopicPartition { topic, partition: index } = partition.id();
        let (topic, live, min_insync) = (metadata.topic(topic)?, partition.live_members(), {
            let view = broker.view(metadata.topic(topic)?);
            usize::try_from(view.config.min_insync_replicas).unwrap_or(1)
        });
        let in_sync = partition.in_sync().into_iter();
        let in_sync = in_sync.filter(|member| is_up(&metadata, stored(*member))).count();
        Some(PartitionFacts {
            topic: topic.name.to_string(),
            partition: index,
            in_sync: u64::try_from(in_sync).unwrap_or(0),
            has_min_in_sync: live >= min_insync,
        })
    });
    facts.collect()
}
