//! How far an operation is, and what is to be done for it next. Pure: every controller that looks
//! at the same cluster comes to the same step.

use walrus_admin::{
    ApiError, Code,
    health::count,
    node::{Change, Holding},
};
use walrus_metadata::{NodeState, Operation, Outcome, Rollover, Work};
use walrus_raft::{Member, RaftId};
use walrus_types::{Epoch, NodeId, Offset, StorageId, TimestampMs, TopicPartition};

use super::node_change::{self, Facts};

/// How long another voter may take to lead the metadata group.
const TRANSFER_MAX_MS: u64 = 20_000;

/// How an operation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stand {
    /// How far it is, out of `total`.
    pub done: u64,
    /// Segments, or 1 where it is one step.
    pub total: u64,
    /// What it waits for, in one sentence.
    pub now: String,
    /// What keeps it until somebody does something.
    pub blockers: Vec<ApiError>,
    /// What the controller does for it.
    pub next: Next,
}

/// What the controller does for an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Nothing: others do it.
    Wait,
    /// It says that it has ended.
    End(Outcome),
    /// It takes a node out of the cluster that nothing needs.
    Remove(NodeId),
    /// It has this voter lead the metadata group.
    HandOver(NodeId),
    /// It seals a segment with what is known of it.
    SealUnsafe {
        /// Of which partition.
        partition: TopicPartition,
        /// Which segment.
        epoch: Epoch,
        /// Where it ends, as the plan told.
        end: Offset,
    },
}

/// How a running operation stands at `now`.
pub fn stand(operation: &Operation, facts: Facts<'_>, now: TimestampMs) -> Stand {
    match &operation.work {
        Work::Drain(node) => drain(operation, facts, *node),
        // It ended when it began.
        Work::Undrain(node) => over(1, format!("{node} takes part"), Outcome::Done),
        Work::Remove { node, storage } => remove(operation, facts, (*node, *storage)),
        Work::Rollover(rollover) => rolled(rollover, facts),
        Work::TransferRaft { to } => transfer(operation, facts, (*to, now)),
        Work::UnsafeSeal { partition, epoch, end } => sealed(facts, (*partition, *epoch, *end)),
    }
}

fn over(total: u64, now: String, outcome: Outcome) -> Stand {
    let done = if outcome == Outcome::Done { total } else { 0 };
    Stand { done, total, now, blockers: Vec::new(), next: Next::End(outcome) }
}

fn failed(total: u64, why: String) -> Stand {
    over(total, why.clone(), Outcome::Failed { why })
}

fn drain(operation: &Operation, facts: Facts<'_>, id: NodeId) -> Stand {
    let total = operation.segments;
    let Some(node) = facts.metadata.node(id).filter(|node| node.state != NodeState::Removed) else {
        return over(total, format!("{id} was removed"), Outcome::Done);
    };
    if !node.drains {
        return failed(total, format!("{id} takes part again: somebody took the drain back"));
    }
    let Holding { leads, open, .. } = facts.census.holding(id);
    if leads == 0 && open == 0 {
        let now = format!("{id} is drained: it leads nothing and no open segment needs it");
        return over(total, now, Outcome::Done);
    }
    let blockers = node_change::nowhere_to_go(facts, id, open).into_iter().collect();
    let now = format!("{id} leads {leads} and is a member of {}", segments(open, "open segment"));
    moving(total, open, (now, blockers), Next::Wait)
}

/// `left` of what there was is still to be moved. What is begun meanwhile makes it more.
fn moving(total: u64, left: u64, (now, blockers): (String, Vec<ApiError>), next: Next) -> Stand {
    let total = total.max(left);
    Stand { done: total - left, total, now, blockers, next }
}

