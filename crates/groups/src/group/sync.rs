//! SyncGroup, Heartbeat and LeaveGroup: what a member of a generation does.

use std::collections::BTreeMap;

use bytes::Bytes;
use walrus_types::planted;

use super::{Group, Phase};
use crate::{
    effects::{Answer, Outcome, Synced, Waiter},
    errors::GroupError,
    limits::GROUP_BYTES_MAX,
    member::Member,
    records::GroupValue,
    requests::{Identity, Leaver, Sync},
    under_way::{Turn, What},
};

impl Group {
    /// A member asks for its assignment; the leader brings everybody's.
    pub(crate) fn sync(&mut self, sync: Sync, waiter: Waiter, turn: &mut Turn<'_>) {
        let judged = self.check_sync(&sync);
        if let Err(error) = judged {
            return turn.answer(waiter, Answer::Sync(Err(error)));
        }
        let is_leader = self.leader.as_deref() == Some(sync.member.as_str());
        self.unsynced.remove(&sync.member);
        let member = self.members.get_mut(&sync.member).expect("it was checked");
        member.heard(turn.at.now);
        if let Phase::Completing { assigning, .. } = self.phase {
            if let Some(earlier) = member.syncing.replace(waiter) {
                turn.answer(earlier, Answer::Sync(Err(GroupError::Rebalancing)));
            }
            // The first word of the leader counts: who has asked meanwhile may know it already.
            if is_leader && !assigning {
                self.assign(sync.assignments, turn);
            }
            return;
        }
        if planted::is("second-assignment") && is_leader {
            for (id, assignment) in sync.assignments {
                if let Some(member) = self.members.get_mut(&id) {
                    member.assignment = assignment;
                }
            }
        }
        let synced = self.synced(&self.members[&sync.member]);
        turn.answer(waiter, Answer::Sync(Ok(synced)));
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), GroupError> {
        self.check(sync.identity())?;
        let differs = |said: &Option<String>, is: &Option<String>| said.is_some() && said != is;
        if differs(&sync.protocol_type, &self.protocol_type)
            || differs(&sync.protocol, &self.protocol)
        {
            return Err(GroupError::InconsistentProtocol);
        }
        match self.phase {
            Phase::Empty => Err(GroupError::UnknownMember),
            Phase::Dead => Err(GroupError::NotAvailable),
            Phase::Preparing { .. } => Err(GroupError::Rebalancing),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    fn assign(&mut self, assignments: Vec<(String, Bytes)>, turn: &mut Turn<'_>) {
        let known = assignments.into_iter().filter(|(id, _)| self.members.contains_key(id));
        let assignments: BTreeMap<String, Bytes> = known.collect();
        let bytes: usize = assignments.values().map(Bytes::len).sum();
        if self.bytes() + bytes > GROUP_BYTES_MAX {
            self.refuse_syncs(GroupError::TooLarge, turn);
            return self.gather(turn);
        }
        let Phase::Completing { until, .. } = self.phase else { return };
        self.phase = Phase::Completing { until, assigning: true };
        let value = self.value(turn.at.wall, Some(&assignments));
        self.append_value(turn, What::Assigned { value: value.clone(), assignments }, value);
    }

    /// The record of a generation's assignments is committed or not.
    pub(super) fn assigned(
        &mut self,
        value: GroupValue,
        mut assignments: BTreeMap<String, Bytes>,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) {
        let generation = value.generation;
        if outcome == Outcome::Committed {
            self.persisted = Some(value);
        }
        let Phase::Completing { until, .. } = self.phase else { return };
        if self.generation != generation {
            return;
        }
        match outcome {
            Outcome::Committed => {}
            Outcome::Refused => {
                self.refuse_syncs(GroupError::NotAvailable, turn);
                return self.gather(turn);
            }
            Outcome::TooLarge => {
                self.refuse_syncs(GroupError::TooLarge, turn);
                return self.gather(turn);
            }
        }
        self.phase = Phase::Stable { until };
        self.since = turn.at.wall;
        for member in self.members.values_mut() {
            member.assignment = assignments.remove(&member.id).unwrap_or_default();
            member.heard(turn.at.now);
        }
        let ids: Vec<String> = self.members.keys().cloned().collect();
        for id in ids {
            let synced = self.synced(&self.members[&id]);
            let waiter = self.members.get_mut(&id).and_then(|member| member.syncing.take());
            if let Some(waiter) = waiter {
                turn.answer(waiter, Answer::Sync(Ok(synced)));
            }
        }
    }

    fn synced(&self, member: &Member) -> Synced {
        Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            protocol: self.protocol.clone().unwrap_or_default(),
            assignment: member.assignment.clone(),
        }
    }

    /// A member is there.
    pub(crate) fn heartbeat(
        &mut self,
        who: Identity<'_>,
        now: walrus_types::UptimeMs,
    ) -> Result<(), GroupError> {
        self.check(who)?;
        let member = self.members.get_mut(who.member).expect("it was checked");
        member.heard(now);
        match self.phase {
            Phase::Empty | Phase::Dead => Err(GroupError::UnknownMember),
            Phase::Preparing { .. } => Err(GroupError::Rebalancing),
            Phase::Completing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Members go, each judged alone.
    pub(crate) fn leave(
        &mut self,
        leavers: &[Leaver],
        turn: &mut Turn<'_>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::NotAvailable);
        }
        let before = self.members.len();
        let judged = leavers.iter().map(|leaver| self.leaves(leaver, turn)).collect();
        if self.members.len() < before {
            self.departed(turn);
        } else if matches!(self.phase, Phase::Preparing { .. }) {
            self.gather(turn);
        }
        Ok(judged)
    }

    fn leaves(&mut self, leaver: &Leaver, turn: &mut Turn<'_>) -> Result<(), GroupError> {
        let Leaver { member, instance } = leaver;
        if self.take_handed(member) {
            return Ok(());
        }
        let id = match instance.as_deref() {
            Some(instance) if member.is_empty() => {
                self.instances.get(instance).cloned().ok_or(GroupError::UnknownMember)?
            }
            instance => {
                self.check_member(member, instance)?;
                member.clone()
            }
        };
        self.remove(&id, turn);
        Ok(())
    }
}
