//! Which copies of sealed segments are to be made, and which members a segment then does without.
//!
//! A copy counts when its node is active, or was lost a moment ago: one that comes back within
//! [`MISSING_MS`] has all that it had. The copies of a node that drains do not count, and can be
//! copied from; they go once as many others have everything as the topic wants. A disk that was
//! lost and a node that was removed count for nothing and leave at once. Where a partition is
//! assigned to nodes by name, those are given all of it, and the others leave once they have it.
//!
//! ```text
//!  short segments: fewest copies first, internal topics first
//!    -> a target that has room: member of the open segment, other rack, least given
//!    -> a source that has room
//! ```
//!
//! Owns what is under way and what each node was given of late, so that producers keep their disks
//! and links. Owns no copies and no metadata: `walrusd`'s `controller/repair.rs` has them made, and
//! metadata judges each change of members against those it expects.

use std::collections::BTreeMap;

use walrus_types::{NodeId, SegmentId};

use crate::{
    cursors::Member,
    placement::{Node, Nodes, Standing},
    roll::UptimeMs,
};

/// A node that was not heard for so long has lost what it held, until it is heard again.
pub const MISSING_MS: u64 = 30_000;
/// The first wait after a copy that was not made; it doubles with each.
const AGAIN_MS_MIN: u64 = 1_000;
/// The longest wait after a copy that was not made.
const AGAIN_MS_MAX: u64 = 60_000;

/// How much may be copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Copies that a node takes part in at the same time, as source or as target.
    pub at_once: usize,
    /// Bytes per second that a node takes part in copying, on average.
    pub bytes_per_second: u64,
}

/// A sealed segment that may have too few copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short<'a> {
    /// Which.
    pub segment: SegmentId,
    /// How long it is.
    pub bytes: u64,
    /// Who holds it.
    pub members: &'a [Member],
    /// Who stores the partition's open segment: they want the whole partition.
    pub beside: &'a [Member],
    /// How many copies its topic wants.
    pub target: usize,
    /// The cluster itself needs it.
    pub is_internal: bool,
    /// Who is to have it by name; nobody where nobody asked.
    pub assigned: &'a [Member],
}

/// A copy that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyWanted {
    /// Of which segment.
    pub segment: SegmentId,
    /// How long it is.
    pub bytes: u64,
    /// Who has it: to be asked in this order.
    pub sources: Vec<Member>,
    /// Who is to have it.
    pub to: Member,
}

/// What the copy of a member is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Worth {
    Counts,
    /// Its node drains.
    Leaving,
    /// Its node was not heard for long.
    Missing,
    /// Its disk is lost, or its node was removed.
    Gone,
}

fn worth(nodes: &Nodes, member: Member) -> Worth {
    let node = nodes.get(member.node).filter(|node| node.storage == member.storage);
    match node.map(|node| (node.standing, node.silent_ms)) {
        None | Some((Standing::Removed, _)) => Worth::Gone,
        Some((Standing::Draining, _)) => Worth::Leaving,
        Some((_, Some(ms))) if ms >= MISSING_MS => Worth::Missing,
        Some((Standing::Active | Standing::Fenced, _)) => Worth::Counts,
    }
}

/// Whether the copy of that member makes a segment safer.
#[must_use]
pub fn counts(nodes: &Nodes, member: Member) -> bool {
    worth(nodes, member) == Worth::Counts
}

impl Short<'_> {
    /// Those that are to have it by name, have it not and can take it now.
    fn lacking<'s>(&'s self, nodes: &'s Nodes) -> impl Iterator<Item = Member> + 's {
        let takes = move |member: &Member| {
            let node = nodes.get(member.node).filter(|node| node.storage == member.storage);
            node.is_some_and(Node::takes_segments)
        };
        let lacks = move |member: &&Member| !self.members.contains(member);
        self.assigned.iter().filter(lacks).copied().filter(move |member| takes(member))
    }
}

