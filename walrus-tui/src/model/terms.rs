//! Who led the metadata group, and since when.

use std::collections::VecDeque;

use walrus_admin::{
    event::{Event, EventKind},
    snapshot::Snapshot,
};
use walrus_types::{NodeId, TimestampMs};

/// Terms that are kept; the oldest go.
pub const TERMS_MAX: usize = 64;

/// A term that somebody led.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    /// Its number.
    pub term: u64,
    /// Who led it.
    pub leader: NodeId,
    /// Since when, or when it was first seen.
    pub at: TimestampMs,
}

/// Terms by their numbers. Those that nobody led, or that nobody told of, are missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms(VecDeque<Term>);

impl Terms {
    /// They, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &Term> {
        self.0.iter()
    }

    /// An event may tell of an election.
    pub fn event(&mut self, event: &Event) {
        if let (EventKind::Raft, Some(leader), Some(term)) = (event.kind, event.node, event.term) {
            self.note(Term { term, leader, at: event.at_ms });
        }
    }

    /// A snapshot tells who leads now.
    pub fn snapshot(&mut self, snapshot: &Snapshot) {
        let group = &snapshot.group;
        if let Some(leader) = group.leader {
            self.note(Term { term: group.term, leader, at: snapshot.at_ms });
        }
    }

    /// Who was told of a term later knows its beginning no better.
    fn note(&mut self, told: Term) {
        match self.0.binary_search_by_key(&told.term, |known| known.term) {
            Ok(at) => self.0[at].at = self.0[at].at.min(told.at),
            Err(at) => {
                self.0.insert(at, told);
                if self.0.len() > TERMS_MAX {
                    self.0.pop_front();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use walrus_admin::event::{Seen, derive::elected};

    use super::*;
    use crate::source::simulated::{Simulated, Size};

    fn told(terms: &mut Terms, term: u64, leader: i32, at: i64) {
        let mut events = Vec::new();
        let seen = Seen { version: 1, at_ms: TimestampMs(at) };
        elected(seen, NodeId(leader), term, &mut events);
        terms.event(&events[0]);
    }

    fn kept(terms: &Terms) -> Vec<(u64, i32, i64)> {
        terms.iter().map(|one| (one.term, one.leader.0, one.at.0)).collect()
    }

    #[test]
    fn the_past_that_is_told_later_stands_before_what_was_seen() {
        let mut snapshot = Simulated::new(1, Size { nodes: 3, partitions: 1 }).snapshot();
        (snapshot.group.term, snapshot.at_ms) = (7, TimestampMs(900));
        snapshot.group.leader = Some(NodeId(2));
        let mut terms = Terms::default();
        terms.snapshot(&snapshot);
        told(&mut terms, 7, 2, 500);
        told(&mut terms, 3, 1, 100);
        snapshot.at_ms = TimestampMs(1_000);
        terms.snapshot(&snapshot);
        assert_eq!(kept(&terms), [(3, 1, 100), (7, 2, 500)]);
        snapshot.group.leader = None;
        snapshot.group.term = 8;
        terms.snapshot(&snapshot);
        assert_eq!(terms.iter().count(), 2, "nobody leads that one");
    }

    #[test]
    fn no_more_terms_are_kept_than_there_is_room_for() {
        let mut terms = Terms::default();
        let many = TERMS_MAX as u64 + 5;
        (1..=many).for_each(|term| told(&mut terms, term, 1, 10));
        assert_eq!(kept(&terms).first(), Some(&(6, 1, 10)));
        assert_eq!(terms.iter().count(), TERMS_MAX);
    }
}
