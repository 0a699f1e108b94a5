//! Partitions, their chains, and rolling them over.

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex, TimestampMs};

use crate::document::Kind;

/// Partitions that one page of a list has at most.
pub const PAGE_MAX: usize = 1_000;

/// A partition, by its open segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
