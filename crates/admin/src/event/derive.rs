//! Which changes are told, and in which words. Pure: what was and what is go in, events come out.
//!
//! Facts are taken of a node's metadata or of a snapshot. What only one of the two knows (a life's
//! fence that lies between, links of a chain, ids of topics, settings) may be missing, and then
//! less is told.

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use walrus_types::{Epoch, Incarnation, NodeId, Offset, PartitionIndex, TimestampMs};

use super::{Event, EventKind, Seen, Severity};
use crate::{
    node::NodeState,
    operation::{Operation, OperationState},
    snapshot::{NodeEntry, PartitionEntry, Snapshot, TopicEntry, unshared},
};

/// Settings that one event names; of more it says how many.
const SETTINGS_MAX: usize = 4;

/// A node, as far as its events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeFacts {
    /// What it may do.
    pub state: NodeState,
    /// Whether an operator wants it emptied.
    pub drains: bool,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// When it was fenced last, where that is known.
    pub fenced_at: Option<TimestampMs>,
    /// Open segments that its present life leads.
    pub leads: u64,
}

/// A state in a word, or two.
#[must_use]
pub fn state_words(state: NodeState, drains: bool) -> &'static str {
    if drains && state == NodeState::Fenced { "fenced, draining" } else { state.name() }
}

impl NodeFacts {
    const fn is_fenced(&self) -> bool {
        matches!(self.state, NodeState::Fenced)
    }

    fn words(&self) -> &'static str {
        state_words(self.state, self.drains)
    }
}

/// What happened to a node.
pub fn node(
    seen: Seen,
    id: NodeId,
    before: Option<&NodeFacts>,
    now: Option<&NodeFacts>,
    out: &mut Vec<Event>,
) {
    let version = seen.version;
    let mut tell = |at_ms, severity, id_of: String, life, text: String| {
        let seen = Seen { at_ms, ..seen };
        let event = Event::new(seen, (EventKind::Node, severity), id_of, id.to_string(), text);
        out.push(Event { node: Some(id), incarnation: life, ..event });
    };
    let (before, now) = match (before, now) {
        (None, None) => return,
        (None, Some(now)) => {
            let (life, text) = (now.incarnation, format!("joined, {}", now.words()));
            let id_of = format!("node/{id}/life/{life}");
            return tell(seen.at_ms, Severity::Info, id_of, Some(life), text);
        }
        (Some(before), None) => {
            let id_of = format!("node/{id}/gone/{version}");
            let text = "is in the cluster no more".to_owned();
            return tell(seen.at_ms, Severity::Info, id_of, Some(before.incarnation), text);
        }
        (Some(before), Some(now)) => (before, now),
    };
    let lives_on = before.incarnation == now.incarnation;
    let was_fenced = match (before.fenced_at, now.fenced_at) {
        (before, Some(now)) if before != Some(now) => true,
        _ => lives_on && !before.is_fenced() && now.is_fenced(),
    };
    if was_fenced {
        let life = before.incarnation;
        let left = match before.leads {
            0 => String::new(),
            1 => "; 1 partition waits for another leader".to_owned(),
            leads => format!("; {leads} partitions wait for another leader"),
        };
        let is = if lives_on { now.words() } else { "fenced" };
        let text = format!("is {is}, was {}{left}", before.words());
        let at_ms = now.fenced_at.unwrap_or(seen.at_ms);
        tell(at_ms, Severity::Error, format!("node/{id}/fenced/{life}"), Some(life), text);
    }
    if !lives_on {
        let life = now.incarnation;
        let text = format!("began life {life}, {}", now.words());
        tell(seen.at_ms, Severity::Info, format!("node/{id}/life/{life}"), Some(life), text);
    } else if !was_fenced && before.words() != now.words() {
        let text = format!("is {}, was {}", now.words(), before.words());
        let id_of = format!("node/{id}/{}/{version}", now.words());
        tell(seen.at_ms, Severity::Info, id_of, Some(now.incarnation), text);
    }
}

