//! Which open segments should roll so that leases and segments are where they belong: away from
//! nodes that drain or are gone, wider where there are too few members, evenly over the rest. A
//! node that has joined takes its share this way, and nothing is copied for it.
//!
//! The answer is in the order in which it should be carried out, hottest first in each part:
//! first replica sets that are not as they should be (their leaders stay where they can), then
//! leases, then members. Only nodes whose counts differ by two or more give and take, so a
//! balanced cluster stays as it is. Owns no rate: the caller asks for as many as its token
//! bucket has.

use walrus_types::{Epoch, NodeId, TopicPartition};

use super::{
    Join, Lead, LeaderPolicy, Leave, Node, Nodes, Occasion, Placed, Previous, Request, Why, place,
    placed,
};
use crate::{
    cursors::{Member, write_quorum},
    roll::RollReason,
};

/// An open segment and its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedSegment<'a> {
    /// Whose.
    pub partition: TopicPartition,
    /// Which: the roll expects it.
    pub epoch: Epoch,
    /// Its replica set.
    pub members: &'a [Member],
    /// Its write quorum.
    pub w: usize,
    /// The node that leads it.
    pub leader: NodeId,
    /// The topic's target replication factor.
    pub target: usize,
    /// The topic's `min.insync.replicas`.
    pub min_insync: usize,
    /// The topic's policy.
    pub policy: LeaderPolicy,
    /// Bytes per second, or whatever tells busy from idle.
    pub hotness: u64,
    /// A roll is under way that takes the lease there: left alone, and counted there.
    pub moving_to: Option<NodeId>,
    /// The nodes that the partition is assigned to by name, if it is.
    pub assigned: &'a [NodeId],
}

/// What a roll is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// Some member or the leader should be another, or the write quorum: the placement says why.
    Reshape,
    /// It has fewer members than its topic wants, and more are there.
    Widen {
        /// How many it has.
        have: usize,
        /// How many the next segment has.
        next: usize,
    },
    /// A lease for a node that has fewer.
    Lease {
        /// Who gives it.
        from: NodeId,
        /// Who takes it.
        to: NodeId,
    },
    /// A member's place for a node that holds fewer segments. The lease stays.
    Spread {
        /// Who gives it.
        from: NodeId,
        /// Who takes it.
        to: NodeId,
    },
}

/// A roll that should be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Of which segment.
    pub epoch: Epoch,
    /// Where the next one is to be.
    pub placed: Placed,
    /// What for.
    pub cause: Cause,
}

/// The rolls to begin with, at most `limit`. Segments whose leader does not live are left to the
/// forced seal. Loads are counted from `segments`; those of `nodes` are not looked at.
#[must_use]
pub fn rebalance(nodes: &Nodes, segments: &[LedSegment<'_>], limit: usize) -> Vec<Move> {
    let mut hottest: Vec<LedSegment<'_>> = segments.to_vec();
    hottest.sort_by_key(|s| (std::cmp::Reverse(s.hotness), s.partition, s.epoch));
    let free = hottest.iter().map(|s| s.moving_to.is_none() && nodes.lives(s.leader)).collect();
    let mut plan = Plan { nodes: nodes.clone(), segments: hottest, free, moves: Vec::new(), limit };
    plan.count();
    plan.reshape();
    while plan.moves.len() < limit && plan.level_one_lease() {}
    while plan.moves.len() < limit && plan.level_one_member() {}
    plan.moves
}

struct Plan<'a> {
    /// With the loads as they are once the moves are made.
    nodes: Nodes,
    /// Hottest first.
    segments: Vec<LedSegment<'a>>,
    /// Whether each of them may still be moved.
    free: Vec<bool>,
    moves: Vec<Move>,
    limit: usize,
}

