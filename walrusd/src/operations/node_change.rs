//! What a change of a node comes to: what happens, what an operator may not want, what stands
//! against it. Pure, so that a dry run and the change itself say the same.

use walrus_admin::{
    ApiError, Code,
    health::count,
    node::{Change, Holding},
};
use walrus_metadata::{Metadata, Node, NodeState};
use walrus_raft::{Member, RaftId};
use walrus_types::NodeId;

use super::census::Census;

/// What is known when a change is judged.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The cluster.
    pub metadata: &'a Metadata,
    /// What was counted in it.
    pub census: &'a Census,
    /// The metadata group.
    pub members: &'a [Member],
    /// Who leads it.
    pub leader: Option<RaftId>,
}

/// What a change comes to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// Whether there is anything to change.
    pub changes: bool,
    pub effects: Vec<String>,
    pub warnings: Vec<String>,
    pub refusals: Vec<ApiError>,
}

/// Judges a change.
///
/// # Errors
/// There is no such node.
pub fn plan(facts: Facts<'_>, id: NodeId, change: Change) -> Result<Plan, ApiError> {
    let node = facts.metadata.node(id).ok_or_else(|| no_such_node(id))?;
    let mut plan = Plan::default();
    match change {
        Change::Drain => drain(facts, id, node, &mut plan),
        Change::Undrain => undrain(id, node, &mut plan),
        Change::Remove => remove(facts, id, node, &mut plan),
    }
    Ok(plan)
}

/// It is not there.
pub fn no_such_node(id: NodeId) -> ApiError {
    let error = ApiError::new(Code::NotFound, format!("there is no node {id} in this cluster"));
    error.hint("walrusctl node list")
}

/// Why the `open` segments of a node cannot go elsewhere, if they cannot.
pub fn nowhere_to_go(facts: Facts<'_>, id: NodeId, open: u64) -> Option<ApiError> {
    if active_beside(facts.metadata, id) > 0 {
        return None;
    }
    let what = format!("{id} is the only active node: its {} could go nowhere", segments(open));
    let error = ApiError::new(Code::LastNode, what);
    Some(error.hint("start another node first: walrusd --join HOST:PEERPORT"))
}

/// Topics that want more copies than there are active nodes beside `id`.
pub fn topics_short_without(metadata: &Metadata, id: NodeId) -> u64 {
    let others = active_beside(metadata, id);
    u64::try_from(topics_wanting_more(metadata, others)).unwrap_or(u64::MAX)
}

fn drain(facts: Facts<'_>, id: NodeId, node: &Node, plan: &mut Plan) {
    if removed(id, node, plan) {
        return;
    }
    if node.drains {
        plan.effects.push(format!("{id} is draining already"));
        return;
    }
    let others = active_beside(facts.metadata, id);
    let Holding { leads, open, .. } = facts.census.holding(id);
    if let Some(refusal) = nowhere_to_go(facts, id, open) {
        plan.refusals.push(refusal);
        return;
    }
    plan.changes = true;
    plan.effects.push(format!("{id} is given no leases and no new segments"));
    plan.effects.push(format!(
        "its {} and its place in {} go to other nodes as these roll over",
        leases(leads),
        segments(open)
    ));
    let short = topics_wanting_more(facts.metadata, others);
    if short > 0 {
        plan.warnings.push(format!(
            "with {} left the next segments of {} have fewer copies than asked for",
            count(others, "active node"),
            count(short, "topic")
        ));
    }
}

fn undrain(id: NodeId, node: &Node, plan: &mut Plan) {
    if removed(id, node, plan) {
        return;
    }
    if !node.drains {
        plan.effects.push(format!("{id} does not drain"));
        return;
    }
    plan.changes = true;
    plan.effects.push(match node.state {
        NodeState::Fenced => format!("{id} takes part again once it is started again"),
        NodeState::Active | NodeState::Draining | NodeState::Removed => {
            format!("{id} takes part again: it is given leases and new segments")
        }
    });
}

fn remove(facts: Facts<'_>, id: NodeId, node: &Node, plan: &mut Plan) {
    let member = facts.members.iter().find(|member| member.id == RaftId::from(node.storage));
    if node.state == NodeState::Removed {
        plan.changes = member.is_some();
        plan.effects.push(match member {
            Some(_) => format!("{id} was removed; its place in the metadata group ends"),
            None => format!("{id} was removed already"),
        });
        return;
    }
    plan.changes = true;
    plan.effects.push(format!(
        "{id} and its disk ({}) leave the cluster for good: the folder cannot come back",
        node.storage
    ));
    let sealed = facts.census.holding(id).sealed;
    if sealed > 0 {
        plan.effects.push(format!(
            "its copies of {sealed} sealed segments are given up once others have enough"
        ));
    }
    plan.refusals.extend(not_the_last(facts, id));
    if plan.refusals.is_empty() {
        plan.refusals.extend(not_needed(facts, id, node));
        if let Some(member) = member.filter(|member| member.votes) {
            keeps_quorum(facts, id, member, plan);
        }
    }
}

