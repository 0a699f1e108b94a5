//! Where in a segment's log its batches are: a sparse table, kept while the segment is in use.
//!
//! One entry about every [`IndexConfig`](crate::store::StoreConfig::index_interval_bytes) bytes
//! of log. A lookup gives a place at or before what is looked for, and the reader walks batch
//! headers from there. Owns no file: `index_file.rs` stores the entries, `scan.rs` makes them
//! anew from the log.

use walrus_types::{Offset, TimestampMs};

/// A batch boundary in a segment: an offset, where its batch lies, and what came before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Base offset of the batch that starts here, or would.
    pub(crate) offset: Offset,
    /// Where in the log that is.
    pub(crate) position: u64,
    /// The greatest timestamp of all batches before this place, [`TimestampMs::NONE`] when there
    /// are none.
    pub(crate) max_before: TimestampMs,
}

/// The table.
///
/// Invariant: entries rise strictly in offset and position, never fall in timestamp, and all lie
/// at or past `covers_from`.
#[derive(Debug, Clone)]
pub(crate) struct Index {
    entries: Vec<Spot>,
    /// Batches before this position are not in the table; they are to be loaded from the disk.
    covers_from: u64,
    interval_bytes: u64,
    /// How many entries, from the first, are in the index file.
    pub(crate) stored: usize,
}

impl Index {
    /// An empty table for the part of the log from `covers_from` on.
    pub(crate) fn new(covers_from: u64, interval_bytes: u64) -> Self {
        Self { entries: Vec::new(), covers_from, interval_bytes, stored: 0 }
    }

    /// Whether the whole log is covered, from its first byte.
    pub(crate) const fn is_whole(&self) -> bool {
        self.covers_from == 0
    }

    /// Where the covered part begins.
    pub(crate) const fn covers_from(&self) -> u64 {
        self.covers_from
    }

    /// A batch lies at `spot`: makes an entry of it when the last one is far enough back.
    pub(crate) fn note(&mut self, spot: Spot) {
        let far = match self.entries.last() {
            Some(last) => spot.position >= last.position + self.interval_bytes,
            None => true,
        };
        if far {
            self.push(spot);
        }
    }

    /// As [`Index::note`], for a walk that began at `start`, whose entry may be there already.
    pub(crate) fn note_after(&mut self, start: Spot, spot: Spot) {
        if spot.position > start.position || self.entries.is_empty() {
            self.note(spot);
        }
    }

    /// Adds an entry as it was stored.
    pub(crate) fn push(&mut self, spot: Spot) {
        if let Some(last) = self.entries.last() {
            assert!(
                last.offset < spot.offset && last.position < spot.position,
                "index entry {spot:?} after {last:?}"
            );
        }
        self.entries.push(spot);
    }

    /// The last entry at or before `offset`.
    pub(crate) fn before_offset(&self, offset: Offset) -> Option<Spot> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// The entry from which the first batch with a timestamp of at least `at` is found by
    /// walking on.
    pub(crate) fn before_timestamp(&self, at: TimestampMs) -> Option<Spot> {
        let after = self.entries.partition_point(|entry| entry.max_before < at);
        after.checked_sub(1).map(|at| self.entries[at])
    }

    /// Forgets everything at or past `position`.
    pub(crate) fn cut(&mut self, position: u64) {
        let kept = self.entries.partition_point(|entry| entry.position < position);
        self.entries.truncate(kept);
        self.stored = self.stored.min(kept);
        self.covers_from = self.covers_from.min(position);
    }

    /// Puts the part that was loaded from the disk before what is there.
    pub(crate) fn join(&mut self, loaded: Self) {
        let from = self.covers_from;
        let mut entries = loaded.entries;
        let stored = loaded.stored;
        entries.retain(|entry| entry.position < from);
        let stored = stored.min(entries.len());
        entries.append(&mut self.entries);
        *self = Self { entries, covers_from: loaded.covers_from, stored, ..*self };
    }

    /// Entries before `position`.
    pub(crate) fn entries_before(&self, position: u64) -> &[Spot] {
        &self.entries[..self.entries.partition_point(|entry| entry.position < position)]
    }

    /// Entries that are not in the index file yet and lie before `position`.
    pub(crate) fn unstored(&self, position: u64) -> &[Spot] {
        let end = self.entries.partition_point(|entry| entry.position < position);
        &self.entries[self.stored.min(end)..end]
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<Spot> {
        self.entries.last().copied()
    }

    /// Where the last entry lies that is in the index file.
    pub(crate) fn last_stored_position(&self) -> Option<u64> {
        self.stored.checked_sub(1).map(|at| self.entries[at].position)
    }

    /// Bytes of memory that the entries take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Spot>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(offset: i64, position: u64, max_before: i64) -> Spot {
        Spot { offset: Offset(offset), position, max_before: TimestampMs(max_before) }
    }

    fn index() -> Index {
        let mut index = Index::new(0, 100);
        for (offset, position, max) in
            [(0, 0, -1), (1, 50, 5), (2, 100, 5), (5, 199, 9), (6, 210, 9), (9, 400, 30)]
        {
            index.note(spot(offset, position, max));
        }
        index
    }

    #[test]
    fn entries_are_an_interval_apart() {
        let positions: Vec<u64> = index().unstored(u64::MAX).iter().map(|e| e.position).collect();
        assert_eq!(positions, [0, 100, 210, 400]);
    }

    #[test]
    fn a_lookup_gives_the_last_place_that_is_not_past() {
        let index = index();
        for (offset, position) in [(0, 0), (1, 0), (2, 100), (5, 100), (6, 210), (1000, 400)] {
            let found = index.before_offset(Offset(offset)).map(|entry| entry.position);
            assert_eq!(found, Some(position), "offset {offset}");
        }
        assert_eq!(Index::new(0, 100).before_offset(Offset(0)), None);
    }

    #[test]
    fn a_timestamp_is_looked_for_from_the_last_place_before_which_all_are_less() {
        let index = index();
        for (at, position) in [(0, 0), (5, 0), (6, 100), (9, 100), (10, 210), (30, 210), (31, 400)]
        {
            let found = index.before_timestamp(TimestampMs(at)).map(|entry| entry.position);
            assert_eq!(found, Some(position), "timestamp {at}");
        }
    }

    #[test]
    fn a_cut_forgets_what_lies_past_it() {
        let mut index = index();
        index.stored = 3;
        index.cut(210);
        assert_eq!(index.last().map(|entry| entry.position), Some(100));
        assert_eq!(index.stored, 2);
    }

    #[test]
    fn a_loaded_part_goes_before_what_is_there() {
        let mut tail = Index::new(150, 100);
        tail.note(spot(6, 210, 9));
        let mut loaded = index();
        loaded.stored = 4;
        tail.join(loaded);
        let positions: Vec<u64> = tail.entries.iter().map(|e| e.position).collect();
        assert_eq!((positions, tail.stored, tail.is_whole()), (vec![0, 100, 210], 2, true));
    }
}
