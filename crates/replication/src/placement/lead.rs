//! Which member leads the next segment.

use walrus_types::NodeId;

use super::{
    LeaderPolicy, Refusal, Request,
    members::own_successor,
    nodes::{Load, Node, Nodes, Standing, shuffle},
    why::{Blemish, Lead, Why},
};
use crate::cursors::write_quorum;

/// Chooses among `members` and says why.
pub(super) fn choose(
    nodes: &Nodes,
    request: &Request<'_>,
    members: &[NodeId],
    load: &Load,
    why: &mut Vec<Why>,
) -> Result<NodeId, Refusal> {
    let w = write_quorum(members.len().max(1), request.min_insync);
    let choice = Choice { nodes, request, members, load, w };
    if let Some(leader) = own_successor(request) {
        let reach = choice.reach(leader);
        if !nodes.lives(leader) || !members.contains(&leader) {
            return Err(Refusal::LeaderGone(leader));
        }
        if reach < w {
            return Err(Refusal::CutOff { leader, reach, w });
        }
        why.push(Why::Leads { node: leader, because: Lead::Itself });
        return Ok(leader);
    }
    let able: Vec<NodeId> = members.iter().copied().filter(|id| nodes.lives(*id)).collect();
    let leader = able.iter().copied().min_by_key(|id| choice.rank(*id));
    let leader = leader.ok_or(Refusal::NobodyLives)?;
    why.push(Why::Leads { node: leader, because: choice.because(leader, &able) });
    if nodes.at(leader).standing == Standing::Active && !nodes.at(leader).may_take_leases {
        why.push(Why::Despite { node: leader, blemish: Blemish::Waits });
    }
    let reach = choice.reach(leader);
    if reach < w {
        why.push(Why::NoQuorum { reach, w });
    }
    Ok(leader)
}

/// Whether a member can be asked to lead by name: it takes leases, and could commit.
pub(super) fn is_able(
    nodes: &Nodes,
    request: &Request<'_>,
    members: &[NodeId],
    leader: NodeId,
) -> bool {
    let w = write_quorum(members.len().max(1), request.min_insync);
    let load = Load::default();
    let choice = Choice { nodes, request, members, load: &load, w };
    members.contains(&leader)
        && nodes.get(leader).is_some_and(Node::takes_leases)
        && choice.reach(leader) >= w
}

struct Choice<'a> {
    nodes: &'a Nodes,
    request: &'a Request<'a>,
    members: &'a [NodeId],
    load: &'a Load,
    w: usize,
}

impl Choice<'_> {
    /// How many members live and are in reach of `id`, itself included.
    fn reach(&self, id: NodeId) -> usize {
        let reached = |other: &&NodeId| self.nodes.lives(**other) && self.nodes.linked(id, **other);
        self.members.iter().filter(reached).count()
    }

    /// What is better avoided comes first, and the least is best.
    fn rank(&self, id: NodeId) -> impl Ord + use<> {
        let node = self.nodes.at(id);
        let draining = node.standing == Standing::Draining;
        let previous = self.request.previous;
        let short = previous.is_some_and(|previous| previous.short.contains(&id));
        (
            self.reach(id) < self.w,
            (draining, node.disk_full, !node.may_take_leases),
            self.nodes.cut(id, self.members),
            (!self.was_member(id), short),
            self.by_policy(id),
        )
    }

    fn was_member(&self, id: NodeId) -> bool {
        let previous = self.request.previous.map_or(&[][..], |previous| previous.members);
        previous.iter().any(|m| m.node == id && m.storage == self.nodes.at(id).storage)
    }

    fn by_policy(&self, id: NodeId) -> impl Ord + use<> {
        let led = self.request.previous.is_some_and(|previous| previous.leader == id);
        let leases = (self.load.of(id).led, self.leases_beside(id));
        match self.request.policy {
            LeaderPolicy::Keep => (!led, leases, self.turn(id)),
            LeaderPolicy::LeastLoaded => (false, leases, self.turn(id)),
            LeaderPolicy::Rotate => (false, (0, 0), self.turn(id)),
        }
    }

    /// Its leases without the one that is given away now.
    fn leases_beside(&self, id: NodeId) -> u32 {
        let led = self.request.previous.is_some_and(|previous| previous.leader == id);
        let leases = self.nodes.at(id).leases.saturating_add(self.load.of(id).led);
        leases.saturating_sub(u32::from(led))
    }

    /// How many members come before it when turns are taken: the member after the last leader is
    /// next, and that leader itself the last.
    fn turn(&self, id: NodeId) -> u64 {
        let Some(previous) = self.request.previous else {
            return shuffle(self.request.salt, self.request.partition, id);
        };
        let n = self.members.len();
        let place = |id| self.members.iter().position(|member| *member == id);
        let before = previous.members.iter().take_while(|member| member.node != previous.leader);
        // A leader that left has no place: those that stood before it still come after.
        let next = place(previous.leader).map_or_else(
            || before.filter(|member| place(member.node).is_some()).count(),
            |at| at + 1,
        );
        let at = place(id).expect("turns are taken by members");
        u64::try_from((at + n - next % n) % n).expect("usize has at most 64 bits")
    }

    fn because(&self, leader: NodeId, able: &[NodeId]) -> Lead {
        let led = self.request.previous.is_some_and(|previous| previous.leader == leader);
        match self.request.policy {
            _ if able.len() == 1 => Lead::Only,
            LeaderPolicy::Keep if led => Lead::Keeps,
            LeaderPolicy::Rotate => Lead::Next,
            LeaderPolicy::Keep | LeaderPolicy::LeastLoaded => {
                Lead::LeastLoaded { leases: self.leases_beside(leader) }
            }
        }
    }
}
