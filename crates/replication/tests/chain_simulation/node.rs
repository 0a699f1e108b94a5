//! A node: a disk that keeps what was flushed, and a memory that a crash empties.

use std::collections::{BTreeMap, VecDeque};

use walrus_replication::{Fences, OnDisk, PartitionLeader, ReplicaSegment, Senders, Writer};
use walrus_types::{Epoch, Offset, StorageId, TimestampMs, batch::BatchHeader};

use crate::parts::Key;

/// What was written and is not flushed, in the order of the WAL.
pub(crate) enum Write {
    Batch {
        epoch: Epoch,
        end: Offset,
    },
    Fence(Writer),
    /// The producers' table beside a sealed segment.
    State {
        epoch: Epoch,
        table: Vec<u8>,
    },
}

struct Log {
    batches: Vec<BatchHeader>,
    durable: Offset,
}

pub(crate) struct Disk {
    pub(crate) storage: StorageId,
    /// Those that were flushed.
    pub(crate) fences: Fences,
    pub(crate) states: BTreeMap<Epoch, Vec<u8>>,
    logs: BTreeMap<Epoch, Log>,
    pub(crate) queue: VecDeque<Write>,
}

impl Disk {
    pub(crate) fn new(storage: StorageId) -> Self {
        Self {
            storage,
            fences: Fences::default(),
            states: BTreeMap::new(),
            logs: BTreeMap::new(),
            queue: VecDeque::new(),
        }
    }

    pub(crate) fn store(&mut self, batch: BatchHeader) {
        let (epoch, end) = (batch.epoch, batch.end());
        let new = || Log { batches: Vec::new(), durable: batch.base_offset };
        let log = self.logs.entry(epoch).or_insert_with(new);
        let follows = log.batches.last().is_none_or(|last| last.end() == batch.base_offset);
        assert!(follows, "a log has no gaps");
        log.batches.push(batch);
        self.queue.push_back(Write::Batch { epoch, end });
    }

    /// The batches of a segment in `[from, upto)`, flushed or not.
    pub(crate) fn batches(
        &self,
        epoch: Epoch,
        from: Offset,
        upto: Offset,
    ) -> impl Iterator<Item = &BatchHeader> {
        let batches = self.logs.get(&epoch).into_iter().flat_map(|log| &log.batches);
        batches.filter(move |batch| batch.base_offset >= from && batch.end() <= upto)
    }

    pub(crate) fn durable(&self, epoch: Epoch) -> Offset {
        self.logs.get(&epoch).map_or(Offset::ZERO, |log| log.durable)
    }

    pub(crate) fn flushed(&mut self, epoch: Epoch, end: Offset) {
        if let Some(log) = self.logs.get_mut(&epoch) {
            let there = log.batches.last().map_or(log.durable, BatchHeader::end);
            log.durable = log.durable.max(end.min(there));
        }
    }

    pub(crate) fn cut(&mut self, epoch: Epoch, end: Offset) {
        if let Some(log) = self.logs.get_mut(&epoch) {
            log.batches.retain(|batch| batch.end() <= end);
            log.durable = log.durable.min(end);
        }
    }

    /// What was not flushed is gone.
    pub(crate) fn crash(&mut self) {
        self.queue.clear();
        for log in self.logs.values_mut() {
            log.batches.retain(|batch| batch.end() <= log.durable);
        }
    }

    pub(crate) fn on_disk(&self, epoch: Epoch, base: Offset) -> OnDisk {
        let mut has = OnDisk::nothing(base);
        for batch in self.batches(epoch, base, Offset(i64::MAX)) {
            has.end = batch.end();
            has.bytes += u64::try_from(batch.batch_bytes).unwrap();
            has.max_timestamp = TimestampMs(has.max_timestamp.0.max(batch.max_timestamp.0));
        }
        has
    }
}

/// A producer that waits for a commit.
pub(crate) struct Waiting {
    pub(crate) epoch: Epoch,
    pub(crate) key: Key,
    pub(crate) base: Offset,
    pub(crate) end: Offset,
}

pub(crate) struct Lead {
    pub(crate) leader: PartitionLeader,
    pub(crate) senders: Senders,
    pub(crate) parked: VecDeque<BatchHeader>,
}

pub(crate) struct Memory {
    pub(crate) life: Writer,
    pub(crate) fences: Fences,
    pub(crate) replicas: BTreeMap<Epoch, ReplicaSegment>,
    pub(crate) lead: Option<Lead>,
    pub(crate) waiting: Vec<Waiting>,
    /// Events of the metadata that are applied here, and segments that are known by that.
    pub(crate) applied: usize,
    pub(crate) known: usize,
    /// Controllers that wait for the answer to a fence.
    pub(crate) asked: Vec<(usize, Writer)>,
}

impl Memory {
    pub(crate) fn new(life: Writer, disk: &Disk) -> Self {
        Self {
            life,
            fences: Fences::restore(disk.fences.records()),
            replicas: BTreeMap::new(),
            lead: None,
            waiting: Vec::new(),
            applied: 0,
            known: 0,
            asked: Vec::new(),
        }
    }
}

pub(crate) struct Node {
    pub(crate) disk: Disk,
    pub(crate) memory: Memory,
}
