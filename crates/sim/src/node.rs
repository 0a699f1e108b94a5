//! A node: a disk that keeps what was flushed, a memory that a crash empties, a clock that drifts.

use std::collections::{BTreeMap, VecDeque};

use walrus_replication::{
    Fences, Member, OnDisk, PartitionLeader, ReplicaSegment, Senders, UptimeMs, Writer,
    liveness::{NodeLease, PartitionLease, Terms},
};
use walrus_types::{
    Epoch, Incarnation, NodeId, Offset, SegmentId, StorageId, TimestampMs, batch::BatchHeader,
};

use crate::{
    controller::Controller,
    message::{CopyOrder, Key},
};

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
    pub(crate) lease: PartitionLease,
    pub(crate) parked: VecDeque<BatchHeader>,
    /// By the leader's clock.
    pub(crate) proposed_at: Option<UptimeMs>,
    pub(crate) probed_at: UptimeMs,
}

/// A controller that waits for the answer to a fence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) controller: (usize, u64),
    pub(crate) writer: Writer,
    pub(crate) segments: Vec<SegmentId>,
}

pub(crate) struct Memory {
    pub(crate) life: Writer,
    pub(crate) lease: NodeLease,
    pub(crate) fences: Fences,
    pub(crate) replicas: BTreeMap<Epoch, ReplicaSegment>,
    pub(crate) lead: Option<Lead>,
    pub(crate) waiting: Vec<Waiting>,
    /// Commands of the metadata that are applied here.
    pub(crate) applied: usize,
    pub(crate) asked: Vec<Asked>,
    pub(crate) orders: Vec<CopyOrder>,
    pub(crate) controller: Option<Controller>,
    /// A new life is due: this one was told that it is fenced.
    pub(crate) ends: bool,
}

impl Memory {
    pub(crate) fn new(life: Writer, disk: &Disk) -> Self {
        Self {
            life,
            lease: NodeLease::new(Terms::default()),
            fences: Fences::restore(disk.fences.records()),
            replicas: BTreeMap::new(),
            lead: None,
            waiting: Vec::new(),
            applied: 0,
            asked: Vec::new(),
            orders: Vec::new(),
            controller: None,
            ends: false,
        }
    }
}

/// Where a node's process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    Down,
    /// It takes part in Raft and is not registered.
    Starting,
    /// It has an empty disk and calls itself what it was before: metadata does not take it in, and
    /// it answers for a disk that is gone.
    Refused,
    Up,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) process: Process,
    /// It takes no steps until then.
    pub(crate) paused_until: u64,
    /// Nothing is flushed until then.
    pub(crate) disk_stuck: Option<(u64, u64)>,
    /// It applies no metadata by itself until then.
    pub(crate) behind_until: u64,
    /// Its clock's milliseconds in a second.
    pub(crate) rate: u64,
    pub(crate) disk: Disk,
    pub(crate) memory: Memory,
}

impl Node {
    pub(crate) fn new(id: NodeId, disk: Disk, rate: u64) -> Self {
        let life = Writer { node: id, incarnation: Incarnation(1) };
        let memory = Memory::new(life, &disk);
        let process = Process::Up;
        let (paused_until, behind_until, disk_stuck) = (0, 0, None);
        Self { id, process, paused_until, disk_stuck, behind_until, rate, disk, memory }
    }

    /// This node with the disk that it has.
    pub(crate) fn member(&self) -> Member {
        Member { node: self.id, storage: self.disk.storage }
    }

    /// Batches from an offset on, as far as this node serves them.
    pub(crate) fn readable(&self, from: Offset) -> Vec<BatchHeader> {
        let memory = &self.memory;
        let replicas = memory.replicas.values().map(|r| (r.epoch(), r.readable_end()));
        let lead =
            memory.lead.iter().map(|lead| (lead.leader.epoch(), lead.leader.cursors().commit()));
        for (epoch, end) in replicas.chain(lead) {
            let batches: Vec<_> = self.disk.batches(epoch, from, end).copied().collect();
            if batches.first().is_some_and(|first| first.base_offset == from) {
                return batches;
            }
        }
        Vec::new()
    }

    pub(crate) fn is_up(&self) -> bool {
        self.process == Process::Up
    }

    /// Whether its parts beside Raft are there.
    pub(crate) fn listens(&self) -> bool {
        matches!(self.process, Process::Refused | Process::Up)
    }

    pub(crate) fn runs(&self, now: u64) -> bool {
        self.process != Process::Down && self.paused_until <= now
    }
}
