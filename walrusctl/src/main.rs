//! `walrusctl`: reads the command line, does what it says, ends with the status that says how it
//! went. Read next: `lib.rs`.

use std::process::ExitCode;

use clap::Parser as _;
use walrusctl::{cli::Args, out::Console};

fn main() -> ExitCode {
    let args = Args::parse();
    let console = Console::new(args.output, args.quiet);
    match walrusctl::run(args, &console) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console.failed(&failure);
            failure.exit.into()
        }
    }
}
