//! Version 2 of snapshots, which is read and never written: of programs that assigned no partition
//! to nodes by name.
//!
//! Owns the shapes that have changed since, and those around them. Who changes another one keeps
//! its old shape here.

use std::collections::BTreeMap;

use serde::Deserialize;
use walrus_types::{ClusterId, Epoch, NodeId, Offset, ProducerId, StorageId, TimestampMs, TopicId};

use crate::{
    node::{Leader, Member, Node},
    segment::{Loss, Reason, SegmentKey},
    snapshot::{self, SealedImage},
};

/// The version that the bytes begin with.
pub(crate) const VERSION: u8 = 2;

/// [`snapshot::Image`] as it was.
#[derive(Deserialize)]
pub(crate) struct Image {
    applied: u64,
    cluster: Option<ClusterId>,
    epoch_floor: Epoch,
    next_producer: ProducerId,
    nodes: Vec<(NodeId, Node)>,
    spent: Vec<(StorageId, NodeId)>,
    cluster_configs: BTreeMap<String, String>,
    tombstones: Vec<(String, Epoch)>,
    members: Vec<Vec<Member>>,
    topics: Vec<TopicImage>,
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

/// Without an assignment.
#[derive(Deserialize)]
struct PartitionImage {
    log_start: Offset,
    sealed: Vec<SealedImage>,
    losses: Vec<(SegmentKey, Loss)>,
    key: SegmentKey,
    leader: Leader,
    members: u32,
    w: u8,
    opened_at: TimestampMs,
    reason: Reason,
}

impl From<Image> for snapshot::Image {
    fn from(old: Image) -> Self {
        Self {
            applied: old.applied,
            cluster: old.cluster,
            epoch_floor: old.epoch_floor,
            next_producer: old.next_producer,
            nodes: old.nodes,
            spent: old.spent,
            cluster_configs: old.cluster_configs,
            tombstones: old.tombstones,
            members: old.members,
            topics: old.topics.into_iter().map(Into::into).collect(),
            operations: Vec::new(),
        }
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
        let PartitionImage { log_start, sealed, losses, key, leader, .. } = old;
        let PartitionImage { members, w, opened_at, reason, .. } = old;
        let assignment = None;
        Self { log_start, sealed, losses, key, leader, members, w, opened_at, reason, assignment }
    }
}
