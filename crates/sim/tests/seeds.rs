//! Seeds as tests: the first worlds every time, others for a while, and every planted bug.
//!
//! `WALRUS_SIM_SECONDS` says how long to go on with other seeds.

use std::time::{Duration, Instant};

use walrus_sim::{Counts, run};

/// The same worlds every time, whatever the clock says; and a test that does nothing finds nothing.
#[test]
fn the_first_worlds_hold_and_reach_everything() {
    let mut counts = Counts::default();
    for seed in 1..=60 {
        counts.add(&run(seed, false).unwrap_or_else(|failure| panic!("{failure}")));
    }
    println!("seeds 1 to 60: {counts}");
    assert_eq!(counts.missing(), Vec::<&str>::new(), "not reached");
}

#[test]
fn the_chain_holds_whatever_happens() {
    let seconds = std::env::var("WALRUS_SIM_SECONDS").ok().and_then(|text| text.parse().ok());
    let (begun, limit) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(50)));
    let first = 1000 + u64::from(std::process::id()) * 1_000_000;
    let (mut seeds, mut counts) = (0, Counts::default());
    while begun.elapsed() < limit {
        counts.add(&run(first + seeds, false).unwrap_or_else(|failure| panic!("{failure}")));
        seeds += 1;
    }
    println!("seeds {first} to {}: {seeds} worlds, {counts}", first + seeds - 1);
}

const ONCE_FAILED: [u64; 7] =
    [10_006_359, 10_011_022, 900_049_084, 900_062_013, 900_116_746, 900_159_640, 900_165_009];

/// In these a member voted with the greatest end and then lost its disk for good: before it was
/// asked again; after it had said so again, while copies from it failed; or it was another one that
/// had more, and lost its vote in the place of the first. In the last one the disk went while the
/// seal was proposed, which nobody can help.
#[test]
fn worlds_that_once_failed_hold() {
    for seed in ONCE_FAILED {
        run(seed, false).unwrap_or_else(|failure| panic!("{failure}"));
    }
}

/// A world is its seed, and nothing else.
#[test]
fn a_seed_plays_the_same_world_every_time() {
    let once = |seed| run(seed, false).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(once(7), once(7));
}

/// Bugs that are planted on purpose, and the worlds within which each must be caught.
#[cfg(feature = "planted")]
const PLANTED: &[(&str, u64)] = &[
    ("fence-one-too-few", 100),
    ("first-end", 100),
    ("shortest-end", 100),
    ("seal-without-copies", 100),
    ("append-after-proposal", 100),
    ("lost-disk-votes", 200),
    ("answer-before-flush", 100),
    ("ack-before-flush", 100),
    ("table-forgotten", 100),
    ("tail-sequences-kept", 100),
    ("lease-after-proposal", 100),
    ("late-roll-accepted", 100),
    ("gap-accepted", 100),
    ("uncommitted-served", 100),
];

/// Each bug is planted in a process of its own, which runs the test below.
#[cfg(feature = "planted")]
#[test]
fn every_planted_bug_is_caught() {
    walrus_types::planted::assert_each_is_caught(PLANTED, "one_planted_bug_is_caught");
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "run by every_planted_bug_is_caught, with a bug"]
fn one_planted_bug_is_caught() {
    let (bug, seeds_max) = walrus_types::planted::bug_and_seeds();
    let failure = (1..=seeds_max).find_map(|seed| run(seed, false).err()).expect("caught");
    let what = failure.what.lines().nth(1).unwrap_or(&failure.what);
    println!("{bug} caught by seed {}: {what}", failure.seed);
}
