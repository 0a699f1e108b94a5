//! When a file of the ring may be written again, step by step on a simulated disk.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::{path::Path, sync::Arc};

use bytes::Bytes;
use walrus_storage::{
    disk::SimDisk,
    wal::{Entry, EntryHead, Lsn, Wal, WalConfig, WalDriver, WalOpened, WalStep},
};

const DIR: &str = "/node/wal";
const PAGE: usize = 4096;

/// Two files, of which each holds six pages of groups.
fn open(disk: &SimDisk) -> (Wal, WalDriver, WalOpened) {
    let config = WalConfig {
        file_bytes: 32 << 10,
        files: 2,
        group_bytes_max: 16 << 10,
        groups_in_flight: 4,
        queue_bytes_max: 1 << 20,
        idle_mark_ms: 0,
    };
    let disk = Arc::new(disk.clone());
    Wal::open_inline(disk, Path::new(DIR), config, &mut |_| Ok(())).unwrap()
}

/// Begins a group of so many pages.
fn begin(wal: &Wal, driver: &mut WalDriver, pages: usize) {
    let body = Bytes::from(vec![7; (pages - 1) * PAGE + 100]);
    wal.append(Entry { kind: 16, head: EntryHead::new(b"any"), body }, Box::new(drop)).unwrap();
    assert!(driver.take(WalStep::Begin));
}

fn content(disk: &SimDisk, file: u32) -> Vec<u8> {
    disk.content(Path::new(&format!("{DIR}/{file:04}.wal"))).unwrap()
}

/// Recovery may begin where a torn group says, for that was true. But with the group its word is
/// gone from the disk, and the next recovery looks for what it called released.
#[test]
fn a_file_is_not_written_again_on_the_word_of_a_group_that_was_cut() {
    let disk = SimDisk::new(1);
    let (wal, mut driver, _) = open(&disk);
    while driver.take(WalStep::Fill) {}
    for _ in 0..3 {
        begin(&wal, &mut driver, 3);
        while driver.take(WalStep::Complete) {}
    }
    // All that the first file holds.
    wal.release(Lsn(3));
    begin(&wal, &mut driver, 1);
    drop((wal, driver));
    let torn_at = 4 * PAGE as u64 + 150;
    disk.flip(&Path::new(DIR).join("0001.wal"), torn_at, 1).unwrap();

    let (wal, mut driver, opened) = open(&disk);
    assert_eq!((opened.from, opened.cut.unwrap().lsn), (Lsn(3), Lsn(4)));
    let first_file = content(&disk, 0);
    begin(&wal, &mut driver, 4);
    assert!(content(&disk, 0) == first_file, "nothing durable says that it is released");
    while driver.step() {}
    assert!(content(&disk, 0) != first_file, "a mark says so now");
    drop((wal, driver));
    let (_, _, opened) = open(&disk);
    assert_eq!((opened.from, opened.damage), (Lsn(3), Vec::new()));
}
