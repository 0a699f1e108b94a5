//! Version 1 of both formats, which is read and never written: commands in logs, and snapshots, of
//! programs that knew of one node only.
//!
//! Owns the shapes that have changed since. Those that have not are used as they are; who changes
//! one of them keeps the old shape here.

use std::collections::BTreeMap;

use serde::Deserialize;
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, ProducerId, StorageId, TimestampMs, TopicId,
    TopicPartition,
};

use crate::{
    command::{self, AddPartitions, NewTopic, Placement, Prune, SetConfigs},
    node::{self, Addresses, Fences, Leader, Member, NodeState},
    segment::{Coverage, Reason, SealedAt, SegmentKey},
    snapshot,
};

/// [`command::Command`] as it was.
#[derive(Deserialize)]
pub(crate) enum Command {
    Register(Register),
    CreateTopics(Vec<NewTopic>),
    DeleteTopics(Vec<TopicId>),
    AddPartitions(AddPartitions),
    SetConfigs(Vec<SetConfigs>),
    Roll(Vec<Roll>),
    Prune(Vec<Prune>),
    ProducerIds,
}

/// Without a time, so that it never counts as a fence of the life before.
#[derive(Deserialize)]
pub(crate) struct Register {
    node: NodeId,
    storage: StorageId,
    incarnation: Incarnation,
    cluster: ClusterId,
    rack: Option<String>,
    addresses: Addresses,
}

/// Without a coverage: one node was all members, and sealed what it had.
#[derive(Deserialize)]
pub(crate) struct Roll {
    partition: TopicPartition,
    expected: Epoch,
    sealed: SealedAt,
    next: Placement,
    reason: Reason,
    at: TimestampMs,
}

impl From<Command> for command::Command {
    fn from(old: Command) -> Self {
        match old {
            Command::Register(old) => Self::Register(old.into()),
            Command::CreateTopics(topics) => Self::CreateTopics(topics),
            Command::DeleteTopics(topics) => Self::DeleteTopics(topics),
            Command::AddPartitions(add) => Self::AddPartitions(add),
            Command::SetConfigs(sets) => Self::SetConfigs(sets),
            Command::Roll(rolls) => Self::Roll(rolls.into_iter().map(Into::into).collect()),
            Command::Prune(prunes) => Self::Prune(prunes),
            Command::ProducerIds => Self::ProducerIds,
        }
    }
}

impl From<Register> for command::Register {
    fn from(old: Register) -> Self {
        let Register { node, storage, incarnation, cluster, rack, addresses } = old;
        Self { node, storage, incarnation, cluster, rack, addresses, at: TimestampMs::NONE }
    }
}

impl From<Roll> for command::Roll {
    fn from(old: Roll) -> Self {
        let Roll { partition, expected, sealed, next, reason, at } = old;
        let coverage = Coverage::Quorum;
        Self { partition, expected, sealed, coverage, next, reason, at }
    }
}

/// [`snapshot::Image`] as it was.
#[derive(Deserialize)]
pub(crate) struct Image {
    applied: u64,
    cluster: Option<ClusterId>,
    epoch_floor: Epoch,
    next_producer: ProducerId,
    nodes: Vec<(NodeId, Node)>,
    cluster_configs: BTreeMap<String, String>,
    tombstones: Vec<(String, Epoch)>,
    members: Vec<Vec<Member>>,
    topics: Vec<TopicImage>,
}

#[derive(Deserialize)]
struct Node {
    storage: StorageId,
    incarnation: Incarnation,
    state: NodeState,
    rack: Option<String>,
    addresses: Addresses,
    configs: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct TopicImage {
    id: TopicId,
    name: String,
    replicas_target: u8,
    first_epoch: Epoch,
    configs: BTreeMap<String, String>,
    partitions: Vec<PartitionImage>,
}

#[derive(Deserialize)]
struct PartitionImage {
    log_start: Offset,
    sealed: Vec<SealedImage>,
    key: SegmentKey,
    leader: Leader,
    members: u32,
    w: u8,
    opened_at: TimestampMs,
    reason: Reason,
}

#[derive(Deserialize)]
struct SealedImage {
    key: SegmentKey,
    end: Offset,
    bytes: u64,
    max_timestamp: TimestampMs,
    members: u32,
    leader: NodeId,
    reason: Reason,
}

impl From<Image> for snapshot::Image {
    fn from(old: Image) -> Self {
        Self {
            applied: old.applied,
            cluster: old.cluster,
            epoch_floor: old.epoch_floor,
            next_producer: old.next_producer,
            nodes: old.nodes.into_iter().map(|(id, node)| (id, node.into())).collect(),
            spent: Vec::new(),
            cluster_configs: old.cluster_configs,
            tombstones: old.tombstones,
            members: old.members,
            topics: old.topics.into_iter().map(Into::into).collect(),
            operations: Vec::new(),
        }
    }
}

impl From<Node> for node::Node {
    fn from(old: Node) -> Self {
        let Node { storage, incarnation, state, rack, addresses, configs } = old;
        let (drains, fences) = (false, Fences::default());
        Self { storage, incarnation, state, rack, addresses, configs, drains, fences }
    }
}

impl From<TopicImage> for snapshot::TopicImage {
    fn from(old: TopicImage) -> Self {
        let TopicImage { id, name, replicas_target, first_epoch, configs, partitions } = old;
        let partitions = partitions.into_iter().map(Into::into).collect();
        Self { id, name, replicas_target, first_epoch, configs, partitions }
    }
}

impl From<PartitionImage> for snapshot::PartitionImage {
    fn from(old: PartitionImage) -> Self {
        let PartitionImage { log_start, sealed, key, leader, members, w, opened_at, reason } = old;
        let sealed = sealed.into_iter().map(Into::into).collect();
        let (losses, assignment) = (Vec::new(), None);
        Self { log_start, sealed, losses, key, leader, members, w, opened_at, reason, assignment }
    }
}

impl From<SealedImage> for snapshot::SealedImage {
    fn from(old: SealedImage) -> Self {
        let SealedImage { key, end, bytes, max_timestamp, members, leader, reason } = old;
        Self { key, end, bytes, max_timestamp, members, leader, reason, digest: None }
    }
}
