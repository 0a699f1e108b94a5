//! A partition's chain: its sealed segments and the open one.
//!
//! ```text
//!   log start
//!       |
//!  [base ... end)[base ... end)[base ...          epochs rise from left to right, with gaps
//!     sealed 3      sealed 5     open 6           where empty segments left the chain
//! ```
//!
//! Owns the chain's invariants and the moves that change it: seal, prune, and who holds a sealed
//! segment. Whether a move is allowed is judged in `apply/`. What a segment is stands in
//! `segment.rs`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use walrus_types::{Epoch, NodeId, Offset};

use crate::{
    limits::LOSSES_MAX,
    map::Map,
    node::Member,
    segment::{Coverage, Digest, Loss, Open, Sealed, SealedAt, Segment, SegmentKey},
};

/// Where a partition is to be, while it is not all there: what somebody asked for by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assignment {
    /// The nodes that are to store all of it, in the order of its next segments' members.
    pub to: Vec<NodeId>,
    /// The nodes that stored the open segment when it was asked for: where the partition goes
    /// back to when somebody thinks better of it.
    pub from: Vec<NodeId>,
}

/// A partition. See the module's head for the picture.
///
/// Invariants: bases and epochs rise along the chain; a segment's base is the end of the one
/// before it; no sealed segment is empty; the log start lies past the first segment's base and, if
/// that is sealed, before its end; no loss is of the open segment or lies below the log start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    pub(crate) sealed: Map<SegmentKey, Sealed>,
    pub(crate) open: Open,
    pub(crate) log_start: Offset,
    /// By the segment that was sealed, which is in the chain only if something of it was found.
    pub(crate) losses: Map<SegmentKey, Loss>,
    pub(crate) assignment: Option<Arc<Assignment>>,
}

/// How far an epoch reached, as OffsetForLeaderEpoch asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The epoch that the answer is about.
    pub epoch: Epoch,
    /// Where its offsets end; `None` for the open segment, whose end only its leader knows.
    pub end: Option<Offset>,
}

impl Partition {
    /// A partition with nothing in it.
    pub(crate) fn new(open: Open) -> Self {
        let log_start = open.key.base;
        let (sealed, losses) = (Map::default(), Map::default());
        Self { sealed, open, log_start, losses, assignment: None }
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

    /// What lossy seals may have lost, by the segment, from the log start on.
    pub fn losses(&self) -> &Map<SegmentKey, Loss> {
        &self.losses
    }

    /// Where it is to be, while it is not all there.
    pub fn assignment(&self) -> Option<&Arc<Assignment>> {
        self.assignment.as_ref()
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
    pub(crate) fn roll(&mut self, at: SealedAt, coverage: &Coverage, next: Open) -> bool {
        let key = self.open.key;
        assert!(at.end >= key.base, "segment {key:?} sealed at {}, before its base", at.end);
        assert!(at.end >= self.log_start, "sealed at {}, log starts at {}", at.end, self.log_start);
        assert_eq!(next.key.base, at.end, "the successor begins where the sealed segment ends");
        assert!(next.key.epoch > key.epoch, "epoch {} after {}", next.key.epoch, key.epoch);
        let was = std::mem::replace(&mut self.open, next);
        let stays = at.end > key.base && at.end > self.log_start;
        if stays {
            let members = match coverage.holders() {
                Some(holders) if holders.len() < usize::from(was.w) => {
                    let held = was.members.iter().filter(|member| holders.contains(member));
                    held.copied().collect()
                }
                Some(_) | None => was.members,
            };
            assert!(!members.is_empty(), "nobody holds {key:?}, sealed at {}", at.end);
            let sealed = Sealed {
                end: at.end,
                bytes: at.bytes,
                max_timestamp: at.max_timestamp,
                members,
                leader: was.leader.node,
                reason: was.reason,
                digest: None,
            };
            self.sealed.insert(key, sealed);
        }
        if let Coverage::Lossy { seen, .. } = *coverage {
            self.losses.insert(key, Loss { from: at.end, seen });
            self.forget_losses();
        }
        self.check_ends();
        stays
    }

    /// Gives a sealed segment other members, and its digest if it has none yet.
    pub(crate) fn set_members(
        &mut self,
        key: SegmentKey,
        members: Arc<[Member]>,
        digest: Option<Digest>,
    ) {
        assert!(!members.is_empty(), "nobody is to hold {key:?}");
        let sealed = self.sealed.get_mut(&key).expect("the caller has seen that it is sealed");
        let known = sealed.digest;
        assert!(known.is_none() || digest.is_none_or(|new| known == Some(new)), "two digests");
        sealed.members = members;
        sealed.digest = known.or(digest);
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
        self.forget_losses();
        self.check_ends();
        dropped
    }

    /// Drops losses below the log start, and the oldest past the limit.
    fn forget_losses(&mut self) {
        while let Some((key, loss)) = self.losses.first() {
            if loss.from >= self.log_start && self.losses.len() <= LOSSES_MAX {
                break;
            }
            let key = *key;
            self.losses.remove(&key);
        }
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
            if sealed.members.is_empty() {
                return Err("nobody holds a sealed segment");
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
        if self.losses.len() > LOSSES_MAX {
            return Err("more losses than are kept");
        }
        if self.assignment.as_ref().is_some_and(|wish| wish.to.is_empty()) {
            return Err("a partition is assigned to nobody");
        }
        for (key, loss) in &self.losses {
            let in_order = key.base <= loss.from && loss.from <= loss.seen;
            let of_chain = key.epoch < open.key.epoch && loss.from <= open.key.base;
            if !in_order || !of_chain || loss.from < self.log_start {
                return Err("a loss is not of its chain");
            }
        }
        Ok(())
    }
}
