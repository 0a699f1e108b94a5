//! The newest events, and from which version on all are there. Pure.

use std::{collections::VecDeque, sync::Arc};

use walrus_admin::event::Event;

/// Events in the order of their versions; the oldest go when there is no room.
#[derive(Debug)]
pub(super) struct Ring {
    events: VecDeque<Arc<Event>>,
    max: usize,
    /// All events of greater versions are here.
    since: u64,
    /// Up to which version it was told what changed.
    through: u64,
}

/// Some of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// They.
    pub events: Vec<Arc<Event>>,
    /// Whether some that were asked for are kept no longer.
    pub truncated: bool,
    /// Up to which version all is here that is kept and was asked for.
    pub through: u64,
    /// Whether there is more behind that.
    pub is_more: bool,
}

impl Ring {
    pub(super) const fn new(max: usize) -> Self {
        Self { events: VecDeque::new(), max, since: 0, through: 0 }
    }

    /// Begins with what a first view tells of the past: nothing is known of what led there.
    pub(super) fn begin(&mut self, events: Vec<Event>, version: u64) {
        self.since = version;
        self.take(events, version);
    }

    /// What a view of that version tells. Versions never fall.
    pub(super) fn take(&mut self, events: Vec<Event>, version: u64) {
        assert!(version >= self.through, "told up to {}, then of {version}", self.through);
        self.through = version;
        for event in events {
            if self.events.len() == self.max
                && let Some(gone) = self.events.pop_front()
            {
                self.since = self.since.max(gone.version);
            }
            self.events.push_back(Arc::new(event));
        }
    }

    /// Events of greater versions than `after`, `limit` of them and the rest of the last one's
    /// version; without `after` the newest `limit`.
    pub(super) fn page(&self, after: Option<u64>, limit: usize) -> Page {
        let Some(after) = after else {
            let from = self.events.len().saturating_sub(limit);
            let events = self.events.range(from..).cloned().collect();
            return Page { events, truncated: false, through: self.through, is_more: false };
        };
        let from = self.events.partition_point(|event| event.version <= after);
        let mut end = self.events.len().min(from.saturating_add(limit.max(1)));
        // Who goes on after a version must not miss the rest of it.
        while end < self.events.len() && self.events[end].version == self.events[end - 1].version {
            end += 1;
        }
        let is_more = end < self.events.len();
        let events: Vec<Arc<Event>> = self.events.range(from..end).cloned().collect();
        let last = events.last().filter(|_| is_more).map(|last| last.version);
        Page {
            events,
            truncated: after < self.since,
            through: last.unwrap_or(self.through),
            is_more,
        }
    }
}

#[cfg(test)]
mod tests {
    use walrus_admin::event::{EventKind, Seen, Severity};
    use walrus_types::TimestampMs;

    use super::*;

    fn events(version: u64, count: usize) -> Vec<Event> {
        let seen = Seen { version, at_ms: TimestampMs(0) };
        let what = (EventKind::Node, Severity::Info);
        (0..count).map(|at| Event::new(seen, what, format!("{version}/{at}"), "n1", "x")).collect()
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.events.iter().map(|event| event.id.as_str()).collect()
    }

    #[test]
    fn a_page_ends_with_a_version_and_the_next_begins_behind_it() {
        let mut ring = Ring::new(100);
        ring.begin(events(5, 1), 5);
        for (version, count) in [(6, 1), (8, 3), (9, 2), (12, 0)] {
            ring.take(events(version, count), version);
        }
        let page = ring.page(Some(5), 2);
        assert_eq!(ids(&page), ["6/0", "8/0", "8/1", "8/2"]);
        assert_eq!((page.truncated, page.through, page.is_more), (false, 8, true));
        let page = ring.page(Some(page.through), 2);
        assert_eq!((ids(&page), page.through, page.is_more), (vec!["9/0", "9/1"], 12, false));
        let page = ring.page(Some(12), 2);
        assert_eq!((ids(&page), page.through, page.is_more), (vec![], 12, false));
        assert_eq!(ids(&ring.page(None, 3)), ["8/2", "9/0", "9/1"]);
    }

    #[test]
    fn what_is_kept_no_longer_is_said_to_be_missing() {
        let mut ring = Ring::new(3);
        ring.begin(events(5, 1), 5);
        // Of what was before its first view the ring knows nothing for sure.
        for (after, truncated) in [(0, true), (4, true), (5, false), (7, false)] {
            assert_eq!(ring.page(Some(after), 10).truncated, truncated, "after {after}");
        }
        ring.take(events(6, 3), 6);
        assert!(!ring.page(Some(5), 10).truncated, "what went is of the past");
        ring.take(events(7, 1), 7);
        for (after, truncated) in [(5, true), (6, false)] {
            assert_eq!(ring.page(Some(after), 10).truncated, truncated, "after {after}");
        }
        assert_eq!(ring.events.len(), 3);
    }
}
