//! What was pruned says who holds it, and what could not be removed is told until it is.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

#[expect(dead_code, reason = "other tests use the rest")]
mod store_support;

use std::{fs, sync::Arc};

use store_support::{config, fill, id, log_path, open, open_with, partition};
use walrus_storage::{
    segment::{HOLDERS_MAX, Purpose, Segment, Whose},
    store::{GoneStats, PrunedHeld, Removal, Store, StoreConfig},
};
use walrus_types::Offset;

/// A sealed segment, all of it in its file; its length.
fn sealed(store: &Store, segment: &Arc<Segment>) -> u64 {
    fill(segment, 10);
    segment.seal(Offset(30)).unwrap();
    while store.stats().unwritten_bytes > 0 {
        std::thread::yield_now();
    }
    segment.bytes().unwrap()
}

/// As soon as the writer has let go, which it does by itself.
fn settled(store: &Store, is_right: impl Fn(&GoneStats) -> bool) -> GoneStats {
    loop {
        let stats = store.stats().gone;
        let writes = |held: &PrunedHeld| {
            held.on_disk || held.holders.iter().any(|holder| holder.purpose == Purpose::Write)
        };
        if !stats.held.iter().any(writes) && is_right(&stats) {
            return stats;
        }
        std::thread::yield_now();
    }
}

#[test]
fn a_pruned_segment_names_who_holds_it_until_they_let_go() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let segment = store.segment(id(0, 0, 1));
    let bytes = sealed(&store, &segment);
    let whose: Whose = Arc::new("client c7 at 10.0.0.9:4000");
    let reader = segment.held_for(Purpose::Read, Some(whose));
    let copy = store.segment_for(id(0, 0, 1), Purpose::Copy, None);
    let again = reader.clone();
    drop(segment);
    assert!(store.stats().gone.held.is_empty(), "what is not pruned is not told");

    store.prune(id(0, 0, 1)).unwrap();
    let told = settled(&store, |gone| gone.held.len() == 1 && gone.held[0].unnamed == 0);
    let held = &told.held[0];
    assert_eq!((held.id, held.bytes), (id(0, 0, 1), Some(bytes)));
    let names = |held: &PrunedHeld| -> Vec<(Purpose, Option<String>)> {
        let holders = held.holders.iter();
        holders.map(|one| (one.purpose, one.whose.as_ref().map(ToString::to_string))).collect()
    };
    let client = (Purpose::Read, Some("client c7 at 10.0.0.9:4000".to_owned()));
    assert_eq!(names(held), [client.clone(), (Purpose::Copy, None)]);
    assert_eq!((told.freed_segments, told.freed_bytes), (1, bytes));

    drop((copy, again));
    let told = settled(&store, |gone| gone.held.len() == 1);
    assert_eq!(names(&told.held[0]), [client], "a clone of a handle is the same holder");
    drop(reader);
    assert!(settled(&store, |_| true).held.is_empty());
}

#[test]
fn a_log_that_the_writer_has_open_is_on_the_disk_until_it_is_flushed() {
    let dir = tempfile::tempdir().unwrap();
    let late = StoreConfig { checkpoint_age_ms: 600_000, ..config() };
    let store = open_with(dir.path(), late).0;
    let bytes = sealed(&store, &store.segment(id(0, 0, 1)));
    store.prune(id(0, 0, 1)).unwrap();
    let told = loop {
        let gone = store.stats().gone;
        // The handles are let go of when the writer hears of it.
        if matches!(&gone.held[..], [held] if held.unnamed == 0) {
            break gone;
        }
        std::thread::yield_now();
    };
    let held = &told.held[0];
    assert!(held.on_disk && !log_path(dir.path(), id(0, 0, 1)).try_exists().unwrap(), "{held:?}");
    assert_eq!((held.bytes, held.holders.len()), (Some(bytes), 1), "{held:?}");
    assert_eq!(held.holders[0].purpose, Purpose::Write);
}

#[test]
fn of_very_many_holders_the_rest_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    sealed(&store, &store.segment(id(0, 0, 1)));
    let held = |_| store.segment_for(id(0, 0, 1), Purpose::Lookup, None);
    let all: Vec<_> = (0..HOLDERS_MAX + 3).map(held).collect();
    store.prune(id(0, 0, 1)).unwrap();
    let told = settled(&store, |gone| gone.held.len() == 1 && gone.held[0].unnamed == 3);
    assert_eq!(told.held[0].holders.len(), HOLDERS_MAX);
    drop(all);
    assert!(settled(&store, |_| true).held.is_empty());
}

#[test]
fn what_is_removed_is_counted_once_however_it_goes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let one = sealed(&store, &store.segment(id(0, 0, 1)));
    let two = sealed(&store, &store.segment(id(1, 0, 1)));
    store.remove_partition(partition(0)).unwrap();
    store.prune(id(0, 0, 1)).unwrap();
    store.remove_topic(partition(1).topic).unwrap();
    store.remove_topic(partition(1).topic).unwrap();
    let gone = store.stats().gone;
    assert_eq!((gone.freed_segments, gone.freed_bytes), (2, one + two));
}

#[test]
fn what_could_not_be_removed_is_told_until_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    // A directory in the place of a file cannot be unlinked.
    let in_the_way = log_path(dir.path(), id(0, 0, 1));
    fs::create_dir_all(&in_the_way).unwrap();
    for _try in 0..2 {
        store.prune(id(0, 0, 1)).unwrap_err();
        let leftovers = store.stats().gone.leftovers;
        let what: Vec<Removal> = leftovers.iter().map(|leftover| leftover.what).collect();
        assert_eq!(what, [Removal::Segment(id(0, 0, 1))]);
        assert!(!leftovers[0].why.is_empty());
    }
    fs::remove_dir(&in_the_way).unwrap();
    store.prune(id(0, 0, 1)).unwrap();
    assert!(store.stats().gone.leftovers.is_empty());
    assert_eq!(store.stats().gone.freed_segments, 0, "there was nothing to free");
}
