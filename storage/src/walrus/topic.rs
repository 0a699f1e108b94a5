//! One topic of the embedded log: a chain of segments, and a cursor.
//!
//! Appends and reads have locks of their own. A segment is closed when it is large enough and
//! the next begins at its end; the cursor is kept as the state of a segment that has no log.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use walrus_types::{
    Epoch, Offset, PartitionIndex, SegmentId, TopicId, TopicPartition,
    batch::{self, BatchHeader, HEADER_BYTES},
    limits::BATCH_BYTES_MAX,
};

use super::{Entry, FsyncSchedule, Options, ReadConsistency, WalrusError, record};
use crate::{
    segment::{AppendError, Segment},
    store::Store,
    wal::{Done, Lsn, WalFailed},
};

/// How long an append waits for the background writer before it says that the log is busy.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of a segment at once.
const READ_BYTES: usize = 256 << 10;

/// See the file's header.
#[derive(Debug)]
pub(super) struct Topic {
    options: Options,
    writing: Mutex<Writing>,
    reading: Mutex<Reading>,
    /// Oldest first; the last one takes appends.
    chain: Mutex<Vec<SegmentId>>,
    /// Everything below is durable.
    durable_end: Arc<AtomicI64>,
    /// Holds the cursor.
    cursor_at: Arc<Segment>,
}

#[derive(Debug)]
struct Writing {
    segment: Arc<Segment>,
    /// Appends that may not be durable yet, oldest first.
    under_way: VecDeque<(Instant, Told)>,
}

type Told = mpsc::Receiver<Result<Lsn, WalFailed>>;

#[derive(Debug)]
struct Reading {
    cursor: Offset,
    /// Entries from the cursor on that were read already.
    ahead: VecDeque<Entry>,
    /// Read since the cursor was kept.
    unkept: u32,
}

impl Topic {
    pub(super) fn open(store: &Store, id: TopicId, options: Options) -> Result<Self, WalrusError> {
        let partition = TopicPartition { topic: id, partition: PartitionIndex(0) };
        let mut chain = store.segments_on_disk(partition).map_err(WalrusError::List)?;
        let first = chain.first().map_or(Offset::ZERO, |segment| segment.base);
        if chain.is_empty() {
            chain.push(SegmentId { partition, base: Offset::ZERO, epoch: Epoch::FIRST });
        }
        let mut segment = store.segment(*chain.last().expect("it has one"));
        let mut end = segment.end()?;
        // A crash between a close and the next one's first flush leaves the next one in the WAL.
        while segment.is_sealed()? {
            let SegmentId { epoch, .. } = segment.id();
            let next = SegmentId { partition, base: end, epoch: epoch.next() };
            chain.push(next);
            segment = store.segment(next);
            end = segment.end()?;
        }
        let cursor_id = SegmentId {
            partition: TopicPartition { topic: id, partition: PartitionIndex(1) },
            base: Offset::ZERO,
            epoch: Epoch::FIRST,
        };
        let cursor_at = store.segment(cursor_id);
        let kept = cursor_at.read_state()?;
        let kept = kept.and_then(|bytes| Some(i64::from_le_bytes(bytes[..].try_into().ok()?)));
        let cursor = Offset(kept.unwrap_or(0)).max(first).min(end);
        Ok(Self {
            options,
            writing: Mutex::new(Writing { segment, under_way: VecDeque::new() }),
            reading: Mutex::new(Reading { cursor, ahead: VecDeque::new(), unkept: 0 }),
            chain: Mutex::new(chain),
            durable_end: Arc::new(AtomicI64::new(end.0)),
            cursor_at,
        })
    }

