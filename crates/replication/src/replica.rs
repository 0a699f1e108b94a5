//! A member that does not lead: what it accepts of one segment, what it answers, what it serves,
//! and what it does when the segment ends.
//!
//! ```text
//!  base          commit          durable             end
//!    |  consumers  |  on this disk  |  accepted, and   |
//!    |  may read   |                |  not yet flushed |     durable is all that is ever
//! ---+-------------+----------------+------------------+---> answered, to anybody
//! ```
//!
//! Its log is always a prefix of what the leader wrote (I2), because a batch is taken only where
//! the log ends. It ends in one of two ways: the Roll is applied here and fixes the end, or first
//! the leader is fenced and a controller asks what is here. Nobody cuts a tail before the Roll is
//! applied, for until then another end may be decided.
//!
//! Owns the decisions. The shell in `walrusd` owns bytes and connections, tells what happened, and
//! carries out the answers of `replica/answers.rs`. `replica/fences.rs` says who may write.

mod answers;
mod fences;

use walrus_types::{Epoch, Offset, StorageId, TimestampMs, batch::BatchHeader};

use crate::{
    cursors::{Member, OpenSegment},
    planted,
    producers::ProducerTable,
    roll::UptimeMs,
    tally::Sum,
};

pub use answers::{
    Append, FenceAnswer, Flushed, Held, NoAnswer, Position, Refusal, Sealing, Taken,
};
pub use fences::{FenceEffect, Fences, Writer};

/// What a member's disk has of a segment when it is opened: nothing, or what a restart found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OnDisk {
    /// The offset after the last batch.
    pub end: Offset,
    /// Bytes of the batches.
    pub bytes: u64,
    /// Their greatest timestamp, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
}

impl OnDisk {
    /// A segment that was just opened.
    #[must_use]
    pub const fn nothing(base: Offset) -> Self {
        Self { end: base, bytes: 0, max_timestamp: TimestampMs::NONE }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Sealed {
        end: Offset,
        /// Whether the shell was told to finish it.
        finished: bool,
    },
}

/// One segment, as a member that does not lead it keeps it.
///
/// Invariants: `base <= durable <= end`; `base <= fed <= end`; once it is sealed, `end` is not past
/// the segment's; the producer table, if it is known, ends where the log ends.
#[derive(Debug, Clone)]
pub struct ReplicaSegment {
    me: Member,
    /// The disk that the segment's record names for this node.
    named: StorageId,
    writer: Writer,
    epoch: Epoch,
    base: Offset,
    end: Offset,
    durable: Offset,
    /// What came from the leader ends here. Copies that a controller had made lie past it: they
    /// are no answer to the leader, which would count them against a seal that is under way.
    fed: Offset,
    /// The greatest commit offset that the leader told; may lie past the end here.
    commit: Offset,
    sum: Sum,
    /// Where the log ended before the last batch, so that the store may refuse it.
    before_last: Option<(Offset, Sum)>,
    producers: Option<ProducerTable>,
    stream: u32,
    sent_at: UptimeMs,
    state: State,
    failed: bool,
}

impl ReplicaSegment {
    /// A member of `segment`, which `writer` leads. What it has is all on disk. `producers` was
    /// fed all of that, or is not known yet: see [`ReplicaSegment::learn_producers`].
    ///
    /// # Panics
    /// When the record does not name this node, or the parts do not fit each other.
    #[must_use]
    pub fn open(
        me: Member,
        writer: Writer,
        segment: &OpenSegment,
        has: OnDisk,
        mut producers: Option<ProducerTable>,
    ) -> Self {
        if let Some(producers) = &mut producers {
            producers.committed(segment.base);
        }
        let named = segment.members.iter().find(|member| member.node == me.node);
        let named = named.expect("only a member keeps a segment").storage;
        let OnDisk { end, bytes, max_timestamp } = has;
        let sum = Sum { bytes, max_timestamp };
        let replica = Self {
            me,
            named,
            writer,
            epoch: segment.epoch,
            base: segment.base,
            end,
            durable: end,
            fed: end,
            commit: segment.base,
            sum,
            before_last: None,
            producers,
            stream: 0,
            sent_at: UptimeMs::default(),
            state: State::Open,
            failed: false,
        };
        assert!(named == me.storage || end == segment.base, "a lost disk has nothing");
        replica.check();
        replica
    }