/// Whether another node would be there.
fn not_the_last(facts: Facts<'_>, id: NodeId) -> Option<ApiError> {
    let there =
        |(other, node): (&NodeId, &std::sync::Arc<Node>)| *other != id && node.state.serves();
    if facts.metadata.nodes().iter().any(there) {
        return None;
    }
    let what = format!("{id} is the only node that serves: without it there is no cluster");
    let error = ApiError::new(Code::LastNode, what);
    Some(error.hint("start another node first: walrusd --join HOST:PEERPORT"))
}

/// Whether no segment needs it.
fn not_needed(facts: Facts<'_>, id: NodeId, node: &Node) -> Vec<ApiError> {
    let mut found = Vec::new();
    let holding = facts.census.holding(id);
    let Holding { leads, open, sealed, sole, needed } = holding;
    if node.state == NodeState::Active {
        let error = ApiError::new(Code::NotDrained, format!("{id} takes part in the cluster"));
        found.push(error.hint(format!("drain it first: walrusctl node drain {} --wait", id.0)));
    }
    if sole > 0 && !node.state.serves() {
        let what =
            format!("{id} is fenced, and of {sole} segments no other node that serves has a copy");
        let error = ApiError::new(Code::LastCopy, what);
        found
            .push(error.hint(format!("start walrusd of {id} again, so that others can copy them")));
    }
    if !holding.is_free() {
        let alone = if sole > 0 { format!(", and {sole} are on it alone") } else { String::new() };
        let what = format!(
            "{id} leads {leads} open segments and is a member of {open} open and {sealed} sealed \
             ones; of {needed} of these others have too few copies{alone}"
        );
        let error = ApiError::new(Code::Needed, what);
        found.push(
            error.hint("wait until others have them; walrusctl node list tells how many are left"),
        );
    }
    found
}

/// Whether the metadata group can lose its vote, and can decide that.
fn keeps_quorum(facts: Facts<'_>, id: NodeId, leaving: &Member, plan: &mut Plan) {
    let serves = |member: &&Member| {
        facts
            .metadata
            .node(member.peer.node)
            .is_some_and(|node| node.state.serves() && RaftId::from(node.storage) == member.id)
    };
    let voters: Vec<&Member> = facts.members.iter().filter(|member| member.votes).collect();
    let live = voters.iter().copied().filter(serves).count();
    let after = voters.len() - 1;
    let live_after = voters.iter().copied().filter(|m| m.id != leaving.id).filter(serves).count();
    let quorum = |voters: usize| voters / 2 + 1;
    plan.effects.push(format!("its vote ends: {} become {after}", count(voters.len(), "voter")));
    if live < quorum(voters.len()) || live_after < quorum(after) {
        let what = format!(
            "the metadata group would lose its quorum: {live_after} of {after} voters that stay are \
             there, {} must be",
            quorum(after)
        );
        let error = ApiError::new(Code::Quorum, what);
        plan.refusals
            .push(error.hint("start the missing nodes, or add one: walrusctl raft status"));
    } else if after < 3 {
        plan.warnings.push(format!(
            "{} remain: the metadata group bears no failure until there are 3",
            count(after, "voter")
        ));
    }
    if facts.leader == Some(leaving.id) {
        let error = ApiError::new(Code::LeadsRaft, format!("{id} leads the metadata group"));
        plan.refusals.push(error.hint("hand that over first: walrusctl raft transfer NODE"));
    }
}

fn removed(id: NodeId, node: &Node, plan: &mut Plan) -> bool {
    let is_removed = node.state == NodeState::Removed;
    if is_removed {
        let error = ApiError::new(Code::Changed, format!("{id} was removed from this cluster"));
        plan.refusals
            .push(error.hint("an empty disk may join under its id: walrusd --join HOST:PEERPORT"));
    }
    is_removed
}

fn active_beside(metadata: &Metadata, id: NodeId) -> usize {
    let others = metadata.nodes().iter().filter(|(other, _)| **other != id);
    others.filter(|(_, node)| node.state == NodeState::Active).count()
}

fn topics_wanting_more(metadata: &Metadata, nodes: usize) -> usize {
    metadata.topics().filter(|topic| usize::from(topic.replicas_target) > nodes).count()
}

fn segments(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "open segment")
}

fn leases(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "lease")
}

#[cfg(test)]
pub(super) mod tests;
