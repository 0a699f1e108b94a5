//! A partition under random events, against what must hold whatever happens.
//!
//! Five nodes, three idempotent producers that retry, and a Raft that applies proposals late,
//! twice or never. Leaders are deposed and go on as if they were not, quorums are lost, planned
//! and forced seals race. Everything is played by naive code here, but for the leader and
//! the producer table, which are the real ones.
//!
//! Checked: a batch that was acknowledged is in the log once, where the producer was told; no
//! batch is there twice; each producer's batches are in order without a gap; the commit offset is
//! what sorting gives; a proposal counts what the segment holds.
//!
//! A run prints its seed first. `SEED=17 cargo test -p walrus-replication --test random` plays one.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the answer")]

mod parts;
mod world;

use world::World;

fn run(seed: u64) -> (usize, usize) {
    let mut world = World::new(seed);
    for _ in 0..600 {
        world.step();
    }
    world.finish();
    (world.acked.len(), world.seals.len())
}

#[test]
fn acknowledged_batches_are_in_the_log_once_whatever_happens() {
    let given = std::env::var("SEED").ok().map(|seed| seed.parse().expect("SEED is a number"));
    let seeds = given.map_or(0..600, |seed| seed..seed + 1);
    let (mut acked, mut seals) = (0, 0);
    for seed in seeds {
        println!("seed {seed}");
        let (more_acked, more_seals) = run(seed);
        acked += more_acked;
        seals += more_seals;
    }
    println!("{acked} batches acknowledged, {seals} seals");
    // A test that does nothing finds nothing.
    assert!(given.is_some() || (acked > 20_000 && seals > 2_000), "{acked} acked, {seals} seals");
}
