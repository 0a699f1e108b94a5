//! What a partition remembers of its idempotent producers, so that a retry is never stored twice.
//!
//! Owns one window of batches per producer id, each with the offsets it was given. The table is a
//! function of the log: the leader and every member feed it the batches they store, undo what a
//! cut takes away, and write it beside the segment when it is sealed. It follows that a retry
//! meets the same memory whoever leads (M10).
//!
//! The rules for sequences and epochs are Kafka's (KIP-98, KIP-360). Not here yet: transactions
//! and their markers. Where to read next: `producers/window.rs` has one producer's rules,
//! `producers/format.rs` the bytes; `leader.rs` asks before each append.

mod format;
mod window;

use std::collections::BTreeMap;

use walrus_types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, batch::BatchHeader,
    limits::PRODUCERS_PER_PARTITION_MAX,
};

pub use format::DecodeError;
pub use window::Remembered;
use window::Window;

use crate::planted;

/// What the table knows about a batch that wants to be appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Not seen before, and next in order.
    Fresh,
    /// It stands in the log already, here.
    Duplicate(Remembered),
}

/// Why a batch's epoch or sequence forbids its append. Nothing is changed by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// A newer user of the producer id has been here. `INVALID_PRODUCER_EPOCH`.
    #[error("producer epoch {given} is older than {current}")]
    InvalidEpoch {
        /// The batch's.
        given: ProducerEpoch,
        /// The newest seen.
        current: ProducerEpoch,
    },
    /// A batch before this one is missing. `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("sequence {given} where {expected} comes next")]
    OutOfOrder {
        /// What comes next.
        expected: Sequence,
        /// The batch's.
        given: Sequence,
    },
    /// It was stored and committed, so long ago that its offset is forgotten.
    /// `DUPLICATE_SEQUENCE_NUMBER`, which clients take for success.
    #[error("sequence {given} was stored earlier than what is remembered")]
    DuplicateOld {
        /// The batch's.
        given: Sequence,
    },
    /// A producer id without an epoch, a sequence or records. `INVALID_RECORD`.
    #[error("producer {producer} sent epoch {epoch}, sequence {sequence}, {records} records")]
    Malformed {
        /// The batch's.
        producer: ProducerId,
        /// The batch's.
        epoch: ProducerEpoch,
        /// The batch's.
        sequence: Sequence,
        /// How many offsets it takes.
        records: i64,
    },
}

/// One partition's producers.
///
/// Invariants: `commit <= end`; every window lies below `end`; at most
/// [`PRODUCERS_PER_PARTITION_MAX`] producers. Without producers it owns no heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerTable {
    producers: BTreeMap<ProducerId, Window>,
    /// Batches below this were fed.
    end: Offset,
    /// Batches below this can never be cut.
    commit: Offset,
    /// The greatest timestamp of any batch fed: the table's idea of time.
    clock: TimestampMs,
}

impl Default for ProducerTable {
    fn default() -> Self {
        Self::starting_at(Offset::ZERO)
    }
}

impl ProducerTable {
    /// A table for a log that is known from `end` on, all before it being committed.
    #[must_use]
    pub const fn starting_at(end: Offset) -> Self {
        Self { producers: BTreeMap::new(), end, commit: end, clock: TimestampMs::NONE }
    }

