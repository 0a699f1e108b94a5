//! The only reader of the system's clocks in the shell. Deciders get their time from here.

use std::time::{SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, Timespec, clock_gettime};
use walrus_replication::UptimeMs;
use walrus_types::TimestampMs;

/// Wall time for records, uptime for everything that measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin_ms: u64,
}

impl Clock {
    /// A clock whose uptime begins now.
    pub fn start() -> Self {
        Self { origin_ms: since_boot_ms() }
    }

    /// Wall time, as records carry it. A wall clock before 1970 reads as 1970.
    pub fn now(self) -> TimestampMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Time since the node started, the time that its machine was suspended included: a lease must
    /// not outlive a nap. Steps of the wall clock do not touch it.
    pub fn uptime(self) -> UptimeMs {
        UptimeMs(since_boot_ms().saturating_sub(self.origin_ms))
    }
}

fn since_boot_ms() -> u64 {
    let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::Boottime);
    let ms = tv_sec.saturating_mul(1_000).saturating_add(tv_nsec / 1_000_000);
    u64::try_from(ms).unwrap_or(0)
}
