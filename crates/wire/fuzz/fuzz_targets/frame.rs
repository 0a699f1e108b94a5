//! Any bytes as a frame: what is accepted was decoded within the stated memory.
//!
//! `cargo +nightly fuzz run frame` in `crates/wire`. A plain test runs the same for a second:
//! `random_frames_are_refused_or_decoded_in_bounded_memory`.

#![no_main]

use std::hint::black_box;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;
use walrus_wire::{
    frame::{FrameLimits, measure},
    guard::{ALLOCATION_FLOOR, AMPLIFICATION_MAX},
    text,
};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

fuzz_target!(|data: &[u8]| {
    black_box(measure(data, FrameLimits::default()).is_ok());
    black_box(text::measure(data, 1 << 20).is_ok());
    black_box(text::parse(data).is_ok());
    black_box(text::sniff(data));

    let frame = Bytes::copy_from_slice(data);
    MEMORY.reset_peak_usage();
    let before = MEMORY.current_usage();
    let request = walrus_wire::decode(frame);
    let peak = MEMORY.peak_usage().saturating_sub(before);
    let bound = AMPLIFICATION_MAX * data.len() + ALLOCATION_FLOOR;
    assert!(peak <= bound, "{peak} bytes for a frame of {}: {request:?}", data.len());
});
