//! The facts of which events are made, taken of the metadata. Pure.

use std::cmp::Reverse;

use walrus_admin::{
    event::{
        Event, Seen,
        derive::{NodeFacts, Step, TopicName, log_start, node, operation, rolls, settings, topic},
    },
    node::NodeState,
    operation::{self, OperationState},
};
use walrus_metadata::{
    Difference, Leader, Metadata, Node, Open, Operation, Outcome, Partition, Topic,
};
use walrus_types::{Epoch, NodeId, OperationId, TimestampMs, TopicPartition};

use crate::operations::shown;

/// Openings of segments that a first view tells of, the newest.
const PAST_MAX: usize = 1_000;

/// All that is another in `new` than in `old`, by what `diff` found.
pub(super) fn between(
    old: &Metadata,
    new: &Metadata,
    differences: Vec<Difference>,
    seen: Seen,
) -> Vec<Event> {
    let mut out = Vec::new();
    for difference in differences {
        match difference {
            Difference::Node(id) => of_node((old, new), id, seen, &mut out),
            Difference::ClusterConfigs => {
                let (old, new) = (old.cluster_configs(), new.cluster_configs());
                settings(seen, ("cluster", None, None), old, new, &mut out);
            }
            Difference::Operation(id) => {
                let shown = |of: &Metadata| of.operations().get(&id).map(|one| told(of, id, one));
                let Some(now) = shown(new) else { continue };
                operation(seen, shown(old).as_ref(), &now, &mut out);
            }
            Difference::TopicAdded(id) => {
                let Some(made) = new.topic(id) else { continue };
                let (id, count) = (made.id.to_string(), made.partitions().len());
                topic(seen, name(made, &id), (None, Some(count)), &mut out);
            }
            Difference::TopicRemoved(gone) => {
                let (id, count) = (gone.id.to_string(), gone.partitions().len());
                topic(seen, name(&gone, &id), (Some(count), None), &mut out);
            }
            Difference::TopicConfigs(id) => {
                let (Some(was), Some(is)) = (old.topic(id), new.topic(id)) else { continue };
                let of = (&*is.name, None, Some(&*is.name));
                settings(seen, of, was.configs(), is.configs(), &mut out);
            }
            Difference::Partition(place) => of_partition((old, new), place, seen, &mut out),
        }
    }
    out
}

/// An operation, as far as its events go.
fn told(metadata: &Metadata, id: OperationId, known: &Operation) -> operation::Operation {
    let (verb, subject) = shown::named(metadata, &known.work);
    let (state, now) = match known.end.as_ref().map(|end| &end.outcome) {
        None => (OperationState::Running, String::new()),
        Some(Outcome::Done) => (OperationState::Done, String::new()),
        Some(Outcome::Cancelled { by }) => {
            (OperationState::Cancelled, format!("taken back by {by}"))
        }
        Some(Outcome::Failed { why }) => (OperationState::Failed, why.clone()),
    };
    operation::Operation {
        id,
        plan: known.plan,
        verb: verb.to_owned(),
        subject,
        state,
        actor: known.actor.clone(),
        reason: known.reason.clone(),
        began_at_ms: known.began_at,
        ended_at_ms: known.end.as_ref().map(|end| end.at),
        done: 0,
        total: known.segments,
        left_ms: None,
        now,
        blockers: Vec::new(),
    }
}

fn name<'a>(topic: &'a Topic, id: &'a str) -> TopicName<'a> {
    TopicName { name: &topic.name, id: Some(id) }
}

fn facts(metadata: &Metadata, id: NodeId, of: &Node) -> NodeFacts {
    let leader = Leader { node: id, incarnation: of.incarnation };
    let mut leads = metadata.leases().filter(|(one, _)| *one == leader);
    NodeFacts {
        state: state(of.state),
        drains: of.drains,
        incarnation: of.incarnation,
        fenced_at: (of.fences.count > 0).then_some(of.fences.last),
        leads: leads.next().map_or(0, |(_, count)| u64::from(count)),
    }
}

/// A node's state, as the API has it.
pub(crate) const fn state(state: walrus_metadata::NodeState) -> NodeState {
    match state {
        walrus_metadata::NodeState::Active => NodeState::Active,
        walrus_metadata::NodeState::Draining => NodeState::Draining,
        walrus_metadata::NodeState::Fenced => NodeState::Fenced,
        walrus_metadata::NodeState::Removed => NodeState::Removed,
    }
}

