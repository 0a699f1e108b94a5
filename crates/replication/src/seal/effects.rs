//! What a forced seal is told and what it answers.

use std::fmt;

use serde::{Deserialize, Serialize};
use walrus_types::{NodeId, Offset, SegmentId, StorageId, TimestampMs};

use crate::{
    cursors::Member,
    replica::{FenceAnswer, Held},
};

/// An open segment whose leader was fenced, as metadata has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Orphan {
    /// Which.
    pub id: SegmentId,
    /// Its replica set.
    pub members: Vec<Member>,
    /// Its write quorum.
    pub w: usize,
    /// Bytes per second, or whatever tells busy from idle: the hottest is sealed first.
    pub hotness: u64,
    /// Its topic's durability is `interval` or `os`: a power cut takes acked bytes (L17).
    pub lax: bool,
}

/// What a node that was asked to fence an incarnation says of one of its segments. It has made
/// the fence and the segment durable with one flush before it said so (M7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// It stores the segment. One that never got a batch ends at its base.
    Held(Held),
    /// As before, but its machine went down uncleanly since the segment was opened (L17).
    Unclean(Held),
    /// Its disk is not the one that it had. That is no vote for "nothing there".
    LostDisk {
        /// The one that it has now.
        found: StorageId,
    },
    /// It knows that the segment is sealed: this controller is behind, and its metadata will say
    /// so in a moment.
    Sealed,
    /// It could not flush or read. That is no vote either.
    Error,
    /// By its metadata it is no member, or the segment is not known yet.
    NoMember,
}

impl From<FenceAnswer> for Report {
    fn from(answer: FenceAnswer) -> Self {
        match answer {
            FenceAnswer::Held(held) => Self::Held(held),
            FenceAnswer::LostDisk { known, .. } => Self::LostDisk { found: known },
            FenceAnswer::Sealed { .. } => Self::Sealed,
        }
    }
}

/// How a proposal came out, segment by segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The segment is sealed, by this proposal or by an equal one.
    Sealed,
    /// The open segment is another: somebody else sealed this one, at an end of theirs (I5).
    OtherEpoch,
    /// The successor that was proposed with it is not valid: it needs another placement.
    Refused,
    /// Nobody knows: it may yet be applied.
    Unknown,
}

/// Something to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Send `node` a fence request for the fenced incarnation and let it report these segments.
    /// The fence holds for all others of that incarnation too (M8).
    AskFence {
        /// Whom.
        node: NodeId,
        /// What to report; hottest first.
        segments: Vec<SegmentId>,
    },
    /// Have `to_member` pull `[from, to)` from `from_member` although the segment is fenced on
    /// both, make it durable and report again.
    CopySuffix {
        /// Of which segment.
        segment: SegmentId,
        /// Who has it.
        from_member: Member,
        /// Who lacks it.
        to_member: Member,
        /// The end that it has.
        from: Offset,
        /// The end that it should have.
        to: Offset,
    },
    /// Propose these in one command, each with a placement of its own for the successor.
    ProposeRolls(Vec<SealDecision>),
    /// Too few members answer: show it to the operator. Said again when it changes.
    Blocked(Blocked),
    /// Nothing is left to seal.
    Done,
}

/// Where a segment ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealDecision {
    /// Which segment: its epoch is what the Roll expects.
    pub segment: SegmentId,
    /// Its end.
    pub end: Offset,
    /// Bytes below the end.
    pub bytes: u64,
    /// Greatest timestamp below the end, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// Members that have all of it. The others pull it by themselves.
    pub holders: Vec<Member>,
    /// Fewer than `w` hold it: the chain records that, and repair begins here (I7).
    pub short: bool,
    /// Records from here on may have been acknowledged and be lost: an operator had it sealed
    /// without enough votes, or its durability was lax. The chain records it.
    pub may_lack_from: Option<Offset>,
}

/// Why a member has no vote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It has not answered.
    Silent,
    /// Its disk is another one (M2).
    LostDisk {
        /// The one that it has now.
        found: StorageId,
    },
    /// It could not flush or read.
    Error,
    /// It knows of no such segment.
    NoMember,
    /// It went down uncleanly and does not count before all others have answered (L17).
    Unclean,
    /// It had a vote, and what no other has, and then answered no more.
    Gone {
        /// The end that it said.
        had: Offset,
    },
    /// It has less than it said before: its disk forgets.
    Shrunk {
        /// The end that it said.
        had: Offset,
    },
}

/// A segment that cannot be sealed yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blocked {
    /// Which.
    pub segment: SegmentId,
    /// How many members have a vote.
    pub have: usize,
    /// How many must have: `n - w + 1`.
    pub need: usize,
    /// Those that have none, and why.
    pub missing: Vec<(Member, Problem)>,
    /// What is committed by what members were told, when none that answered has all of it: a disk
    /// forgets, and the votes prove nothing.
    pub committed: Option<Offset>,
}

/// What `unsafe-seal` would do to one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsafePlan {
    /// Why it is asked for.
    pub blocked: Blocked,
    /// Where the segment would end: what the members that answered have.
    pub end: Offset,
    /// Past `end`, the end up to which somebody has seen it, if that is known. `[end, seen)` is
    /// then lost; without it nobody can say how much.
    pub seen: Option<Offset>,
}

/// Why a segment is not sealed unsafely.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsafeRefusal {
    /// There is nothing to seal.
    #[error("{0} is not waiting for a seal")]
    NotWaiting(SegmentId),
    /// It is under way, with nothing lost.
    #[error("enough members of {0} have answered: it is being sealed safely")]
    NotNeeded(SegmentId),
    /// Members have answered since the plan was made.
    #[error("since the plan was made the end that is known of {segment} moved to {end}")]
    Changed {
        /// Of which segment.
        segment: SegmentId,
        /// The end by now.
        end: Offset,
    },
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent => f.write_str("no answer"),
            Self::LostDisk { found } => write!(f, "its disk was lost, it has {found} now"),
            Self::Error => f.write_str("it cannot read or flush"),
            Self::NoMember => f.write_str("it does not know the segment"),
            Self::Unclean => f.write_str("its machine went down uncleanly"),
            Self::Gone { had } => write!(f, "no answer any more, it had all below {had}"),
            Self::Shrunk { had } => write!(f, "it has lost what it had below {had}"),
        }
    }
}

impl fmt::Display for Blocked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} votes", self.have, self.need)?;
        for (member, problem) in &self.missing {
            write!(f, "; {}: {problem}", member.node)?;
        }
        if let Some(committed) = self.committed {
            write!(f, "; nobody has all below {committed}, which is committed")?;
        }
        Ok(())
    }
}
