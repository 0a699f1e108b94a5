//! What nodes said of themselves last, whoever told it.
//!
//! A node that answers for the others may never have heard of one that is gone now, when the node
//! that was asked before it had.

use std::collections::BTreeMap;

use walrus_admin::snapshot::{NodeEntry, Snapshot, Vitals};
use walrus_types::{NodeId, UptimeMs};

/// The last words of each node, and when it said them by the console's time.
#[derive(Debug, Clone, Default)]
pub struct Heard(BTreeMap<NodeId, (Vitals, UptimeMs)>);

impl Heard {
    /// Takes what a snapshot of `now` tells, and gives it what is known better here.
    pub fn exchange(&mut self, snapshot: &mut Snapshot, now: UptimeMs) {
        for entry in &mut snapshot.nodes {
            self.exchange_one(entry, now);
        }
        self.0.retain(|node, _| snapshot.nodes.iter().any(|entry| entry.node.node == *node));
    }

    fn exchange_one(&mut self, entry: &mut NodeEntry, now: UptimeMs) {
        let node = entry.node.node;
        let told = entry.vitals.as_ref().zip(entry.vitals_age_ms);
        let told_at = told.map(|(vitals, age)| (vitals, UptimeMs(now.0.saturating_sub(age))));
        match (told_at, self.0.get(&node)) {
            (Some((_, told_at)), Some((known, at))) if *at > told_at => {
                (entry.vitals, entry.vitals_age_ms) = (Some(known.clone()), Some(now.since(*at)));
            }
            (Some((told, told_at)), _) => drop(self.0.insert(node, (told.clone(), told_at))),
            (None, Some((known, at))) => {
                (entry.vitals, entry.vitals_age_ms) = (Some(known.clone()), Some(now.since(*at)));
            }
            (None, None) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::simulated::{Simulated, Size};

    #[test]
    fn the_newer_of_what_was_told_and_what_is_known_is_shown() {
        let at = |age: Option<u64>| {
            let mut snapshot = Simulated::new(1, Size { nodes: 1, partitions: 1 }).snapshot();
            let entry = &mut snapshot.nodes[0];
            entry.vitals_age_ms = age;
            if age.is_none() {
                entry.vitals = None;
            }
            snapshot
        };
        // When, how old what is told is then, and how old what is shown is.
        let told = [
            (1_000, None, None),
            (2_000, Some(500), Some(500)),
            (3_000, None, Some(1_500)),
            (4_000, Some(4_000), Some(2_500)),
            (5_000, Some(0), Some(0)),
        ];
        let mut heard = Heard::default();
        for (now, age, expected) in told {
            let mut snapshot = at(age);
            heard.exchange(&mut snapshot, UptimeMs(now));
            assert_eq!(snapshot.nodes[0].vitals_age_ms, expected, "at {now}");
            assert_eq!(snapshot.nodes[0].vitals.is_some(), expected.is_some());
        }
    }
}
