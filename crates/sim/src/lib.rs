//! One partition of a cluster, by seeds. The deciders are the real ones: what a leader, its senders,
//! its members and the controller (`walrus-replication`) and the metadata (`walrus-metadata`) say is
//! carried out; everything around them is played, and goes wrong.
//!
//! Messages are late, lost, repeated and reordered, links are cut in one direction or both; nodes
//! are paused, crash and lose what was not flushed, or lose their disk; clocks drift; proposals are
//! applied late, twice or never, and each node has applied what it has heard of. After each step
//! what really happened is held against the invariants (`invariants/`, one in each file). At the
//! end all faults stop, and everything that was sent must become readable.
//!
//! Where to read next: `world.rs`, which says what can happen; `main.rs` is the program.

#![expect(
    clippy::unwrap_used,
    reason = "what cannot be is a finding, and a panic is how it is told"
)]

mod clients;
mod controller;
mod counts;
mod faults;
mod heal;
mod invariants;
mod leader;
mod member;
mod message;
mod network;
mod node;
mod raft;
mod trace;
mod world;

use std::{
    cell::RefCell,
    fmt,
    panic::{self, AssertUnwindSafe},
    sync::Once,
};

pub use counts::Counts;
use world::World;

/// A world in which something did not hold.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Which world.
    pub seed: u64,
    /// What did not hold, and where in the code it was noticed.
    pub what: String,
    /// What happened last.
    pub trace: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "{line}")?;
        }
        writeln!(f, "seed {}: {}", self.seed, self.what)
    }
}

thread_local! {
    static SAID: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs the world of this seed to its end; `aloud` tells every step of it.
///
/// # Errors
/// [`Failure`] when something did not hold.
pub fn run(seed: u64, aloud: bool) -> Result<Counts, Box<Failure>> {
    static QUIET: Once = Once::new();
    // What a panic says goes into the failure, and not to the terminal.
    QUIET.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if SAID.with_borrow(Option::is_some) {
                SAID.set(Some(info.to_string()));
            } else {
                before(info);
            }
        }));
    });
    SAID.set(Some(String::new()));
    let mut world = World::new(seed, aloud);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| world.play()));
    let what = SAID.take().unwrap_or_default();
    match ended {
        Ok(()) => Ok(world.counts),
        Err(_) => Err(Box::new(Failure { seed, what, trace: world.trace.lines() })),
    }
}
