//! What only a node itself knows, and what the others said of themselves last.
//!
//! A console asks one node for the whole cluster. That node asks the others over the peer port,
//! once for all that ask it within [`FRESH_MS`], and waits for [`PATIENCE`]; who has not answered by
//! then is told with what it said last and how old that is, and its answer is taken when it comes.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, future::join_all};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use walrus_admin::{
    connection::{CLIENTS_PAGE_MAX, Client},
    snapshot::{
        BUSIEST_MAX, Busy, DiskVitals, LeaseView, RaftView, StoreVitals, Vitals, WalVitals,
    },
};
use walrus_storage::{
    store::{PrunedHeld, StoreStats},
    wal::WalStats,
};
use walrus_types::{Epoch, NodeId, Offset, TimestampMs, TopicPartition, UptimeMs};

use crate::{
    broker::Broker,
    facts, gc,
    process::ProcessFacts,
    text::elsewhere::{self, Answer, Errand},
};

/// What was said so short a time ago is not asked for again.
const FRESH_MS: u64 = 700;
/// How long whoever asks for a snapshot waits for nodes that are slow.
const PATIENCE: Duration = Duration::from_millis(300);
/// A node that answers no sooner does not answer.
const ANSWER_MAX: Duration = Duration::from_secs(2);

/// How long whoever asks for a chain waits for the end of its open segment.
const END_MAX: Duration = Duration::from_millis(500);

/// What a node is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Question {
    /// Itself: the answer is [`Vitals`] as JSON.
    Vitals,
    /// How far a partition's open segment is that it leads: the answer is an [`Option`] of [`Open`].
    Open(TopicPartition),
    /// Who is connected to it: the answer is a [`ClientPage`].
    Clients {
        /// Connections of greater numbers.
        after: Option<u64>,
        /// So many at most.
        limit: usize,
    },
}

/// Some of the connections of one node, the oldest first.
#[derive(Debug, Serialize, Deserialize)]
pub struct ClientPage {
    /// They.
    pub items: Vec<Client>,
    /// Whether there are younger ones.
    pub more: bool,
}

/// How far an open segment is, as its leader knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Open {
    /// Which segment.
    pub epoch: Epoch,
    /// Where what is committed ends.
    pub end: Offset,
    /// What its batches take.
    pub bytes: u64,
    /// The greatest timestamp in it.
    pub max_timestamp: TimestampMs,
}

/// What the others said of themselves. One entry for each node of the metadata.
#[derive(Debug, Default)]
pub struct Board(Mutex<BTreeMap<NodeId, Heard>>);

/// What one of them said last.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Its words, and when they came.
    pub said: Option<(Arc<Vitals>, UptimeMs)>,
    /// Why it said nothing when it was asked last, if it did not.
    pub silent: Option<String>,
    /// When it was asked last.
    asked_at: Option<UptimeMs>,
}

impl Board {
    /// What a node said.
    pub fn of(&self, node: NodeId) -> Heard {
        self.0.lock().get(&node).cloned().unwrap_or_default()
    }

    /// Whether a node is to be asked now. If so it counts as asked.
    fn is_due(&self, node: NodeId, now: UptimeMs) -> bool {
        let mut all = self.0.lock();
        let heard = all.entry(node).or_default();
        let is_due = heard.asked_at.is_none_or(|at| now.since(at) >= FRESH_MS);
        if is_due {
            heard.asked_at = Some(now);
        }
        is_due
    }

    fn heard(&self, node: NodeId, said: Result<Vitals, String>, now: UptimeMs) {
        let mut all = self.0.lock();
        let heard = all.entry(node).or_default();
        match said {
            Ok(vitals) => (heard.said, heard.silent) = (Some((Arc::new(vitals), now)), None),
            Err(why) => heard.silent = Some(why),
        }
    }

    fn keep_only(&self, nodes: &[NodeId]) {
        self.0.lock().retain(|node, _| nodes.contains(node));
    }
}

/// Brings the board up to date, as far as the nodes answer in time.
pub async fn gather(broker: &Arc<Broker>) {
    let metadata = broker.metadata();
    let nodes: Vec<NodeId> = metadata.nodes().iter().map(|(id, _)| *id).collect();
    broker.vitals.keep_only(&nodes);
    let others = metadata.nodes().iter().filter(|(id, node)| {
        **id != broker.identity.node && node.state != walrus_metadata::NodeState::Removed
    });
    let now = broker.clock.uptime();
    let due: Vec<NodeId> =
        others.map(|(id, _)| *id).filter(|id| broker.vitals.is_due(*id, now)).collect();
    let mut asking = Vec::with_capacity(due.len());
    for node in due {
        let broker = Arc::clone(broker);
        // It goes on when whoever asked waits no more.
        asking.push(tokio::spawn(async move {
            let said = ask(&broker, node, Question::Vitals, ANSWER_MAX).await;
            broker.vitals.heard(node, said, broker.clock.uptime());
        }));
    }
    drop(tokio::time::timeout(PATIENCE, join_all(asking)).await);
}

