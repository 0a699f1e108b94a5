//! The forced seal: how the open segments of a leader that was fenced come to their ends.
//!
//! [`ForcedSeal`] is one state machine for one (node, incarnation). The controller drives it with
//! what members answer and with the time, and carries out its [`Effect`]s. It keeps nothing that
//! another controller could not find out again, and any effect may be carried out twice.
//!
//! The rules (design §7, I1 to I8; part F of the notes on sealing):
//!
//! - One fence request per node stands for all segments of the incarnation, those too that the
//!   node has not heard of (M8, M18). It is asked again until it has answered what is needed.
//! - A member votes with the disk that the segment's record names. A lost disk, another disk, an
//!   I/O error or silence is no vote, and never means "nothing there" (M2).
//! - `n - w + 1` votes meet every write quorum (I4). The greatest end wins: all that was
//!   committed is below it (I5, M7: it was flushed before it was said).
//! - Where durability is lax, a member that went down uncleanly votes only when every member has
//!   answered (L17).
//! - The end has to be durable on `w` members before it is proposed (I7). Suffixes are copied
//!   between fenced members. When fewer can be reached for [`NARROW_AFTER_MS`], it goes on with
//!   all that can and say once more that they have it, and the decision says so (M4). Who alone
//!   has it and is gone loses its vote: with enough votes left what it had was not committed.
//! - Rolls travel in commands of up to `CHANGES_PER_COMMAND_MAX`, the hottest first (M18). What
//!   was proposed is proposed again unchanged until its outcome is known; another epoch ends the
//!   seal of that segment (I5).
//! - When the votes cannot come, only an operator's word goes on (L19):
//!   [`ForcedSeal::plan_unsafe`] names what may be missing, [`ForcedSeal::seal_unsafe`] does it.
//!
//! Owns no placement: who leads the successor is `placement.rs`. Where to read next:
//! `seal/segment.rs`, which decides; `seal/effects.rs` has the words.

mod effects;
mod segment;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
};

use walrus_types::{NodeId, Offset, SegmentId, limits::CHANGES_PER_COMMAND_MAX};

pub use effects::{
    Blocked, Effect, Orphan, Outcome, Problem, Report, SealDecision, UnsafePlan, UnsafeRefusal,
};

use crate::{
    replica::{Held, Writer},
    roll::UptimeMs,
};
use segment::SegmentSeal;

/// How long fewer than `w` members may be in reach before the seal goes on with those.
pub const NARROW_AFTER_MS: u64 = 500;

/// A node that has not answered is asked again after this, then after twice as long, and so on.
pub const ASK_AGAIN_MS: u64 = 200;

/// The longest time between two requests to one node.
pub const ASK_AGAIN_MAX_MS: u64 = 3_200;

/// How long a copy may take.
pub const COPY_PATIENCE_MS: u64 = 10_000;

/// A copy that failed is tried again after this.
pub const COPY_AGAIN_MS: u64 = 100;

/// How often a copy must have failed before its member counts as out of reach.
pub const COPY_TRIES: u32 = 3;

/// Who alone holds the greatest end and does not say so again for so long has no vote any more.
pub const HOLDER_PATIENCE_MS: u64 = 5_000;

/// A proposal of unknown outcome, or with a placement that was refused, is repeated after this.
pub const PROPOSE_AGAIN_MS: u64 = 100;

/// An operator hears of a segment that cannot be sealed for so long.
pub const BLOCKED_AFTER_MS: u64 = 2_000;

/// The seal of everything that one life of a node led.
#[derive(Debug, Clone)]
pub struct ForcedSeal {
    fenced: Writer,
    segments: BTreeMap<SegmentId, SegmentSeal>,
    /// The segments, hottest first; those that are over may still stand here.
    order: Vec<SegmentId>,
    asked: BTreeMap<NodeId, Asked>,
    is_done: bool,
}