/// Whether there is a member whose copy may no longer be needed, whatever it is a member of.
#[must_use]
pub fn anybody_leaves(nodes: &Nodes) -> bool {
    let of_node = |node: &Node| Member { node: node.id, storage: node.storage };
    nodes.iter().any(|node| matches!(worth(nodes, of_node(node)), Worth::Leaving | Worth::Missing))
}

/// Whether the node can be read from now.
fn can_give(nodes: &Nodes, member: Member) -> bool {
    let node = nodes.get(member.node).filter(|node| node.storage == member.storage);
    node.is_some_and(Node::lives)
}

/// The members of a sealed segment from now on, when `with` has all of it as well.
///
/// Who leaves goes when as many as the topic wants have it and can be read from now: a node that
/// drains for a while on a cluster without a spare one keeps what it has. Who is missing stays on
/// the list until there are as many copies as the topic wants, for it may be back. Once all that
/// are to have it by name have it and can be read from, they alone are members. One of those
/// before stays in any case: metadata wants to see where the copies came from.
#[must_use]
pub fn regroup(
    nodes: &Nodes,
    members: &[Member],
    with: Option<Member>,
    (target, assigned): (usize, &[Member]),
) -> Vec<Member> {
    let there = members.iter().filter(|member| worth(nodes, **member) != Worth::Gone).copied();
    let new = with.filter(|new| !members.contains(new));
    let all: Vec<Member> = there.chain(new).collect();
    let copies = all.iter().filter(|member| counts(nodes, **member)).count();
    let at_hand = |member: &&Member| counts(nodes, **member) && can_give(nodes, **member);
    let readable = all.iter().filter(at_hand).count();
    let stays = |member: &Member| match worth(nodes, *member) {
        Worth::Counts => true,
        Worth::Leaving => readable < target.max(1),
        Worth::Missing => copies < target.max(1),
        Worth::Gone => false,
    };
    let is_at_hand = |member: &Member| all.contains(member) && at_hand(&member);
    let kept: Vec<Member> = if !assigned.is_empty() && assigned.iter().all(is_at_hand) {
        assigned.to_vec()
    } else {
        all.iter().filter(|member| stays(member)).copied().collect()
    };
    let is_traced = kept.iter().any(|member| members.contains(member));
    match (is_traced, all.is_empty()) {
        (true, _) => kept,
        (false, false) => all,
        (false, true) => members.to_vec(),
    }
}

/// A copy that is being made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Making {
    from: NodeId,
    to: NodeId,
}

/// A copy that was not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed {
    again_at: UptimeMs,
    wait_ms: u64,
}

/// What is being copied, and what each node was given of late.
#[derive(Debug)]
pub struct Repairs {
    limits: Limits,
    making: BTreeMap<SegmentId, Making>,
    /// When what a node was given so far is over at the rate that it has.
    paid_at: BTreeMap<NodeId, UptimeMs>,
    failed: BTreeMap<SegmentId, Failed>,
}

