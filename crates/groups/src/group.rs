//! One group: its members, its generation and what it committed.
//!
//! ```text
//!            join                  all joined, or time is up         leader's assignment committed
//!   Empty ---------> Preparing ------------------------> Completing ------------------> Stable
//!     ^                |   ^      next generation             |                            |
//!     |  nobody left   |   |                                  |  somebody comes, goes,     |
//!     +----------------+   +----------------------------------+  or asks for it            |
//!     |                    +---------------------------------------------------------------+
//!     +--> Dead: its deletion is written; gone when that is committed, Empty when it is refused
//! ```
//!
//! Owns who is in and who waits. `group/join.rs` takes members in, `group/rebalance.rs` moves from
//! state to state, `group/replace.rs` gives a static member's place to its next life,
//! `group/sync.rs` spreads assignments, `group/commit.rs` judges offsets.

mod commit;
mod join;
mod rebalance;
mod replace;
mod sync;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use walrus_types::{TimestampMs, UptimeMs};

use crate::{
    errors::GroupError,
    member::Member,
    offsets::Offsets,
    records::{GroupValue, Record},
    requests::Identity,
    subscription::{self, CONSUMER},
    under_way::{Turn, What},
};

/// Where a group is in its rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// No members.
    Empty,
    /// Members are gathered until then, or until all are there.
    Preparing {
        until: UptimeMs,
        /// The group was empty: it waits for more members in any case.
        initial: Option<Initial>,
    },
    /// The generation waits for its leader's assignments.
    Completing {
        /// Who has not asked for its assignment by then is out.
        until: UptimeMs,
        /// They are written, and not known to be committed.
        assigning: bool,
    },
    /// Everybody knows what to do, or is waited for until then.
    Stable { until: UptimeMs },
    /// Its deletion is under way.
    Dead,
}

/// The wait of a group that was empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Initial {
    /// How much longer it may wait than it does now, ms.
    remaining_ms: u64,
    /// Somebody came since the wait began: there may be more.
    came: bool,
}

/// An id that was given out and not used yet (KIP-394).
#[derive(Debug)]
struct Handed {
    id: String,
    expires: UptimeMs,
}

/// One group.
///
/// Invariants: `leader` and the values of `instances` are members; `unsynced` are members;
/// `Empty` and `Dead` have no members; `protocol` is there in `Completing` and `Stable`.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: String,
    pub(crate) phase: Phase,
    /// Since when, by the wall clock.
    since: TimestampMs,
    pub(crate) protocol_type: Option<String>,
    pub(crate) generation: i32,
    pub(crate) protocol: Option<String>,
    leader: Option<String>,
    pub(crate) members: BTreeMap<String, Member>,
    /// The ids of static members, by name.
    instances: BTreeMap<String, String>,
    handed: VecDeque<Handed>,
    /// Members of this generation that have not asked for their assignment.
    unsynced: BTreeSet<String>,
    /// The topics that the generation reads; `None` when that cannot be known.
    subscribed: Option<BTreeSet<String>>,
    pub(crate) offsets: Offsets,
    /// What the last committed record says.
    persisted: Option<GroupValue>,
    /// Changes whose records are not known to be committed.
    under_way: usize,
    /// When the coordinator looks at it again; kept here, used there.
    pub(crate) timer: Option<UptimeMs>,
}

impl Group {
    pub(crate) fn new(id: &str, wall: TimestampMs) -> Self {
        Self {
            id: id.to_owned(),
            phase: Phase::Empty,
            since: wall,
            protocol_type: None,
            generation: 0,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            instances: BTreeMap::new(),
            handed: VecDeque::new(),
            unsynced: BTreeSet::new(),
            subscribed: None,
            offsets: Offsets::default(),
            persisted: None,
            under_way: 0,
            timer: None,
        }
    }

    /// A group as its records have it. The members' sessions begin now.
    pub(crate) fn restored(
        id: &str,
        value: Option<GroupValue>,
        offsets: Offsets,
        now: UptimeMs,
    ) -> Self {
        let mut group = Self { offsets, ..Self::new(id, TimestampMs::NONE) };
        let Some(value) = value else { return group };
        group.since = value.since;
        group.protocol_type = Some(value.protocol_type.clone()).filter(|name| !name.is_empty());
        group.generation = value.generation;
        group.protocol.clone_from(&value.protocol);
        let protocol = value.protocol.as_deref().unwrap_or_default();
        for one in &value.members {
            let member = Member::restored(one, protocol, now);
            if let Some(instance) = &member.instance {
                group.instances.insert(instance.clone(), member.id.clone());
            }
            group.members.insert(member.id.clone(), member);
        }
        if !group.members.is_empty() {
            group.phase = Phase::Stable { until: now };
            group.leader = value.leader.clone().filter(|id| group.members.contains_key(id));
            group.elect_if_leaderless();
            group.protocol.get_or_insert_default();
        }
        group.subscribed = group.subscription();
        group.persisted = Some(value);
        group
    }

    /// Whether nothing would be lost if it were not there.
    pub(crate) fn is_vacant(&self) -> bool {
        self.phase == Phase::Empty
            && self.handed.is_empty()
            && self.offsets.is_empty()
            && self.persisted.is_none()
            && self.under_way == 0
    }

    /// A group that was loaded with more members than are allowed now gathers them again.
    pub(crate) fn shrink_if_over(&mut self, turn: &mut Turn<'_>) {
        if self.members.len() > turn.limits.members_max {
            self.gather(turn);
        }
    }

