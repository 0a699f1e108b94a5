//! What the cluster knows of a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId, StorageId, TimestampMs};

use crate::limits::{FENCE_FORGOTTEN_AFTER_MS, LEASES_WAIT_MS_MAX, LEASES_WAIT_MS_MIN};

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
    /// Gone for good, with its disk. An empty disk may take its node id and is another node then.
    Removed,
}

impl NodeState {
    /// Whether the node's present life leads and serves.
    pub fn serves(self) -> bool {
        match self {
            Self::Active | Self::Draining => true,
            Self::Fenced | Self::Removed => false,
        }
    }
}

/// A node that has registered.
///
/// Invariant: one that is active does not drain, one that is draining does.
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
    /// An operator wants it emptied. Holds over its lives: a fenced one comes back draining.
    pub drains: bool,
    /// How often it was fenced of late.
    pub fences: Fences,
}

/// How often a node was fenced of late, and how long it waits for leases because of that.
///
/// The first fence costs no wait: a node that restarts is to lead again at once. Times come from
/// commands and so from several clocks, which may differ; what is far away from the last fence, on
/// either side, never makes a node wait longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Fences {
    /// How many in a row.
    pub count: u8,
    /// When the last one was; means nothing when there was none.
    pub last: TimestampMs,
}

impl Fences {
    /// With one more. A command without a time does not count.
    pub(crate) fn and_one(self, at: TimestampMs) -> Self {
        if at == TimestampMs::NONE {
            return self;
        }
        let in_a_row = self.count > 0 && at.0.abs_diff(self.last.0) < FENCE_FORGOTTEN_AFTER_MS;
        Self { count: if in_a_row { self.count.saturating_add(1) } else { 1 }, last: at }
    }

    /// How long the node waits for leases, from its last fence on.
    pub fn wait_ms(self) -> u64 {
        let Some(doublings) = self.count.checked_sub(2) else { return 0 };
        let doubled = 1_u64.checked_shl(doublings.into()).unwrap_or(u64::MAX);
        LEASES_WAIT_MS_MIN.saturating_mul(doubled).min(LEASES_WAIT_MS_MAX)
    }

    /// When it may be given leases again, if it waits at `now`.
    pub fn leases_from(self, now: TimestampMs) -> Option<TimestampMs> {
        let wait = self.wait_ms();
        let waits = now.0.abs_diff(self.last.0) < wait;
        waits.then(|| TimestampMs(self.last.0.saturating_add_unsigned(wait)))
    }
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
