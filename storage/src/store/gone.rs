//! What was pruned: how much of it the disk has back, what somebody still holds, and what could
//! not be removed.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use walrus_types::{SegmentId, TopicId, TopicPartition};

use crate::{
    disk::DiskFile,
    segment::{Holder, Purpose, Segment},
};

/// Leftovers that are remembered to be tried again. Of more the next start finds the rest.
pub const LEFTOVERS_MAX: usize = 1_024;

/// The background writer, as a holder.
const WRITER: Holder = Holder { purpose: Purpose::Write, whose: None, since: None };

/// What is removed at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Removal {
    /// One segment.
    Segment(SegmentId),
    /// All segments of a partition.
    Partition(TopicPartition),
    /// All segments of a topic.
    Topic(TopicId),
}

/// What should be gone and may be there still, wholly or in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leftover {
    /// What.
    pub what: Removal,
    /// For how long.
    pub age: Duration,
    /// What stood against it, the last time.
    pub why: String,
}

/// A segment that was pruned and that somebody still holds.
#[derive(Debug, Clone)]
pub struct PrunedHeld {
    /// Which one.
    pub id: SegmentId,
    /// The length of its log; missing where it had none, or the disk did not say.
    pub bytes: Option<u64>,
    /// How long ago it was pruned.
    pub age: Duration,
    /// Its log is open, so the disk has not got its bytes back.
    pub on_disk: bool,
    /// Who holds it by name.
    pub holders: Vec<Holder>,
    /// By how many handles it is held beside theirs.
    pub unnamed: usize,
}

/// Where removing stands.
#[derive(Debug, Clone, Default)]
pub struct GoneStats {
    /// Logs that were unlinked since the store was opened.
    pub freed_segments: u64,
    /// Their bytes.
    pub freed_bytes: u64,
    /// What somebody still holds, the longest first.
    pub held: Vec<PrunedHeld>,
    /// What could not be removed.
    pub leftovers: Vec<Leftover>,
}

#[derive(Debug, Default)]
pub(crate) struct Gone {
    segments: AtomicU64,
    bytes: AtomicU64,
    pruned: Mutex<Vec<Pruned>>,
    leftovers: Mutex<BTreeMap<Removal, (Instant, String)>>,
}

/// A segment that was taken out of everybody's hands.
#[derive(Debug)]
pub(super) struct Pruned {
    pub(super) id: SegmentId,
    pub(super) bytes: Option<u64>,
    pub(super) at: Instant,
    pub(super) handle: Option<Weak<Segment>>,
    pub(super) log: Option<Weak<dyn DiskFile>>,
}

impl Pruned {
    fn is_on_disk(&self) -> bool {
        self.log.as_ref().is_some_and(|log| log.strong_count() > 0)
    }

    fn is_held(&self) -> bool {
        self.is_on_disk() || self.handle.as_ref().is_some_and(|handle| handle.strong_count() > 0)
    }

    fn look(&self, now: Instant) -> PrunedHeld {
        let handle = self.handle.as_ref().and_then(Weak::upgrade);
        let (mut holders, unnamed) = handle.as_ref().map_or_else(Default::default, |segment| {
            let (mut holders, mut named) = segment.named_holders();
            if segment.is_listed() {
                holders.push(WRITER);
                named += 1;
            }
            // The handle that was just made is not one of theirs.
            (holders, (Arc::strong_count(segment) - 1).saturating_sub(named))
        });
        let on_disk = self.is_on_disk();
        if on_disk && holders.is_empty() && unnamed == 0 {
            // Readers hold the segment as well; the writer keeps a log alone until it is flushed.
            holders.push(WRITER);
        }
        PrunedHeld {
            id: self.id,
            bytes: self.bytes,
            age: now.saturating_duration_since(self.at),
            on_disk,
            holders,
            unnamed,
        }
    }
}

impl Gone {
    /// Segments were taken out of everybody's hands.
    pub(super) fn pruned(&self, segments: impl IntoIterator<Item = Pruned>) {
        let mut pruned = self.pruned.lock();
        pruned.retain(Pruned::is_held);
        pruned.extend(segments.into_iter().filter(Pruned::is_held));
    }

    /// The log of a segment that is told to be gone has so many bytes.
    pub(super) fn measured(&self, id: SegmentId, bytes: u64) {
        let mut pruned = self.pruned.lock();
        let own = |one: &&mut Pruned| one.id == id && one.bytes.is_none();
        for one in pruned.iter_mut().filter(own) {
            one.bytes = Some(bytes);
        }
    }

    /// Logs were unlinked.
    pub(super) fn freed(&self, segments: u64, bytes: u64) {
        self.segments.fetch_add(segments, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// A removal went, or did not go, as it should.
    pub(super) fn outcome(&self, what: Removal, why: Option<String>) {
        let mut leftovers = self.leftovers.lock();
        match why {
            None => drop(leftovers.remove(&what)),
            Some(why) => {
                let is_full = leftovers.len() >= LEFTOVERS_MAX && !leftovers.contains_key(&what);
                if !is_full {
                    leftovers.entry(what).or_insert_with(|| (Instant::now(), String::new())).1 =
                        why;
                }
            }
        }
    }

    pub(super) fn stats(&self) -> GoneStats {
        let now = Instant::now();
        let mut pruned = self.pruned.lock();
        pruned.retain(Pruned::is_held);
        let held = pruned.iter().map(|one| one.look(now)).collect();
        drop(pruned);
        let leftovers = self.leftovers.lock();
        let leftover = |(what, (since, why)): (&Removal, &(Instant, String))| Leftover {
            what: *what,
            age: now.saturating_duration_since(*since),
            why: why.clone(),
        };
        GoneStats {
            freed_segments: self.segments.load(Ordering::Relaxed),
            freed_bytes: self.bytes.load(Ordering::Relaxed),
            held,
            leftovers: leftovers.iter().map(leftover).collect(),
        }
    }
}
