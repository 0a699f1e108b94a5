//! What changed since a version that a console knows: it is told that, and no more.

use std::collections::{BTreeMap, BTreeSet};

use walrus_metadata::{Difference, Leader, Metadata};
use walrus_types::{NodeId, PartitionIndex, TopicId, TopicPartition};

/// What is another than before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// Topics of which something is another, and which of their partitions.
    pub(super) topics: BTreeMap<TopicId, BTreeSet<PartitionIndex>>,
    /// Whether an operation began or ended.
    pub(super) operations: bool,
    /// Names of topics that were deleted, be it that they were made since as well, and of those
    /// that are told whole: in between there may have been another of that name.
    pub(super) gone: BTreeSet<String>,
}

impl Changed {
    fn partition(&mut self, at: TopicPartition) {
        self.topics.entry(at.topic).or_default().insert(at.partition);
    }
}

/// What changed from `old` to `now`, and in between; `None` where that may be anything.
pub(super) fn since(now: &Metadata, old: &Metadata) -> Option<Changed> {
    let mut changed = Changed::default();
    let freed = now.names_freed(old)?;
    changed.gone.extend(freed.iter().map(ToString::to_string));
    let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
    for difference in now.diff(old) {
        match difference {
            Difference::Node(id) => drop(nodes.insert(id)),
            // What any topic keeps.
            Difference::ClusterConfigs => {
                for topic in now.topics() {
                    changed.topics.entry(topic.id).or_default();
                }
            }
            Difference::Operation(_) => changed.operations = true,
            Difference::TopicAdded(id) => {
                changed.topics.entry(id).or_default();
                changed.gone.extend(now.topic(id).map(|topic| topic.name.to_string()));
            }
            Difference::TopicConfigs(id) => {
                changed.topics.entry(id).or_default();
            }
            Difference::TopicRemoved(topic) => drop(changed.gone.insert(topic.name.to_string())),
            Difference::Partition(place) => changed.partition(place),
        }
    }
    if !nodes.is_empty() {
        // Whether their leaders serve.
        let differs = |leader: Leader| {
            nodes.contains(&leader.node) && now.may_lead(leader) != old.may_lead(leader)
        };
        for (place, _) in now.led_by(differs) {
            changed.partition(place);
        }
    }
    Some(changed)
}
