//! The naive halves of the world: nodes with their logs, and how a leader starts.

use std::collections::{BTreeMap, VecDeque};

use walrus_replication::{
    Limits, Member, OpenSegment, PartitionLeader, ProducerTable, RollLimits, UptimeMs, write_quorum,
};
use walrus_types::{Epoch, NodeId, Offset, ProducerId, Sequence, StorageId, batch::BatchHeader};

/// Time stands still here; limits are tested elsewhere.
pub(crate) const NOW: UptimeMs = UptimeMs(0);

/// A batch is known by its producer and first sequence: producers never use one twice here.
pub(crate) type Key = (ProducerId, Sequence);

pub(crate) fn key(batch: &BatchHeader) -> Key {
    (batch.producer_id, batch.base_sequence)
}

pub(crate) struct Node {
    pub(crate) log: Vec<BatchHeader>,
    pub(crate) table: ProducerTable,
    /// The epoch it takes appends in: that of the last Roll it applied, none once it is fenced.
    pub(crate) follows: Option<Epoch>,
}

impl Node {
    pub(crate) fn end(&self) -> Offset {
        self.log.last().map_or(Offset::ZERO, BatchHeader::end)
    }

    pub(crate) fn store(&mut self, batch: BatchHeader) {
        assert_eq!(batch.base_offset, self.end(), "a log has no gaps");
        self.log.push(batch);
    }

    pub(crate) fn cut(&mut self, end: Offset) {
        self.log.retain(|batch| batch.end() <= end);
        if end < self.table.end() {
            self.table.undo_from(end);
        }
    }

    /// Takes what it lacks of `[.., end)` from another node's log; what both have must be equal.
    pub(crate) fn catch_up(&mut self, from: &[BatchHeader], end: Offset) {
        for (at, batch) in from.iter().filter(|batch| batch.end() <= end).enumerate() {
            match self.log.get(at) {
                Some(mine) => assert_eq!(mine, batch, "two logs differ below a committed end"),
                None => {
                    self.store(*batch);
                    self.table.appended(batch);
                }
            }
        }
    }
}

/// A node that leads, or thinks so.
pub(crate) struct Shell {
    pub(crate) node: usize,
    pub(crate) leader: PartitionLeader,
    pub(crate) members: Vec<usize>,
    pub(crate) parked: VecDeque<BatchHeader>,
    pub(crate) waiting: Vec<(Key, Offset, Offset)>,
    /// What each member was heard to hold in this epoch: the naive side of the commit rule.
    pub(crate) heard: BTreeMap<usize, Offset>,
}

pub(crate) fn member(node: usize) -> Member {
    Member { node: NodeId(i32::try_from(node).unwrap()), storage: StorageId::default() }
}

pub(crate) fn segment(epoch: Epoch, base: Offset, members: &[usize]) -> OpenSegment {
    let write_quorum = write_quorum(members.len(), 2);
    OpenSegment {
        epoch,
        base,
        members: members.iter().copied().map(member).collect(),
        write_quorum,
    }
}

pub(crate) fn lead(
    node: usize,
    epoch: Epoch,
    base: Offset,
    members: &[usize],
    table: &ProducerTable,
) -> Shell {
    // Through its bytes, as it comes from the file beside the sealed segment.
    let table = ProducerTable::decode(&table.encode()).unwrap();
    let roll = RollLimits { bytes: 0, entries: 0, age_ms: 0, interval_ms: 0, burst: 1 };
    let limits = Limits { min_insync: 1, roll };
    let open = segment(epoch, base, members);
    Shell {
        node,
        leader: PartitionLeader::open(member(node), &open, Offset::ZERO, table, limits, NOW),
        members: members.to_vec(),
        parked: VecDeque::new(),
        waiting: Vec::new(),
        heard: BTreeMap::new(),
    }
}
