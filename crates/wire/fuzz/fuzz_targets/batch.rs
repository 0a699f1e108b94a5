//! Any bytes as a batch: checks and records never panic, and nothing outgrows its cap.
//!
//! `cargo +nightly fuzz run batch` in `crates/wire`. The header's fields that would refuse
//! almost everything, its length and magic, are put right first, so that the records are reached.
//! A plain test runs the same for a second: `damaged_batches_never_panic_and_never_outgrow_the_cap`.

#![no_main]

use std::hint::black_box;

use libfuzzer_sys::fuzz_target;
use walrus_types::batch::{self, HEADER_BYTES};
use walrus_wire::records::{Records, check_records_uncompressed};

const INFLATED_MAX: usize = 1 << 20;

fuzz_target!(|data: &[u8]| {
    black_box(batch::check(data).is_ok());
    let mut bytes = data.to_vec();
    if bytes.len() < HEADER_BYTES {
        return;
    }
    let length = u32::try_from(bytes.len() - 12).expect("a fuzzer's input is small");
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[16] = 2;
    black_box(check_records_uncompressed(&bytes).is_ok());
    let Ok(records) = Records::decode(&bytes, INFLATED_MAX) else { return };
    let mut total = 0;
    for record in &records {
        let Ok(record) = record else { break };
        total += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        total += record.headers().flatten().map(|(key, _)| key.len()).sum::<usize>();
    }
    assert!(total <= INFLATED_MAX.max(bytes.len()));
});
