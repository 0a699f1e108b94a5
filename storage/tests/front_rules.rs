//! What the embedded log promises, one test each.

#![expect(clippy::unwrap_used, reason = "what fails in a test's helper fails the test")]

use std::path::Path;

use walrus_storage::{
    store::StoreConfig,
    wal::WalConfig,
    walrus::{FsyncSchedule, ReadConsistency, Walrus, WalrusBuilder, WalrusError},
};

fn builder(dir: &Path) -> WalrusBuilder {
    let wal = WalConfig { file_bytes: 1 << 20, files: 4, ..WalConfig::small() };
    let config =
        StoreConfig { wal, checkpoint_bytes: 256 << 10, reserve_bytes: 0, ..Default::default() };
    Walrus::builder().data_dir(dir).store(config)
}

fn read(log: &Walrus, topic: &str) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    while let Some(entry) = log.read_next(topic, true).unwrap() {
        all.push((entry.offset, String::from_utf8(entry.data.to_vec()).unwrap()));
    }
    all
}

#[test]
fn an_append_answers_its_offset_and_is_read_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = builder(dir.path()).open().unwrap();
    assert_eq!(log.append_for_topic("t", b"a").unwrap(), 0);
    assert_eq!(log.batch_append_for_topic("t", &[b"b", b"c"]).unwrap(), 1);
    assert_eq!(log.append_for_topic("t", b"").unwrap(), 3);
    assert_eq!(log.get_topic_entry_count("t").unwrap(), 4);
    let expected = [(0, "a"), (1, "b"), (2, "c"), (3, "")].map(|(o, t)| (o, t.to_owned()));
    assert_eq!(read(&log, "t"), expected);
    assert_eq!(log.read_next("t", true).unwrap(), None);
    assert_eq!(read(&log, "another"), []);
}

#[test]
fn a_read_without_checkpoint_does_not_advance() {
    let dir = tempfile::tempdir().unwrap();
    let log = builder(dir.path()).open().unwrap();
    log.batch_append_for_topic("t", &[b"a", b"b"]).unwrap();
    for _ in 0..3 {
        assert_eq!(log.read_next("t", false).unwrap().unwrap().offset, 0);
        assert_eq!(log.batch_read_for_topic("t", 1 << 20, false).unwrap().len(), 2);
    }
}

#[test]
fn a_batch_read_keeps_to_its_bytes_and_gives_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let log = builder(dir.path()).open().unwrap();
    let entry = [7u8; 100];
    log.batch_append_for_topic("t", &[&entry[..]; 10]).unwrap();
    for (bytes_max, expected) in [(0, 1), (99, 1), (100, 1), (299, 2), (100_000, 5)] {
        assert_eq!(log.batch_read_for_topic("t", bytes_max, true).unwrap().len(), expected);
    }
}

#[test]
fn a_cursor_survives_as_its_consistency_promises() {
    let cases = [
        (ReadConsistency::StrictlyAtOnce, 7),
        (ReadConsistency::AtLeastOnce { persist_every: 3 }, 6),
        (ReadConsistency::AtLeastOnce { persist_every: 0 }, 7),
    ];
    for (consistency, next) in cases {
        let dir = tempfile::tempdir().unwrap();
        let open = || builder(dir.path()).consistency(consistency).open().unwrap();
        let log = open();
        for _ in 0..10 {
            log.append_for_topic("t", b"x").unwrap();
        }
        for _ in 0..7 {
            log.read_next("t", true).unwrap().unwrap();
        }
        // The last append waits for all before it, the cursor's entries included.
        log.append_for_topic("t", b"x").unwrap();
        drop(log);
        let log = open();
        assert_eq!(log.read_next("t", true).unwrap().unwrap().offset, next, "{consistency:?}");
        log.close().unwrap();
        let log = open();
        let after = log.read_next("t", true).unwrap().unwrap().offset;
        assert_eq!(after, next + 1, "{consistency:?}: a close keeps the cursor");
    }
}

#[test]
fn every_entry_is_there_after_a_restart_whatever_the_schedule() {
    for schedule in
        [FsyncSchedule::SyncEach, FsyncSchedule::Milliseconds(5), FsyncSchedule::NoFsync]
    {
        let dir = tempfile::tempdir().unwrap();
        let open = || builder(dir.path()).fsync_schedule(schedule).open().unwrap();
        let log = open();
        for number in 0..200 {
            log.append_for_topic("t", format!("{number}").as_bytes()).unwrap();
        }
        log.close().unwrap();
        let all = read(&open(), "t");
        assert_eq!(all.len(), 200, "{schedule:?}");
        assert!(all.iter().all(|(offset, text)| offset.to_string() == *text), "{schedule:?}");
    }
}

#[test]
fn files_that_were_read_are_pruned_and_the_rest_is_read_on() {
    let dir = tempfile::tempdir().unwrap();
    let open = || builder(dir.path()).segment_bytes(1000).open().unwrap();
    let log = open();
    for number in 0..50 {
        log.append_for_topic("t", format!("{number:0>100}").as_bytes()).unwrap();
    }
    for _ in 0..30 {
        log.read_next("t", true).unwrap().unwrap();
    }
    let pruned = log.prune_read("t").unwrap();
    assert!(pruned >= 3, "{pruned} files");
    assert_eq!(log.prune_read("t").unwrap(), 0);
    drop(log);
    let log = open();
    assert_eq!(log.append_for_topic("t", b"more").unwrap(), 50);
    let rest = read(&log, "t");
    assert_eq!((rest.len(), rest[0].0), (21, 30));
}

#[test]
fn keys_and_long_names_do_not_meet() {
    let dir = tempfile::tempdir().unwrap();
    let one = builder(dir.path()).key("a/../b").open().unwrap();
    let other = builder(dir.path()).key("ab").open().unwrap();
    let long = "a topic's name ".repeat(100);
    one.append_for_topic(&long, b"one").unwrap();
    other.append_for_topic(&long, b"other").unwrap();
    assert_eq!(read(&one, &long), [(0, "one".to_owned())]);
    assert_eq!(read(&other, &long), [(0, "other".to_owned())]);
}

#[test]
fn what_fits_in_no_batch_is_refused_and_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = builder(dir.path()).open().unwrap();
    let large = vec![0; 65 << 20];
    for size in [2 << 20, 65 << 20] {
        let refused = log.append_for_topic("t", &large[..size]);
        assert!(matches!(refused, Err(WalrusError::TooLarge { .. })), "{size}: {refused:?}");
    }
    let refused = log.batch_append_for_topic("t", &[]);
    assert!(matches!(refused, Err(WalrusError::EmptyBatch)), "{refused:?}");
    assert_eq!(log.append_for_topic("t", b"small").unwrap(), 0);
}

#[test]
fn threads_append_to_one_topic_and_every_entry_has_its_own_offset() {
    let dir = tempfile::tempdir().unwrap();
    let log = builder(dir.path()).segment_bytes(10_000).open().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..50 {
                    let text = format!("{thread} {number}");
                    log.append_for_topic("t", text.as_bytes()).unwrap();
                }
            });
        }
    });
    let all = read(&log, "t");
    assert!((0..200).eq(all.iter().map(|(offset, _)| *offset)));
    for thread in 0..4 {
        let own = all.iter().filter_map(|(_, text)| text.strip_prefix(&format!("{thread} ")));
        assert!(own.map(|number| number.parse::<i32>().unwrap()).eq(0..50));
    }
}
