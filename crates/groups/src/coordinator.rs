//! All groups of one partition of `__consumer_offsets`: what the shell holds.
//!
//! The shell keeps four promises. It carries the effects out in their order. It reports the outcome
//! of every append, in the order of the appends. When its node leads the partition no more, or when
//! it cannot tell what became of an append, it calls [`Coordinator::resign`] and begins anew from
//! the log. And it calls [`Coordinator::tick`] at [`Coordinator::deadline`].

use std::collections::{BTreeMap, BTreeSet};

use walrus_types::UptimeMs;

use crate::{
    effects::{Answer, AppendId, Effect, Outcome, Waiter},
    errors::GroupError,
    group::Group,
    limits::{
        GROUP_NAME_BYTES_MAX, GROUPS_MAX, GroupLimits, MEMBER_BYTES_MAX, OFFSETS_MAX, PROTOCOLS_MAX,
    },
    member::bytes_of,
    offsets::{CommittedOffset, IsGone},
    records::Record,
    requests::{At, Commit, Identity, Join, Leaver, Sync},
    under_way::{Turn, UnderWay},
    views::{Described, Listed},
};

/// The groups of one partition.
///
/// Invariant: `offsets` is how many its groups have together; a group's `timer` is in `timers`.
#[derive(Debug)]
pub struct Coordinator {
    limits: GroupLimits,
    groups: BTreeMap<String, Group>,
    /// When which group is to be looked at: no later than its deadline.
    timers: BTreeSet<(UptimeMs, String)>,
    under_way: UnderWay,
    offsets: usize,
}

impl Coordinator {
    pub(crate) fn restored(
        limits: GroupLimits,
        groups: BTreeMap<String, Group>,
        at: At,
        out: &mut Vec<Effect>,
    ) -> Self {
        let offsets = groups.values().map(|group| group.offsets.len()).sum();
        let ids: Vec<String> = groups.keys().cloned().collect();
        let (timers, under_way) = (BTreeSet::new(), UnderWay::default());
        let mut coordinator = Self { limits, groups, timers, under_way, offsets };
        for id in &ids {
            coordinator.turn(id, at, out, |group, turn| group.shrink_if_over(turn));
        }
        coordinator
    }

    /// The settings have changed.
    pub fn set_limits(&mut self, limits: GroupLimits) {
        self.limits = limits;
    }

