//! A topic: its name, its partitions, its configs.

use std::{collections::BTreeMap, sync::Arc};

use walrus_types::{Epoch, PartitionIndex, TopicId};

use crate::{map::Map, partition::Partition};

/// A topic.
///
/// Invariant: partitions are numbered from 0 without gaps, and there is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Which it is.
    pub id: TopicId,
    /// What it is called.
    pub name: Arc<str>,
    /// How many members its segments should have.
    pub replicas_target: u8,
    /// The epoch of its partitions' first segments: past every epoch that an earlier topic of
    /// that name had, for clients that know topics by name keep the greatest they saw.
    pub first_epoch: Epoch,
    pub(crate) configs: Arc<BTreeMap<String, String>>,
    pub(crate) partitions: Map<PartitionIndex, Arc<Partition>>,
}

impl Topic {
    /// One of its partitions.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Arc<Partition>> {
        self.partitions.get(&index)
    }

    /// Its partitions, in order of their numbers.
    pub fn partitions(&self) -> &Map<PartitionIndex, Arc<Partition>> {
        &self.partitions
    }

    /// What is set for this topic alone.
    pub fn configs(&self) -> &BTreeMap<String, String> {
        &self.configs
    }

    /// An epoch greater than all that its partitions used.
    pub(crate) fn epoch_after(&self) -> Epoch {
        let greatest = self.partitions.iter().map(|(_, partition)| partition.open.key.epoch).max();
        greatest.map_or(self.first_epoch, Epoch::next)
    }
}
