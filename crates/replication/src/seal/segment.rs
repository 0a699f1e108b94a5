//! The seal of one segment: votes, the end that follows from them, copies, the decision.
//!
//! ```text
//!            n - w + 1 votes            w members hold the end
//!   voting ------------------> copying -----------------------> proposed ----> over
//!                                  |                               |   ^
//!                                  +--- fewer can be reached, -----+   | unknown, refused:
//!                                       for NARROW_AFTER_MS (short)    +-- the same again
//! ```

use walrus_types::{NodeId, Offset, TimestampMs};

use super::{
    COPY_AGAIN_MS, COPY_PATIENCE_MS, COPY_TRIES, HOLDER_PATIENCE_MS, NARROW_AFTER_MS,
    PROPOSE_AGAIN_MS,
    effects::{Blocked, Effect, Orphan, Outcome, Problem, Report, SealDecision},
};
use crate::{cursors::Member, planted, replica::Held, roll::UptimeMs};

/// Invariants: once something was proposed, it is never another end that is proposed; nothing is
/// proposed without `n - w + 1` votes, but by an operator's word (I4).
#[derive(Debug, Clone)]
pub(super) struct SegmentSeal {
    orphan: Orphan,
    voters: Vec<Voter>,
    since: UptimeMs,
    /// Since when there have been enough votes.
    enough_since: Option<UptimeMs>,
    /// The end whose holders are asked again, and since when: see [`Again`].
    asked_again: Option<(Offset, UptimeMs)>,
    by_hand: bool,
    phase: Phase,
    /// What the operator was last told.
    shown: Vec<(Member, Problem)>,
}

#[derive(Debug, Clone)]
enum Phase {
    Open,
    Proposed(SealDecision),
    Again { decision: SealDecision, at: UptimeMs },
    Over,
}

/// Before a seal that fewer than `w` hold, those few are asked again. What one of them alone had
/// may be gone with its disk since it voted: sealed all the same, it would be a hole that no
/// reader gets past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    No,
    Asked,
    Answered,
}

#[derive(Debug, Clone)]
struct Voter {
    member: Member,
    said: Result<Held, Problem>,
    unclean: bool,
    again: Again,
    /// Since when it has been pulling a suffix.
    copying: Option<UptimeMs>,
    /// Copies that failed since the last that did not, and when.
    failures: u32,
    failed_at: UptimeMs,
}

impl Voter {
    const fn end(&self) -> Option<Offset> {
        match self.said {
            Ok(held) => Some(held.end),
            Err(_) => None,
        }
    }

    fn failed(&mut self, now: UptimeMs) {
        self.copying = None;
        self.failures = self.failures.saturating_add(1);
        self.failed_at = now;
    }

    /// Whether a copy to it may begin: not too soon after one that failed.
    const fn may_copy(&self, now: UptimeMs) -> bool {
        self.copying.is_none() && (self.failures == 0 || now.since(self.failed_at) >= COPY_AGAIN_MS)
    }
}

impl SegmentSeal {
    pub(super) fn new(orphan: Orphan, now: UptimeMs) -> Self {
        let (n, w) = (orphan.members.len(), orphan.w);
        assert!((1..=n).contains(&w), "{} has w={w} of {n} members", orphan.id);
        let voter = |member: &Member| Voter {
            member: *member,
            said: Err(Problem::Silent),
            unclean: false,
            again: Again::No,
            copying: None,
            failures: 0,
            failed_at: now,
        };
        Self {
            voters: orphan.members.iter().map(voter).collect(),
            orphan,
            since: now,
            enough_since: None,
            asked_again: None,
            by_hand: false,
            phase: Phase::Open,
            shown: Vec::new(),
        }
    }

    pub(super) const fn orphan(&self) -> &Orphan {
        &self.orphan
    }

