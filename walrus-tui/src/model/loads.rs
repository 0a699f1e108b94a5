//! What is written to the busiest partitions each second, by who leads them.

use std::collections::BTreeMap;

use walrus_admin::snapshot::{Busy, Snapshot};
use walrus_types::{Epoch, NodeId};

use super::PartitionName;

/// A partition and what is written to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Which one.
    pub name: PartitionName,
    /// Bytes in each second: since the node spoke before, or, where it did not tell of this
    /// segment then, since that was opened.
    pub bytes_per_s: f64,
    epoch: Epoch,
    bytes: u64,
}

/// What each node told last, the busiest first.
#[derive(Debug, Clone, Default)]
pub struct Loads(BTreeMap<NodeId, (u64, Vec<Load>)>);

impl Loads {
    /// Takes what nodes tell in a snapshot. Who says nothing new, or nothing of this, has what it
    /// had.
    pub fn take(&mut self, snapshot: &Snapshot) {
        for entry in &snapshot.nodes {
            let Some(vitals) = &entry.vitals else { continue };
            let Some(busiest) = &vitals.busiest else { continue };
            let node = entry.node.node;
            let before = self.0.get(&node);
            if before.is_some_and(|(uptime, _)| *uptime == vitals.uptime_ms) {
                continue;
            }
            let told = busiest.iter().map(|busy| load(busy, before, vitals.uptime_ms));
            let mut loads: Vec<Load> = told.collect();
            loads.sort_by(|one, other| other.bytes_per_s.total_cmp(&one.bytes_per_s));
            self.0.insert(node, (vitals.uptime_ms, loads));
        }
        self.0.retain(|node, _| {
            snapshot.nodes.iter().any(|entry| entry.node.node == *node && entry.silent.is_none())
        });
    }

    /// Those that a node leads, the busiest first; nothing where it tells of none.
    #[must_use]
    pub fn of(&self, node: NodeId) -> &[Load] {
        self.0.get(&node).map_or(&[], |(_, loads)| loads)
    }

    /// The greatest of all.
    #[must_use]
    pub fn most(&self) -> f64 {
        let all = self.0.values().filter_map(|(_, loads)| loads.first());
        all.fold(0.0, |most, load| most.max(load.bytes_per_s))
    }
}

fn load(busy: &Busy, before: Option<&(u64, Vec<Load>)>, uptime_ms: u64) -> Load {
    let Busy { topic, partition, epoch, bytes, .. } = busy;
    let name = PartitionName { topic: topic.clone(), partition: *partition };
    let since = before.and_then(|(uptime, loads)| {
        let known = loads.iter().find(|load| load.name == name && load.epoch == *epoch)?;
        let ms = uptime_ms.checked_sub(*uptime).filter(|ms| *ms > 0)?;
        let grown = bytes.checked_sub(known.bytes)?;
        Some(grown as f64 * 1_000.0 / ms as f64)
    });
    let bytes_per_s = since.unwrap_or_else(|| busy.per_second());
    Load { name, bytes_per_s, epoch: *epoch, bytes: *bytes }
}

#[cfg(test)]
mod tests {
    use walrus_types::PartitionIndex;

    use super::*;
    use crate::source::simulated::{Simulated, Size};

    #[test]
    fn what_is_written_is_counted_from_one_word_of_a_node_to_the_next() {
        let mut loads = Loads::default();
        // Uptime, epoch, bytes and age of the segment where that is told, then what that comes to.
        let told = [
            (10_000, Some((1, 40_000, 20_000)), 2_000.0),
            (11_000, None, 2_000.0),
            (12_000, Some((1, 46_000, 22_000)), 3_000.0),
            (12_000, Some((1, 99_000, 22_000)), 3_000.0),
            (13_000, Some((2, 500, 500)), 500.0),
            (14_000, Some((2, 400, 4_000)), 100.0),
            (15_000, Some((3, 50_000, 500)), 50_000.0),
            (2_000, Some((3, 90_000, 30_000)), 3_000.0),
        ];
        for (uptime_ms, segment, expected) in told {
            let mut snapshot = Simulated::new(1, Size { nodes: 1, partitions: 1 }).snapshot();
            let vitals = snapshot.nodes[0].vitals.as_mut().unwrap();
            vitals.uptime_ms = uptime_ms;
            vitals.busiest = segment.map(|(epoch, bytes, since_ms)| {
                let (topic, partition) = ("t".to_owned(), PartitionIndex(0));
                vec![Busy { topic, partition, epoch: Epoch(epoch), bytes, since_ms }]
            });
            loads.take(&snapshot);
            let shown = loads.of(NodeId(1))[0].bytes_per_s;
            assert!((shown - expected).abs() < 0.1, "{uptime_ms}: {shown}, not {expected}");
            assert!((loads.most() - expected).abs() < 0.1);
        }
        let mut silent = Simulated::new(1, Size { nodes: 1, partitions: 1 }).snapshot();
        silent.nodes[0].silent = Some("gone".to_owned());
        loads.take(&silent);
        assert!(loads.of(NodeId(1)).is_empty(), "what a node does that is silent nobody knows");
    }
}
