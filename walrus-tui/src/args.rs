//! The command line.

use std::{path::PathBuf, time::Duration};

use clap::{Parser, Subcommand, ValueEnum};
use walrus_admin::Endpoint;

use crate::{app::past::Speed, screen::Screen, ui::keymap::Key};

/// A live console of a Walrus cluster: nodes, leases, chains of segments. Changes are planned and agreed to first.
#[derive(Debug, Clone, Parser)]
#[command(
    name = "walrus-tui",
    version,
    after_help = "Examples:\n  \
        walrus-tui                                   asks the current context, or 127.0.0.1:7071\n  \
        walrus-tui --endpoint n1:7071 --endpoint n2:7071\n  \
        walrus-tui --context prod-eu --record bad-night.rec\n  \
        walrus-tui replay bad-night.rec --speed 4    space holds it, [ ] step, t goes to a time\n  \
        walrus-tui --demo                            a cluster that is made up\n  \
        walrus-tui --once --screen leases -o json    for scripts\n\n\
        Environment:\n  \
        WALRUS_ENDPOINTS  endpoints, separated by commas, where no flag names any\n  \
        WALRUS_CONTEXT    the context, where neither flags nor WALRUS_ENDPOINTS say otherwise\n  \
        XDG_CONFIG_HOME   walrus/config.toml in there has the contexts; else under ~/.config\n  \
        NO_COLOR          no colours"
)]
pub struct Args {
    /// Admin port of a node; any will do, and more than one if one may be down.
    #[arg(long, value_name = "HOST:PORT", value_delimiter = ',')]
    pub endpoint: Vec<Endpoint>,
    /// The cluster of this context.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["endpoint", "demo"])]
    pub context: Option<String>,
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
    /// Keeps all that is told in this file, which must not be there yet; `replay` plays it.
    #[arg(long, value_name = "FILE")]
    pub record: Option<PathBuf>,
    /// How long `--demo --cast` goes on.
    #[arg(long = "for", value_name = "SECONDS", default_value = "20s", requires = "cast", value_parser = seconds)]
    pub lasts: Duration,
    /// With --demo --once: keys that are pressed before the picture is drawn, by their names with
    /// blanks between them, like ": d r a i n space n 2 enter".
    #[arg(long, value_name = "KEYS", requires = "demo", requires = "once", value_parser = keys)]
    pub press: Option<std::sync::Arc<[Key]>>,
    /// How it is shown.
    #[command(flatten)]
    pub view: View,
    /// For tests: panics when the first picture was drawn.
    #[arg(long, hide = true)]
    pub test_panic: bool,
    /// What else there is to do.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What is shown, and how.
#[derive(Debug, Clone, clap::Args)]
pub struct View {
    /// The file of contexts, keys and colours [default: walrus/config.toml in $XDG_CONFIG_HOME or
    /// ~/.config].
    #[arg(long, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Writes one screen to standard output and ends.
    #[arg(long, global = true)]
    pub once: bool,
    /// The screen to begin with.
    #[arg(long, global = true, value_enum, default_value_t = Screen::Overview)]
    pub screen: Screen,
    /// Begins with the chain of this partition.
    #[arg(long, global = true, value_name = "TOPIC/PARTITION", conflicts_with = "screen")]
    pub partition: Option<String>,
    /// Begins with this consumer group.
    #[arg(long, global = true, value_name = "GROUP", conflicts_with_all = ["screen", "partition"])]
    pub group: Option<String>,
    /// In which form `--once` writes.
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub output: Output,
    /// Columns and rows of `--once` and `--cast`.
    #[arg(long, global = true, value_name = "COLUMNSxROWS", default_value = "120x40", value_parser = size)]
    pub size: (u16, u16),
    /// Writes what a terminal would show to this file as an asciicast, with a clock of its own:
    /// of `--demo` or of a recording.
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "once")]
    pub cast: Option<PathBuf>,
    /// Signs of ASCII only, for terminals and fonts that have no others.
    #[arg(long, global = true)]
    pub ascii: bool,
    /// How many colours the terminal has; `auto` goes by NO_COLOR, the file of contexts, TERM and
    /// COLORTERM.
    #[arg(long, visible_alias = "color", global = true, value_enum, default_value_t = ColorsArg::Auto)]
    pub colors: ColorsArg,
}

/// What else there is to do.
#[derive(Debug, Clone, Subcommand)]
pub enum Command {
    /// Plays what `--record` kept.
    Replay(Replay),
    /// Writes the table of keys, as the file of contexts has them.
    Keys,
    /// Writes the man page to standard output, or to a folder.
    Man {
        /// The folder.
        #[arg(long)]
        dir: Option<PathBuf>,
    },
}

/// `walrus-tui replay`.
#[derive(Debug, Clone, clap::Args)]
pub struct Replay {
    /// The recording.
    pub file: PathBuf,
    /// How many times as fast as it was, from 0.25 to 256.
    #[arg(long, value_name = "N", default_value = "1")]
    pub speed: Speed,
    /// With --once: the moment to show, as 12:03:07 or +90s from its beginning; its end otherwise.
    #[arg(long, value_name = "TIME", requires = "once")]
    pub at: Option<String>,
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

/// Keys by their names.
fn keys(given: &str) -> Result<std::sync::Arc<[Key]>, String> {
    let named = |name| Key::of(name).ok_or_else(|| format!("{name:?} is no key"));
    given.split_whitespace().map(named).collect()
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

/// `20s`, `2m`, or a number of seconds.
fn seconds(given: &str) -> Result<Duration, String> {
    const MOST: u64 = 3_600;
    let units = [("s", 1), ("m", 60)];
    let unit = units.iter().find_map(|(unit, one)| Some((given.strip_suffix(unit)?, *one)));
    let (number, one) = unit.unwrap_or((given, 1));
    let seconds = number.parse::<u64>().ok().and_then(|number| number.checked_mul(one));
    match seconds {
        Some(seconds @ 1..=MOST) => Ok(Duration::from_secs(seconds)),
        _ => Err("a time from 1s to 60m".to_owned()),
    }
}
