//! The only reader of the system's clocks in the shell. Deciders get their time from here.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use walrus_replication::UptimeMs;
use walrus_types::TimestampMs;

/// Wall time for records, uptime for everything that measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    origin: Instant,
}

impl Clock {
    /// A clock whose uptime begins now.
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }

    /// Wall time, as records carry it. A wall clock before 1970 reads as 1970.
    pub fn now(self) -> TimestampMs {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// Time since the broker started; steps of the wall clock do not touch it.
    pub fn uptime(self) -> UptimeMs {
        UptimeMs(u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX))
    }
}
