//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};
use walrus_admin::Endpoint;

use crate::screen::Screen;

/// A live console of a Walrus cluster: nodes, leases, chains of segments. It changes nothing.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "walrus-tui",
    version,
    after_help = "Examples:\n  \
        walrus-tui                                   asks 127.0.0.1:7071\n  \
        walrus-tui --endpoint n1:7071 --endpoint n2:7071\n  \
        walrus-tui --demo                            a cluster that is made up\n  \
        walrus-tui --once --screen leases -o json    for scripts"
)]
pub struct Args {
    /// Admin port of a node; any will do, and more than one if one may be down.
    #[arg(long, value_name = "HOST:PORT", env = "WALRUS_ENDPOINT", value_delimiter = ',')]
    pub endpoint: Vec<Endpoint>,
    /// Shows a cluster that is made up: nothing is asked.
    #[arg(long, conflicts_with = "endpoint")]
    pub demo: bool,
    /// From which number the cluster of `--demo` is made up.
    #[arg(long, default_value_t = 7, requires = "demo")]
    pub seed: u64,
    /// How many partitions the cluster of `--demo` has.
    #[arg(long, default_value_t = 48, requires = "demo", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub partitions: u32,
    /// How many nodes it has.
    #[arg(long, default_value_t = 3, requires = "demo", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub nodes: u32,
    /// Writes one screen to standard output and ends.
    #[arg(long)]
    pub once: bool,
    /// The screen to begin with.
    #[arg(long, value_enum, default_value_t = Screen::Overview)]
    pub screen: Screen,
    /// Begins with the chain of this partition.
    #[arg(long, value_name = "TOPIC/PARTITION", conflicts_with = "screen")]
    pub partition: Option<String>,
    /// Begins with this consumer group.
    #[arg(long, value_name = "GROUP", conflicts_with_all = ["screen", "partition"])]
    pub group: Option<String>,
    /// In which form `--once` writes.
    #[arg(short, long, value_enum, default_value_t = Output::Text, requires = "once")]
    pub output: Output,
    /// Columns and rows of `--once`.
    #[arg(long, value_name = "COLUMNSxROWS", default_value = "120x40", requires = "once", value_parser = size)]
    pub size: (u16, u16),
    /// Signs of ASCII only, for terminals and fonts that have no others.
    #[arg(long)]
    pub ascii: bool,
    /// How many colours the terminal has; `auto` goes by NO_COLOR, TERM and COLORTERM.
    #[arg(long, value_enum, default_value_t = ColorsArg::Auto)]
    pub colors: ColorsArg,
    /// For tests: panics when the first picture was drawn.
    #[arg(long, hide = true)]
    pub test_panic: bool,
    /// What else there is to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What else there is to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Writes the man page to standard output, or to a folder.
    Man {
        /// The folder.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// As on a screen, without colours.
    Text,
    /// What the screen was made of.
    Json,
    /// A picture, with its colours.
    Svg,
}

/// How many colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorsArg {
    /// As the environment says.
    Auto,
    /// None.
    None,
    /// Sixteen.
    Sixteen,
    /// All.
    True,
}

fn size(given: &str) -> Result<(u16, u16), String> {
    let parsed = given
        .split_once('x')
        .and_then(|(columns, rows)| Some((columns.parse().ok()?, rows.parse().ok()?)));
    match parsed {
        Some((columns @ 1..=1000, rows @ 1..=1000)) => Ok((columns, rows)),
        _ => Err("give columns and rows, each from 1 to 1000, as 120x40".to_owned()),
    }
}
