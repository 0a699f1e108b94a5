//! What a watcher asked for: which kinds of news, of what, how often, from where on. Pure.

use std::{collections::BTreeSet, sync::Arc};

use axum::http::{HeaderMap, Uri};
use walrus_admin::{
    ApiError, Code,
    event::Event,
    snapshot::{Snapshot, VitalsList},
    unescape,
};
use walrus_types::{NodeId, PartitionIndex};

use super::{
    super::{
        answer::{node_id, parameters},
        partitions::index_of,
    },
    lists::List,
};

/// The least and the longest time between two deltas, and between two vitals.
pub(super) const EVERY_MS: (u64, u64) = (250, 60_000);
/// Where nobody says how often.
const EVERY_MS_DEFAULT: u64 = 1_000;
/// What may be asked for. Lists, which other nodes are asked for, are told only if they are named.
const KINDS: [&str; 5] = ["snapshot", "event", "vitals", List::Groups.kind(), List::Clients.kind()];
/// Names that one parameter has at most.
const NAMES_MAX: usize = 100;
/// Where a reader that comes back says what it had last.
const LAST_EVENT_ID: &str = "last-event-id";

/// What a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    /// Whole snapshots and deltas.
    pub(super) snapshots: bool,
    /// Events.
    pub(super) events: bool,
    /// What nodes say of themselves, between two snapshots.
    pub(super) vitals: bool,
    /// Lists, by their places.
    pub(super) lists: [bool; List::ALL.len()],
    /// The least time between two deltas.
    pub(super) every_ms: u64,
    /// The version that it knows.
    pub(super) after: Option<u64>,
    /// What it is of.
    pub(super) only: Only,
}

/// What a watcher is restricted to. Each set restricts what it names, the rest is told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Only {
    topics: Option<BTreeSet<String>>,
    partitions: Option<BTreeSet<(String, PartitionIndex)>>,
    nodes: Option<BTreeSet<NodeId>>,
}

impl Asked {
    /// # Errors
    /// What is wrong, by its name.
    pub(super) fn read(uri: &Uri, headers: &HeaderMap) -> Result<Self, ApiError> {
        let known = ["kinds", "topics", "partitions", "nodes", "every_ms", "after"];
        let given = parameters(uri, &known)?;
        let text = |name: &str| given.get(name).map(|value| plain(name, value)).transpose();
        let names = |name: &str| text(name)?.map(|value| list(name, &value)).transpose();
        let kinds = names("kinds")?;
        let wants =
            |kind: &str| kinds.as_ref().is_none_or(|kinds| kinds.iter().any(|one| one == kind));
        for kind in kinds.iter().flatten() {
            if !KINDS.contains(&kind.as_str()) {
                let why = format!("kinds: {kind:?} is none of {}", KINDS.join(", "));
                return Err(ApiError::new(Code::BadRequest, why));
            }
        }
        let every_ms = number("every_ms", text("every_ms")?)?.unwrap_or(EVERY_MS_DEFAULT);
        if !(EVERY_MS.0..=EVERY_MS.1).contains(&every_ms) {
            let (least, most) = EVERY_MS;
            let why = format!("every_ms: {every_ms} is not from {least} to {most}");
            return Err(ApiError::new(Code::BadRequest, why));
        }
        let partitions = names("partitions")?.map(|all| all.iter().map(|one| place(one)).collect());
        let nodes = names("nodes")?.map(|all| all.iter().map(|one| node_id(one)).collect());
        // Who comes back asks by the same address and says in the header what it had.
        let last = headers.get(LAST_EVENT_ID).map(|value| {
            let value = value.to_str().unwrap_or("?").to_owned();
            number(LAST_EVENT_ID, Some(value).filter(|value| !value.is_empty()))
        });
        let after = match last.transpose()?.flatten() {
            Some(last) => Some(last),
            None => number("after", text("after")?)?,
        };
        Ok(Self {
            snapshots: wants("snapshot"),
            events: wants("event"),
            vitals: wants("vitals"),
            lists: List::ALL.map(|list| kinds.is_some() && wants(list.kind())),
            every_ms,
            after,
            only: Only {
                topics: names("topics")?.map(|all| all.into_iter().collect()),
                partitions: partitions.transpose()?,
                nodes: nodes.transpose()?,
            },
        })
    }
}

