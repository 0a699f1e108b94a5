//! Which cluster is meant: contexts, by their names, from a file that `walrusctl` and `walrus-tui`
//! share. Owns no environment and no flags: those come in as parameters.
//!
//! ```toml
//! current = "staging"
//! theme = "true"              # auto, none, sixteen, true
//!
//! [contexts.staging]
//! endpoints = ["n1:7071", "n2:7071"]
//!
//! [contexts.prod-eu]
//! endpoints = ["10.0.0.1:7071", "10.0.0.2:7071"]
//! production = true           # walrus-tui begins read-only
//! colour = "red"              # or "#c02020"
//!
//! [keys]
//! sort = ["o", "f2"]
//! ```

mod colour;
mod file;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use thiserror::Error;

pub use self::{
    colour::{Colour, NotAColour},
    file::{parse, with_current},
};
use crate::{Endpoint, NotAnEndpoint};

/// The longest file that is read.
pub const FILE_MAX: u64 = 1 << 20;
/// Where a node listens that was told nothing.
const DEFAULT_ENDPOINT: &str = "127.0.0.1:7071";

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// The clusters, by the names that people give them.
    pub contexts: BTreeMap<String, Context>,
    /// The one that is meant where nobody says another.
    pub current: Option<String>,
    /// Other keys for actions of `walrus-tui`, by their names.
    pub keys: BTreeMap<String, Vec<String>>,
    /// The colours of `walrus-tui`.
    pub theme: Option<Theme>,
}

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// Admin ports of its nodes; never empty.
    pub endpoints: Vec<Endpoint>,
    /// Whether a mistake there would be one in earnest.
    pub production: bool,
    /// What its header looks like.
    pub colour: Option<Colour>,
}

/// How many colours there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// As the terminal says.
    Auto,
    /// None.
    None,
    /// Sixteen.
    Sixteen,
    /// All.
    True,
}

/// What is wrong with the file, and where.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("{}: {why}", path.display())]
    Unread {
        /// The file.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
    /// It says something that means nothing.
    #[error("{}:{line}: {key}: {why}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is said wrongly, by its whole name; empty where it is no TOML.
        key: String,
        /// What is wrong with it.
        why: String,
    },
}

/// What names a cluster, the strongest first.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// Endpoints of the command line.
    pub endpoints: &'a [Endpoint],
    /// The context of the command line.
    pub context: Option<&'a str>,
    /// Endpoints of the environment, separated by commas; an empty text is none.
    pub env_endpoints: Option<&'a str>,
    /// `WALRUS_CONTEXT`.
    pub env_context: Option<&'a str>,
}

/// Which cluster is meant.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chosen {
    /// The context's name; `None` where endpoints were named, or nothing.
    pub name: Option<String>,
    /// What is known of it.
    pub context: Context,
}

/// Why none is.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoContext {
    /// There is none of that name.
    #[error("there is no context {name:?}{}", there_are(known))]
    Unknown {
        /// As it was called.
        name: String,
        /// Those that there are.
        known: Vec<String>,
    },
    /// An endpoint of the environment is none.
    #[error(transparent)]
    Endpoint(#[from] NotAnEndpoint),
    /// The environment names no endpoint.
    #[error("the environment names no endpoint: {given:?}")]
    Nothing {
        /// What it says.
        given: String,
    },
}

fn there_are(known: &[String]) -> String {
    match known {
        [] => "; the file has none".to_owned(),
        known => format!("; there are {}", known.join(", ")),
    }
}

impl Config {
    /// Which cluster is meant. Flags stand above the environment, that above the file; without any
    /// it is this machine's.
    ///
    /// # Errors
    /// What is named is not there.
    pub fn choose(&self, asked: Asked<'_>) -> Result<Chosen, NoContext> {
        let set = |text: Option<&'_ str>| {
            text.map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let of = |endpoints: Vec<Endpoint>| Chosen {
            name: None,
            context: Context { endpoints, ..Context::default() },
        };
        if !asked.endpoints.is_empty() {
            return Ok(of(asked.endpoints.to_vec()));
        }
        if let Some(name) = asked.context {
            return self.named(name);
        }
        if let Some(given) = set(asked.env_endpoints) {
            let each = given.split(',').map(str::trim).filter(|one| !one.is_empty());
            let endpoints: Vec<Endpoint> = each.map(str::parse).collect::<Result<_, _>>()?;
            if endpoints.is_empty() {
                return Err(NoContext::Nothing { given });
            }
            return Ok(of(endpoints));
        }
        match set(asked.env_context).or_else(|| self.current.clone()) {
            Some(name) => self.named(&name),
            None => Ok(of(vec![DEFAULT_ENDPOINT.parse()?])),
        }
    }

