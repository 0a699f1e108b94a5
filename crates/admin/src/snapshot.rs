//! The whole cluster at one moment, as a console shows it.
//!
//! What the metadata says is of one version, whoever answers. What only a node itself knows (its
//! disk, its rates, which leases it can use) is asked of it, and carries how old it is; a node that
//! does not answer is still in the list, with what it said last.

use std::{cmp::Ordering, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex, TimestampMs};

use crate::{cluster::Group, document::Kind, gc::GcVitals, node::Node, operation::Operation};

/// Operations that ended that a snapshot tells.
pub const OPERATIONS_MAX: usize = 32;

/// `GET /v1/snapshot`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Snapshot {
    /// The cluster's id.
    pub cluster: String,
    /// Which node answers.
    pub answered_by: NodeId,
    /// How far that node's metadata is: the version of all that is not [`Vitals`].
    pub metadata_version: u64,
    /// Topics and partitions that are not here are as they were at this version, which whoever
    /// asked knows (`?since=VERSION`); missing where all are here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Names of topics that are to be forgotten before those that are here are taken: they were
    /// deleted since then, or are here whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<String>,
    /// When, by that node's clock.
    pub at_ms: TimestampMs,
    /// The metadata group.
    pub group: Group,
    /// All nodes that are known, by their ids.
    pub nodes: Vec<NodeEntry>,
    /// All topics, by their names.
    // Those that are the same in two snapshots may be shared by them.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<TopicEntry>))]
    pub topics: Vec<Arc<TopicEntry>>,
    /// The operations that run and [`OPERATIONS_MAX`] of those that ended last, newest first.
    /// Missing where none runs and none began or ended since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operations: Option<Vec<Operation>>,
}

impl Kind for Snapshot {
    const KIND: &'static str = "Snapshot";
}

impl Snapshot {
    /// All of it: what is here, on top of what is `known`. `None` where the two do not belong
    /// together: then all has to be asked for.
    #[must_use]
    pub fn onto(mut self, known: &Self) -> Option<Self> {
        let Some(since) = self.since.take() else { return Some(self.sharing(known)) };
        if (since, &self.cluster) != (known.metadata_version, &known.cluster) {
            return None;
        }
        let gone = std::mem::take(&mut self.gone);
        let stays = |topic: &&Arc<TopicEntry>| !gone.contains(&topic.topic);
        let mut topics: Vec<Arc<TopicEntry>> = known.topics.iter().filter(stays).cloned().collect();
        for changed in std::mem::take(&mut self.topics) {
            match topics.binary_search_by(|topic| topic.topic.cmp(&changed.topic)) {
                Ok(at) => Arc::make_mut(&mut topics[at]).take(Arc::unwrap_or_clone(changed)),
                Err(at) => topics.insert(at, changed),
            }
        }
        self.topics = topics;
        for entry in &mut self.nodes {
            let known = known.nodes.iter().find(|known| known.node.node == entry.node.node);
            let before = known.and_then(|known| known.vitals.as_ref());
            entry.vitals = entry.vitals.take().map(|vitals| vitals.after(before));
        }
        self.operations = self.operations.or_else(|| known.operations.clone());
        Some(self)
    }

    /// The same, where topics that are as they were are those of `known`, and take no more room.
    #[must_use]
    pub fn sharing(mut self, known: &Self) -> Self {
        for topic in &mut self.topics {
            let found = known.topics.binary_search_by(|other| other.topic.cmp(&topic.topic));
            if let Some(other) =
                found.ok().map(|at| &known.topics[at]).filter(|other| *other == topic)
            {
                *topic = Arc::clone(other);
            }
        }
        self
    }

    /// The same without what is long of vitals, which was told a moment ago.
    #[must_use]
    pub fn in_short(mut self) -> Self {
        in_short(self.nodes.iter_mut().map(|entry| &mut entry.vitals));
        self
    }

    /// The same cluster, with what its nodes say of themselves now.
    #[must_use]
    pub fn with(mut self, told: VitalsList) -> Self {
        (self.answered_by, self.at_ms) = (told.answered_by, told.at_ms);
        for one in told.items {
            if let Some(entry) = self.nodes.iter_mut().find(|entry| entry.node.node == one.node) {
                let before = entry.vitals.take();
                entry.vitals = one.vitals.map(|vitals| vitals.after(before.as_ref()));
                entry.vitals_age_ms = one.vitals_age_ms;
                entry.silent = one.silent;
            }
        }
        self
    }
}

/// Two of a topic: as it was, and as it is.
pub type Two<'a> = (Option<&'a Arc<TopicEntry>>, Option<&'a Arc<TopicEntry>>);