    /// The member that a leader is when it has lost the lead: see `PartitionLeader::into_member`.
    pub(crate) fn of_leader(
        (me, writer, epoch): (Member, Writer, Epoch),
        (base, commit, durable): (Offset, Offset, Offset),
        sum: Sum,
        producers: ProducerTable,
    ) -> Self {
        let end = producers.end();
        let replica = Self {
            me,
            named: me.storage,
            writer,
            epoch,
            base,
            end,
            durable,
            fed: end,
            commit,
            sum,
            before_last: None,
            producers: Some(producers),
            stream: 0,
            sent_at: UptimeMs::default(),
            state: State::Open,
            failed: false,
        };
        replica.check();
        replica
    }

    /// The leader sends a batch. `applied` is the metadata index that is applied here.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was changed, and the leader is to be told.
    pub fn append(
        &mut self,
        append: &Append,
        batch: &BatchHeader,
        fences: &Fences,
        applied: u64,
    ) -> Result<Taken, Refusal> {
        self.judge(append, fences, applied)?;
        let (base, end) = (batch.base_offset, batch.end());
        let announced = base == append.prev_end && batch.epoch == self.epoch;
        if !announced || end <= base || base < self.base {
            return Err(Refusal::Malformed);
        }
        // A batch that is partly there cannot be: both logs have the same batches.
        let is_gap = base > self.end && !planted::is("gap-accepted");
        if is_gap || (base < self.end && end > self.end) {
            return Err(Refusal::Gap { end: self.end });
        }
        self.hear(append);
        if end <= self.end {
            return Ok(Taken::Known(self.position()));
        }
        self.take(batch);
        self.fed = end;
        Ok(Taken::Store { end })
    }

    /// The leader sends no batch: it tells its commit offset and asks where this member stands.
    ///
    /// # Errors
    /// As [`ReplicaSegment::append`].
    pub fn ask(
        &mut self,
        append: &Append,
        fences: &Fences,
        applied: u64,
    ) -> Result<Position, Refusal> {
        self.judge(append, fences, applied)?;
        self.hear(append);
        Ok(self.position())
    }

    /// Whether a message of the leader's may be listened to at all.
    fn judge(&self, append: &Append, fences: &Fences, applied: u64) -> Result<(), Refusal> {
        if append.storage != self.me.storage || self.named != self.me.storage {
            let (known, given) = (self.me.storage, append.storage);
            return Err(Refusal::OtherStorage { known, given });
        }
        if append.epoch > self.epoch {
            return Err(Refusal::of_unknown(append, fences, applied));
        }
        if append.epoch < self.epoch || append.from != self.writer {
            return Err(Refusal::Fenced);
        }
        if let State::Sealed { end, .. } = self.state {
            return Err(Refusal::Sealed { end });
        }
        if fences.covers(append.from) {
            return Err(Refusal::Fenced);
        }
        if self.failed {
            return Err(Refusal::Failed);
        }
        Ok(())
    }

    fn hear(&mut self, append: &Append) {
        self.stream = self.stream.max(append.stream);
        self.sent_at = self.sent_at.max(append.sent_at);
        self.commit = self.commit.max(append.commit);
        self.tell_producers();
    }

    fn take(&mut self, batch: &BatchHeader) {
        self.before_last = Some((self.end, self.sum));
        self.sum = self.sum.and(Sum::of(batch));
        self.end = batch.end();
        if let Some(producers) = &mut self.producers {
            producers.appended(batch);
        }
        self.check();
    }