fn remove(operation: &Operation, facts: Facts<'_>, (id, storage): (NodeId, StorageId)) -> Stand {
    let total = operation.segments.max(1);
    let node = facts.metadata.node(id).filter(|node| node.storage == storage);
    let is_member = facts.members.iter().any(|member| member.id == RaftId::from(storage));
    let is_out = node.is_none_or(|node| node.state == NodeState::Removed);
    match (is_out, is_member) {
        (true, false) => {
            let now = format!("{id} is removed: it is safe to switch off");
            return over(total, now, Outcome::Done);
        }
        (true, true) => {
            let now = format!("{id} is removed; its place in the metadata group ends");
            return moving(total, 0, (now, vec![]), Next::Remove(id));
        }
        (false, _) => {}
    }
    if node.is_some_and(|node| !node.drains) {
        return failed(total, format!("{id} takes part again: somebody took the removal back"));
    }
    let Ok(plan) = node_change::plan(facts, id, Change::Remove) else {
        return failed(total, format!("there is no {id}"));
    };
    let Holding { leads, open, sealed, needed, .. } = facts.census.holding(id);
    let left = open + needed;
    let own_step = |refusal: &&ApiError| matches!(refusal.code, Code::Needed | Code::LeadsRaft);
    let blockers: Vec<ApiError> =
        plan.refusals.iter().filter(|refusal| !own_step(refusal)).cloned().collect();
    let is_needed = plan.refusals.iter().any(|refusal| refusal.code == Code::Needed);
    let leads_raft = plan.refusals.iter().any(|refusal| refusal.code == Code::LeadsRaft);
    if !blockers.is_empty() || is_needed {
        let now = format!(
            "{id} leads {leads} and is a member of {open} open and {sealed} sealed segments, \
             {needed} of which have too few copies elsewhere"
        );
        return moving(total, left, (now, blockers), Next::Wait);
    }
    if leads_raft {
        let Some(to) = heir(facts, storage) else {
            let what = format!("{id} leads the metadata group, and no other node has a vote");
            let error = ApiError::new(Code::LeadsRaft, what);
            let blockers = vec![error.hint("wait until another votes: walrusctl raft status")];
            let now = format!("{id} leads the metadata group");
            return moving(total, left, (now, blockers), Next::Wait);
        };
        let now = format!("{to} is to lead the metadata group in the place of {id}");
        return moving(total, left, (now, vec![]), Next::HandOver(to));
    }
    moving(
        total,
        left,
        (format!("nothing needs {id} any more: it is taken out"), vec![]),
        Next::Remove(id),
    )
}

/// Who leads the metadata group in the place of a disk: the voter in service that lacks least.
fn heir(facts: Facts<'_>, storage: StorageId) -> Option<NodeId> {
    let serves = |member: &&Member| {
        let known = facts.metadata.node(member.peer.node);
        known.is_some_and(|node| node.state.serves() && RaftId::from(node.storage) == member.id)
    };
    let others = facts
        .members
        .iter()
        .filter(|member| member.votes && member.id != RaftId::from(storage) && serves(member));
    // One whose lag is not known comes last.
    others
        .min_by_key(|member| member.lag_entries.unwrap_or(u64::MAX))
        .map(|member| member.peer.node)
}

fn rolled(rollover: &Rollover, facts: Facts<'_>) -> Stand {
    let Rollover { targets, total, .. } = rollover;
    let is_open = |target: &&walrus_metadata::Target| {
        let chain = facts.metadata.partition(target.partition);
        chain.is_some_and(|chain| chain.open().key.epoch <= target.epoch)
    };
    let left = targets.iter().filter(is_open).count();
    let total = u64::from(*total);
    if left == 0 {
        let now = format!("{} rolled over", segments(total, "partition"));
        return over(total, now, Outcome::Done);
    }
    let left = u64::try_from(left).unwrap_or(u64::MAX);
    let now = format!("{} of {total} to be rolled over", segments(left, "partition"));
    moving(total, left, (now, vec![]), Next::Wait)
}

fn transfer(operation: &Operation, facts: Facts<'_>, (to, now): (NodeId, TimestampMs)) -> Stand {
    let storage = facts.metadata.node(to).map(|node| RaftId::from(node.storage));
    if storage.is_some() && facts.leader == storage {
        return over(1, format!("{to} leads the metadata group"), Outcome::Done);
    }
    let since = now.0.saturating_sub(operation.began_at.0);
    if u64::try_from(since).is_ok_and(|since| since > TRANSFER_MAX_MS) {
        let why = format!("{to} does not lead after {} s", TRANSFER_MAX_MS / 1_000);
        return failed(1, why);
    }
    let now = format!("{to} is asked to lead the metadata group");
    moving(1, 1, (now, vec![]), Next::HandOver(to))
}

fn sealed(facts: Facts<'_>, (partition, epoch, end): (TopicPartition, Epoch, Offset)) -> Stand {
    let Some(chain) = facts.metadata.partition(partition) else {
        return failed(1, "the partition was deleted".to_owned());
    };
    if chain.open().key.epoch > epoch {
        let base = chain.chain().find(|segment| segment.key().epoch > epoch);
        let at = base.map_or(end, |next| next.key().base);
        return over(1, format!("epoch {epoch} is sealed at {at}"), Outcome::Done);
    }
    let now = format!("epoch {epoch} is to be sealed at {end}");
    moving(1, 1, (now, vec![]), Next::SealUnsafe { partition, epoch, end })
}

fn segments(number: u64, what: &str) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), what)
}

#[cfg(test)]
mod tests;
