//! Log lines: text or JSON, to standard error or a file, filtered as `RUST_LOG` is.
//!
//! What clients send is never logged: no record, no key, no frame. A file is opened for append,
//! so tools that copy and truncate it may rotate it.

use std::{
    fs::{File, OpenOptions},
    io::{self, IsTerminal as _},
    path::PathBuf,
    sync::Mutex,
};

use tracing_subscriber::{EnvFilter, fmt::MakeWriter, util::SubscriberInitExt as _};

use crate::config::{LogConfig, LogFormat};

/// Why there would be no log. Nothing was started.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The file cannot be opened.
    #[error(
        "the log file {path:?} cannot be opened: {error}\n  \
         next: give --log-file a path in a folder that is there and writable, or leave it away"
    )]
    File {
        /// As it was given.
        path: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// The filter was not checked before, which `Config::load` does.
    #[error("the log filter is refused: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Someone else in this process logs already.
    #[error("logging was started before: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Starts logging for the whole process, panics included.
///
/// # Errors
/// The file cannot be opened, or logging was started before.
pub fn start(config: &LogConfig) -> Result<(), LoggingError> {
    let LogConfig { file, format, filter } = config;
    let filter = EnvFilter::builder().parse(filter.to_string())?;
    match file {
        Some(path) => {
            let open = OpenOptions::new().create(true).append(true).open(path);
            let file: File =
                open.map_err(|error| LoggingError::File { path: path.clone(), error })?;
            write_to(Mutex::new(file), false, *format, filter)?;
        }
        None => {
            let colour = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            write_to(io::stderr, colour, *format, filter)?;
        }
    }
    log_panics();
    Ok(())
}

fn write_to<W>(
    writer: W,
    colour: bool,
    format: LogFormat,
    filter: EnvFilter,
) -> Result<(), LoggingError>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Text => builder.with_ansi(colour).finish().try_init()?,
        LogFormat::Json => builder.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}

/// A panic is a bug: it is told where everything else is told, and then as ever.
fn log_panics() {
    let earlier = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let why = panic.payload_as_str().unwrap_or("no message");
        tracing::error!(place, thread, why, "a thread or task panicked");
        earlier(panic);
    }));
}
