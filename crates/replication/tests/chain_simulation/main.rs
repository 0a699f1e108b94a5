//! One partition on three nodes, by seeds: the leader, its senders and its members are the real
//! deciders, everything around them is played and may go wrong.
//!
//! Messages are lost, repeated and reordered; nodes crash and lose what was not flushed, or their
//! disk; a stale leader goes on; metadata is a list that applies proposals late, twice or never,
//! and that nodes follow each at its own pace; two scripted controllers seal what a fenced leader
//! left open. After each step the invariants of the chain are compared with what really happened
//! (`truth.rs`). At the end all faults stop, and everything that was sent must become readable.
//!
//! `WALRUS_SIM_SECONDS` says how long to go on (10), `WALRUS_SIM_SEED` runs one seed,
//! `WALRUS_SIM_TRACE` tells every step of it.

#![expect(clippy::print_stdout, reason = "a failing seed must be told")]
#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod clients;
mod controller;
mod heal;
mod leader;
mod member;
mod metadata;
mod node;
mod parts;
mod truth;
mod world;

use std::time::{Duration, Instant};

use parts::Counts;
use world::World;

/// Steps of one seed, before the faults stop.
const STEPS: u32 = 2500;

#[test]
#[expect(clippy::disallowed_methods, reason = "how long to go on is no part of what is decided")]
fn the_chain_holds_whatever_happens() {
    if let Some(seed) = env_number("WALRUS_SIM_SEED") {
        println!("{:?}", run(seed));
        return;
    }
    let seconds = env_number("WALRUS_SIM_SECONDS").unwrap_or(10);
    let begun = Instant::now();
    let first = 1 + u64::from(std::process::id()) * 1_000_000;
    let (mut seeds, mut counts) = (0, Counts::default());
    while begun.elapsed() < Duration::from_secs(seconds) {
        counts.add(&run(first + seeds));
        seeds += 1;
    }
    println!("seeds {first} to {}: {seeds} worlds, {counts:?}", first + seeds - 1);
}

/// The same worlds every time, whatever the clock says; and a test that does nothing finds nothing.
#[test]
fn the_first_worlds_hold_and_reach_everything() {
    let mut counts = Counts::default();
    for seed in 1..=40 {
        counts.add(&run(seed));
    }
    println!("{counts:?}");
    counts.check_reach();
}

/// Bugs that are planted on purpose, and the worlds within which each must be caught.
#[cfg(feature = "planted")]
const PLANTED: [(&str, u64); 8] = [
    ("fence-too-few", 30),
    ("first-end", 30),
    ("append-after-proposal", 30),
    ("lost-disk-votes", 60),
    ("answer-before-flush", 30),
    ("ack-before-flush", 30),
    ("table-forgotten", 30),
    ("tail-sequences-kept", 30),
];

/// Each bug is planted in a process of its own, which runs the test below.
#[cfg(feature = "planted")]
#[test]
fn every_planted_bug_is_caught() {
    for (bug, seeds_max) in PLANTED {
        let ran = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_planted_bug_is_caught", "--ignored", "--nocapture"])
            .env("WALRUS_PLANTED", bug)
            .env("WALRUS_SIM_SEEDS_MAX", seeds_max.to_string())
            .env("RUST_BACKTRACE", "0")
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&ran.stdout);
        let why = String::from_utf8_lossy(&ran.stderr);
        let caught = output.lines().find(|line| line.contains("caught by"));
        assert!(ran.status.success(), "{bug} is not caught within {seeds_max} worlds: {why}");
        let why = why.lines().rfind(|line| !line.contains("note: ")).unwrap_or_default();
        println!("{}: {why}", caught.unwrap_or("nothing was said"));
    }
}

#[cfg(feature = "planted")]
#[test]
#[ignore = "run by every_planted_bug_is_caught, with a bug"]
fn one_planted_bug_is_caught() {
    let bug = std::env::var("WALRUS_PLANTED").unwrap();
    let seeds_max = env_number("WALRUS_SIM_SEEDS_MAX").unwrap();
    let caught = (1..=seeds_max).find(|seed| std::panic::catch_unwind(|| run(*seed)).is_err());
    println!("{bug} caught by seed {}", caught.expect("caught"));
}

/// Whether the bug of this name is planted in what this test plays itself.
fn planted(name: &str) -> bool {
    cfg!(feature = "planted") && std::env::var("WALRUS_PLANTED").is_ok_and(|bug| bug == name)
}

/// Runs one seed and says which it was if it fails.
fn run(seed: u64) -> Counts {
    struct Named(u64);
    impl Drop for Named {
        fn drop(&mut self) {
            if std::thread::panicking() {
                println!("failed: WALRUS_SIM_SEED={}", self.0);
            }
        }
    }
    let named = Named(seed);
    let mut world = World::new(named.0);
    for _ in 0..STEPS {
        world.step();
    }
    world.heal();
    world.counts
}

fn env_number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}
