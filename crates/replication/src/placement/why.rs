//! The reasons that a placement gives, as data and as words for operators.

use std::fmt;

use walrus_types::NodeId;

use super::Placed;

/// One step of the reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A member of the segment before is none of the next.
    Left {
        /// Who.
        node: NodeId,
        /// Why.
        because: Leave,
    },
    /// A node is a member that was none.
    Joined {
        /// Who.
        node: NodeId,
        /// Why.
        because: Join,
    },
    /// A member has something against it, and there was nobody better.
    Despite {
        /// Who.
        node: NodeId,
        /// What is the matter with it.
        blemish: Blemish,
    },
    /// Fewer members than the topic should have: the others are not there.
    Narrow {
        /// How many there are.
        members: usize,
        /// How many it should have.
        target: usize,
    },
    /// Two members stand in one rack, for there are too few racks.
    SharedRack {
        /// One.
        node: NodeId,
        /// The other.
        with: NodeId,
    },
    /// Who leads.
    Leads {
        /// Who.
        node: NodeId,
        /// Why.
        because: Lead,
    },
    /// The leader reaches fewer members than must have a batch: nothing can be committed yet.
    NoQuorum {
        /// How many it reaches, itself included.
        reach: usize,
        /// How many it needs.
        w: usize,
    },
}

/// Why a member leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// The node is no longer in the cluster.
    Removed,
    /// The node has another disk than the member had.
    LostDisk,
    /// It is to hold nothing open.
    Draining,
    /// It was not heard for long enough.
    Away {
        /// How long.
        ms: u64,
    },
    /// It is away, and those that live are too few to commit with it.
    BlocksQuorum,
    /// Nobody who could lead reaches it.
    CutOff,
    /// Its disk is full and another's is not.
    DiskFull,
    /// There are more members than the topic should have.
    TooMany,
    /// Another node holds fewer segments.
    Balance,
    /// The partition was assigned to others by name.
    Assigned,
}

/// Why a node joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Join {
    /// The partition is new.
    New,
    /// There were fewer members than the topic should have.
    Wanted,
    /// In another's place.
    InPlaceOf(NodeId),
    /// The partition was assigned to it by name.
    Assigned,
}

/// What is the matter with a node that was chosen all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blemish {
    /// Not heard of late.
    Silent,
    /// It is to hold nothing open, but no other node is there.
    Draining,
    /// Its disk is full.
    DiskFull,
    /// It and another member do not reach each other.
    CutOff,
    /// It was fenced again and again and should wait for leases.
    Waits,
}

/// Why a member leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lead {
    /// It lost its quorum and goes on by itself.
    Itself,
    /// It did, and the topic wants it so.
    Keeps,
    /// It comes next.
    Next,
    /// It has the fewest leases.
    LeastLoaded {
        /// How many beside this one.
        leases: u32,
    },
    /// The others could not.
    Only,
    /// Its share of leases is not full, and this node's is more than full.
    Share {
        /// Who gives the lease.
        from: NodeId,
    },
    /// It was asked for by name.
    Named,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Left { node, because } => write!(f, "{node} leaves: {because}"),
            Self::Joined { node, because } => write!(f, "{node} joins: {because}"),
            Self::Despite { node, blemish } => write!(f, "{node} although {blemish}"),
            Self::Narrow { members, target } => write!(f, "{members} of {target} members"),
            Self::SharedRack { node, with } => write!(f, "{node} in the rack of {with}"),
            Self::Leads { node, because } => write!(f, "{node} leads: {because}"),
            Self::NoQuorum { reach, w } => write!(f, "{reach} of {w} for a commit are in reach"),
        }
    }
}

impl fmt::Display for Leave {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Removed => f.write_str("removed"),
            Self::LostDisk => f.write_str("its disk was lost"),
            Self::Draining => f.write_str("draining"),
            Self::Away { ms } => write!(f, "away for {} s", ms / 1000),
            Self::BlocksQuorum => f.write_str("away, and nothing could be committed with it"),
            Self::CutOff => f.write_str("cut off from the other members"),
            Self::DiskFull => f.write_str("its disk is full"),
            Self::TooMany => f.write_str("more members than the target"),
            Self::Balance => f.write_str("it holds more segments than others"),
            Self::Assigned => f.write_str("the partition is assigned to others"),
        }
    }
}

impl fmt::Display for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::New => f.write_str("new partition"),
            Self::Wanted => f.write_str("there were too few"),
            Self::InPlaceOf(node) => write!(f, "in place of {node}"),
            Self::Assigned => f.write_str("the partition is assigned to it"),
        }
    }
}

impl fmt::Display for Blemish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Silent => "silent",
            Self::Draining => "draining",
            Self::DiskFull => "its disk is full",
            Self::CutOff => "cut off from another member",
            Self::Waits => "fenced too often of late",
        })
    }
}

impl fmt::Display for Lead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Itself => f.write_str("it goes on by itself"),
            Self::Keeps => f.write_str("it did before"),
            Self::Next => f.write_str("it comes next"),
            Self::LeastLoaded { leases } => write!(f, "it has {leases} other leases"),
            Self::Only => f.write_str("no other can"),
            Self::Share { from } => write!(f, "its share, from {from}"),
            Self::Named => f.write_str("it was asked for"),
        }
    }
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, member) in self.members.iter().enumerate() {
            let mark = if member.node == self.leader.node { "*" } else { "" };
            let gap = if at == 0 { "" } else { " " };
            write!(f, "{gap}{}{mark}", member.node)?;
        }
        write!(f, " w={}", self.w)?;
        for (at, why) in self.why.iter().enumerate() {
            write!(f, "{} {why}", if at == 0 { ":" } else { ";" })?;
        }
        Ok(())
    }
}