/// How far the open segment of a partition is, as `leader` knows; `None` when it does not say so in
/// time, or has nothing of it loaded. Nothing is loaded for the question.
pub async fn open_at(broker: &Broker, leader: NodeId, id: TopicPartition) -> Option<Open> {
    if leader == broker.identity.node {
        return open_here(broker, id);
    }
    ask(broker, leader, Question::Open(id), END_MAX).await.ok().flatten()
}

fn open_here(broker: &Broker, id: TopicPartition) -> Option<Open> {
    let led = broker.partitions().loaded(id)?;
    let (epoch, facts) = led.with_leader(|leader| (leader.epoch(), leader.facts()));
    let (bytes, max_timestamp) = (facts.bytes, facts.max_timestamp);
    Some(Open { epoch, end: led.commit_seen(), bytes, max_timestamp })
}

/// Who is connected to a node.
///
/// # Errors
/// Why it did not tell.
pub async fn clients_of(
    broker: &Broker,
    node: NodeId,
    after: Option<u64>,
    limit: usize,
) -> Result<ClientPage, String> {
    if node == broker.identity.node {
        return Ok(clients_here(broker, after, limit));
    }
    ask(broker, node, Question::Clients { after, limit }, ANSWER_MAX).await
}

fn clients_here(broker: &Broker, after: Option<u64>, limit: usize) -> ClientPage {
    let (page, more) = broker.clients.page(after, limit.min(CLIENTS_PAGE_MAX));
    let (node, now) = (broker.identity.node, broker.clock.uptime());
    ClientPage { items: page.iter().map(|one| one.look(node, now)).collect(), more }
}

async fn ask<T: DeserializeOwned>(
    broker: &Broker,
    node: NodeId,
    question: Question,
    patience: Duration,
) -> Result<T, String> {
    let question = serde_json::to_vec(&question).expect("plain data");
    let asked = elsewhere::ask(broker, node, &Errand::Vitals, &question, patience).boxed().await;
    match asked.map_err(|why| why.to_string())? {
        (Answer::Done, said) if said.is_empty() => {
            Err("it does not know the question: its program is older".to_owned())
        }
        (Answer::Done, said) => serde_json::from_slice(&said).map_err(|why| why.to_string()),
        (other, _) => Err(format!("it answered to something else: {other:?}")),
    }
}

/// This node, now. Asks the file system for its free space: not on a thread that serves clients.
pub fn of_self(broker: &Broker) -> Vitals {
    let now = broker.clock.uptime();
    let metadata = broker.metadata();
    let stats = broker.store.stats();
    let group = broker.raft.group();
    let metrics = broker.raft.metrics();
    let number = |value: &serde_json::Value| value.as_u64().unwrap_or(0);
    let leader = group.leader().and_then(|leader| {
        group.members().into_iter().find(|member| member.id == leader).map(|one| one.peer.node)
    });
    let holders = |held: &PrunedHeld| held.holders.len() + held.unnamed;
    let ProcessFacts { resident_bytes, cpu_seconds, .. } = ProcessFacts::read();
    let disk = |space: facts::Space| DiskVitals {
        total_bytes: space.total_bytes,
        free_bytes: space.free_bytes,
    };
    Vitals {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        at_ms: broker.clock.now(),
        uptime_ms: now.0,
        metadata_version: metadata.applied(),
        raft: RaftView {
            state: metrics["state"].as_str().unwrap_or("unknown").to_lowercase(),
            term: number(&metrics["current_term"]),
            leader,
            last: number(&metrics["last_log_index"]),
            applied: metadata.applied(),
            committed: number(&metrics["cluster_committed"]["index"]),
            snapshot: number(&metrics["snapshot"]["index"]),
            purged: number(&metrics["purged"]["index"]),
        },
        leases: leases(broker, now),
        traffic: broker.metrics.traffic(),
        wal: wal(&stats, broker.config.storage.hot_tail_bytes),
        store: StoreVitals {
            open_files: count(stats.open_files),
            disk_full: stats.disk_full,
            pruned_held: count(stats.gone.held.len()),
            pruned_holders: count(stats.gone.held.iter().map(holders).sum()),
        },
        gc: Some(gc::vitals(broker, &stats.gone, &metadata)),
        disk: facts::space(broker).map(disk),
        resident_bytes,
        cpu_ms: cpu_seconds.map(milliseconds),
        busiest: Some(busiest(broker, now)),
    }
}

