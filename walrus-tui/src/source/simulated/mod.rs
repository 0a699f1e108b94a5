//! A cluster that is made up from a seed: for demos, pictures and tests.
//!
//! The same seed and the same times give the same cluster. It writes, rolls, prunes; now and then
//! a node dies, is fenced, comes back. Pure: time goes in, documents come out.

use std::sync::Arc;

use walrus_admin::{
    cluster::Group,
    node::NodeState,
    partition::{Chain, Segment},
    snapshot::{Keeps, PartitionEntry, Snapshot, TopicEntry, Traffic},
};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex, TimestampMs, chance::Chance};

pub use self::demo::Demo;
use super::{Also, CHAIN_LINKS, Told};
use crate::model::PartitionName;

mod clients;
mod demo;
mod going;
mod groups;
mod nodes;
mod operations;

/// Topics are called so, one after another, and then with numbers.
const TOPICS: [&str; 6] = ["audit", "clicks", "invoices", "orders", "payments", "sessions"];
/// Between two steps.
pub const STEP_MS: u64 = 1_000;
/// Links of a chain that are kept whole; older ones are pruned.
const SEGMENTS_MAX: usize = 40;
/// When the first step is, in milliseconds since 1970: 2026-01-01 12:00 UTC.
const BEGAN: i64 = 1_767_268_800_000;

/// How large a cluster is made up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Nodes.
    pub nodes: usize,
    /// Partitions, of all topics.
    pub partitions: usize,
}

impl Default for Size {
    fn default() -> Self {
        Self { nodes: 3, partitions: 48 }
    }
}

#[derive(Debug)]
struct Life {
    state: NodeState,
    drains: bool,
    incarnation: u64,
    began_ms: u64,
    traffic: Traffic,
    flushes: u64,
    cpu_ms: u64,
    flush_p99_us: u64,
    /// When it comes back, if it is down.
    back_at_ms: Option<u64>,
}

#[derive(Debug)]
struct Log {
    name: PartitionName,
    /// Sealed links, the oldest first.
    sealed: Vec<Segment>,
    epoch: u64,
    base: i64,
    end: i64,
    leader: usize,
    reason: &'static str,
    /// When the open segment was opened.
    opened_ms: u64,
    /// Records each second.
    pace: u64,
}

/// A made-up cluster.
#[derive(Debug)]
pub struct Simulated {
    chance: Chance,
    now_ms: u64,
    version: u64,
    term: u64,
    controller: usize,
    nodes: Vec<Life>,
    logs: Vec<Log>,
    operators: operations::Operators,
    is_calm: bool,
    /// As a snapshot tells them: those that are as they were are those of the one before.
    topics: Vec<Arc<TopicEntry>>,
    /// Places in `logs` whose entries in `topics` are not of now.
    changed: Vec<usize>,
}

impl Simulated {
    /// The cluster of a seed, a moment after it began.
    #[must_use]
    pub fn new(seed: u64, size: Size) -> Self {
        let mut chance = Chance::seeded(seed);
        let nodes = size.nodes.clamp(1, 100);
        let topics = size.partitions.div_ceil(12).max(1);
        let mut logs: Vec<Log> = (0..size.partitions)
            .map(|at| {
                let (topic, index) = (at % topics, at / topics);
                let round = topic / TOPICS.len();
                let name = TOPICS[topic % TOPICS.len()];
                let topic = if round == 0 { name.to_owned() } else { format!("{name}-{round}") };
                let partition = PartitionIndex(i32::try_from(index).unwrap_or(i32::MAX));
                let name = PartitionName { topic, partition };
                let pace = 1 << chance.below(12);
                Log {
                    name,
                    sealed: Vec::new(),
                    epoch: 1,
                    base: 0,
                    end: 0,
                    leader: at % nodes,
                    reason: "create",
                    opened_ms: 0,
                    pace,
                }
            })
            .collect();
        logs.sort_by(|a, b| a.name.cmp(&b.name));
        let life = |_| Life {
            state: NodeState::Active,
            drains: false,
            incarnation: 1,
            began_ms: 0,
            traffic: Traffic::default(),
            flushes: 0,
            cpu_ms: 0,
            flush_p99_us: 900,
            back_at_ms: None,
        };
        let nodes = (0..nodes).map(life).collect();
        let mut made = Self {
            chance,
            now_ms: 0,
            version: 40,
            term: 1,
            controller: 0,
            nodes,
            logs,
            operators: operations::Operators::default(),
            is_calm: false,
            topics: Vec::new(),
            changed: Vec::new(),
        };
        // A history, so that there is something to look at.
        for _ in 0..4 {
            made.now_ms += 600_000;
            for at in 0..made.logs.len() {
                made.write(at, 600);
                if made.chance.one_in(2) {
                    made.roll(at, "size");
                }
            }
        }
        made.topics = made.told_topics();
        made.changed.clear();
        made
    }

