//! A group whose clients crash, pause, leave and come back, whose messages are lost, late or come
//! twice, and whose coordinator moves from node to node with records in flight, against what must
//! hold whatever happens.
//!
//! Held, by seed: a partition has one owner in a generation; a commit of an old generation is
//! refused; what was acknowledged is in the log, and every coordinator that is loaded from it says
//! what the log says; when the faults end the group works again in a bounded time, and every
//! partition has an owner.
//!
//! `WALRUS_SIM_SECONDS` says how long to try seeds (10), `WALRUS_SIM_SEED` runs one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]
#![expect(clippy::print_stdout, reason = "seeds and what was reached are printed")]
#![expect(clippy::disallowed_methods, reason = "how long to try seeds goes by the clock")]

mod clients;
mod reached;
mod world;

use std::time::{Duration, Instant};

use reached::Reached;
use world::World;

const STEPS: usize = 3_000;

fn run(seed: u64) -> Reached {
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
    world.heal_and_check();
    world.reached
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

#[test]
fn owners_are_one_commits_are_kept_and_the_group_works_again() {
    let seconds = number("WALRUS_SIM_SECONDS").unwrap_or(10);
    let until = Instant::now() + Duration::from_secs(seconds);
    let only = number("WALRUS_SIM_SEED");
    let mut seed = only.unwrap_or(1);
    let mut reached = Reached::default();
    println!("seeds from {seed} on, for {seconds} s");
    loop {
        reached.add(run(seed));
        seed += 1;
        if only.is_some() || Instant::now() >= until {
            break;
        }
    }
    println!("up to seed {}: {reached:?}", seed - 1);
    // A test that does nothing finds nothing.
    if only.is_none() {
        reached.assert_all();
    }
}

/// Each bug, and within how many seeds it must be caught.
#[cfg(feature = "planted")]
const PLANTED: &[(&str, u64)] =
    &[("old-generation-commits", 50), ("second-assignment", 50), ("commit-answered-early", 50)];

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
    let caught = (1..=seeds_max).find_map(|seed| {
        let failed = std::panic::catch_unwind(|| run(seed)).err()?;
        let what = failed.downcast_ref::<String>().cloned().unwrap_or_default();
        Some((seed, what))
    });
    let (seed, what) = caught.expect("caught");
    println!("{bug} caught by seed {seed}: {what}");
}