/// What is written to the partitions that this node leads, as their open segments tell.
fn busiest(broker: &Broker, now: UptimeMs) -> Vec<Busy> {
    let all = broker.partitions().all();
    let written = all.iter().filter_map(|led| {
        let (epoch, facts) = led.with_leader(|leader| (leader.epoch(), leader.facts()));
        let since_ms = now.since(facts.first_append?);
        let busy = Busy {
            topic: String::new(),
            partition: led.id().partition,
            epoch,
            bytes: facts.bytes,
            since_ms,
        };
        Some((busy.per_second(), led.id().topic, busy))
    });
    let mut written: Vec<_> = written.collect();
    written.sort_by(|(one, ..), (other, ..)| other.total_cmp(one));
    written.truncate(BUSIEST_MAX);
    let metadata = broker.metadata();
    let named = written.into_iter().filter_map(|(_, topic, busy)| {
        Some(Busy { topic: metadata.topic(topic)?.name.to_string(), ..busy })
    });
    named.collect()
}

fn wal(stats: &StoreStats, hot_tail_max_bytes: u64) -> WalVitals {
    let WalStats { groups, entries, bytes, flush, ring_used_bytes, ring_bytes, .. } = &stats.wal;
    let used = flush.buckets.iter().rposition(|count| *count > 0).map_or(0, |last| last + 1);
    WalVitals {
        ring_bytes: *ring_bytes,
        used_bytes: *ring_used_bytes,
        flushes: *groups,
        flush_p50_us: flush.quantile_us(0.5),
        flush_p99_us: flush.quantile_us(0.99),
        hot_tail_bytes: stats.unwritten_bytes,
        hot_tail_max_bytes,
        entries: *entries,
        bytes: *bytes,
        flush_counts: flush.buckets[..used].to_vec(),
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}

#[expect(clippy::cast_possible_truncation, reason = "2^64 ms are longer than any process lives")]
#[expect(clippy::cast_sign_loss, reason = "time that was computed is not below zero")]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1000.0) as u64
}

fn leases(broker: &Broker, now: UptimeMs) -> LeaseView {
    let mut view = LeaseView { silent_ms: broker.lease.silent_ms(now), ..LeaseView::default() };
    for partition in broker.partitions().all() {
        view.loaded += 1;
        view.rolling += u64::from(partition.is_rolling());
        view.without_lease += u64::from(partition.check_lease().is_err());
    }
    view
}

/// Answers another node; with nothing if it asks for what is not known here.
pub async fn answer(broker: &Arc<Broker>, question: &[u8]) -> Bytes {
    let told = match serde_json::from_slice(question) {
        Ok(Question::Vitals) => {
            let broker = Arc::clone(broker);
            let look = tokio::task::spawn_blocking(move || of_self(&broker)).await;
            look.ok().and_then(|vitals| serde_json::to_vec(&vitals).ok())
        }
        Ok(Question::Clients { after, limit }) => {
            serde_json::to_vec(&clients_here(broker, after, limit)).ok()
        }
        Ok(Question::Open(id)) => serde_json::to_vec(&open_here(broker, id)).ok(),
        Err(_of_a_later_version) => None,
    };
    told.unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use walrus_admin::snapshot::Traffic;

    use super::*;

    #[test]
    fn a_node_is_asked_once_for_all_who_ask_at_the_same_time() {
        let board = Board::default();
        let (one, now) = (NodeId(1), UptimeMs(5_000));
        assert!(board.is_due(one, now));
        assert!(!board.is_due(one, UptimeMs(now.0 + FRESH_MS - 1)));
        assert!(board.is_due(one, UptimeMs(now.0 + FRESH_MS)));
    }

    #[test]
    fn what_a_node_said_stays_when_it_is_silent() {
        let board = Board::default();
        let node = NodeId(2);
        board.heard(node, Err("refused".into()), UptimeMs(1));
        assert!(board.of(node).said.is_none());
        board.heard(node, Ok(vitals()), UptimeMs(2));
        assert_eq!(board.of(node).silent, None);
        board.heard(node, Err("gone".into()), UptimeMs(3));
        let heard = board.of(node);
        assert_eq!(heard.said.map(|(_, at)| at), Some(UptimeMs(2)));
        assert_eq!(heard.silent.as_deref(), Some("gone"));
        board.keep_only(&[]);
        assert!(board.of(node).silent.is_none());
    }

    fn vitals() -> Vitals {
        Vitals {
            version: "0".into(),
            at_ms: walrus_types::TimestampMs(0),
            uptime_ms: 1,
            metadata_version: 1,
            raft: RaftView::default(),
            leases: LeaseView::default(),
            traffic: Traffic::default(),
            wal: WalVitals::default(),
            store: StoreVitals::default(),
            gc: None,
            disk: None,
            resident_bytes: None,
            cpu_ms: None,
            busiest: None,
        }
    }
}
