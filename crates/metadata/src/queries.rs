//! What a controller asks: who leads what, what is left to be sealed, what has too few copies, what
//! a node still holds.
//!
//! Leases are counted as they change, so questions about leaders that have none cost nothing, and
//! others look at partitions only until the last is found. What asks for copies looks at every
//! segment: it is for now and then.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use walrus_types::{NodeId, SegmentId, TimestampMs, TopicPartition};

use crate::{
    limits::MEMBERS_MAX,
    metadata::Metadata,
    node::{Leader, Member, NodeState},
    partition::Partition,
    segment::{Open, Segment},
};

/// What a node is still needed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Holding {
    /// Open segments that it leads, in whatever life.
    pub leads: u32,
    /// Open segments that it is a member of.
    pub open: u32,
    /// Sealed segments that it is a member of.
    pub sealed: u32,
    /// One of them.
    pub one: Option<SegmentId>,
}

/// A segment with fewer copies than there could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    /// Which.
    pub segment: SegmentId,
    /// An open one is given members by a roll, a sealed one by a copy.
    pub is_open: bool,
    /// How many members count.
    pub copies: u8,
    /// How many its topic wants, whether there are nodes for them or not.
    pub target: u8,
}

/// What there is to do until a partition is where it was assigned to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outstanding {
    /// Where it is to be, of the nodes that are still in the cluster.
    pub to: Vec<NodeId>,
    /// Those of them that lack some segment of it.
    pub adding: Vec<NodeId>,
    /// Others that hold some segment of it.
    pub removing: Vec<NodeId>,
    /// Whether the open segment has those members in that order.
    pub is_open_there: bool,
}

impl Outstanding {
    /// Whether nothing is left to do.
    pub fn is_done(&self) -> bool {
        self.adding.is_empty() && self.removing.is_empty() && self.is_open_there
    }
}

impl Metadata {
    /// Who is to store a partition by its assignment: nothing where there is none. Nodes that left
    /// the cluster are left out.
    pub fn assigned(&self, partition: &Partition) -> Vec<Member> {
        let to = partition.assignment.as_ref().map_or(&[][..], |assignment| &assignment.to);
        to.iter()
            .filter_map(|id| {
                let node = self.nodes.get(id).filter(|node| node.state != NodeState::Removed)?;
                Some(Member { node: *id, storage: node.storage })
            })
            .collect()
    }

    /// What there is to do until that partition is where it was assigned to, if it is. Looks at
    /// its whole chain.
    pub fn outstanding(&self, partition: &Partition) -> Option<Outstanding> {
        partition.assignment.as_ref()?;
        let to = self.assigned(partition);
        let (mut adding, mut removing) = (Vec::new(), Vec::new());
        for segment in partition.chain() {
            let members = segment.members();
            let lacking = to.iter().filter(|member| !members.contains(member));
            adding.extend(lacking.map(|member| member.node));
            let over = members.iter().filter(|member| !to.contains(member));
            removing.extend(over.map(|member| member.node));
        }
        for list in [&mut adding, &mut removing] {
            list.sort_unstable();
            list.dedup();
        }
        let Open { members, .. } = &partition.open;
        let is_open_there = **members == *to;
        let to = to.iter().map(|member| member.node).collect();
        Some(Outstanding { to, adding, removing, is_open_there })
    }

    /// Whether placement should give that node leases: it is active, and if it was fenced
    /// repeatedly, its wait is over. A preference: where nobody may, whoever
    /// [may lead](Self::may_lead) is better than nobody.
    pub fn may_be_given_leases(&self, node: NodeId, now: TimestampMs) -> bool {
        self.nodes.get(&node).is_some_and(|node| {
            node.state == NodeState::Active && node.fences.leases_from(now).is_none()
        })
    }

    /// How many nodes may be given segments.
    pub fn active_total(&self) -> usize {
        self.nodes.iter().filter(|(_, node)| node.state == NodeState::Active).count()
    }

