//! What is different between two snapshots, in words.

use std::{cmp::Ordering, collections::VecDeque};

use walrus_admin::{
    node::{Node, NodeState},
    snapshot::{NodeEntry, PartitionEntry, Snapshot, TopicEntry},
};
use walrus_types::TimestampMs;

use super::PartitionName;
use crate::ui::text;

/// How much somebody should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody should look now.
    Error,
}

impl Level {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What something is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The cluster as a whole.
    Cluster,
    /// A node, as people write it: `n1`.
    Node(String),
    /// A topic.
    Topic(String),
    /// A partition.
    Partition(PartitionName),
}

impl std::fmt::Display for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cluster => f.write_str("cluster"),
            Self::Node(name) | Self::Topic(name) => f.write_str(name),
            Self::Partition(name) => name.fmt(f),
        }
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was seen, by the clock of the node that told it.
    pub at: TimestampMs,
    /// How much that matters.
    pub level: Level,
    /// What it is about.
    pub subject: Subject,
    /// In words.
    pub text: String,
}

/// All that is another than before.
pub(super) fn between(before: &Snapshot, now: &Snapshot, out: &mut VecDeque<Change>) {
    let at = now.at_ms;
    let mut tell =
        |level, subject, text: String| out.push_back(Change { at, level, subject, text });
    if before.group.leader != now.group.leader {
        let (level, text) = match now.group.leader {
            Some(leader) => {
                (Level::Info, format!("{leader} leads the metadata group, term {}", now.group.term))
            }
            None => (Level::Warn, "nobody leads the metadata group".to_owned()),
        };
        tell(level, Subject::Cluster, text);
    }
    merge(
        &before.nodes,
        &now.nodes,
        |entry| entry.node.node,
        |before, now| {
            if let Some((level, text)) = node(before, now) {
                let id =
                    before.or(now).map_or_else(String::new, |entry| entry.node.node.to_string());
                tell(level, Subject::Node(id), text);
            }
        },
    );
    merge(
        &before.topics,
        &now.topics,
        |topic| topic.topic.as_str(),
        |before, now| match (before, now) {
            (None, Some(topic)) => {
                let text = format!("made, with {} partitions", topic.partitions.len());
                tell(Level::Info, Subject::Topic(topic.topic.clone()), text);
            }
            (Some(topic), None) => {
                tell(Level::Info, Subject::Topic(topic.topic.clone()), "deleted".to_owned());
            }
            (Some(before), Some(now)) => topic(before, now, &mut tell),
            (None, None) => {}
        },
    );
}

/// The greatest of all that is another than before.
#[must_use]
pub fn greatest(before: &Snapshot, now: &Snapshot) -> Option<Level> {
    let mut changes = VecDeque::new();
    if before.cluster != now.cluster {
        return Some(Level::Error);
    }
    if before.metadata_version <= now.metadata_version {
        between(before, now, &mut changes);
    }
    changes.iter().map(|change| change.level).max()
}

/// What is told first by another cluster.
pub(super) fn other_cluster(now: &Snapshot) -> Change {
    Change {
        at: now.at_ms,
        level: Level::Error,
        subject: Subject::Cluster,
        text: format!("another cluster answers: {}", now.cluster),
    }
}

/// Walks two sorted lists side by side.
fn merge<'a, T, K: Ord + 'a>(
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

fn node(before: Option<&NodeEntry>, now: Option<&NodeEntry>) -> Option<(Level, String)> {
    let (before, now) = match (before, now) {
        (None, Some(now)) => return Some((Level::Info, format!("joined, {}", state(&now.node)))),
        (Some(_), None) => return Some((Level::Info, "is in the cluster no more".to_owned())),
        (Some(before), Some(now)) => (before, now),
        (None, None) => return None,
    };
    let (was, is) = (state(&before.node), state(&now.node));
    if before.node.incarnation != now.node.incarnation {
        return Some((Level::Info, format!("began life {}, {is}", now.node.incarnation)));
    }
    if was != is {
        let level = if now.node.state == NodeState::Fenced { Level::Error } else { Level::Info };
        return Some((level, format!("is {is}, was {was}")));
    }
    match (&before.silent, &now.silent) {
        (None, Some(why)) => Some((Level::Warn, format!("does not answer: {why}"))),
        (Some(_), None) => Some((Level::Info, "answers again".to_owned())),
        _ => None,
    }
}

/// A node's state in a word.
#[must_use]
pub fn state(node: &Node) -> &'static str {
    if node.drains && node.state == NodeState::Fenced {
        "fenced, draining"
    } else {
        node.state.name()
    }
}

fn topic(before: &TopicEntry, now: &TopicEntry, tell: &mut impl FnMut(Level, Subject, String)) {
    merge(
        &before.partitions,
        &now.partitions,
        |one| one.partition,
        |was, is| {
            let (Some(was), Some(is)) = (was, is) else { return };
            let name = PartitionName { topic: now.topic.clone(), partition: is.partition };
            if was.epoch < is.epoch {
                tell(level_of(&is.reason), Subject::Partition(name), opened(was, is));
            } else if was.leader_serves && !is.leader_serves {
                let text = format!("has no leader: {} does not serve", is.leader);
                tell(Level::Error, Subject::Partition(name), text);
            } else if was.log_start < is.log_start {
                let text = {
                    let [now, before] = [is.log_start, was.log_start].map(|at| text::whole(at.0));
                    format!("log begins at {now}, before that at {before}")
                };
                tell(Level::Info, Subject::Partition(name), text);
            }
        },
    );
    if before.partitions.len() < now.partitions.len() {
        let text =
            format!("has {} partitions, had {}", now.partitions.len(), before.partitions.len());
        tell(Level::Info, Subject::Topic(now.topic.clone()), text);
    }
}

fn level_of(reason: &str) -> Level {
    if matches!(reason, "failover" | "unsafe_seal") { Level::Warn } else { Level::Info }
}

/// Where the log goes on, and why.
fn opened(was: &PartitionEntry, is: &PartitionEntry) -> String {
    let more = is.epoch.0.saturating_sub(was.epoch.0);
    let rolls = if more > 1 { format!(", {more} rolls") } else { String::new() };
    let leader = if was.leader == is.leader {
        format!("led by {}", is.leader)
    } else {
        format!("led by {}, before {}", is.leader, was.leader)
    };
    let base = text::whole(is.base.0);
    format!("segment {} at {base} {leader} ({}{rolls})", is.epoch, is.reason)
}
