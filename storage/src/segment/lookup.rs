//! Questions about a segment's batches: all headers, the one of an offset, the first of a time, the
//! latest.

use bytes::Bytes;
use walrus_types::{
    Offset, TimestampMs,
    batch::{self, BatchHeader},
};

use super::{
    ReadError, Segment,
    index::Spot,
    read::CHUNK_BYTES_MAX,
    sizes::{in_file, in_memory},
};

/// Whether a walk goes on.
enum Walk {
    On,
    Done,
}

impl Segment {
    /// Shows every batch header of `[from, end)` in order, for rebuilding what is derived from
    /// them; reads the disk.
    ///
    /// # Errors
    /// [`ReadError`], when not all could be shown.
    pub fn headers(
        &self,
        from: Offset,
        end: Offset,
        each: &mut dyn FnMut(&BatchHeader),
    ) -> Result<(), ReadError> {
        self.walk(from, end, &mut |header, _| {
            each(header);
            Walk::On
        })
    }

    /// The header of the batch that holds `offset`, and how many bytes of the log lie before it;
    /// `None` when no whole batch below `end` does. May read the disk.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn batch_at(
        &self,
        offset: Offset,
        end: Offset,
    ) -> Result<Option<(u64, BatchHeader)>, ReadError> {
        self.load()?;
        let Spot { offset: mut from, mut position, .. } =
            self.indexed(|index| index.before_offset(offset));
        let step = in_memory(self.shared.config.index_interval_bytes);
        loop {
            let chunk = self.read(from, end, step)?;
            if chunk.bytes.is_empty() {
                return Ok(None);
            }
            for item in chunk.bytes.iter().flat_map(|bytes| batch::batches(bytes)) {
                let (header, _) = item.expect("a read gives whole, checked batches");
                if header.end() > offset {
                    return Ok(Some((position, header)));
                }
                position += in_file(header.batch_bytes);
            }
            from = chunk.next;
        }
    }

    /// The first batch below `end` whose greatest timestamp is at least `at`; may read the disk.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn find_timestamp(&self, at: TimestampMs, end: Offset) -> Result<Option<Bytes>, ReadError> {
        if self.load()?.max_timestamp < at {
            return Ok(None);
        }
        let from = self.indexed(|index| index.before_timestamp(at));
        let mut found = None;
        self.walk(from.offset, end, &mut |header, batch| {
            if header.max_timestamp < at {
                return Walk::On;
            }
            found = Some(batch);
            Walk::Done
        })?;
        Ok(found)
    }

    /// The greatest timestamp of the batches below `end`, and the first batch that has it; may
    /// read the disk.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn max_timestamp(&self, end: Offset) -> Result<Option<(TimestampMs, Bytes)>, ReadError> {
        let extent = self.load()?;
        let mut greatest = extent.max_timestamp;
        if end < extent.end {
            let from = self.indexed(|index| index.before_offset(end));
            greatest = from.max_before;
            self.walk(from.offset, end, &mut |header, _| {
                greatest = greatest.max(header.max_timestamp);
                Walk::On
            })?;
        }
        let batch = self.find_timestamp(greatest, end)?;
        Ok(batch.map(|batch| (greatest, batch)))
    }

    /// Asks the index, which is loaded.
    fn indexed(&self, ask: impl FnOnce(&super::index::Index) -> Option<Spot>) -> Spot {
        let state = self.state.lock();
        let spot = state.work.as_ref().and_then(|work| ask(&work.index));
        spot.unwrap_or(self.first_spot())
    }

    fn walk(
        &self,
        from: Offset,
        end: Offset,
        each: &mut dyn FnMut(&BatchHeader, Bytes) -> Walk,
    ) -> Result<(), ReadError> {
        let mut from = from.max(self.id.base);
        loop {
            let chunk = self.read(from, end, CHUNK_BYTES_MAX)?;
            if chunk.bytes.is_empty() {
                return Ok(());
            }
            for bytes in &chunk.bytes {
                for item in batch::batches(bytes) {
                    let (header, batch) = item.expect("a read gives whole, checked batches");
                    if matches!(each(&header, bytes.slice_ref(batch)), Walk::Done) {
                        return Ok(());
                    }
                }
            }
            from = chunk.next;
        }
    }
}
