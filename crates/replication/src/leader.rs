//! The leader of one partition's open segment: what it appends, what that commits, and how it
//! hands over to the next segment.
//!
//! ```text
//!          begin_roll              commit = end              sealed, leads the successor
//!   Open ------------> Draining ------------------> Proposed ----------------------------> Open
//!    ^                    |    (quorum lost: at once)   |
//!    +----- cancel_roll --+                             +--> Sealed (another node leads)
//!
//!   any of them: fenced --> Fenced --> Sealed
//! ```
//!
//! While it drains and has proposed, appends are *parked*: the shell keeps them in order, and
//! they go first when the leader is open again. From the proposal on nothing is appended to the
//! segment and nothing more of it is committed: the proposal may be applied at any later time, so
//! neither an error nor a look at an open segment undoes it (M1).
//!
//! Owns the decisions. The shell in `walrusd` owns the lease, the store, the connections and the
//! waiting requests; it tells this struct what happened, in the order in which it happened. What
//! the answers mean stands in `leader/answers.rs`.

mod answers;

use walrus_types::{Epoch, Offset, TimestampMs, batch::BatchHeader};

use crate::{
    cursors::{Cursors, Member, OpenSegment},
    planted,
    producers::{ProducerTable, Verdict},
    replica::{ReplicaSegment, Writer},
    roll::{Proposal, RollLimits, RollReason, TokenBucket, UptimeMs},
    tally::Tally,
};

pub use answers::{
    Accepted, Acks, Advance, AppendRefusal, OffsetOutOfRange, PARKED_MAX, RollRefusal, Rolled,
    UNCOMMITTED_BATCHES_MAX,
};

/// Where the leader stands: see the drawing at the head of this file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It appends.
    Open,
    /// It parks appends and waits until all is committed.
    Draining(RollReason),
    /// It repeats this until the segment is sealed.
    Proposed(Proposal),
    /// It was fenced or heard of a newer epoch, and waits to learn the end.
    Fenced,
    /// The segment has ended and another node leads.
    Sealed,
}

/// The settings of the topic that the leader goes by. A changed write quorum is none of them: it
/// waits for the next segment (M11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// `min.insync.replicas`.
    pub min_insync: usize,
    /// When to roll.
    pub roll: RollLimits,
}

/// What the open segment holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentFacts {
    /// Bytes of its batches.
    pub bytes: u64,
    /// Its offsets.
    pub entries: u64,
    /// Greatest timestamp, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// When its first batch came.
    pub first_append: Option<UptimeMs>,
}

/// The leader of a partition.
///
/// Invariants: cursors, tally and producer table agree on the log end and the commit offset;
/// `first_append` is there exactly when the segment is not empty; in phase `Proposed` the commit
/// offset is the proposal's end.
#[derive(Debug, Clone)]
pub struct PartitionLeader {
    me: Member,
    epoch: Epoch,
    cursors: Cursors,
    tally: Tally,
    producers: ProducerTable,
    first_append: Option<UptimeMs>,
    limits: Limits,
    bucket: TokenBucket,
    phase: Phase,
    /// Requests that were answered [`Accepted::Parked`] and not yet handed in again.
    parked: usize,
}

impl PartitionLeader {
    /// Leads a segment that was just opened and is empty. `producers` was fed all before it.
    ///
    /// # Panics
    /// When the record or the table breaks an invariant.
    #[must_use]
    pub fn open(
        me: Member,
        segment: &OpenSegment,
        log_start: Offset,
        mut producers: ProducerTable,
        limits: Limits,
        now: UptimeMs,
    ) -> Self {
        let (fed, base) = (producers.end(), segment.base);
        assert_eq!(fed, base, "the producer table must know all before the segment");
        producers.committed(base);
        let leader = Self {
            me,
            epoch: segment.epoch,
            cursors: Cursors::open(segment, log_start, base),
            tally: Tally::new(base),
            producers,
            first_append: None,
            limits,
            bucket: TokenBucket::full(limits.roll.interval_ms, limits.roll.burst, now),
            phase: Phase::Open,
            parked: 0,
        };
        leader.check();
        leader
    }

