//! Ring files that someone else wrote: recovery answers, whatever they hold.
//!
//! `fuzz/` does the same with a fuzzer's guidance; this runs for a second with every test run.

mod wal_image;
mod wal_mend;

use std::time::{Duration, Instant};

use wal_image::{open, valid};
use wal_mend::mend_checksums;
use walrus_storage::wal::WalOpenError;
use walrus_types::chance::Chance;

/// Overwrites some bytes of some files, mostly in headers.
fn spoil(files: &mut [Vec<u8>], random: &mut Chance) {
    for _ in 0..1 + random.below(6) {
        let file = index(random.below(files.len() as u64));
        let bytes = &mut files[file];
        if bytes.is_empty() {
            continue;
        }
        let page = random.below(bytes.len() as u64 / 4096 + 1) * 4096;
        let inside = if random.one_in(2) { random.below(72) } else { random.below(4096) };
        let at = index((page + inside).min(bytes.len() as u64 - 1));
        match random.below(5) {
            0 => bytes[at] = 0xFF,
            1 => bytes[at] ^= 1 << random.below(8),
            2 => {
                let end = (at + 8).min(bytes.len());
                bytes[at..end].fill(if random.one_in(2) { 0xFF } else { 0 });
            }
            3 => {
                let from = index(page).min(bytes.len());
                let to = (from + 4096).min(bytes.len());
                let copy = bytes[from..to].to_vec();
                let other = index(random.below(8)) * 4096;
                if let Some(target) = bytes.get_mut(other..other + copy.len()) {
                    target.copy_from_slice(&copy);
                }
            }
            _ if random.one_in(20) => bytes.truncate(at),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

fn index(at: u64) -> usize {
    usize::try_from(at).expect("it is small")
}

/// Opens spoilt copies of a valid ring for as long as `go_on` says; answers how many were opened
/// and how many refused.
fn open_spoilt(seed: u64, mut go_on: impl FnMut(u32) -> bool) -> (u32, u32) {
    let mut random = Chance::seeded(seed);
    let valid = valid();
    let (mut opened, mut refused) = (0, 0);
    while go_on(opened + refused) {
        let mut files = valid.clone();
        spoil(&mut files, &mut random);
        if random.one_in(2) {
            files
                .iter_mut()
                .filter(|file| file.len() >= 4096)
                .for_each(|file| mend_checksums(file));
        }
        match open(&files) {
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    (opened, refused)
}

#[test]
fn recovery_answers_whatever_the_files_hold() {
    let seed = std::time::UNIX_EPOCH.elapsed().expect("the clock is past 1970").as_secs();
    println!("seed {seed}");
    let begun = Instant::now();
    let (opened, refused) = open_spoilt(seed, |_| begun.elapsed() < Duration::from_secs(2));
    println!("{opened} opened, {refused} refused");
    assert!(opened > 0 && refused > 0);
}

#[test]
fn a_group_that_claims_more_than_the_newest_one_is_not_believed() {
    // With this seed a group in the middle, its checksum mended, says that more is released than
    // the newest group does.
    open_spoilt(1_795_277_856, |images| images < 2_000);
}

#[test]
fn files_without_any_sense_are_refused() {
    let mut random = Chance::seeded(5);
    for _ in 0..100 {
        let bytes = index(random.below(70_000));
        let files: Vec<Vec<u8>> =
            (0..3).map(|_| (0..bytes).map(|_| random.draw().to_le_bytes()[0]).collect()).collect();
        let refused = open(&files).expect_err("random bytes are no ring");
        assert!(matches!(refused, WalOpenError::NotOurs { .. }), "{refused}");
    }
}
