//! Nodes, and what an operator does with one.

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId, StorageId};

use crate::document::Kind;

/// What a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// Leads and stores.
    Active,
    /// Serves, and is given nothing new.
    Draining,
    /// Its present life may not write.
    Fenced,
    /// Gone for good.
    Removed,
}

impl NodeState {
    /// Whether its present life leads and serves.
    pub const fn serves(self) -> bool {
        matches!(self, Self::Active | Self::Draining)
    }

    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Draining => "draining",
            Self::Fenced => "fenced",
            Self::Removed => "removed",
        }
    }
}

/// Where a node listens, each as host:port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Addresses {
    /// Kafka clients.
    pub client: String,
    /// Other nodes.
    pub peer: String,
    /// Operators.
    pub admin: String,
}

/// What a node is still needed for, as the metadata has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holding {
    /// Open segments that it leads.
    pub leads: u64,
    /// Open segments that it is a member of.
    pub open: u64,
    /// Sealed segments that it is a member of.
    pub sealed: u64,
    /// Segments of which no other node that serves is a member.
    pub sole: u64,
    /// Sealed segments that would have fewer copies without it than there could be.
    #[serde(default)]
    pub needed: u64,
}

impl Holding {
    /// Whether no open segment names the node, and others have enough copies of what it has.
    pub const fn is_free(&self) -> bool {
        self.leads == 0 && self.open == 0 && self.needed == 0
    }

    /// Whether no open segment names the node, and none is on it alone: its process may stop for
    /// a while and nobody misses it.
    pub const fn is_spare(&self) -> bool {
        self.leads == 0 && self.open == 0 && self.sole == 0
    }
}

/// A node's part in the metadata group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RaftPart {
    /// Whether it leads the group, and with that is the controller.
    pub leads: bool,
    /// Whether it votes; else it learns.
    pub votes: bool,
    /// Entries of the log that it lacks, where the leader was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lag_entries: Option<u64>,
}

/// A node that has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Node {
    /// Its number.
    pub node: NodeId,
    /// What it may do.
    pub state: NodeState,
    /// Whether an operator wants it emptied. Holds over its lives.
    pub drains: bool,
    /// Its disk.
    pub storage: StorageId,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rack: Option<String>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Its part in the metadata group; none for who is in it no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub raft: Option<RaftPart>,
    /// What it is needed for.
    pub holding: Holding,
    /// How often it was fenced of late.
    pub fences: u8,
}

/// The nodes of a cluster, removed ones too, in order of their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NodeList {
    /// The metadata's index that this is of.
    pub metadata_version: u64,
    /// They.
    pub items: Vec<Node>,
}

impl Kind for NodeList {
    const KIND: &'static str = "NodeList";
}

/// What an operator does with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// It is given nothing new, and what it has goes elsewhere.
    Drain,
    /// It takes part again.
    Undrain,
    /// It goes for good.
    Remove,
}
