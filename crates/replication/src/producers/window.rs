//! What is remembered of one producer, and Kafka's rules for its next batch.

use std::collections::VecDeque;

use walrus_types::{
    Offset, ProducerEpoch, Sequence, TimestampMs, limits::PRODUCER_BATCHES_REMEMBERED,
};

use super::{SequenceError, Verdict};

/// How many sequences there are before they wrap.
const SEQUENCES: i64 = 1 << 31;

/// Past this many forgotten records, older and newer could no longer be told apart on the circle.
pub(super) const FORGOTTEN_MAX: u32 = 1 << 30;

/// A batch of an idempotent producer that stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// Offset of its first record.
    pub base: Offset,
    /// The offset after its last record.
    pub end: Offset,
    /// Its greatest timestamp, which is the append time under `LogAppendTime`.
    pub timestamp: TimestampMs,
    /// Sequence of its first record.
    pub sequence: Sequence,
    /// The producer's epoch then.
    pub epoch: ProducerEpoch,
}

impl Remembered {
    /// How many offsets, and so sequences, it takes.
    pub(super) const fn records(&self) -> i64 {
        self.end.0 - self.base.0
    }

    /// Sequence of its last record.
    #[must_use]
    pub fn last_sequence(&self) -> Sequence {
        let last = (i64::from(self.sequence.0) + self.records() - 1) % SEQUENCES;
        Sequence(i32::try_from(last).expect("a remainder of 2^31 that is not negative fits"))
    }

    /// The sequence that comes after its last one.
    pub(super) fn next_sequence(&self) -> Sequence {
        let next = (i64::from(self.sequence.0) + self.records()) % SEQUENCES;
        Sequence(i32::try_from(next).expect("a remainder of 2^31 that is not negative fits"))
    }

    /// Whether `next` is what this producer may write after `self`.
    fn is_followed_by(&self, next: &Self) -> bool {
        if next.epoch == self.epoch {
            next.sequence == self.next_sequence()
        } else {
            next.epoch > self.epoch && next.sequence == Sequence(0)
        }
    }
}

/// The last batches of one producer, oldest first.
///
/// Invariants: never empty; each batch follows the one before it, in sequence and in offsets. A
/// batch leaves only when five newer ones are committed, or a committed one of a newer epoch: what
/// a cut may bring back to the front is still here (M10). So a window holds more than five while
/// commits are behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    batches: VecDeque<Remembered>,
    /// Records of the first batch's epoch that were forgotten just before it; all are committed.
    forgotten: u32,
    /// The table's time when the producer last wrote.
    seen: TimestampMs,
}

impl Window {
    pub(super) fn new(batch: Remembered, seen: TimestampMs) -> Self {
        Self { batches: VecDeque::from([batch]), forgotten: 0, seen }
    }

    /// A window out of bytes; `None` when the parts break an invariant.
    pub(super) fn from_parts(
        batches: VecDeque<Remembered>,
        forgotten: u32,
        seen: TimestampMs,
    ) -> Option<Self> {
        let window = Self { batches, forgotten, seen };
        window.is_sound().then_some(window)
    }

    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Remembered> {
        self.batches.iter()
    }

    pub(super) const fn forgotten(&self) -> u32 {
        self.forgotten
    }

    pub(super) const fn seen(&self) -> TimestampMs {
        self.seen
    }

    pub(super) fn end(&self) -> Offset {
        self.last().end
    }

    fn first(&self) -> &Remembered {
        self.batches.front().expect("a window is never empty")
    }

    pub(super) fn last(&self) -> &Remembered {
        self.batches.back().expect("a window is never empty")
    }

    /// Judges a batch of `records` records that the producer sends.
    pub(super) fn check(
        &self,
        epoch: ProducerEpoch,
        given: Sequence,
        records: i64,
    ) -> Result<Verdict, SequenceError> {
        let last = self.last();
        if epoch < last.epoch {
            return Err(SequenceError::InvalidEpoch { given: epoch, current: last.epoch });
        }
        if epoch > last.epoch {
            let expected = Sequence(0);
            return if given == expected {
                Ok(Verdict::Fresh)
            } else {
                Err(SequenceError::OutOfOrder { expected, given })
            };
        }
        let same = |old: &&Remembered| {
            old.epoch == epoch && old.sequence == given && old.records() == records
        };
        let expected = last.next_sequence();
        if let Some(original) = self.batches.iter().rev().find(same) {
            Ok(Verdict::Duplicate(*original))
        } else if given == expected {
            Ok(Verdict::Fresh)
        } else if self.has_forgotten(epoch, given, records) {
            Err(SequenceError::DuplicateOld { given })
        } else {
            Err(SequenceError::OutOfOrder { expected, given })
        }
    }

    /// Whether all of these records were stored before the window's first batch.
    fn has_forgotten(&self, epoch: ProducerEpoch, given: Sequence, records: i64) -> bool {
        let first = self.first();
        let before = (i64::from(first.sequence.0) - i64::from(given.0)).rem_euclid(SEQUENCES);
        epoch == first.epoch && (records..=i64::from(self.forgotten)).contains(&before)
    }

    /// Adds what the log now holds. A batch that does not follow was accepted by a leader that
    /// had forgotten the producer, so the window begins anew with it.
    pub(super) fn push(&mut self, batch: Remembered, commit: Offset, seen: TimestampMs) {
        if !self.last().is_followed_by(&batch) {
            *self = Self::new(batch, seen);
            return;
        }
        self.batches.push_back(batch);
        self.seen = seen;
        while self.may_forget_first(commit) {
            let gone = self.batches.pop_front().expect("a window is never empty");
            let same_epoch = self.first().epoch == gone.epoch;
            let records = u32::try_from(gone.records()).unwrap_or(FORGOTTEN_MAX);
            let sum = if same_epoch { self.forgotten.saturating_add(records) } else { 0 };
            self.forgotten = sum.min(FORGOTTEN_MAX);
        }
        debug_assert!(self.is_sound(), "{self:?}");
    }

    fn may_forget_first(&self, commit: Offset) -> bool {
        let epoch = self.first().epoch;
        let mut committed = self.batches.iter().take_while(|batch| batch.end <= commit);
        committed.clone().nth(PRODUCER_BATCHES_REMEMBERED).is_some()
            || committed.any(|batch| batch.epoch > epoch)
    }

    /// Undoes what stands past the cut; false when nothing is left.
    pub(super) fn undo_from(&mut self, end: Offset) -> bool {
        while let Some(last) = self.batches.back().filter(|last| last.end > end) {
            assert!(
                last.base >= end,
                "cut at {end}, inside the batch [{}, {})",
                last.base,
                last.end
            );
            self.batches.pop_back();
        }
        !self.batches.is_empty()
    }

    fn is_sound(&self) -> bool {
        let Self { batches, forgotten, seen: _ } = self;
        let follow =
            |(old, new): (&Remembered, &Remembered)| old.end <= new.base && old.is_followed_by(new);
        let whole = |batch: &Remembered| {
            let Remembered { base, end, timestamp: _, sequence, epoch } = batch;
            base.0 >= 0 && end > base && sequence.0 >= 0 && epoch.0 >= 0
        };
        !batches.is_empty()
            && batches.iter().all(whole)
            && batches.iter().zip(batches.iter().skip(1)).all(follow)
            && *forgotten <= FORGOTTEN_MAX
    }
}