/// What a value says without its escapes.
fn plain(name: &str, value: &str) -> Result<String, ApiError> {
    let wrong = || ApiError::new(Code::BadRequest, format!("{name}: {value:?} is not escaped"));
    unescape(value).ok_or_else(wrong)
}

fn list(name: &str, value: &str) -> Result<Vec<String>, ApiError> {
    let all: Vec<String> =
        value.split(',').filter(|one| !one.is_empty()).map(str::to_owned).collect();
    let why = match all.len() {
        0 => format!("{name}: nothing is named"),
        1..=NAMES_MAX => return Ok(all),
        more => format!("{name}: {more} names are more than {NAMES_MAX}"),
    };
    Err(ApiError::new(Code::BadRequest, why).hint("leave it out to be told of all"))
}

fn number(name: &str, value: Option<String>) -> Result<Option<u64>, ApiError> {
    let Some(value) = value else { return Ok(None) };
    let read = value.parse().map(Some);
    read.map_err(|_error| {
        ApiError::new(Code::BadRequest, format!("{name}: {value:?} is no number"))
    })
}

fn place(given: &str) -> Result<(String, PartitionIndex), ApiError> {
    let wrong =
        || ApiError::new(Code::BadRequest, format!("partitions: {given:?} is no TOPIC/PARTITION"));
    let (topic, index) = given.rsplit_once('/').ok_or_else(wrong)?;
    Ok((topic.to_owned(), index_of(index).map_err(|_error| wrong())?))
}

impl Only {
    /// What names the restriction: who has the same is told the same.
    pub(super) fn key(&self) -> String {
        if *self == Self::default() { String::new() } else { format!("{self:?}") }
    }

    fn has_topic(&self, topic: &str) -> bool {
        let of_topic = self.topics.as_ref().map(|topics| topics.contains(topic));
        let of_one = self.partitions.as_ref().map(|all| all.iter().any(|(name, _)| name == topic));
        of_topic.unwrap_or(of_one.is_none()) || of_one.unwrap_or(false)
    }

    fn has_partition(&self, topic: &str, partition: PartitionIndex) -> bool {
        let of_topic = self.topics.as_ref().map(|topics| topics.contains(topic));
        let of_one =
            self.partitions.as_ref().map(|all| all.contains(&(topic.to_owned(), partition)));
        of_topic.unwrap_or(of_one.is_none()) || of_one.unwrap_or(false)
    }

    fn has_node(&self, node: NodeId) -> bool {
        self.nodes.as_ref().is_none_or(|nodes| nodes.contains(&node))
    }

    /// Whether an event is told.
    pub(super) fn wants(&self, event: &Event) -> bool {
        match (&event.topic, event.partition, event.node) {
            (Some(topic), Some(partition), _) => self.has_partition(topic, partition),
            (Some(topic), None, _) => self.has_topic(topic),
            (None, _, Some(node)) => self.has_node(node),
            (None, _, None) => true,
        }
    }

    /// What is left of a snapshot.
    pub(super) fn of(&self, snapshot: &mut Snapshot) {
        snapshot.nodes.retain(|entry| self.has_node(entry.node.node));
        if self.topics.is_none() && self.partitions.is_none() {
            return;
        }
        snapshot.gone.retain(|topic| self.has_topic(topic));
        snapshot.topics.retain_mut(|topic| {
            let topic = Arc::make_mut(topic);
            topic.partitions.retain(|one| self.has_partition(&topic.topic, one.partition));
            self.has_topic(&topic.topic)
        });
    }