impl Plan<'_> {
    fn count(&mut self) {
        for node in self.nodes.iter_mut() {
            (node.leases, node.held) = (0, 0);
        }
        for segment in &self.segments {
            if let Some(node) = self.nodes.get_mut(segment.moving_to.unwrap_or(segment.leader)) {
                node.leases += 1;
            }
            for member in segment.members {
                if let Some(node) = self.nodes.get_mut(member.node) {
                    node.held += 1;
                }
            }
        }
    }

    fn reshape(&mut self) {
        for at in 0..self.segments.len() {
            if self.moves.len() >= self.limit {
                return;
            }
            let segment = self.segments[at];
            if !self.free[at] || self.is_well(&segment) {
                continue;
            }
            let previous =
                Previous { members: segment.members, leader: segment.leader, short: &[] };
            let request = Request {
                partition: segment.partition.partition,
                target: segment.target,
                min_insync: segment.min_insync,
                previous: Some(previous),
                policy: LeaderPolicy::Keep,
                occasion: Occasion::Planned(RollReason::Reshape),
                salt: 0,
                assigned: segment.assigned,
            };
            let Ok(placed) = place(&self.nodes, &request) else {
                continue;
            };
            let (have, next) = (segment.members.len(), placed.members.len());
            if next > have {
                self.make(at, placed, Cause::Widen { have, next });
            } else if placed.members != segment.members
                || placed.w != segment.w
                || (placed.leader.node != segment.leader && !self.may_keep(&segment))
            {
                self.make(at, placed, Cause::Reshape);
            }
        }
    }

    /// Whether a leader may keep its lease. One that waits for leases keeps those that it has.
    fn may_keep(&self, segment: &LedSegment<'_>) -> bool {
        let members: Vec<NodeId> = segment.members.iter().map(|member| member.node).collect();
        self.nodes.get(segment.leader).is_some_and(Node::takes_segments)
            && self.nodes.cut(segment.leader, &members) == 0
    }

    /// Whether nothing is to be mended: quick, for it is asked of every segment in every round.
    fn is_well(&self, segment: &LedSegment<'_>) -> bool {
        let n = segment.members.len();
        let well = |member: &Member| {
            self.nodes.get(member.node).is_some_and(|node| {
                node.takes_segments()
                    && node.storage == member.storage
                    && self.nodes.linked(segment.leader, node.id)
            })
        };
        let is_there = segment.assigned.is_empty()
            || segment.members.iter().map(|member| &member.node).eq(segment.assigned);
        n == segment.target
            && is_there
            && segment.w == write_quorum(n, segment.min_insync)
            && segment.members.iter().all(well)
    }

    fn make(&mut self, at: usize, placed: Placed, cause: Cause) {
        let segment = self.segments[at];
        let mut change = |id, leases: i32, held: i32| {
            if let Some(node) = self.nodes.get_mut(id) {
                node.leases = node.leases.saturating_add_signed(leases);
                node.held = node.held.saturating_add_signed(held);
            }
        };
        change(segment.leader, -1, 0);
        change(placed.leader.node, 1, 0);
        for member in segment.members {
            change(member.node, 0, -1);
        }
        for member in &placed.members {
            change(member.node, 0, 1);
        }
        self.free[at] = false;
        let LedSegment { partition, epoch, .. } = segment;
        self.moves.push(Move { partition, epoch, placed, cause });
    }

    /// Moves one lease from a node with many to a node with at least two fewer.
    fn level_one_lease(&mut self) -> bool {
        let able = self.nodes.iter().filter(|node| node.takes_leases());
        let mut counts: Vec<(u32, NodeId)> = able.map(|node| (node.leases, node.id)).collect();
        counts.sort_unstable();
        for &(most, from) in counts.iter().rev() {
            for &(_, to) in counts.iter().take_while(|(least, _)| least + 2 <= most) {
                if let Some(step) = self.best_lease(from, to) {
                    let mut why = step.left.map_or_else(Vec::new, |left| exchange(left, to));
                    why.push(Why::Leads { node: to, because: Lead::Share { from } });
                    let placed = self.as_placed(&step, to, why);
                    self.make(step.at, placed, Cause::Lease { from, to });
                    return true;
                }
            }
        }
        false
    }

    /// The lease that is best moved: one whose set stays comes first, one that is best kept last.
    fn best_lease(&self, from: NodeId, to: NodeId) -> Option<Step> {
        let mut best: Option<((bool, bool), Step)> = None;
        for (at, segment) in self.segments.iter().enumerate() {
            if segment.leader != from || !self.may_move(at) {
                continue;
            }
            let members: Vec<NodeId> = segment.members.iter().map(|m| m.node).collect();
            let is_member = members.contains(&to);
            if is_member && segment.policy == LeaderPolicy::Rotate {
                continue; // its turn comes anyway
            }
            let rank = (segment.policy == LeaderPolicy::Keep, !is_member);
            if best.as_ref().is_some_and(|(known, _)| *known <= rank) {
                continue;
            }
            let step = if is_member {
                Some(Step { at, members, left: None })
            } else {
                self.exchanged(at, to, |_| true)
            };
            best = step.map(|step| (rank, step)).or(best);
        }
        best.map(|(_, step)| step)
    }

    /// Whether a segment is as it should be and may be moved for balance.
    fn may_move(&self, at: usize) -> bool {
        self.free[at]
            && self.segments[at].assigned.is_empty()
            && self.segments[at].members.iter().all(|m| self.nodes.lives(m.node))
    }

    /// A segment's members with `to` in place of the one that holds most segments of those that
    /// may leave, if that makes racks no worse and `to` reaches the others.
    fn exchanged(&self, at: usize, to: NodeId, may_leave: impl Fn(NodeId) -> bool) -> Option<Step> {
        let members: Vec<NodeId> = self.segments[at].members.iter().map(|m| m.node).collect();
        let pairs = self.nodes.rack_pairs(&members);
        let options = (0..members.len()).filter(|place| may_leave(members[*place]));
        let options = options.filter_map(|place| {
            let mut next = members.clone();
            let left = std::mem::replace(&mut next[place], to);
            let next_pairs = self.nodes.rack_pairs(&next);
            let fits = next_pairs <= pairs && self.nodes.cut(to, &next) == 0;
            let rank = (next_pairs, std::cmp::Reverse(self.nodes.at(left).held), place);
            fits.then_some((rank, Step { at, members: next, left: Some(left) }))
        });
        options.min_by_key(|(rank, _)| *rank).map(|(_, step)| step)
    }

    /// Moves one member's place from a node that holds many segments to one that holds fewer by
    /// more than chance brings about.
    fn level_one_member(&mut self) -> bool {
        let able = self.nodes.iter().filter(|node| node.takes_segments());
        let mut counts: Vec<(u32, NodeId)> = able.map(|node| (node.held, node.id)).collect();
        counts.sort_unstable();
        let Some(&(least, to)) = counts.first() else {
            return false;
        };
        let total: u32 = counts.iter().map(|(held, _)| held).sum();
        let nodes = u32::try_from(counts.len()).expect("far fewer nodes than u32 counts");
        let slack = 2 + total / nodes / 10;
        for &(_, from) in counts.iter().rev().take_while(|(most, _)| *most >= least + slack) {
            for at in 0..self.segments.len() {
                let LedSegment { members, leader, .. } = self.segments[at];
                let has = |id| members.iter().any(|member| member.node == id);
                if leader == from || !has(from) || has(to) || !self.may_move(at) {
                    continue;
                }
                if let Some(step) = self.exchanged(at, to, |id| id == from) {
                    let placed = self.as_placed(&step, leader, exchange(from, to));
                    self.make(at, placed, Cause::Spread { from, to });
                    return true;
                }
            }
        }
        false
    }

    fn as_placed(&self, step: &Step, leader: NodeId, why: Vec<Why>) -> Placed {
        let LedSegment { target, min_insync, .. } = self.segments[step.at];
        let w = write_quorum(step.members.len(), min_insync);
        placed(&self.nodes, target, leader, &step.members, (w, why))
    }
}

/// A segment by its index, its next members, and who of them makes room.
struct Step {
    at: usize,
    members: Vec<NodeId>,
    left: Option<NodeId>,
}

fn exchange(left: NodeId, to: NodeId) -> Vec<Why> {
    vec![
        Why::Left { node: left, because: Leave::Balance },
        Why::Joined { node: to, because: Join::InPlaceOf(left) },
    ]
}
