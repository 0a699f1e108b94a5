//! What retention found, what is unlinked and what stands in its way, kept for whoever asks.
//!
//! [`monitor`](crate::controller::monitor) looks and notes what it found here; the store knows what
//! it unlinked and who holds it. Decides nothing.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use parking_lot::Mutex;
use walrus_admin::gc::{
    DUE_MAX, DueSegment, GcVitals, HELD_MAX, HeldSegment, Holder, LEFTOVERS_MAX, Leftover,
    NEXT_MAX, NextSegment, Purpose, RetentionLook,
};
use walrus_metadata::Metadata;
use walrus_replication::retention;
use walrus_storage::{
    segment,
    store::{GoneStats, PrunedHeld, Removal},
};
use walrus_types::{PartitionIndex, TopicId, TopicPartition, UptimeMs};

use crate::broker::Broker;

/// Looks that the rate of what is freed goes over: ten minutes by default.
const SAMPLES_MAX: usize = 60;
/// A rate over less than this says nothing.
const SPAN_MIN_MS: u64 = 5_000;

/// What was found when somebody looked last.
#[derive(Debug, Default)]
pub struct Account(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    look: Option<(UptimeMs, Arc<RetentionLook>)>,
    /// When how many bytes were freed, the oldest first.
    samples: VecDeque<(UptimeMs, u64)>,
}

/// A look at all partitions, while it goes on.
#[derive(Debug, Default)]
pub struct Look(RetentionLook);

impl Account {
    /// A look has ended, and so many bytes were freed so far.
    pub fn note(&self, look: Look, freed_bytes: u64, now: UptimeMs) {
        let mut kept = self.0.lock();
        kept.look = Some((now, Arc::new(look.done())));
        kept.samples.push_back((now, freed_bytes));
        if kept.samples.len() > SAMPLES_MAX {
            kept.samples.pop_front();
        }
    }

    fn look(&self, now: UptimeMs) -> Option<RetentionLook> {
        let (at, look) = self.0.lock().look.clone()?;
        Some(RetentionLook { ago_ms: now.since(at), ..RetentionLook::clone(&look) })
    }

    fn freed_bytes_per_s(&self, freed_bytes: u64, now: UptimeMs) -> Option<u64> {
        let (at, before) = *self.0.lock().samples.front()?;
        let span = now.since(at);
        let freed = u128::from(freed_bytes.saturating_sub(before)) * 1_000;
        (span >= SPAN_MIN_MS).then(|| u64::try_from(freed / u128::from(span)).unwrap_or(u64::MAX))
    }
}

impl Look {
    /// One that is made so often.
    pub fn begin(every_ms: u64) -> Self {
        Self(RetentionLook { every_ms, ..RetentionLook::default() })
    }

    /// A partition was looked at, and this is what goes next of it.
    pub fn partition(&mut self, topic: &str, id: TopicPartition, next: Option<retention::Next>) {
        self.0.partitions += 1;
        let Some(next) = next else { return };
        self.0.next.push(NextSegment {
            topic: topic.to_owned(),
            partition: id.partition,
            epoch: next.epoch,
            bytes: next.bytes,
            at_ms: next.too_old_from,
            lacking_bytes: next.lacking_bytes,
            lacking_segments: next.lacking_seals.and_then(|lacking| u64::try_from(lacking).ok()),
        });
        if self.0.next.len() >= 16 * NEXT_MAX {
            self.keep_soonest();
        }
    }

    /// Segments went out of their chain.
    pub fn taken<'a>(&mut self, segments: impl IntoIterator<Item = &'a DueSegment>) {
        for segment in segments {
            self.0.taken_segments += 1;
            self.0.taken_bytes = self.0.taken_bytes.saturating_add(segment.bytes);
        }
    }

    /// Segments are to go and are still there.
    pub fn waits(&mut self, segments: impl IntoIterator<Item = DueSegment>) {
        for segment in segments {
            self.0.due_segments += 1;
            self.0.due_bytes = self.0.due_bytes.saturating_add(segment.bytes);
            self.0.due.push(segment);
            if self.0.due.len() >= 16 * DUE_MAX {
                self.keep_largest();
            }
        }
    }

    fn keep_soonest(&mut self) {
        let last = |lacking: Option<u64>| lacking.unwrap_or(u64::MAX);
        self.0.next.sort_by_key(|one| {
            let at = one.at_ms.map_or(i64::MAX, |at| at.0);
            (at, last(one.lacking_bytes), last(one.lacking_segments))
        });
        self.0.next.truncate(NEXT_MAX);
    }

    fn keep_largest(&mut self) {
        self.0.due.sort_by_key(|one| std::cmp::Reverse(one.bytes));
        self.0.due.truncate(DUE_MAX);
    }

    fn done(mut self) -> RetentionLook {
        self.keep_soonest();
        self.keep_largest();
        self.0
    }
}