    /// Who leads open segments, and how many.
    pub fn leases(&self) -> impl Iterator<Item = (Leader, u32)> {
        self.leases.iter().map(|(leader, count)| (*leader, *count))
    }

    /// How many open segments that node leads, in all its lives.
    pub fn leases_of(&self, node: NodeId) -> u32 {
        self.leases().filter(|(leader, _)| leader.node == node).map(|(_, count)| count).sum()
    }

    /// The partitions whose open segment has such a leader. Free when there is none.
    pub fn led_by(
        &self,
        which: impl Fn(Leader) -> bool,
    ) -> impl Iterator<Item = (TopicPartition, &Arc<Partition>)> {
        let led: u32 = self.leases().filter(|(leader, _)| which(*leader)).map(|(_, n)| n).sum();
        let led = usize::try_from(led).expect("no more than partitions");
        let by_leader = move |(_, partition): &(_, &Arc<Partition>)| which(partition.open.leader);
        // Without any there is no partition to look at, and `take` asks for none.
        self.partitions().filter(by_leader).take(led)
    }

    /// The partitions whose open segment is led by a life that is past or fenced: they are to be
    /// sealed, whenever it was that they were opened.
    pub fn left_open(&self) -> impl Iterator<Item = (TopicPartition, &Arc<Partition>)> {
        self.led_by(|leader| !self.may_lead(leader))
    }

    /// The segments that `node` is a member of. Looks at all there are.
    pub fn held_by(&self, node: NodeId) -> impl Iterator<Item = (TopicPartition, Segment<'_>)> {
        self.segments()
            .filter(move |(_, segment)| segment.members().iter().any(|member| member.node == node))
    }

    /// What `node` is still needed for. Looks at all segments.
    pub fn holding(&self, node: NodeId) -> Holding {
        let mut holding = Holding { leads: self.leases_of(node), ..Holding::default() };
        for (partition, segment) in self.held_by(node) {
            match segment {
                Segment::Open(_) => holding.open += 1,
                Segment::Sealed(..) => holding.sealed += 1,
            }
            holding.one = holding.one.or(Some(id_of(partition, segment)));
        }
        holding
    }

    /// Up to `limit` segments that have fewer members which `count` than their topic wants and
    /// active nodes could hold, or lack a member that their partition is assigned to: single copies
    /// first, those without any last, for nobody has what could be copied. Looks at all segments.
    pub fn short_of_copies(&self, count: impl Fn(Member) -> bool, limit: usize) -> Vec<Short> {
        let active = self.active_total();
        let mut found: [Vec<Short>; MEMBERS_MAX + 1] = Default::default();
        for (id, partition) in self.partitions() {
            let target = self.topics.get(&id.topic).map_or(0, |t| t.replicas_target);
            let assigned = self.assigned(partition);
            for segment in partition.chain() {
                let members = segment.members();
                let copies = members.iter().filter(|member| count(**member)).count();
                let is_wanted = copies < active.min(target.into())
                    || assigned.iter().any(|member| !members.contains(member));
                if !is_wanted || found[copies].len() >= limit {
                    continue;
                }
                found[copies].push(Short {
                    segment: id_of(id, segment),
                    is_open: matches!(segment, Segment::Open(_)),
                    copies: u8::try_from(copies).expect("no more than members"),
                    target,
                });
            }
        }
        found.rotate_left(1);
        found.into_iter().flatten().take(limit).collect()
    }

    fn segments(&self) -> impl Iterator<Item = (TopicPartition, Segment<'_>)> {
        self.partitions()
            .flat_map(|(place, partition)| partition.chain().map(move |segment| (place, segment)))
    }
}

fn id_of(partition: TopicPartition, segment: Segment<'_>) -> SegmentId {
    let key = segment.key();
    SegmentId { partition, base: key.base, epoch: key.epoch }
}
