//! Very many groups whose members do nothing but heartbeat: what that costs the brokers.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::time::sleep;

use super::Reasons;
use super::crew::{Crew, Life, Ways};
use crate::client::Cluster;
use crate::process::{Cost, Meter};
use crate::produce::as_f64;

/// How many there are, and how often they are heard of.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct IdleGroupsSettings {
    /// How many groups
    #[arg(long, default_value_t = 1000)]
    pub groups: usize,
    /// Members of each; each has a connection
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..))]
    pub members: u16,
    /// What the groups' names begin with
    #[arg(long, default_value = "idle")]
    pub group: String,
    /// A member's time between heartbeats; the default is that of clients
    #[arg(long, default_value_t = 3000, value_parser = clap::value_parser!(u64).range(1..))]
    pub heartbeat_ms: u64,
    /// Without a heartbeat for so long a member is out; the default is that of clients
    #[arg(long, default_value_t = 45_000)]
    pub session_timeout_ms: i32,
    /// Seconds between the last member's joining and the measured window
    #[arg(long, default_value_t = 5.0)]
    pub warmup: f64,
    /// Seconds of the measured window
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Measure CPU and memory of this process in the window; may be repeated, all are added up
    #[arg(long)]
    pub broker_pid: Vec<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct IdleGroupsReport {
    pub settings: IdleGroupsSettings,
    /// From the first connection until every group had all its members.
    pub settled_s: f64,
    /// Length of the measured window.
    pub seconds: f64,
    /// Heartbeats that were answered without an error in the window.
    pub heartbeats: u64,
    pub heartbeats_per_s: f64,
    /// What else was answered since the beginning; rebalances are heard of while groups fill.
    pub errors: Reasons,
    /// How many of those in the window.
    pub errors_in_window: u64,
    /// Members that had to join again in the window.
    pub joined_in_window: u64,
    pub broker: Option<Cost>,
    /// Of one core, all processes together.
    pub broker_cpu_percent: Option<f64>,
}

/// Runs the workload.
pub fn run(cluster: &Cluster, settings: &IdleGroupsSettings) -> Result<IdleGroupsReport> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(run_here(cluster, settings))
}

async fn run_here(cluster: &Cluster, settings: &IdleGroupsSettings) -> Result<IdleGroupsReport> {
    let warmup = Duration::try_from_secs_f64(settings.warmup).context("--warmup")?;
    let measured = Duration::try_from_secs_f64(settings.seconds).context("--seconds")?;
    let ways = Ways {
        bootstrap: cluster.bootstrap.clone(),
        groups: (0..settings.groups).map(|one| format!("{}-{one}", settings.group)).collect(),
        members: settings.members.into(),
        every: Duration::from_millis(settings.heartbeat_ms),
        session_timeout_ms: settings.session_timeout_ms,
        instants: false,
    };
    let began = Instant::now();
    let mut crew = Crew::start(&ways, began);
    crew.settle().await?;
    let settled_s = began.elapsed().as_secs_f64();
    sleep(warmup).await;
    let before = Sums::of(&crew.lives());
    let meter = Meter::start(&settings.broker_pid)?;
    let window = Instant::now();
    sleep(measured).await;
    let seconds = window.elapsed().as_secs_f64();
    let broker = meter.map(Meter::finish).transpose()?;
    let after = Sums::of(&crew.lives());
    let heartbeats = after.kept - before.kept;
    Ok(IdleGroupsReport {
        settings: settings.clone(),
        settled_s,
        seconds,
        heartbeats,
        heartbeats_per_s: as_f64(heartbeats) / seconds,
        errors_in_window: after.missed.values().sum::<u64>() - before.missed.values().sum::<u64>(),
        errors: after.missed,
        joined_in_window: after.joined - before.joined,
        broker,
        broker_cpu_percent: broker.map(|cost| 100.0 * cost.cpu_s / seconds),
    })
}

/// Of all members together.
struct Sums {
    kept: u64,
    joined: u64,
    missed: Reasons,
}

impl Sums {
    fn of(lives: &[Life]) -> Self {
        let mut sums = Self { kept: 0, joined: 0, missed: Reasons::new() };
        for life in lives {
            sums.kept += life.kept;
            sums.joined += life.joined;
            for (why, times) in &life.missed {
                *sums.missed.entry(why.clone()).or_default() += times;
            }
        }
        sums
    }
}
