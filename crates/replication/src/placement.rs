//! Where the next segment of a partition is written and stored.
//!
//! One pure function, [`place`], judges one partition; [`create`] spreads a new topic,
//! [`rebalance`] says which leases should roll where. All answers say why.
//!
//! The rules (design §7 and §13.3; E.9 and part F of the notes on sealing):
//!
//! - A replica set is sticky (M17). A member leaves when its node was removed, lost its disk,
//!   drains or is away for [`AWAY_MS`] (L2); when its disk is full or no member that could lead
//!   reaches it, but only for another in its place (L16, L23); when the target is smaller.
//! - A member that is away for less stays and catches up, unless the members that live cannot
//!   reach the write quorum with it: then the set is narrowed (M5).
//! - Fewer members than the target are filled up from the active nodes: those that reach the
//!   others first, then those in new racks, then those that hold fewest open segments (M13).
//! - Metadata refuses fewer than min(target, active nodes) members, so nodes that are best
//!   avoided are taken after all when there are no others.
//! - The lease moves inside the set by the topic's policy ([`LeaderPolicy`]), to a member of the
//!   segment before if it can, for others have to fetch its state first. A node that was fenced
//!   again and again waits for leases (L1).
//! - Nodes that somebody asked for by name come first, in that order, as far as they are there; the
//!   members of the segment before fill the places of those that are not.
//! - A leader that lost its quorum succeeds itself, with members that it reaches, or not at all
//!   (M5).
//! - `w` follows from the number of members (M11, M12).
//!
//! Loads and links are as the caller last heard of them: stale ones make a poor placement, never
//! a wrong one. Metadata judges whether a placement is valid; the caller passes rolls through a
//! token bucket. Where to read next: `placement/members.rs`, then `placement/lead.rs`.

mod balance;
mod create;
mod lead;
mod members;
mod nodes;
mod why;

use walrus_types::{NodeId, PartitionIndex};

use crate::{
    cursors::{Member, write_quorum},
    replica::Writer,
    roll::RollReason,
};

pub use balance::{Cause, LedSegment, Move, rebalance};
pub use create::{NewPartitions, create};
pub use nodes::{Node, Nodes, Standing};
pub use why::{Blemish, Join, Lead, Leave, Why};

/// A member that was not heard for so long is replaced at the next roll, and rolls are made for
/// it. One that is back sooner catches up in its place.
pub const AWAY_MS: u64 = 10_000;

/// Who of a replica set leads the next segment: `walrus.rollover.leader`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeaderPolicy {
    /// The member with the fewest leases beside this one; of several the next after the present
    /// leader.
    #[default]
    LeastLoaded,
    /// The next member.
    Rotate,
    /// The present leader while it can. Internal topics: a coordinator that moves disturbs all
    /// its groups (M17).
    Keep,
}

/// What a segment is placed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// The partition is new.
    Created,
    /// Its leader rolls it. For [`RollReason::QuorumLost`] it succeeds itself.
    Planned(RollReason),
    /// Its leader was fenced.
    Forced,
}

/// The segment before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Previous<'a> {
    /// Its replica set, in the record's order.
    pub members: &'a [Member],
    /// The node that led it.
    pub leader: NodeId,
    /// Members that are known not to have all of it. They pull the rest by themselves and are
    /// asked to lead only when nobody else can.
    pub short: &'a [NodeId],
}

/// A partition whose next segment is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request<'a> {
    /// Its number: with `salt` it decides between nodes that are equal in all else.
    pub partition: PartitionIndex,
    /// The topic's target replication factor, at least one.
    pub target: usize,
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// The segment before, if there is one.
    pub previous: Option<Previous<'a>>,
    /// Which member leads.
    pub policy: LeaderPolicy,
    /// What for.
    pub occasion: Occasion,
    /// Different for each topic, the same for all of its partitions.
    pub salt: u64,
    /// The nodes that are to store the partition by name, in their order; none where nobody asked.
    pub assigned: &'a [NodeId],
}