    /// Appends one batch and answers its first offset.
    pub(super) fn append(&self, store: &Store, entries: &[&[u8]]) -> Result<u64, WalrusError> {
        let count = i32::try_from(entries.len()).unwrap_or(i32::MAX);
        if count == 0 {
            return Err(WalrusError::EmptyBatch);
        }
        let bytes = entries.iter().map(|entry| entry.len() + 32).sum::<usize>() + HEADER_BYTES;
        if bytes > BATCH_BYTES_MAX || count == i32::MAX {
            return Err(WalrusError::TooLarge { bytes, bytes_max: BATCH_BYTES_MAX });
        }
        let mut records = Vec::with_capacity(bytes);
        for (delta, entry) in (0..).zip(entries) {
            record::encode(delta, entry, &mut records);
        }
        let mut built = batch::build(&batch::plain_header(count), &records);
        let (base, told) = {
            let mut writing = self.writing.lock();
            self.roll(store, &mut writing)?;
            let base = writing.segment.end()?;
            batch::set_place(&mut built, base, writing.segment.id().epoch);
            let told = self.append_batch(&writing.segment, base.plus(i64::from(count)), built)?;
            (base, self.schedule(&mut writing, told)?)
        };
        if let Some(told) = told {
            wait(&told)?;
        }
        Ok(base.0.unsigned_abs())
    }

