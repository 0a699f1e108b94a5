//! Offsets: which commits count, what is deleted, what has been kept long enough.

use walrus_types::{TimestampMs, planted};

use super::{Group, Phase};
use crate::{
    CURSOR_PREFIX,
    effects::{Answer, Outcome, Waiter},
    errors::{GroupError, OffsetError},
    limits::COMMIT_BYTES_MAX,
    offsets::{CommittedOffset, IsGone, NO_LEADER_EPOCH, Place},
    records::{OffsetKey, Record},
    requests::{Commit, Identity, NewOffset},
    subscription::CONSUMER,
    under_way::{Change, Turn, What},
};

/// What a record takes beside its texts, at most.
const RECORD_BYTES: usize = 64;

impl Group {
    pub(super) fn key(&self, (topic, partition): Place) -> OffsetKey {
        OffsetKey { group: self.id.clone(), topic, partition }
    }

    /// A commit. `room` is how many offsets more the coordinator keeps.
    pub(crate) fn commit(
        &mut self,
        commit: Commit,
        room: usize,
        waiter: Waiter,
        turn: &mut Turn<'_>,
    ) {
        let who = Identity {
            member: &commit.member,
            instance: commit.instance.as_deref(),
            generation: commit.generation,
        };
        let judged = self.check_commit(who).and_then(|()| self.check_bytes(&commit));
        if let Err(error) = judged {
            return turn.answer(waiter, Answer::Commit(Err(error)));
        }
        if let Some(member) = self.members.get_mut(&commit.member) {
            member.heard(turn.at.now);
        }
        let wall = turn.at.wall;
        let kept_ms = commit.retention_ms.map(|ms| i64::try_from(ms).unwrap_or(i64::MAX));
        let expires_at = kept_ms.map(|ms| TimestampMs(wall.0.saturating_add(ms)));
        let mut judged = Vec::with_capacity(commit.offsets.len());
        let mut offsets = Vec::new();
        for new in commit.offsets {
            let verdict = self.check_offset(&new, room, turn);
            judged.push(verdict);
            if verdict.is_ok() {
                let NewOffset { topic, partition, offset, leader_epoch, metadata } = new;
                let committed_at = wall;
                let offset =
                    CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at };
                offsets.push(((topic, partition), offset));
            }
        }
        if offsets.is_empty() {
            return turn.answer(waiter, Answer::Commit(Ok(judged)));
        }
        let record = |(place, offset): &(Place, CommittedOffset)| Record::Offset {
            key: self.key(place.clone()),
            value: Some(offset.clone()),
        };
        let records = offsets.iter().map(record).collect();
        let mut waiter = Some(waiter);
        if planted::is("commit-answered-early")
            && let Some(waiter) = waiter.take()
        {
            turn.answer(waiter, Answer::Commit(Ok(judged.clone())));
        }
        self.append(turn, What::Committed { waiter, offsets, judged }, records);
    }

    /// Who may commit: a member of the generation, or anybody while there are no members.
    fn check_commit(&self, who: Identity<'_>) -> Result<(), GroupError> {
        if self.phase == Phase::Dead {
            return Err(GroupError::NotAvailable);
        }
        if who.generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        let is_anonymous = who.generation < 0 && who.member.is_empty() && who.instance.is_none();
        if is_anonymous {
            return Err(GroupError::UnknownMember);
        }
        self.check_member(who.member, who.instance)?;
        if who.generation != self.generation && !planted::is("old-generation-commits") {
            return Err(GroupError::IllegalGeneration);
        }
        // Its member knows the generation and has no assignment in it: let it wait for one.
        if matches!(self.phase, Phase::Completing { .. }) {
            return Err(GroupError::Rebalancing);
        }
        Ok(())
    }

    fn check_bytes(&self, commit: &Commit) -> Result<(), GroupError> {
        let bytes_of =
            |new: &NewOffset| self.id.len() + new.topic.len() + new.metadata.len() + RECORD_BYTES;
        let bytes: usize = commit.offsets.iter().map(bytes_of).sum();
        if bytes > COMMIT_BYTES_MAX { Err(GroupError::CommitTooLarge) } else { Ok(()) }
    }

    fn check_offset(
        &self,
        new: &NewOffset,
        room: usize,
        turn: &Turn<'_>,
    ) -> Result<(), OffsetError> {
        let NewOffset { topic, partition, metadata, .. } = new;
        // As Kafka counts; most are short enough whatever is counted.
        let max = turn.limits.offset_metadata_max;
        if metadata.len() > max && metadata.encode_utf16().count() > max {
            return Err(OffsetError::MetadataTooLarge);
        }
        if room == 0 && self.offsets.get(topic, *partition).is_none() {
            return Err(OffsetError::TooManyOffsets);
        }
        Ok(())
    }

    /// Forgets the offsets of partitions that no member reads.
    pub(crate) fn delete_offsets(
        &mut self,
        places: Vec<Place>,
        waiter: Waiter,
        turn: &mut Turn<'_>,
    ) {
        let is_consumer = self.protocol_type.as_deref() == Some(CONSUMER);
        let refusal = match self.phase {
            Phase::Dead => Some(GroupError::NotFound),
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. }
                if !is_consumer =>
            {
                Some(GroupError::NonEmpty)
            }
            Phase::Empty
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. } => None,
        };
        if let Some(error) = refusal {
            return turn.answer(waiter, Answer::DeleteOffsets(Err(error)));
        }
        let judge = |(topic, _): &Place| {
            if self.is_subscribed(topic) { Err(OffsetError::Subscribed) } else { Ok(()) }
        };
        let judged: Vec<_> = places.iter().map(judge).collect();
        let allowed = places.into_iter().zip(&judged).filter(|(_, verdict)| verdict.is_ok());
        let there: Vec<Place> = allowed
            .map(|(place, _)| place)
            .filter(|(topic, partition)| {
                self.offsets.get(topic, *partition).is_some()
                    || turn
                        .under_way
                        .places_of(&self.id)
                        .any(|place| place.0 == *topic && place.1 == *partition)
            })
            .collect();
        if there.is_empty() {
            return turn.answer(waiter, Answer::DeleteOffsets(Ok(judged)));
        }
        self.forget(there, Some(waiter), judged, turn);
    }

    fn forget(
        &mut self,
        places: Vec<Place>,
        waiter: Option<Waiter>,
        judged: Vec<Result<(), OffsetError>>,
        turn: &mut Turn<'_>,
    ) {
        let gone = |place: &Place| Record::Offset { key: self.key(place.clone()), value: None };
        let records = places.iter().map(gone).collect();
        self.append(turn, What::Forgotten { waiter, places, judged }, records);
    }

    /// Deletes the group with its offsets, if it has no members.
    pub(crate) fn delete(&mut self, waiter: Waiter, turn: &mut Turn<'_>) {
        match self.phase {
            Phase::Empty => self.delete_all(Some(waiter), turn),
            Phase::Dead => turn.answer(waiter, Answer::DeleteGroup(Err(GroupError::NotFound))),
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                turn.answer(waiter, Answer::DeleteGroup(Err(GroupError::NonEmpty)));
            }
        }
    }

    fn delete_all(&mut self, waiter: Option<Waiter>, turn: &mut Turn<'_>) {
        let mut places: Vec<Place> = self.offsets.iter().map(place).collect();
        places.extend(turn.under_way.places_of(&self.id).cloned());
        places.sort();
        places.dedup();
        let gone = |place: Place| Record::Offset { key: self.key(place), value: None };
        let mut records: Vec<Record> = places.into_iter().map(gone).collect();
        records.push(Record::Group { group: self.id.clone(), value: None });
        self.phase = Phase::Dead;
        self.handed.clear();
        self.append(turn, What::Deleted { waiter }, records);
    }

    /// Forgets what has been kept long enough, and the group itself when nothing is left of it.
    /// A group with changes under way is left for the next time, a queue's cursor for ever.
    pub(crate) fn expire(&mut self, turn: &mut Turn<'_>) {
        if self.under_way > 0 || self.phase == Phase::Dead || self.id.starts_with(CURSOR_PREFIX) {
            return;
        }
        let is_over = |topic: &str, offset: &CommittedOffset| self.is_over_age(topic, offset, turn);
        let over: Vec<Place> = self
            .offsets
            .iter()
            .filter(|(topic, _, offset)| is_over(topic, offset))
            .map(place)
            .collect();
        let nothing_stays = over.len() == self.offsets.len();
        if nothing_stays && self.phase == Phase::Empty && self.handed.is_empty() {
            self.delete_all(None, turn);
        } else if !over.is_empty() {
            self.forget(over, None, Vec::new(), turn);
        }
    }

    /// A group without members is kept for the retention from when the last one went; a client
    /// that never was a member, and a topic that no member reads any more, from the commit.
    fn is_over_age(&self, topic: &str, offset: &CommittedOffset, turn: &Turn<'_>) -> bool {
        let from = match (&self.protocol_type, self.phase) {
            (None, _) => offset.committed_at,
            (Some(_), Phase::Empty) if self.since == TimestampMs::NONE => offset.committed_at,
            (Some(_), Phase::Empty) => self.since.max(offset.committed_at),
            (Some(_), Phase::Stable { .. }) if self.subscribed.is_some() => offset.committed_at,
            (Some(_), _) => return false,
        };
        if self.is_subscribed(topic) {
            return false;
        }
        let TimestampMs(wall) = turn.at.wall;
        match offset.expires_at {
            Some(TimestampMs(expires_at)) => wall >= expires_at,
            None => {
                let age_ms = u64::try_from(wall.saturating_sub(from.0)).unwrap_or(0);
                age_ms >= turn.limits.offsets_retention_ms
            }
        }
    }

    /// Forgets the offsets of topics that are no more.
    pub(crate) fn forget_topics(&mut self, is_gone: IsGone<'_>, turn: &mut Turn<'_>) {
        if self.phase == Phase::Dead {
            return;
        }
        let committed = self.offsets.iter();
        let of_gone = committed.filter(|(topic, _, offset)| is_gone(topic, offset.leader_epoch));
        let mut gone: Vec<Place> = of_gone.map(place).collect();
        let new = turn.under_way.places_of(&self.id);
        gone.extend(new.filter(|(topic, _)| is_gone(topic, NO_LEADER_EPOCH)).cloned());
        gone.sort();
        gone.dedup();
        if !gone.is_empty() {
            self.forget(gone, None, Vec::new(), turn);
        }
    }

    /// What became of a change of this group. True when the group is gone.
    pub(crate) fn appended(
        &mut self,
        change: Change,
        outcome: Outcome,
        turn: &mut Turn<'_>,
    ) -> bool {
        self.under_way -= 1;
        let Change { mut what, .. } = change;
        if outcome != Outcome::Committed
            && let Some((waiter, answer)) = what.refusal(refusal(&what, outcome))
        {
            turn.answer(waiter, answer);
        }
        let is_committed = outcome == Outcome::Committed;
        match what {
            What::Assigned { value, assignments } => {
                self.assigned(value, assignments, outcome, turn);
            }
            What::Replaced(replacement) => self.replaced(*replacement, outcome, turn),
            What::Emptied { value } if is_committed => self.persisted = Some(value),
            What::Committed { waiter, offsets, judged } if is_committed => {
                for (place, offset) in offsets {
                    self.offsets.set(place, offset);
                }
                if let Some(waiter) = waiter {
                    turn.answer(waiter, Answer::Commit(Ok(judged)));
                }
            }
            What::Forgotten { waiter, places, judged } if is_committed => {
                for (topic, partition) in places {
                    self.offsets.forget(&topic, partition);
                }
                if let Some(waiter) = waiter {
                    turn.answer(waiter, Answer::DeleteOffsets(Ok(judged)));
                }
            }
            What::Deleted { waiter } if is_committed => {
                if let Some(waiter) = waiter {
                    turn.answer(waiter, Answer::DeleteGroup(Ok(())));
                }
                return true;
            }
            What::Deleted { .. } => self.phase = Phase::Empty,
            What::Emptied { .. } | What::Committed { .. } | What::Forgotten { .. } => {}
        }
        false
    }
}

fn place((topic, partition, _): (&str, i32, &CommittedOffset)) -> Place {
    (topic.to_owned(), partition)
}

/// How a client is refused whose records are not in the log.
fn refusal(what: &What, outcome: Outcome) -> GroupError {
    match (what, outcome) {
        (What::Committed { .. }, Outcome::TooLarge) => GroupError::CommitTooLarge,
        (_, Outcome::TooLarge) => GroupError::TooLarge,
        (_, Outcome::Refused | Outcome::Committed) => GroupError::NotAvailable,
    }
}
