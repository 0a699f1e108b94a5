//! Changes whose records are written and not known to be committed, oldest first, and the means
//! by which one event adds to them.
//!
//! The log keeps the order of appends, so outcomes come in the order of the queue. A client whose
//! change takes too long is told that its outcome is unknown; the change stays in the queue.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use walrus_types::UptimeMs;

use crate::{
    effects::{Answer, AppendId, Effect, JoinRefusal, Waiter},
    errors::{GroupError, OffsetError},
    limits::{GroupLimits, UNDER_WAY_MAX},
    member::Member,
    offsets::{CommittedOffset, Place},
    records::{GroupValue, Record},
    requests::At,
};

/// What is to be done when a change's records are committed.
#[derive(Debug)]
pub(crate) enum What {
    /// A generation's assignments are in force.
    Assigned { value: GroupValue, assignments: BTreeMap<String, Bytes> },
    /// A static member has a new id, in the same generation.
    Replaced(Box<Replacement>),
    /// The group has no members any more. Nobody waits for it.
    Emptied { value: GroupValue },
    /// Offsets are committed.
    Committed {
        waiter: Option<Waiter>,
        offsets: Vec<(Place, CommittedOffset)>,
        judged: Vec<Result<(), OffsetError>>,
    },
    /// Offsets are forgotten.
    Forgotten { waiter: Option<Waiter>, places: Vec<Place>, judged: Vec<Result<(), OffsetError>> },
    /// The group is gone.
    Deleted { waiter: Option<Waiter> },
}

/// A static member that came back under another id.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) value: GroupValue,
    /// Its new id.
    pub(crate) id: String,
    /// What it was before.
    pub(crate) old: Member,
    pub(crate) can_skip_assignment: bool,
}

impl What {
    /// The client that waits for nothing but this, and how it is refused.
    pub(crate) fn refusal(&mut self, error: GroupError) -> Option<(Waiter, Answer)> {
        match self {
            Self::Committed { waiter, .. } => Some((waiter.take()?, Answer::Commit(Err(error)))),
            Self::Forgotten { waiter, .. } => {
                Some((waiter.take()?, Answer::DeleteOffsets(Err(error))))
            }
            Self::Deleted { waiter } => Some((waiter.take()?, Answer::DeleteGroup(Err(error)))),
            Self::Assigned { .. } | Self::Replaced(_) | Self::Emptied { .. } => None,
        }
    }
}

/// One change.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) id: AppendId,
    pub(crate) group: String,
    since: UptimeMs,
    pub(crate) what: What,
}

/// The queue.
///
/// Invariant: ids and times ascend; the first `told` were looked at for being late.
#[derive(Debug, Default)]
pub(crate) struct UnderWay {
    next: u64,
    queue: VecDeque<Change>,
    told: usize,
}

impl UnderWay {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= UNDER_WAY_MAX
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    fn push(&mut self, group: &str, what: What, now: UptimeMs) -> AppendId {
        let id = AppendId(self.next);
        self.next += 1;
        self.queue.push_back(Change { id, group: group.to_owned(), since: now, what });
        id
    }

    /// Takes the oldest, whose outcome is known.
    pub(crate) fn settle(&mut self, id: AppendId) -> Change {
        let change = self.queue.pop_front().expect("an outcome has its append");
        assert_eq!(change.id, id, "outcomes come in the order of the appends");
        self.told = self.told.saturating_sub(1);
        change
    }

    /// When somebody has waited long enough.
    pub(crate) fn deadline(&self, limits: &GroupLimits) -> Option<UptimeMs> {
        let first = self.queue.get(self.told)?;
        Some(UptimeMs(first.since.0.saturating_add(u64::from(limits.commit_timeout_ms))))
    }

    /// Tells those that have waited long enough that the outcome is not known.
    pub(crate) fn tell_late(&mut self, limits: &GroupLimits, now: UptimeMs, out: &mut Vec<Effect>) {
        while self.deadline(limits).is_some_and(|deadline| deadline <= now) {
            if let Some((waiter, answer)) = self.queue[self.told].what.refusal(GroupError::TimedOut)
            {
                out.push(Effect::Answer { waiter, answer });
            }
            self.told += 1;
        }
    }

    /// Everything, when this coordinator is none any more.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = Change> {
        self.told = 0;
        self.queue.drain(..)
    }

    /// The partitions for which a group's commits are under way.
    pub(crate) fn places_of(&self, group: &str) -> impl Iterator<Item = &Place> {
        let own = self.queue.iter().filter(move |change| change.group == group);
        own.flat_map(|change| match &change.what {
            What::Committed { offsets, .. } => offsets.as_slice(),
            What::Assigned { .. }
            | What::Replaced(_)
            | What::Emptied { .. }
            | What::Forgotten { .. }
            | What::Deleted { .. } => &[],
        })
        .map(|(place, _)| place)
    }
}

/// One event: when it is, by which rules, and where its effects go.
pub(crate) struct Turn<'a> {
    pub(crate) at: At,
    pub(crate) limits: &'a GroupLimits,
    pub(crate) under_way: &'a mut UnderWay,
    pub(crate) out: &'a mut Vec<Effect>,
}

impl Turn<'_> {
    pub(crate) fn answer(&mut self, waiter: Waiter, answer: Answer) {
        self.out.push(Effect::Answer { waiter, answer });
    }

    pub(crate) fn refuse_join(&mut self, waiter: Waiter, error: GroupError, member: &str) {
        let refusal = JoinRefusal { error, member: member.to_owned() };
        self.answer(waiter, Answer::Join(Err(refusal)));
    }

    /// `ms` from now.
    pub(crate) fn after(&self, ms: u64) -> UptimeMs {
        UptimeMs(self.at.now.0.saturating_add(ms))
    }

    /// Appends `records`, and remembers what they mean once they are committed.
    pub(crate) fn append(&mut self, group: &str, what: What, records: Vec<Record>) {
        assert!(!records.is_empty(), "an append has records");
        let id = self.under_way.push(group, what, self.at.now);
        self.out.push(Effect::Append { id, records });
    }
}
