//! The nodes as placement wants to see them, from what metadata and heartbeats say; and the words
//! of metadata in those of placement.
//!
//! Loads and silence are as they were last heard of: a stale view makes a poor placement, never a
//! wrong one. Owns no state.

use std::collections::BTreeMap;

use walrus_metadata::{Leader, Metadata, NodeState, Partition, Placement};
use walrus_replication::{
    Member,
    placement::{Node, Nodes, Placed, Standing},
};
use walrus_types::{NodeId, TimestampMs, TopicId};

/// What is known of nodes beside metadata.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Who is not heard, and for how long.
    pub silent: BTreeMap<NodeId, u64>,
    /// Whom a node says that it cannot reach.
    pub unreachable: BTreeMap<NodeId, Vec<NodeId>>,
}

/// All nodes. Looks at every partition: who places often counts with [`held`] now and then, and
/// uses [`nodes_holding`].
pub fn nodes(metadata: &Metadata, silent: &BTreeMap<NodeId, u64>, now: TimestampMs) -> Nodes {
    let heard = Heard { silent: silent.clone(), unreachable: BTreeMap::new() };
    nodes_holding(metadata, &held(metadata), &heard, now)
}

/// How many open segments each node stores. Looks at every partition.
pub fn held(metadata: &Metadata) -> BTreeMap<NodeId, u32> {
    let mut held: BTreeMap<NodeId, u32> = BTreeMap::new();
    for (_, partition) in metadata.partitions() {
        for member in partition.open().members.iter() {
            *held.entry(member.node).or_default() += 1;
        }
    }
    held
}

/// All nodes, with so many segments on each.
pub fn nodes_holding(
    metadata: &Metadata,
    held: &BTreeMap<NodeId, u32>,
    heard: &Heard,
    now: TimestampMs,
) -> Nodes {
    let leases: BTreeMap<Leader, u32> = metadata.leases().collect();
    let node = |(id, node): (&NodeId, &std::sync::Arc<walrus_metadata::Node>)| {
        let life = Leader { node: *id, incarnation: node.incarnation };
        Node {
            id: *id,
            storage: node.storage,
            incarnation: node.incarnation,
            standing: standing(node.state),
            rack: node.rack.clone(),
            may_take_leases: metadata.may_be_given_leases(*id, now),
            silent_ms: heard.silent.get(id).copied(),
            disk_full: false,
            // What an earlier life led is to be sealed, and then it is somebody's: not yet.
            leases: leases.get(&life).copied().unwrap_or(0),
            held: held.get(id).copied().unwrap_or(0),
            unreachable: heard.unreachable.get(id).cloned().unwrap_or_default(),
        }
    };
    metadata.nodes().iter().map(node).collect()
}

const fn standing(state: NodeState) -> Standing {
    match state {
        NodeState::Active => Standing::Active,
        NodeState::Draining => Standing::Draining,
        NodeState::Fenced => Standing::Fenced,
        NodeState::Removed => Standing::Removed,
    }
}

/// A placement as a command carries it.
///
/// # Panics
/// When there are more members than metadata allows, which placement never chooses.
pub fn placement(placed: &Placed) -> Placement {
    Placement {
        leader: Leader { node: placed.leader.node, incarnation: placed.leader.incarnation },
        members: placed.members.iter().map(|member| stored(*member)).collect(),
        w: u8::try_from(placed.w).expect("a segment has few members"),
    }
}

/// Members as the deciders name them.
pub fn members(of: &[walrus_metadata::Member]) -> Vec<Member> {
    of.iter().map(|member| Member { node: member.node, storage: member.storage }).collect()
}

/// The nodes that a partition is assigned to by name.
pub fn assigned(metadata: &Metadata, partition: &Partition) -> Vec<NodeId> {
    metadata.assigned(partition).iter().map(|member| member.node).collect()
}

/// A member as metadata names it.
pub const fn stored(member: Member) -> walrus_metadata::Member {
    walrus_metadata::Member { node: member.node, storage: member.storage }
}

/// Whether the member's node serves, with the disk that it had then.
pub fn is_up(metadata: &Metadata, member: walrus_metadata::Member) -> bool {
    metadata
        .node(member.node)
        .is_some_and(|node| node.state.serves() && node.storage == member.storage)
}

/// What makes the partitions of one topic spread in another order than those of the next.
pub fn salt(topic: TopicId) -> u64 {
    let (high, low) = topic.0.as_u64_pair();
    high ^ low
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, NodeChange, SetNodeState};

    use super::*;
    use crate::controller::fake;

    #[test]
    fn a_node_is_seen_with_its_standing_its_loads_and_its_silence() {
        let mut metadata = fake::cluster(3, 4);
        let drain = SetNodeState { node: NodeId(2), expected: None, change: NodeChange::Drain };
        fake::apply(&mut metadata, &Command::SetNodeState(drain));
        fake::apply(&mut metadata, &fake::fence(3, 1));
        let silent = BTreeMap::from([(NodeId(3), 700)]);
        let nodes = nodes(&metadata, &silent, fake::NOW);
        let seen: Vec<_> = nodes
            .iter()
            .map(|node| (node.id.0, node.standing, node.leases, node.held, node.silent_ms))
            .collect();
        let expected = [
            (1, Standing::Active, 4, 4, None),
            (2, Standing::Draining, 0, 4, None),
            (3, Standing::Fenced, 0, 4, Some(700)),
        ];
        assert_eq!(seen, expected);
    }

    #[test]
    fn what_an_earlier_life_leads_is_no_load_of_the_present_one() {
        let mut metadata = fake::cluster(3, 4);
        fake::apply(&mut metadata, &fake::register(1, 2));
        let nodes = nodes(&metadata, &BTreeMap::new(), fake::NOW);
        assert_eq!(nodes.get(NodeId(1)).map(|node| node.leases), Some(0));
    }
}