impl Repairs {
    /// Nothing is under way.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { limits, making: BTreeMap::new(), paid_at: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// How many copies are being made.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.making.len()
    }

    /// Whether any node could be given a copy now.
    #[must_use]
    pub fn has_room(&self, nodes: &Nodes, now: UptimeMs) -> bool {
        nodes.iter().any(|node| node.takes_segments() && self.has_room_at(node.id, now))
    }

    /// The copies to begin now; they are under way from here on.
    pub fn plan(&mut self, nodes: &Nodes, short: &[Short<'_>], now: UptimeMs) -> Vec<CopyWanted> {
        self.failed.retain(|_, failed| now.since(failed.again_at) < AGAIN_MS_MAX);
        let mut order: Vec<(usize, bool, SegmentId, &Short<'_>)> = short
            .iter()
            .filter(|short| self.is_due(nodes, short, now))
            .map(|short| {
                let left = short.members.iter().filter(|member| is_left(nodes, **member)).count();
                (left, !short.is_internal, short.segment, short)
            })
            .collect();
        order.sort_by_key(|(left, other, segment, _)| (*left, *other, *segment));
        let mut wanted = Vec::new();
        for (_, _, _, short) in order {
            if !self.has_room(nodes, now) {
                break;
            }
            wanted.extend(self.place(nodes, short, now));
        }
        wanted
    }

    /// A copy was made, and metadata knows of it; or it was not made, and is wanted later.
    pub fn ended(&mut self, segment: SegmentId, is_made: bool, now: UptimeMs) {
        self.making.remove(&segment);
        let before = self.failed.remove(&segment);
        if !is_made {
            let doubled = before.map_or(AGAIN_MS_MIN, |failed| failed.wait_ms * 2);
            let wait_ms = doubled.min(AGAIN_MS_MAX);
            self.failed.insert(segment, Failed { again_at: UptimeMs(now.0 + wait_ms), wait_ms });
        }
    }

    fn is_due(&self, nodes: &Nodes, short: &Short<'_>, now: UptimeMs) -> bool {
        let copies = short.members.iter().filter(|member| counts(nodes, **member)).count();
        let waits = self.failed.get(&short.segment).is_some_and(|failed| now < failed.again_at);
        let is_wanted =
            copies < short.target.min(nodes.active()) || short.lacking(nodes).next().is_some();
        is_wanted && !waits && !self.making.contains_key(&short.segment)
    }

    fn place(&mut self, nodes: &Nodes, short: &Short<'_>, now: UptimeMs) -> Option<CopyWanted> {
        let has_room = |id: NodeId| self.has_room_at(id, now);
        let holds =
            |node: &Node| short.members.contains(&Member { node: node.id, storage: node.storage });
        let kept: Vec<NodeId> = short
            .members
            .iter()
            .filter(|member| counts(nodes, **member))
            .map(|member| member.node)
            .collect();
        let rank = |node: &&Node| {
            let is_beside = short.beside.iter().any(|member| member.node == node.id);
            let paid_at = self.paid_at.get(&node.id).copied().unwrap_or(UptimeMs(0));
            (!is_beside, nodes.same_rack(node.id, &kept), paid_at, node.held, node.id)
        };
        let named: Vec<NodeId> = short.lacking(nodes).map(|member| member.node).collect();
        let is_wanted = |node: &Node| named.is_empty() || named.contains(&node.id);
        let able = |node: &&Node| node.takes_segments() && !holds(node) && has_room(node.id);
        let target = nodes.iter().filter(able).filter(|node| is_wanted(node)).min_by_key(rank)?;
        let to = Member { node: target.id, storage: target.storage };
        let mut sources: Vec<Member> =
            short.members.iter().filter(|member| can_give(nodes, **member)).copied().collect();
        sources.sort_by_key(|source| {
            let paid_at = self.paid_at.get(&source.node).copied().unwrap_or(UptimeMs(0));
            (!has_room(source.node), !nodes.linked(source.node, to.node), paid_at)
        });
        let from = sources.first().filter(|source| has_room(source.node))?.node;
        self.making.insert(short.segment, Making { from, to: to.node });
        for node in [from, to.node] {
            self.charge(node, short.bytes, now);
        }
        Some(CopyWanted { segment: short.segment, bytes: short.bytes, sources, to })
    }

    fn has_room_at(&self, node: NodeId, now: UptimeMs) -> bool {
        let takes_part = |making: &&Making| making.from == node || making.to == node;
        let is_paid = self.paid_at.get(&node).is_none_or(|paid_at| *paid_at <= now);
        is_paid && self.making.values().filter(takes_part).count() < self.limits.at_once
    }

    fn charge(&mut self, node: NodeId, bytes: u64, now: UptimeMs) {
        let costs_ms = bytes.saturating_mul(1_000) / self.limits.bytes_per_second.max(1);
        let paid_at = self.paid_at.entry(node).or_insert(now);
        *paid_at = UptimeMs(now.max(*paid_at).0.saturating_add(costs_ms));
    }
}

/// Whether there is something at that member still, whether it counts or not.
fn is_left(nodes: &Nodes, member: Member) -> bool {
    counts(nodes, member) || can_give(nodes, member)
}

#[cfg(test)]
mod tests;
