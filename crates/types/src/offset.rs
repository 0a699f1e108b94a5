//! Offsets, epochs, sequences and timestamps, each a type of its own so that none is passed
//! where another is meant.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A record's place in its partition, or the exclusive end of a range of them. Never negative.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Offset(pub i64);

impl Offset {
    /// Where every partition begins.
    pub const ZERO: Self = Self(0);

    /// The offset `records` further on. Saturates, so that hostile counts cannot wrap.
    #[must_use]
    pub const fn plus(self, records: i64) -> Self {
        Self(self.0.saturating_add(records))
    }

    /// How many offsets lie in `[from, self)`; zero when `from` is past `self`.
    #[must_use]
    pub const fn since(self, from: Self) -> u64 {
        if self.0 > from.0 { self.0.abs_diff(from.0) } else { 0 }
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The number of a segment in its partition. It is Kafka's leader epoch: greater with every
/// roll, never used twice, the first is 1.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Epoch(pub i32);

impl Epoch {
    /// The epoch of a partition's first segment.
    pub const FIRST: Self = Self(1);

    /// The epoch of the next segment.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A producer's id. [`ProducerId::NONE`] marks a batch of a producer that is not idempotent.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProducerId(pub i64);

impl ProducerId {
    /// What the wire carries when a producer has no id.
    pub const NONE: Self = Self(-1);

    /// Whether this names a producer at all.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.0 >= 0
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The epoch that fences older users of a [`ProducerId`].
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ProducerEpoch(pub i16);

impl fmt::Display for ProducerEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A producer's count of its records in one partition; wraps from `i32::MAX` to 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Sequence(pub i32);

impl Sequence {
    /// The sequence `records` further on, wrapped as KIP-98 defines: after `i32::MAX` comes 0.
    #[must_use]
    pub const fn plus(self, records: i32) -> Self {
        match self.0.checked_add(records) {
            Some(sum) => Self(sum),
            None => Self(records - (i32::MAX - self.0) - 1),
        }
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds since 1970, UTC, as records carry them. -1 means "none".
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// What the wire carries for "no timestamp".
    pub const NONE: Self = Self(-1);
}

impl fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Milliseconds by a clock that never goes back, from an origin of the shell's choosing.
/// Wall-clock time would let a step of the clock roll every segment of a node at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct UptimeMs(pub u64);

impl UptimeMs {
    /// How long ago `earlier` was; zero when it was not.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_wraps_to_zero_after_the_greatest() {
        for (from, records, expected) in
            [(0, 5, 5), (i32::MAX, 1, 0), (i32::MAX - 1, 3, 1), (i32::MAX, i32::MAX, i32::MAX - 1)]
        {
            assert_eq!(Sequence(from).plus(records), Sequence(expected), "{from} + {records}");
        }
    }

    #[test]
    fn a_range_that_runs_backwards_is_empty() {
        assert_eq!(Offset(3).since(Offset(7)), 0);
        assert_eq!(Offset(7).since(Offset(3)), 4);
        assert_eq!(Offset(i64::MAX).plus(1), Offset(i64::MAX));
    }
}
