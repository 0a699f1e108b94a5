//! Consumer groups and what they have still to read.
//!
//! What a node cannot know is missing in its answer, never zero, and a sentence in `unknown` says
//! why.

use serde::{Deserialize, Serialize};
use walrus_types::{NodeId, Offset, PartitionIndex, TimestampMs};

use crate::document::Kind;

/// Groups that one page of a list has at most.
pub const GROUPS_PAGE_MAX: usize = 1_000;

/// Records that retention will take, or has taken, before they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Risk {
    /// Of which topic.
    pub topic: String,
    /// Of which of its partitions.
    pub partition: PartitionIndex,
    /// The first of them goes after this, in milliseconds; 0 when it is gone.
    pub in_ms: u64,
    /// Its offset.
    pub from: Offset,
    /// The setting that takes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub setting: Option<String>,
}

/// A group, and what it has to read all in all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Group {
    /// Its name.
    pub group: String,
    /// How it stands, in Kafka's words.
    pub state: String,
    /// `consumer` or another; empty when it never had members.
    pub protocol_type: String,
    /// How many members it has.
    pub members: u64,
    /// The node that coordinates it.
    pub coordinator: NodeId,
    /// Partitions that it committed an offset of, or that its members are assigned.
    pub partitions: u64,
    /// Partitions of which not everything is known; they are missing in the sums.
    pub unknown: u64,
    /// Records to be read, in all partitions.
    pub lag_records: u64,
    /// Bytes of their batches.
    pub lag_bytes: u64,
    /// How old the oldest record is that is to be read next, in milliseconds; 0 when all is read.
    pub lag_ms: u64,
    /// Records that were deleted before it read them.
    pub lost_records: u64,
    /// What it will lose first, at the rates of the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
}

/// A node whose part is missing in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missing {
    /// Which node.
    pub node: NodeId,
    /// Why.
    pub why: String,
}

/// Some groups, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupList {
    /// They.
    pub items: Vec<Group>,
    /// Where the next page begins: the `after` to ask for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Nodes that did not tell which groups they coordinate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<Missing>,
}

impl Kind for GroupList {
    const KIND: &'static str = "GroupList";
}

/// A member of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    /// Its id.
    pub member: String,
    /// Its name, if it is static.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connects from.
    pub client_host: String,
    /// How many partitions it is assigned.
    pub partitions: u64,
}

/// Where a group stands to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ReadState {
    /// It has read all that there is.
    Read,
    /// There is more to be read.
    Behind,
    /// What it was to read next is deleted; it goes on at the log start.
    Lost,
    /// It has committed nothing; what is to be read counts from the log start.
    NoCommit,
    /// What it committed lies past the end of the log.
    PastEnd,
    /// Nobody tells where the partition ends.
    Unknown,
}

/// When something goes, and by which setting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Deletion {
    /// After so many milliseconds, at the rates of the last minutes.
    pub in_ms: u64,
    /// `retention.ms`, `retention.bytes` or `walrus.retention.generations`.
    pub setting: String,
}

/// What a group has still to read of a partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PartitionLag {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// Who leads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leader: Option<NodeId>,
    /// The member that it is assigned to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// Where the group stands.
    pub state: ReadState,
    /// The offset that it committed: of the next record to read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed: Option<Offset>,
    /// When it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub committed_at_ms: Option<TimestampMs>,
    /// The first offset that may be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_start: Option<Offset>,
    /// The end of what may be read: Kafka's high watermark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
    /// Records that are there to be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_records: Option<u64>,
    /// Bytes of the batches from the one that holds the next record to the log's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_bytes: Option<u64>,
    /// How old the next record is, in milliseconds, by its batch's timestamp.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_ms: Option<u64>,
    /// Records that were deleted before they were read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_records: Option<u64>,
    /// Records that the group reads in a second, by its commits of the last minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reads_per_s: Option<f64>,
    /// Records that are appended in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appends_per_s: Option<f64>,
    /// Bytes that are appended in a second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appends_bytes_per_s: Option<f64>,
    /// When the segment of the next record is deleted; missing when it stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Deletion>,
    /// What the group will lose, or has lost; missing when it reads all in time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk: Option<Risk>,
    /// Why something is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unknown: Vec<String>,
}

/// One group: its members, and what it has to read of each partition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GroupStatus {
    /// The group.
    #[serde(flatten)]
    pub group: Group,
    /// What members agreed on; empty unless the group is stable.
    pub protocol: String,
    /// Which generation of members it is.
    pub generation: i32,
    /// Its members.
    pub member_list: Vec<Member>,
    /// Partitions, by topic and number.
    pub items: Vec<PartitionLag>,
}

impl Kind for GroupStatus {
    const KIND: &'static str = "Group";
}

impl Group {
    /// With what `items` come to.
    #[must_use]
    pub fn sum(mut self, items: &[PartitionLag]) -> Self {
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let sum = |of: fn(&PartitionLag) -> Option<u64>| items.iter().filter_map(of).sum();
        self.partitions = count(items.len());
        self.unknown = count(items.iter().filter(|one| !one.unknown.is_empty()).count());
        self.lag_records = sum(|one| one.lag_records);
        self.lag_bytes = sum(|one| one.lag_bytes);
        self.lost_records = sum(|one| one.lost_records);
        self.lag_ms = items.iter().filter_map(|one| one.lag_ms).max().unwrap_or(0);
        let risks = items.iter().filter_map(|one| one.risk.as_ref());
        self.risk = risks.min_by_key(|risk| risk.in_ms).cloned();
        self
    }
}
