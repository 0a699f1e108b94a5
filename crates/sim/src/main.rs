//! `walrus-sim`: runs worlds by their seeds and counts those in which everything held.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use clap::Parser;
use walrus_sim::{Counts, run};

/// Simulates clusters with their real deciders, one for each seed
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// How many seeds to run, one after the other
    #[arg(long, default_value_t = 1, value_name = "N")]
    seeds: u64,
    /// The first seed; by default another one each time
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    /// Tell every step; for one seed
    #[arg(long)]
    trace: bool,
}

#[expect(clippy::print_stdout, reason = "this is the program's output")]
fn main() -> ExitCode {
    let Arguments { seeds, seed, trace } = Arguments::parse();
    let first = seed.unwrap_or_else(|| u64::from(std::process::id()) * 1_000_000);
    println!("seeds {first} to {}", first + seeds.saturating_sub(1));
    let threads = if trace { 1 } else { thread::available_parallelism().map_or(1, usize::from) };
    let next = AtomicU64::new(0);
    let work = || {
        let (mut passed, mut failed, mut counts) = (0_u64, 0_u64, Counts::default());
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            if at >= seeds {
                return (passed, failed, counts);
            }
            match run(first + at, trace) {
                Ok(reached) => {
                    passed += 1;
                    counts.add(&reached);
                }
                Err(failure) => {
                    failed += 1;
                    println!("{failure}again: walrus-sim --seed {} --trace\n", failure.seed);
                }
            }
        }
    };
    let (mut passed, mut failed, mut counts) = (0, 0, Counts::default());
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            let (well, ill, reached) = worker.join().expect("a failure is told, not thrown");
            (passed, failed) = (passed + well, failed + ill);
            counts.add(&reached);
        }
    });
    println!("{counts}");
    println!("{passed} passed, {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
