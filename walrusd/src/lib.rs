//! The broker's shell.

pub mod admin;
pub mod banner;
pub mod config;
pub mod data_dir;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod shutdown;

use std::time::{Duration, Instant};

use anyhow::Context as _;
use tracing::{error, info, warn};

use crate::{
    admin::{AdminServer, Health},
    banner::Started,
    config::Config,
    data_dir::DataDir,
    metrics::Metrics,
    shutdown::{Signals, Tasks},
};

/// How long the admin port may take to close.
const ADMIN_STOP: Duration = Duration::from_secs(1);
/// How long threads that are in the middle of something may take at the very end.
const BLOCKED_MAX: Duration = Duration::from_secs(1);

/// Runs the broker until it is asked to stop.
///
/// # Errors
/// It could not start, or something it stands on failed.
pub fn run(config: Config) -> anyhow::Result<()> {
    let begun = Instant::now();
    logging::start(&config.log)?;
    for warning in &config.warnings {
        warn!("{warning}");
    }
    let files_max = process::raise_open_files();
    let wanted =
        u64::from(config.client.connections_max) + u64::from(config.storage.open_files_max);
    if files_max.is_some_and(|max| max < wanted + 64) {
        warn!(files_max, wanted, "the limit on open files is below what the settings may need");
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let ended = runtime.block_on(serve(config, begun));
    // A read that hangs on a dying disk must not hold the process.
    runtime.shutdown_timeout(BLOCKED_MAX);
    ended
}

async fn serve(config: Config, begun: Instant) -> anyhow::Result<()> {
    let mut signals = Signals::install().context("cannot take over signals")?;
    let mut data_dir = DataDir::open(&config.node.data_dir, config.node.id, None)?;
    info!(
        version = env!("CARGO_PKG_VERSION"),
        node = %config.node.id,
        storage = %data_dir.identity().storage_id,
        incarnation = %data_dir.incarnation(),
        folder = %data_dir.path().display(),
        "starting"
    );
    let health = Health::new("reading the log");
    let metrics = Metrics::default();
    let tasks = Tasks::default();
    let hooks = config.node.test_hooks.then(|| tasks.clone());
    let admin = AdminServer::start(&config.admin, health.clone(), metrics.clone(), hooks)?;

    // Storage, metadata and the client port come here.

    health.ready();
    banner::show(
        &config,
        &Started {
            cluster: data_dir.identity().cluster_id,
            incarnation: data_dir.incarnation(),
            client: None,
            peer: None,
            admin: admin.address(),
            folder: data_dir.path(),
            backend: "no log yet",
            took: begun.elapsed(),
        },
    );
    let failure = tokio::select! {
        signal = signals.next() => {
            info!(signal, "asked to stop: draining");
            None
        }
        why = health.failed() => Some(why),
        task = tasks.panicked() => Some(format!("the task {task:?} panicked")),
    };
    signals.exit_on_next();
    match &failure {
        None => health.drain(),
        Some(why) => {
            error!(why, "the node cannot go on: stopping");
            health.fail(why);
        }
    }
    let late = tasks.stop(Duration::from_millis(config.node.stop_ms)).await;
    if !late.is_empty() {
        warn!(?late, "tasks did not end in time and were broken off");
    }
    admin.stop(ADMIN_STOP).await;
    match failure {
        Some(why) => Err(anyhow::anyhow!("{why}")),
        None => {
            data_dir.mark_clean()?;
            info!("stopped");
            Ok(())
        }
    }
}
