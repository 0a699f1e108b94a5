//! Latencies of one run, and the figures that are kept of them.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Everything slower than this is recorded as this; librdkafka gives a record up before.
const MAX_US: u64 = 3_600_000_000;

/// A histogram of microseconds with three significant digits.
#[derive(Debug)]
pub struct Latencies {
    histogram: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Self {
        let histogram = Histogram::new_with_bounds(1, MAX_US, 3).expect("the bounds are constants");
        Self { histogram }
    }
}

impl Latencies {
    pub fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(MAX_US);
        self.histogram.saturating_record(us);
    }

    /// Adds what another counted.
    pub fn absorb(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("all have the same bounds");
    }

    pub fn summary(&self) -> LatencySummary {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        LatencySummary {
            count: self.histogram.len(),
            min_us: self.histogram.min(),
            mean_us: self.histogram.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p95_us: at(0.95),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: self.histogram.max(),
            buckets_us: self
                .histogram
                .iter_recorded()
                .map(|step| (step.value_iterated_to(), step.count_at_value()))
                .collect(),
        }
    }
}

/// Percentiles for people, and the whole histogram for whoever wants to add runs up.
#[derive(Debug, Clone, Serialize)]
pub struct LatencySummary {
    pub count: u64,
    pub min_us: u64,
    pub mean_us: f64,
    pub p50_us: u64,
    pub p90_us: u64,
    pub p95_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub p99_99_us: u64,
    pub max_us: u64,
    /// (upper end of a bucket, records in it); left out of the JSON unless asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub buckets_us: Vec<(u64, u64)>,
}

impl LatencySummary {
    /// The same without the buckets, which are thousands of lines.
    #[must_use]
    pub fn without_buckets(mut self) -> Self {
        self.buckets_us.clear();
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_come_from_every_record() {
        let mut latencies = Latencies::default();
        for us in 1..=1000 {
            latencies.record(Duration::from_micros(us));
        }
        let summary = latencies.summary();
        assert_eq!(summary.count, 1000);
        assert_eq!((summary.p50_us, summary.p99_us, summary.max_us), (500, 990, 1000));
        assert_eq!(summary.buckets_us.iter().map(|bucket| bucket.1).sum::<u64>(), 1000);
    }

    #[test]
    fn a_latency_past_the_scale_is_kept_at_its_end() {
        let mut latencies = Latencies::default();
        latencies.record(Duration::from_secs(1 << 40));
        assert!(latencies.summary().max_us >= MAX_US);
    }
}
