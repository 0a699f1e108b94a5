//! What a WAL tells about itself.

use std::time::Duration;

use super::Lsn;

/// Buckets of [`Latency`]: the last one holds everything from about 35 minutes up.
pub const LATENCY_BUCKETS: usize = 32;

/// How long flushes took: bucket `i` counts those below `2^i` microseconds that are not in a
/// lower bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// The counts.
    pub buckets: [u64; LATENCY_BUCKETS],
    /// All of them.
    pub count: u64,
    /// The sum of all times, in microseconds.
    pub sum_us: u64,
    /// The longest one, in microseconds.
    pub max_us: u64,
}

impl Latency {
    /// Counts one flush.
    pub fn record(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        self.buckets[bucket.min(LATENCY_BUCKETS - 1)] += 1;
        self.count += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// A bound that the given share of all flushes kept, in microseconds; 0 when there were none.
    #[must_use]
    pub fn quantile_us(&self, share: f64) -> u64 {
        let mut seen = 0u64;
        for (bucket, count) in self.buckets.iter().enumerate() {
            seen += count;
            if *count > 0 && seen as f64 >= share * self.count as f64 {
                return (1u64 << bucket).min(self.max_us.max(1));
            }
        }
        0
    }
}

/// What a WAL did since it was opened, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WalStats {
    /// Groups that became durable, those that only mark the end included.
    pub groups: u64,
    /// Entries that became durable.
    pub entries: u64,
    /// Bytes that became durable, padding and heads included.
    pub bytes: u64,
    /// From handing a group to the disk until it was durable.
    pub flush: Latency,
    /// Bytes that wait for a group.
    pub queued_bytes: u64,
    /// Appends that were refused because the queue was full.
    pub refused_full: u64,
    /// Bytes of the ring that hold groups which are not released.
    pub ring_used_bytes: u64,
    /// Bytes of the whole ring.
    pub ring_bytes: u64,
    /// Ring files that are filled and ready.
    pub files_ready: u32,
    /// Nothing below is needed any more.
    pub released: Lsn,
    /// The oldest group that is still in the ring.
    pub oldest: Lsn,
    /// Everything up to this group is durable.
    pub durable: Lsn,
    /// The group that comes next.
    pub next: Lsn,
    /// How long the oldest group that is being written has been waited for.
    pub oldest_flush_age: Option<Duration>,
    /// The disk knows all that is known here: a durable group calls the last entries durable and
    /// says what is released.
    pub settled: bool,
    /// Entries wait because every ring file still holds something that is not released.
    pub ring_full: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_falls_into_the_bucket_of_its_power_of_two() {
        let mut latency = Latency::default();
        for (us, bucket) in
            [(0, 0), (1, 1), (2, 2), (3, 2), (127, 7), (128, 8), (u64::MAX / 4096, 31)]
        {
            let before = latency.buckets[bucket];
            latency.record(Duration::from_micros(us));
            assert_eq!(latency.buckets[bucket], before + 1, "{us} us");
        }
        assert_eq!(latency.count, 7);
    }

    #[test]
    fn a_quantile_is_an_upper_bound() {
        let mut latency = Latency::default();
        for _ in 0..99 {
            latency.record(Duration::from_micros(100));
        }
        latency.record(Duration::from_micros(5000));
        assert_eq!(latency.quantile_us(0.5), 128);
        assert_eq!(latency.quantile_us(1.0), 5000);
        assert_eq!(Latency::default().quantile_us(0.5), 0);
    }
}
