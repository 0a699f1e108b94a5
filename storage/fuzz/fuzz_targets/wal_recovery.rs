//! Opens a ring of spoiled files: it must answer, with an error or with a ring that works, and
//! never ask for much more memory than the files have.
//!
//! `cargo +nightly fuzz run wal_recovery -- -rss_limit_mb=256 -max_total_time=60`

#![no_main]

#[path = "../../tests/wal_image/mod.rs"]
mod wal_image;
#[path = "../../tests/wal_mend/mod.rs"]
mod wal_mend;

use std::sync::OnceLock;

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input {
    edits: Vec<Edit>,
    mend: bool,
    cut: Option<(u8, u16)>,
    /// Instead of a valid ring, when it is longer than a page.
    raw: Vec<u8>,
}

#[derive(Arbitrary, Debug)]
struct Edit {
    file: u8,
    page: u8,
    at: u16,
    bytes: [u8; 8],
    length: u8,
}

fuzz_target!(|input: Input| {
    static VALID: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let mut files = VALID.get_or_init(wal_image::valid).clone();
    if input.raw.len() > 4096 {
        files = vec![input.raw];
    }
    for edit in &input.edits {
        let count = files.len();
        let file = &mut files[usize::from(edit.file) % count];
        let at = usize::from(edit.page % 8) * 4096 + usize::from(edit.at % 4096);
        let length = usize::from(edit.length % 9);
        if let Some(target) = file.get_mut(at..at + length) {
            target.copy_from_slice(&edit.bytes[..length]);
        }
    }
    if input.mend {
        for file in files.iter_mut().filter(|file| file.len() >= 4096) {
            wal_mend::mend_checksums(file);
        }
    }
    if let Some((file, bytes)) = input.cut {
        let count = files.len();
        files[usize::from(file) % count].truncate(usize::from(bytes));
    }
    let _answer = wal_image::open(&files);
});
