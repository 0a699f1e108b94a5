//! What nodes tell each other.

use walrus_replication::{
    Append, Held, Member, Position, Refusal, UptimeMs, Writer,
    liveness::{Answer, Beat},
    seal::Report,
};
use walrus_types::{
    Epoch, NodeId, Offset, ProducerId, SegmentId, Sequence, StorageId, batch::BatchHeader,
};

/// A batch is known by its producer and first sequence: producers never use one twice here.
pub(crate) type Key = (ProducerId, Sequence);

pub(crate) fn key(batch: &BatchHeader) -> Key {
    (batch.producer_id, batch.base_sequence)
}

/// An order of a controller's, so that the answer finds what it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CopyOrder {
    /// Who ordered it: a slot and its Raft term.
    pub(crate) controller: (usize, u64),
    pub(crate) fenced: Writer,
    pub(crate) segment: SegmentId,
    pub(crate) upto: Offset,
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
        controller: (usize, u64),
        writer: Writer,
        index: usize,
        segments: Vec<SegmentId>,
    },
    FenceAnswer {
        term: u64,
        fenced: Writer,
        from: NodeId,
        reports: Vec<(SegmentId, Report)>,
    },
    /// From a controller to the member that lacks something.
    Order {
        order: CopyOrder,
        from: Member,
    },
    /// From a member to another one.
    Read {
        epoch: Epoch,
        from: Offset,
        upto: Offset,
        /// Who asks, with the disk that the segment's record names for it.
        to: Member,
        order: Option<CopyOrder>,
    },
    Copy {
        epoch: Epoch,
        storage: StorageId,
        batches: Vec<BatchHeader>,
        upto: Offset,
        order: Option<CopyOrder>,
    },
    Copied {
        order: CopyOrder,
        from: NodeId,
        held: Option<Held>,
    },
    /// From a node to the controller.
    Beat {
        beat: Beat,
        sent: UptimeMs,
    },
    BeatAnswer {
        term: u64,
        sent: UptimeMs,
        /// Which life was answered.
        life: Writer,
        answer: Answer,
    },
}

impl Body {
    /// Whether a leader has to learn that it was lost: its connection is, then.
    pub(crate) fn is_fed(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Position { .. } | Self::Refused { .. })
    }
}
