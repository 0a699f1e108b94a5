//! Why a configuration was refused: what, where, why, and what to do next.

use std::{fmt, io, path::PathBuf};

use super::Source;

/// The exit status of a refused configuration, which is also clap's for wrong usage.
const EXIT_USAGE: u8 = 2;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where the value stands.
    pub source: Source,
    /// The setting, like `client.port`; of an unknown key, what was given.
    pub key: String,
    /// What was given, where one value is at fault.
    pub given: Option<String>,
    /// What is wrong with it and what is allowed.
    pub why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, key, given, why } = self;
        match (source, given) {
            (Source::Flag(name) | Source::Env(name), Some(given)) => {
                write!(f, "{name}={given}: {key} {why}")
            }
            (Source::File { .. }, Some(given)) => write!(f, "{source}: {key}: {given}: {why}"),
            (Source::Default, _) => write!(f, "{key} {why}"),
            (_, _) => write!(f, "{source}: {key} {why}"),
        }
    }
}

/// Why `walrusd` does not start with what it was told. Nothing was opened or touched.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file given with `--config` cannot be read.
    #[error(
        "the configuration file {path:?} (from --config) cannot be read: {error}\n  \
         next: give a file that is there and readable, or leave --config away"
    )]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// What the file system said.
        error: io::Error,
    },
    /// The file is no YAML, or not a mapping of sections.
    #[error("{place}: {why}\n  next: `walrusd config print -o yaml` shows a file that is accepted")]
    Syntax {
        /// File and line.
        place: Source,
        /// What the parser said.
        why: String,
    },
    /// Values that cannot be used; all of them, not only the first.
    #[error("{}", list(.0))]
    Refused(Vec<Problem>),
}

impl ConfigError {
    /// What the process exits with.
    pub fn exit_code(&self) -> u8 {
        EXIT_USAGE
    }
}

fn list(problems: &[Problem]) -> String {
    let mut text = String::from("the configuration is refused:\n");
    for problem in problems {
        text += &format!("  {problem}\n");
    }
    text += "  next: correct this and start again; `walrusd config keys` lists every setting";
    text
}