    /// Judges a client's batch. Changes nothing: the batch is remembered when it is appended.
    ///
    /// A producer that is not known may start with any sequence: its state may have expired, and
    /// refusing it would stop it for ever (KIP-360).
    ///
    /// # Errors
    /// [`SequenceError`]: the batch must not be appended.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let (producer, epoch) = (header.producer_id, header.producer_epoch);
        if !producer.is_some() {
            return Ok(Verdict::Fresh);
        }
        let (sequence, records) = (header.base_sequence, i64::from(header.last_offset_delta) + 1);
        if epoch.0 < 0 || sequence.0 < 0 || records < 1 {
            return Err(SequenceError::Malformed { producer, epoch, sequence, records });
        }
        match self.producers.get(&producer) {
            None => Ok(Verdict::Fresh),
            Some(window) => window.check(epoch, sequence, records),
        }
    }

    /// A batch stands in the log at its header's base offset. Members feed what they store, in
    /// order; what is in the log is not judged again.
    ///
    /// # Panics
    /// When the batch is not past what was fed before.
    pub fn appended(&mut self, header: &BatchHeader) {
        let (base, end) = (header.base_offset, header.end());
        assert!(base >= self.end && end > base, "fed [{base}, {end}) after {}", self.end);
        self.end = end;
        self.clock = self.clock.max(header.max_timestamp);
        // A negative sequence under a producer id is a marker, which has no place in a window.
        if !header.producer_id.is_some() || header.base_sequence.0 < 0 {
            return;
        }
        let batch = Remembered {
            base,
            end,
            timestamp: header.max_timestamp,
            sequence: header.base_sequence,
            epoch: header.producer_epoch,
        };
        match self.producers.get_mut(&header.producer_id) {
            Some(window) => window.push(batch, self.commit, self.clock),
            None => {
                self.make_room();
                self.producers.insert(header.producer_id, Window::new(batch, self.clock));
            }
        }
    }

    /// Everything below `commit` stays for good. Costs nothing: a window forgets when it is next
    /// added to.
    ///
    /// # Panics
    /// When `commit` is past what was fed.
    pub fn committed(&mut self, commit: Offset) {
        assert!(commit <= self.end, "committed {commit}, fed up to {}", self.end);
        self.commit = self.commit.max(commit);
    }

    /// The log was cut at `end`: whatever stood past it never happened.
    ///
    /// # Panics
    /// When `end` is below the commit offset: nothing committed is ever cut.
    pub fn undo_from(&mut self, end: Offset) {
        assert!(end >= self.commit, "cut at {end}, but {} is committed", self.commit);
        if end < self.end {
            self.end = end;
            if !planted::is("tail-sequences-kept") {
                self.producers.retain(|_, window| window.undo_from(end));
            }
        }
    }

    /// Forgets producers that have been quiet for `expiration_ms` (`producer.id.expiration.ms`)
    /// and have nothing uncommitted. Returns how many. Looks at all of them: call it now and then.
    ///
    /// Quiet is measured in the log's own time, the running maximum of batch timestamps, so that
    /// members agree and a producer that replays old data is not quiet (L25). `now` bounds that
    /// time, so that one batch from the future cannot wipe the table.
    pub fn expire(&mut self, expiration_ms: u64, now: TimestampMs) -> usize {
        let time = self.clock.min(now);
        let quiet_since = time.0.saturating_sub_unsigned(expiration_ms);
        let before = self.producers.len();
        let commit = self.commit;
        self.producers.retain(|_, window| window.seen().0 > quiet_since || window.end() > commit);
        before - self.producers.len()
    }

    /// How many producers are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.producers.len()
    }

    /// Whether no producer is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.producers.is_empty()
    }

    /// Batches below this were fed; the next one starts here or later.
    #[must_use]
    pub const fn end(&self) -> Offset {
        self.end
    }

    /// The newest batch of each producer.
    pub fn newest(&self) -> impl Iterator<Item = (ProducerId, &Remembered)> {
        self.producers.iter().map(|(producer, window)| (*producer, window.last()))
    }

    /// The remembered batches of one producer, oldest first.
    pub fn remembered(&self, producer: ProducerId) -> impl Iterator<Item = &Remembered> {
        self.producers.get(&producer).into_iter().flat_map(Window::iter)
    }

    /// At the limit, the sixteenth that has been idle longest by place in the log is forgotten at
    /// once, so that a flood of new producers does not search the table for each.
    fn make_room(&mut self) {
        if self.producers.len() < PRODUCERS_PER_PARTITION_MAX {
            return;
        }
        let mut ends: Vec<Offset> = self.producers.values().map(Window::end).collect();
        let (_, threshold, _) = ends.select_nth_unstable(PRODUCERS_PER_PARTITION_MAX / 16);
        let threshold = *threshold;
        self.producers.retain(|_, window| window.end() > threshold);
        assert!(self.producers.len() < PRODUCERS_PER_PARTITION_MAX, "no room was made");
    }
}

#[cfg(test)]
mod tests;