    /// The same, of which no node dies by itself.
    #[must_use]
    pub fn calm(self) -> Self {
        Self { is_calm: true, ..self }
    }

    /// A second later.
    pub fn step(&mut self) {
        self.now_ms += STEP_MS;
        self.come_back();
        self.carry_on();
        if self.chance.one_in(90) && !self.is_calm {
            self.kill();
        }
        for at in 0..self.logs.len() {
            self.write(at, 1);
        }
        // As many rolls as there would be by size, whatever the number of partitions.
        for _ in 0..=self.logs.len() / 200 {
            let at = self.chance.index(self.logs.len());
            if !self.logs.is_empty() && self.chance.one_in(3) {
                self.roll(at, "size");
            }
        }
        for life in &mut self.nodes {
            if life.back_at_ms.is_none() {
                life.flushes += 180 + self.chance.below(80);
                life.cpu_ms += 60 + self.chance.below(120);
                life.flush_p99_us = 700 + self.chance.below(1_200);
                life.traffic.requests += 900 + self.chance.below(300);
                life.traffic.connections = 24;
            }
        }
        self.tell_changed();
    }

    fn come_back(&mut self) {
        let now = self.now_ms;
        for life in &mut self.nodes {
            if life.back_at_ms.is_some_and(|at| at <= now) {
                *life = Life {
                    state: NodeState::Active,
                    drains: false,
                    incarnation: life.incarnation + 1,
                    began_ms: now,
                    traffic: Traffic::default(),
                    flushes: 0,
                    cpu_ms: 0,
                    flush_p99_us: 900,
                    back_at_ms: None,
                };
                self.version += 1;
                self.changed.extend(0..self.logs.len());
            }
        }
    }

    /// A node dies; what it led goes on elsewhere. Only where a majority stays.
    fn kill(&mut self) {
        let down = self.nodes.iter().filter(|life| life.back_at_ms.is_some()).count();
        if (down + 1) * 2 >= self.nodes.len() {
            return;
        }
        let at = self.chance.index(self.nodes.len());
        let back_at = self.now_ms + 5_000 + self.chance.below(20_000);
        let life = &mut self.nodes[at];
        if life.back_at_ms.is_some() {
            return;
        }
        (life.back_at_ms, life.state) = (Some(back_at), NodeState::Fenced);
        self.version += 1;
        if self.controller == at {
            self.controller = self.another(at);
            self.term += 1;
        }
        for log in 0..self.logs.len() {
            if self.logs[log].leader == at {
                self.roll(log, "failover");
            }
        }
    }

    fn another(&mut self, than: usize) -> usize {
        let up: Vec<usize> = (0..self.nodes.len())
            .filter(|at| {
                *at != than && self.nodes[*at].back_at_ms.is_none() && !self.nodes[*at].drains
            })
            .collect();
        if up.is_empty() { than } else { up[self.chance.index(up.len())] }
    }

    fn write(&mut self, at: usize, seconds: u64) {
        let log = &mut self.logs[at];
        let records = log.pace * seconds + self.chance.below(log.pace + 1);
        log.end += i64::try_from(records).unwrap_or(0);
        let traffic = &mut self.nodes[log.leader].traffic;
        traffic.records_in += records;
        traffic.bytes_in += records * 300;
        traffic.bytes_out += records * 550;
    }

    fn roll(&mut self, at: usize, reason: &'static str) {
        let leader = self.logs[at].leader;
        let moves = matches!(reason, "failover" | "drain") || self.nodes[leader].drains;
        let next = if moves || self.chance.one_in(3) { self.another(leader) } else { leader };
        let members = self.members(leader);
        let now = self.now();
        let log = &mut self.logs[at];
        if log.end > log.base {
            let records = u64::try_from(log.end - log.base).unwrap_or(0);
            log.sealed.push(Segment {
                epoch: Epoch(i32::try_from(log.epoch).unwrap_or(i32::MAX)),
                open: false,
                base: Offset(log.base),
                end: Some(Offset(log.end)),
                bytes: Some(records * 300),
                max_timestamp_ms: Some(now),
                leader: node_id(leader),
                members,
                reason: log.reason.to_owned(),
                digest: None,
            });
        }
        if log.sealed.len() > SEGMENTS_MAX {
            log.sealed.remove(0);
        }
        log.base = log.end;
        log.opened_ms = self.now_ms;
        log.epoch += 1;
        log.reason = reason;
        log.leader = next;
        self.version += 1;
        self.changed.push(at);
    }

    /// Three nodes from the leader on.
    fn members(&self, leader: usize) -> Vec<NodeId> {
        let nodes = self.nodes.len();
        (0..nodes.min(3)).map(|step| node_id((leader + step) % nodes)).collect()
    }

    fn now(&self) -> TimestampMs {
        TimestampMs(BEGAN + i64::try_from(self.now_ms).unwrap_or(0))
    }