/// Where a segment is to be, and why there.
///
/// Invariants: no node stands twice in `members`; the leader is one of them; `w` is
/// [`write_quorum`] of them; there are at least min(target, active nodes).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Who writes it.
    pub leader: Writer,
    /// Who stores it.
    pub members: Vec<Member>,
    /// How many of them make a batch committed.
    pub w: usize,
    /// What was decided and what stood against it, in the order of deciding.
    pub why: Vec<Why>,
}

/// Why a segment cannot be placed at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No node could lead. To be tried again when a node is back.
    #[error("no node is there that could lead")]
    NobodyLives,
    /// The leader that lost its quorum is fenced or gone itself.
    #[error("{0} lost its quorum and is not in service itself")]
    LeaderGone(NodeId),
    /// The leader that lost its quorum reaches too few nodes, and those it does not reach are
    /// active: it should give up its lease, so that another leads.
    #[error("{leader} reaches {reach} of the {w} members it needs, and the others are active")]
    CutOff {
        /// The leader.
        leader: NodeId,
        /// How many members it reaches, itself included.
        reach: usize,
        /// How many it needs.
        w: usize,
    },
    /// The node that was to lead by name cannot now.
    #[error("{0} cannot lead the partition now")]
    NotAble(NodeId),
}

/// Places one segment. The same input always gives the same answer.
///
/// # Errors
/// [`Refusal`].
///
/// # Panics
/// When the target is zero.
pub fn place(nodes: &Nodes, request: &Request<'_>) -> Result<Placed, Refusal> {
    place_beside(nodes, request, &nodes::Load::default())
}

/// As [`place`], led by a node that was asked for by name.
///
/// # Errors
/// [`Refusal::NotAble`] when it is none of the members, may not be given leases, or could not
/// commit; else as [`place`].
///
/// # Panics
/// When the target is zero.
pub fn place_led_by(
    nodes: &Nodes,
    request: &Request<'_>,
    leader: NodeId,
) -> Result<Placed, Refusal> {
    assert!(request.target > 0, "a segment wants at least one member");
    let load = nodes::Load::default();
    let (members, mut why) = members::choose(nodes, request, &load);
    let w = write_quorum(members.len().max(1), request.min_insync);
    if !lead::is_able(nodes, request, &members, leader) {
        return Err(Refusal::NotAble(leader));
    }
    why.push(Why::Leads { node: leader, because: Lead::Named });
    Ok(placed(nodes, request.target, leader, &members, (w, why)))
}

/// As [`place`], beside what the same topic was given already.
fn place_beside(
    nodes: &Nodes,
    request: &Request<'_>,
    load: &nodes::Load,
) -> Result<Placed, Refusal> {
    assert!(request.target > 0, "a segment wants at least one member");
    let (members, mut why) = members::choose(nodes, request, load);
    let w = write_quorum(members.len(), request.min_insync);
    let leader = lead::choose(nodes, request, &members, load, &mut why)?;
    Ok(placed(nodes, request.target, leader, &members, (w, why)))
}

/// Puts an answer together and holds it against the invariants.
fn placed(
    nodes: &Nodes,
    target: usize,
    leader: NodeId,
    members: &[NodeId],
    (w, why): (usize, Vec<Why>),
) -> Placed {
    let member = |id: &NodeId| Member { node: *id, storage: nodes.at(*id).storage };
    for (at, id) in members.iter().enumerate() {
        assert!(!members[..at].contains(id), "{id} is chosen twice");
    }
    assert!(members.contains(&leader), "{leader} leads and is no member");
    let least = target.min(nodes.active());
    assert!(members.len() >= least, "{} members where {least} are due", members.len());
    assert!((1..=members.len()).contains(&w), "w={w} of {} members", members.len());
    let leader = nodes.writer(leader);
    Placed { leader, members: members.iter().map(member).collect(), w, why }
}

#[cfg(test)]
mod tests;
