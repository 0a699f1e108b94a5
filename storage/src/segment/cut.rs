//! Sealing and truncating: the two ways in which a segment loses what lies past an offset.
//!
//! Both are in memory at once and travel through the WAL behind the appends they cut off, so a
//! restart does them again in the same order. The file is cut by the background writer once the
//! WAL has the entry.

use std::sync::Arc;

use walrus_types::{Offset, batch};

use super::{CutError, Extent, ReadError, Segment, index::Spot, sizes::in_file, state::Known};
use crate::{
    store::entry,
    wal::{AppendRefused, Done},
};

/// What a cut does besides cutting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CutKind {
    Truncate,
    Seal,
}

/// What became of a cut.
enum CutAt {
    Done(Extent),
    /// Something was appended or cut in between: look again.
    Changed,
    /// What is to be cut off is not in the file yet.
    Unwritten,
}

impl Segment {
    /// Fixes the segment's end for good: what lies past `end` is cut, later appends are refused,
    /// and the index file is written in the background. Doing it again changes nothing.
    ///
    /// The seal is durable with everything appended to the WAL after it; a crash before that
    /// leaves the segment open, and whoever decided the end asks again. Quick when `end` is the
    /// segment's own; else it blocks until what is cut off was written and its place is read.
    ///
    /// # Errors
    /// [`CutError`]; nothing was changed then.
    pub fn seal(self: &Arc<Self>, end: Offset) -> Result<Extent, CutError> {
        self.seal_then(end, Box::new(|_durable_or_asked_again| {}))
    }

    /// As [`Segment::seal`]; `done` is called when the seal is durable, unless it was there
    /// already.
    ///
    /// # Errors
    /// As [`Segment::seal`].
    pub fn seal_then(self: &Arc<Self>, end: Offset, done: Done) -> Result<Extent, CutError> {
        self.cut(end, CutKind::Seal, done)
    }

    /// Cuts the tail of an open segment: it ends at `end` then, and goes on from there. Blocks as
    /// [`Segment::seal`].
    ///
    /// # Errors
    /// [`CutError`]; nothing was changed then.
    pub fn truncate(self: &Arc<Self>, end: Offset, done: Done) -> Result<Extent, CutError> {
        self.cut(end, CutKind::Truncate, done)
    }

    fn cut(self: &Arc<Self>, end: Offset, kind: CutKind, done: Done) -> Result<Extent, CutError> {
        self.shared.check()?;
        let mut done = Some(done);
        loop {
            let known = self.known()?;
            let segment = self.id;
            if known.sealed && end != known.end.offset {
                return Err(CutError::Sealed { segment, end: known.end.offset, given: end });
            }
            if known.sealed {
                return Ok(Self::extent(&known));
            }
            if end > known.end.offset || end < segment.base {
                return Err(CutError::Short { segment, end: known.end.offset, given: end });
            }
            if known.end_damaged && end == known.end.offset && kind == CutKind::Seal {
                return Err(CutError::Unreadable(self.damaged_end(&known)));
            }
            let spot = self.find_boundary(&known, end)?;
            match self.cut_at(spot, &known, kind, &mut done)? {
                CutAt::Done(extent) => return Ok(extent),
                CutAt::Changed => {}
                CutAt::Unwritten => self.shared.wait_for_writer()?,
            }
        }
    }

    /// Cuts at `spot` if the segment is still what it was when `spot` was found.
    fn cut_at(
        self: &Arc<Self>,
        spot: Spot,
        seen: &Known,
        kind: CutKind,
        done: &mut Option<Done>,
    ) -> Result<CutAt, CutError> {
        let mut state = self.state.lock();
        if state.gone {
            return Err(ReadError::Gone(self.id).into());
        }
        if state.known.as_ref() != Some(seen) {
            return Ok(CutAt::Changed);
        }
        let work = self.work(&mut state);
        if spot.position < seen.end.position && work.written < seen.end.position {
            return Ok(CutAt::Unwritten);
        }
        let entry = match kind {
            CutKind::Seal => entry::seal(self.id, spot),
            CutKind::Truncate => entry::truncate(self.id, spot),
        };
        let segment = Arc::clone(self);
        let (at, mut user) = (spot.position, done.take());
        let on_done: Done = Box::new(move |result| {
            if let Ok(lsn) = &result {
                segment.shared.progress.durable_up_to(*lsn);
                segment.cut_made_durable(kind, at);
            }
            if let Some(user) = user.take() {
                user(result);
            }
        });
        self.shared.wal.append(entry, on_done).map_err(|refused| match refused {
            AppendRefused::Full | AppendRefused::TooLarge { .. } => CutError::Busy,
            AppendRefused::Failed(failed) => CutError::Failed(failed.into()),
        })?;
        let held = work.tail_bytes(seen.end.position);
        work.cut(spot.position);
        work.touched = true;
        let held_now = work.tail_bytes(spot.position);
        self.shared.budget.forget(held - held_now, 0);
        let known =
            Known { end: spot, sealed: kind == CutKind::Seal, end_damaged: false, digest: None };
        state.known = Some(known);
        state.cuts = state.cuts.wrapping_add(1);
        Ok(CutAt::Done(Self::extent(&known)))
    }

    fn cut_made_durable(self: &Arc<Self>, kind: CutKind, at: u64) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        let work = self.work(&mut state);
        work.cut_made_durable(at);
        work.seal_durable |= kind == CutKind::Seal;
        self.mark_dirty(state);
    }

    /// The place of the batch boundary `end`, which lies within the segment.
    fn find_boundary(self: &Arc<Self>, known: &Known, end: Offset) -> Result<Spot, CutError> {
        if end == known.end.offset {
            return Ok(known.end);
        }
        self.load()?;
        let start = {
            let state = self.state.lock();
            let work = state.work.as_ref();
            let tail = work.and_then(|work| {
                let at = work.tail.partition_point(|batch| batch.spot.offset < end);
                work.tail.get(at).map(|batch| batch.spot).filter(|spot| spot.offset == end)
            });
            if let Some(spot) = tail {
                return Ok(spot);
            }
            work.and_then(|work| work.index.before_offset(end))
        };
        let mut spot = start.unwrap_or(Known::empty(self.id.base).end);
        while spot.offset < end {
            let chunk = self.read(spot.offset, end, 256 << 10)?;
            for bytes in &chunk.bytes {
                for item in batch::batches(bytes) {
                    let (header, batch) = item.expect("a read gives whole, checked batches");
                    if header.end() > end {
                        let (segment, boundary) = (self.id, header.end());
                        return Err(CutError::InsideBatch { segment, given: end, boundary });
                    }
                    spot.offset = header.end();
                    spot.position += in_file(batch.len());
                    spot.max_before = spot.max_before.max(header.max_timestamp);
                }
            }
            if chunk.bytes.is_empty() {
                // The batch that holds `end` starts before it and is not read below it.
                let boundary = known.end.offset;
                return Err(CutError::InsideBatch { segment: self.id, given: end, boundary });
            }
        }
        Ok(spot)
    }
}