    /// What a new segment of the log has to begin with, to load this group from it alone.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = Record> {
        let offsets = self.offsets.iter().map(|(topic, partition, offset)| Record::Offset {
            key: self.key((topic.to_owned(), partition)),
            value: Some(offset.clone()),
        });
        let value = self.persisted.clone();
        let members =
            value.map(|value| Record::Group { group: self.id.clone(), value: Some(value) });
        offsets.chain(members)
    }

    /// When it is to be looked at again.
    pub(crate) fn deadline(&self) -> Option<UptimeMs> {
        let phase = match self.phase {
            Phase::Preparing { until, .. } | Phase::Completing { until, .. } => Some(until),
            Phase::Stable { until } if !self.unsynced.is_empty() => Some(until),
            Phase::Stable { .. } | Phase::Empty | Phase::Dead => None,
        };
        let members = self.members.values().filter_map(Member::deadline);
        let handed = self.handed.iter().map(|handed| handed.expires);
        members.chain(handed).chain(phase).min()
    }

    /// A request of a member: is it the member it says, and in the group's generation?
    fn check(&self, who: Identity<'_>) -> Result<(), GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::NotAvailable);
        }
        self.check_member(who.member, who.instance)?;
        if who.generation != self.generation {
            return Err(GroupError::IllegalGeneration);
        }
        Ok(())
    }

    fn check_member(&self, member: &str, instance: Option<&str>) -> Result<(), GroupError> {
        if let Some(instance) = instance {
            match self.instances.get(instance) {
                None => return Err(GroupError::UnknownMember),
                Some(id) if id != member => return Err(GroupError::FencedInstance),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member) { Ok(()) } else { Err(GroupError::UnknownMember) }
    }

    /// Takes a member out. Its own requests that wait are answered.
    fn remove(&mut self, id: &str, turn: &mut Turn<'_>) {
        let Some(mut gone) = self.members.remove(id) else { return };
        gone.answer_waiting(GroupError::UnknownMember, turn);
        if let Some(instance) = gone.instance {
            self.instances.remove(&instance);
        }
        self.unsynced.remove(id);
        if self.leader.as_deref() == Some(id) {
            self.leader = None;
            self.elect_if_leaderless();
        }
    }

    fn elect_if_leaderless(&mut self) {
        if self.leader.is_none() {
            self.leader = self.members.keys().next().cloned();
        }
    }

    /// Whether a member of this generation reads `topic`. Unknown counts as yes for consumers.
    pub(crate) fn is_subscribed(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.protocol_type.as_deref() == Some(CONSUMER),
        }
    }

    /// The topics that all members of the generation read together.
    fn subscription(&self) -> Option<BTreeSet<String>> {
        if self.members.is_empty() {
            return Some(BTreeSet::new());
        }
        let protocol = self.protocol.as_deref()?;
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            all.extend(subscription::topics(&member.metadata(protocol))?);
        }
        Some(all)
    }

    /// The group as its record is to have it, with the assignments in force or with new ones.
    fn value(
        &self,
        wall: TimestampMs,
        assignments: Option<&BTreeMap<String, Bytes>>,
    ) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: wall,
            members: self.members.values().map(|one| one.value(protocol, assignments)).collect(),
        }
    }

    fn append(&mut self, turn: &mut Turn<'_>, what: What, records: Vec<Record>) {
        self.under_way += 1;
        turn.append(&self.id, what, records);
    }

    fn append_value(&mut self, turn: &mut Turn<'_>, what: What, value: GroupValue) {
        let record = Record::Group { group: self.id.clone(), value: Some(value) };
        self.append(turn, what, vec![record]);
    }

    /// What its members bring, in bytes.
    fn bytes(&self) -> usize {
        self.members.values().map(Member::bytes).sum()
    }

    pub(crate) fn leader(&self) -> Option<&str> {
        self.leader.as_deref()
    }

    /// What must hold between events.
    pub(crate) fn assert_sound(&self) {
        let is_member = |id: &String| self.members.contains_key(id);
        assert!(self.leader.iter().all(is_member), "{}: the leader is no member", self.id);
        assert!(self.instances.values().all(is_member), "{}: a name without its member", self.id);
        assert!(self.unsynced.iter().all(is_member), "{}: nobody is waited for", self.id);
        match self.phase {
            Phase::Empty | Phase::Dead => assert!(self.members.is_empty(), "{}", self.id),
            Phase::Completing { .. } | Phase::Stable { .. } => {
                assert!(self.protocol.is_some() && self.leader.is_some(), "{}", self.id);
            }
            Phase::Preparing { .. } => {}
        }
        let syncing = self.members.values().any(|member| member.syncing.is_some());
        let completing = matches!(self.phase, Phase::Completing { .. });
        assert!(completing || !syncing, "{}: waits for an assignment in {:?}", self.id, self.phase);
    }
}

impl Member {
    /// Tells whoever waits for this member that it will not come to be.
    fn answer_waiting(&mut self, error: GroupError, turn: &mut Turn<'_>) {
        if let Some(waiter) = self.joining.take() {
            turn.refuse_join(waiter, error, &self.id);
        }
        if let Some(waiter) = self.syncing.take() {
            turn.answer(waiter, crate::Answer::Sync(Err(error)));
        }
    }
}
