//! What all partitions come to, without looking at all of them each time: of a snapshot only the
//! topics are counted that it does not share with the one before.

use std::{collections::BTreeMap, sync::Arc};

use walrus_admin::snapshot::{PartitionEntry, Snapshot, TopicEntry, unshared};
use walrus_types::NodeId;

/// Says whether something is as it was: equal to itself and to copies of itself only.
#[derive(Debug, Clone, Default)]
pub struct Mark(Arc<()>);

impl PartialEq for Mark {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Mark {}

/// Sums over all partitions of a snapshot.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    /// How many there are.
    pub partitions: u64,
    /// How many have no leader that serves.
    pub leaderless: u64,
    /// How many have fewer copies than their topic wants.
    pub narrow: u64,
    leads: BTreeMap<NodeId, u64>,
    /// Another one whenever anything of any partition is another.
    pub changed: Mark,
    /// Another one whenever there are other partitions, or they stand elsewhere.
    pub listed: Mark,
}

impl Figures {
    /// Takes what is different in `now`; `before` is the snapshot that was taken before.
    pub fn take(&mut self, before: Option<&Snapshot>, now: &Snapshot) {
        let Some(before) = before else {
            *self = Self::default();
            for topic in &now.topics {
                self.count(topic, Way::In);
            }
            return;
        };
        let (mut is_other, mut stands) = (false, true);
        for (was, is) in unshared(before, now) {
            if let Some(was) = was {
                self.count(was, Way::Out);
            }
            if let Some(is) = is {
                self.count(is, Way::In);
            }
            is_other = true;
            stands &= was.zip(is).is_some_and(|(was, is)| stand_alike(was, is));
        }
        if is_other {
            self.changed = Mark::default();
        }
        if !stands {
            self.listed = Mark::default();
        }
    }

    /// How many partitions a node leads.
    #[must_use]
    pub fn leads(&self, node: NodeId) -> u64 {
        self.leads.get(&node).copied().unwrap_or(0)
    }

    /// The same of each node, in the order of the snapshot's nodes.
    #[must_use]
    pub fn leases(&self, snapshot: &Snapshot) -> Vec<(NodeId, u64)> {
        let nodes = snapshot.nodes.iter().map(|entry| entry.node.node);
        nodes.map(|node| (node, self.leads(node))).collect()
    }

    fn count(&mut self, topic: &TopicEntry, way: Way) {
        for partition in &topic.partitions {
            let is_narrow = partition.members.len() < usize::from(topic.replicas_target);
            way.count(&mut self.partitions, true);
            way.count(&mut self.leaderless, !partition.leader_serves);
            way.count(&mut self.narrow, is_narrow);
            let leads = self.leads.entry(partition.leader).or_default();
            way.count(leads, true);
            if *leads == 0 {
                self.leads.remove(&partition.leader);
            }
        }
    }
}

/// Whether the partitions of a topic are the same ones in the same order.
fn stand_alike(was: &TopicEntry, is: &TopicEntry) -> bool {
    let index_of = |one: &PartitionEntry| one.partition;
    was.partitions.iter().map(index_of).eq(is.partitions.iter().map(index_of))
}

/// Whether something comes to what is counted, or leaves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    In,
    Out,
}

impl Way {
    fn count(self, sum: &mut u64, counts: bool) {
        *sum = match self {
            Self::In => *sum + u64::from(counts),
            Self::Out => *sum - u64::from(counts),
        };
    }
}
