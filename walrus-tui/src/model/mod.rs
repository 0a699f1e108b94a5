//! What the console knows of the cluster: the newest snapshot, how it came to be, and what changed.
//!
//! Pure: snapshots and times go in, facts come out. Times are the console's own, in milliseconds
//! since it started, so a clock that jumps changes nothing.

pub mod change;
pub mod disks;
pub mod figures;
pub mod heard;
pub mod loads;
pub mod rates;
pub mod series;
pub mod terms;
pub mod verdict;

use std::{collections::VecDeque, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_admin::{
    connection::{Client, ClientList},
    event::Event,
    group::{GroupList, GroupStatus},
    partition::Chain,
    snapshot::{PartitionEntry, Snapshot, TopicEntry},
};
use walrus_types::{PartitionIndex, TimestampMs, UptimeMs};

use crate::source::{Also, Told};

use self::{
    change::Change, disks::Disks, figures::Figures, heard::Heard, loads::Loads, rates::Rates,
    series::Series, terms::Terms,
};

/// Changes that are kept; the oldest go.
pub const CHANGES_MAX: usize = 2_000;
/// A snapshot that is older than this is shown as stale.
pub const STALE_MS: u64 = 5_000;
/// How long rates are kept, one a second: half an hour.
pub const SERIES_MAX: usize = 1_800;

/// A partition, by what people call it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PartitionName {
    /// Its topic.
    pub topic: String,
    /// Its index.
    pub partition: PartitionIndex,
}

impl std::fmt::Display for PartitionName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// How the console stands to the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// Nobody has answered yet.
    Connecting,
    /// The last question was answered.
    Live,
    /// The last questions were not.
    Lost {
        /// What the last one came to.
        why: String,
        /// How many were not.
        tries: u32,
        /// When the next one is asked.
        next_at: UptimeMs,
    },
}

/// Something that is looked at beside the cluster as a whole.
#[derive(Debug, Clone)]
pub struct Seen<K, T> {
    /// What it is of.
    pub of: K,
    /// What was told last, and when it came.
    pub newest: Option<(Arc<T>, UptimeMs)>,
    /// Why there was nothing when it was asked for last, if so.
    pub failed: Option<String>,
}

impl<K: PartialEq, T> Seen<K, T> {
    /// What is known of it.
    pub fn known(&self) -> Option<&T> {
        self.newest.as_ref().map(|(known, _)| &**known)
    }

    /// Takes what was told; where that is why there is nothing, what is known stays.
    pub fn take(slot: &mut Option<Self>, of: K, told: Result<Arc<T>, String>, now: UptimeMs) {
        let before = slot.take().filter(|seen| seen.of == of);
        let known = before.and_then(|seen| seen.newest);
        let (newest, failed) = match told {
            Ok(told) => (Some((told, now)), None),
            Err(why) => (known, Some(why)),
        };
        *slot = Some(Self { of, newest, failed });
    }
}

/// All that the console knows.
#[derive(Debug, Clone)]
pub struct Model {
    /// How it stands to the cluster.
    pub link: Link,
    /// The newest snapshot and when it came.
    pub newest: Option<(Arc<Snapshot>, UptimeMs)>,
    /// What all partitions of it come to.
    pub figures: Figures,
    /// What nodes said of themselves last.
    pub heard: Heard,
    /// What nodes do each second, by the last two snapshots.
    pub rates: Rates,
    /// What is written to the busiest partitions.
    pub loads: Loads,
    /// How fast disks fill.
    pub disks: Disks,
    /// Bytes that came in and went out each second, of all nodes.
    pub bytes_in: Series,
    /// See [`Model::bytes_in`].
    pub bytes_out: Series,
    /// What changed, the newest last.
    pub changes: VecDeque<Change>,
    /// How many changes went because there was no room.
    pub changes_dropped: u64,
    /// Who led the metadata group.
    pub terms: Terms,
    /// Whether the node that is asked tells what changed; else it is read off snapshots.
    pub tells_events: bool,
    /// The chain that is looked at.
    pub chain: Option<Seen<PartitionName, Chain>>,
    /// Connections of clients.
    pub clients: Option<Seen<(), ClientList>>,
    /// Consumer groups.
    pub groups: Option<Seen<(), GroupList>>,
    /// The group that is looked at.
    pub group: Option<Seen<String, GroupStatus>>,
}

impl Default for Model {
    fn default() -> Self {
        Self {
            link: Link::Connecting,
            newest: None,
            figures: Figures::default(),
            heard: Heard::default(),
            rates: Rates::default(),
            loads: Loads::default(),
            disks: Disks::default(),
            bytes_in: Series::new(SERIES_MAX),
            bytes_out: Series::new(SERIES_MAX),
            changes: VecDeque::new(),
            changes_dropped: 0,
            terms: Terms::default(),
            tells_events: false,
            chain: None,
            groups: None,
            clients: None,
            group: None,
        }
    }
}

