//! Which nodes store the next segment: the sticky replica set.

use walrus_types::NodeId;

use super::{
    AWAY_MS, Occasion, Request,
    nodes::{Load, Node, Nodes, Standing, shuffle},
    why::{Blemish, Join, Leave, Why},
};
use crate::{
    cursors::{Member, write_quorum},
    roll::RollReason,
};

/// The members, those of the segment before first and in their order, and what led to them.
/// None lives when no node does: `lead.rs` refuses that.
pub(super) fn choose(nodes: &Nodes, request: &Request<'_>, load: &Load) -> (Vec<NodeId>, Vec<Why>) {
    let mut draft = Draft { nodes, request, load, set: Vec::new(), why: Vec::new() };
    draft.keep();
    draft.trim();
    draft.fill_and_narrow();
    draft.swap_full();
    draft.swap_cut_off();
    draft.fill_to_least();
    draft.fall_back_on_draining();
    draft.note();
    (draft.set, draft.why)
}

/// The leader that has to succeed itself, if this is such a roll.
pub(super) fn own_successor(request: &Request<'_>) -> Option<NodeId> {
    let lost = request.occasion == Occasion::Planned(RollReason::QuorumLost);
    request.previous.filter(|_| lost).map(|previous| previous.leader)
}

struct Draft<'a> {
    nodes: &'a Nodes,
    request: &'a Request<'a>,
    load: &'a Load,
    set: Vec<NodeId>,
    why: Vec<Why>,
}

