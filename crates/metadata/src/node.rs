//! What the cluster knows of a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId, StorageId};

/// Where something listens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// A name or an address, as it is to be told to others.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// The three doors of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    /// Kafka clients.
    pub client: Address,
    /// Other nodes.
    pub peer: Address,
    /// The admin API.
    pub admin: Address,
}

/// What a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeState {
    /// Leads and stores.
    Active,
    /// Still serves, but is given nothing new.
    Draining,
    /// Its incarnation may not write; the next one may.
    Fenced,
    /// Gone for good. Its ids are not used again.
    Removed,
}

/// A node that has registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Node {
    /// The disk that belongs to it. A node whose disk was lost is another node.
    pub storage: StorageId,
    /// Its present life. What an earlier one leads is to be sealed.
    pub incarnation: Incarnation,
    /// What it may do.
    pub state: NodeState,
    /// Where it stands, for placement and for clients that ask by rack.
    pub rack: Option<String>,
    /// Where it listens.
    pub addresses: Addresses,
    /// Configs of this node alone.
    pub configs: BTreeMap<String, String>,
}

/// One holder of a segment: a node with the disk that it had then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Its disk.
    pub storage: StorageId,
}

/// Who appends to an open segment: one life of one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Leader {
    /// The node.
    pub node: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
}
