//! The cluster as one node's metadata has it, and that node itself.

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId, StorageId};

use crate::{document::Kind, node::Node};

/// The node that answers. It is told at any time, before the node is in a cluster too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SelfStatus {
    /// The version of its program.
    pub version: String,
    /// `starting`, `ready`, `draining` (it stops) or `failed`.
    pub state: String,
    /// Why it is not ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Whether it waits to be told to found a cluster or to join one.
    pub awaits_bootstrap: bool,
    /// Who it is, once it serves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Whether its disk is full up to the reserve.
    pub disk_full: bool,
}

impl Kind for SelfStatus {
    const KIND: &'static str = "Self";
}

/// Who a node is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Identity {
    /// Its number.
    pub node: NodeId,
    /// Its disk.
    pub storage: StorageId,
    /// Its cluster, as Kafka prints it.
    pub cluster: String,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// Segments and their copies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Segments {
    /// All of them.
    pub total: u64,
    /// Those that take appends: one for each partition.
    pub open: u64,
    /// Open ones whose leader is fenced or was started anew: nobody can write to them.
    pub leaderless: u64,
    /// Open ones with fewer members that serve than `min.insync.replicas`: acks=all is refused.
    pub below_min_insync: u64,
    /// Those with fewer copies on nodes that serve than their topic wants.
    pub below_target: u64,
    /// Those of them that have fewer than the active nodes could hold.
    pub repairable: u64,
    /// Those with one copy whose topic wants more.
    pub single: u64,
    /// Those without any copy on a node that serves.
    pub unreachable: u64,
    /// Lossy seals that chains still record.
    pub losses: u64,
}

/// The metadata group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(as = MetadataGroup))]
pub struct Group {
    /// Who leads it, as far as the answering node knows.
    pub leader: Option<NodeId>,
    /// The term.
    pub term: u64,
    /// How many vote.
    pub voters: u64,
    /// How many of them must agree.
    pub quorum: u64,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ClusterStatus {
    /// Its id, as Kafka prints it.
    pub cluster: String,
    /// Who answers, from what it knows.
    pub answered_by: NodeId,
    /// The metadata's index that this is of.
    pub metadata_version: u64,
    /// The metadata group.
    pub group: Group,
    /// How many topics.
    pub topics: u64,
    /// How many partitions they have together.
    pub partitions: u64,
    /// Their segments.
    pub segments: Segments,
    /// The nodes, removed ones too.
    pub nodes: Vec<Node>,
}

impl Kind for ClusterStatus {
    const KIND: &'static str = "ClusterStatus";
}

impl ClusterStatus {
    /// The nodes that were not removed.
    pub fn members(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.state != crate::node::NodeState::Removed)
    }

    /// A node.
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|node| node.node == id)
    }
}

/// Tells a node that waits to found a cluster of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct BootstrapRequest {}

/// Tells a node that waits to join a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct JoinRequest {
    /// The peer port of a node of that cluster, as host:port.
    pub peer: String,
}

/// A node was told, or needed not to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FormAnswer {
    /// Whether it was told just now. It forms as soon as it can; ask it how it stands.
    pub told: bool,
    /// The cluster that it is in already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

impl Kind for FormAnswer {
    const KIND: &'static str = "Form";
}
