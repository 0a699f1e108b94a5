//! Records by their time: first what the chain knows of its segments, then what a segment's index
//! knows of its batches, then the records of one batch.
//!
//! A batch's header is what its producer wrote. One that promises a younger record than it has
//! costs a longer search; one whose records cannot be read stands for its first offset, so that a
//! reader that starts there misses nothing.

use std::sync::Arc;

use tracing::debug;
use walrus_metadata::{Partition as Chain, Segment as Link};
use walrus_storage::{
    segment::{Held, Purpose, Segment},
    store::Store,
};
use walrus_types::{
    Offset, TimestampMs, TopicPartition,
    batch::{self, BatchHeader},
};
use walrus_wire::records::{Record, Records, RecordsError};

use crate::partition::read::{FetchFailure, segment_id};

/// Read at once while batches are walked.
const CHUNK_BYTES: usize = 1 << 20;
/// What a batch's records may grow to; one that is greater stands for its first offset. With
/// [`super::SEARCHES_MAX`] it bounds what all searches hold.
const INFLATED_BYTES_MAX: usize = 32 << 20;

/// A record's place and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: Offset,
    pub(super) timestamp: TimestampMs,
}

impl Found {
    /// An offset that is not asked for by a record's time.
    pub(super) const fn untimed(offset: Offset) -> Self {
        Self { offset, timestamp: TimestampMs::NONE }
    }
}

/// The part of a partition that may be read.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) store: Store,
    pub(super) id: TopicPartition,
    pub(super) chain: Arc<Chain>,
    /// The log start.
    pub(super) start: Offset,
    /// The commit offset.
    pub(super) end: Offset,
}

