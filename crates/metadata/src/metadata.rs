//! The state, and the questions it answers.

use std::{collections::BTreeMap, sync::Arc};

use walrus_types::{
    ClusterId, Epoch, NodeId, OperationId, PartitionIndex, ProducerId, StorageId, TopicId,
    TopicPartition,
};

use crate::{
    limits::MEMBERS_MAX,
    map::Map,
    node::{Leader, Member, Node, NodeState},
    operation::Operation,
    partition::Partition,
    topic::Topic,
};

/// All metadata as of one index of the log. Clones share what does not change.
///
/// Invariant: `names` and `topics` name the same topics; `partitions` is how many all topics have
/// together; every storage id belongs to one node and is spent once that is gone; who is a member
/// of a segment is in the cluster; `leases` is who leads open segments, and how many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    pub(crate) applied: u64,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) nodes: Map<NodeId, Arc<Node>>,
    /// Disks of removed nodes whose node ids others took over, with those ids.
    pub(crate) spent: Map<StorageId, NodeId>,
    /// Derived from the chains, so that who asks for leases need not look at all of those.
    pub(crate) leases: Map<Leader, u32>,
    pub(crate) topics: Map<TopicId, Arc<Topic>>,
    pub(crate) names: Map<Arc<str>, TopicId>,
    pub(crate) partitions: usize,
    /// The first epoch for the next topic of that name.
    pub(crate) tombstones: Map<Arc<str>, Epoch>,
    /// The first epoch for a new topic whose name is in no tombstone.
    pub(crate) epoch_floor: Epoch,
    pub(crate) cluster_configs: Arc<BTreeMap<String, String>>,
    pub(crate) next_producer: ProducerId,
    /// The running ones and the last that ended, oldest first.
    pub(crate) operations: Map<OperationId, Arc<Operation>>,
}

impl Default for Metadata {
    fn default() -> Self {
        Self {
            applied: 0,
            cluster: None,
            nodes: Map::default(),
            spent: Map::default(),
            leases: Map::default(),
            topics: Map::default(),
            names: Map::default(),
            partitions: 0,
            tombstones: Map::default(),
            epoch_floor: Epoch::FIRST,
            cluster_configs: Arc::default(),
            next_producer: ProducerId(0),
            operations: Map::default(),
        }
    }
}

impl Metadata {
    /// The log index up to which everything is in here.
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// The cluster, once a node has registered.
    pub fn cluster(&self) -> Option<ClusterId> {
        self.cluster
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(&id)
    }

    /// Whose disk that was, before another took over its node id.
    pub fn spent(&self, storage: StorageId) -> Option<NodeId> {
        self.spent.get(&storage).copied()
    }

    /// All nodes, removed ones too, in order of their ids.
    pub fn nodes(&self) -> &Map<NodeId, Arc<Node>> {
        &self.nodes
    }

    /// Whose disk that is.
    pub fn node_of(&self, storage: StorageId) -> Option<NodeId> {
        let mut nodes = self.nodes.iter();
        nodes.find(|(_, node)| node.storage == storage).map(|(id, _)| *id)
    }

    /// Whether the node with that disk was removed. One that has not registered yet was not.
    pub fn disk_is_removed(&self, storage: StorageId) -> bool {
        let node = self.node_of(storage).and_then(|node| self.node(node));
        self.spent(storage).is_some() || node.is_some_and(|n| n.state == NodeState::Removed)
    }

    /// A topic by its id.
    pub fn topic(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(&id)
    }

