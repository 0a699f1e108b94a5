//! Which events were taken already.

use std::collections::{BTreeSet, VecDeque};

use super::Event;

/// Ids that are remembered: two nodes differ by what came in one batch, not by more.
const REPEATS_MAX: usize = 4_000;

/// The ids of the events that were taken last. Whoever follows a cluster over several nodes drops
/// by it what one tells that another told before.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    known: BTreeSet<String>,
    order: VecDeque<String>,
}

impl Repeats {
    /// Whether the event is taken for the first time; it counts as taken from now on.
    pub fn is_new(&mut self, event: &Event) -> bool {
        if !self.known.insert(event.id.clone()) {
            return false;
        }
        self.order.push_back(event.id.clone());
        if self.order.len() > REPEATS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use walrus_types::TimestampMs;

    use super::*;
    use crate::event::{EventKind, Seen, Severity};

    #[test]
    fn what_was_taken_is_taken_once_as_far_as_is_remembered() {
        let event = |id: usize| {
            let seen = Seen { version: 1, at_ms: TimestampMs(0) };
            Event::new(seen, (EventKind::Node, Severity::Info), id.to_string(), "n1", "is there")
        };
        let mut repeats = Repeats::default();
        for id in 0..=REPEATS_MAX {
            assert!(repeats.is_new(&event(id)));
            assert!(!repeats.is_new(&event(id)));
        }
        assert_eq!((repeats.known.len(), repeats.order.len()), (REPEATS_MAX, REPEATS_MAX));
        assert!(!repeats.is_new(&event(1)));
        assert!(repeats.is_new(&event(0)), "that is too long ago");
    }
}
