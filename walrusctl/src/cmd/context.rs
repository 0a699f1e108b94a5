//! `walrusctl context`: the clusters that have names. It asks no node.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
};

use serde::Serialize;
use walrus_admin::{
    Kind,
    context::{self, Asked, Config, ConfigError, NoContext, default_path},
};

use crate::{
    cli::Context,
    failure::{Exit, Failure},
    out::{Console, Flush, table},
};

/// The contexts of the file.
#[derive(Debug, Serialize)]
struct ContextList {
    /// The file; missing where there is no place for one.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<String>,
    items: Vec<Shown>,
}

impl Kind for ContextList {
    const KIND: &'static str = "ContextList";
}

/// A context.
#[derive(Debug, Serialize)]
struct Shown {
    /// Its name; missing where endpoints were named, or nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    /// Whether it is the one that is meant now.
    is_meant: bool,
    endpoints: Vec<String>,
    production: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    colour: Option<String>,
}

impl Kind for Shown {
    const KIND: &'static str = "Context";
}

impl Shown {
    fn of(name: Option<&str>, is_meant: bool, context: &context::Context) -> Self {
        Self {
            name: name.map(str::to_owned),
            is_meant,
            endpoints: context.endpoints.iter().map(ToString::to_string).collect(),
            production: context.production,
            colour: context.colour.map(|colour| colour.to_string()),
        }
    }

    fn row(&self) -> Vec<String> {
        vec![
            if self.is_meant { "*" } else { " " }.to_owned(),
            self.name.clone().unwrap_or_else(|| "-".to_owned()),
            self.endpoints.join(" "),
            if self.production { "yes" } else { "no" }.to_owned(),
            self.colour.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }
}

/// Does what was asked.
///
/// # Errors
/// The file says what means nothing, or cannot be written.
pub(crate) fn run(
    verb: &Context,
    file: Option<&Path>,
    asked: Asked<'_>,
    console: &Console,
) -> Result<(), Failure> {
    let (path, config) = config(file)?;
    match verb {
        Context::List => {
            let meant = config.choose(asked).ok().and_then(|chosen| chosen.name);
            let items = config.contexts.iter().map(|(name, context)| {
                Shown::of(Some(name), meant.as_deref() == Some(name), context)
            });
            let list = ContextList {
                file: path.as_ref().map(|path| path.display().to_string()),
                items: items.collect(),
            };
            console.show(&list, |list| rows(&list.items))?;
            if list.items.is_empty() {
                let path = list.file.as_deref().unwrap_or("walrus/config.toml");
                console.note(format_args!("{path} has no contexts"));
            }
            Ok(())
        }
        Context::Show => {
            let chosen = config.choose(asked).map_err(not_chosen)?;
            let shown = Shown::of(chosen.name.as_deref(), true, &chosen.context);
            console.show(&shown, |shown| rows(std::slice::from_ref(shown)))
        }
        Context::Use { name } => {
            config.named(name).map_err(not_chosen)?;
            let path = path.ok_or_else(no_place)?;
            let failed = |why| Failure::new(Exit::Failed, "the context is not changed", why);
            let text = context::read(&path).map_err(failed)?;
            let text = context::with_current(&path, &text, name).map_err(wrong)?;
            replace(&path, &text).map_err(failed)?;
            console.note(format_args!("{name} is meant now where nobody says otherwise"));
            Ok(())
        }
    }
}

fn rows(items: &[Shown]) -> String {
    let head = [
        ("", Flush::Left),
        ("NAME", Flush::Left),
        ("ENDPOINTS", Flush::Left),
        ("PRODUCTION", Flush::Left),
        ("COLOUR", Flush::Left),
    ];
    let rows: Vec<Vec<String>> = items.iter().map(Shown::row).collect();
    table(&head, &rows)
}

/// The file, and what it says. One that is named must be there.
pub(crate) fn config(named: Option<&Path>) -> Result<(Option<PathBuf>, Config), Failure> {
    let variable = |name| std::env::var_os(name).filter(|set| !set.is_empty()).map(PathBuf::from);
    let (xdg, home) = (variable("XDG_CONFIG_HOME"), variable("HOME"));
    let path = named.map(Path::to_owned);
    let Some(path) = path.or_else(|| default_path(xdg.as_deref(), home.as_deref())) else {
        return Ok((None, Config::default()));
    };
    let config = context::load(&path, named.is_some()).map_err(wrong)?;
    Ok((Some(path), config))
}

/// As a failure of usage: the file is to be mended.
fn wrong(why: ConfigError) -> Failure {
    Failure::new(Exit::Usage, "the file of contexts", why)
}

pub(crate) fn not_chosen(why: NoContext) -> Failure {
    match &why {
        NoContext::Unknown { .. } => Failure::new(Exit::NotFound, "no context", why),
        NoContext::Endpoint(_) | NoContext::Nothing { .. } => {
            Failure::new(Exit::Usage, "no endpoint", why)
        }
    }
}

fn no_place() -> Failure {
    Failure::new(Exit::Usage, "no file of contexts", "give --config, or set HOME")
}

/// Writes the file anew beside itself and puts that in its place: whatever happens, one of both
/// is there whole.
fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    // Who keeps the file elsewhere has a link here, which is to stay one.
    let path = path.canonicalize()?;
    let beside = path.with_extension("toml.new");
    let mut file = std::fs::File::create(&beside)?;
    file.set_permissions(std::fs::metadata(&path)?.permissions())?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&beside, &path)
}