    /// The store refused the batch that was just taken: it was never there. Nothing else may have
    /// happened in between. The answer is [`Refusal::Busy`].
    ///
    /// # Panics
    /// When no batch was just taken, or a flush came in between.
    pub fn retract(&mut self) {
        let (end, sum) = self.before_last.take().expect("a batch that is taken back was taken");
        assert!(self.durable <= end, "a batch below {} is durable, {end} is none", self.durable);
        (self.end, self.sum) = (end, sum);
        self.fed = self.fed.min(end);
        if let Some(producers) = &mut self.producers {
            producers.undo_from(end);
        }
        self.check();
    }

    /// Everything below `end` is on this node's disk.
    ///
    /// # Panics
    /// When that was never accepted.
    pub fn flushed(&mut self, end: Offset) -> Flushed {
        let end = match self.state {
            State::Open => end,
            // The flush of a tail that was cut since.
            State::Sealed { end: sealed, .. } => end.min(sealed),
        };
        assert!(end <= self.end, "flushed up to {end}, the log ends at {}", self.end);
        if end <= self.durable || self.failed {
            return Flushed::default();
        }
        self.durable = end;
        self.before_last = None;
        self.tell_producers();
        self.check();
        let answer = Some(self.position()).filter(|_| self.state == State::Open);
        Flushed { answer, finish: self.finish_if_whole() }
    }

    /// The disk failed: from now on nothing is accepted, answered or called an end.
    pub fn failed(&mut self) {
        self.failed = true;
    }

    fn position(&self) -> Position {
        let durable =
            if planted::is("ack-before-flush") { self.end } else { self.durable.min(self.fed) };
        let Self { epoch, end, stream, sent_at, .. } = *self;
        Position { epoch, end, durable, stream, sent_at }
    }

    /// What is committed and on disk here can never be cut.
    fn tell_producers(&mut self) {
        if let Some(producers) = &mut self.producers {
            producers.committed(self.commit.min(self.durable));
        }
    }

    /// What a controller that seals is told: see [`FenceAnswer`]. It may ask as often as it likes,
    /// and so may any other.
    ///
    /// # Errors
    /// [`NoAnswer`]: not yet, or never.
    pub fn answer_fence(&self, fences: &Fences) -> Result<FenceAnswer, NoAnswer> {
        if let State::Sealed { end, .. } = self.state {
            return Ok(FenceAnswer::Sealed { end });
        }
        let (known, named) = (self.me.storage, self.named);
        if known != named && !planted::is("lost-disk-votes") {
            return Ok(FenceAnswer::LostDisk { known, named });
        }
        if self.failed {
            return Err(NoAnswer::Failed);
        }
        let (durable, end) = (self.durable, self.end);
        if !planted::is("answer-before-flush") {
            if !fences.covers_durably(self.writer) {
                return Err(NoAnswer::NotFenced);
            }
            if durable < end {
                return Err(NoAnswer::NotDurable { durable, end });
            }
        }
        let Sum { bytes, max_timestamp } = self.sum;
        Ok(FenceAnswer::Held(Held {
            end,
            bytes,
            max_timestamp,
            storage: named,
            commit: self.commit,
        }))
    }

    /// A batch that another member holds: brought by a controller that seals, up to the end it has
    /// in mind, or pulled after the seal. It counts when it is flushed, and a controller asks
    /// again then.
    ///
    /// # Errors
    /// [`Refusal`]: nothing was changed.
    pub fn copy(
        &mut self,
        storage: StorageId,
        batch: &BatchHeader,
        upto: Offset,
        fences: &Fences,
    ) -> Result<Taken, Refusal> {
        if storage != self.me.storage || self.named != self.me.storage {
            return Err(Refusal::OtherStorage { known: self.me.storage, given: storage });
        }
        if self.failed {
            return Err(Refusal::Failed);
        }
        match self.state {
            State::Sealed { end, .. } if upto > end => return Err(Refusal::Sealed { end }),
            State::Open if !fences.covers_durably(self.writer) => return Err(Refusal::NotFenced),
            State::Sealed { .. } | State::Open => {}
        }
        let (base, end) = (batch.base_offset, batch.end());
        if end <= base || end > upto || base < self.base || batch.epoch != self.epoch {
            return Err(Refusal::Malformed);
        }
        if end <= self.end {
            return Ok(Taken::Known(self.position()));
        }
        if base != self.end {
            return Err(Refusal::Gap { end: self.end });
        }
        self.take(batch);
        Ok(Taken::Store { end })
    }

