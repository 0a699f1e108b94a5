//! What a shell must look at when metadata went from one view to the next.

use std::sync::Arc;

use walrus_types::{Epoch, NodeId, OperationId, TopicId, TopicPartition};

use crate::{
    map::{Change, Map},
    metadata::Metadata,
    partition::Partition,
    segment::{Sealed, SegmentKey},
    topic::Topic,
};

/// One difference between two views. New partitions come after their topic, removed ones with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A node registered, was fenced, or its state or configs changed.
    Node(NodeId),
    /// Configs of the whole cluster changed.
    ClusterConfigs,
    /// A topic was made.
    TopicAdded(TopicId),
    /// A topic was deleted, here as it was.
    TopicRemoved(Arc<Topic>),
    /// A topic's own configs changed.
    TopicConfigs(TopicId),
    /// An operation began or ended.
    Operation(OperationId),
    /// A partition was made, rolled or pruned, or its sealed segments have other members.
    Partition(TopicPartition),
}

impl Metadata {
    /// What changed since `old`. Costs as much as there are differences, however great both are.
    pub fn diff(&self, old: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        self.nodes.diff(&old.nodes, Arc::ptr_eq, &mut |id, _| found.push(Difference::Node(*id)));
        if !Arc::ptr_eq(&self.cluster_configs, &old.cluster_configs) {
            found.push(Difference::ClusterConfigs);
        }
        self.operations.diff(&old.operations, Arc::ptr_eq, &mut |id, change| match change {
            Change::Added(_) | Change::Changed { .. } => found.push(Difference::Operation(*id)),
            // It was forgotten, long after it had ended.
            Change::Removed(_) => {}
        });
        self.topics.diff(&old.topics, Arc::ptr_eq, &mut |id, change| match change {
            Change::Added(topic) => {
                found.push(Difference::TopicAdded(*id));
                partitions(topic, &Map::default(), &mut found);
            }
            Change::Removed(topic) => found.push(Difference::TopicRemoved(Arc::clone(topic))),
            Change::Changed { old, new } => {
                if !Arc::ptr_eq(&old.configs, &new.configs) {
                    found.push(Difference::TopicConfigs(*id));
                }
                partitions(new, &old.partitions, &mut found);
            }
        });
        found
    }

    /// Names of topics that were deleted since `old` and not made again, those among them that were
    /// made since then as well; `None` where so many were that they are forgotten.
    pub fn names_freed(&self, old: &Self) -> Option<Vec<Arc<str>>> {
        if self.epoch_floor != old.epoch_floor {
            return None;
        }
        let mut freed = Vec::new();
        self.tombstones.diff(&old.tombstones, Epoch::eq, &mut |name, change| match change {
            Change::Added(_) | Change::Changed { .. } => freed.push(Arc::clone(name)),
            // Its name is in use.
            Change::Removed(_) => {}
        });
        Some(freed)
    }
}

fn partitions(
    topic: &Topic,
    old: &Map<walrus_types::PartitionIndex, Arc<Partition>>,
    found: &mut Vec<Difference>,
) {
    topic.partitions.diff(old, Arc::ptr_eq, &mut |index, _| {
        let place = TopicPartition { topic: topic.id, partition: *index };
        found.push(Difference::Partition(place));
    });
}

impl Partition {
    /// The segments that `old` had and this has not: what there is to unlink. An open segment that
    /// was empty when it was sealed is among them.
    pub fn dropped_since(&self, old: &Self) -> Vec<SegmentKey> {
        let mut dropped = Vec::new();
        self.sealed.diff(&old.sealed, Sealed::eq, &mut |key, change| {
            if let Change::Removed(_) = change {
                dropped.push(*key);
            }
        });
        if !self.contains(old.open.key) {
            dropped.push(old.open.key);
        }
        dropped
    }
    /// The segments that are sealed now, were in the chain before, and have other members since.
    /// An open segment whose seal was narrow is among them.
    pub fn regrouped_since(&self, old: &Self) -> Vec<SegmentKey> {
        let mut regrouped = Vec::new();
        self.sealed.diff(&old.sealed, |new, old| new.members == old.members, &mut |key, change| {
            let other = match change {
                Change::Added(new) => *key == old.open.key && new.members != old.open.members,
                Change::Changed { .. } => true,
                Change::Removed(_) => false,
            };
            if other {
                regrouped.push(*key);
            }
        });
        regrouped
    }
}
