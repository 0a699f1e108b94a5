//! Whom a fault hits and when, by a seed that is told.

use anyhow::{Context as _, Result};
use rand::{SeedableRng as _, rngs::StdRng};

use crate::{Cluster, load::until};

/// Whom a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    /// Who leads partition 0.
    Leader,
    /// Who leads the metadata.
    Controller,
    /// Neither of them, where there is one.
    Follower,
}

impl Victim {
    /// The node that it is now.
    ///
    /// # Errors
    /// When no leader and no controller is known in time.
    pub fn choose(self, cluster: &Cluster, topic: &str) -> Result<i32> {
        let mut found = None;
        until("a leader and a controller", || {
            found = cluster.leader(1, topic, 0).ok().zip(cluster.controller().ok());
            found.is_some()
        })?;
        let (leader, controller) = found.context("just seen")?;
        let mut others = cluster.ids().into_iter().filter(|id| *id != leader);
        Ok(match self {
            Self::Leader => leader,
            Self::Controller => controller,
            Self::Follower => others.find(|id| *id != controller).context("three nodes")?,
        })
    }
}

/// The choices of a run: from `WALRUS_TESTS_SEED`, which repeats them, else new ones. Tells which.
///
/// # Errors
/// When the variable is no number.
#[expect(clippy::print_stdout, reason = "a run tells how to repeat it")]
pub fn seeded() -> Result<StdRng> {
    let seed: u64 = match std::env::var("WALRUS_TESTS_SEED") {
        Ok(seed) => seed.parse().context("WALRUS_TESTS_SEED must be a number")?,
        Err(_) => rand::random(),
    };
    println!("seed {seed} (WALRUS_TESTS_SEED={seed} repeats its choices)");
    Ok(StdRng::seed_from_u64(seed))
}