    /// What is left of the nodes' words.
    pub(super) fn of_vitals(&self, list: &mut VitalsList) {
        list.items.retain(|one| self.has_node(one.node));
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use walrus_admin::event::{EventKind, Seen, Severity};
    use walrus_types::TimestampMs;

    use super::*;

    fn read(query: &str, last: Option<&str>) -> Result<Asked, String> {
        let uri: Uri = format!("/v1/stream?{query}").parse().unwrap();
        let mut headers = HeaderMap::new();
        if let Some(last) = last {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_str(last).unwrap());
        }
        Asked::read(&uri, &headers).map_err(|why| why.message)
    }

    #[test]
    fn what_is_not_said_is_all_once_a_second_from_now_on() {
        let asked = read("", None).unwrap();
        assert!(asked.snapshots && asked.events && asked.vitals);
        assert_eq!(asked.lists, [false, false], "they cost other nodes something");
        assert_eq!(read("kinds=client,event", None).unwrap().lists, [false, true]);
        assert_eq!((asked.every_ms, asked.after, asked.only.key()), (1_000, None, String::new()));
        let asked = read("kinds=event&every_ms=250&after=7", None).unwrap();
        assert!(!asked.snapshots && asked.events && !asked.vitals);
        assert_eq!((asked.every_ms, asked.after), (250, Some(7)));
        assert_eq!(read("kinds=event%2Cvitals&after=7", Some("9")).unwrap().after, Some(9));
        assert_eq!(read("after=7", Some("")).unwrap().after, Some(7));
    }

    #[test]
    fn what_is_wrong_is_refused_by_its_name() {
        let many = format!("nodes={}", vec!["1"; 101].join(","));
        for (query, last, name) in [
            ("kinds=snapshots", None, "kinds"),
            ("kinds=", None, "kinds"),
            ("kind=event", None, "kind"),
            ("every_ms=249", None, "every_ms"),
            ("every_ms=60001", None, "every_ms"),
            ("every_ms=-1", None, "every_ms"),
            ("after=x", None, "after"),
            ("after=18446744073709551616", None, "after"),
            ("", Some("x"), "last-event-id"),
            ("partitions=a", None, "partitions"),
            ("partitions=a/x", None, "partitions"),
            ("nodes=x", None, "node id"),
            (many.as_str(), None, "nodes"),
            ("topics=%f", None, "topics"),
        ] {
            let why = read(query, last).expect_err(query);
            assert!(why.contains(name), "{query}: {why}");
        }
    }

    #[test]
    fn each_restriction_restricts_what_it_names() {
        let only = |query: &str| read(query, None).unwrap().only;
        let event = |topic: Option<&str>, partition: Option<i32>, node: Option<i32>| {
            let seen = Seen { version: 1, at_ms: TimestampMs(0) };
            let what = (EventKind::Lease, Severity::Info);
            Event {
                topic: topic.map(str::to_owned),
                partition: partition.map(PartitionIndex),
                node: node.map(NodeId),
                ..Event::new(seen, what, "x".into(), "x", "x")
            }
        };
        let all = [
            event(Some("a"), Some(0), Some(1)),
            event(Some("a"), Some(1), Some(2)),
            event(Some("b"), Some(0), Some(1)),
            event(Some("b"), None, None),
            event(None, None, Some(2)),
            event(None, None, None),
        ];
        for (query, expected) in [
            ("", "yyyyyy"),
            ("topics=a", "yy--yy"),
            ("partitions=a/1", "-y--yy"),
            ("topics=b&partitions=a/1", "-yyyyy"),
            ("nodes=n1", "yyyy-y"),
        ] {
            let only = only(query);
            let found: String =
                all.iter().map(|one| if only.wants(one) { 'y' } else { '-' }).collect();
            assert_eq!(found, expected, "{query}");
        }
    }
}
