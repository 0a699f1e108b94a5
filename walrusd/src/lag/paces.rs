//! How fast groups read and partitions grow, as far as this node has watched them.
//!
//! Bounded: [`WATCHED_MAX`] pairs of a group and a partition, as many partitions, and what nobody
//! noted for the window of a rate is forgotten.

use std::{collections::HashMap, sync::Arc};

use walrus_metadata::Partition as Chain;
use walrus_replication::{
    UptimeMs,
    backlog::{Growth, History, Known, Rate, pace},
};
use walrus_types::{Epoch, Offset, TopicPartition};

use super::ask::End;

/// Pairs of a group and a partition whose progress is watched, and partitions whose growth is. Of
/// those past it no rates are known, and so no risk. A pair takes 600 bytes at most.
pub(super) const WATCHED_MAX: usize = 20_000;

/// The histories.
#[derive(Debug, Default)]
pub(super) struct Paces {
    reads: HashMap<(Arc<str>, TopicPartition), History>,
    appends: HashMap<TopicPartition, Appends>,
}

/// How a partition grew.
#[derive(Debug, Default)]
struct Appends {
    /// The open segment when it was looked at last, and its bytes.
    seen: Option<(Epoch, u64)>,
    /// Bytes that were appended since it was first looked at.
    appended: u64,
    records: History,
    bytes: History,
}

impl Paces {
    /// A group has read up to there.
    pub(super) fn read(
        &mut self,
        group: &Arc<str>,
        id: TopicPartition,
        at: Offset,
        now: UptimeMs,
    ) -> Known<Rate> {
        let key = (Arc::clone(group), id);
        if self.reads.len() >= WATCHED_MAX && !self.reads.contains_key(&key) {
            return Err(format!("more than {WATCHED_MAX} places of groups are watched here").into());
        }
        let history = self.reads.entry(key).or_default();
        history.note(now, at.since(Offset::ZERO));
        history.rate().ok_or_else(|| too_short("the group"))
    }

    /// A partition has come so far. `chain` has the same open segment.
    pub(super) fn appended(
        &mut self,
        id: TopicPartition,
        end: &End,
        chain: &Chain,
        now: UptimeMs,
    ) -> Known<Growth> {
        if self.appends.len() >= WATCHED_MAX && !self.appends.contains_key(&id) {
            return Err(format!("more than {WATCHED_MAX} partitions are watched here").into());
        }
        let appends = self.appends.entry(id).or_default();
        appends.appended += appends.seen.map_or(0, |seen| since(seen, end, chain));
        appends.seen = Some((end.epoch, end.bytes));
        appends.records.note(now, end.commit.since(Offset::ZERO));
        appends.bytes.note(now, appends.appended);
        let rates = appends.records.rate().zip(appends.bytes.rate());
        let (records, bytes) = rates.ok_or_else(|| too_short("the partition"))?;
        Ok(Growth { records, bytes })
    }

    /// Forgets what nobody noted for long.
    pub(super) fn forget(&mut self, now: UptimeMs) {
        let is_new = |history: &History| {
            history.last_at().is_some_and(|at| now.since(at) <= pace::WINDOW_MS)
        };
        self.reads.retain(|_, history| is_new(history));
        self.appends.retain(|_, appends| is_new(&appends.records));
    }
}

fn too_short(what: &str) -> Arc<str> {
    format!("{what} was watched for less than {} s", pace::RATE_OVER_MIN_MS / 1_000).into()
}

/// Bytes that were appended since the segment `epoch` was open and had `bytes`. Where it is deleted
/// already it is what is there of the later ones.
fn since((epoch, bytes): (Epoch, u64), end: &End, chain: &Chain) -> u64 {
    if epoch == end.epoch {
        return end.bytes.saturating_sub(bytes);
    }
    let sealed = chain.sealed().iter().filter(|(key, _)| key.epoch >= epoch);
    let of = |key: Epoch, has: u64| if key == epoch { has.saturating_sub(bytes) } else { has };
    end.bytes + sealed.map(|(key, sealed)| of(key.epoch, sealed.bytes)).sum::<u64>()
}
