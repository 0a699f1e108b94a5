//! What changed, as the console lists it.
//!
//! Nodes tell it in events; where they do not, or the cluster is made up, it is derived from
//! snapshots by the rule of `walrus_admin::event`, which is the nodes' own.

use walrus_admin::{
    event::{Event, EventKind, derive},
    node::Node,
    snapshot::Snapshot,
};
use walrus_types::TimestampMs;

use super::PartitionName;

/// How much somebody should care.
pub use walrus_admin::event::Severity as Level;

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
    /// When it happened or was seen, by the clock of a node.
    pub at: TimestampMs,
    /// How much that matters.
    pub level: Level,
    /// What it is about.
    pub subject: Subject,
    /// In words.
    pub text: String,
}

impl From<Event> for Change {
    fn from(event: Event) -> Self {
        let level = event.severity;
        let subject = match (event.topic, event.partition, event.kind) {
            (Some(topic), Some(partition), _) => {
                Subject::Partition(PartitionName { topic, partition })
            }
            (Some(topic), None, _) => Subject::Topic(topic),
            (None, _, EventKind::Node | EventKind::Config) if event.node.is_some() => {
                Subject::Node(event.subject)
            }
            _ => Subject::Cluster,
        };
        Self { at: event.at_ms, level, subject, text: event.message }
    }
}

/// All that is another than before. Of a node that `tells` events only what no version of the
/// metadata has: the rest it tells itself.
pub(super) fn between(before: &Snapshot, now: &Snapshot, tells: bool) -> Vec<Change> {
    let mut events = if tells { Vec::new() } else { derive::between(before, now) };
    events.extend(derive::witnessed(before, now));
    events.into_iter().map(Change::from).collect()
}

/// The greatest of all that is another than before.
#[must_use]
pub fn greatest(before: &Snapshot, now: &Snapshot) -> Option<Level> {
    if before.cluster != now.cluster {
        return Some(Level::Error);
    }
    if before.metadata_version > now.metadata_version {
        return None;
    }
    between(before, now, false).iter().map(|change| change.level).max()
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

/// A node's state in a word.
#[must_use]
pub fn state(node: &Node) -> &'static str {
    derive::state_words(node.state, node.drains)
}
