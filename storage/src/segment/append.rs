//! Appending: one batch, at the end, into the WAL and the hot tail.

use std::sync::Arc;

use bytes::Bytes;
use walrus_types::{
    Offset,
    batch::{BatchError, BatchHeader},
};

use super::{
    AppendError, Segment,
    index::Spot,
    sizes::in_file,
    state::{State, TailBatch},
};
use crate::{
    store::entry,
    wal::{AppendRefused, Done},
};

impl Segment {
    /// Appends one batch, whose base offset and epoch are set, and answers the segment's new end.
    ///
    /// `done` is called when the batch is durable, in the order of appends, on the WAL's thread:
    /// it must be short and must not wait. The first append after a restart may read the disk;
    /// [`Segment::load`] does that beforehand. The batch's CRC is its sender's and was checked
    /// when it came in; it is checked again when the batch is read back from the disk.
    ///
    /// # Errors
    /// [`AppendError`]; nothing was written then and `done` is not called.
    pub fn append(self: &Arc<Self>, batch: Bytes, done: Done) -> Result<Offset, AppendError> {
        let header = self.check_batch(&batch)?;
        self.shared.check()?;
        self.known()?;
        let bytes = in_file(batch.len());
        if !self.shared.budget.may_hold(bytes) {
            return Err(AppendError::Busy);
        }
        if !self.shared.reserve.take(bytes) {
            return Err(AppendError::Full);
        }
        let mut state = self.state.lock();
        let appended = self.append_locked(&mut state, &header, batch, done);
        drop(state);
        if appended.is_err() {
            self.shared.reserve.give_back(bytes);
        }
        appended
    }

    fn check_batch(&self, batch: &[u8]) -> Result<BatchHeader, AppendError> {
        let not_one = |source| AppendError::NotABatch { segment: self.id, source };
        let header = BatchHeader::parse(batch).map_err(not_one)?;
        if header.batch_bytes != batch.len() {
            let (needed, given) = (header.batch_bytes, batch.len());
            return Err(not_one(BatchError::Truncated { needed, given }));
        }
        if header.last_offset_delta < 0 {
            let (records, last_delta) = (header.record_count, header.last_offset_delta);
            return Err(not_one(BatchError::Count { records, last_delta }));
        }
        if header.epoch != self.id.epoch {
            return Err(AppendError::OtherEpoch { segment: self.id, given: header.epoch });
        }
        Ok(header)
    }

    /// The order of appends is decided here, under the segment's lock, for the WAL and for the
    /// hot tail alike.
    fn append_locked(
        self: &Arc<Self>,
        state: &mut parking_lot::MutexGuard<'_, State>,
        header: &BatchHeader,
        batch: Bytes,
        done: Done,
    ) -> Result<Offset, AppendError> {
        let segment = self.id;
        if state.gone {
            return Err(AppendError::Gone(segment));
        }
        let known = state.known.expect("it was loaded, and what is known is never unknown again");
        let spot = known.end;
        if known.sealed {
            return Err(AppendError::Sealed { segment, end: spot.offset });
        }
        if known.end_damaged {
            return Err(AppendError::Unreadable(self.damaged_end(&known)));
        }
        if header.base_offset != spot.offset {
            let (expected, given) = (spot.offset, header.base_offset);
            return Err(AppendError::NotNext { segment, expected, given });
        }
        let bytes = in_file(batch.len());
        let end = Spot {
            offset: header.end(),
            position: spot.position + bytes,
            max_before: spot.max_before.max(header.max_timestamp),
        };
        let entry = entry::append(segment, spot, end.offset, batch.clone());
        let appended = self.shared.wal.append(entry, self.on_durable(end.position, done));
        appended.map_err(|refused| match refused {
            AppendRefused::Full => AppendError::Busy,
            AppendRefused::Failed(failed) => AppendError::Failed(failed.into()),
            AppendRefused::TooLarge { bytes, bytes_max } => {
                AppendError::TooLarge { segment, bytes, bytes_max }
            }
        })?;
        let work = self.work(state);
        work.tail.push_back(TailBatch { spot, bytes: batch });
        work.index.note(spot);
        work.touched = true;
        if let Some(known) = &mut state.known {
            known.end = end;
        }
        self.shared.budget.add(bytes);
        Ok(end.offset)
    }

    fn on_durable(self: &Arc<Self>, position: u64, done: Done) -> Done {
        let segment = Arc::clone(self);
        Box::new(move |result| {
            if let Ok(lsn) = &result {
                segment.shared.progress.durable_up_to(*lsn);
                segment.made_durable(position);
            }
            done(result);
        })
    }

    fn made_durable(self: &Arc<Self>, position: u64) {
        let mut state = self.state.lock();
        if state.gone {
            return;
        }
        let work = self.work(&mut state);
        // Only what is durable can be cut off, so this never moves back.
        let bytes = position - work.durable;
        work.durable = position;
        // Counted before the writer can see it: it counts it off again when it is written.
        self.shared.progress.add_durable(bytes);
        if !work.dirty {
            self.mark_dirty(state);
        }
    }
}
