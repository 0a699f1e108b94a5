//! Versions of the metadata that were, so that what changed since can be told.
//!
//! Somebody who knows a version is told what changed since the newest one here that is not newer:
//! that is all that they do not know, and perhaps a little that they do. So a version that another
//! node told can be gone on from at this one.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use walrus_metadata::Metadata;
use walrus_types::UptimeMs;

/// Versions that are remembered. Who knows only an older one is told everything.
const VIEWS_MAX: usize = 64;
/// One is remembered so often at most, and each that was told beside it.
const EVERY_MS: u64 = 1_000;

/// Versions by their numbers, the newest last. They share what did not change between them.
#[derive(Debug, Default)]
pub struct Views(Mutex<Remembered>);

#[derive(Debug, Default)]
struct Remembered {
    views: VecDeque<Arc<Metadata>>,
    passed_at: Option<UptimeMs>,
}

impl Views {
    /// The newest remembered one that is not newer than `version`, of which somebody is to be told
    /// what changed up to `now`. `None` of versions that are older than all, or newer than `now`.
    pub fn not_after(&self, version: u64, now: &Metadata) -> Option<Arc<Metadata>> {
        let kept = self.0.lock();
        let mut known = kept.views.iter().rev().filter(|_| version <= now.applied());
        known.find(|view| view.applied() <= version).cloned()
    }

    /// Remembers a version that is told to somebody.
    pub fn told(&self, view: &Arc<Metadata>) {
        self.0.lock().take(view);
    }

    /// Remembers a version that this node came to, if it is a while since the last.
    pub fn passed(&self, view: &Arc<Metadata>, now: UptimeMs) {
        let mut kept = self.0.lock();
        if kept.passed_at.is_none_or(|at| now.since(at) >= EVERY_MS) {
            kept.passed_at = Some(now);
            kept.take(view);
        }
    }
}

impl Remembered {
    fn take(&mut self, view: &Arc<Metadata>) {
        let Err(at) = self.views.binary_search_by_key(&view.applied(), |known| known.applied())
        else {
            return;
        };
        self.views.insert(at, Arc::clone(view));
        if self.views.len() > VIEWS_MAX {
            self.views.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use walrus_metadata::Command;

    use super::*;

    /// Versions 1 to `last`.
    fn versions(last: usize) -> Vec<Arc<Metadata>> {
        let mut metadata = Metadata::default();
        let mut next = || {
            let nothing = Command::DeleteTopics(Vec::new());
            drop(metadata.apply(metadata.applied() + 1, &nothing));
            Arc::new(metadata.clone())
        };
        (0..last).map(|_| next()).collect()
    }

    fn found(views: &Views, version: u64, now: &Metadata) -> Option<u64> {
        views.not_after(version, now).map(|view| view.applied())
    }

    #[test]
    fn the_newest_version_that_is_not_newer_is_given() {
        let (views, all) = (Views::default(), versions(9));
        let now = &all[8];
        assert_eq!(found(&views, 5, now), None, "nothing is remembered");
        // Looks at older versions may end later.
        for at in [3, 7, 5, 7] {
            views.told(&all[at - 1]);
        }
        for (version, expected) in
            [(2, None), (3, Some(3)), (4, Some(3)), (5, Some(5)), (6, Some(5)), (9, Some(7))]
        {
            assert_eq!(found(&views, version, now), expected, "{version}");
        }
        assert_eq!(found(&views, 10, now), None, "it is still to come here");
    }

    #[test]
    fn versions_in_between_are_remembered_once_in_a_while() {
        let (views, all) = (Views::default(), versions(6));
        let times = [0, 400, 999, 1_000, 1_500, 2_600];
        for (view, at_ms) in all.iter().zip(times) {
            views.passed(view, UptimeMs(50 + at_ms));
        }
        let kept: Vec<u64> =
            (1..=6).filter(|at| found(&views, *at, &all[5]) == Some(*at)).collect();
        assert_eq!(kept, [1, 4, 6]);
    }

    #[test]
    fn as_many_versions_are_remembered_as_there_is_room_for() {
        let (views, all) = (Views::default(), versions(VIEWS_MAX + 1));
        for view in &all {
            views.told(view);
            views.told(view);
        }
        let now = &all[VIEWS_MAX];
        assert_eq!(found(&views, 1, now), None, "it went");
        assert!((2..=now.applied()).all(|at| found(&views, at, now) == Some(at)));
    }
}