/// Which topic, for events of it and of its partitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TopicName<'a> {
    /// What it is called.
    pub name: &'a str,
    /// Its id, where that is known: another topic of the same name has another.
    pub id: Option<&'a str>,
}

impl TopicName<'_> {
    fn key(&self) -> &str {
        self.id.unwrap_or(self.name)
    }
}

/// A topic was made with so many partitions, lost (`None` now) or got more.
pub fn topic(
    seen: Seen,
    name: TopicName<'_>,
    (before, now): (Option<usize>, Option<usize>),
    out: &mut Vec<Event>,
) {
    let (what, text) = match (before, now) {
        (None, Some(1)) => ("made".to_owned(), "made, with 1 partition".to_owned()),
        (None, Some(now)) => ("made".to_owned(), format!("made, with {now} partitions")),
        (Some(_), None) => ("deleted".to_owned(), "deleted".to_owned()),
        (Some(before), Some(now)) if before < now => {
            (format!("has/{now}"), format!("has {now} partitions, had {before}"))
        }
        _ => return,
    };
    let id = format!("topic/{}/{what}", name.key());
    let event = Event::new(seen, (EventKind::Topic, Severity::Info), id, name.name, text);
    out.push(Event { topic: Some(name.name.to_owned()), ..event });
}

/// Settings changed: of the cluster, a node or a topic.
pub fn settings(
    seen: Seen,
    (subject, node, topic): (&str, Option<NodeId>, Option<&str>),
    before: &BTreeMap<String, String>,
    now: &BTreeMap<String, String>,
    out: &mut Vec<Event>,
) {
    let mut changed = Vec::new();
    for (key, value) in now {
        match before.get(key) {
            Some(was) if was == value => {}
            Some(was) => changed.push(format!("{key} is {value}, was {was}")),
            None => changed.push(format!("{key} is {value}, was not set")),
        }
    }
    let gone = before.keys().filter(|key| !now.contains_key(*key));
    changed.extend(gone.map(|key| format!("{key} is not set any more")));
    if changed.is_empty() {
        return;
    }
    let more = changed.len().saturating_sub(SETTINGS_MAX);
    changed.truncate(SETTINGS_MAX);
    let more = if more > 0 { format!("; and {more} more") } else { String::new() };
    let text = changed.join("; ") + &more;
    let id = format!("config/{subject}/{}", seen.version);
    let event = Event::new(seen, (EventKind::Config, Severity::Info), id, subject, text);
    out.push(Event { node, topic: topic.map(str::to_owned), ..event });
}

/// A segment that was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its number.
    pub epoch: Epoch,
    /// Where it begins.
    pub base: Offset,
    /// Who leads it.
    pub leader: NodeId,
    /// Why it was opened, in the chain's words.
    pub reason: String,
    /// When, where that is recorded.
    pub at_ms: Option<TimestampMs>,
}

