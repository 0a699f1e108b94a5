//! What nodes said of themselves last, whoever told it.
//!
//! A node that answers for the others may never have heard of one that is gone now, when the node
//! that was asked before it had.

use std::{collections::BTreeMap, sync::Arc};

use walrus_admin::snapshot::{NodeEntry, Snapshot, Vitals};
use walrus_types::{NodeId, UptimeMs};

/// The last words of each node, and when it said them by the console's time.
#[derive(Debug, Clone, Default)]
pub struct Heard(BTreeMap<NodeId, (Vitals, UptimeMs)>);

impl Heard {
    /// Takes what a snapshot of `now` tells, and gives it what is known better here. A snapshot
    /// that others hold is copied only for that.
    pub fn exchange(&mut self, snapshot: &mut Arc<Snapshot>, now: UptimeMs) {
        for at in 0..snapshot.nodes.len() {
            if let Some((vitals, age_ms)) = self.exchange_one(&snapshot.nodes[at], now) {
                let entry = &mut Arc::make_mut(snapshot).nodes[at];
                (entry.vitals, entry.vitals_age_ms) = (Some(vitals), Some(age_ms));
            }
        }
        self.0.retain(|node, _| snapshot.nodes.iter().any(|entry| entry.node.node == *node));
    }

    /// Takes what is told of one node; answers what is known better.
    fn exchange_one(&mut self, entry: &NodeEntry, now: UptimeMs) -> Option<(Vitals, u64)> {
        let node = entry.node.node;
        let told = entry.vitals.as_ref().zip(entry.vitals_age_ms);
        let told = told.map(|(vitals, age)| (vitals, UptimeMs(now.0.saturating_sub(age))));
        match (told, self.0.get(&node)) {
            (Some((told, told_at)), known) if known.is_none_or(|(_, at)| *at <= told_at) => {
                self.0.insert(node, (told.clone(), told_at));
                None
            }
            (_, known) => known.map(|(known, at)| (known.clone(), now.since(*at))),
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
            let mut snapshot = Arc::new(at(age));
            let before = Arc::clone(&snapshot);
            heard.exchange(&mut snapshot, UptimeMs(now));
            assert_eq!(snapshot.nodes[0].vitals_age_ms, expected, "at {now}");
            assert_eq!(snapshot.nodes[0].vitals.is_some(), expected.is_some());
            assert_eq!(Arc::ptr_eq(&snapshot, &before), age == expected, "copied for nothing");
        }
    }
}