/// The topics of two snapshots that they do not share, side by side where they have one name. Each
/// of either is told once, in whatever order they stand.
pub fn unshared<'a>(before: &'a Snapshot, now: &'a Snapshot) -> impl Iterator<Item = Two<'a>> + 'a {
    let (mut before, mut now) = (&before.topics[..], &now.topics[..]);
    std::iter::from_fn(move || {
        while let (Some(was), Some(is)) = (before.first(), now.first())
            && Arc::ptr_eq(was, is)
        {
            (before, now) = (&before[1..], &now[1..]);
        }
        let order = match (before.first(), now.first()) {
            (None, None) => return None,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(was), Some(is)) => was.topic.cmp(&is.topic),
        };
        let was = if order.is_le() { before.split_off_first() } else { None };
        let is = if order.is_ge() { now.split_off_first() } else { None };
        Some((was, is))
    })
}

impl TopicEntry {
    /// Takes what changed; its other partitions stay.
    fn take(&mut self, changed: Self) {
        (self.replicas_target, self.keeps) = (changed.replicas_target, changed.keeps);
        for partition in changed.partitions {
            let of = |one: &PartitionEntry| one.partition.cmp(&partition.partition);
            match self.partitions.binary_search_by(of) {
                Ok(at) => self.partitions[at] = partition,
                Err(at) => self.partitions.insert(at, partition),
            }
        }
    }
}

/// A node, as the metadata has it and as it sees itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeEntry {
    /// As the metadata has it.
    #[serde(flatten)]
    pub node: Node,
    /// What it said of itself last, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
    /// How old that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals_age_ms: Option<u64>,
    /// Why it says nothing now, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

/// What nodes said of themselves last, without what the metadata says of them: what a stream tells
/// between two snapshots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VitalsList {
    /// Which node answers.
    pub answered_by: NodeId,
    /// How far that node's metadata is.
    pub metadata_version: u64,
    /// When, by that node's clock.
    pub at_ms: TimestampMs,
    /// They, by their ids.
    pub items: Vec<NodeVitals>,
}

impl VitalsList {
    /// As [`Snapshot::in_short`].
    #[must_use]
    pub fn in_short(mut self) -> Self {
        in_short(self.items.iter_mut().map(|one| &mut one.vitals));
        self
    }
}

fn in_short<'a>(nodes: impl Iterator<Item = &'a mut Option<Vitals>>) {
    for vitals in nodes.flatten() {
        (vitals.gc, vitals.busiest) = (None, None);
    }
}

impl Vitals {
    /// The same with what its node told of its files before, where it tells nothing of them now. Of
    /// the busiest partitions what was told before is past.
    #[must_use]
    pub fn after(mut self, before: Option<&Self>) -> Self {
        if self.gc.is_none()
            && let Some(before) = before.filter(|before| before.uptime_ms <= self.uptime_ms)
        {
            self.gc.clone_from(&before.gc);
        }
        self
    }
}

impl Kind for VitalsList {
    const KIND: &'static str = "VitalsList";
}

/// What one node said of itself last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeVitals {
    /// Which one.
    pub node: NodeId,
    /// What it said, if it ever did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals: Option<Vitals>,
    /// How old that is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vitals_age_ms: Option<u64>,
    /// Why it says nothing now, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}

/// What only a node itself knows: `GET /v1/self/vitals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Vitals {
    /// Its program's version.
    pub version: String,
    /// When it was asked, by its own clock.
    pub at_ms: TimestampMs,
    /// How long this life of it goes on.
    pub uptime_ms: u64,
    /// How far its metadata is: what it believes of leases is as old as that.
    pub metadata_version: u64,
    /// The metadata group as it sees it.
    pub raft: RaftView,
    /// The partitions that it leads and has loaded.
    pub leases: LeaseView,
    /// What it has done since it started.
    pub traffic: Traffic,
    /// Its write-ahead log.
    pub wal: WalVitals,
    /// Its segment files.
    #[serde(default)]
    pub store: StoreVitals,
    /// Its files that go; missing from a node that does not tell, and where a stream told them a
    /// moment ago: it does once in [`LONG_EVERY_MS`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc: Option<GcVitals>,
    /// The disk that holds its data; missing where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskVitals>,
    /// Memory that it holds, as the system counts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resident_bytes: Option<u64>,
    /// Time that it has computed, of all threads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The partitions that it leads to whose open segments most was written in each second since
    /// they were opened, that first; [`BUSIEST_MAX`] at most. Missing where a stream told them a
    /// moment ago, as with `gc`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub busiest: Option<Vec<Busy>>,
}

/// A stream tells what is long of vitals, which is most of what nodes say, no more often.
pub const LONG_EVERY_MS: u64 = 5_000;

/// Partitions that a node tells of.
pub const BUSIEST_MAX: usize = 32;

/// How much was written to a partition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Busy {
    /// Its topic.
    pub topic: String,
    /// Which one of it.
    pub partition: PartitionIndex,
    /// The open segment's epoch.
    pub epoch: Epoch,
    /// Bytes of batches in the open segment.
    pub bytes: u64,
    /// How long ago the first of them came.
    pub since_ms: u64,
}

