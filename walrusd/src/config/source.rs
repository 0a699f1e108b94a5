//! Where a value came from.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

/// The place that decided a setting's value, greatest precedence first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A flag, with its dashes.
    Flag(&'static str),
    /// An environment variable.
    Env(&'static str),
    /// A line of the file given with `--config`, counted from 1.
    File {
        /// As it was given.
        path: Arc<Path>,
        /// 0 when it is the file as a whole.
        line: usize,
    },
    /// Nobody said anything.
    Default,
}

impl Source {
    /// A word for scripts: `flag`, `env`, `file`, `default`.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Flag(_) => "flag",
            Self::Env(_) => "env",
            Self::File { .. } => "file",
            Self::Default => "default",
        }
    }

    pub(super) fn line_of(path: &Arc<Path>, line: usize) -> Self {
        Self::File { path: Arc::clone(path), line }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) | Self::Env(name) => f.write_str(name),
            Self::File { path, line: 0 } => write!(f, "{}", path.display()),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

impl From<&PathBuf> for Source {
    fn from(path: &PathBuf) -> Self {
        Self::File { path: Arc::from(path.as_path()), line: 0 }
    }
}
