//! What nodes do each second, from the totals of two snapshots.

use std::collections::BTreeMap;

use walrus_admin::snapshot::{Snapshot, Vitals};
use walrus_types::{Incarnation, NodeId};

/// What one node does each second.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// Records that producers send.
    pub records_in: f64,
    /// Their bytes.
    pub bytes_in: f64,
    /// Bytes that consumers fetch.
    pub bytes_out: f64,
    /// Requests.
    pub requests: f64,
    /// Flushes of the write-ahead log.
    pub flushes: f64,
    /// Bytes that it made durable.
    pub logged_bytes: f64,
    /// Of one core, how much it computes, if the node knows; 1 is all of it.
    pub cores: Option<f64>,
}

/// What all nodes do each second.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    last: BTreeMap<NodeId, (Incarnation, Vitals)>,
    rates: BTreeMap<NodeId, Rate>,
}

impl Rates {
    /// Takes the totals of a snapshot. A node of another life begins anew; one that says nothing
    /// new keeps its rate for as long as its last word is not stale.
    pub fn take(&mut self, snapshot: &Snapshot) {
        let mut rates = BTreeMap::new();
        for entry in &snapshot.nodes {
            let node = entry.node.node;
            let Some(vitals) = &entry.vitals else { continue };
            let life = entry.node.incarnation;
            let before = self.last.get(&node).filter(|(before, _)| *before == life);
            let rate = match before {
                Some((_, before)) if before.uptime_ms == vitals.uptime_ms => {
                    self.rates.get(&node).copied()
                }
                Some((_, before)) => between(before, vitals),
                None => None,
            };
            if entry.silent.is_none() {
                rates.extend(rate.map(|rate| (node, rate)));
            }
            self.last.insert(node, (life, vitals.clone()));
        }
        self.last.retain(|node, _| snapshot.nodes.iter().any(|entry| entry.node.node == *node));
        self.rates = rates;
    }

    /// What a node does, if that is known.
    #[must_use]
    pub fn of(&self, node: NodeId) -> Option<Rate> {
        self.rates.get(&node).copied()
    }

    /// What all do of whom it is known; `None` where it is known of nobody.
    #[must_use]
    pub fn total(&self) -> Option<Rate> {
        self.rates.values().copied().reduce(|sum, rate| Rate {
            records_in: sum.records_in + rate.records_in,
            bytes_in: sum.bytes_in + rate.bytes_in,
            bytes_out: sum.bytes_out + rate.bytes_out,
            requests: sum.requests + rate.requests,
            flushes: sum.flushes + rate.flushes,
            logged_bytes: sum.logged_bytes + rate.logged_bytes,
            cores: sum.cores.zip(rate.cores).map(|(sum, cores)| sum + cores),
        })
    }
}

/// None where time or totals went back: that is another process.
fn between(before: &Vitals, now: &Vitals) -> Option<Rate> {
    let ms = now.uptime_ms.checked_sub(before.uptime_ms).filter(|ms| *ms > 0)?;
    let per_second = |before: u64, now: u64| {
        now.checked_sub(before).map(|grown| grown as f64 * 1000.0 / ms as f64)
    };
    let (from, to) = (&before.traffic, &now.traffic);
    Some(Rate {
        records_in: per_second(from.records_in, to.records_in)?,
        bytes_in: per_second(from.bytes_in, to.bytes_in)?,
        bytes_out: per_second(from.bytes_out, to.bytes_out)?,
        requests: per_second(from.requests, to.requests)?,
        flushes: per_second(before.wal.flushes, now.wal.flushes)?,
        logged_bytes: per_second(before.wal.bytes, now.wal.bytes)?,
        cores: before
            .cpu_ms
            .zip(now.cpu_ms)
            .and_then(|(before, now)| per_second(before, now))
            .map(|ms| ms / 1000.0),
    })
}