impl Busy {
    /// Bytes that came in each second, since the first.
    #[must_use]
    pub fn per_second(&self) -> f64 {
        self.bytes as f64 * 1_000.0 / self.since_ms.max(1_000) as f64
    }
}

impl Kind for Vitals {
    const KIND: &'static str = "Vitals";
}

/// The metadata group in the eyes of one node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RaftView {
    /// What it is in the group: `leader`, `follower`, `candidate`, `learner`.
    #[serde(default)]
    pub state: String,
    /// The term.
    pub term: u64,
    /// Who leads it, as far as this node knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// The newest entry in its log.
    pub last: u64,
    /// The newest entry that it has applied.
    pub applied: u64,
    /// The newest entry that it knows to be committed.
    #[serde(default)]
    pub committed: u64,
    /// Up to which entry its snapshot goes.
    #[serde(default)]
    pub snapshot: u64,
    /// Up to which entry its log is gone.
    #[serde(default)]
    pub purged: u64,
}

/// What a node makes of its leases.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeaseView {
    /// Partitions that it leads and serves.
    pub loaded: u64,
    /// How many of them are rolled right now.
    pub rolling: u64,
    /// How many of them it may not serve, because nobody extended its lease.
    pub without_lease: u64,
    /// How long ago the controller extended its leases.
    pub silent_ms: u64,
}

/// Totals since a node started; rates are for whoever asks twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Traffic {
    /// Records that producers sent.
    pub records_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Bytes that consumers fetched.
    pub bytes_out: u64,
    /// Requests.
    pub requests: u64,
    /// Connections that are open now.
    pub connections: u64,
}

/// A write-ahead log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct WalVitals {
    /// The ring, in bytes.
    pub ring_bytes: u64,
    /// How much of it cannot be written over yet.
    pub used_bytes: u64,
    /// Flushes since the node started.
    pub flushes: u64,
    /// How long half of them took at most, in microseconds.
    pub flush_p50_us: u64,
    /// How long 99 of 100 of them took at most.
    pub flush_p99_us: u64,
    /// Batches that wait to be written to their segments, in bytes.
    pub hot_tail_bytes: u64,
    /// How many bytes may.
    pub hot_tail_max_bytes: u64,
    /// Entries that became durable since the node started.
    #[serde(default)]
    pub entries: u64,
    /// Bytes that did, with heads and padding.
    #[serde(default)]
    pub bytes: u64,
    /// How many flushes took less than `2^i` microseconds, and not less than half of that. As long
    /// as it has to be.
    #[serde(default)]
    pub flush_counts: Vec<u64>,
}

/// Segment files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StoreVitals {
    /// Files that are open.
    pub open_files: u64,
    /// Whether appends are refused because the disk is full up to its reserve.
    pub disk_full: bool,
    /// Pruned segments whose files are there still, because somebody reads them.
    pub pruned_held: u64,
    /// How many do, of all of them together.
    pub pruned_holders: u64,
}

/// A disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DiskVitals {
    /// All of it.
    pub total_bytes: u64,
    /// What is free.
    pub free_bytes: u64,
}

impl DiskVitals {
    /// What is taken.
    #[must_use]
    pub const fn used_bytes(self) -> u64 {
        self.total_bytes.saturating_sub(self.free_bytes)
    }
}

/// A topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TopicEntry {
    /// Its name.
    pub topic: String,
    /// How many copies its segments are to have.
    pub replicas_target: u8,
    /// What it keeps; missing from a node that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keeps: Option<Keeps>,
    /// Its partitions, by their index.
    pub partitions: Vec<PartitionEntry>,
}

/// What of each partition is kept; what is missing keeps everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Keeps {
    /// Records of so many milliseconds: `retention.ms`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ms: Option<u64>,
    /// So many bytes: `retention.bytes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// So many sealed segments: `walrus.retention.generations`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segments: Option<u64>,
}

/// A partition: its open segment, and how long the chain behind it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionEntry {
    /// Which one.
    pub partition: PartitionIndex,
    /// The open segment's epoch, which is its number.
    pub epoch: Epoch,
    /// Its first offset.
    pub base: Offset,
    /// Who leads it.
    pub leader: NodeId,
    /// Whether that node serves, as the metadata has it.
    pub leader_serves: bool,
    /// Who stores it, in their order.
    pub members: Vec<NodeId>,
    /// How many of them must store a batch before it is committed.
    pub write_quorum: u8,
    /// First offset that may be read.
    pub log_start: Offset,
    /// Segments of the chain, the open one among them.
    pub segments: u64,
    /// Bytes of the sealed ones, of one copy of each.
    pub sealed_bytes: u64,
    /// The newest timestamp in the oldest sealed segment: when time takes that, all of it is older.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest_ms: Option<TimestampMs>,
    /// Why the segment was opened.
    pub reason: String,
}