    /// The Roll that seals the segment is applied here: it ends at `end`, for good (I5).
    ///
    /// # Panics
    /// When another end was told before, or what was served would be cut (I8).
    pub fn sealed(&mut self, end: Offset) -> Sealing {
        match self.state {
            State::Sealed { end: known, .. } => {
                assert_eq!(end, known, "the end of {:?} is decided once", self.epoch);
            }
            State::Open => {
                let served = self.readable_end();
                assert!(served <= end, "sealed at {end}, but {served} was served");
                self.state = State::Sealed { end, finished: false };
            }
        }
        if self.named != self.me.storage {
            // What this disk is to hold is a copy for the repair to make.
            return Sealing::default();
        }
        let cut = (self.end > end).then(|| self.cut(end));
        if planted::is("table-forgotten") {
            self.producers = Some(ProducerTable::starting_at(self.end));
        }
        let pull = (self.end < end).then_some(self.end..end);
        Sealing { cut, pull, finish: self.finish_if_whole() }
    }

    fn cut(&mut self, end: Offset) -> Offset {
        self.end = end;
        self.durable = self.durable.min(end);
        self.fed = self.fed.min(end);
        self.before_last = None;
        if let Some(producers) = &mut self.producers {
            producers.undo_from(end);
        }
        self.check();
        end
    }

    fn finish_if_whole(&mut self) -> Option<Offset> {
        let (whole, durable) = (self.end, self.durable);
        let State::Sealed { end, finished } = &mut self.state else {
            return None;
        };
        if *finished || whole < *end || durable < *end {
            return None;
        }
        *finished = true;
        if let Some(producers) = &mut self.producers {
            producers.committed(*end);
        }
        Some(*end)
    }

    /// The producers' table was built elsewhere, out of all that is before the log's end here:
    /// when the segment was opened, one before it was not whole yet.
    ///
    /// # Errors
    /// The log's end here, when the table was fed up to another offset.
    pub fn learn_producers(&mut self, producers: ProducerTable) -> Result<(), Offset> {
        if producers.end() != self.end {
            return Err(self.end);
        }
        self.producers = Some(producers);
        Ok(())
    }

    /// The producers' table as of the log's end here, if it is known. When the segment is sealed
    /// and whole, it is what the successor begins with.
    #[must_use]
    pub const fn producers(&self) -> Option<&ProducerTable> {
        self.producers.as_ref()
    }

    /// How far a Fetch is answered here. It waits for what lies past that.
    #[must_use]
    pub fn readable_end(&self) -> Offset {
        let committed = match self.state {
            State::Open if planted::is("uncommitted-served") => self.end,
            State::Open => self.commit,
            State::Sealed { end, .. } => end,
        };
        committed.min(self.durable)
    }

    /// Who writes the segment.
    #[must_use]
    pub const fn writer(&self) -> Writer {
        self.writer
    }

    /// The segment's number.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Where its log ends here, flushed or not.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// Everything below is on this disk.
    #[must_use]
    pub const fn durable_end(&self) -> Offset {
        self.durable
    }

    /// Where the segment ends, once the Roll that says it is applied here.
    #[must_use]
    pub const fn sealed_end(&self) -> Option<Offset> {
        match self.state {
            State::Open => None,
            State::Sealed { end, .. } => Some(end),
        }
    }

    fn check(&self) {
        let Self { base, end, durable, fed, .. } = self;
        assert!(base <= durable && durable <= end, "{base} <= {durable} <= {end} broken");
        assert!(base <= fed && fed <= end, "{base} <= {fed} <= {end} broken");
        if let Some(producers) = &self.producers {
            assert_eq!(producers.end(), *end, "producer table and log disagree");
        }
    }
}

#[cfg(test)]
mod tests;
