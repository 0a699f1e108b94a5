//! The broker's shell.

pub mod config;
pub mod data_dir;
pub mod logging;

/// Runs the broker until it is asked to stop.
///
/// # Errors
/// It could not start, or something it stands on failed.
pub fn run(config: config::Config) -> anyhow::Result<()> {
    logging::start(&config.log)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let mut data_dir = data_dir::DataDir::open(&config.node.data_dir, config.node.id, None)?;
    data_dir.mark_clean()?;
    Ok(())
}