    /// One event of one group, and what follows from it. `None` when there is no such group.
    fn turn<T>(
        &mut self,
        id: &str,
        at: At,
        out: &mut Vec<Effect>,
        act: impl FnOnce(&mut Group, &mut Turn<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(id)?;
        let before = group.offsets.len();
        let mut turn = Turn { at, limits: &self.limits, under_way: &mut self.under_way, out };
        let done = act(group, &mut turn);
        self.offsets = self.offsets - before + group.offsets.len();
        if cfg!(debug_assertions) {
            group.assert_sound();
        }
        if group.is_vacant() {
            self.remove(id);
        } else {
            self.set_timer(id);
        }
        Some(done)
    }

    fn remove(&mut self, id: &str) {
        let Some(group) = self.groups.remove(id) else { return };
        self.offsets -= group.offsets.len();
        if let Some(timer) = group.timer {
            self.timers.remove(&(timer, group.id));
        }
    }

    /// A timer that is too early does no harm, so only an earlier deadline moves it.
    fn set_timer(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(deadline) = group.deadline() else { return };
        if group.timer.is_some_and(|timer| timer <= deadline) {
            return;
        }
        if let Some(timer) = group.timer.replace(deadline) {
            self.timers.remove(&(timer, id.to_owned()));
        }
        self.timers.insert((deadline, id.to_owned()));
    }

    /// JoinGroup. Answered through the effects.
    pub fn join(&mut self, join: &Join, waiter: Waiter, at: At, out: &mut Vec<Effect>) {
        if let Err(error) = self.admit(join, at) {
            let refusal = crate::JoinRefusal { error, member: join.member.clone() };
            return out.push(Effect::Answer { waiter, answer: Answer::Join(Err(refusal)) });
        }
        self.turn(&join.group, at, out, |group, turn| group.join(join, waiter, turn));
    }

    /// Judges what can be judged without the group, and makes the group if it may be made.
    fn admit(&mut self, join: &Join, at: At) -> Result<(), GroupError> {
        let names = [&join.client_id, &join.client_host, &join.protocol_type, &join.random];
        let names = names.into_iter().chain(&join.instance).chain([&join.member]);
        let names = names.chain(join.protocols.iter().map(|protocol| &protocol.name));
        check_group_name(&join.group)?;
        let session_ms = u32::try_from(join.session_timeout_ms).unwrap_or(0);
        let GroupLimits { session_timeout_min_ms: min, session_timeout_max_ms: max, .. } =
            self.limits;
        if !(min..=max).contains(&session_ms) {
            return Err(GroupError::InvalidSessionTimeout);
        }
        if join.protocols.len() > PROTOCOLS_MAX
            || bytes_of(&join.protocols) > MEMBER_BYTES_MAX
            || names.into_iter().any(|name| name.len() > GROUP_NAME_BYTES_MAX)
        {
            return Err(GroupError::TooLarge);
        }
        if self.groups.contains_key(&join.group) {
            return Ok(());
        }
        if !join.member.is_empty() {
            return Err(GroupError::UnknownMember);
        }
        self.make(&join.group, at)
    }

    fn make(&mut self, id: &str, at: At) -> Result<(), GroupError> {
        if self.groups.len() >= GROUPS_MAX {
            return Err(GroupError::TooManyGroups);
        }
        self.groups.insert(id.to_owned(), Group::new(id, at.wall));
        Ok(())
    }

    /// SyncGroup. Answered through the effects.
    pub fn sync(&mut self, sync: Sync, waiter: Waiter, at: At, out: &mut Vec<Effect>) {
        let id = sync.group.clone();
        if let Err(error) = check_group_name(&id) {
            return out.push(Effect::Answer { waiter, answer: Answer::Sync(Err(error)) });
        }
        let known = self.turn(&id, at, out, |group, turn| group.sync(sync, waiter, turn));
        if known.is_none() {
            let answer = Answer::Sync(Err(GroupError::UnknownMember));
            out.push(Effect::Answer { waiter, answer });
        }
    }

    /// Heartbeat.
    ///
    /// # Errors
    /// [`GroupError`], `Rebalancing` among them.
    pub fn heartbeat(
        &mut self,
        group: &str,
        who: Identity<'_>,
        now: UptimeMs,
    ) -> Result<(), GroupError> {
        check_group_name(group)?;
        // No timer is set: a session that is longer than its timer thinks is found then.
        let group = self.groups.get_mut(group).ok_or(GroupError::UnknownMember)?;
        group.heartbeat(who, now)
    }

    /// LeaveGroup: one answer for each member, in their order.
    ///
    /// # Errors
    /// [`GroupError`] about the group.
    pub fn leave(
        &mut self,
        group: &str,
        leavers: &[Leaver],
        at: At,
        out: &mut Vec<Effect>,
    ) -> Result<Vec<Result<(), GroupError>>, GroupError> {
        check_group_name(group)?;
        let left = self.turn(group, at, out, |group, turn| group.leave(leavers, turn));
        left.unwrap_or_else(|| Ok(vec![Err(GroupError::UnknownMember); leavers.len()]))
    }

    /// OffsetCommit. Answered through the effects. Its topics exist.
    pub fn commit(&mut self, commit: Commit, waiter: Waiter, at: At, out: &mut Vec<Effect>) {
        let id = commit.group.clone();
        if let Err(error) = self.admit_commit(&commit, at) {
            return out.push(Effect::Answer { waiter, answer: Answer::Commit(Err(error)) });
        }
        let room = OFFSETS_MAX.saturating_sub(self.offsets);
        self.turn(&id, at, out, |group, turn| group.commit(commit, room, waiter, turn));
    }

    fn admit_commit(&mut self, commit: &Commit, at: At) -> Result<(), GroupError> {
        if self.under_way.is_full() {
            return Err(GroupError::Busy);
        }
        if commit.group.len() > GROUP_NAME_BYTES_MAX {
            return Err(GroupError::InvalidName);
        }
        if self.groups.contains_key(&commit.group) {
            return Ok(());
        }
        if commit.generation >= 0 {
            return Err(GroupError::NotFound);
        }
        self.make(&commit.group, at)
    }

    /// OffsetDelete. Answered through the effects.
    pub fn delete_offsets(
        &mut self,
        group: &str,
        places: Vec<(String, i32)>,
        waiter: Waiter,
        at: At,
        out: &mut Vec<Effect>,
    ) {
        if let Err(error) = check_group_name(group) {
            return out.push(Effect::Answer { waiter, answer: Answer::DeleteOffsets(Err(error)) });
        }
        let known = self.turn(group, at, out, |group, turn| {
            group.delete_offsets(places, waiter, turn);
        });
        if known.is_none() {
            let answer = Answer::DeleteOffsets(Err(GroupError::NotFound));
            out.push(Effect::Answer { waiter, answer });
        }
    }

    /// DeleteGroups, for one group. Answered through the effects.
    pub fn delete(&mut self, group: &str, waiter: Waiter, at: At, out: &mut Vec<Effect>) {
        let known = self.turn(group, at, out, |group, turn| group.delete(waiter, turn));
        if known.is_none() {
            let answer = Answer::DeleteGroup(Err(GroupError::NotFound));
            out.push(Effect::Answer { waiter, answer });
        }
    }

    /// What became of an append.
    ///
    /// # Panics
    /// When it is not the oldest whose outcome was not known.
    pub fn appended(&mut self, id: AppendId, outcome: Outcome, at: At, out: &mut Vec<Effect>) {
        let change = self.under_way.settle(id);
        let group = change.group.clone();
        let gone = self.turn(&group, at, out, |group, turn| group.appended(change, outcome, turn));
        if gone.expect("a group with changes under way stays") {
            self.remove(&group);
        }
    }

    /// Time has passed: sessions and rebalances end, and commits that take too long are answered.
    pub fn tick(&mut self, at: At, out: &mut Vec<Effect>) {
        while self.timers.first().is_some_and(|(timer, _)| *timer <= at.now) {
            let Some((_, id)) = self.timers.pop_first() else { break };
            if let Some(group) = self.groups.get_mut(&id) {
                group.timer = None;
            }
            self.turn(&id, at, out, Group::tick);
        }
        self.under_way.tell_late(&self.limits, at.now, out);
    }

    /// When [`Coordinator::tick`] is due.
    #[must_use]
    pub fn deadline(&self) -> Option<UptimeMs> {
        let group = self.timers.first().map(|(timer, _)| *timer);
        group.into_iter().chain(self.under_way.deadline(&self.limits)).min()
    }

    /// Forgets what has been kept long enough (`offsets.retention.minutes`).
    pub fn expire(&mut self, at: At, out: &mut Vec<Effect>) {
        self.each(at, out, Group::expire);
    }

    /// Forgets the offsets of topics that are no more.
    pub fn forget_topics(&mut self, is_gone: IsGone<'_>, at: At, out: &mut Vec<Effect>) {
        self.each(at, out, |group, turn| group.forget_topics(is_gone, turn));
    }

    fn each(&mut self, at: At, out: &mut Vec<Effect>, act: impl Fn(&mut Group, &mut Turn<'_>)) {
        let ids: Vec<String> = self.groups.keys().cloned().collect();
        for id in ids {
            if self.under_way.is_full() {
                // The next time goes on with those that are left.
                return;
            }
            self.turn(&id, at, out, &act);
        }
    }

    /// This node coordinates no more, or cannot tell what became of an append: everybody who waits
    /// is told to ask for the coordinator.
    pub fn resign(mut self, out: &mut Vec<Effect>) {
        for mut change in self.under_way.drain() {
            if let Some((waiter, answer)) = change.what.refusal(GroupError::NotCoordinator) {
                out.push(Effect::Answer { waiter, answer });
            }
        }
        for member in self.groups.values_mut().flat_map(|group| group.members.values_mut()) {
            let refusal =
                crate::JoinRefusal { error: GroupError::NotCoordinator, member: member.id.clone() };
            let join = member.joining.take().map(|waiter| (waiter, Answer::Join(Err(refusal))));
            let sync = Answer::Sync(Err(GroupError::NotCoordinator));
            let sync = member.syncing.take().map(|waiter| (waiter, sync));
            for (waiter, answer) in join.into_iter().chain(sync) {
                out.push(Effect::Answer { waiter, answer });
            }
        }
    }

    /// Whether no change is under way, so that [`Coordinator::snapshot`] says all that the log says.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.under_way.is_empty()
    }

    /// The whole state as records: a log that begins with them needs nothing of what came before.
    ///
    /// # Panics
    /// While a change is under way: the log would have it before records that do not know of it.
    pub fn snapshot(&self) -> impl Iterator<Item = Record> {
        assert!(self.is_settled(), "{} changes are under way", self.under_way.len());
        self.groups.values().flat_map(Group::snapshot)
    }

    /// How many records [`Coordinator::snapshot`] has, about.
    #[must_use]
    pub fn live_records(&self) -> usize {
        self.groups.len() + self.offsets
    }

    /// Where a group is in a partition, as far as it is committed.
    #[must_use]
    pub fn offset(&self, group: &str, topic: &str, partition: i32) -> Option<&CommittedOffset> {
        self.groups.get(group)?.offsets.get(topic, partition)
    }

    /// Everything that a group has committed, by topic and partition.
    pub fn offsets(&self, group: &str) -> impl Iterator<Item = (&str, i32, &CommittedOffset)> {
        self.groups.get(group).into_iter().flat_map(|group| group.offsets.iter())
    }

    /// All groups.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.groups.values().map(Group::listed)
    }

    /// One group and its members.
    #[must_use]
    pub fn describe(&self, group: &str) -> Option<Described> {
        self.groups.get(group).map(Group::described)
    }
}

fn check_group_name(name: &str) -> Result<(), GroupError> {
    let fits = (1..=GROUP_NAME_BYTES_MAX).contains(&name.len());
    if fits { Ok(()) } else { Err(GroupError::InvalidName) }
}
