//! Sealing a segment without the votes that its seal needs: an operator's last resort.

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, PartitionIndex};

use crate::document::Kind;

/// Asks the controller for it. What is to be done has to be named as a plan told it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnsafeSealRequest {
    /// Say what it would come to, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// The epoch of the segment that is to be sealed. Asked again, it seals nothing twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<Epoch>,
    /// Where it is to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Offset>,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnsafeSealState {
    /// Nothing was done.
    Planned,
    /// The controller goes on without the missing votes.
    UnderWay,
    /// The segment is sealed.
    Sealed,
}

/// A member that has no vote, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MissingVote {
    /// Which node.
    pub node: NodeId,
    /// What keeps it.
    pub why: String,
}

/// What the unsafe seal of a partition's open segment comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnsafeSeal {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// How far it is.
    pub state: UnsafeSealState,
    /// The segment's epoch.
    pub epoch: Epoch,
    /// Where it ends: what the members that answered have. What was acknowledged past that is lost.
    pub end: Offset,
    /// How far somebody has seen it past `end`, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<Offset>,
    /// How many members have a vote.
    pub votes: u64,
    /// How many must have for a seal that loses nothing.
    pub votes_needed: u64,
    /// Those that have none.
    #[serde(default)]
    pub missing: Vec<MissingVote>,
}

impl Kind for UnsafeSeal {
    const KIND: &'static str = "UnsafeSeal";
}
