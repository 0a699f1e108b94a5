//! What a segment is at a moment: how far it got, and what of it is in memory.
//!
//! ```text
//!  0           tail start      written        durable      position (= end)
//!  |  in the file   | in both      |  in the WAL  |  on its way to the WAL
//!  +----------------+--------------+--------------+---------------------> bytes of the log
//!                   |<----------- hot tail ------------------------->|
//! ```
//!
//! Owns the marks and the rule that moves each. Owns no lock and does no I/O.

use std::collections::VecDeque;

use bytes::Bytes;
use twox_hash::XxHash3_128;
use walrus_types::{Offset, TimestampMs};

use super::{index::Index, index::Spot, sizes::in_file};

/// What is known of a segment's extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The end: offset and byte position, and the greatest timestamp of all before it.
    pub(crate) end: Spot,
    pub(crate) sealed: bool,
    /// The last bytes of the file are damaged; `end` is only where they begin.
    pub(crate) end_damaged: bool,
    pub(crate) digest: Option<u128>,
}

impl Known {
    /// A segment that has nothing yet.
    pub(crate) const fn empty(base: Offset) -> Self {
        let end = Spot { offset: base, position: 0, max_before: TimestampMs::NONE };
        Self { end, sealed: false, end_damaged: false, digest: None }
    }
}

/// A batch of the hot tail.
#[derive(Debug, Clone)]
pub(crate) struct TailBatch {
    pub(crate) spot: Spot,
    pub(crate) bytes: Bytes,
}

impl TailBatch {
    pub(crate) fn end_position(&self) -> u64 {
        self.spot.position + in_file(self.bytes.len())
    }
}

/// A hash of the log from its first byte to `position`.
pub(crate) struct Digest {
    pub(crate) hasher: Box<XxHash3_128>,
    pub(crate) position: u64,
}

/// What of the index is in its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexFile {
    /// Not looked at in this life of the handle.
    Unknown,
    /// Blocks up to here are whole and fit the log.
    Whole(u64),
    /// Some of its entries were cut off the log: it is written anew.
    Stale,
}

/// What a segment keeps in memory while it is in use.
///
/// Invariant: `tail start <= written <= durable <= known.end.position`, the tail is without gaps
/// up to the end, and the index covers everything from `index.covers_from()` on.
pub(crate) struct Work {
    pub(crate) tail: VecDeque<TailBatch>,
    /// Up to here the WAL has it.
    pub(crate) durable: u64,
    /// Up to here the file has it (in the page cache).
    pub(crate) written: u64,
    /// The writer is writing up to here; a cut in the meantime moves it back.
    pub(crate) writing: Option<u64>,
    /// Cuts that are in memory and not yet in the WAL.
    pub(crate) cuts_pending: u32,
    /// A cut that is durable in the WAL: the file is to be cut here before it grows.
    pub(crate) file_cut: Option<u64>,
    pub(crate) index: Index,
    pub(crate) index_file: IndexFile,
    pub(crate) digest: Option<Digest>,
    /// The newest state, until it is in its file, and how many were given so far.
    pub(crate) state: Option<Bytes>,
    pub(crate) state_number: u64,
    /// The newest one that is durable in the WAL and not yet in the file, with its number.
    pub(crate) state_durable: Option<(u64, Bytes)>,
    /// The seal is durable in the WAL.
    pub(crate) seal_durable: bool,
    /// The footer is in the index file.
    pub(crate) footer_written: bool,
    /// It stands in the writer's list.
    pub(crate) dirty: bool,
    /// Used since the last sweep.
    pub(crate) touched: bool,
    /// Where the last reads from the file ended: a consumer goes on there.
    pub(crate) hints: [Option<Spot>; 2],
}

