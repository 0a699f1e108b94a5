//! This node's right to lead: what heartbeats give it, and the end of it.
//!
//! The deciders count leases (`walrus_replication::liveness`); this shares one life's lease with
//! all that asks for it. Once a fence is heard the life is over: whoever waits for
//! [`Lease::fenced`] ends it, and the node begins another.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::warn;
use walrus_replication::{
    UptimeMs,
    liveness::{Answer, NodeLease, PartitionLease, Terms},
};

/// The lease of this life of the node.
#[derive(Debug)]
pub struct Lease {
    node: Mutex<NodeLease>,
    /// When the newest heartbeat that extended it was sent, in milliseconds of uptime.
    extended_ms: AtomicU64,
    /// When the newest heartbeat was sent that a controller answered, in milliseconds of uptime.
    heard_ms: AtomicU64,
    /// A copy for appends to partitions that nobody else stores: they ask for nothing else.
    is_fenced: AtomicBool,
    fenced: watch::Sender<bool>,
}

impl Lease {
    /// A life that has just begun: it has no lease yet.
    pub fn new(terms: Terms) -> Self {
        Self {
            node: Mutex::new(NodeLease::new(terms)),
            extended_ms: AtomicU64::new(0),
            heard_ms: AtomicU64::new(0),
            is_fenced: AtomicBool::new(false),
            fenced: watch::Sender::new(false),
        }
    }

    /// The controller of Raft term `term` answered the heartbeat that was sent at `sent`.
    pub fn beat_answered(&self, term: u64, sent: UptimeMs, answer: Answer) {
        self.heard(sent);
        match answer {
            Answer::Extended => {
                self.node.lock().heartbeat_answered(term, sent);
                self.extended_ms.fetch_max(sent.0, Ordering::Relaxed);
            }
            Answer::Fenced => self.fence_heard("the controller"),
            Answer::Withheld => {}
        }
    }

    /// `who` says that this life is fenced: it may never write again.
    pub fn fence_heard(&self, who: &str) {
        self.node.lock().fence_heard();
        if !self.is_fenced.swap(true, Ordering::AcqRel) {
            warn!(who, "this life of the node is fenced: it leads nothing any more");
            self.fenced.send_replace(true);
        }
    }

    /// Whether this life was fenced.
    pub fn is_fenced(&self) -> bool {
        self.is_fenced.load(Ordering::Acquire)
    }

    /// Ends when this life is fenced.
    pub async fn fenced(&self) {
        let mut fenced = self.fenced.subscribe();
        // The sender is ours: waiting cannot fail while we are here.
        drop(fenced.wait_for(|fenced| *fenced).await);
    }

    /// The cluster was heard from at `at`.
    pub fn heard(&self, at: UptimeMs) {
        self.heard_ms.fetch_max(at.0, Ordering::Relaxed);
    }

    /// For how long no controller was heard, whatever it said.
    pub fn unheard_ms(&self, now: UptimeMs) -> u64 {
        now.since(UptimeMs(self.heard_ms.load(Ordering::Relaxed)))
    }

    /// For how long no controller has extended it.
    pub fn silent_ms(&self, now: UptimeMs) -> u64 {
        now.since(UptimeMs(self.extended_ms.load(Ordering::Relaxed)))
    }

    /// Whether the leader of `partition` may take appends now.
    pub fn may_append(&self, partition: &PartitionLease, now: UptimeMs) -> bool {
        self.node.lock().may_append(partition, now)
    }

    /// Whether the leader of `partition` may answer reads by itself now.
    pub fn may_read(&self, partition: &PartitionLease, now: UptimeMs) -> bool {
        self.node.lock().may_read(partition, now)
    }

    /// Whether this node is known to have led `partition` after `asked`.
    pub fn led_after(&self, partition: &PartitionLease, asked: UptimeMs) -> bool {
        self.node.lock().led_after(partition, asked)
    }
}

#[cfg(test)]
mod tests {
    use walrus_types::NodeId;

    use super::*;

    #[tokio::test]
    async fn a_fence_ends_the_lease_for_good_and_is_told_to_who_waits() {
        let lease = Lease::new(Terms::default());
        let partition = PartitionLease::open(2, [NodeId(2), NodeId(3)]);
        assert!(!lease.may_append(&partition, UptimeMs(5)), "nothing was heard yet");
        lease.beat_answered(1, UptimeMs(0), Answer::Extended);
        assert!(lease.may_append(&partition, UptimeMs(5)) && !lease.is_fenced());
        lease.beat_answered(1, UptimeMs(3), Answer::Withheld);
        assert!(lease.may_append(&partition, UptimeMs(5)));
        assert_eq!((lease.silent_ms(UptimeMs(5)), lease.unheard_ms(UptimeMs(5))), (5, 2));
        lease.beat_answered(1, UptimeMs(4), Answer::Fenced);
        lease.beat_answered(2, UptimeMs(5), Answer::Extended);
        assert!(!lease.may_append(&partition, UptimeMs(6)) && lease.is_fenced());
        lease.fenced().await;
    }
}
