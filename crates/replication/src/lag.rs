//! Which members do not keep up, so that every node can tell clients what the leader sees: Kafka's
//! in-sync replicas are the members that serve without these.
//!
//! Who keeps up is decided at the leader, by [`Senders`](crate::Senders), and nowhere else. From
//! there on only the exceptions travel, in heartbeats and their answers, and each list only while
//! the other end does not have it:
//!
//! ```text
//!  leader: OwnList ──version, list──> controller: Board ──edition, list──> every node: Shown
//!                  <──version had────                   <──edition had────
//! ```
//!
//! Nothing is decided by these lists. They are late by about two seconds, which is little beside
//! the lag that puts somebody on them, and of a segment that has a successor they are ignored. A
//! new controller publishes nothing before every leader that lives has told it: nodes show what the
//! controller before it said.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, Incarnation, NodeId, TopicPartition};

use crate::roll::UptimeMs;

/// Segments that one list names. Of those past it all members that serve are shown as in sync.
pub const LAGGARDS_MAX: usize = 10_000;
/// From one look of a leader's to the next, and from one edition of the controller's to the next.
pub const LOOK_EACH_MS: u64 = 1_000;
/// A new controller publishes after this: who lives has been heard, who does not is fenced.
pub const WHOLE_AFTER_MS: u64 = 1_500;

/// The members of an open segment that do not keep up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Laggards {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Of which of its segments.
    pub epoch: Epoch,
    /// Who lags.
    pub members: Vec<NodeId>,
}

/// What a leader says in a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Telling {
    /// Of its list. Grows with each change during a life; an empty list is 0 at first.
    pub version: u64,
    /// The list, where the controller is not known to have it.
    pub list: Option<Vec<Laggards>>,
    /// What this node shows.
    pub edition: Edition,
}

/// One state of what a controller publishes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Edition {
    /// The term of that controller.
    pub term: u64,
    /// Grows with each change during the term.
    pub number: u64,
}

/// What the controller answers.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Published {
    /// The version that it has of the list of whom it answers.
    pub version: u64,
    /// What is to be shown from now on.
    pub edition: Edition,
    /// That, where whom it answers shows something else.
    pub list: Option<Vec<Laggards>>,
}

/// What a leader has to tell.
#[derive(Debug, Clone, Default)]
pub struct OwnList {
    list: Vec<Laggards>,
    version: u64,
    /// The version that the controller says it has.
    had: u64,
    looked_at: Option<UptimeMs>,
}

impl OwnList {
    /// Whether it is time to look again.
    #[must_use]
    pub fn is_due(&self, now: UptimeMs) -> bool {
        self.looked_at.is_none_or(|at| now.since(at) >= LOOK_EACH_MS)
    }

    /// What this node leads was looked at. The order of `behind` does not matter.
    pub fn looked(&mut self, mut behind: Vec<Laggards>, now: UptimeMs) {
        self.looked_at = Some(now);
        behind.sort_by_key(|behind| (behind.partition, behind.epoch));
        behind.truncate(LAGGARDS_MAX);
        if behind != self.list {
            self.list = behind;
            self.version += 1;
        }
    }

    /// What the next heartbeat says, of a node that shows `shown`.
    #[must_use]
    pub fn tell(&self, shown: &Shown) -> Telling {
        let is_had = self.had == self.version;
        let list = (!is_had).then(|| self.list.clone());
        Telling { version: self.version, list, edition: shown.edition }
    }

    /// A controller has so much of it.
    pub const fn had(&mut self, version: u64) {
        self.had = version;
    }
}

#[derive(Debug, Clone)]
struct Told {
    life: Incarnation,
    version: u64,
    list: Vec<Laggards>,
}

/// What a controller was told, and what it publishes.
#[derive(Debug, Clone)]
pub struct Board {
    told: BTreeMap<NodeId, Told>,
    edition: Edition,
    /// Whether the edition is what was told.
    is_current: bool,
    /// When the next edition may come out.
    next_at: UptimeMs,
}

impl Board {
    /// The board of a controller that begins in that term of Raft.
    #[must_use]
    pub const fn begin(term: u64, now: UptimeMs) -> Self {
        let next_at = UptimeMs(now.0.saturating_add(WHOLE_AFTER_MS));
        let edition = Edition { term, number: 0 };
        Self { told: BTreeMap::new(), edition, is_current: false, next_at }
    }

    /// A node that may lead says this. What comes late, or of an earlier life, is ignored.
    pub fn heard(&mut self, node: NodeId, life: Incarnation, telling: &Telling) {
        let Some(list) = &telling.list else { return };
        let known = self.told.get(&node).map(|told| (told.life, told.version));
        if known.is_some_and(|known| known >= (life, telling.version)) {
            return;
        }
        let list = list.iter().take(LAGGARDS_MAX).cloned().collect();
        self.told.insert(node, Told { life, version: telling.version, list });
        self.is_current = false;
    }

    /// Of other lives than these nothing is told any more.
    pub fn retain(&mut self, lives: impl Fn(NodeId, Incarnation) -> bool) {
        let before = self.told.len();
        self.told.retain(|node, told| lives(*node, told.life));
        self.is_current &= self.told.len() == before;
    }

    /// The answer to a node in that life, which shows `shown`.
    pub fn publish(
        &mut self,
        (node, life): (NodeId, Incarnation),
        shown: Edition,
        now: UptimeMs,
    ) -> Published {
        if !self.is_current && now >= self.next_at {
            self.edition.number += 1;
            self.is_current = true;
            self.next_at = UptimeMs(now.0.saturating_add(LOOK_EACH_MS));
        }
        let told = self.told.get(&node).filter(|told| told.life == life);
        let version = told.map_or(0, |told| told.version);
        let is_out = self.edition.number > 0;
        if !is_out || shown == self.edition {
            return Published { version, edition: shown, list: None };
        }
        let all = self.told.values().flat_map(|told| &told.list);
        let list = all.take(LAGGARDS_MAX).cloned().collect();
        Published { version, edition: self.edition, list: Some(list) }
    }
}

/// What a node shows of all segments, whoever leads them. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    edition: Edition,
    behind: Arc<BTreeMap<(TopicPartition, Epoch), Vec<NodeId>>>,
}

impl Shown {
    /// The controller has answered.
    pub fn take(&mut self, published: &Published) {
        let Some(list) = &published.list else { return };
        let each =
            list.iter().map(|behind| ((behind.partition, behind.epoch), behind.members.clone()));
        *self = Self { edition: published.edition, behind: Arc::new(each.collect()) };
    }

    /// Whether a member of that open segment keeps up, as far as is known here.
    #[must_use]
    pub fn keeps_up(&self, partition: TopicPartition, epoch: Epoch, member: NodeId) -> bool {
        !self.behind.get(&(partition, epoch)).is_some_and(|behind| behind.contains(&member))
    }
}

#[cfg(test)]
mod tests;
