//! What opening says about files that are missing, cut, foreign, newer or rotten.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod wal_image;

use crc_fast::crc32_iscsi;
use wal_image::{open, valid};
use walrus_storage::wal::{Lsn, WalOpened};

/// Spoils a valid ring and compares what opening it says.
#[track_caller]
fn refused(spoil: impl FnOnce(&mut Vec<Vec<u8>>), expected: &[&str]) {
    let mut files = valid();
    spoil(&mut files);
    let said = open(&files).unwrap_err().to_string();
    for part in expected {
        assert!(said.contains(part), "{said:?} does not say {part:?}");
    }
}

/// As [`refused`], for what must open.
fn opened(spoil: impl FnOnce(&mut Vec<Vec<u8>>)) -> WalOpened {
    let mut files = valid();
    spoil(&mut files);
    open(&files).unwrap()
}

/// The place of the group with this number: its file and offset.
fn place_of(files: &[Vec<u8>], lsn: Lsn) -> (usize, usize) {
    let places = files.iter().enumerate().flat_map(|(file, bytes)| {
        (4096..bytes.len()).step_by(4096).map(move |at| (file, at, bytes))
    });
    let mut found = places.filter(|(_, at, bytes)| {
        bytes[*at..].starts_with(b"WGr\x01") && bytes[at + 40..at + 48] == lsn.0.to_le_bytes()
    });
    let (file, at, _) = found.next_back().unwrap();
    (file, at)
}

#[test]
fn a_newer_version_is_refused_by_number() {
    let newer = |files: &mut Vec<Vec<u8>>| {
        files[1][12] = 9;
        let crc = crc32_iscsi(&files[1][12..4096]);
        files[1][8..12].copy_from_slice(&crc.to_le_bytes());
    };
    refused(newer, &["0001.wal", "version 9", "up to 1", "start the version that wrote it"]);
}

#[test]
fn a_foreign_file_is_refused_by_name() {
    refused(
        |files| files[2][0..8].fill(b'x'),
        &["0002.wal", "does not begin as one", "move it away"],
    );
}

#[test]
fn a_file_that_was_cut_is_refused_with_both_lengths() {
    refused(|files| files[1].truncate(20_000), &["0001.wal", "20000", "32768"]);
}

#[test]
fn a_file_of_another_ring_is_refused() {
    let other = valid();
    refused(|files| files[1].clone_from(&other[1]), &["0001.wal", "another write-ahead log"]);
}

#[test]
fn a_renamed_file_is_refused() {
    refused(|files| files.swap(0, 1), &["0000.wal", "file 1", "renamed"]);
}

#[test]
fn a_damaged_file_header_is_mended_from_the_others() {
    let whole = opened(|_| {});
    let mended = opened(|files| files[0][100] ^= 1);
    assert_eq!((mended.entries, mended.damage.len()), (whole.entries, 0));
}

#[test]
fn a_header_that_no_other_file_tells_is_refused() {
    refused(|files| files.iter_mut().for_each(|file| file[100] ^= 1), &["0000.wal", "damaged"]);
}

#[test]
fn a_rotten_body_is_named_by_its_head_and_nothing_else_is_lost() {
    let whole = opened(|_| {});
    let found = opened(|files| {
        let (file, at) = place_of(files, Lsn(whole.next.0 - 6));
        let used = u32::from_le_bytes(files[file][at + 20..at + 24].try_into().unwrap());
        files[file][at + used as usize - 1] ^= 1;
    });
    let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
    assert_eq!((damage.first, damage.last), (Lsn(whole.next.0 - 6), Lsn(whole.next.0 - 6)));
    assert_eq!((damage.entries_named, damage.entries_lost), (1, Some(0)));
    assert_eq!((found.entries, found.next, found.cut), (whole.entries, whole.next, None));
}

#[test]
fn a_rotten_group_header_loses_no_entry_whose_head_is_whole() {
    let whole = opened(|_| {});
    let lsn = Lsn(whole.next.0 - 6);
    let found = opened(|files| {
        let (file, at) = place_of(files, lsn);
        files[file][at + 50] ^= 1;
    });
    let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
    assert_eq!((damage.first, damage.last, damage.entries_intact), (lsn, lsn, 1));
    assert_eq!((found.entries, found.next), (whole.entries, whole.next));
    assert!(damage.to_string().contains(".wal"), "{damage}");
}

#[test]
fn rot_in_the_last_group_is_seen_because_an_idle_log_ends_with_a_mark() {
    let whole = opened(|_| {});
    let lsn = Lsn(whole.next.0 - 2);
    let found = opened(|files| {
        let (file, at) = place_of(files, lsn);
        files[file][at + 4..at + 2000].fill(0);
    });
    let [damage] = &found.damage[..] else { panic!("{:?}", found.damage) };
    assert_eq!((damage.first, damage.last, damage.entries_lost), (lsn, lsn, None));
    assert_eq!((found.next, found.cut), (whole.next, None));
}

#[test]
fn a_group_that_no_later_one_calls_durable_is_cut() {
    let whole = opened(|_| {});
    let found = opened(|files| {
        for lsn in [whole.next.0 - 1, whole.next.0 - 2] {
            let (file, at) = place_of(files, Lsn(lsn));
            files[file][at + 60] ^= 1;
        }
    });
    assert_eq!((found.damage.len(), found.next), (0, Lsn(whole.next.0 - 2)));
}
