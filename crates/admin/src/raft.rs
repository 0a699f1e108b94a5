//! The metadata group as one of its members sees it.

use serde::{Deserialize, Serialize};
use walrus_types::{NodeId, StorageId};

use crate::document::Kind;

/// A member of the group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = RaftMember))]
pub struct Member {
    /// Its node.
    pub node: NodeId,
    /// Its disk, which is its id in the group.
    pub storage: StorageId,
    /// Its peer port, as host:port.
    pub peer: String,
    /// Whether it votes; else it learns.
    pub votes: bool,
    /// Entries that it lacks; only the leader knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_entries: Option<u64>,
}

/// The group. Indexes are 0 while there is no entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RaftStatus {
    /// Who answers, from what it knows.
    pub answered_by: NodeId,
    /// What it is there: `leader`, `follower`, `candidate` or `learner`.
    pub state: String,
    /// The term.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<NodeId>,
    /// The last entry that a quorum has.
    pub committed: u64,
    /// The last entry that it has.
    pub last_log: u64,
    /// The last entry that it has applied.
    pub applied: u64,
    /// The last entry in its newest snapshot.
    pub snapshot: u64,
    /// The last entry that its log has forgotten.
    pub purged: u64,
    /// How many vote.
    pub voters: u64,
    /// How many of them must agree.
    pub quorum: u64,
    /// The members.
    pub members: Vec<Member>,
}

impl Kind for RaftStatus {
    const KIND: &'static str = "RaftStatus";
}
