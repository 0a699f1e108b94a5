//! A stand-in for the crate `base2histogram` 0.2.3, which openraft counts its batches with.
//!
//! On its first use the original fills tables for sixteen precisions, of which openraft needs one:
//! 25 MiB that stay resident, most of what an idle broker may take. This one has what openraft
//! calls and computes instead of looking up. `[patch.crates-io]` in the root manifest puts it in
//! place; drop both when openraft's histograms no longer cost memory that nobody reads.
//!
//! Not from the original: percentiles are the least value of their bucket, without interpolation,
//! and there are no sliding windows and no charts.

use std::{fmt, marker::PhantomData};

/// Bits after the leading one that tell values apart: four buckets for each power of two.
const PRECISION_BITS: u32 = 2;
const GROUP: usize = 1 << PRECISION_BITS;
const BUCKETS: usize = (u64::BITS as usize - PRECISION_BITS as usize + 1) * GROUP;

/// Counts of values, in buckets that grow with the values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Histogram<T = ()> {
    /// Grows to the greatest bucket that was used.
    counts: Vec<u64>,
    total: u64,
    slots: PhantomData<T>,
}

impl<T> Default for Histogram<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Histogram<T> {
    /// Nothing counted.
    #[must_use]
    pub const fn new() -> Self {
        Self { counts: Vec::new(), total: 0, slots: PhantomData }
    }

    /// Counts a value.
    pub fn record(&mut self, value: u64) {
        self.record_n(value, 1);
    }

    /// Counts a value that came `count` times.
    pub fn record_n(&mut self, value: u64, count: u64) {
        let bucket = bucket_of(value);
        if self.counts.len() <= bucket {
            self.counts.resize(bucket + 1, 0);
        }
        self.counts[bucket] = self.counts[bucket].saturating_add(count);
        self.total = self.total.saturating_add(count);
    }

    /// How many values were counted.
    #[must_use]
    pub const fn total(&self) -> u64 {
        self.total
    }

    /// The figures that are shown.
    #[must_use]
    pub fn percentile_stats(&self) -> PercentileStats {
        PercentileStats {
            samples: self.total,
            p0_1: self.per_mille(1),
            p1: self.per_mille(10),
            p5: self.per_mille(50),
            p10: self.per_mille(100),
            p50: self.per_mille(500),
            p90: self.per_mille(900),
            p99: self.per_mille(990),
            p99_9: self.per_mille(999),
        }
    }

    /// The least value of the bucket up to which `share` thousandths of all values lie.
    fn per_mille(&self, share: u64) -> u64 {
        let rank = u128::from(self.total) * u128::from(share);
        let mut seen = 0_u128;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count) * 1_000;
            if *count > 0 && seen >= rank {
                return least_in(bucket);
            }
        }
        0
    }
}

/// Small values have a bucket each; after them the leading one says the group, the two bits behind
/// it the bucket within.
fn bucket_of(value: u64) -> usize {
    match value.checked_ilog2() {
        Some(log) if log >= PRECISION_BITS => {
            let shift = log - PRECISION_BITS;
            let within = usize::try_from(value >> shift).expect("three bits") & (GROUP - 1);
            (shift as usize + 1) * GROUP + within
        }
        _ => usize::try_from(value).expect("less than a group"),
    }
}

fn least_in(bucket: usize) -> u64 {
    assert!(bucket < BUCKETS, "{bucket} is no bucket");
    let (group, within) = (bucket / GROUP, (bucket % GROUP) as u64);
    match group.checked_sub(1) {
        None => within,
        Some(shift) => (GROUP as u64 | within) << shift,
    }
}

/// What a histogram comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PercentileStats {
    /// How many values there were.
    pub samples: u64,
    /// One in a thousand lies below.
    pub p0_1: u64,
    /// One in a hundred lies below.
    pub p1: u64,
    /// One in twenty lies below.
    pub p5: u64,
    /// One in ten lies below.
    pub p10: u64,
    /// Half lie below.
    pub p50: u64,
    /// One in ten lies above.
    pub p90: u64,
    /// One in a hundred lies above.
    pub p99: u64,
    /// One in a thousand lies above.
    pub p99_9: u64,
}

impl fmt::Display for PercentileStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { samples, p0_1, p1, p5, p10, p50, p90, p99, p99_9 } = self;
        write!(f, "[samples: {samples}, P0.1: {p0_1}, P1: {p1}, P5: {p5}, P10: {p10}, ")?;
        write!(f, "P50: {p50}, P90: {p90}, P99: {p99}, P99.9: {p99_9}]")
    }
}

/// Histograms under each other, as their figures.
#[derive(Debug, Clone, Default)]
pub struct AsciiChart {
    rows: Vec<(String, PercentileStats)>,
}

impl AsciiChart {
    /// No rows.
    #[must_use]
    pub const fn new() -> Self {
        Self { rows: Vec::new() }
    }

    /// One row more.
    #[must_use]
    pub fn add<T>(mut self, name: impl Into<String>, histogram: Histogram<T>) -> Self {
        self.rows.push((name.into(), histogram.percentile_stats()));
        self
    }
}

impl fmt::Display for AsciiChart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, figures) in &self.rows {
            writeln!(f, "{name}: {figures}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_the_bucket_that_begins_at_or_below_it() {
        let powers = (0..64).flat_map(|bit| [1_u64 << bit, (1 << bit) - 1, (1 << bit) | 1]);
        let values: Vec<u64> = (0..1_000).chain(powers).chain([u64::MAX]).collect();
        for value in values {
            let bucket = bucket_of(value);
            assert!(bucket < BUCKETS, "{value}");
            assert!(least_in(bucket) <= value, "{value}");
            if bucket + 1 < BUCKETS {
                assert!(least_in(bucket + 1) > value, "{value}");
            }
        }
    }

    #[test]
    fn percentiles_are_the_least_values_of_their_buckets() {
        let mut histogram = Histogram::<()>::new();
        assert_eq!(histogram.percentile_stats().p50, 0);
        histogram.record_n(1, 98);
        histogram.record(40);
        histogram.record(1_000);
        let stats = histogram.percentile_stats();
        assert_eq!((stats.samples, stats.p1, stats.p50), (100, 1, 1));
        assert_eq!((stats.p99, stats.p99_9), (40, 896));
        assert_eq!(histogram.total(), 100);
    }
}