fn of_node((old, new): (&Metadata, &Metadata), id: NodeId, seen: Seen, out: &mut Vec<Event>) {
    let was = old.node(id).map(|was| facts(old, id, was));
    let is = new.node(id).map(|is| facts(new, id, is));
    node(seen, id, was.as_ref(), is.as_ref(), out);
    if let (Some(was), Some(is)) = (old.node(id), new.node(id)) {
        settings(seen, (&id.to_string(), Some(id), None), &was.configs, &is.configs, out);
    }
}

fn of_partition(
    (old, new): (&Metadata, &Metadata),
    place: TopicPartition,
    seen: Seen,
    out: &mut Vec<Event>,
) {
    let (Some(of), Some(is)) = (new.topic(place.topic), new.partition(place)) else { return };
    let id = of.id.to_string();
    let name = name(of, &id);
    let Some(was) = old.partition(place) else {
        // The last of those that are new tells of them all.
        let before = old.topic(place.topic).map(|old| old.partitions().len());
        let count = of.partitions().len();
        let is_last = usize::try_from(place.partition.0).is_ok_and(|index| index + 1 == count);
        if before.is_some() && is_last {
            topic(seen, name, (before, Some(count)), out);
        }
        // What was rolled since it was made has left its first segment behind.
        let first = (of.first_epoch, is.open().leader.node);
        let steps = since(is, of.first_epoch);
        return rolls(seen, (name, place.partition), first, steps, out);
    };
    let (epoch, leader) = (was.open().key.epoch, was.open().leader.node);
    rolls(seen, (name, place.partition), (epoch, leader), since(is, epoch), out);
    log_start(seen, (name, place.partition), (was.log_start(), is.log_start()), out);
}

/// The segments that were opened after that epoch, oldest first.
fn since(chain: &Partition, epoch: Epoch) -> Vec<Step> {
    let mut steps = Vec::new();
    // From the end: what is new is short, and a chain may be long.
    let mut before = chain.open().key.base;
    while let Some((key, sealed)) = chain.sealed().last_where(|key| key.base < before) {
        if key.epoch <= epoch {
            break;
        }
        steps.push(Step {
            epoch: key.epoch,
            base: key.base,
            leader: sealed.leader,
            reason: sealed.reason.to_string(),
            at_ms: None,
        });
        before = key.base;
    }
    steps.reverse();
    if chain.open().key.epoch > epoch {
        steps.push(step(chain.open()));
    }
    steps
}

fn step(open: &Open) -> Step {
    Step {
        epoch: open.key.epoch,
        base: open.key.base,
        leader: open.leader.node,
        reason: open.reason.to_string(),
        at_ms: Some(open.opened_at),
    }
}

/// What a first view tells of the past, oldest first: fences that hold, and when the newest
/// segments were opened. The rest has no time in the metadata.
pub(super) fn past(metadata: &Metadata, now: TimestampMs) -> Vec<Event> {
    let seen = Seen { version: metadata.applied(), at_ms: now };
    let mut out = Vec::new();
    for (id, of) in metadata.nodes() {
        let is = facts(metadata, *id, of);
        if is.state == NodeState::Fenced && is.fenced_at.is_some() {
            let was = NodeFacts {
                state: if is.drains { NodeState::Draining } else { NodeState::Active },
                fenced_at: None,
                leads: 0,
                ..is
            };
            node(seen, *id, Some(&was), Some(&is), &mut out);
        }
    }
    let mut newest: Vec<(TopicPartition, &std::sync::Arc<Partition>)> =
        metadata.partitions().collect();
    newest.sort_by_key(|(_, chain)| Reverse(chain.open().opened_at));
    for (place, chain) in newest.into_iter().take(PAST_MAX) {
        let Some(of) = metadata.topic(place.topic) else { continue };
        let open = chain.open();
        let id = of.id.to_string();
        // How many rolls led here nobody knows any more.
        let leader = chain.sealed().last().map_or(open.leader.node, |(_, sealed)| sealed.leader);
        let before = (Epoch(open.key.epoch.0 - 1), leader);
        rolls(seen, (name(of, &id), place.partition), before, [step(open)], &mut out);
    }
    out.sort_by_key(|event| event.at_ms);
    out
}

#[cfg(test)]
mod tests;
