//! The nodes as the controller watches them: whom it fences, and what it tells placement.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};
use walrus_types::{Incarnation, NodeId};

use super::{FENCE_AGAIN_MS, FORGIVEN_AFTER_MS, LEASE_WAIT_MAX_MS, LEASE_WAIT_MS, Terms};
use crate::roll::UptimeMs;

/// What a node says of itself every 100 ms.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Beat {
    /// Which of its lives speaks.
    pub incarnation: Incarnation,
    /// How far it has applied metadata.
    pub applied: u64,
    /// How old its oldest unfinished flush is; 0 when there is none.
    pub flush_age_ms: u64,
    /// Whom it cannot reach (L16).
    pub unreachable: Vec<NodeId>,
    /// It is about to stop: it gives its leases away and wants no others.
    pub is_leaving: bool,
}

/// What a heartbeat is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// Its leases go on from when it was sent.
    Extended,
    /// This life is fenced, or will be in a moment: it may not write again.
    Fenced,
    /// Nothing is extended: metadata as known here has no such life, or its disk hangs and it is
    /// about to be fenced.
    Withheld,
}

/// Why a life is fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FenceWhy {
    /// Its connection was reset and a new one is refused: nobody listens there any more.
    ProcessGone,
    /// It was not heard.
    Silent {
        /// For how long.
        ms: u64,
    },
    /// A flush does not end (L15).
    StuckFlush {
        /// Since when.
        ms: u64,
    },
}

/// A command for metadata: the intent to seal all that this life leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fence {
    /// Whom.
    pub node: NodeId,
    /// Which of its lives.
    pub incarnation: Incarnation,
    /// Why.
    pub why: FenceWhy,
}

/// How a life stands with this controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Serving,
    /// A fence was asked for at `at`. From then on it is not extended.
    Condemned {
        why: FenceWhy,
        at: UptimeMs,
    },
    /// Metadata has the fence.
    Fenced,
}

#[derive(Debug, Clone)]
struct Seen {
    incarnation: Incarnation,
    state: State,
    /// When it was heard last; until then, when this controller began to listen.
    heard: UptimeMs,
    beat: Beat,
    /// Fences in short order, and the last of them.
    fences: u32,
    fenced_at: Option<UptimeMs>,
}

impl Seen {
    const fn new(incarnation: Incarnation, state: State, now: UptimeMs) -> Self {
        let beat = Beat {
            incarnation,
            applied: 0,
            flush_age_ms: 0,
            unreachable: Vec::new(),
            is_leaving: false,
        };
        Self { incarnation, state, heard: now, beat, fences: 0, fenced_at: None }
    }

    /// One more life of it ended by a fence.
    fn count_fence(&mut self, now: UptimeMs) {
        let forgiven = |last| now.since(last) >= FORGIVEN_AFTER_MS;
        let clean = self.fenced_at.is_none_or(forgiven);
        self.fences = if clean { 1 } else { self.fences.saturating_add(1) };
        self.fenced_at = Some(now);
    }

    /// How long after its last fence it gets no leases: nothing after one, then 5 s and doubling.
    fn lease_wait_ms(&self) -> u64 {
        match self.fences.checked_sub(2) {
            None => 0,
            Some(doublings) => LEASE_WAIT_MS
                .saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX))
                .min(LEASE_WAIT_MAX_MS),
        }
    }
}

/// The nodes, watched by one controller for as long as it is one.
#[derive(Debug, Clone)]
pub struct Watch {
    terms: Terms,
    /// Since when silence counts: the take-over, or the last time this process had a pause.
    listening_since: UptimeMs,
    /// Whom this controller follows, and for how long it was silent before the take-over. Nothing
    /// once it was heard.
    predecessor: Option<(NodeId, u64)>,
    ticked: UptimeMs,
    nodes: BTreeMap<NodeId, Seen>,
}

impl Watch {
    /// Begins when this node has become controller. Nobody counts as silent before a whole TTL
    /// and the margin have passed: with the last controller's death heartbeats stopped for all.
    #[must_use]
    pub const fn take_over(terms: Terms, now: UptimeMs) -> Self {
        let nodes = BTreeMap::new();
        Self { terms, listening_since: now, predecessor: None, ticked: now, nodes }
    }

    /// The controller before this one was on `node`. To it others did listen: a majority of voters
    /// had not heard it for so long that every lease which it gave, its own among them, ends as if
    /// all had been given `silent_ms` before the take-over. That counts for its own silence. The
    /// other nodes had nobody to speak to, which does not count for theirs (M6).
    #[must_use]
    pub const fn after(mut self, node: NodeId, silent_ms: u64) -> Self {
        self.predecessor = Some((node, silent_ms));
        self
    }

    /// Metadata has `node` in this life. Told for every node at the take-over and at each
    /// registration. Again the same life: nothing changes.
    pub fn registered(&mut self, node: NodeId, incarnation: Incarnation, now: UptimeMs) {
        let fresh = Seen::new(incarnation, State::Serving, now);
        let seen = self.nodes.entry(node).or_insert_with(|| fresh.clone());
        if incarnation > seen.incarnation {
            // The registration fenced the life before, if nothing else had.
            if seen.state != State::Fenced {
                seen.count_fence(now);
            }
            *seen = Seen { fences: seen.fences, fenced_at: seen.fenced_at, ..fresh };
        }
    }