impl Model {
    /// Something was told at `now`. Of what is looked at beside the cluster only `also` is of use.
    pub fn hear(&mut self, told: Told, now: UptimeMs, also: Option<&Also>) {
        match told {
            Told::Snapshot(snapshot) => self.snapshot(snapshot, now),
            Told::Events(events) => self.events(events),
            Told::Groups(groups) => Seen::take(&mut self.groups, (), groups, now),
            Told::Clients(clients) => Seen::take(&mut self.clients, (), clients, now),
            told if also.is_some_and(|also| told.is_of(also)) => match told {
                Told::Chain { name, chain } => Seen::take(&mut self.chain, name, chain, now),
                Told::Group { name, group } => Seen::take(&mut self.group, name, group, now),
                _ => {}
            },
            Told::Lost { why, next_at } => self.lost(why, next_at),
            // What is looked at no more, and what is about the recording.
            Told::Chain { .. } | Told::Group { .. } | Told::Kept(_) | Told::Ended(_) => {}
        }
    }

    /// A snapshot came. One that is older than what is known, from a node that is behind, is of
    /// use for nothing but that somebody answers.
    pub fn snapshot(&mut self, mut snapshot: Arc<Snapshot>, now: UptimeMs) {
        self.link = Link::Live;
        if let Some((before, _)) = &self.newest {
            let is_same_cluster = before.cluster == snapshot.cluster;
            if is_same_cluster && before.metadata_version > snapshot.metadata_version {
                return;
            }
            if is_same_cluster {
                self.changes.extend(change::between(before, &snapshot, self.tells_events));
            } else {
                self.rates = Rates::default();
                self.loads = Loads::default();
                self.heard = Heard::default();
                self.disks = Disks::default();
                self.terms = Terms::default();
                self.forget_beside();
                self.changes.push_back(change::other_cluster(&snapshot));
            }
            self.drop_oldest();
        }
        self.terms.snapshot(&snapshot);
        let before = self.newest.as_ref().map(|(before, _)| &**before);
        self.figures.take(before, &snapshot);
        self.heard.exchange(&mut snapshot, now);
        self.rates.take(&snapshot);
        self.loads.take(&snapshot);
        self.disks.take(&snapshot, now);
        if let Some(total) = self.rates.total() {
            self.bytes_in.push(total.bytes_in);
            self.bytes_out.push(total.bytes_out);
        }
        self.newest = Some((snapshot, now));
    }

    /// What was told beside the cluster as a whole is of another moment, or of another cluster.
    pub fn forget_beside(&mut self) {
        (self.chain, self.groups, self.group, self.clients) = (None, None, None, None);
    }

    /// A node told what changed, or that it does not.
    pub fn events(&mut self, events: Option<Vec<Event>>) {
        self.tells_events = events.is_some();
        for event in events.into_iter().flatten() {
            self.terms.event(&event);
            self.changes.push_back(Change::from(event));
        }
        self.drop_oldest();
    }

    fn drop_oldest(&mut self) {
        while self.changes.len() > CHANGES_MAX {
            self.changes.pop_front();
            self.changes_dropped += 1;
        }
    }

    /// The groups, as far as they are known.
    #[must_use]
    pub fn group_list(&self) -> Option<&GroupList> {
        self.groups.as_ref().and_then(Seen::known)
    }

    /// The connections of clients, as far as they are known.
    #[must_use]
    pub fn client_list(&self) -> &[Client] {
        let known = self.clients.as_ref().and_then(Seen::known);
        known.map_or(&[], |list| list.items.as_slice())
    }

    /// A question was not answered.
    pub fn lost(&mut self, why: String, next_at: UptimeMs) {
        let tries = match &self.link {
            Link::Lost { tries, .. } => tries.saturating_add(1),
            Link::Connecting | Link::Live => 1,
        };
        self.link = Link::Lost { why, tries, next_at };
    }

    /// The newest snapshot.
    #[must_use]
    pub fn seen(&self) -> Option<&Snapshot> {
        self.newest.as_ref().map(|(snapshot, _)| &**snapshot)
    }

    /// How old it is.
    #[must_use]
    pub fn age_ms(&self, now: UptimeMs) -> Option<u64> {
        self.newest.as_ref().map(|(_, at)| now.since(*at))
    }

    /// Whether it is too old to act on.
    #[must_use]
    pub fn is_stale(&self, now: UptimeMs) -> bool {
        self.age_ms(now).is_none_or(|age| age > STALE_MS)
    }
}

/// A partition of a snapshot, if there is one of that name.
#[must_use]
pub fn find<'a>(
    snapshot: &'a Snapshot,
    name: &PartitionName,
) -> Option<(&'a TopicEntry, &'a PartitionEntry)> {
    let at =
        snapshot.topics.binary_search_by(|topic| topic.topic.as_str().cmp(&name.topic)).ok()?;
    let topic = &snapshot.topics[at];
    let at = topic.partitions.binary_search_by_key(&name.partition, |one| one.partition).ok()?;
    Some((topic, &topic.partitions[at]))
}

/// All partitions of a snapshot.
pub fn partitions(
    snapshot: &Snapshot,
) -> impl Iterator<Item = (&TopicEntry, &PartitionEntry)> + '_ {
    let topics = snapshot.topics.iter().map(|topic| &**topic);
    topics.flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)))
}

/// The moment at which something is told to have happened.
pub type At = TimestampMs;
