//! The partitions that this node was asked for. One that nobody asks for costs nothing here.

use std::{collections::HashMap, sync::Arc};

use parking_lot::RwLock;
use tokio::sync::OnceCell;
use walrus_types::{TopicId, TopicPartition};

use super::Partition;

/// Why a partition cannot be used now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unavailable {
    /// There is no such topic, or it has no such partition.
    #[error("there is no such partition")]
    Unknown,
    /// There is no topic of that id.
    #[error("there is no topic of that id")]
    UnknownId,
    /// Its open segment is led by another node.
    #[error("another node leads this partition")]
    NotLeader,
    /// Neither the controller nor enough members were heard of late: somebody else may lead.
    #[error("this node leads the partition and has no lease now")]
    NoLease,
    /// Its open segment is of an earlier life of this node, and is being sealed.
    #[error("the partition's last segment is being sealed")]
    Sealing,
    /// It could not be made ready; the next request tries again.
    #[error("the partition cannot be opened: {0}")]
    Loading(Arc<str>),
}

/// One partition's place: loaded once, by whoever asks first.
type Slot = Arc<OnceCell<Arc<Partition>>>;

/// All partitions that are loaded or being loaded. As many as the metadata has at most.
#[derive(Debug, Default)]
pub struct Registry {
    slots: RwLock<HashMap<TopicPartition, Slot>>,
}

impl Registry {
    /// The partition, if it is loaded.
    pub fn loaded(&self, id: TopicPartition) -> Option<Arc<Partition>> {
        self.slots.read().get(&id)?.get().cloned()
    }

    /// The partition, loaded by `load` when it is not there. Many may ask at once: one loads.
    ///
    /// # Errors
    /// What `load` says; the next to ask tries again.
    pub async fn get_or_load(
        &self,
        id: TopicPartition,
        load: impl Future<Output = Result<Arc<Partition>, Unavailable>>,
    ) -> Result<Arc<Partition>, Unavailable> {
        let slot = Arc::clone(self.slots.write().entry(id).or_default());
        slot.get_or_try_init(|| load).await.cloned()
    }

    /// Every loaded partition.
    pub fn all(&self) -> Vec<Arc<Partition>> {
        self.slots.read().values().filter_map(|slot| slot.get().cloned()).collect()
    }

    /// Forgets a partition that this node leads no more.
    pub fn remove(&self, partition: &Arc<Partition>) {
        let mut slots = self.slots.write();
        let known = slots.get(&partition.id()).and_then(|slot| slot.get());
        if known.is_some_and(|known| Arc::ptr_eq(known, partition)) {
            slots.remove(&partition.id());
        }
    }

    /// Forgets the partitions of a topic and answers those that were loaded.
    pub fn remove_topic(&self, topic: TopicId) -> Vec<Arc<Partition>> {
        let mut slots = self.slots.write();
        let gone: Vec<_> = slots.keys().filter(|id| id.topic == topic).copied().collect();
        gone.iter().filter_map(|id| slots.remove(id)?.get().cloned()).collect()
    }
}