    /// Metadata has the fence of a life. At the take-over it is told of those that are fenced.
    pub fn fenced(&mut self, node: NodeId, incarnation: Incarnation, now: UptimeMs) {
        if let Some(seen) = self.of_life(node, incarnation)
            && seen.state != State::Fenced
        {
            seen.state = State::Fenced;
            seen.count_fence(now);
        }
    }

    /// The node is no longer in the cluster.
    pub fn removed(&mut self, node: NodeId) {
        self.nodes.remove(&node);
    }

    fn of_life(&mut self, node: NodeId, incarnation: Incarnation) -> Option<&mut Seen> {
        self.nodes.get_mut(&node).filter(|seen| seen.incarnation == incarnation)
    }

    /// A heartbeat came in.
    pub fn heartbeat(&mut self, node: NodeId, beat: Beat, now: UptimeMs) -> Answer {
        let flush_max_ms = self.terms.flush_max_ms;
        let Some(seen) = self.nodes.get_mut(&node) else {
            return Answer::Withheld;
        };
        if beat.incarnation < seen.incarnation {
            return Answer::Fenced;
        }
        if beat.incarnation > seen.incarnation {
            return Answer::Withheld;
        }
        seen.heard = now;
        seen.beat = beat;
        self.predecessor.take_if(|(before, _)| *before == node);
        match seen.state {
            State::Condemned { .. } | State::Fenced => Answer::Fenced,
            State::Serving if seen.beat.flush_age_ms > flush_max_ms => Answer::Withheld,
            State::Serving => Answer::Extended,
        }
    }

    /// The process of that life is gone: its connection was reset and a new one was refused. The
    /// fence, unless there is one already.
    pub fn process_gone(
        &mut self,
        node: NodeId,
        incarnation: Incarnation,
        now: UptimeMs,
    ) -> Option<Fence> {
        let seen = self.of_life(node, incarnation)?;
        if seen.state != State::Serving {
            return None;
        }
        let why = FenceWhy::ProcessGone;
        seen.state = State::Condemned { why, at: now };
        Some(Fence { node, incarnation, why })
    }

    /// Whom to fence now, to be asked several times per TTL. A fence is named again while metadata
    /// does not have it.
    ///
    /// When this process itself was not running for a while, others seem silent that are not:
    /// their heartbeats wait in its sockets. It begins to listen anew.
    pub fn tick(&mut self, now: UptimeMs) -> Vec<Fence> {
        let Terms { ttl_ms, margin_ms, flush_max_ms } = self.terms;
        if now.since(self.ticked) > ttl_ms / 2 {
            self.listening_since = now;
            self.predecessor = None;
        }
        self.ticked = self.ticked.max(now);
        let mut fences = Vec::new();
        for (node, seen) in &mut self.nodes {
            let before_ms = self.predecessor.filter(|(before, _)| before == node);
            let silent_ms = now.since(seen.heard.max(self.listening_since))
                + before_ms.map_or(0, |(_, silent_ms)| silent_ms);
            let why = match seen.state {
                State::Fenced => continue,
                State::Condemned { at, .. } if now.since(at) < FENCE_AGAIN_MS => continue,
                State::Condemned { why, .. } => why,
                State::Serving if seen.beat.flush_age_ms > flush_max_ms => {
                    FenceWhy::StuckFlush { ms: seen.beat.flush_age_ms }
                }
                State::Serving if silent_ms > ttl_ms + margin_ms => {
                    FenceWhy::Silent { ms: silent_ms }
                }
                State::Serving => continue,
            };
            seen.state = State::Condemned { why, at: now };
            fences.push(Fence { node: *node, incarnation: seen.incarnation, why });
        }
        fences
    }

    /// For placement: how long a node has not been heard, once it counts as silent. One that is
    /// fenced counts at once, and until its next life registers.
    #[must_use]
    pub fn silent_ms(&self, node: NodeId, now: UptimeMs) -> Option<u64> {
        let seen = self.nodes.get(&node)?;
        let ms = now.since(seen.heard);
        let heard_ms = now.since(seen.heard.max(self.listening_since));
        (seen.state != State::Serving || heard_ms > self.terms.ttl_ms).then_some(ms)
    }

    /// For placement: whether a node has waited long enough since it was last fenced (L1).
    #[must_use]
    pub fn may_take_leases(&self, node: NodeId, now: UptimeMs) -> bool {
        let over = |seen: &Seen| match seen.fenced_at {
            Some(at) => now.since(at) >= seen.lease_wait_ms(),
            None => true,
        };
        self.nodes.get(&node).is_some_and(|seen| seen.state == State::Serving && over(seen))
    }

    /// The nodes that are watched.
    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied()
    }

    /// The last that a node said of itself in its present life.
    #[must_use]
    pub fn last_beat(&self, node: NodeId) -> Option<&Beat> {
        self.nodes.get(&node).map(|seen| &seen.beat)
    }
}

impl fmt::Display for FenceWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProcessGone => f.write_str("its process is gone"),
            Self::Silent { ms } => write!(f, "it was not heard for {ms} ms"),
            Self::StuckFlush { ms } => write!(f, "a flush has not ended for {ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests;
