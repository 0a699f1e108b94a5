//! The nodes as placement sees them: a plain view that the caller fills from metadata and
//! heartbeats.

use std::collections::BTreeMap;

use walrus_types::{Incarnation, NodeId, PartitionIndex, StorageId};

use super::Placed;
use crate::{cursors::Member, replica::Writer};

/// What metadata says that a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// Leads and stores.
    #[default]
    Active,
    /// Still serves, but is given nothing new.
    Draining,
    /// Its incarnation may not write; the next one may.
    Fenced,
    /// Gone for good.
    Removed,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Its id.
    pub id: NodeId,
    /// Its disk.
    pub storage: StorageId,
    /// Its present life.
    pub incarnation: Incarnation,
    /// What it may do.
    pub standing: Standing,
    /// Where it stands; a node that does not say stands alone.
    pub rack: Option<String>,
    /// Whether it has waited long enough since it was fenced (L1).
    pub may_take_leases: bool,
    /// How long it has not been heard; `None` while it is.
    pub silent_ms: Option<u64>,
    /// Its disk is full: it asks for no new segments (L23).
    pub disk_full: bool,
    /// How many partitions it leads.
    pub leases: u32,
    /// How many open segments it stores, those that it leads included.
    pub held: u32,
    /// Whom it says that it cannot reach (L16).
    pub unreachable: Vec<NodeId>,
}

impl Node {
    /// Whether it can be asked to write and store now.
    pub(crate) fn lives(&self) -> bool {
        matches!(self.standing, Standing::Active | Standing::Draining) && self.silent_ms.is_none()
    }

    /// Whether it may be given a new segment.
    pub(crate) fn takes_segments(&self) -> bool {
        self.standing == Standing::Active && self.silent_ms.is_none() && !self.disk_full
    }

    /// Whether it may be given a lease.
    pub(super) fn takes_leases(&self) -> bool {
        self.takes_segments() && self.may_take_leases
    }
}

/// All nodes that metadata knows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Nodes(BTreeMap<NodeId, Node>);

impl FromIterator<Node> for Nodes {
    fn from_iter<I: IntoIterator<Item = Node>>(nodes: I) -> Self {
        Self(nodes.into_iter().map(|node| (node.id, node)).collect())
    }
}

impl Nodes {
    /// One of them.
    #[must_use]
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.0.get(&id)
    }

    /// All, by id.
    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.0.values()
    }

    /// Counts a segment that was placed with this view, so that the next one goes elsewhere.
    /// `before` are the members of the segment that it follows.
    pub fn count(&mut self, placed: &Placed, before: &[Member]) {
        if let Some(leader) = self.0.get_mut(&placed.leader.node) {
            leader.leases = leader.leases.saturating_add(1);
        }
        for member in before {
            if let Some(node) = self.0.get_mut(&member.node) {
                node.held = node.held.saturating_sub(1);
            }
        }
        for member in &placed.members {
            if let Some(node) = self.0.get_mut(&member.node) {
                node.held = node.held.saturating_add(1);
            }
        }
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Node> {
        self.0.values_mut()
    }

    pub(super) fn get_mut(&mut self, id: NodeId) -> Option<&mut Node> {
        self.0.get_mut(&id)
    }

    /// One that was found here before.
    pub(super) fn at(&self, id: NodeId) -> &Node {
        self.0.get(&id).expect("a chosen node is one of the nodes")
    }

    /// A node in its present life.
    pub(super) fn writer(&self, id: NodeId) -> Writer {
        Writer { node: id, incarnation: self.at(id).incarnation }
    }

    /// Whether a node that is known lives.
    pub(super) fn lives(&self, id: NodeId) -> bool {
        self.0.get(&id).is_some_and(Node::lives)
    }

    /// How many are active, by metadata's count: silent ones and full ones too.
    pub(crate) fn active(&self) -> usize {
        self.0.values().filter(|node| node.standing == Standing::Active).count()
    }

    /// Whether two nodes reach each other, as far as either says.
    pub(crate) fn linked(&self, a: NodeId, b: NodeId) -> bool {
        let denies =
            |from, to| self.get(from).is_some_and(|node: &Node| node.unreachable.contains(&to));
        !denies(a, b) && !denies(b, a)
    }

    /// How many of `set` live and are not reached by `id`.
    pub(super) fn cut(&self, id: NodeId, set: &[NodeId]) -> usize {
        set.iter().filter(|other| self.lives(**other) && !self.linked(id, **other)).count()
    }

    /// How many of `set` other than `id` stand in its rack.
    pub(crate) fn same_rack(&self, id: NodeId, set: &[NodeId]) -> usize {
        let rack = self.at(id).rack.as_ref();
        let beside = |other: &&NodeId| **other != id && self.at(**other).rack.as_ref() == rack;
        if rack.is_none() { 0 } else { set.iter().filter(beside).count() }
    }

    /// How many pairs of `set` stand in one rack.
    pub(super) fn rack_pairs(&self, set: &[NodeId]) -> usize {
        set.iter().map(|id| self.same_rack(*id, set)).sum::<usize>() / 2
    }
}

/// What the partitions of one topic that are placed together have been given so far.
#[derive(Debug, Default)]
pub(super) struct Load {
    given: BTreeMap<NodeId, Given>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Given {
    pub(super) led: u32,
    pub(super) held: u32,
}

impl Load {
    pub(super) fn of(&self, id: NodeId) -> Given {
        self.given.get(&id).copied().unwrap_or_default()
    }

    pub(super) fn give(&mut self, id: NodeId) -> &mut Given {
        self.given.entry(id).or_default()
    }
}

/// Decides between nodes that are equal in all else: another order for each partition, so that
/// nodes which share one partition do not share them all.
pub(super) fn shuffle(salt: u64, partition: PartitionIndex, id: NodeId) -> u64 {
    let part = (u64::from(partition.0.cast_unsigned()) << 32) | u64::from(id.0.cast_unsigned());
    // SplitMix64's finaliser, twice.
    let mix = |mut z: u64| {
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    };
    mix(mix(salt.wrapping_add(0x9e37_79b9_7f4a_7c15)).wrapping_add(part))
}