/// When a node was last asked, and how long to wait before it is asked again.
#[derive(Debug, Clone, Copy)]
struct Asked {
    at: UptimeMs,
    wait_ms: u64,
}

impl ForcedSeal {
    /// Begins to seal what `fenced` leads by metadata that has the fence applied.
    ///
    /// # Panics
    /// When a segment's record has a write quorum that its members cannot meet.
    #[must_use]
    pub fn begin(fenced: Writer, orphans: Vec<Orphan>, now: UptimeMs) -> (Self, Vec<Effect>) {
        let mut seal = Self {
            fenced,
            segments: BTreeMap::new(),
            order: Vec::new(),
            asked: BTreeMap::new(),
            is_done: false,
        };
        let effects = seal.add(orphans, now);
        (seal, effects)
    }

    /// Segments that the fenced life leads as well: a Roll that was under way named it (M20).
    /// Those that are known already may be among them.
    ///
    /// # Panics
    /// As [`ForcedSeal::begin`].
    pub fn add(&mut self, orphans: Vec<Orphan>, now: UptimeMs) -> Vec<Effect> {
        let mut nodes = BTreeSet::new();
        for orphan in orphans {
            if let Entry::Vacant(place) = self.segments.entry(orphan.id) {
                nodes.extend(orphan.members.iter().map(|member| member.node));
                place.insert(SegmentSeal::new(orphan, now));
            }
        }
        let segments = &self.segments;
        self.order = segments.keys().copied().collect();
        self.order.sort_by_key(|id| (Reverse(segments[id].orphan().hotness), *id));
        self.is_done = false;
        let mut effects = self.ask(&nodes, now);
        self.finish(&mut effects);
        effects
    }

    /// Whose segments these are.
    #[must_use]
    pub const fn fenced(&self) -> Writer {
        self.fenced
    }

