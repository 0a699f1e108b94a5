//! What an open segment holds, up to its commit offset and up to its end.
//!
//! A proposal to seal names the bytes and the greatest timestamp below the end it proposes, and
//! that end is the commit offset when the quorum was lost. So batches that are not committed yet
//! are kept one by one. Owns no bytes; `leader.rs` alone uses the tally, `replica.rs` its sums.

use std::collections::VecDeque;

use walrus_types::{Offset, TimestampMs, batch::BatchHeader};

/// Bytes and greatest timestamp of a run of batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: TimestampMs,
}

impl Sum {
    const ZERO: Self = Self { bytes: 0, max_timestamp: TimestampMs::NONE };

    pub(crate) fn of(batch: &BatchHeader) -> Self {
        let bytes = u64::try_from(batch.batch_bytes).expect("usize has at most 64 bits");
        Self { bytes, max_timestamp: batch.max_timestamp }
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            bytes: self.bytes + other.bytes,
            max_timestamp: self.max_timestamp.max(other.max_timestamp),
        }
    }
}

/// One batch that is not committed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    end: Offset,
    own: Sum,
    /// Of the segment up to and with this batch, so that the last one can be taken back.
    up_to: Sum,
}

/// Invariants: the marks' ends ascend and lie past `commit`, the last one's is the log end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    commit: Offset,
    committed: Sum,
    marks: VecDeque<Mark>,
}

impl Tally {
    pub(crate) const fn new(base: Offset) -> Self {
        Self { commit: base, committed: Sum::ZERO, marks: VecDeque::new() }
    }

    /// How many batches are not committed.
    pub(crate) fn uncommitted(&self) -> usize {
        self.marks.len()
    }

    /// Below the commit offset.
    pub(crate) const fn committed(&self) -> Sum {
        self.committed
    }

    /// Below the log end.
    pub(crate) fn all(&self) -> Sum {
        self.marks.back().map_or(self.committed, |mark| mark.up_to)
    }

    pub(crate) fn log_end(&self) -> Offset {
        self.marks.back().map_or(self.commit, |mark| mark.end)
    }

    /// Whether a batch that is not committed ends at `end`, or the last committed one does.
    pub(crate) fn is_boundary(&self, end: Offset) -> bool {
        end == self.commit || self.marks.binary_search_by_key(&end, |mark| mark.end).is_ok()
    }

    pub(crate) fn append(&mut self, end: Offset, batch: &BatchHeader) {
        self.push(end, Sum::of(batch));
    }

    fn push(&mut self, end: Offset, own: Sum) {
        assert!(end > self.log_end(), "a batch ends at {end}, the log at {}", self.log_end());
        let up_to = self.all().and(own);
        self.marks.push_back(Mark { end, own, up_to });
    }

    /// Takes the last batch back. Returns where the log ends now.
    pub(crate) fn retract(&mut self) -> Offset {
        self.marks.pop_back().expect("a batch that is taken back was just appended");
        self.log_end()
    }

    pub(crate) fn commit(&mut self, commit: Offset) {
        assert!(self.is_boundary(commit), "commit offset {commit} is inside a batch");
        while let Some(mark) = self.marks.pop_front_if(|mark| mark.end <= commit) {
            self.committed = mark.up_to;
        }
        self.commit = commit;
    }

    /// The successor's tally: it begins with what is not committed here.
    pub(crate) fn carry_over(self) -> Self {
        let mut next = Self::new(self.commit);
        for mark in self.marks {
            next.push(mark.end, mark.own);
        }
        next
    }
}
