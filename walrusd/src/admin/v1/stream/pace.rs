//! When a watcher is told what. Pure: times go in, what is due comes out.
//!
//! Deltas wait for a change and come once in `every_ms` in the long run; after a rest a few may
//! follow each other, for what happens comes in steps: a node is fenced, then its segments are
//! sealed. Vitals come at times that all watchers of the same distance share, so that they are put
//! together once for all.

use walrus_admin::snapshot::LONG_EVERY_MS;
use walrus_types::UptimeMs;

use super::{
    asked::Asked,
    lists::{LIST_MS, List},
};

/// A watcher that is told nothing for so long hears that the node is there.
pub(super) const HEARTBEAT_MS: u64 = 10_000;

/// Deltas that may follow each other after a rest.
const DELTAS_AT_ONCE: u64 = 3;
/// They keep this part of the distance even then.
const CLOSEST: u64 = 10;

/// What is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// What changed.
    Delta,
    /// What nodes say of themselves.
    Vitals,
    /// A list, which is to be asked for.
    List(List),
    /// A sign of life.
    Heartbeat,
    /// Nothing for so many milliseconds, unless something changes.
    Nothing(u64),
}

/// The times of one watcher.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pace {
    every_ms: u64,
    /// No delta before.
    delta_from: UptimeMs,
    /// When the deltas that were told would have been told, each at its distance from the last.
    told_until: UptimeMs,
    /// When vitals are due, if they are wanted.
    vitals_at: Option<UptimeMs>,
    /// When each list is due, if it is wanted.
    lists_at: [Option<UptimeMs>; List::ALL.len()],
    /// Whether a delta has the vitals in it.
    has_vitals: bool,
    /// Vitals are told in short before.
    all_from: UptimeMs,
    heartbeat_at: UptimeMs,
}

impl Pace {
    /// Of a watcher that has heard nothing yet.
    pub(super) fn new(asked: &Asked, now: UptimeMs) -> Self {
        Self {
            every_ms: asked.every_ms,
            delta_from: now,
            told_until: now,
            vitals_at: asked.vitals.then_some(now),
            lists_at: asked.lists.map(|wanted| wanted.then_some(now)),
            has_vitals: asked.snapshots,
            all_from: now,
            heartbeat_at: UptimeMs(now.0 + HEARTBEAT_MS),
        }
    }

    /// What is due now; `changed` is whether there is a version that was not told.
    pub(super) fn due(&self, now: UptimeMs, changed: bool) -> Due {
        let is_due = |at: UptimeMs| now >= at;
        // To ask takes no time, and what is told comes when it is there.
        let list = |list: &List| self.lists_at[list.place()].is_some_and(is_due);
        if let Some(list) = List::ALL.into_iter().find(list) {
            return Due::List(list);
        }
        if changed && is_due(self.delta_from) {
            return Due::Delta;
        }
        if self.vitals_at.is_some_and(is_due) {
            return Due::Vitals;
        }
        if is_due(self.heartbeat_at) {
            return Due::Heartbeat;
        }
        let delta = changed.then_some(self.delta_from);
        let next = [delta, self.vitals_at].into_iter().chain(self.lists_at).flatten().min();
        let next = next.map_or(self.heartbeat_at, |next| next.min(self.heartbeat_at));
        Due::Nothing(next.since(now).max(1))
    }

    /// Whether all that nodes say is told now.
    pub(super) fn tells_all(&self, now: UptimeMs) -> bool {
        now >= self.all_from
    }

    /// It was.
    pub(super) fn told_all(&mut self, now: UptimeMs) {
        self.all_from = next_shared(self.every_ms.max(LONG_EVERY_MS), now);
    }

    /// Something was told.
    pub(super) fn told(&mut self, what: Due, now: UptimeMs) {
        match what {
            Due::Delta => {
                self.told_until = UptimeMs(self.told_until.max(now).0 + self.every_ms);
                let ahead = (DELTAS_AT_ONCE - 1) * self.every_ms;
                let closest = now.0 + self.every_ms / CLOSEST;
                self.delta_from = UptimeMs(closest.max(self.told_until.0.saturating_sub(ahead)));
                if self.has_vitals {
                    self.vitals_told(now);
                }
            }
            Due::Vitals => self.vitals_told(now),
            Due::List(list) => {
                let next = next_shared(self.every_ms.max(LIST_MS), now);
                self.lists_at[list.place()] = self.lists_at[list.place()].map(|_| next);
                // What was asked for is not told yet.
                return;
            }
            Due::Heartbeat | Due::Nothing(_) => {}
        }
        self.heartbeat_at = UptimeMs(now.0 + HEARTBEAT_MS);
    }

    fn vitals_told(&mut self, now: UptimeMs) {
        let next = next_shared(self.every_ms, now);
        self.vitals_at = self.vitals_at.map(|_| next);
    }
}

