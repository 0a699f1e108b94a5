//! A partition's chain: its sealed segments and the open one.
//!
//! ```text
//!   log start
//!       |
//!  [base ... end)[base ... end)[base ...          epochs rise from left to right, with gaps
//!     sealed 3      sealed 5     open 6           where empty segments left the chain
//! ```
//!
//! Owns the chain's invariants and the two moves that change it, seal and prune. Whether a move is
//! allowed is judged in `apply/partitions.rs`.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset, TimestampMs};

use crate::{
    map::Map,
    node::{Leader, Member},
};

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

/// What is known of a sealed segment beside its key. Chains are long: at most 48 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The end of its offsets, for good.
    pub end: Offset,
    /// How many bytes it holds, for retention.
    pub bytes: u64,
    /// The greatest timestamp in it, for retention and for search.
    pub max_timestamp: TimestampMs,
    /// Who holds it. Segments in a row with the same members share one list.
    pub members: Arc<[Member]>,
    /// Who wrote it.
    pub leader: NodeId,
    /// Why it was opened.
    pub reason: Reason,
}

const _: () = assert!(size_of::<(SegmentKey, Sealed)>() <= 64);

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

/// A partition. See the module's head for the picture.
///
/// Invariants: bases and epochs rise along the chain; a segment's base is the end of the one
/// before it; no sealed segment is empty; the log start lies past the first segment's base and, if
/// that is sealed, before its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub(crate) sealed: Map<SegmentKey, Sealed>,
    pub(crate) open: Open,
    pub(crate) log_start: Offset,
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

/// How far an epoch reached, as OffsetForLeaderEpoch asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch that the answer is about.
    pub epoch: Epoch,
    /// Where its offsets end; `None` for the open segment, whose end only its leader knows.
    pub end: Option<Offset>,
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

impl Partition {
    /// A partition with nothing in it.
    pub(crate) fn new(open: Open) -> Self {
        let log_start = open.key.base;
        Self { sealed: Map::default(), open, log_start }
    }

    /// The segment that takes appends.
    pub fn open(&self) -> &Open {
        &self.open
    }

    /// The sealed segments, oldest first.
    pub fn sealed(&self) -> &Map<SegmentKey, Sealed> {
        &self.sealed
    }

