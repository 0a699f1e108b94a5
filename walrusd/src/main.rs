//! `walrusd`: reads what it was told, then runs the broker or shows the settings.
//!
//! Read next: `config/` for what it can be told, `lib.rs` for what runs.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::Parser as _;
use walrusd::config::{Args, Command, Config, ConfigCommand, keys, man_page, print};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let args = Args::parse();
    match args.command {
        Some(Command::Man) => shown(man_page(&mut io::stdout().lock())),
        Some(Command::Config { command: ConfigCommand::Keys }) => {
            shown(keys(&mut io::stdout().lock()))
        }
        Some(Command::Config { command: ConfigCommand::Print { output } }) => {
            with_config(&args.flags, |config| {
                for warning in &config.warnings {
                    complain(warning);
                }
                shown(print(&config, output, &mut io::stdout().lock()))
            })
        }
        None => with_config(&args.flags, |config| match walrusd::run(config) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(&format!("{error:#}"));
                ExitCode::FAILURE
            }
        }),
    }
}

fn with_config(flags: &walrusd::config::Flags, then: impl FnOnce(Config) -> ExitCode) -> ExitCode {
    let env: BTreeMap<_, _> = std::env::vars_os().collect();
    match Config::load(flags, &env) {
        Ok(config) => then(config),
        Err(error) => {
            complain(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}

/// What showing something ends with: whoever closed the pipe has seen enough.
fn shown(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn complain(what: &str) {
    // There is nowhere left to complain to when standard error is closed.
    drop(writeln!(io::stderr(), "walrusd: {what}"));
}
