//! From one generation to the next.

use bytes::Bytes;
use walrus_types::UptimeMs;

use super::{Group, Initial, Phase};
use crate::{
    effects::Answer,
    errors::GroupError,
    member::Member,
    under_way::{Turn, What},
};

impl Group {
    /// Somebody asks for a rebalance, or joins the one that is under way.
    pub(super) fn gather(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Empty | Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(turn),
            Phase::Preparing { .. } => self.complete_if_all_joined(turn),
            Phase::Dead => {}
        }
    }

    /// A member is gone.
    pub(super) fn departed(&mut self, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Completing { .. } | Phase::Stable { .. } => self.prepare(turn),
            Phase::Preparing { .. } => self.complete_if_all_joined(turn),
            Phase::Empty | Phase::Dead => {}
        }
    }

    fn prepare(&mut self, turn: &mut Turn<'_>) {
        let is_initial = self.phase == Phase::Empty;
        if matches!(self.phase, Phase::Completing { .. }) {
            for member in self.members.values_mut() {
                member.assignment = Bytes::new();
            }
            self.refuse_syncs(GroupError::Rebalancing, turn);
        }
        self.unsynced.clear();
        self.since = turn.at.wall;
        if is_initial {
            let delay_ms = u64::from(turn.limits.initial_delay_ms);
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            let initial = Some(Initial { remaining_ms, came: false });
            self.phase = Phase::Preparing { until: turn.after(delay_ms), initial };
            if delay_ms == 0 {
                self.complete(turn);
            }
        } else {
            let until = turn.after(self.rebalance_timeout_ms());
            self.phase = Phase::Preparing { until, initial: None };
            self.complete_if_all_joined(turn);
        }
    }

    pub(super) fn refuse_syncs(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        for member in self.members.values_mut() {
            if let Some(waiter) = member.syncing.take() {
                member.heard(turn.at.now);
                turn.answer(waiter, Answer::Sync(Err(error)));
            }
        }
    }

    /// The longest that any member may take.
    fn rebalance_timeout_ms(&self) -> u64 {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        u64::from(longest.unwrap_or(0))
    }

    fn complete_if_all_joined(&mut self, turn: &mut Turn<'_>) {
        let all_joined =
            self.handed.is_empty() && self.members.values().all(|member| member.joining.is_some());
        if all_joined && matches!(self.phase, Phase::Preparing { initial: None, .. }) {
            self.complete(turn);
        }
    }

    /// Whoever is there makes the next generation. Static members keep their place until their
    /// session ends.
    fn complete(&mut self, turn: &mut Turn<'_>) {
        let is_absent = |member: &&Member| member.joining.is_none() && member.instance.is_none();
        let absent: Vec<String> =
            self.members.values().filter(is_absent).map(|member| member.id.clone()).collect();
        for id in absent {
            self.remove(&id, turn);
        }
        if !self.members.is_empty() && !self.elect_joined() {
            // Static members alone are left, and none of them came.
            let until = turn.after(self.rebalance_timeout_ms().max(1));
            self.phase = Phase::Preparing { until, initial: None };
            return;
        }
        self.begin_generation(turn);
    }

    /// Sees to it that the leader is one that came; false when nobody did.
    fn elect_joined(&mut self) -> bool {
        let has_come = |member: &Member| member.joining.is_some();
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(has_come) {
            return true;
        }
        let Some(next) = self.members.values().find(|member| has_come(member)) else {
            return false;
        };
        self.leader = Some(next.id.clone());
        true
    }

    fn begin_generation(&mut self, turn: &mut Turn<'_>) {
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.since = turn.at.wall;
        self.unsynced.clear();
        if self.members.is_empty() {
            self.protocol = None;
            self.phase = Phase::Empty;
            self.subscribed = self.subscription();
            let value = self.value(turn.at.wall, None);
            return self.append_value(turn, What::Emptied { value: value.clone() }, value);
        }
        self.protocol = Some(self.choose_protocol());
        self.subscribed = self.subscription();
        let until = turn.after(self.rebalance_timeout_ms());
        self.phase = Phase::Completing { until, assigning: false };
        self.unsynced = self.members.keys().cloned().collect();
        for id in &self.unsynced {
            let joined = self.joined(id);
            let member = self.members.get_mut(id).expect("its key was just read");
            member.is_new = false;
            member.heard(turn.at.now);
            if let Some(waiter) = member.joining.take() {
                turn.answer(waiter, Answer::Join(Ok(joined)));
            }
        }
    }

    /// Each member votes for what it likes best of what all can do. Between equals the leader's
    /// taste decides.
    pub(super) fn choose_protocol(&self) -> String {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        let leader = leader.expect("a generation has a leader");
        let names = leader.protocols.iter().map(|protocol| protocol.name.as_str());
        let candidates: Vec<&str> = names.filter(|name| self.all_can(name)).collect();
        let votes_for = |candidate: &str| {
            let votes = self.members.values().filter(|member| {
                let mut liked = member.protocols.iter().map(|own| own.name.as_str());
                liked.find(|name| candidates.contains(name)) == Some(candidate)
            });
            votes.count()
        };
        // The first of the best: `max_by_key` alone would take the last.
        let best = candidates.iter().rev().max_by_key(|candidate| votes_for(candidate));
        (*best.expect("members share a protocol, or they would not be members")).to_owned()
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, turn: &mut Turn<'_>) {
        let now = turn.at.now;
        let is_out = |member: &&Member| member.deadline().is_some_and(|deadline| deadline <= now);
        let out: Vec<String> =
            self.members.values().filter(is_out).map(|member| member.id.clone()).collect();
        for id in &out {
            self.remove(id, turn);
        }
        let handed_expired = self.expire_handed(now);
        if !out.is_empty() {
            self.departed(turn);
        } else if handed_expired && matches!(self.phase, Phase::Preparing { .. }) {
            self.complete_if_all_joined(turn);
        }
        self.phase_is_over(now, turn);
    }

    fn phase_is_over(&mut self, now: UptimeMs, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Preparing { until, initial } if until <= now => match initial {
                Some(Initial { remaining_ms, came: true }) if remaining_ms > 0 => {
                    let delay_ms = u64::from(turn.limits.initial_delay_ms);
                    let until = turn.after(delay_ms.min(remaining_ms));
                    let remaining_ms = remaining_ms.saturating_sub(delay_ms);
                    let initial = Some(Initial { remaining_ms, came: false });
                    self.phase = Phase::Preparing { until, initial };
                }
                Some(_) | None => self.complete(turn),
            },
            Phase::Completing { until, .. } | Phase::Stable { until }
                if until <= now && !self.unsynced.is_empty() =>
            {
                for id in std::mem::take(&mut self.unsynced) {
                    self.remove(&id, turn);
                }
                self.prepare(turn);
            }
            Phase::Completing { until, .. } if until <= now => {
                // All have asked, and the assignments are being written: that ends by itself.
                self.phase = Phase::Completing { until: UptimeMs(u64::MAX), assigning: true };
            }
            Phase::Empty
            | Phase::Dead
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. } => {}
        }
    }
}
