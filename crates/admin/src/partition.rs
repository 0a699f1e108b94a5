//! Partitions, their chains, and rolling them over.

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex, TimestampMs};

use crate::{document::Kind, error::NodeAddress};

/// Partitions that one page of a list has at most, and one rollover request.
pub const PAGE_MAX: usize = 1_000;
/// How long a rollover request may wait for its outcome.
pub const ROLLOVER_WAIT_MS_MAX: u64 = 10_000;

/// A partition, by its open segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// The epoch of its open segment.
    pub epoch: Epoch,
    /// Where that begins.
    pub base: Offset,
    /// Who leads it.
    pub leader: NodeId,
    /// Whether that life of that node may write.
    pub leader_serves: bool,
    /// Who stores it.
    pub members: Vec<NodeId>,
    /// How many of them make a batch committed.
    pub write_quorum: u8,
    /// How many copies its topic wants.
    pub replicas_target: u8,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// How many segments the chain has.
    pub segments: u64,
}

/// Some partitions, by topic name and number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionList {
    /// The metadata's index that this page is of.
    pub metadata_version: u64,
    /// They.
    pub items: Vec<Partition>,
    /// Where the next page begins: the `after` to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

impl Kind for PartitionList {
    const KIND: &'static str = "PartitionList";
}

/// A link of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Its number, which is Kafka's leader epoch.
    pub epoch: Epoch,
    /// Whether it takes appends.
    pub open: bool,
    /// Its first offset.
    pub base: Offset,
    /// The end of its offsets. Of the open one the commit offset, where its leader was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// What its batches take; of the open one only its leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// The greatest timestamp in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_timestamp_ms: Option<TimestampMs>,
    /// Who wrote it.
    pub leader: NodeId,
    /// Who holds it.
    pub members: Vec<NodeId>,
    /// Why it was opened.
    pub reason: String,
    /// XXH3-128 of its bytes, once that was computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
}

/// What a lossy seal may have lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The epoch of the segment that was sealed.
    pub epoch: Epoch,
    /// The end that was decided.
    pub from: Offset,
    /// The greatest end that anybody ever told.
    pub seen: Offset,
}

/// The newest part of a partition's chain, oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// The metadata's index that this is of.
    pub metadata_version: u64,
    /// Its topic's name.
    pub topic: String,
    /// Its topic's id, as Kafka prints it.
    pub topic_id: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// The first offset that may be read.
    pub log_start: Offset,
    /// How many segments the whole chain has.
    pub segments: u64,
    /// How many copies the topic wants.
    pub replicas_target: u8,
    /// They.
    pub items: Vec<Segment>,
    /// What lossy seals may have lost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub losses: Vec<Loss>,
}

impl Kind for Chain {
    const KIND: &'static str = "SegmentChain";
}

/// A partition whose open segment is to be sealed, if it is of that epoch still.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloverTarget {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// The epoch that was seen. Asked again, it rolls nothing twice.
    pub epoch: Epoch,
}

/// Asks the node that leads them to roll partitions over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RolloverRequest {
    /// Which, [`PAGE_MAX`] at most.
    pub partitions: Vec<RolloverTarget>,
    /// How long to wait for the successors, [`ROLLOVER_WAIT_MS_MAX`] at most.
    #[serde(default)]
    pub wait_ms: u64,
}

/// What became of one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RolloverState {
    /// The successor is open.
    Rolled,
    /// A roll is under way; ask again to hear of its end.
    UnderWay,
    /// Another node leads it; `ask` says which.
    NotLeader,
    /// There is no such partition.
    NotFound,
    /// It could not be begun; `message` says why.
    Failed,
}

/// The outcome for one of the partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloverOutcome {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// What became of it.
    pub state: RolloverState,
    /// The epoch of the open segment now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Who leads that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// Who has to be asked instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ask: Option<NodeAddress>,
    /// Why it could not be begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl RolloverOutcome {
    /// Where a partition stands, without more.
    pub fn new(of: &RolloverTarget, state: RolloverState) -> Self {
        let RolloverTarget { topic, partition, epoch: _ } = of;
        Self {
            topic: topic.clone(),
            partition: *partition,
            state,
            epoch: None,
            leader: None,
            ask: None,
            message: None,
        }
    }
}

/// The outcomes, in the order in which they were asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RolloverAnswer {
    /// They.
    pub items: Vec<RolloverOutcome>,
}

impl Kind for RolloverAnswer {
    const KIND: &'static str = "Rollover";
}