    /// The cluster as it is now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let voters = self.voters();
        Snapshot {
            cluster: "demo".to_owned(),
            answered_by: node_id(self.controller),
            metadata_version: self.version,
            since: None,
            gone: Vec::new(),
            operations: Some(self.operations()),
            at_ms: self.now(),
            group: Group {
                leader: Some(node_id(self.controller)),
                term: self.term,
                voters,
                quorum: voters / 2 + 1,
            },
            nodes: (0..self.nodes.len()).map(|at| self.node(at)).collect(),
            topics: self.topics.clone(),
        }
    }

    fn told_topics(&self) -> Vec<Arc<TopicEntry>> {
        let of = self.logs.chunk_by(|one, other| one.name.topic == other.name.topic);
        let topic = |logs: &[Log]| TopicEntry {
            topic: logs[0].name.topic.clone(),
            replicas_target: u8::try_from(self.nodes.len().min(3)).unwrap_or(3),
            keeps: Some(Keeps { ms: Some(7_200_000), bytes: Some(4 << 30), segments: None }),
            partitions: logs.iter().map(|log| self.partition(log)).collect(),
        };
        of.map(topic).map(Arc::new).collect()
    }

    /// What changed since is in the next snapshot.
    pub(super) fn tell_changed(&mut self) {
        for at in std::mem::take(&mut self.changed) {
            let (name, entry) = (&self.logs[at].name, self.partition(&self.logs[at]));
            let Ok(topic) = self.topics.binary_search_by(|one| one.topic.cmp(&name.topic)) else {
                continue;
            };
            let told = &self.topics[topic].partitions;
            let place = told.binary_search_by_key(&name.partition, |one| one.partition);
            if let Some(place) = place.ok().filter(|place| told[*place] != entry) {
                Arc::make_mut(&mut self.topics[topic]).partitions[place] = entry;
            }
        }
    }

    fn partition(&self, log: &Log) -> PartitionEntry {
        PartitionEntry {
            partition: log.name.partition,
            epoch: Epoch(i32::try_from(log.epoch).unwrap_or(i32::MAX)),
            base: Offset(log.base),
            leader: node_id(log.leader),
            leader_serves: self.nodes[log.leader].back_at_ms.is_none(),
            members: self.members(log.leader),
            write_quorum: 2.min(u8::try_from(self.nodes.len()).unwrap_or(2)),
            log_start: log.sealed.first().map_or(Offset(log.base), |first| first.base),
            segments: u64::try_from(log.sealed.len()).unwrap_or(0) + 1,
            sealed_bytes: log.sealed.iter().filter_map(|segment| segment.bytes).sum(),
            oldest_ms: log.sealed.first().and_then(|first| first.max_timestamp_ms),
            reason: log.reason.to_owned(),
        }
    }

    /// The newest `links` of a chain, the oldest first.
    ///
    /// # Errors
    /// That there is no such partition.
    pub fn chain(&self, name: &PartitionName, links: usize) -> Result<Chain, String> {
        let log = self.logs.iter().find(|log| log.name == *name);
        let log = log.ok_or_else(|| format!("there is no partition {name}"))?;
        let partition = self.partition(log);
        let records = u64::try_from(log.end - log.base).unwrap_or(0);
        let open = Segment {
            epoch: partition.epoch,
            open: true,
            base: partition.base,
            end: Some(Offset(log.end)),
            bytes: Some(records * 300),
            max_timestamp_ms: (records > 0).then(|| self.now()),
            leader: partition.leader,
            members: partition.members,
            reason: partition.reason,
            digest: None,
        };
        let skipped = (log.sealed.len() + 1).saturating_sub(links);
        let items = log.sealed.iter().cloned().chain(std::iter::once(open)).skip(skipped);
        Ok(Chain {
            metadata_version: self.version,
            topic: name.topic.clone(),
            topic_id: String::new(),
            partition: name.partition,
            log_start: partition.log_start,
            segments: partition.segments,
            replicas_target: 3,
            items: items.collect(),
            losses: Vec::new(),
        })
    }

    /// What is asked for beside the cluster as a whole.
    #[must_use]
    pub fn tell(&self, also: &Also) -> Told {
        match also {
            Also::Chain(name) => {
                let chain = self.chain(name, CHAIN_LINKS).map(Arc::new);
                Told::Chain { name: name.clone(), chain }
            }
            Also::Groups => Told::Groups(Ok(Arc::new(self.groups()))),
            Also::Clients => Told::Clients(Ok(Arc::new(self.clients()))),
            Also::Group(name) => {
                Told::Group { name: name.clone(), group: self.group(name).map(Arc::new) }
            }
        }
    }

    /// The same, shared.
    #[must_use]
    pub fn shared(&self) -> Arc<Snapshot> {
        Arc::new(self.snapshot())
    }
}

fn node_id(at: usize) -> NodeId {
    NodeId(i32::try_from(at).unwrap_or(i32::MAX - 1) + 1)
}