    /// A topic by its name.
    pub fn topic_named(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(name)?)
    }

    /// All topics, in order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.names.iter().map(|(name, id)| {
            self.topics.get(id).unwrap_or_else(|| panic!("{name} names the topic {id}"))
        })
    }

    /// How many topics there are.
    pub fn topics_total(&self) -> usize {
        self.topics.len()
    }

    /// A partition.
    pub fn partition(&self, of: TopicPartition) -> Option<&Arc<Partition>> {
        self.topics.get(&of.topic)?.partition(of.partition)
    }

    /// All partitions, by topic id and number.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicPartition, &Arc<Partition>)> {
        self.topics.iter().flat_map(|(id, topic)| {
            let with_id =
                |(index, partition): (&PartitionIndex, _)| (place(*id, *index), partition);
            topic.partitions.iter().map(with_id)
        })
    }

    /// How many partitions all topics have together.
    pub fn partitions_total(&self) -> usize {
        self.partitions
    }

    /// What is set for every node.
    pub fn cluster_configs(&self) -> &BTreeMap<String, String> {
        &self.cluster_configs
    }

    /// The first producer id that was not handed out.
    pub fn next_producer(&self) -> ProducerId {
        self.next_producer
    }

    /// Operations: the running ones and the last that ended, oldest first.
    pub fn operations(&self) -> &Map<OperationId, Arc<Operation>> {
        &self.operations
    }

    /// Whether that life of that node may write: it is the present one and is not fenced.
    pub fn may_lead(&self, leader: Leader) -> bool {
        self.nodes
            .get(&leader.node)
            .is_some_and(|node| node.state.serves() && node.incarnation == leader.incarnation)
    }

    /// Whether a node with that disk is in the cluster.
    pub fn may_store(&self, member: Member) -> bool {
        self.nodes
            .get(&member.node)
            .is_some_and(|node| node.storage == member.storage && node.state != NodeState::Removed)
    }

    /// The epoch for the first segments of a new topic of that name.
    pub(crate) fn first_epoch(&self, name: &str) -> Epoch {
        self.tombstones.get(name).copied().unwrap_or(self.epoch_floor)
    }

    /// Notes that `leader` has one open segment more.
    pub(crate) fn lease_given(&mut self, leader: Leader) {
        match self.leases.get_mut(&leader) {
            Some(count) => *count += 1,
            None => drop(self.leases.insert(leader, 1)),
        }
    }

    /// Notes that `leader` has one open segment less.
    pub(crate) fn lease_taken(&mut self, leader: Leader) {
        let count = self.leases.get_mut(&leader).expect("a leader of an open segment is counted");
        *count -= 1;
        if *count == 0 {
            self.leases.remove(&leader);
        }
    }

    /// `leases` as the chains have it.
    pub(crate) fn count_leases(&self) -> Map<Leader, u32> {
        let mut counted: BTreeMap<Leader, u32> = BTreeMap::new();
        for (_, partition) in self.partitions() {
            *counted.entry(partition.open.leader).or_default() += 1;
        }
        counted.into_iter().collect()
    }

    pub(crate) fn partition_mut(&mut self, of: TopicPartition) -> Option<&mut Partition> {
        let topic = Arc::make_mut(self.topics.get_mut(&of.topic)?);
        topic.partitions.get_mut(&of.partition).map(Arc::make_mut)
    }

    /// All invariants, of everything.
    ///
    /// # Errors
    /// Which one does not hold.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        if self.names.len() != self.topics.len() {
            return Err("names and topics do not agree");
        }
        let mut partitions = 0;
        for (name, id) in &self.names {
            let topic = self.topics.get(id).ok_or("a name of no topic")?;
            if topic.id != *id || topic.name != *name || topic.partitions.is_empty() {
                return Err("names and topics do not agree");
            }
            partitions += topic.partitions.len();
            for (expected, (index, partition)) in (0..).zip(&topic.partitions) {
                if *index != PartitionIndex(expected) {
                    return Err("partitions are not numbered from 0 without gaps");
                }
                if partition.chain().any(|segment| segment.key().epoch < topic.first_epoch) {
                    return Err("an epoch was used again under the same name");
                }
                partition.verify()?;
            }
        }
        if partitions != self.partitions {
            return Err("partitions were miscounted");
        }
        if self.leases != self.count_leases() {
            return Err("leases were miscounted");
        }
        self.verify_nodes()?;
        self.verify_members()
    }

    fn verify_nodes(&self) -> Result<(), &'static str> {
        let mut storages: Vec<StorageId> = self.nodes.iter().map(|(_, n)| n.storage).collect();
        storages.sort_unstable();
        if storages.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err("a storage belongs to two nodes");
        }
        if storages.iter().any(|storage| self.spent.get(storage).is_some()) {
            return Err("a spent storage belongs to a node");
        }
        let at_odds = |node: &Node| match node.state {
            NodeState::Active => node.drains,
            NodeState::Draining => !node.drains,
            NodeState::Fenced | NodeState::Removed => false,
        };
        if self.nodes.iter().any(|(_, node)| at_odds(node)) {
            return Err("a node's state does not go with whether it drains");
        }
        Ok(())
    }

    /// That whoever is named by a segment is in the cluster, and leads in no life to come.
    fn verify_members(&self) -> Result<(), &'static str> {
        for (leader, _) in &self.leases {
            let node = self.nodes.get(&leader.node).ok_or("a leader is no node")?;
            if leader.incarnation > node.incarnation {
                return Err("a leader's life has not begun");
            }
        }
        let mut seen: Option<&[Member]> = None;
        for (_, partition) in self.partitions() {
            for segment in partition.chain() {
                let members = segment.members();
                // Neighbours mostly share one list.
                if seen.is_some_and(|seen| std::ptr::eq(seen, members)) {
                    continue;
                }
                if members.len() > MEMBERS_MAX {
                    return Err("a segment has too many members");
                }
                if !members.iter().all(|member| self.may_store(*member)) {
                    return Err("a member is not in the cluster");
                }
                seen = Some(members);
            }
        }
        Ok(())
    }
}

fn place(topic: TopicId, partition: PartitionIndex) -> TopicPartition {
    TopicPartition { topic, partition }
}