    fn append_batch(
        &self,
        segment: &Arc<Segment>,
        end: Offset,
        batch: Vec<u8>,
    ) -> Result<Told, WalrusError> {
        let batch = Bytes::from(batch);
        let begun = Instant::now();
        loop {
            let (tell, told) = mpsc::sync_channel(1);
            let durable_end = Arc::clone(&self.durable_end);
            let done: Done = Box::new(move |result| {
                if result.is_ok() {
                    durable_end.fetch_max(end.0, Ordering::Release);
                }
                // Nobody waits for it unless the schedule says so.
                let _sent = tell.send(result);
            });
            match segment.append(batch.clone(), done) {
                Ok(_end) => return Ok(told),
                Err(AppendError::Busy) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What the append has to wait for, by the schedule.
    fn schedule(&self, writing: &mut Writing, told: Told) -> Result<Option<Told>, WalrusError> {
        let age_max = match self.options.schedule {
            FsyncSchedule::SyncEach => return Ok(Some(told)),
            FsyncSchedule::Milliseconds(ms) => Duration::from_millis(ms),
            FsyncSchedule::NoFsync => Duration::MAX,
        };
        writing.under_way.push_back((Instant::now(), told));
        while let Some((since, told)) = writing.under_way.front() {
            match told.try_recv() {
                Ok(result) => drop(result?),
                Err(mpsc::TryRecvError::Empty) if since.elapsed() < age_max => break,
                Err(_) => wait(told)?,
            }
            writing.under_way.pop_front();
        }
        Ok(None)
    }

    /// Closes a segment that is large enough and begins the next.
    fn roll(&self, store: &Store, writing: &mut Writing) -> Result<(), WalrusError> {
        let bytes = writing.segment.bytes()?;
        if bytes == 0 || bytes < self.options.segment_bytes {
            return Ok(());
        }
        let end = writing.segment.end()?;
        let id = writing.segment.id();
        writing.segment.seal(end)?;
        let next = SegmentId { base: end, epoch: id.epoch.next(), ..id };
        writing.segment = store.segment(next);
        self.chain.lock().push(next);
        Ok(())
    }

    /// Reads up to `entries_max` entries from the cursor on.
    pub(super) fn read(
        &self,
        store: &Store,
        bytes_max: usize,
        entries_max: usize,
        checkpoint: bool,
    ) -> Result<Vec<Entry>, WalrusError> {
        let mut reading = self.reading.lock();
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        while entries.len() < entries_max {
            if reading.ahead.len() == entries.len() && !self.read_ahead(store, &mut reading)? {
                break;
            }
            let next = &reading.ahead[entries.len()];
            bytes += next.data.len();
            if bytes > bytes_max && !entries.is_empty() {
                break;
            }
            entries.push(next.clone());
        }
        if checkpoint && !entries.is_empty() {
            reading.ahead.drain(..entries.len());
            let read = i64::try_from(entries.len()).expect("they are in memory");
            reading.cursor = reading.cursor.plus(read);
            self.keep(&mut reading, u32::try_from(entries.len()).unwrap_or(u32::MAX))?;
        }
        Ok(entries)
    }

    /// Reads the entries behind those that were read ahead; false when there are none.
    fn read_ahead(&self, store: &Store, reading: &mut Reading) -> Result<bool, WalrusError> {
        let ahead = i64::try_from(reading.ahead.len()).expect("they are in memory");
        let from = reading.cursor.plus(ahead);
        let durable = Offset(self.durable_end.load(Ordering::Acquire));
        if from >= durable {
            return Ok(false);
        }
        let segment = {
            let chain = self.chain.lock();
            let after = chain.partition_point(|segment| segment.base <= from);
            store.segment(chain[after.saturating_sub(1)])
        };
        let chunk = segment.read(from, durable, READ_BYTES)?;
        for bytes in &chunk.bytes {
            for item in batch::batches(bytes) {
                let (header, batch) = item.expect("a read gives whole, checked batches");
                add_entries(&header, &bytes.slice_ref(batch), from, &mut reading.ahead)?;
            }
        }
        Ok(!chunk.bytes.is_empty())
    }

    fn keep(&self, reading: &mut Reading, read: u32) -> Result<(), WalrusError> {
        reading.unkept = reading.unkept.saturating_add(read);
        let due = match self.options.consistency {
            ReadConsistency::StrictlyAtOnce => 1,
            ReadConsistency::AtLeastOnce { persist_every } => persist_every.max(1),
        };
        if reading.unkept < due {
            return Ok(());
        }
        reading.unkept = 0;
        let told = self.write_cursor(reading.cursor)?;
        if self.options.consistency == ReadConsistency::StrictlyAtOnce {
            wait(&told)?;
        }
        Ok(())
    }

    fn write_cursor(&self, cursor: Offset) -> Result<Told, WalrusError> {
        let (tell, told) = mpsc::sync_channel(1);
        let done: Done = Box::new(move |result| {
            // Nobody waits for it unless the consistency says so.
            let _sent = tell.send(result);
        });
        self.cursor_at.write_state(Bytes::copy_from_slice(&cursor.0.to_le_bytes()), done)?;
        Ok(told)
    }

    /// Makes the cursor durable as it is.
    pub(super) fn persist_cursor(&self) -> Result<(), WalrusError> {
        let mut reading = self.reading.lock();
        if std::mem::take(&mut reading.unkept) > 0 {
            wait(&self.write_cursor(reading.cursor)?)?;
        }
        Ok(())
    }

    pub(super) fn unread(&self) -> u64 {
        let durable = Offset(self.durable_end.load(Ordering::Acquire));
        durable.since(self.reading.lock().cursor)
    }

    /// Removes closed segments that lie wholly before the durable cursor.
    pub(super) fn prune_read(&self, store: &Store) -> Result<usize, WalrusError> {
        self.persist_cursor()?;
        let cursor = self.reading.lock().cursor;
        let gone: Vec<SegmentId> = {
            let mut chain = self.chain.lock();
            // A segment ends where the next one begins; the last one stays.
            let kept = chain.iter().skip(1).position(|next| next.base > cursor);
            let kept = kept.unwrap_or(chain.len() - 1);
            chain.drain(..kept).collect()
        };
        for id in &gone {
            store.prune(*id)?;
        }
        Ok(gone.len())
    }
}

fn wait(told: &Told) -> Result<(), WalrusError> {
    // The WAL tells everyone, or drops them when its thread panics.
    let result = told.recv().map_err(|_dropped| crate::segment::StoreFailed::Closed)?;
    result?;
    Ok(())
}

/// Adds the entries of a batch from offset `from` on.
fn add_entries(
    header: &BatchHeader,
    batch: &Bytes,
    from: Offset,
    entries: &mut VecDeque<Entry>,
) -> Result<(), WalrusError> {
    let not_ours = || WalrusError::NotAnEntry(header.base_offset.0);
    let count = usize::try_from(header.record_count).map_err(|_negative| not_ours())?;
    let values = record::decode(&batch.slice(HEADER_BYTES..), count).ok_or_else(not_ours)?;
    let numbered = (header.base_offset.0..).zip(values);
    for (offset, data) in numbered.skip_while(|(offset, _)| *offset < from.0) {
        entries.push_back(Entry { offset: offset.unsigned_abs(), data });
    }
    Ok(())
}
