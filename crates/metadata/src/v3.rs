//! Version 3 of snapshots, which is read and never written: of programs that knew no operations.

use std::collections::BTreeMap;

use serde::Deserialize;
use walrus_types::{ClusterId, Epoch, NodeId, ProducerId, StorageId};

use crate::{
    node::{Member, Node},
    snapshot::{self, TopicImage},
};

/// The version that the bytes begin with.
pub(crate) const VERSION: u8 = 3;

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
            topics: old.topics,
            operations: Vec::new(),
        }
    }
}
