//! How fast disks fill, by what was free over the last minutes.

use std::collections::{BTreeMap, VecDeque};

use walrus_admin::snapshot::Snapshot;
use walrus_types::{NodeId, UptimeMs};

/// Between two samples.
const EVERY_MS: u64 = 5_000;
/// Samples that are kept of a disk: five minutes.
const SAMPLES_MAX: usize = 60;
/// Less time tells nothing.
const LEAST_MS: u64 = 10_000;

/// What was free, by node.
#[derive(Debug, Clone, Default)]
pub struct Disks(BTreeMap<NodeId, VecDeque<(UptimeMs, u64)>>);

impl Disks {
    /// Takes what a snapshot of `now` tells of nodes that answer.
    pub fn take(&mut self, snapshot: &Snapshot, now: UptimeMs) {
        for entry in snapshot.nodes.iter().filter(|entry| entry.silent.is_none()) {
            let Some(disk) = entry.vitals.as_ref().and_then(|vitals| vitals.disk) else { continue };
            let samples = self.0.entry(entry.node.node).or_default();
            if samples.back().is_some_and(|(at, _)| now.since(*at) < EVERY_MS) {
                continue;
            }
            if samples.len() == SAMPLES_MAX {
                samples.pop_front();
            }
            samples.push_back((now, disk.free_bytes));
        }
        self.0.retain(|node, _| snapshot.nodes.iter().any(|entry| entry.node.node == *node));
    }

    /// Bytes by which a disk fills each second, below zero where it empties; `None` until that is
    /// known.
    #[must_use]
    pub fn grows(&self, node: NodeId) -> Option<f64> {
        let samples = self.0.get(&node)?;
        let ((from, before), (to, now)) = (samples.front()?, samples.back()?);
        let ms = to.since(*from);
        (ms >= LEAST_MS).then(|| (*before as f64 - *now as f64) * 1_000.0 / ms as f64)
    }
}

#[cfg(test)]
mod tests {
    use walrus_admin::snapshot::DiskVitals;

    use super::*;
    use crate::source::simulated::{Simulated, Size};

    #[test]
    fn a_disk_fills_as_what_is_free_shrinks_over_ten_seconds_at_least() {
        let mut disks = Disks::default();
        let mut tell = |seconds: u64, free: u64| {
            let mut snapshot = Simulated::new(1, Size { nodes: 1, partitions: 1 }).snapshot();
            let vitals = snapshot.nodes[0].vitals.as_mut().unwrap();
            vitals.disk = Some(DiskVitals { total_bytes: 20_000, free_bytes: free });
            disks.take(&snapshot, UptimeMs(seconds * 1_000));
            disks.grows(NodeId(1))
        };
        assert_eq!(tell(0, 10_000), None);
        assert_eq!(tell(5, 9_500), None);
        assert_eq!(tell(10, 9_000), Some(100.0));
        assert_eq!(tell(20, 14_000), Some(-200.0));
    }
}