    /// A producer's batch, which `walrus_types::batch::check` let pass. Its header's timestamp is
    /// the broker's already under `LogAppendTime`; its base offset is not looked at.
    ///
    /// # Errors
    /// [`AppendRefusal`]: the batch is not in the log, and none of its offsets is taken.
    pub fn append(
        &mut self,
        batch: &BatchHeader,
        acks: Acks,
        now: UptimeMs,
    ) -> Result<Accepted, AppendRefusal> {
        match self.phase {
            Phase::Open if self.parked == 0 => self.accept(batch, acks, now),
            Phase::Fenced | Phase::Sealed => Err(AppendRefusal::Fenced(self.epoch)),
            // Open with parked requests: they came first.
            Phase::Open | Phase::Draining(_) | Phase::Proposed(_) => {
                if self.parked == PARKED_MAX {
                    return Err(AppendRefusal::TooManyParked);
                }
                self.parked += 1;
                Ok(Accepted::Parked)
            }
        }
    }

    /// The oldest parked request again. It stays parked if the answer says so.
    ///
    /// # Errors
    /// As [`PartitionLeader::append`].
    ///
    /// # Panics
    /// When nothing is parked.
    pub fn append_parked(
        &mut self,
        batch: &BatchHeader,
        acks: Acks,
        now: UptimeMs,
    ) -> Result<Accepted, AppendRefusal> {
        assert!(self.parked > 0, "nothing is parked");
        match self.phase {
            Phase::Draining(_) | Phase::Proposed(_) => Ok(Accepted::Parked),
            Phase::Open => {
                self.parked -= 1;
                self.accept(batch, acks, now)
            }
            Phase::Fenced | Phase::Sealed => {
                self.parked -= 1;
                Err(AppendRefusal::Fenced(self.epoch))
            }
        }
    }

    /// A parked request will not be handed in again: its client is gone or it timed out.
    ///
    /// # Panics
    /// When nothing is parked.
    pub fn parked_gone(&mut self) {
        self.parked = self.parked.checked_sub(1).expect("a request that is gone was parked");
    }

    fn accept(
        &mut self,
        batch: &BatchHeader,
        acks: Acks,
        now: UptimeMs,
    ) -> Result<Accepted, AppendRefusal> {
        let (live, min_insync) = (self.cursors.live_members(), self.limits.min_insync);
        if acks == Acks::All && live < min_insync {
            return Err(AppendRefusal::NotEnoughReplicas { live, min_insync });
        }
        if let Verdict::Duplicate(original) = self.producers.check(batch)? {
            return Ok(Accepted::Duplicate {
                base: original.base,
                end: original.end,
                timestamp: original.timestamp,
                committed: original.end <= self.cursors.commit(),
            });
        }
        if self.tally.uncommitted() >= UNCOMMITTED_BATCHES_MAX {
            return Err(AppendRefusal::TooFarAhead);
        }
        let batch = BatchHeader { base_offset: self.cursors.log_end(), ..*batch };
        let (base, end) = (batch.base_offset, batch.end());
        self.cursors.appended(end);
        self.producers.appended(&batch);
        self.tally.append(end, &batch);
        self.first_append.get_or_insert(now);
        self.check();
        Ok(Accepted::Fresh { base, end })
    }

    /// The store refused the batch that was just given `base` (it is full or busy): it was never
    /// there. Nothing else may have happened in between.
    ///
    /// # Panics
    /// When the last batch is another, or was made durable somewhere.
    pub fn retract(&mut self, base: Offset) {
        let end = self.tally.retract();
        assert_eq!(end, base, "only the last batch can be taken back");
        self.cursors.retracted(end);
        self.producers.undo_from(end);
        if end == self.cursors.base() {
            self.first_append = None;
        }
        self.check();
    }