impl Log {
    /// The first record that is not older than `at`.
    pub(super) fn first_at(&self, at: TimestampMs) -> Result<Option<Found>, FetchFailure> {
        for link in self.chain.chain() {
            let old = matches!(link, Link::Sealed(_, sealed) if sealed.max_timestamp < at);
            if old || link.key().base >= self.end {
                continue;
            }
            let found = self.first_in(link, at)?;
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    fn first_in(&self, link: Link<'_>, at: TimestampMs) -> Result<Option<Found>, FetchFailure> {
        let (segment, from, end) = self.open(link)?;
        let Some(batch) = segment.find_timestamp(at, end)? else { return Ok(None) };
        let header = header(&batch)?;
        let found = if header.end() > from { first_of(&batch, &header, from, at) } else { None };
        if found.is_some() {
            return Ok(found);
        }
        // Below the log start, or not what its header promised: the batches after it.
        let mut found = None;
        walk(&segment, from.max(header.end()), end, &mut |header, batch| {
            if header.max_timestamp >= at {
                found = first_of(batch, header, from, at);
            }
            found.is_none()
        })?;
        Ok(found)
    }

    /// The first of the records with the greatest timestamp.
    pub(super) fn youngest(&self) -> Result<Option<Found>, FetchFailure> {
        // The segment that the log starts in may be young for a record that was deleted, so it is
        // read, if it could be the one at all.
        let (mut best, mut cut) = (None, None);
        for link in self.chain.chain() {
            let Some(youngest) = self.youngest_claimed(link)? else { continue };
            if link.key().base < self.start {
                cut = Some((youngest, link));
            } else if best.is_none_or(|(best, _)| youngest > best) {
                best = Some((youngest, link));
            }
        }
        let kept = best.map(|(_, link)| self.youngest_whole(link)).transpose()?.flatten();
        let Some((claimed, link)) = cut else { return Ok(kept) };
        if kept.is_some_and(|kept| kept.timestamp > claimed) {
            return Ok(kept);
        }
        let (segment, from, end) = self.open(link)?;
        let read = youngest_read(&segment, from, end)?;
        Ok(match (read, kept) {
            // Of two alike the first counts, and the cut segment is the first of the chain.
            (Some(read), Some(kept)) if kept.timestamp > read.timestamp => Some(kept),
            (read, kept) => read.or(kept),
        })
    }

    /// The greatest timestamp that a segment's batches claim.
    fn youngest_claimed(&self, link: Link<'_>) -> Result<Option<TimestampMs>, FetchFailure> {
        let claimed = match link {
            Link::Sealed(_, sealed) => Some(sealed.max_timestamp),
            Link::Open(open) if open.key.base >= self.end => None,
            Link::Open(_) => {
                let (segment, _, end) = self.open(link)?;
                segment.max_timestamp(end)?.map(|(claimed, _batch)| claimed)
            }
        };
        // What has no timestamp is not the youngest.
        Ok(claimed.filter(|claimed| *claimed > TimestampMs::NONE))
    }

    fn youngest_whole(&self, link: Link<'_>) -> Result<Option<Found>, FetchFailure> {
        let (segment, from, end) = self.open(link)?;
        let Some((_, batch)) = segment.max_timestamp(end)? else { return Ok(None) };
        Ok(youngest_of(&batch, &header(&batch)?, from))
    }

    /// A segment, and what of it may be read.
    fn open(&self, link: Link<'_>) -> Result<(Held, Offset, Offset), FetchFailure> {
        let segment = self.store.segment_for(segment_id(self.id, link), Purpose::Lookup, None);
        let end = link.end().unwrap_or(self.end).min(self.end);
        Ok((segment, self.start.max(link.key().base), end))
    }
}

/// Looks at every batch of `[from, end)`.
fn youngest_read(
    segment: &Segment,
    from: Offset,
    end: Offset,
) -> Result<Option<Found>, FetchFailure> {
    let mut best: Option<Found> = None;
    walk(segment, from, end, &mut |header, batch| {
        if best.is_none_or(|best| header.max_timestamp > best.timestamp)
            && let Some(found) = youngest_of(batch, header, from)
            && best.is_none_or(|best| found.timestamp > best.timestamp)
            && found.timestamp > TimestampMs::NONE
        {
            best = Some(found);
        }
        true
    })?;
    Ok(best)
}

/// Shows the batches of `[from, end)` in order, until `each` says that it has seen enough.
fn walk(
    segment: &Segment,
    mut from: Offset,
    end: Offset,
    each: &mut dyn FnMut(&BatchHeader, &[u8]) -> bool,
) -> Result<(), FetchFailure> {
    while from < end {
        let chunk = segment.read(from, end, CHUNK_BYTES)?;
        if chunk.next <= from {
            break;
        }
        for bytes in &chunk.bytes {
            for item in batch::batches(bytes) {
                let (header, batch) =
                    item.map_err(|why| FetchFailure::Damaged(why.to_string().into()))?;
                if !each(&header, batch) {
                    return Ok(());
                }
            }
        }
        from = chunk.next;
    }
    Ok(())
}

fn header(batch: &[u8]) -> Result<BatchHeader, FetchFailure> {
    BatchHeader::parse(batch).map_err(|why| FetchFailure::Damaged(why.to_string().into()))
}

/// The first record of a batch from `from` on that is not older than `at`.
fn first_of(batch: &[u8], header: &BatchHeader, from: Offset, at: TimestampMs) -> Option<Found> {
    let mut first = None;
    let read = each_record(batch, from, |record| {
        if record.timestamp >= at {
            first = Some(Found { offset: record.offset, timestamp: record.timestamp });
        }
        first.is_none()
    });
    if read { first } else { Some(unreadable(header, from)) }
}

/// The first of a batch's youngest records from `from` on.
fn youngest_of(batch: &[u8], header: &BatchHeader, from: Offset) -> Option<Found> {
    let mut best: Option<Found> = None;
    let read = each_record(batch, from, |record| {
        if best.is_none_or(|best| record.timestamp > best.timestamp) {
            best = Some(Found { offset: record.offset, timestamp: record.timestamp });
        }
        true
    });
    if read { best } else { Some(unreadable(header, from)) }
}

fn unreadable(header: &BatchHeader, from: Offset) -> Found {
    Found { offset: header.base_offset.max(from), timestamp: header.max_timestamp }
}

/// Shows a batch's records from `from` on until `each` has seen enough; false when they cannot be
/// read.
fn each_record(batch: &[u8], from: Offset, mut each: impl FnMut(&Record<'_>) -> bool) -> bool {
    let mut walk = || -> Result<(), RecordsError> {
        let records = Records::decode(batch, INFLATED_BYTES_MAX)?;
        for record in &records {
            let record = record?;
            if record.offset >= from && !each(&record) {
                break;
            }
        }
        Ok(())
    };
    let walked = walk();
    if let Err(why) = &walked {
        debug!(%why, "a batch's records cannot be read");
    }
    walked.is_ok()
}

#[cfg(test)]
mod tests;
