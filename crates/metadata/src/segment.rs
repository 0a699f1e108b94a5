//! One segment: what names it, what is kept of it while it is open and once it is sealed.
//!
//! Owns the shapes only. How segments make a chain stands in `partition.rs`, what may be sealed and
//! how in `apply/partitions.rs`, what changes afterwards in `apply/members.rs`.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, TimestampMs};

use crate::node::{Leader, Member};

/// Why a segment was opened, and with it why the one before it was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// The partition was made.
    Created,
    /// The one before held enough entries.
    Entries,
    /// It held enough bytes.
    Bytes,
    /// It had been open for long enough.
    Age,
    /// An operator asked.
    Operator,
    /// A config changed that a segment's record carries.
    Config,
    /// Its leader was started anew.
    Restart,
    /// Retention wanted its records gone, and only sealed segments go.
    Retention,
    /// Its leader was fenced.
    Failover,
    /// Its leader lived and could not reach its write quorum any more.
    QuorumLost,
    /// A member is to be emptied.
    Drain,
    /// Another node has less to do.
    Balance,
    /// It had fewer members than its topic wants.
    Widen,
    /// A member was away.
    Narrow,
    /// An operator went on without the members that a forced seal needs.
    Unsafe,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Created => "created",
            Self::Entries => "entries",
            Self::Bytes => "bytes",
            Self::Age => "age",
            Self::Operator => "operator",
            Self::Config => "config",
            Self::Restart => "restart",
            Self::Retention => "retention",
            Self::Failover => "failover",
            Self::QuorumLost => "quorum lost",
            Self::Drain => "drain",
            Self::Balance => "balance",
            Self::Widen => "widen",
            Self::Narrow => "narrow",
            Self::Unsafe => "unsafe seal",
        })
    }
}

/// What names a segment within its partition. Both parts rise along a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SegmentKey {
    /// Its first offset.
    pub base: Offset,
    /// Its epoch.
    pub epoch: Epoch,
}

/// XXH3-128 over a sealed segment's bytes. Kept as bytes, for a `u128` would want 16 more bytes of
/// room in each record.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 16]);

impl From<u128> for Digest {
    fn from(hash: u128) -> Self {
        Self(hash.to_be_bytes())
    }
}

impl From<Digest> for u128 {
    fn from(digest: Digest) -> Self {
        Self::from_be_bytes(digest.0)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", u128::from(*self))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is known of a sealed segment beside its key. Chains are long: at most 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The end of its offsets, for good.
    pub end: Offset,
    /// How many bytes it holds, for retention.
    pub bytes: u64,
    /// The greatest timestamp in it, for retention and for search.
    pub max_timestamp: TimestampMs,
    /// Who holds it, or pulls what it lacks from one who does. Segments in a row with the same
    /// members share one list.
    pub members: Arc<[Member]>,
    /// Who wrote it.
    pub leader: NodeId,
    /// Why it was opened.
    pub reason: Reason,
    /// Of all its bytes. Set once, some time after the seal.
    pub digest: Option<Digest>,
}

const _: () = assert!(size_of::<(SegmentKey, Sealed)>() <= 80);

/// The one segment of a chain that takes appends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Open {
    /// Which it is.
    pub key: SegmentKey,
    /// Who alone writes it.
    pub leader: Leader,
    /// Who stores it; the leader's node is among them.
    pub members: Arc<[Member]>,
    /// How many members must have a batch durable before it is committed. Fixed for the
    /// segment's life: seals count on it.
    pub w: u8,
    /// When it was opened, by the clock of who proposed it.
    pub opened_at: TimestampMs,
    /// Why it was opened.
    pub reason: Reason,
}

/// A link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Segment<'a> {
    /// Its end is fixed.
    Sealed(SegmentKey, &'a Sealed),
    /// It is the last and takes appends.
    Open(&'a Open),
}

impl<'a> Segment<'a> {
    /// Base and epoch.
    pub fn key(self) -> SegmentKey {
        match self {
            Self::Sealed(key, _) => key,
            Self::Open(open) => open.key,
        }
    }

    /// Its end, if that is fixed.
    pub fn end(self) -> Option<Offset> {
        match self {
            Self::Sealed(_, sealed) => Some(sealed.end),
            Self::Open(_) => None,
        }
    }

    /// Who stores it.
    pub fn members(self) -> &'a [Member] {
        match self {
            Self::Sealed(_, sealed) => &sealed.members,
            Self::Open(open) => &open.members,
        }
    }

    /// Whose node wrote it.
    pub fn leader(self) -> NodeId {
        match self {
            Self::Sealed(_, sealed) => sealed.leader,
            Self::Open(open) => open.leader.node,
        }
    }

    /// Why it was opened.
    pub fn reason(self) -> Reason {
        match self {
            Self::Sealed(_, sealed) => sealed.reason,
            Self::Open(open) => open.reason,
        }
    }
}

/// What the open segment turned out to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedAt {
    /// Where its offsets end.
    pub end: Offset,
    /// How many bytes they take.
    pub bytes: u64,
    /// The greatest timestamp in it, or none.
    pub max_timestamp: TimestampMs,
}

/// How many members hold what is sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Coverage {
    /// `w` of them or more hold all of it; the others pull what they lack.
    Quorum,
    /// Fewer than `w` could be reached in time, and these hold all of it. They are its members
    /// from now on, so repair finds a segment with few copies and begins there.
    Narrow(Vec<Member>),
    /// Batches may have been committed that nobody who answered has: an operator went on without
    /// enough answers, or disks forgot what they were not made to keep.
    Lossy {
        /// Who holds what was found, if anybody. Fewer than `w` are its members from now on.
        holders: Vec<Member>,
        /// The greatest end of the segment that anybody ever told, or the end itself.
        seen: Offset,
    },
}

impl Coverage {
    /// Who holds what is sealed, where that is recorded.
    pub fn holders(&self) -> Option<&[Member]> {
        match self {
            Self::Quorum => None,
            Self::Narrow(holders) | Self::Lossy { holders, .. } => Some(holders),
        }
    }
}

/// What a lossy seal may have lost: records of that segment from `from` on. The successor uses
/// those offsets again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loss {
    /// The end that was decided.
    pub from: Offset,
    /// The greatest end that anybody ever told. When it is `from`, nothing is known to be missing,
    /// and something may be.
    pub seen: Offset,
}