    /// The leader's own disk has everything of the segment of `epoch` below `end`.
    ///
    /// # Panics
    /// When `end` is nothing that was appended in this epoch.
    pub fn flushed(&mut self, epoch: Epoch, end: Offset) -> Advance {
        assert!(epoch <= self.epoch, "flushed in epoch {epoch}, this is {}", self.epoch);
        if epoch < self.epoch || !self.counts() {
            // The flush of a segment that was sealed before it was done.
            return Advance::default();
        }
        let known = end <= self.cursors.commit() || self.tally.is_boundary(end);
        assert!(known, "flushed up to {end}, where no batch ends");
        self.durable(self.me, end)
    }

    /// Another member says that it has everything of the segment of `epoch` below `end` durable.
    ///
    /// That comes off the network: another epoch is a late answer, and an end that cannot be is
    /// the peer's mistake. Both are ignored.
    pub fn acked(&mut self, epoch: Epoch, member: Member, end: Offset) -> Advance {
        let possible = end <= self.cursors.commit() || self.tally.is_boundary(end);
        if epoch != self.epoch || !self.counts() || member == self.me || !possible {
            return Advance::default();
        }
        self.durable(member, end)
    }

    /// Whether what becomes durable may still be committed in this segment. Not after a proposal:
    /// its end may be below what a late answer would commit.
    const fn counts(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Draining(_))
    }

    fn durable(&mut self, member: Member, end: Offset) -> Advance {
        let Some(commit) = self.cursors.durable(member, end) else {
            return Advance::default();
        };
        self.tally.commit(commit);
        self.producers.committed(commit);
        self.check();
        Advance { commit: Some(commit), propose: self.propose_if_drained() }
    }

    /// Whether the segment should roll, and may by the token bucket.
    #[must_use]
    pub fn roll_due(&self, now: UptimeMs) -> Option<RollReason> {
        let SegmentFacts { bytes, entries, first_append, .. } = self.facts();
        let age_ms = now.since(first_append?);
        let due = self.limits.roll.reached(bytes, entries, age_ms);
        due.filter(|_| self.phase == Phase::Open && self.bucket.has_token(now))
    }

    /// Starts a roll: appends are parked from now on. Returns what to propose if that can be done
    /// at once; else [`Advance::propose`] says it when all is committed.
    ///
    /// For [`RollReason::QuorumLost`] the silent members must have been fenced: the end is the
    /// commit offset, and a drain that can never end is cut short by it.
    ///
    /// # Errors
    /// [`RollRefusal`]: nothing was changed.
    pub fn begin_roll(
        &mut self,
        reason: RollReason,
        now: UptimeMs,
    ) -> Result<Option<Proposal>, RollRefusal> {
        match self.phase {
            Phase::Open => {}
            Phase::Draining(_) if reason == RollReason::QuorumLost => {}
            Phase::Draining(reason) | Phase::Proposed(Proposal { reason, .. }) => {
                return Err(RollRefusal::UnderWay(reason));
            }
            Phase::Fenced | Phase::Sealed => return Err(RollRefusal::NotLeading),
        }
        if reason.can_wait() {
            if self.first_append.is_none() {
                return Err(RollRefusal::Empty(reason));
            }
            if !self.bucket.take(now) {
                return Err(RollRefusal::Throttled);
            }
        }
        self.phase = Phase::Draining(reason);
        Ok(self.propose_if_drained())
    }

    /// Gives a drain up, as when Raft does not answer. Parked requests are handed in again.
    /// Returns whether the leader is open; after a proposal nothing leads back.
    pub fn cancel_roll(&mut self) -> bool {
        if let Phase::Draining(_) = self.phase {
            self.phase = Phase::Open;
        }
        if planted::is("append-after-proposal") && self.proposal().is_some() {
            self.phase = Phase::Open;
        }
        self.phase == Phase::Open
    }

    fn propose_if_drained(&mut self) -> Option<Proposal> {
        let Phase::Draining(reason) = self.phase else {
            return None;
        };
        let end = self.cursors.commit();
        if end < self.cursors.log_end() && reason != RollReason::QuorumLost {
            return None;
        }
        let sum = self.tally.committed();
        let proposal = Proposal {
            expected: self.epoch,
            end,
            bytes: sum.bytes,
            max_timestamp: sum.max_timestamp,
            reason,
        };
        self.phase = Phase::Proposed(proposal);
        self.check();
        Some(proposal)
    }

    /// What to propose again while the outcome is not known, or when the refusal was of the
    /// successor it named and not of its epoch.
    #[must_use]
    pub const fn proposal(&self) -> Option<Proposal> {
        match self.phase {
            Phase::Proposed(proposal) => Some(proposal),
            Phase::Open | Phase::Draining(_) | Phase::Fenced | Phase::Sealed => None,
        }
    }

    /// This life of the node was fenced, as a member or Raft said: append no more. What is not
    /// committed stays unanswered until [`PartitionLeader::sealed`] tells the end.
    ///
    /// A lease that has run out for a moment is no fence: nothing has ended by it, and the shell
    /// alone looks at it before it lets anything in.
    pub fn fenced(&mut self) {
        if self.phase != Phase::Sealed {
            self.phase = Phase::Fenced;
        }
    }

    /// A member has applied a Roll that sealed the segment, which this node has not yet. After a
    /// proposal that is no surprise, and what is parked goes on waiting for the outcome; else
    /// somebody else sealed it.
    pub fn member_sealed(&mut self) {
        if self.counts() {
            self.phase = Phase::Fenced;
        }
    }

    /// The member that a fenced leader is from now on, for the fence's answer, the end and the
    /// cut. Producers that wait below the end are answered when the Roll tells it.
    ///
    /// # Panics
    /// When it was not fenced: a leader that goes on would answer for a log that grows.
    #[must_use]
    pub fn into_member(self, writer: Writer) -> ReplicaSegment {
        assert_eq!(self.phase, Phase::Fenced, "only a fenced leader becomes a member");
        assert_eq!(writer.node, self.me.node, "this node wrote the segment");
        let (cursors, sum) = (self.cursors, self.tally.all());
        let durable = cursors.durable_end(self.me).expect("a leader is a member");
        let marks = (cursors.base(), cursors.commit(), durable);
        ReplicaSegment::of_leader((self.me, writer, self.epoch), marks, sum, self.producers)
    }

    /// Metadata says that the segment is sealed at `end`, by whose proposal ever. `successor` is
    /// given when this node leads it, in this incarnation.
    ///
    /// # Panics
    /// When committed batches would be cut, or the successor does not continue the chain.
    pub fn sealed(
        &mut self,
        end: Offset,
        successor: Option<&OpenSegment>,
        now: UptimeMs,
    ) -> Rolled {
        assert_ne!(self.phase, Phase::Sealed, "a segment is sealed once");
        let (commit, log_end) = (self.cursors.commit(), self.cursors.log_end());
        assert!(end >= commit, "sealed at {end}, but {commit} is committed");
        assert!(end <= log_end, "sealed at {end}, but the log ends at {log_end}");
        self.tally.commit(end);
        let Some(next) = successor else {
            self.phase = Phase::Sealed;
            self.cursors.sealed(end);
            self.producers.undo_from(end);
            self.producers.committed(end);
            self.tally = Tally::new(end);
            return Rolled::Stopped;
        };
        assert!(next.epoch > self.epoch, "epoch {} follows {}", next.epoch, self.epoch);
        assert_eq!(next.base, end, "the successor begins where the segment ends");
        self.epoch = next.epoch;
        self.cursors = Cursors::open(next, self.cursors.log_start(), log_end);
        self.producers.committed(end);
        self.tally = std::mem::replace(&mut self.tally, Tally::new(end)).carry_over();
        self.first_append = (end < log_end).then_some(now);
        self.phase = Phase::Open;
        self.check();
        Rolled::Leads { carry: end..log_end }
    }

    /// Whether `member` is alive, as the shell sees it.
    pub fn set_live(&mut self, member: Member, live: bool) {
        self.cursors.set_live(member, live || member == self.me);
    }

    /// Whether enough members live to commit anything. When not, and the silent ones are fenced, it
    /// is time for [`RollReason::QuorumLost`] (M5).
    #[must_use]
    pub fn has_quorum(&self) -> bool {
        self.cursors.live_members() >= self.cursors.write_quorum()
    }

    /// Whether what is committed here may be on fewer members than `min.insync.replicas`, as in a
    /// segment that had to be narrow (M12). Producers that wait with `acks=all` for batches that
    /// were taken along into it are told `NOT_ENOUGH_REPLICAS_AFTER_APPEND` then.
    #[must_use]
    pub fn commits_below_min_insync(&self) -> bool {
        self.cursors.write_quorum() < self.limits.min_insync
    }

    /// The topic's settings changed.
    pub fn set_limits(&mut self, limits: Limits, now: UptimeMs) {
        self.limits = limits;
        self.bucket.set_rate(limits.roll.interval_ms, limits.roll.burst, now);
    }

    /// Forgets quiet producers: see [`ProducerTable::expire`].
    pub fn expire_producers(&mut self, expiration_ms: u64, now: TimestampMs) -> usize {
        self.producers.expire(expiration_ms, now)
    }

    /// A fetch from `from`: how far it may read. That is below `from` when it has to wait.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`] for what is gone or was never written.
    pub fn check_fetch(&self, from: Offset) -> Result<Offset, OffsetOutOfRange> {
        let (log_start, end) = (self.cursors.log_start(), self.cursors.log_end());
        if (log_start..=end).contains(&from) {
            Ok(self.cursors.commit())
        } else {
            Err(OffsetOutOfRange { given: from, log_start, end })
        }
    }

    /// A `DeleteRecords` up to `to`, where -1 means all that is committed: the log start to ask
    /// metadata for.
    ///
    /// # Errors
    /// [`OffsetOutOfRange`] past the commit offset.
    pub fn check_delete(&self, to: Offset) -> Result<Offset, OffsetOutOfRange> {
        let (log_start, end) = (self.cursors.log_start(), self.cursors.commit());
        match to {
            Offset(-1) => Ok(end),
            to if to.0 < 0 || to > end => Err(OffsetOutOfRange { given: to, log_start, end }),
            to => Ok(to.max(log_start)),
        }
    }

    /// Metadata moved the log start, for `DeleteRecords` or retention.
    ///
    /// # Panics
    /// When `to` is past the commit offset.
    pub fn move_log_start(&mut self, to: Offset) {
        self.cursors.move_log_start(to);
    }

    /// The open segment's epoch.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where it stands.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// The marks of the log and how far each member is.
    #[must_use]
    pub const fn cursors(&self) -> &Cursors {
        &self.cursors
    }

    /// Who wrote what.
    #[must_use]
    pub const fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// How many requests are parked.
    #[must_use]
    pub const fn parked(&self) -> usize {
        self.parked
    }

    /// What the open segment holds.
    #[must_use]
    pub fn facts(&self) -> SegmentFacts {
        let sum = self.tally.all();
        SegmentFacts {
            bytes: sum.bytes,
            entries: self.cursors.log_end().since(self.cursors.base()),
            max_timestamp: sum.max_timestamp,
            first_append: self.first_append,
        }
    }

    fn check(&self) {
        let (base, commit, log_end) =
            (self.cursors.base(), self.cursors.commit(), self.cursors.log_end());
        assert_eq!(self.tally.log_end(), log_end, "tally and cursors disagree");
        assert_eq!(self.producers.end(), log_end, "producer table and cursors disagree");
        assert_eq!(
            self.first_append.is_some(),
            log_end > base,
            "first append at {base}..{log_end}"
        );
        assert!(self.cursors.durable_end(self.me).is_some(), "{:?} is no member", self.me);
        if let Phase::Proposed(proposal) = self.phase {
            assert_eq!(commit, proposal.end, "something was committed after the proposal");
        }
    }
}

#[cfg(test)]
mod tests;
