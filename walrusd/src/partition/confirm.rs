//! Whether this node leads a partition, asked of the members instead of a clock.

use std::{sync::Arc, time::Duration};

use tokio::{sync::Notify, time::Instant};
use walrus_replication::UptimeMs;

use super::{Partition, registry::Unavailable};

/// Members that say nothing for so long are asked again.
const PROBE_AGAIN: Duration = Duration::from_millis(50);
/// When the question is given up: about a lease.
const CONFIRM_MAX: Duration = Duration::from_secs(1);

impl Partition {
    /// Ends when a quorum of the members has shown that this node led the partition after it was
    /// asked, whatever the clocks of others do: see [`NodeLease::led_after`]. Many who ask at once
    /// cost one message to each member.
    ///
    /// # Errors
    /// [`Unavailable::NotLeader`]; [`Unavailable::NoLease`] when they say nothing for long.
    ///
    /// [`NodeLease::led_after`]: walrus_replication::liveness::NodeLease::led_after
    pub async fn confirm(self: &Arc<Self>) -> Result<(), Unavailable> {
        let asked = self.leading.clock.uptime();
        let heard = Arc::new(Notify::new());
        let until = Instant::now() + CONFIRM_MAX;
        loop {
            if self.has_led_since(asked, &heard)? {
                return Ok(());
            }
            // What is sent within the millisecond of the question proves nothing.
            if self.leading.clock.uptime() == asked {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            self.probe_since(asked);
            let again = (Instant::now() + PROBE_AGAIN).min(until);
            let silent = tokio::time::timeout_at(again, heard.notified()).await.is_err();
            if silent && Instant::now() >= until {
                return Err(Unavailable::NoLease);
            }
        }
    }

    /// Whether [`Self::confirm`] has what it waits for; else `heard` is woken by the next answer.
    fn has_led_since(&self, asked: UptimeMs, heard: &Arc<Notify>) -> Result<bool, Unavailable> {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return Err(Unavailable::NotLeader);
        }
        let has = self.leading.lease.led_after(&core.lease, asked);
        if !has {
            core.until_answered.push(heard);
        }
        Ok(has)
    }

    /// Probes, unless that was done after `asked` and an answer may be on its way.
    fn probe_since(self: &Arc<Self>, asked: UptimeMs) {
        let now = self.leading.clock.uptime();
        let again_ms = u64::try_from(PROBE_AGAIN.as_millis()).unwrap_or(u64::MAX);
        let mut core = self.core.lock();
        let waits = |at: UptimeMs| at > asked && now.since(at) < again_ms;
        if core.probed_at.is_none_or(|at| !waits(at)) {
            core.probed_at = Some(now);
            drop(core);
            self.probe();
        }
    }
}
