//! When a segment should end, and what its leader proposes when it does.
//!
//! The limits are soft: every roll is a command in Raft, so rolls pass a token bucket and a
//! segment may grow past its limits while the bucket is empty (L21). Owns no segment; who asks
//! is `leader.rs`, and the shell has buckets of its own for the node.

use std::fmt;

pub use walrus_types::UptimeMs;
use walrus_types::{Epoch, Offset, TimestampMs};

/// Why a segment is rolled; the chain keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RollReason {
    /// It holds as many bytes as a segment should.
    Bytes,
    /// It holds as many offsets as a segment should.
    Entries,
    /// Its first batch is as old as one should be.
    Age,
    /// Retention wants its records gone, and only sealed segments can go.
    Retention,
    /// An operator asked.
    Operator,
    /// Its leader or one of its members is being drained.
    Drain,
    /// The lease or the members are better placed elsewhere.
    Balance,
    /// A changed config or membership wants another write quorum or replica set.
    Reshape,
    /// The members that are left cannot commit; those that are silent were fenced (M5).
    QuorumLost,
}

impl RollReason {
    /// Whether the roll may wait for the token bucket.
    #[must_use]
    pub const fn can_wait(self) -> bool {
        match self {
            Self::Bytes | Self::Entries | Self::Age | Self::Retention => true,
            Self::Operator | Self::Drain | Self::Balance | Self::Reshape | Self::QuorumLost => {
                false
            }
        }
    }
}

impl fmt::Display for RollReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bytes => "bytes",
            Self::Entries => "entries",
            Self::Age => "age",
            Self::Retention => "retention",
            Self::Operator => "operator",
            Self::Drain => "drain",
            Self::Balance => "balance",
            Self::Reshape => "reshape",
            Self::QuorumLost => "quorum lost",
        })
    }
}

/// What a leader asks Raft for: seal the segment of `expected` at `end` and open the next one.
/// The shell adds the next leader and replica set. It is repeated unchanged until the segment is
/// seen sealed (M1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// The segment's epoch: compare-and-set.
    pub expected: Epoch,
    /// Where the segment ends and its successor begins.
    pub end: Offset,
    /// Bytes of the segment's batches below `end`.
    pub bytes: u64,
    /// Greatest timestamp of them, or [`TimestampMs::NONE`].
    pub max_timestamp: TimestampMs,
    /// Why.
    pub reason: RollReason,
}

/// How large and how old a segment may become before it should be rolled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RollLimits {
    /// `segment.bytes` / `WALRUS_MAX_SEGMENT_BYTES`.
    pub bytes: u64,
    /// `WALRUS_MAX_SEGMENT_ENTRIES`. An entry is an offset.
    pub entries: u64,
    /// `segment.ms`, counted from the first append.
    pub age_ms: u64,
    /// One roll of this partition per so many milliseconds on average; 0 sets no rate.
    pub interval_ms: u64,
    /// As many rolls may follow each other at once.
    pub burst: u32,
}

impl RollLimits {
    /// The limit that a segment of this size and age has reached.
    pub(crate) fn reached(&self, bytes: u64, entries: u64, age_ms: u64) -> Option<RollReason> {
        if entries == 0 {
            // An empty segment never rolls by itself: it would fill the chain with nothing.
            None
        } else if bytes >= self.bytes {
            Some(RollReason::Bytes)
        } else if entries >= self.entries {
            Some(RollReason::Entries)
        } else if age_ms >= self.age_ms {
            Some(RollReason::Age)
        } else {
            None
        }
    }
}

/// Lets through one event per interval, and a burst after a quiet time.
///
/// Invariant: `credit_ms <= interval_ms * burst`. A bucket of interval 0 lets all through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenBucket {
    interval_ms: u64,
    credit_max_ms: u64,
    /// Time saved up; an event costs one interval.
    credit_ms: u64,
    as_of: UptimeMs,
}