/// What this node says of its files that go.
pub fn vitals(broker: &Broker, gone: &GoneStats, metadata: &Metadata) -> GcVitals {
    let (now, name) = (broker.clock.uptime(), |topic| name_of(metadata, topic));
    let more = |all: usize, told: usize| u64::try_from(all.saturating_sub(told)).unwrap_or(0);
    let held = gone.held.iter().take(HELD_MAX).map(|one| held(one, &name));
    let leftovers = gone.leftovers.iter().take(LEFTOVERS_MAX).map(|one| Leftover {
        what: removal(one.what, &name),
        since_ms: milliseconds(one.age),
        why: one.why.clone(),
    });
    let on_disk = gone.held.iter().filter(|one| one.on_disk);
    GcVitals {
        freed_segments: gone.freed_segments,
        freed_bytes: gone.freed_bytes,
        freed_bytes_per_s: broker.gc.freed_bytes_per_s(gone.freed_bytes, now),
        held: held.collect(),
        held_more: more(gone.held.len(), HELD_MAX),
        held_bytes: on_disk.filter_map(|one| one.bytes).sum(),
        leftovers: leftovers.collect(),
        leftovers_more: more(gone.leftovers.len(), LEFTOVERS_MAX),
        look: broker.gc.look(now),
    }
}

fn held(one: &PrunedHeld, name: &dyn Fn(TopicId) -> String) -> HeldSegment {
    HeldSegment {
        topic: name(one.id.partition.topic),
        partition: one.id.partition.partition,
        epoch: one.id.epoch,
        base: one.id.base,
        bytes: one.bytes,
        since_ms: milliseconds(one.age),
        on_disk: one.on_disk,
        holders: one.holders.iter().map(holder).collect(),
        unnamed: u64::try_from(one.unnamed).unwrap_or(u64::MAX),
    }
}

fn holder(one: &segment::Holder) -> Holder {
    Holder {
        purpose: match one.purpose {
            segment::Purpose::Read => Purpose::Read,
            segment::Purpose::Lookup => Purpose::Lookup,
            segment::Purpose::Copy => Purpose::Copy,
            segment::Purpose::Repair => Purpose::Repair,
            segment::Purpose::Write => Purpose::Write,
        },
        whose: one.whose.as_ref().map(ToString::to_string),
        for_ms: one
            .since
            .map(|since| milliseconds(Instant::now().saturating_duration_since(since))),
    }
}

/// A topic's name, or its id where there is no such topic any more.
fn name_of(metadata: &Metadata, topic: TopicId) -> String {
    metadata.topic(topic).map_or_else(|| topic.to_string(), |topic| topic.name.to_string())
}

fn removal(what: Removal, name: &dyn Fn(TopicId) -> String) -> String {
    let of = |id: TopicPartition| {
        let PartitionIndex(index) = id.partition;
        format!("{}/{index}", name(id.topic))
    };
    match what {
        Removal::Segment(id) => format!("{} epoch {}", of(id.partition), id.epoch),
        Removal::Partition(id) => of(id),
        Removal::Topic(topic) => format!("topic {}", name(topic)),
    }
}

fn milliseconds(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use walrus_types::{Epoch, TimestampMs};

    use super::*;

    fn id(partition: i32) -> TopicPartition {
        let topic = TopicId(uuid::Uuid::from_u128(1));
        TopicPartition { topic, partition: PartitionIndex(partition) }
    }

    fn due(bytes: u64) -> DueSegment {
        DueSegment {
            topic: "t".into(),
            partition: PartitionIndex(0),
            epoch: Epoch(1),
            bytes,
            why: "old".into(),
            waits_for: "its seal".into(),
        }
    }

    #[test]
    fn a_look_names_the_soonest_and_the_largest_and_counts_the_rest() {
        let mut look = Look::begin(10);
        for number in (0..1_000_i32).rev() {
            let too_old_from = (number % 2 == 0).then(|| TimestampMs(number.into()));
            let lacking_bytes = u64::try_from(number).ok();
            let (epoch, bytes, lacking_seals) = (Epoch(1), 1, None);
            let next = retention::Next { epoch, bytes, too_old_from, lacking_bytes, lacking_seals };
            look.partition("t", id(number), Some(next));
        }
        look.partition("keeps everything", id(0), None);
        look.waits((1..=1_000).map(due));
        look.taken(&[due(5), due(6)]);
        let done = look.done();
        assert_eq!((done.partitions, done.due_segments, done.due_bytes), (1_001, 1_000, 500_500));
        assert_eq!((done.taken_segments, done.taken_bytes), (2, 11));
        let soonest: Vec<i32> = done.next.iter().map(|one| one.partition.0).collect();
        assert_eq!(soonest, [0, 2, 4, 6, 8, 10, 12, 14]);
        let largest: Vec<u64> = done.due.iter().map(|one| one.bytes).collect();
        assert_eq!(largest, (969..=1_000).rev().collect::<Vec<_>>());
    }

    #[test]
    fn what_is_freed_in_each_second_is_of_the_last_looks() {
        let account = Account::default();
        assert_eq!(account.freed_bytes_per_s(0, UptimeMs(0)), None);
        for number in 0..100 {
            account.note(Look::begin(10), number * 1_000, UptimeMs(number * 10_000));
        }
        assert_eq!(account.freed_bytes_per_s(99_000, UptimeMs(990_000)), Some(100));
        assert_eq!(account.look(UptimeMs(990_007)).map(|look| look.ago_ms), Some(7));
        let young = Account::default();
        young.note(Look::begin(10), 0, UptimeMs(0));
        assert_eq!(young.freed_bytes_per_s(5, UptimeMs(4_999)), None);
    }
}
