//! What operators have the cluster do, beyond one command: it is begun once, goes on whoever is
//! the controller, and ends once.
//!
//! Metadata keeps what was asked, by whom and why, and what came of it. How far an operation is
//! stands nowhere: it is read off the nodes and chains that it changes, so nothing can disagree.

use serde::{Deserialize, Serialize};
use walrus_types::{
    Epoch, NodeId, Offset, OperationId, PlanId, StorageId, TimestampMs, TopicPartition,
};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Empties a node: what it leads and writes goes elsewhere.
    Drain(NodeId),
    /// Lets a node take part again.
    Undrain(NodeId),
    /// Takes a node out for good, once it is drained and no segment needs it.
    Remove {
        /// Which node.
        node: NodeId,
        /// On which disk: an empty one under its id is another node.
        storage: StorageId,
    },
    /// Rolls partitions over.
    Rollover(Rollover),
    /// Has another voter lead the metadata group.
    TransferRaft {
        /// Which.
        to: NodeId,
    },
    /// Seals a segment without the votes that its seal needs.
    UnsafeSeal {
        /// Of which partition.
        partition: TopicPartition,
        /// Which segment.
        epoch: Epoch,
        /// Where it is to end, as the plan told.
        end: Offset,
    },
}

/// Open segments that are to be sealed, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rollover {
    /// Which, each with the epoch that is to end. Forgotten when the operation ends.
    pub targets: Vec<Target>,
    /// How many they were.
    pub total: u32,
    /// How many are begun in a minute at most.
    pub per_minute: u32,
}

/// An open segment that is to be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Which. With a later one the target is reached.
    pub epoch: Epoch,
}

impl Rollover {
    /// How many targets may have been begun so long after the beginning, the first of them at once.
    pub fn due(&self, since_ms: u64) -> usize {
        let due = since_ms.saturating_mul(u64::from(self.per_minute.max(1))) / 60_000;
        usize::try_from(due.saturating_add(1)).unwrap_or(usize::MAX).min(self.targets.len())
    }
}

/// An operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// What is done.
    pub work: Work,
    /// The plan that is carried out.
    pub plan: PlanId,
    /// Who asked for it, as they said.
    pub actor: String,
    /// Why, as they said.
    pub reason: String,
    /// How many segments it was to move, roll or copy when it began.
    pub segments: u64,
    /// Whether the node drained before, and so goes on draining when the operation is cancelled.
    pub drained_before: bool,
    /// When it began.
    pub began_at: TimestampMs,
    /// How it ended, when it has.
    pub end: Option<End>,
}

/// The end of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: TimestampMs,
}

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// All of it was done.
    Done,
    /// Somebody took it back; what was done stays.
    Cancelled {
        /// Who, as they said.
        by: String,
    },
    /// It cannot be done any more.
    Failed {
        /// Why.
        why: String,
    },
}

impl Operation {
    /// Whether it goes on.
    pub fn is_running(&self) -> bool {
        self.end.is_none()
    }
}

impl Work {
    /// Whether `other` may not begin while this runs. A removal may take over from a drain, and to
    /// undrain ends both.
    pub fn keeps_out(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::TransferRaft { .. }, Self::TransferRaft { .. }) => true,
            (Self::Drain(one) | Self::Remove { node: one, .. }, Self::Drain(other))
            | (Self::Remove { node: one, .. }, Self::Remove { node: other, .. }) => one == other,
            (
                Self::UnsafeSeal { partition: one, epoch, .. },
                Self::UnsafeSeal { partition: other, epoch: at, .. },
            ) => (one, epoch) == (other, at),
            (
                Self::Drain(_)
                | Self::Undrain(_)
                | Self::Remove { .. }
                | Self::Rollover(_)
                | Self::TransferRaft { .. }
                | Self::UnsafeSeal { .. },
                _,
            ) => false,
        }
    }

    /// The node that it changes, if it changes one.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            Self::Drain(node) | Self::Undrain(node) | Self::Remove { node, .. } => Some(*node),
            Self::Rollover(_) | Self::TransferRaft { .. } | Self::UnsafeSeal { .. } => None,
        }
    }
}

/// Asks for an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginOperation {
    /// What is to be done.
    pub work: Work,
    /// The plan that told what it comes to.
    pub plan: PlanId,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// How many segments it is to move, roll or copy.
    pub segments: u64,
    /// When.
    pub at: TimestampMs,
}

/// Says that an operation has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndOperation {
    /// Which.
    pub id: OperationId,
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: TimestampMs,
}

#[cfg(test)]
mod tests {
    use walrus_types::{PartitionIndex, TopicId};

    use super::*;

    #[test]
    fn targets_are_begun_at_the_rate_that_was_asked_for() {
        let target = |index| Target {
            partition: TopicPartition {
                topic: TopicId(uuid::Uuid::nil()),
                partition: PartitionIndex(index),
            },
            epoch: Epoch(1),
        };
        let rollover = |total: i32, per_minute| Rollover {
            targets: (0..total).map(target).collect(),
            total: 0,
            per_minute,
        };
        for (total, per_minute, since_ms, due) in [
            (10, 60, 0, 1),
            (10, 60, 999, 1),
            (10, 60, 1_000, 2),
            (10, 60, 3_600_000, 10),
            (100, 1_200, 0, 1),
            (100, 1_200, 500, 11),
            (3, 1, 0, 1),
            (3, 1, 59_999, 1),
            (3, 1, 60_000, 2),
            (3, 0, 60_000, 2),
            (0, 60, 9_000, 0),
            (5, u32::MAX, u64::MAX, 5),
        ] {
            let told = rollover(total, per_minute).due(since_ms);
            assert_eq!(told, due, "{total} at {per_minute} a minute after {since_ms} ms");
        }
    }
}
