//! The man pages: clap's view of the command line.

use std::path::Path;

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::{
    cli::Args,
    failure::{Exit, Failure},
    out::Console,
};

/// Writes `walrusctl.1` to standard output, or one page for each command to a folder.
///
/// # Errors
/// What writing said.
pub fn write(dir: Option<&Path>, console: &Console) -> Result<(), Failure> {
    let command = Args::command();
    let failed = |why: std::io::Error| Failure::new(Exit::Failed, "no man page", why);
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(failed)?;
        return clap_mangen::generate_to(command, dir).map_err(failed);
    }
    let mut page = Vec::new();
    let source = concat!("walrusctl ", env!("CARGO_PKG_VERSION"));
    Man::new(command).source(source).render(&mut page).map_err(failed)?;
    console.write(&page)
}