/// Segments that were opened in a partition, oldest first. `before` is the epoch and the leader of
/// the open segment before them. A segment that stayed empty leaves the chain: its roll is told by
/// the next one.
pub fn rolls(
    seen: Seen,
    (name, partition): (TopicName<'_>, PartitionIndex),
    before: (Epoch, NodeId),
    steps: impl IntoIterator<Item = Step>,
    out: &mut Vec<Event>,
) {
    let (mut epoch, mut leader) = before;
    for step in steps {
        let more = step.epoch.0.saturating_sub(epoch.0);
        let rolls = if more > 1 { format!(", {more} rolls") } else { String::new() };
        let from = (leader != step.leader).then_some(leader);
        let before = from.map(|from| format!(", before {from}")).unwrap_or_default();
        let text = format!(
            "segment {} at {} led by {}{before} ({}{rolls})",
            step.epoch,
            grouped(step.base.0),
            step.leader,
            step.reason
        );
        let seen = Seen { at_ms: step.at_ms.unwrap_or(seen.at_ms), ..seen };
        let id = format!("lease/{}/{partition}/{}", name.key(), step.epoch);
        let subject = format!("{}/{partition}", name.name);
        let kind = (EventKind::Lease, severity_of(&step.reason));
        out.push(Event {
            node: Some(step.leader),
            from,
            topic: Some(name.name.to_owned()),
            partition: Some(partition),
            epoch: Some(step.epoch),
            offset: Some(step.base),
            reason: Some(step.reason),
            ..Event::new(seen, kind, id, subject, text)
        });
        (epoch, leader) = (step.epoch, step.leader);
    }
}

fn severity_of(reason: &str) -> Severity {
    match reason {
        "unsafe seal" => Severity::Error,
        "failover" | "quorum lost" => Severity::Warn,
        _ => Severity::Info,
    }
}

/// The beginning of a partition's log moved.
pub fn log_start(
    seen: Seen,
    (name, partition): (TopicName<'_>, PartitionIndex),
    (before, now): (Offset, Offset),
    out: &mut Vec<Event>,
) {
    if before >= now {
        return;
    }
    let text = format!("log begins at {}, before that at {}", grouped(now.0), grouped(before.0));
    let id = format!("retention/{}/{partition}/{now}", name.key());
    let subject = format!("{}/{partition}", name.name);
    out.push(Event {
        topic: Some(name.name.to_owned()),
        partition: Some(partition),
        offset: Some(now),
        ..Event::new(seen, (EventKind::Retention, Severity::Info), id, subject, text)
    });
}

/// What became of an operation: it was begun, or ended, or both since the last look.
pub fn operation(seen: Seen, before: Option<&Operation>, now: &Operation, out: &mut Vec<Event>) {
    let Operation { id, verb, subject, actor, reason, .. } = now;
    let mut tell = |at_ms, severity, what: &str, text: String| {
        let seen = Seen { at_ms, ..seen };
        let kind = (EventKind::Operation, severity);
        let text = format!("operation {id}, {verb} {subject}, {text}");
        out.push(Event::new(seen, kind, format!("operation/{id}/{what}"), subject.clone(), text));
    };
    if before.is_none() {
        let by = if actor.is_empty() { String::new() } else { format!(", asked by {actor}") };
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        tell(now.began_at_ms, Severity::Info, "began", format!("began{by}{why}"));
    }
    let was_running = before.is_none_or(|before| before.state == OperationState::Running);
    if !was_running {
        return;
    }
    let (severity, text) = match now.state {
        OperationState::Running | OperationState::Other => return,
        OperationState::Done => (Severity::Info, "is done".to_owned()),
        OperationState::Cancelled => (Severity::Info, format!("is {}", now.now)),
        OperationState::Failed => (Severity::Error, format!("failed: {}", now.now)),
    };
    tell(now.ended_at_ms.unwrap_or(seen.at_ms), severity, "ended", text);
}

/// Somebody leads the metadata group from that term on.
pub fn elected(seen: Seen, leader: NodeId, term: u64, out: &mut Vec<Event>) {
    let text = format!("{leader} leads the metadata group, term {term}");
    let kind = (EventKind::Raft, Severity::Info);
    let event = Event::new(seen, kind, format!("raft/{term}"), "cluster", text);
    out.push(Event { node: Some(leader), term: Some(term), ..event });
}

/// All that two snapshots of one cluster tell of the metadata: for a console whose node tells no
/// events.
#[must_use]
pub fn between(before: &Snapshot, now: &Snapshot) -> Vec<Event> {
    let seen = Seen { version: now.metadata_version, at_ms: now.at_ms };
    let mut out = Vec::new();
    if let Some(leader) = now.group.leader.filter(|leader| before.group.leader != Some(*leader)) {
        elected(seen, leader, now.group.term, &mut out);
    }
    merge(&before.nodes, &now.nodes, node_of, |was, is| {
        let Some(id) = was.or(is).map(node_of) else { return };
        let (was, is) = (was.map(facts), is.map(facts));
        node(seen, id, was.as_ref(), is.as_ref(), &mut out);
    });
    for (was, is) in unshared(before, now) {
        let Some(name) = was.or(is).map(|one| one.topic.as_str()) else { continue };
        let name = TopicName { name, id: None };
        let count = |one: Option<&Arc<TopicEntry>>| one.map(|one| one.partitions.len());
        topic(seen, name, (count(was), count(is)), &mut out);
        let (Some(was), Some(is)) = (was, is) else { continue };
        let index_of = |one: &PartitionEntry| one.partition;
        merge(&was.partitions, &is.partitions, index_of, |was, is| {
            let (Some(was), Some(is)) = (was, is) else { return };
            let (place, before) = ((name, is.partition), (was.epoch, was.leader));
            let opened = (was.epoch < is.epoch).then(|| step(is));
            rolls(seen, place, before, opened, &mut out);
            log_start(seen, place, (was.log_start, is.log_start), &mut out);
        });
    }
    let known = before.operations.as_deref().unwrap_or_default();
    for now in now.operations.iter().flatten().rev() {
        operation(seen, known.iter().find(|known| known.id == now.id), now, &mut out);
    }
    out
}

/// What two snapshots tell of what a node saw itself, and no version of the metadata has: who does
/// not answer, and that nobody leads the metadata group.
#[must_use]
pub fn witnessed(before: &Snapshot, now: &Snapshot) -> Vec<Event> {
    let seen = Seen { version: now.metadata_version, at_ms: now.at_ms };
    let (me, at) = (now.answered_by, now.at_ms);
    let mut out = Vec::new();
    if before.group.leader.is_some() && now.group.leader.is_none() {
        let kind = (EventKind::Raft, Severity::Warn);
        let text = "nobody leads the metadata group";
        out.push(Event::new(seen, kind, format!("raft/nobody/{me}/{at}"), "cluster", text));
    }
    merge(&before.nodes, &now.nodes, node_of, |was, is| {
        let (Some(was), Some(is)) = (was, is) else { return };
        let same_words = state_words(was.node.state, was.node.drains)
            == state_words(is.node.state, is.node.drains);
        // What became of the node says more.
        if was.node.incarnation != is.node.incarnation || !same_words {
            return;
        }
        let (severity, text) = match (&was.silent, &is.silent) {
            (None, Some(why)) => (Severity::Warn, format!("does not answer: {why}")),
            (Some(_), None) => (Severity::Info, "answers again".to_owned()),
            _ => return,
        };
        let id = format!("node/{}/silent/{me}/{at}", is.node.node);
        let subject = is.node.node.to_string();
        let event = Event::new(seen, (EventKind::Node, severity), id, subject, text);
        out.push(Event { node: Some(is.node.node), ..event });
    });
    out
}

fn node_of(entry: &NodeEntry) -> NodeId {
    entry.node.node
}

const fn facts(entry: &NodeEntry) -> NodeFacts {
    NodeFacts {
        state: entry.node.state,
        drains: entry.node.drains,
        incarnation: entry.node.incarnation,
        fenced_at: None,
        leads: entry.node.holding.leads,
    }
}

fn step(entry: &PartitionEntry) -> Step {
    Step {
        epoch: entry.epoch,
        base: entry.base,
        leader: entry.leader,
        reason: entry.reason.clone(),
        at_ms: None,
    }
}

/// Walks two sorted lists side by side.
fn merge<'a, T, K: Ord>(
    before: &'a [T],
    now: &'a [T],
    key: impl Fn(&'a T) -> K,
    mut each: impl FnMut(Option<&'a T>, Option<&'a T>),
) {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(one), Some(other)) => key(one).cmp(&key(other)),
        };
        let old = if order.is_le() { before.next() } else { None };
        let new = if order.is_ge() { now.next() } else { None };
        each(old, new);
    }
}

/// A number whose thousands stand apart.
fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut out = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests;