impl Draft<'_> {
    /// Those of the segment before that need not leave.
    fn keep(&mut self) {
        let is_assigned = self.take_assigned();
        for member in self.request.previous.map_or(&[][..], |previous| previous.members) {
            let node = member.node;
            if self.set.contains(&node) {
                continue;
            }
            match self.must_leave(*member) {
                Some(because) => self.why.push(Why::Left { node, because }),
                None if is_assigned && self.set.len() >= self.request.target => {
                    self.why.push(Why::Left { node, because: Leave::Assigned });
                }
                None => self.set.push(node),
            }
        }
    }

    /// Those that the partition is assigned to, in that order and as far as they can store it now.
    /// Answers whether there are any.
    fn take_assigned(&mut self) -> bool {
        if own_successor(self.request).is_some() {
            return false;
        }
        let previous = self.request.previous.map_or(&[][..], |previous| previous.members);
        for &id in self.request.assigned {
            let Some(node) = self.nodes.get(id) else { continue };
            let held = previous.iter().find(|m| m.node == id && m.storage == node.storage);
            let can = match held {
                Some(member) => self.must_leave(*member).is_none(),
                None => node.takes_segments(),
            };
            if !can || self.set.len() >= self.request.target {
                continue;
            }
            if held.is_none() {
                self.why.push(Why::Joined { node: id, because: Join::Assigned });
            }
            self.set.push(id);
        }
        !self.set.is_empty()
    }

    fn must_leave(&self, member: Member) -> Option<Leave> {
        let Some(node) = self.nodes.get(member.node) else {
            return Some(Leave::Removed);
        };
        match (node.standing, node.silent_ms) {
            (Standing::Removed, _) => Some(Leave::Removed),
            _ if node.storage != member.storage => Some(Leave::LostDisk),
            _ if own_successor(self.request) == Some(node.id) => None,
            (Standing::Draining, _) => Some(Leave::Draining),
            (_, Some(ms)) if ms >= AWAY_MS => Some(Leave::Away { ms }),
            _ if !self.in_reach(node.id) => Some(Leave::CutOff),
            (Standing::Active | Standing::Fenced, _) => None,
        }
    }

    /// Whether a leader that succeeds itself reaches `id`; nobody else is known to lead yet.
    fn in_reach(&self, id: NodeId) -> bool {
        own_successor(self.request).is_none_or(|leader| self.nodes.linked(leader, id))
    }

    /// Down to the target, when that was lowered. The leader stays if it lives.
    fn trim(&mut self) {
        let leader = self.request.previous.map(|previous| previous.leader);
        while self.set.len() > self.request.target {
            let worst = |at: &usize| {
                let node = self.nodes.at(self.set[*at]);
                let rack = self.nodes.same_rack(node.id, &self.set);
                (!node.lives(), Some(node.id) != leader, node.disk_full, rack, node.held, *at)
            };
            let at = (0..self.set.len()).max_by_key(worst).expect("the set is not empty");
            self.leave(at, Leave::TooMany);
        }
    }

    fn leave(&mut self, at: usize, because: Leave) {
        let node = self.set.remove(at);
        self.why.push(Why::Left { node, because });
    }

    /// Up to the target with what is there. Members that are away for a moment go while those
    /// that live could not commit with them.
    fn fill_and_narrow(&mut self) {
        loop {
            while self.set.len() < self.request.target
                && let Some(spare) = self.best_spare(&self.set)
            {
                let new = self.request.previous.is_none();
                let because = if new { Join::New } else { Join::Wanted };
                self.set.push(spare);
                self.why.push(Why::Joined { node: spare, because });
            }
            let live = self.set.iter().filter(|id| self.nodes.lives(**id)).count();
            let absent = self.set.iter().rposition(|id| !self.nodes.lives(*id));
            match absent {
                Some(at) if live < write_quorum(self.set.len(), self.request.min_insync) => {
                    self.leave(at, Leave::BlocksQuorum);
                }
                _ => return,
            }
        }
    }

    /// The best node to join `others`, of those that have nothing against them.
    fn best_spare(&self, others: &[NodeId]) -> Option<NodeId> {
        let free = |node: &&Node| node.takes_segments() && !self.set.contains(&node.id);
        let spares = self.nodes.iter().filter(free).filter(|node| self.in_reach(node.id));
        spares.min_by_key(|node| self.rank(node, others)).map(|node| node.id)
    }

    /// What is better avoided comes first, and the least is best.
    fn rank(&self, node: &Node, others: &[NodeId]) -> impl Ord + use<> {
        let given = self.load.of(node.id);
        (
            self.nodes.cut(node.id, others),
            self.nodes.same_rack(node.id, others),
            !node.may_take_leases,
            (given.held, node.held.saturating_add(given.held)),
            (given.led, node.leases.saturating_add(given.led)),
            shuffle(self.request.salt, self.request.partition, node.id),
        )
    }

    fn swap(&mut self, at: usize, spare: NodeId, because: Leave) {
        let node = std::mem::replace(&mut self.set[at], spare);
        self.why.push(Why::Left { node, because });
        self.why.push(Why::Joined { node: spare, because: Join::InPlaceOf(node) });
    }

    /// Full disks take no new segments if others can.
    fn swap_full(&mut self) {
        for at in 0..self.set.len() {
            let is_own_successor = own_successor(self.request) == Some(self.set[at]);
            if self.nodes.at(self.set[at]).disk_full
                && !is_own_successor
                && let Some(spare) = self.best_spare(&self.without(at))
            {
                self.swap(at, spare, Leave::DiskFull);
            }
        }
    }

    fn without(&self, at: usize) -> Vec<NodeId> {
        let mut others = self.set.clone();
        others.remove(at);
        others
    }

    /// While no member reaches all others, the one with most broken links goes, if a node that
    /// reaches the rest can take its place.
    fn swap_cut_off(&mut self) {
        for _ in 0..self.set.len() {
            if self.set.iter().any(|id| self.nodes.lives(*id) && self.cut(*id) == 0) {
                return;
            }
            let leader = self.request.previous.map(|previous| previous.leader);
            let worst = |at: &usize| {
                let id = self.set[*at];
                let everywhere = self.nodes.iter().filter(|node| !self.nodes.linked(id, node.id));
                (self.cut(id), everywhere.count(), Some(id) != leader, *at)
            };
            let live = (0..self.set.len()).filter(|at| self.nodes.lives(self.set[*at]));
            let Some(at) = live.max_by_key(worst) else {
                return;
            };
            let others = self.without(at);
            match self.best_spare(&others) {
                Some(spare) if self.nodes.cut(spare, &others) == 0 => {
                    self.swap(at, spare, Leave::CutOff);
                }
                _ => return,
            }
        }
    }

    fn cut(&self, id: NodeId) -> usize {
        self.nodes.cut(id, &self.set)
    }

    /// Metadata counts active nodes, whatever is the matter with them.
    fn fill_to_least(&mut self) {
        while self.set.len() < self.request.target.min(self.nodes.active()) {
            let free =
                |node: &&Node| node.standing == Standing::Active && !self.set.contains(&node.id);
            let bad = |node: &&Node| {
                (!self.in_reach(node.id), node.silent_ms, self.rank(node, &self.set))
            };
            let spare = self.nodes.iter().filter(free).min_by_key(bad);
            let node = spare.expect("fewer members than active nodes").id;
            self.set.push(node);
            self.why.push(Why::Joined { node, because: Join::Wanted });
        }
    }

    /// A cluster whose last nodes drain goes on with them.
    fn fall_back_on_draining(&mut self) {
        if self.set.iter().any(|id| self.nodes.lives(*id)) {
            return;
        }
        let previous = self.request.previous.map_or(&[][..], |previous| previous.members);
        let was_member =
            |node: &Node| previous.iter().any(|m| m.node == node.id && m.storage == node.storage);
        let free = |node: &&Node| node.lives() && !self.set.contains(&node.id);
        let rank = |node: &&Node| (!was_member(node), self.rank(node, &self.set));
        let Some(node) = self.nodes.iter().filter(free).min_by_key(rank) else {
            return;
        };
        if self.set.len() == self.request.target {
            self.swap(self.set.len() - 1, node.id, Leave::BlocksQuorum);
        } else {
            self.set.push(node.id);
            self.why.retain(|why| !matches!(why, Why::Left { node: left, .. } if *left == node.id));
        }
    }

    /// What is not as it should be.
    fn note(&mut self) {
        let (members, target) = (self.set.len(), self.request.target);
        if members < target {
            self.why.push(Why::Narrow { members, target });
        }
        for (at, &id) in self.set.iter().enumerate() {
            let node = self.nodes.at(id);
            let blemishes = [
                (node.silent_ms.is_some(), Blemish::Silent),
                (node.standing == Standing::Draining, Blemish::Draining),
                (node.disk_full, Blemish::DiskFull),
                (node.lives() && self.cut(id) > 0, Blemish::CutOff),
            ];
            for (_, blemish) in blemishes.into_iter().filter(|(is, _)| *is) {
                self.why.push(Why::Despite { node: id, blemish });
            }
            let in_rack =
                |other: &&NodeId| node.rack.is_some() && self.nodes.at(**other).rack == node.rack;
            if let Some(&with) = self.set[..at].iter().find(in_rack) {
                self.why.push(Why::SharedRack { node: id, with });
            }
        }
    }
}
