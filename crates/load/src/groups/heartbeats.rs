//! When each heartbeat of a group was answered, while something is done to its coordinator.
//!
//! As in [`crate::pauses`], whoever runs this does the deed and ends standard input; nothing is
//! judged here. A member that meets nobody asks the other nodes for its coordinator with every
//! heartbeat, and joins again where it is told to.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::Reasons;
use super::crew::{Crew, Life, Ways};
use crate::client::Cluster;
use crate::pauses::{at_end_of_input, say_going};

/// Who is there, and how often it is heard of.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct HeartbeatsSettings {
    /// Name of the group
    #[arg(long, default_value = "heartbeats")]
    pub group: String,
    /// Its members
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub members: u16,
    /// A member's time between heartbeats, and until it looks for its coordinator again
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat_ms: u64,
    /// Without a heartbeat for so long a member is out; the default is the least that brokers take
    #[arg(long, default_value_t = 6000)]
    pub session_timeout_ms: i32,
    /// Longest that it runs, in seconds
    #[arg(long, default_value_t = 120.0)]
    pub seconds: f64,
}

/// The instants of all heartbeats.
#[derive(Debug, Clone, Serialize)]
pub struct HeartbeatsReport {
    pub settings: HeartbeatsSettings,
    /// The wall clock at the start, in seconds since 1970; all else is counted from it.
    pub started_unix_s: f64,
    pub members: Vec<MemberReport>,
}

/// One member's.
#[derive(Debug, Clone, Serialize)]
pub struct MemberReport {
    /// When heartbeats were sent and answered without an error, in µs since the start.
    pub kept_us: Vec<(u64, u64)>,
    /// What else became of them.
    pub missed: Reasons,
    /// The group's generation when all members were there, and at the end.
    pub generations: (i32, i32),
    /// Times that it joined since all members were there.
    pub joined_again: u64,
}

/// Runs the workload until standard input ends. Says `going` on standard error as soon as all
/// members are in one generation and each had a heartbeat answered.
pub fn run(cluster: &Cluster, settings: &HeartbeatsSettings) -> Result<HeartbeatsReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_here(cluster, settings))
}

async fn run_here(cluster: &Cluster, settings: &HeartbeatsSettings) -> Result<HeartbeatsReport> {
    let longest = Duration::try_from_secs_f64(settings.seconds).context("--seconds")?;
    let every = Duration::from_millis(settings.heartbeat_ms);
    let ways = Ways {
        bootstrap: cluster.bootstrap.clone(),
        groups: vec![settings.group.clone()],
        members: settings.members.into(),
        every,
        session_timeout_ms: settings.session_timeout_ms,
        instants: true,
    };
    let ended = at_end_of_input()?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set")?;
    let began = Instant::now();
    let mut crew = Crew::start(&ways, began);
    crew.settle().await?;
    sleep(2 * every).await;
    let at_first = crew.lives();
    say_going()?;
    while !ended.load(Ordering::Acquire) && began.elapsed() < longest {
        sleep(Duration::from_millis(10)).await;
    }
    let members = at_first.iter().zip(crew.lives()).map(|(first, last)| told(first, last));
    Ok(HeartbeatsReport {
        settings: settings.clone(),
        started_unix_s: since_epoch.as_secs_f64(),
        members: members.collect(),
    })
}

fn told(first: &Life, last: Life) -> MemberReport {
    MemberReport {
        generations: (first.generation, last.generation),
        joined_again: last.joined - first.joined,
        kept_us: last.kept_us,
        missed: last.missed,
    }
}
