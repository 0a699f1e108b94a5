//! What changed in a cluster, one event for each thing.
//!
//! Any node tells it (`GET /v1/events`, `GET /v1/stream`): it looks at each version of the metadata
//! that it comes to and says what is another than in the one before. [`derive`] is the only place
//! that knows which changes are told and in which words; a node asks it with views of its metadata,
//! a console whose node tells no events with snapshots.
//!
//! Nodes take entries of the metadata log in batches of their own, so the version of an event may
//! differ from node to node. It is never below the true index: whoever asks another node for what
//! came after a version may be told something twice and is never spared anything. What is the same
//! has the same [`Event::id`], wherever it is told, as long as the thing itself has a number (an
//! epoch, a life, a term); [`Repeats`] drops by that. What was undone within one batch is not told.

pub mod derive;
mod repeats;

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, Incarnation, NodeId, Offset, PartitionIndex, TimestampMs};

pub use self::repeats::Repeats;
use crate::document::Kind;

/// Events that one page has at most, but that it ends with a version.
pub const EVENTS_PAGE_MAX: usize = 1_000;

/// How much somebody should care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = EventSeverity))]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// As it should be.
    Info,
    /// Somebody should look.
    Warn,
    /// Somebody should look now.
    Error,
}

impl Severity {
    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// What sort of thing changed. A client of an older version reads a new one as
/// [`EventKind::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The cluster as a whole.
    Cluster,
    /// A node.
    Node,
    /// Who writes a partition, and from which offset on: a segment was opened.
    Lease,
    /// Where a partition's log begins.
    Retention,
    /// A topic.
    Topic,
    /// Settings of a topic, a node or the cluster.
    Config,
    /// Something that an operator had done.
    Operation,
    /// The metadata group.
    Raft,
    /// A kind that this version does not know.
    #[serde(other)]
    Other,
}

impl EventKind {
    /// All that this version knows.
    pub const ALL: [Self; 8] = [
        Self::Cluster,
        Self::Node,
        Self::Lease,
        Self::Retention,
        Self::Topic,
        Self::Config,
        Self::Operation,
        Self::Raft,
    ];

    /// As JSON has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Node => "node",
            Self::Lease => "lease",
            Self::Retention => "retention",
            Self::Topic => "topic",
            Self::Config => "config",
            Self::Operation => "operation",
            Self::Raft => "raft",
            Self::Other => "other",
        }
    }

    /// The kind of that name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Something that changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The same for the same thing, whichever node tells it, where the thing has a number of its
    /// own; else with the version in it.
    pub id: String,
    /// The metadata's index at which the node that tells it saw it first: the true one, or a later
    /// one.
    pub version: u64,
    /// When it happened, by the clock of who did it, where that is recorded; else when it was seen.
    pub at_ms: TimestampMs,
    /// How much that matters.
    pub severity: Severity,
    /// What sort of thing changed.
    pub kind: EventKind,
    /// What it is about, as people write it: `n2`, `orders`, `orders/0`, `cluster`.
    pub subject: String,
    /// In words.
    pub message: String,
    /// The node that it is about: of a lease and of the metadata group the one that leads from now
    /// on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Which of that node's lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incarnation: Option<Incarnation>,
    /// Who led before, if that was another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<NodeId>,
    /// The topic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<String>,
    /// The partition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionIndex>,
    /// The epoch of the segment that was opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Where that segment, or the log, begins.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<Offset>,
    /// Why it was opened, in the chain's words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The term of the metadata group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub term: Option<u64>,
}

/// Where something was seen: what it is told with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// The metadata's index of the view.
    pub version: u64,
    /// When.
    pub at_ms: TimestampMs,
}

impl Event {
    /// An event without more than its words.
    #[must_use]
    pub fn new(
        seen: Seen,
        (kind, severity): (EventKind, Severity),
        id: String,
        subject: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            id,
            version: seen.version,
            at_ms: seen.at_ms,
            severity,
            kind,
            subject: subject.into(),
            message: message.into(),
            node: None,
            incarnation: None,
            from: None,
            topic: None,
            partition: None,
            epoch: None,
            offset: None,
            reason: None,
            term: None,
        }
    }
}

/// `GET /v1/events`: events in the order in which the node saw them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EventList {
    /// Which node answers.
    pub answered_by: NodeId,
    /// Up to which version of the metadata that node has told what changed.
    pub metadata_version: u64,
    /// Whether there was more after the version that was asked for, which the node keeps no longer.
    pub truncated: bool,
    /// They.
    pub items: Vec<Event>,
    /// Where the next page begins: the `after` to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<u64>,
}

impl Kind for EventList {
    const KIND: &'static str = "EventList";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_of_tomorrow_is_read_as_another_kind() {
        let seen = Seen { version: 7, at_ms: TimestampMs(5) };
        let what = (EventKind::Raft, Severity::Info);
        let event = Event::new(seen, what, "raft/3".into(), "cluster", "n1 leads");
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        let tomorrow = json.replace("\"raft\"", "\"weather\"");
        assert_eq!(serde_json::from_str::<Event>(&tomorrow).unwrap().kind, EventKind::Other);
        assert!(EventKind::ALL.iter().all(|kind| EventKind::of_name(kind.name()) == Some(*kind)));
        assert_eq!(EventKind::of_name("other"), None);
    }
}
