//! What changed since a version that a console knows: it is told that, and no more.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use parking_lot::Mutex;
use walrus_metadata::{Difference, Metadata};
use walrus_types::{PartitionIndex, TopicId};

/// Versions that are remembered. Who knows an older one is told everything.
const VIEWS_MAX: usize = 32;

/// Versions that were told, the newest last. They share what did not change between them.
#[derive(Debug, Clone, Default)]
pub(in crate::admin) struct Views(Arc<Mutex<VecDeque<Arc<Metadata>>>>);

impl Views {
    /// Remembers a version that is told; answers the one that is known there already, if it is
    /// remembered.
    pub(super) fn tell(&self, told: &Arc<Metadata>, known: Option<u64>) -> Option<Arc<Metadata>> {
        let mut views = self.0.lock();
        let known = views.iter().find(|view| Some(view.applied()) == known).cloned();
        if views.iter().all(|view| view.applied() != told.applied()) {
            if views.len() == VIEWS_MAX {
                views.pop_front();
            }
            views.push_back(Arc::clone(told));
        }
        known
    }
}

/// What is another than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Topics of which something is another, and which of their partitions.
    pub(super) topics: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
    /// Whether an operation began or ended.
    pub(super) operations: bool,
    /// Names of topics that were deleted.
    pub(super) gone: Vec<String>,
}

/// What changed from `old` to `now`; `None` where that may be anything.
pub(super) fn since(now: &Metadata, old: &Metadata) -> Option<Changed> {
    let mut changed = Changed::default();
    for difference in now.diff(old) {
        match difference {
            // Whether leaders serve, or what any topic keeps.
            Difference::Node(_) | Difference::ClusterConfigs => return None,
            Difference::Operation(_) => changed.operations = true,
            Difference::TopicAdded(id) | Difference::TopicConfigs(id) => {
                changed.topics.entry(id).or_default();
            }
            Difference::TopicRemoved(topic) => changed.gone.push(topic.name.to_string()),
            Difference::Partition(place) => {
                changed.topics.entry(place.topic).or_default().insert(place.partition);
            }
        }
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_versions_are_remembered_as_there_is_room_for() {
        let views = Views::default();
        let told = Arc::new(Metadata::default());
        let version = told.applied();
        assert!(views.tell(&told, None).is_none());
        assert!(views.tell(&told, Some(version)).is_some());
        assert!(views.tell(&told, Some(version + 1)).is_none());
        assert_eq!(views.0.lock().len(), 1);
    }
}