/// The next of the times that all of that distance share.
const fn next_shared(every_ms: u64, now: UptimeMs) -> UptimeMs {
    UptimeMs((now.0 / every_ms + 1) * every_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: UptimeMs = UptimeMs(10_300);

    fn pace(query: &str, now: UptimeMs) -> Pace {
        let uri = format!("/v1/stream?{query}").parse().unwrap();
        Pace::new(&Asked::read(&uri, &axum::http::HeaderMap::new()).unwrap(), now)
    }

    /// When deltas are told of something that changes all the time.
    fn told(pace: &mut Pace, from: u64, until: u64) -> Vec<u64> {
        let mut times = Vec::new();
        for at in from..until {
            if pace.due(UptimeMs(at), true) == Due::Delta {
                pace.told(Due::Delta, UptimeMs(at));
                times.push(at - from);
            }
        }
        times
    }

    #[test]
    fn after_a_rest_a_few_follow_each_other_and_then_they_keep_their_distance() {
        let mut pace = pace("kinds=snapshot,event", AT);
        assert_eq!(told(&mut pace, AT.0, AT.0 + 4_000), [0, 100, 200, 1_000, 2_000, 3_000]);
        // In a rest of two distances one more is earned.
        assert_eq!(told(&mut pace, AT.0 + 5_000, AT.0 + 7_500), [0, 100, 1_000, 2_000]);
        assert_eq!(told(&mut pace, AT.0 + 60_000, AT.0 + 61_500), [0, 100, 200, 1_000]);
    }

    #[test]
    fn without_a_change_only_the_heartbeat_is_told() {
        let mut pace = pace("kinds=snapshot,event", AT);
        pace.told(Due::Delta, AT);
        for (later, changed, expected) in [
            (1, true, Due::Nothing(99)),
            (1, false, Due::Nothing(9_999)),
            (99, true, Due::Nothing(1)),
            (100, true, Due::Delta),
            (5_000, false, Due::Nothing(5_000)),
            (10_000, false, Due::Heartbeat),
        ] {
            assert_eq!(pace.due(UptimeMs(AT.0 + later), changed), expected, "{later} {changed}");
        }
    }

    #[test]
    fn vitals_come_at_times_that_all_share() {
        for begin in [10_001, 10_300, 10_999] {
            let mut pace = pace("", UptimeMs(begin));
            pace.told(Due::Delta, UptimeMs(begin));
            assert_eq!(pace.due(UptimeMs(begin), false), Due::Nothing(11_000 - begin));
            assert_eq!(pace.due(UptimeMs(11_000), false), Due::Vitals);
            pace.told(Due::Vitals, UptimeMs(11_003));
            assert_eq!(pace.due(UptimeMs(11_003), false), Due::Nothing(997));
        }
    }

    #[test]
    fn lists_are_asked_for_first_and_at_a_slower_pace() {
        let mut pace = pace("kinds=snapshot,vitals,group,client&every_ms=250", AT);
        for list in List::ALL {
            assert_eq!(pace.due(AT, true), Due::List(list));
            pace.told(Due::List(list), AT);
        }
        assert_eq!(pace.due(AT, false), Due::Vitals);
        pace.told(Due::Vitals, AT);
        assert_eq!(pace.due(AT, false), Due::Nothing(200), "the next vitals");
        pace.told(Due::Vitals, UptimeMs(11_999));
        assert_eq!(pace.due(UptimeMs(11_999), false), Due::Nothing(1));
        pace.told(Due::Vitals, UptimeMs(12_000));
        assert_eq!(pace.due(UptimeMs(12_000), false), Due::List(List::Groups));
    }

    #[test]
    fn all_of_vitals_is_told_at_once_and_then_at_a_distance_of_its_own() {
        for (every_ms, vitals_at, expected) in [
            (250, [10_300, 10_500, 14_750, 15_000, 15_250], &[10_300, 15_000][..]),
            (1_000, [10_300, 11_000, 15_000, 16_000, 20_100], &[10_300, 15_000, 20_100]),
            (
                10_000,
                [10_300, 20_000, 30_000, 40_000, 50_000],
                &[10_300, 20_000, 30_000, 40_000, 50_000],
            ),
        ] {
            let mut pace = pace(&format!("every_ms={every_ms}"), AT);
            let mut told = Vec::new();
            for at in vitals_at {
                if pace.tells_all(UptimeMs(at)) {
                    pace.told_all(UptimeMs(at));
                    told.push(at);
                }
            }
            assert_eq!(told, expected, "every {every_ms} ms");
        }
    }

    #[test]
    fn events_do_not_put_off_vitals() {
        let mut pace = pace("kinds=event,vitals", AT);
        pace.told(Due::Delta, AT);
        assert_eq!(pace.due(AT, false), Due::Vitals);
    }

    #[test]
    fn a_watcher_that_was_slow_is_told_the_newest_once() {
        let mut pace = pace("", AT);
        pace.told(Due::Delta, AT);
        let late = UptimeMs(AT.0 + 60_000);
        assert_eq!(pace.due(late, true), Due::Delta);
        pace.told(Due::Delta, late);
        assert!(matches!(pace.due(late, false), Due::Nothing(_)));
    }
}
