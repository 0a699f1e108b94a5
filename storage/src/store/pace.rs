//! Is so much written that the page cache would only be churned?
//!
//! Segment data that goes through the page cache is there for readers that the hot tail no longer
//! serves. At hundreds of megabytes a second it is pushed out again within seconds, and what it
//! costs is new pages for every byte: where a hypervisor backs memory on demand, a quarter of all
//! CPU time went there (see `BENCHMARKS.md`, three nodes).

use std::time::Duration;

/// Over what the rate is counted.
const WINDOW: Duration = Duration::from_millis(500);

/// How fast segment files grow, all of a store together.
#[derive(Debug)]
pub(super) struct Pace {
    /// From this rate on bytes go past the cache; again below half of it they do not.
    past_cache_bytes_per_s: u64,
    window_began: Duration,
    window_bytes: u64,
    is_fast: bool,
}

impl Pace {
    pub(super) const fn new(past_cache_bytes_per_s: u64) -> Self {
        Self {
            past_cache_bytes_per_s,
            window_began: Duration::ZERO,
            window_bytes: 0,
            is_fast: past_cache_bytes_per_s == 0,
        }
    }

    /// Counts bytes that are about to be written, `now` after any fixed instant; answers whether
    /// they should go past the page cache.
    pub(super) fn write(&mut self, bytes: u64, now: Duration) -> bool {
        let passed = now.saturating_sub(self.window_began);
        if passed >= WINDOW {
            let passed_ms = u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
            let per_s = self.window_bytes.saturating_mul(1000) / passed_ms.max(1);
            let wanted = self.past_cache_bytes_per_s;
            self.is_fast = per_s >= if self.is_fast { wanted / 2 } else { wanted };
            (self.window_began, self.window_bytes) = (now, 0);
        }
        self.window_bytes = self.window_bytes.saturating_add(bytes);
        self.is_fast
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// (at which millisecond, bytes, past the cache?)
    type Step = (u64, u64, bool);

    #[test]
    fn bytes_go_past_the_cache_while_much_is_written_and_not_at_a_single_burst() {
        let cases: [(&str, u64, &[Step]); 5] = [
            ("little", 64 * MIB, &[(0, MIB, false), (500, MIB, false), (1000, MIB, false)]),
            ("a burst after rest", 64 * MIB, &[(9000, 40 * MIB, false), (9100, MIB, false)]),
            ("much", 64 * MIB, &[(0, 40 * MIB, false), (500, MIB, true), (600, MIB, true)]),
            (
                "less, but not half",
                64 * MIB,
                &[(0, 40 * MIB, false), (500, 20 * MIB, true), (1000, MIB, true)],
            ),
            (
                "much, then little",
                64 * MIB,
                &[(0, 40 * MIB, false), (500, MIB, true), (1000, MIB, false), (1500, MIB, false)],
            ),
        ];
        for (name, wanted, steps) in cases {
            let mut pace = Pace::new(wanted);
            for (at_ms, bytes, past) in steps {
                let answer = pace.write(*bytes, Duration::from_millis(*at_ms));
                assert_eq!(answer, *past, "{name}, at {at_ms} ms");
            }
        }
    }

    #[test]
    fn a_rate_of_nothing_means_always() {
        let mut pace = Pace::new(0);
        assert!(pace.write(1, Duration::ZERO));
        assert!(pace.write(1, Duration::from_secs(60)));
    }
}
