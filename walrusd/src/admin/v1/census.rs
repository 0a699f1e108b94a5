//! One look at all segments: how many copies they have, and which node is needed for what.

use std::{collections::BTreeMap, sync::Arc};

use walrus_admin::{cluster::Segments, node::Holding};
use walrus_metadata::{Member, Metadata, NodeState, Segment, SegmentKey, SetMembers, Topic};
use walrus_types::{NodeId, TopicPartition};

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Census {
    pub(super) segments: Segments,
    /// By node. One that is not in here is not needed for anything.
    pub(super) holdings: BTreeMap<NodeId, Holding>,
}

impl Census {
    /// What a node is needed for.
    pub(super) fn holding(&self, node: NodeId) -> Holding {
        self.holdings.get(&node).copied().unwrap_or_default()
    }
}

/// Counts. `min_insync` is what a topic's acks=all needs.
pub(super) fn take(metadata: &Metadata, min_insync: impl Fn(&Arc<Topic>) -> usize) -> Census {
    let mut census = Census::default();
    let active = metadata.active_total();
    census.segments.leaderless = u64::try_from(metadata.left_open().count()).unwrap_or(u64::MAX);
    for topic in metadata.topics() {
        let (target, least) = (usize::from(topic.replicas_target), min_insync(topic));
        for (_, chain) in topic.partitions() {
            census.segments.losses += u64::try_from(chain.losses().len()).unwrap_or(u64::MAX);
            for segment in chain.chain() {
                count(&mut census, metadata, segment, (target, active, least));
            }
        }
    }
    for (leader, leases) in metadata.leases() {
        census.holdings.entry(leader.node).or_default().leads += u64::from(leases);
    }
    census
}

fn count(
    census: &mut Census,
    metadata: &Metadata,
    segment: Segment<'_>,
    (target, active, min_insync): (usize, usize, usize),
) {
    let serves = |member: &Member| {
        metadata
            .node(member.node)
            .is_some_and(|node| node.storage == member.storage && node.state.serves())
    };
    let members = segment.members();
    let live = members.iter().filter(|member| serves(member)).count();
    let is_open = matches!(segment, Segment::Open(_));
    for member in members {
        let holding = census.holdings.entry(member.node).or_default();
        if is_open {
            holding.open += 1;
        } else {
            holding.sealed += 1;
            holding.needed += u64::from(is_needed(metadata, members, *member, target));
        }
        let others = live - usize::from(serves(member));
        holding.sole += u64::from(others == 0);
    }
    let all = &mut census.segments;
    all.total += 1;
    all.open += u64::from(is_open);
    all.below_min_insync += u64::from(is_open && live < min_insync);
    all.below_target += u64::from(live < target);
    all.repairable += u64::from(live < target.min(active));
    all.single += u64::from(live == 1 && target > 1);
    all.unreachable += u64::from(live == 0);
}

/// Whether a sealed segment would have fewer copies without `member` than there could be: on nodes
/// that stay.
fn is_needed(metadata: &Metadata, members: &[Member], member: Member, target: usize) -> bool {
    let stays = |other: &&Member| {
        let node = metadata.node(other.node).filter(|node| node.storage == other.storage);
        **other != member && node.is_some_and(|node| node.state == NodeState::Active)
    };
    let nodes = metadata.nodes().iter();
    let others = nodes.filter(|(id, node)| **id != member.node && node.state == NodeState::Active);
    members.iter().filter(stays).count() < target.min(others.count()).max(1)
}

/// Takes a node off the sealed segments that do not need it, so many at most.
pub(super) fn spare(metadata: &Metadata, id: NodeId, limit: usize) -> Vec<SetMembers> {
    let mut sets = Vec::new();
    for (partition, chain) in metadata.partitions() {
        let target = metadata.topic(partition.topic).map_or(0, |topic| topic.replicas_target);
        for (key, sealed) in chain.sealed() {
            let Some(own) = sealed.members.iter().find(|member| member.node == id) else {
                continue;
            };
            if !is_needed(metadata, &sealed.members, *own, target.into()) {
                sets.push(struck_off(partition, *key, &sealed.members, *own));
            }
            if sets.len() >= limit {
                return sets;
            }
        }
    }
    sets
}

fn struck_off(
    partition: TopicPartition,
    segment: SegmentKey,
    members: &[Member],
    own: Member,
) -> SetMembers {
    SetMembers {
        partition,
        segment,
        expected: members.to_vec(),
        members: members.iter().copied().filter(|member| *member != own).collect(),
        digest: None,
    }
}
