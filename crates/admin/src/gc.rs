//! What retention takes, what is unlinked, and what stands in its way: of each node, as it says.

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex, TimestampMs};

use crate::{document::Kind, snapshot::DiskVitals};

/// Pruned segments that a node names which somebody holds; the rest is counted.
pub const HELD_MAX: usize = 64;
/// Removals that a node names which failed; the rest is counted.
pub const LEFTOVERS_MAX: usize = 16;
/// Segments that a node names which are to go and are still in their chains; the rest is counted.
pub const DUE_MAX: usize = 32;
/// Segments that a node names which go next.
pub const NEXT_MAX: usize = 8;

/// What one node says of its files that go.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GcVitals {
    /// Segments that were unlinked since it started.
    pub freed_segments: u64,
    /// Bytes of their logs.
    pub freed_bytes: u64,
    /// Bytes that were unlinked in each second, of the last minutes; missing before it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freed_bytes_per_s: Option<u64>,
    /// Pruned segments that somebody still holds, the longest held first; [`HELD_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<HeldSegment>,
    /// How many more there are.
    #[serde(default)]
    pub held_more: u64,
    /// Bytes of those whose logs are open: the disk has not got them back.
    #[serde(default)]
    pub held_bytes: u64,
    /// What could not be removed, and is tried again; [`LEFTOVERS_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub leftovers: Vec<Leftover>,
    /// How many more there are.
    #[serde(default)]
    pub leftovers_more: u64,
    /// What it found when it looked last at the partitions that it leads; missing before it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub look: Option<RetentionLook>,
}

/// A segment that is in no chain any more, and that somebody holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HeldSegment {
    /// Its topic's name, or its id where the topic was deleted.
    pub topic: String,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its number.
    pub epoch: Epoch,
    /// Its first offset.
    pub base: Offset,
    /// The length of its log, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// How long ago it was pruned.
    pub since_ms: u64,
    /// Its log is open, so the disk has not got its bytes back.
    pub on_disk: bool,
    /// Who holds it, as far as they said.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// How many hold it who did not.
    #[serde(default)]
    pub unnamed: u64,
}

/// Who holds a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    /// What for.
    pub purpose: Purpose,
    /// For whom, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub whose: Option<String>,
    /// For how long, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_ms: Option<u64>,
}

/// What a segment is held for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Purpose {
    /// Its batches are read for a client.
    Read,
    /// A place in it is looked for: an offset, a time.
    Lookup,
    /// Another node is sent what it lacks.
    Copy,
    /// It is copied to the node that says this.
    Repair,
    /// The background writer has not passed it yet.
    Write,
    /// One that this program does not know.
    #[serde(other)]
    Other,
}

impl Purpose {
    /// It as a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Lookup => "lookup",
            Self::Copy => "copy",
            Self::Repair => "repair",
            Self::Write => "write",
            Self::Other => "other",
        }
    }
}

/// Files that should be gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leftover {
    /// Which: a segment, a partition or a topic.
    pub what: String,
    /// For how long.
    pub since_ms: u64,
    /// What stood against it.
    pub why: String,
}

/// What retention wanted when a node looked last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RetentionLook {
    /// How long ago that was.
    pub ago_ms: u64,
    /// How often it looks.
    pub every_ms: u64,
    /// How many partitions it looked at.
    pub partitions: u64,
    /// Segments that were taken out of their chains then, of one copy of each.
    pub taken_segments: u64,
    /// Their bytes.
    pub taken_bytes: u64,
    /// Segments whose topics' limits let them go, and that wait for something.
    pub due_segments: u64,
    /// Their bytes.
    pub due_bytes: u64,
    /// The largest of them; [`DUE_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub due: Vec<DueSegment>,
    /// What goes next, the soonest first; [`NEXT_MAX`] at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next: Vec<NextSegment>,
}

/// A segment whose topic's limits let it go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DueSegment {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its number.
    pub epoch: Epoch,
    /// Its bytes, of one copy.
    pub bytes: u64,
    /// Why it is to go.
    pub why: String,
    /// What it waits for.
    pub waits_for: String,
}

/// The segment of a partition that goes next, and what that is still away.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextSegment {
    /// Its topic.
    pub topic: String,
    /// Its partition.
    pub partition: PartitionIndex,
    /// Its number.
    pub epoch: Epoch,
    /// Its bytes, of one copy.
    pub bytes: u64,
    /// When it is too old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_ms: Option<TimestampMs>,
    /// How many more bytes have to come before the chain is large enough without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking_bytes: Option<u64>,
    /// How many more segments have to be sealed before it is one too many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lacking_segments: Option<u64>,
}

/// `GET /v1/gc`: what every node says of its files that go, and of its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GcStatus {
    /// Which node answers.
    pub answered_by: NodeId,
    /// When, by that node's clock.
    pub at_ms: TimestampMs,
    /// They, by their ids.
    pub items: Vec<NodeGc>,
}

impl Kind for GcStatus {
    const KIND: &'static str = "GcStatus";
}

/// One node's files that go, and its disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeGc {
    /// Which one.
    pub node: NodeId,
    /// What it said; missing where it never did, or is of a version that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gc: Option<GcVitals>,
    /// The disk that holds its data.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<DiskVitals>,
    /// Whether appends are refused because that is full up to its reserve.
    pub disk_full: bool,
    /// How old all this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Why the node says nothing now, if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silent: Option<String>,
}
