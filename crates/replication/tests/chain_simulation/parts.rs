//! The small parts of the world: chance, messages, counts.

use walrus_replication::{Append, FenceAnswer, Member, Position, Refusal, Writer};
use walrus_types::{Epoch, NodeId, Offset, ProducerId, Sequence, StorageId, batch::BatchHeader};

pub(crate) const NODES: usize = 3;
pub(crate) const CONTROLLERS: usize = 2;

/// SplitMix64.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(crate) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }
}

/// A batch is known by its producer and first sequence: producers never use one twice here.
pub(crate) type Key = (ProducerId, Sequence);

pub(crate) fn key(batch: &BatchHeader) -> Key {
    (batch.producer_id, batch.base_sequence)
}

pub(crate) fn node_id(node: usize) -> NodeId {
    NodeId(i32::try_from(node).unwrap())
}

pub(crate) fn node_of(id: NodeId) -> usize {
    usize::try_from(id.0).unwrap()
}

pub(crate) fn storage(number: u64) -> StorageId {
    StorageId(format!("{number:032x}").parse().unwrap())
}

#[derive(Debug, Clone)]
pub(crate) struct Message {
    pub(crate) to: usize,
    pub(crate) body: Body,
}

#[derive(Debug, Clone)]
pub(crate) enum Body {
    /// From the leader, with a batch or without.
    Append {
        append: Append,
        batch: Option<BatchHeader>,
    },
    Position {
        from: Member,
        position: Position,
    },
    Refused {
        from: NodeId,
        epoch: Epoch,
        stream: u32,
        refusal: Refusal,
    },
    /// From a controller, which has read the metadata up to `index`.
    Fence {
        controller: usize,
        writer: Writer,
        index: usize,
    },
    /// To a controller.
    FenceAnswer {
        from: Member,
        epoch: Epoch,
        answer: FenceAnswer,
    },
    /// From another member: for a seal that is under way, or pulled after it.
    Copy {
        epoch: Epoch,
        storage: StorageId,
        batch: BatchHeader,
        upto: Offset,
    },
}

/// What was reached.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) acked: u64,
    pub(crate) planned: u64,
    pub(crate) forced: u64,
    pub(crate) narrow: u64,
    pub(crate) carried: u64,
    pub(crate) cuts: u64,
    pub(crate) copies: u64,
    pub(crate) pulls: u64,
    pub(crate) duplicates: u64,
    pub(crate) crashes: u64,
    pub(crate) disks_lost: u64,
}

impl Counts {
    fn all(&mut self) -> [&mut u64; 11] {
        let Self { acked, planned, forced, narrow, carried, cuts, copies, pulls, .. } = self;
        let Self { duplicates, crashes, disks_lost, .. } = self;
        [
            acked, planned, forced, narrow, carried, cuts, copies, pulls, duplicates, crashes,
            disks_lost,
        ]
    }

    pub(crate) fn add(&mut self, other: &Self) {
        let mut other = Self { ..*other };
        for (sum, more) in self.all().into_iter().zip(other.all()) {
            *sum += *more;
        }
    }

    pub(crate) fn check_reach(mut self) {
        let said = format!("{self:?}");
        assert!(self.all().iter().all(|count| **count > 0), "not all was reached: {said}");
    }
}