    /// How many segments are not sealed yet.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.segments.len()
    }

    /// Those that wait for members, and for whom.
    pub fn blocked(&self) -> impl Iterator<Item = Blocked> + '_ {
        self.segments.values().filter_map(SegmentSeal::blocked)
    }

    /// `node` has fenced the incarnation, durably, and reports. What it leaves out is asked for
    /// again.
    pub fn answered(
        &mut self,
        node: NodeId,
        reports: &[(SegmentId, Report)],
        now: UptimeMs,
    ) -> Vec<Effect> {
        for (id, report) in reports {
            if let Some(segment) = self.segments.get_mut(id) {
                segment.reported(node, *report);
            }
        }
        self.step(Some(&reports.iter().map(|(id, _)| *id).collect()), now)
    }

    /// A copy to `to` ended: with what it has now, or with nothing when it failed.
    pub fn copied(
        &mut self,
        id: SegmentId,
        to: NodeId,
        result: Option<Held>,
        now: UptimeMs,
    ) -> Vec<Effect> {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.copied(to, result, now);
        }
        self.step(Some(&BTreeSet::from([id])), now)
    }

    /// How a proposal came out. Every segment of it has to be named here sooner or later. Those
    /// that metadata shows sealed may be named at any time.
    pub fn proposed(&mut self, outcomes: &[(SegmentId, Outcome)], now: UptimeMs) -> Vec<Effect> {
        for (id, outcome) in outcomes {
            if let Some(segment) = self.segments.get_mut(id) {
                segment.outcome(*outcome, now);
                if segment.is_over() {
                    self.segments.remove(id);
                }
            }
        }
        let mut effects = Vec::new();
        self.finish(&mut effects);
        effects
    }

    /// `node` is in reach again: it is asked at once.
    pub fn reached(&mut self, node: NodeId, now: UptimeMs) -> Vec<Effect> {
        self.asked.remove(&node);
        self.ask(&BTreeSet::from([node]), now)
    }

    /// Time has passed: what is due is done again.
    pub fn tick(&mut self, now: UptimeMs) -> Vec<Effect> {
        let mut effects = self.step(None, now);
        let due = |asked: &Asked| now.since(asked.at) >= asked.wait_ms;
        let nodes = self.asked.iter().filter(|(_, asked)| due(asked)).map(|(node, _)| *node);
        effects.extend(self.ask(&nodes.collect(), now));
        let segments = self.segments.values_mut();
        let news = segments.filter_map(|segment| segment.blocked_news(BLOCKED_AFTER_MS, now));
        effects.extend(news.map(Effect::Blocked));
        effects
    }

    /// What `unsafe-seal` would do to a segment. `seen` is the greatest end that anybody is known
    /// to have seen of it: what its leader last told, or a consumer's position.
    ///
    /// # Errors
    /// [`UnsafeRefusal`] when nothing waits for it.
    pub fn plan_unsafe(
        &self,
        id: SegmentId,
        seen: Option<Offset>,
    ) -> Result<UnsafePlan, UnsafeRefusal> {
        let segment = self.segments.get(&id).ok_or(UnsafeRefusal::NotWaiting(id))?;
        let blocked = segment.blocked().ok_or(UnsafeRefusal::NotNeeded(id))?;
        let end = segment.end_known();
        let seen = seen.max(blocked.committed).filter(|seen| *seen > end);
        Ok(UnsafePlan { blocked, end, seen })
    }

    /// Carries out what an operator agreed to: the segment ends where those that answered do.
    /// What they lack of each other is copied first, and who answers meanwhile is heard.
    ///
    /// # Errors
    /// [`UnsafeRefusal`] when nothing waits for it, or the plan is no longer what would happen.
    pub fn seal_unsafe(
        &mut self,
        plan: &UnsafePlan,
        now: UptimeMs,
    ) -> Result<Vec<Effect>, UnsafeRefusal> {
        let id = plan.blocked.segment;
        let end = self.plan_unsafe(id, None)?.end;
        if end != plan.end {
            return Err(UnsafeRefusal::Changed { segment: id, end });
        }
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.go_on_by_hand();
        }
        Ok(self.step(Some(&BTreeSet::from([id])), now))
    }

    /// Takes segments as far as they can go: all, or those named.
    fn step(&mut self, only: Option<&BTreeSet<SegmentId>>, now: UptimeMs) -> Vec<Effect> {
        let (mut effects, mut ready) = (Vec::new(), Vec::new());
        for id in self.order.iter().filter(|id| only.is_none_or(|only| only.contains(id))) {
            if let Some(segment) = self.segments.get_mut(id) {
                ready.extend(segment.step(now, &mut effects));
            }
        }
        while !ready.is_empty() {
            let rest = ready.split_off(ready.len().min(CHANGES_PER_COMMAND_MAX));
            effects.push(Effect::ProposeRolls(std::mem::replace(&mut ready, rest)));
        }
        effects
    }

    /// Asks `nodes` for what is needed of them.
    fn ask(&mut self, nodes: &BTreeSet<NodeId>, now: UptimeMs) -> Vec<Effect> {
        let mut effects = Vec::new();
        for &node in nodes {
            let waiting = |id: &&SegmentId| {
                self.segments.get(id).is_some_and(|segment| segment.waits_for(node))
            };
            let segments: Vec<SegmentId> = self.order.iter().filter(waiting).copied().collect();
            if segments.is_empty() {
                continue;
            }
            let wait_ms = self.asked.get(&node).map_or(ASK_AGAIN_MS, |asked| asked.wait_ms * 2);
            let asked = Asked { at: now, wait_ms: wait_ms.min(ASK_AGAIN_MAX_MS) };
            self.asked.insert(node, asked);
            effects.push(Effect::AskFence { node, segments });
        }
        effects
    }

    fn finish(&mut self, effects: &mut Vec<Effect>) {
        if self.segments.is_empty() && !self.is_done {
            self.is_done = true;
            effects.push(Effect::Done);
        }
    }
}

#[cfg(test)]
mod tests;