    /// The whole chain, oldest first.
    pub fn chain(&self) -> impl Iterator<Item = Segment<'_>> {
        let sealed = self.sealed.iter().map(|(key, sealed)| Segment::Sealed(*key, sealed));
        sealed.chain([Segment::Open(&self.open)])
    }

    /// How many segments the chain has.
    pub fn segments(&self) -> usize {
        self.sealed.len() + 1
    }

    /// The first offset that may be read.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// Whether the chain has a segment of that key.
    pub fn contains(&self, key: SegmentKey) -> bool {
        self.open.key == key || self.sealed.get(&key).is_some()
    }

    /// The segment that `offset` lies in; the open one for everything past the last seal, `None`
    /// for what lies before the chain.
    pub fn segment_at(&self, offset: Offset) -> Option<Segment<'_>> {
        if offset >= self.open.key.base {
            return Some(Segment::Open(&self.open));
        }
        let (key, sealed) = self.sealed.last_where(|key| key.base <= offset)?;
        Some(Segment::Sealed(*key, sealed))
    }

    /// How far the greatest epoch up to `asked` reached. An epoch before the whole chain ended
    /// where the log starts now (as in Kafka's epoch cache). Epochs whose segments were empty
    /// answer for the one before.
    pub fn epoch_end(&self, asked: Epoch) -> EpochEnd {
        if asked >= self.open.key.epoch {
            return EpochEnd { epoch: self.open.key.epoch, end: None };
        }
        match self.sealed.last_where(|key| key.epoch <= asked) {
            Some((key, sealed)) => EpochEnd { epoch: key.epoch, end: Some(sealed.end) },
            None => EpochEnd { epoch: asked, end: Some(self.log_start) },
        }
    }

    /// Seals the open segment and opens its successor, as one move. Answers whether the sealed
    /// segment stays in the chain: an empty one, or one that was pruned as a whole, does not.
    pub(crate) fn roll(&mut self, at: SealedAt, next: Open) -> bool {
        let key = self.open.key;
        assert!(at.end >= key.base, "segment {key:?} sealed at {}, before its base", at.end);
        assert!(at.end >= self.log_start, "sealed at {}, log starts at {}", at.end, self.log_start);
        assert_eq!(next.key.base, at.end, "the successor begins where the sealed segment ends");
        assert!(next.key.epoch > key.epoch, "epoch {} after {}", next.key.epoch, key.epoch);
        let was = std::mem::replace(&mut self.open, next);
        let stays = at.end > key.base && at.end > self.log_start;
        if stays {
            let sealed = Sealed {
                end: at.end,
                bytes: at.bytes,
                max_timestamp: at.max_timestamp,
                members: was.members,
                leader: was.leader.node,
                reason: was.reason,
            };
            self.sealed.insert(key, sealed);
        }
        self.check_ends();
        stays
    }

    /// Raises the log start and drops the segments that lie below it as a whole; answers how many.
    pub(crate) fn prune(&mut self, log_start: Offset) -> u32 {
        self.log_start = self.log_start.max(log_start);
        let mut dropped = 0;
        while let Some((key, sealed)) = self.sealed.first() {
            if sealed.end > self.log_start {
                break;
            }
            let key = *key;
            self.sealed.remove(&key);
            dropped += 1;
        }
        self.check_ends();
        dropped
    }

    /// The invariants where the chain changes: at its two ends.
    fn check_ends(&self) {
        if let Some((key, sealed)) = self.sealed.last() {
            let open = self.open.key;
            assert_eq!(sealed.end, open.base, "{key:?} and {open:?} do not meet");
            assert!(key.epoch < open.epoch, "epoch {} then {}", key.epoch, open.epoch);
        }
        let first = self.sealed.first();
        let base = first.map_or(self.open.key.base, |(key, _)| key.base);
        assert!(base <= self.log_start, "log starts at {}, chain at {base}", self.log_start);
        if let Some((key, sealed)) = first {
            let start = self.log_start;
            assert!(start < sealed.end, "{key:?} lies below the log start {start}");
        }
    }

    /// All invariants, link by link.
    ///
    /// # Errors
    /// Which one does not hold. What comes from a snapshot is checked with this.
    pub(crate) fn verify(&self) -> Result<(), &'static str> {
        let mut before: Option<(SegmentKey, Offset)> = None;
        for (key, sealed) in &self.sealed {
            if key.base >= sealed.end {
                return Err("a sealed segment is empty");
            }
            if before.is_some_and(|(_, end)| end != key.base) {
                return Err("a chain has a gap");
            }
            if before.is_some_and(|(before, _)| before.epoch >= key.epoch) {
                return Err("epochs do not rise along a chain");
            }
            if before.is_none() && self.log_start >= sealed.end {
                return Err("a sealed segment lies below the log start");
            }
            before = Some((*key, sealed.end));
        }
        let open = &self.open;
        if before.is_some_and(|(key, end)| end != open.key.base || key.epoch >= open.key.epoch) {
            return Err("the open segment does not follow the last sealed one");
        }
        let base = self.sealed.first().map_or(open.key.base, |(key, _)| key.base);
        if base < Offset::ZERO || base > self.log_start || open.key.epoch < Epoch::FIRST {
            return Err("the log starts outside its chain");
        }
        if !open.members.iter().any(|member| member.node == open.leader.node) {
            return Err("a leader is no member");
        }
        if open.w == 0 || usize::from(open.w) > open.members.len() {
            return Err("a write quorum is not of its members");
        }
        Ok(())
    }
}