    /// A context by its name.
    ///
    /// # Errors
    /// There is none.
    pub fn named(&self, name: &str) -> Result<Chosen, NoContext> {
        let context = self.contexts.get(name).cloned().ok_or_else(|| NoContext::Unknown {
            name: name.to_owned(),
            known: self.contexts.keys().cloned().collect(),
        })?;
        Ok(Chosen { name: Some(name.to_owned()), context })
    }
}

/// Where the file is where nobody says otherwise: `$XDG_CONFIG_HOME/walrus/config.toml`, or under
/// `~/.config`. `None` without either.
#[must_use]
pub fn default_path(xdg_config_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    // The specification says that a path which is not absolute counts as unset.
    let xdg = xdg_config_home.filter(|path| path.is_absolute()).map(Path::to_owned);
    let folder = xdg.or_else(|| home.map(|home| home.join(".config")))?;
    Some(folder.join("walrus").join("config.toml"))
}

/// Reads a file. One that is not there says nothing, unless it `must_exist`.
///
/// # Errors
/// It cannot be read, or says what means nothing.
pub fn load(path: &Path, must_exist: bool) -> Result<Config, ConfigError> {
    match read(path) {
        Ok(text) => parse(path, &text),
        Err(why) if why.kind() == std::io::ErrorKind::NotFound && !must_exist => {
            Ok(Config::default())
        }
        Err(why) => Err(ConfigError::Unread { path: path.to_owned(), why: why.to_string() }),
    }
}

/// The file's text.
///
/// # Errors
/// What the system said, or that it is longer than [`FILE_MAX`].
pub fn read(path: &Path) -> std::io::Result<String> {
    use std::io::Read as _;
    let mut text = String::new();
    std::fs::File::open(path)?.take(FILE_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > FILE_MAX {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Config {
        let text = "current = \"c\"\n[contexts.a]\nendpoints = [\"a:1\"]\n\
                    [contexts.b]\nendpoints = [\"b:1\"]\nproduction = true\n\
                    [contexts.c]\nendpoints = [\"c:1\"]\n";
        parse(Path::new("f"), text).unwrap()
    }

    #[test]
    fn flags_stand_above_the_environment_and_that_above_the_file() {
        let flag: [Endpoint; 1] = ["flag:1".parse().unwrap()];
        let nothing = Asked::default();
        let cases = [
            (Asked { endpoints: &flag, context: Some("a"), ..nothing }, "flag:1"),
            (Asked { context: Some("a"), env_endpoints: Some("env:1"), ..nothing }, "a:1"),
            (
                Asked { env_endpoints: Some("e:1, f:2,"), env_context: Some("b"), ..nothing },
                "e:1 f:2",
            ),
            (Asked { env_endpoints: Some(" "), env_context: Some("b"), ..nothing }, "b:1"),
            (Asked { env_context: Some(""), ..nothing }, "c:1"),
            (nothing, "c:1"),
        ];
        for (asked, expected) in cases {
            let chosen = config().choose(asked).unwrap();
            let shown: Vec<String> =
                chosen.context.endpoints.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), expected, "{asked:?}");
        }
        let without = Config::default().choose(nothing).unwrap();
        assert_eq!(without.context.endpoints[0].to_string(), DEFAULT_ENDPOINT);
        assert!(config().named("b").unwrap().context.production);
        for wrong in [",", "b", "b:2 c:3"] {
            let asked = Asked { env_endpoints: Some(wrong), ..nothing };
            config().choose(asked).unwrap_err();
        }
        let why = config().named("d").unwrap_err().to_string();
        assert_eq!(why, "there is no context \"d\"; there are a, b, c");
    }

    #[test]
    fn the_file_is_where_the_system_keeps_such_files() {
        let path = |xdg: Option<&str>, home: Option<&str>| {
            default_path(xdg.map(Path::new), home.map(Path::new))
                .map(|path| path.display().to_string())
        };
        let expected = |at: &str| Some(at.to_owned());
        assert_eq!(path(Some("/x"), Some("/h")), expected("/x/walrus/config.toml"));
        assert_eq!(path(Some("x"), Some("/h")), expected("/h/.config/walrus/config.toml"));
        assert_eq!(path(None, Some("/h")), expected("/h/.config/walrus/config.toml"));
        assert_eq!(path(None, None), None);
    }
}