impl Work {
    /// For a log whose bytes are all in its file, up to `position`.
    pub(crate) fn at_rest(position: u64, interval_bytes: u64) -> Self {
        Self {
            tail: VecDeque::new(),
            durable: position,
            written: position,
            writing: None,
            cuts_pending: 0,
            file_cut: None,
            index: Index::new(position, interval_bytes),
            index_file: IndexFile::Unknown,
            digest: (position == 0).then(|| Digest { hasher: Box::default(), position: 0 }),
            state: None,
            state_number: 0,
            state_durable: None,
            seal_durable: false,
            footer_written: false,
            dirty: false,
            touched: true,
            hints: [None; 2],
        }
    }

    /// Bytes of the tail.
    pub(crate) fn tail_bytes(&self, end: u64) -> u64 {
        self.tail.front().map_or(0, |first| end - first.spot.position)
    }

    /// A cut at `at` is durable in the WAL.
    pub(crate) fn cut_made_durable(&mut self, at: u64) {
        self.cuts_pending -= 1;
        self.file_cut = Some(self.file_cut.unwrap_or(at).min(at));
    }

    /// Forgets everything at or past `at`, all of which is in the file.
    ///
    /// Were a batch dropped that only the WAL has, the WAL could be freed behind it and the power
    /// go before the cut's own entry is durable: then the segment would have a hole.
    pub(crate) fn cut(&mut self, at: u64) {
        while self.tail.back().is_some_and(|batch| batch.spot.position >= at) {
            self.tail.pop_back();
        }
        self.cuts_pending += 1;
        self.durable = self.durable.min(at);
        self.written = self.written.min(at);
        self.writing = self.writing.map(|writing| writing.min(at));
        if self.index.last_stored_position().is_some_and(|stored| stored >= at) {
            self.index_file = IndexFile::Stale;
        }
        self.index.cut(at);
        if self.digest.as_ref().is_some_and(|digest| digest.position > at) {
            self.digest = None;
        }
        for hint in &mut self.hints {
            *hint = hint.filter(|spot| spot.position <= at);
        }
    }

    /// Drops written batches up to `to` from memory; answers how many bytes that were.
    pub(crate) fn evict(&mut self, to: u64) -> u64 {
        let to = to.min(self.written);
        let mut bytes = 0;
        while let Some(first) = self.tail.front()
            && first.end_position() <= to
        {
            bytes += in_file(first.bytes.len());
            self.tail.pop_front();
        }
        if self.tail.is_empty() {
            self.tail.shrink_to_fit();
        }
        bytes
    }

    /// Whether nothing is to be done for it and nobody has used it for a while.
    pub(crate) fn is_at_rest(&self, end: u64) -> bool {
        self.written == end
            && self.writing.is_none()
            && self.cuts_pending == 0
            && self.file_cut.is_none()
            && self.state.is_none()
            && !self.dirty
    }

    /// Where a read of `offset` from the file may begin.
    pub(crate) fn start_for(&self, offset: Offset) -> Option<Spot> {
        let hint = self.hints.iter().flatten().find(|spot| spot.offset == offset);
        hint.copied().or_else(|| self.index.before_offset(offset))
    }

    /// Remembers where a read ended, in the place of the hint it started from.
    pub(crate) fn remember(&mut self, started: Offset, ended: Spot) {
        let own = |hint: &&mut Option<Spot>| hint.is_none_or(|spot| spot.offset == started);
        let place = self.hints.iter_mut().find(|hint| own(hint));
        if let Some(place) = place {
            *place = Some(ended);
        } else {
            self.hints.rotate_left(1);
            self.hints[1] = Some(ended);
        }
    }
}

impl std::fmt::Debug for Work {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work")
            .field("tail", &self.tail.len())
            .field("written", &self.written)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

/// Everything under a segment's lock.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Nothing until the disk was asked.
    pub(crate) known: Option<Known>,
    pub(crate) work: Option<Box<Work>>,
    /// Its files were pruned.
    pub(crate) gone: bool,
    /// The writer has a handle of it in its list.
    pub(crate) listed: bool,
    /// How often it was cut in this life of the handle.
    pub(crate) cuts: u32,
}
