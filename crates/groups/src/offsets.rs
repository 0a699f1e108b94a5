//! How far one group has read, as far as it is committed.

use std::collections::BTreeMap;

use walrus_types::TimestampMs;

/// A committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the record before it, or [`NO_LEADER_EPOCH`].
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: String,
    /// When it was committed.
    pub committed_at: TimestampMs,
    /// Until when it is kept, where the client said so.
    pub expires_at: Option<TimestampMs>,
}

/// Where the client knows of no epoch.
pub const NO_LEADER_EPOCH: i32 = -1;

/// Whether a topic is gone for which something was committed with a leader epoch.
pub type IsGone<'a> = &'a dyn Fn(&str, i32) -> bool;

/// A topic's partition, by name as groups have it.
pub(crate) type Place = (String, i32);

/// The offsets of one group.
///
/// Invariant: `count` is how many there are; no topic is there without any.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    topics: BTreeMap<String, BTreeMap<i32, CommittedOffset>>,
    count: usize,
}

impl Offsets {
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(crate) fn get(&self, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.topics.get(topic)?.get(&partition)
    }

    pub(crate) fn set(&mut self, (topic, partition): Place, offset: CommittedOffset) {
        if self.topics.entry(topic).or_default().insert(partition, offset).is_none() {
            self.count += 1;
        }
    }

    pub(crate) fn forget(&mut self, topic: &str, partition: i32) {
        let Some(partitions) = self.topics.get_mut(topic) else { return };
        if partitions.remove(&partition).is_some() {
            self.count -= 1;
        }
        if partitions.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        self.topics.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(move |(partition, offset)| (topic.as_str(), *partition, offset))
        })
    }
}
