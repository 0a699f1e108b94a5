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
    /// The version that is known somewhere, if it is remembered.
    pub(super) fn of(&self, version: u64) -> Option<Arc<Metadata>> {
        self.0.lock().iter().find(|view| view.applied() == version).cloned()
    }

    /// Remembers a version that is told.
    pub(super) fn remember(&self, told: &Arc<Metadata>) {
        let mut views = self.0.lock();
        if views.iter().all(|view| view.applied() != told.applied()) {
            if views.len() == VIEWS_MAX {
                views.pop_front();
            }
            views.push_back(Arc::clone(told));
        }
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
    use walrus_metadata::Command;

    use super::*;

    #[test]
    fn as_many_versions_are_remembered_as_there_is_room_for() {
        let views = Views::default();
        let mut metadata = Metadata::default();
        let versions: Vec<u64> = (0..=VIEWS_MAX)
            .map(|_| {
                let nothing = Command::DeleteTopics(Vec::new());
                drop(metadata.apply(metadata.applied() + 1, &nothing));
                let told = Arc::new(metadata.clone());
                views.remember(&told);
                views.remember(&told);
                told.applied()
            })
            .collect();
        let known = |version: &u64| views.of(*version).is_some_and(|of| of.applied() == *version);
        assert!(!known(&versions[0]));
        assert!(versions[1..].iter().all(known));
    }
}