impl TokenBucket {
    /// A full bucket. A burst below one would let nothing through, so it counts as one.
    #[must_use]
    pub fn full(interval_ms: u64, burst: u32, now: UptimeMs) -> Self {
        let credit_max_ms = interval_ms.saturating_mul(u64::from(burst.max(1)));
        Self { interval_ms, credit_max_ms, credit_ms: credit_max_ms, as_of: now }
    }

    /// Changes rate and burst; what was saved up stays as far as it fits.
    pub fn set_rate(&mut self, interval_ms: u64, burst: u32, now: UptimeMs) {
        let credit = self.credit_at(now);
        *self = Self::full(interval_ms, burst, now);
        self.credit_ms = self.credit_ms.min(credit);
    }

    /// Whether [`TokenBucket::take`] would succeed.
    #[must_use]
    pub fn has_token(&self, now: UptimeMs) -> bool {
        self.credit_at(now) >= self.interval_ms
    }

    /// Takes a token, if there is one.
    #[must_use]
    pub fn take(&mut self, now: UptimeMs) -> bool {
        let credit = self.credit_at(now);
        let taken = credit >= self.interval_ms;
        self.credit_ms = if taken { credit - self.interval_ms } else { credit };
        self.as_of = self.as_of.max(now);
        assert!(self.credit_ms <= self.credit_max_ms, "the bucket overflowed");
        taken
    }

    fn credit_at(&self, now: UptimeMs) -> u64 {
        self.credit_ms.saturating_add(now.since(self.as_of)).min(self.credit_max_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: RollLimits =
        RollLimits { bytes: 100, entries: 10, age_ms: 1000, interval_ms: 0, burst: 1 };

    #[test]
    fn a_segment_is_due_at_its_limits_and_an_empty_one_never() {
        for (bytes, entries, age_ms, expected) in [
            (0, 0, 9999, None),
            (99, 9, 999, None),
            (100, 9, 999, Some(RollReason::Bytes)),
            (99, 10, 999, Some(RollReason::Entries)),
            (99, 9, 1000, Some(RollReason::Age)),
        ] {
            let reached = LIMITS.reached(bytes, entries, age_ms);
            assert_eq!(reached, expected, "{bytes} bytes, {entries} entries, {age_ms} ms");
        }
    }

    /// Takes at each of the times; expects which of them got a token.
    #[track_caller]
    fn check_bucket(interval_ms: u64, burst: u32, times: &[u64], expected: &[u64]) {
        let mut bucket = TokenBucket::full(interval_ms, burst, UptimeMs(0));
        let mut taken = Vec::new();
        for &at in times {
            assert_eq!(bucket.has_token(UptimeMs(at)), bucket.clone().take(UptimeMs(at)));
            if bucket.take(UptimeMs(at)) {
                taken.push(at);
            }
        }
        assert_eq!(taken, expected);
    }

    #[test]
    fn a_bucket_lets_a_burst_through_and_then_its_rate() {
        check_bucket(100, 2, &[0, 1, 2, 99, 100, 101, 200], &[0, 1, 100, 200]);
        check_bucket(
            100,
            2,
            &[0, 0, 1_000_000, 1_000_000, 1_000_000],
            &[0, 0, 1_000_000, 1_000_000],
        );
        check_bucket(100, 0, &[0, 50, 100], &[0, 100]);
    }

    #[test]
    fn a_bucket_without_a_rate_lets_all_through_and_a_clock_that_steps_back_gives_nothing() {
        check_bucket(0, 1, &[5, 5, 5], &[5, 5, 5]);
        check_bucket(100, 1, &[50, 0, 10, 149, 150], &[50, 150]);
    }

    #[test]
    fn a_changed_rate_gives_no_tokens_away() {
        let mut bucket = TokenBucket::full(100, 1, UptimeMs(0));
        assert!(bucket.take(UptimeMs(0)));
        bucket.set_rate(100, 50, UptimeMs(0));
        assert!(!bucket.take(UptimeMs(99)));
        assert!(bucket.take(UptimeMs(100)));
    }
}
