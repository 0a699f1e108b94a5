//! What the store's tests have in common: batches, ids, a store on a real folder.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::{
    path::Path,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use uuid::Uuid;
use walrus_storage::{
    disk::{Backend, RealDisk},
    segment::{AppendError, Chunk, Segment},
    store::{Store, StoreConfig, StoreOpened},
    wal::WalConfig,
};
use walrus_types::{
    Epoch, Offset, PartitionIndex, SegmentId, TimestampMs, TopicId, TopicPartition, batch,
};

/// A ring of 512 KiB, frequent checkpoints, nothing reserved.
pub(crate) fn config() -> StoreConfig {
    let wal = WalConfig { file_bytes: 1 << 20, files: 4, ..WalConfig::small() };
    StoreConfig {
        wal,
        checkpoint_bytes: 256 << 10,
        checkpoint_age_ms: 20,
        flush_age_ms: 5,
        reserve_bytes: 0,
        index_interval_bytes: 1024,
        ..StoreConfig::default()
    }
}

/// A store whose files stay as they are until it is closed.
pub(crate) fn lazy_config() -> StoreConfig {
    StoreConfig { checkpoint_age_ms: 600_000, flush_age_ms: 60_000, ..config() }
}

pub(crate) fn open(dir: &Path) -> Store {
    open_with(dir, config()).0
}

pub(crate) fn open_with(dir: &Path, config: StoreConfig) -> (Store, StoreOpened) {
    Store::open(Arc::new(RealDisk::new(Backend::Auto)), dir, config)
        .expect("a store opens in a fresh folder")
}

pub(crate) fn partition(number: i32) -> TopicPartition {
    let topic = TopicId(Uuid::from_u128(0xabcd));
    TopicPartition { topic, partition: PartitionIndex(number) }
}

pub(crate) fn id(number: i32, base: i64, epoch: i32) -> SegmentId {
    SegmentId { partition: partition(number), base: Offset(base), epoch: Epoch(epoch) }
}

/// A batch of `count` records whose payload is made from its place.
pub(crate) fn batch_of(
    segment: SegmentId,
    base: i64,
    count: i32,
    bytes: usize,
    time: i64,
) -> Bytes {
    let header = batch::BatchHeader {
        base_offset: Offset(base),
        epoch: segment.epoch,
        max_timestamp: TimestampMs(time),
        base_timestamp: TimestampMs(time),
        ..batch::plain_header(count)
    };
    let seed = base.cast_unsigned().wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let payload: Vec<u8> =
        (0u64..).map(|i| (seed.rotate_left(7) ^ i).to_le_bytes()[0]).take(bytes).collect();
    Bytes::from(batch::build(&header, &payload))
}

/// Appends and waits until it is durable.
#[track_caller]
pub(crate) fn append(segment: &Arc<Segment>, batch: Bytes) -> Offset {
    try_append(segment, batch).expect("the append is taken")
}

pub(crate) fn try_append(segment: &Arc<Segment>, batch: Bytes) -> Result<Offset, AppendError> {
    let (tell, told) = mpsc::channel();
    let end = segment.append(batch, Box::new(move |result| tell.send(result).unwrap()))?;
    told.recv().unwrap().expect("the WAL works");
    Ok(end)
}

/// Appends `batches` batches of 3 records and 200 bytes, the time of each ten times its base.
pub(crate) fn fill(segment: &Arc<Segment>, batches: usize) -> Vec<Bytes> {
    (0..batches)
        .map(|_| {
            let base = segment.end().unwrap().0;
            let batch = batch_of(segment.id(), base, 3, 200, base * 10);
            append(segment, batch.clone());
            batch
        })
        .collect()
}

/// All bytes from `from` on, read chunk by chunk.
pub(crate) fn read_all(segment: &Segment, from: Offset, bytes_max: usize) -> Vec<u8> {
    let mut all = Vec::new();
    let mut from = from;
    loop {
        let chunk = segment.read(from, Offset(i64::MAX), bytes_max).expect("undamaged");
        if chunk.bytes.is_empty() {
            return all;
        }
        all.extend(flat(&chunk));
        from = chunk.next;
    }
}

pub(crate) fn flat(chunk: &Chunk) -> Vec<u8> {
    let flat = chunk.bytes.concat();
    assert_eq!(flat.len(), chunk.total);
    flat
}

/// Base offsets of the batches of a chunk.
pub(crate) fn bases(chunk: &Chunk) -> Vec<i64> {
    let flat = flat(chunk);
    batch::batches(&flat).map(|item| item.unwrap().0.base_offset.0).collect()
}

/// The path of a segment's log in `dir`.
pub(crate) fn log_path(dir: &Path, id: SegmentId) -> std::path::PathBuf {
    dir.join(id.partition.topic.0.hyphenated().to_string())
        .join(id.partition.partition.0.to_string())
        .join(format!("{:020}.{}.log", id.base.0, id.epoch.0))
}