    pub(super) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over)
    }

    /// Whether an answer of `node` could still change something.
    pub(super) fn waits_for(&self, node: NodeId) -> bool {
        let lacks = |voter: &Voter| {
            voter.member.node == node && (voter.said.is_err() || voter.again == Again::Asked)
        };
        matches!(self.phase, Phase::Open) && self.voters.iter().any(lacks)
    }

    /// A node's report. It comes off the network: one that cannot be is no vote.
    pub(super) fn reported(&mut self, node: NodeId, report: Report) {
        let base = self.orphan.id.base;
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.member.node == node) else {
            return;
        };
        let had = match voter.said {
            Ok(held) => held.end,
            Err(Problem::Shrunk { had } | Problem::Gone { had }) => had,
            Err(_) => base,
        };
        let (held, unclean) = match report {
            Report::Held(held) => (Ok(held), voter.unclean),
            Report::Unclean(held) => (Ok(held), true),
            Report::LostDisk { found } => (Err(Problem::LostDisk { found }), voter.unclean),
            Report::Error => (Err(Problem::Error), voter.unclean),
            Report::NoMember => (Err(Problem::NoMember), voter.unclean),
            Report::Sealed => return,
        };
        if voter.again == Again::Asked {
            voter.again = Again::Answered;
        }
        voter.unclean = unclean;
        voter.said = held.and_then(|held| match held {
            Held { storage: found, .. } if found != voter.member.storage => {
                Err(Problem::LostDisk { found })
            }
            Held { end, .. } if end < base => Err(Problem::Error),
            Held { end, .. } if end < had => Err(Problem::Shrunk { had }),
            held => Ok(held),
        });
    }

    /// A copy ended; with what `node` has now, if it went well.
    pub(super) fn copied(&mut self, node: NodeId, result: Option<Held>, now: UptimeMs) {
        if let Some(held) = result {
            self.reported(node, Report::Held(held));
        }
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.member.node == node) else {
            return;
        };
        match result {
            Some(_) => (voter.copying, voter.failures) = (None, 0),
            None => voter.failed(now),
        }
    }

    pub(super) fn outcome(&mut self, outcome: Outcome, now: UptimeMs) {
        match (outcome, &self.phase) {
            (Outcome::Sealed | Outcome::OtherEpoch, _) => self.phase = Phase::Over,
            (Outcome::Refused | Outcome::Unknown, Phase::Proposed(decision)) => {
                let at = UptimeMs(now.0.saturating_add(PROPOSE_AGAIN_MS));
                self.phase = Phase::Again { decision: decision.clone(), at };
            }
            (Outcome::Refused | Outcome::Unknown, _) => {}
        }
    }

    /// How many votes meet every write quorum (I4).
    fn need(&self) -> usize {
        let fenced_too_few = planted::is("fence-one-too-few");
        self.orphan.members.len() - self.orphan.w + usize::from(!fenced_too_few)
    }

    /// Whether what this voter said counts as a vote.
    fn counts(&self, voter: &Voter) -> bool {
        let all = || self.voters.iter().all(|voter| voter.said.is_ok());
        voter.said.is_ok() && (!(voter.unclean && self.orphan.lax) || all())
    }

    fn votes(&self) -> usize {
        self.voters.iter().filter(|voter| self.counts(voter)).count()
    }

    /// Whether the votes decide: there are enough, and one of them has all that is known to be
    /// committed. Without a disk that forgets the second follows from the first; lax ones may.
    fn is_decided(&self) -> bool {
        let lost_by_promise = self.orphan.lax && self.votes() == self.voters.len();
        self.votes() >= self.need() && (self.committed().is_none() || lost_by_promise)
    }

    /// What is committed and past all that was answered.
    fn committed(&self) -> Option<Offset> {
        let told = self.voters.iter().filter_map(|voter| voter.said.ok()).map(|held| held.commit);
        let unseen = planted::is("shortest-end") || planted::is("first-end");
        told.max().filter(|commit| *commit > self.end() && !unseen)
    }

    /// The greatest end that any member has. What a member without a vote has counts too: it
    /// lacks a tail perhaps, but what it has was written.
    fn end(&self) -> Offset {
        let mut ends = self.voters.iter().filter_map(Voter::end);
        let end = if planted::is("shortest-end") {
            ends.min()
        } else if planted::is("first-end") {
            ends.next()
        } else {
            ends.max()
        };
        end.unwrap_or(self.orphan.id.base)
    }

    /// Goes on as far as it can: adds copies to `effects`, returns what to propose.
    pub(super) fn step(
        &mut self,
        now: UptimeMs,
        effects: &mut Vec<Effect>,
    ) -> Option<SealDecision> {
        match &self.phase {
            Phase::Proposed(_) | Phase::Over => return None,
            Phase::Again { at, .. } if now < *at => return None,
            Phase::Again { decision, .. } => {
                let decision = decision.clone();
                self.phase = Phase::Proposed(decision.clone());
                return Some(decision);
            }
            Phase::Open => {}
        }
        for voter in &mut self.voters {
            if voter.copying.is_some_and(|since| now.since(since) >= COPY_PATIENCE_MS) {
                voter.failed(now);
            }
        }
        if !self.is_decided() && !self.by_hand {
            self.enough_since = None;
            self.ask_nobody_again();
            return None;
        }
        let enough_since = *self.enough_since.get_or_insert(now);
        let end = self.end();
        let holding = self.voters.iter().filter(|voter| voter.end() == Some(end)).count();
        // Nothing is on every disk.
        let wanted = if planted::is("seal-without-copies") { 1 } else { self.orphan.w };
        if end > self.orphan.id.base && holding < wanted {
            let late = now.since(enough_since) >= NARROW_AFTER_MS;
            if !late || self.more_can_hold(end) {
                let missing = if late { usize::MAX } else { self.orphan.w - holding };
                // Copies may take long: what was said again before them is old after them.
                self.ask_nobody_again();
                self.copy(end, missing, now, effects);
                return None;
            }
            if !self.by_hand && !self.confirmed(end, now) {
                self.miss_holders(end, now);
                return None;
            }
        }
        let decision = self.decide(end);
        self.phase = Phase::Proposed(decision.clone());
        Some(decision)
    }

    /// Whether some member that answered may yet be brought to `end`.
    fn more_can_hold(&self, end: Offset) -> bool {
        let behind = |voter: &&Voter| voter.end().is_some_and(|has| has < end);
        let mut behind = self.voters.iter().filter(behind);
        behind.any(|voter| voter.copying.is_some() || voter.failures < COPY_TRIES)
    }

    /// Whether those that hold `end` have said so again, or some of them, with patience for the
    /// others. The first question about an end has them asked.
    fn confirmed(&mut self, end: Offset, now: UptimeMs) -> bool {
        let asked = self.asked_again.filter(|(asked, _)| *asked == end);
        let since = asked.map_or(now, |(_, since)| since);
        if asked.is_none() {
            self.ask_nobody_again();
            self.asked_again = Some((end, now));
        }
        let mut holders = 0;
        for voter in self.voters.iter_mut().filter(|voter| voter.end() == Some(end)) {
            holders += 1;
            if voter.again == Again::No {
                voter.again = Again::Asked;
            }
        }
        let sure = self.sure_holders(end).len();
        sure == holders || (sure > 0 && now.since(since) >= NARROW_AFTER_MS)
    }

    /// Takes their votes from those that hold `end` and have not said so again for long: what
    /// nobody has any more cannot be the end. The others decide if they are enough, for then they
    /// have all that is committed (I4); else an operator hears who is missing.
    fn miss_holders(&mut self, end: Offset, now: UptimeMs) {
        let waited = self.asked_again.map(|(_, since)| now.since(since));
        if waited.is_none_or(|waited_ms| waited_ms < HOLDER_PATIENCE_MS) {
            return;
        }
        for voter in &mut self.voters {
            if voter.end() == Some(end) {
                voter.said = Err(Problem::Gone { had: end });
            }
            // What failed was to copy from those.
            voter.failures = 0;
        }
        self.ask_nobody_again();
    }

    fn ask_nobody_again(&mut self) {
        self.asked_again = None;
        for voter in &mut self.voters {
            voter.again = Again::No;
        }
    }

    /// Those that hold `end` as far as is known lately.
    fn sure_holders(&self, end: Offset) -> Vec<Member> {
        let sure = |voter: &&Voter| voter.end() == Some(end) && voter.again == Again::Answered;
        self.voters.iter().filter(sure).map(|voter| voter.member).collect()
    }

    /// Begins copies until `missing` are under way; those who lack least come first.
    fn copy(&mut self, end: Offset, missing: usize, now: UptimeMs, effects: &mut Vec<Effect>) {
        let under_way = self.voters.iter().filter(|voter| voter.copying.is_some()).count();
        let holders: Vec<Member> = self.holders(end);
        let mut behind: Vec<&mut Voter> = self.voters.iter_mut().collect();
        behind.retain(|voter| voter.end().is_some_and(|has| has < end) && voter.may_copy(now));
        behind.sort_by_key(|voter| std::cmp::Reverse(voter.end()));
        for voter in behind.into_iter().take(missing.saturating_sub(under_way)) {
            voter.copying = Some(now);
            let turn = usize::try_from(voter.failures).expect("u32 fits in usize");
            effects.push(Effect::CopySuffix {
                segment: self.orphan.id,
                from_member: holders[turn % holders.len()],
                to_member: voter.member,
                from: voter.end().expect("a member that is behind has an end"),
                to: end,
            });
        }
    }

    fn holders(&self, end: Offset) -> Vec<Member> {
        let holders = self.voters.iter().filter(|voter| voter.end() == Some(end));
        holders.map(|voter| voter.member).collect()
    }

    fn decide(&self, end: Offset) -> SealDecision {
        let (base, id) = (self.orphan.id.base, self.orphan.id);
        let (votes, need, safe) = (self.votes(), self.need(), self.is_decided());
        assert!(safe || self.by_hand, "{id}: {votes} votes where {need} are due");
        assert!(end >= base, "{id} would end at {end}, before its base");
        let held = self.voters.iter().filter_map(|voter| voter.said.ok());
        let held = held.into_iter().find(|held| held.end == end && end > base);
        let all = self.holders(end);
        let unsaid = planted::is("seal-without-copies");
        let short = end > base && all.len() < self.orphan.w && !unsaid;
        let narrow = short && !self.by_hand;
        SealDecision {
            segment: id,
            end,
            bytes: held.map_or(0, |held| held.bytes),
            max_timestamp: held.map_or(TimestampMs::NONE, |held| held.max_timestamp),
            short,
            holders: if narrow { self.sure_holders(end) } else { all },
            may_lack_from: (!safe || self.committed().is_some()).then_some(end),
        }
    }

    /// Why it does not go on, if members are missing.
    pub(super) fn blocked(&self) -> Option<Blocked> {
        if !matches!(self.phase, Phase::Open) || self.is_decided() || self.by_hand {
            return None;
        }
        let (have, need, committed) = (self.votes(), self.need(), self.committed());
        let problem = |voter: &Voter| match voter.said {
            Err(problem) => Some((voter.member, problem)),
            Ok(_) if !self.counts(voter) => Some((voter.member, Problem::Unclean)),
            Ok(_) => None,
        };
        let missing = self.voters.iter().filter_map(problem).collect();
        Some(Blocked { segment: self.orphan.id, have, need, missing, committed })
    }

    /// As [`SegmentSeal::blocked`], if it has lasted and the operator has not been told so yet.
    pub(super) fn blocked_news(&mut self, after_ms: u64, now: UptimeMs) -> Option<Blocked> {
        if now.since(self.since) < after_ms {
            return None;
        }
        let blocked = self.blocked().filter(|blocked| blocked.missing != self.shown)?;
        self.shown.clone_from(&blocked.missing);
        Some(blocked)
    }

    /// The end that an operator could accept.
    pub(super) fn end_known(&self) -> Offset {
        self.end()
    }

    /// The operator said so.
    pub(super) fn go_on_by_hand(&mut self) {
        self.by_hand = true;
    }
}
