//! What goes on each node and what stands in its way, as one list: what somebody holds, what could
//! not be removed, what is due and waits, what goes next.

use std::cmp::Reverse;

use walrus_admin::{
    gc::{DueSegment, GcVitals, HeldSegment, Leftover, NextSegment},
    snapshot::{NodeEntry, Snapshot},
};
use walrus_types::{Epoch, PartitionIndex};

use super::lists::passes;
use crate::model::PartitionName;

/// One of them.
#[derive(Debug, Clone, Copy)]
pub enum Entry<'a> {
    /// Pruned, and somebody holds it.
    Held(&'a HeldSegment),
    /// It could not be removed.
    Leftover(&'a Leftover),
    /// It is to go, and waits.
    Due(&'a DueSegment),
    /// It goes next.
    Next(&'a NextSegment),
}

impl Entry<'_> {
    /// How it stands, in a word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Held(_) => "held",
            Self::Leftover(_) => "failed",
            Self::Due(_) => "waits",
            Self::Next(_) => "next",
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(self) -> String {
        let of = |topic: &str, partition: PartitionIndex, epoch: Epoch| {
            format!("{topic}/{partition} epoch {epoch}")
        };
        match self {
            Self::Held(one) => of(&one.topic, one.partition, one.epoch),
            Self::Leftover(one) => one.what.clone(),
            Self::Due(one) => of(&one.topic, one.partition, one.epoch),
            Self::Next(one) => of(&one.topic, one.partition, one.epoch),
        }
    }

    /// The partition whose chain it is, or was, of.
    #[must_use]
    pub fn partition(self) -> Option<PartitionName> {
        let (topic, partition) = match self {
            Self::Held(one) => (&one.topic, one.partition),
            Self::Leftover(_) => return None,
            Self::Due(one) => (&one.topic, one.partition),
            Self::Next(one) => (&one.topic, one.partition),
        };
        Some(PartitionName { topic: topic.clone(), partition })
    }

    /// Its length, where that is known.
    #[must_use]
    pub const fn bytes(self) -> Option<u64> {
        match self {
            Self::Held(one) => one.bytes,
            Self::Leftover(_) => None,
            Self::Due(one) => Some(one.bytes),
            Self::Next(one) => Some(one.bytes),
        }
    }

    const fn urgency(self) -> u8 {
        match self {
            Self::Held(_) => 0,
            Self::Leftover(_) => 1,
            Self::Due(_) => 2,
            Self::Next(_) => 3,
        }
    }
}

/// All that a node tells, in the order of its parts.
fn entries(gc: &GcVitals) -> impl Iterator<Item = Entry<'_>> {
    let look = gc.look.iter();
    let due = look.clone().flat_map(|look| &look.due).map(Entry::Due);
    let next = look.flat_map(|look| &look.next).map(Entry::Next);
    let failed = gc.leftovers.iter().map(Entry::Leftover);
    gc.held.iter().map(Entry::Held).chain(failed).chain(due).chain(next)
}

fn told(node: &NodeEntry) -> Option<&GcVitals> {
    node.vitals.as_ref()?.gc.as_ref()
}

/// What stands at a row: the node's place, and the entry's among what that tells.
#[must_use]
pub fn entry_at(snapshot: &Snapshot, row: (usize, usize)) -> Option<(&NodeEntry, Entry<'_>)> {
    let node = snapshot.nodes.get(row.0)?;
    Some((node, entries(told(node)?).nth(row.1)?))
}

/// The rows that pass, in that order.
pub(super) fn rows(snapshot: &Snapshot, filter: &str, order: usize) -> Vec<(usize, usize)> {
    let mut found: Vec<((usize, usize), Entry<'_>)> = Vec::new();
    for (at, node) in snapshot.nodes.iter().enumerate() {
        let Some(gc) = told(node) else { continue };
        let kept = entries(gc).enumerate().filter(|(_, entry)| {
            passes(filter, |text| {
                let id = node.node.node;
                entry.word() == text || id.to_string() == text || entry.name().contains(text)
            })
        });
        found.extend(kept.map(|(index, entry)| ((at, index), entry)));
    }
    match order {
        1 => found.sort_by_key(|(_, entry)| Reverse(entry.bytes())),
        2 => {}
        _ => found.sort_by_key(|(_, entry)| entry.urgency()),
    }
    found.into_iter().map(|(row, _)| row).collect()
}
