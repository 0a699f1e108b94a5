//! The store against a model of what it promised, on a simulated disk, by seeds.
//!
//! The WAL is one log, so whatever a crash leaves is the state after some prefix of all
//! operations in the order they were asked for, and that prefix holds every one that was called
//! done. `model.rs` is that state, `world.rs` takes the steps and compares.
//!
//! `WALRUS_SIM_SECONDS` says how long to go on (20), `WALRUS_SIM_SEED` runs one seed,
//! `WALRUS_SIM_TRACE` tells every step of it.

#![expect(clippy::print_stdout, reason = "a failing seed must be told")]

mod model;
mod world;

use std::time::{Duration, Instant};

use world::World;

/// Steps of one seed.
const STEPS: u32 = 600;

#[test]
fn what_was_called_done_survives_and_nothing_else_is_served() {
    if let Some(seed) = env_number("WALRUS_SIM_SEED") {
        run(seed);
        return;
    }
    let seconds = env_number("WALRUS_SIM_SECONDS").unwrap_or(20);
    let begun = Instant::now();
    let first = 1 + u64::from(std::process::id()) * 1_000_000;
    let mut seeds = 0;
    let mut crashes = 0;
    while begun.elapsed() < Duration::from_secs(seconds) {
        crashes += run(first + seeds);
        seeds += 1;
    }
    println!("seeds {first} to {}: {seeds} worlds, {crashes} restarts", first + seeds - 1);
}

/// The same worlds every time, whatever the clock says.
#[test]
fn the_first_worlds_hold() {
    for seed in 1..=20 {
        run(seed);
    }
}

/// Worlds that once broke a promise.
const ONCE_FAILED: [u64; 1] = [25_209_127_624];

#[test]
fn seeds_that_once_failed_hold() {
    for seed in ONCE_FAILED {
        run(seed);
    }
}

/// Bugs that are planted on purpose, and the worlds within which each must be caught.
#[cfg(feature = "planted")]
const PLANTED: &[(&str, u64)] = &[("control-record-lost", 100), ("released-before-flush", 300)];

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
    let caught = (1..=seeds_max).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
    println!("{bug} caught by seed {}", caught.expect("caught"));
}

/// Runs one seed and says which it was if it fails.
fn run(seed: u64) -> u64 {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("failed: WALRUS_SIM_SEED={}", self.0);
            }
        }
    }
    let named = Named(seed);
    if std::env::var_os("WALRUS_SIM_TRACE").is_some() {
        println!("seed {seed}");
    }
    let mut world = World::new(named.0);
    for _ in 0..STEPS {
        if !world.step() {
            break;
        }
    }
    world.end()
}

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
