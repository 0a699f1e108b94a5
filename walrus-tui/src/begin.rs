//! From the command line, the environment and the file of contexts to a console that can begin.

use std::path::{Path, PathBuf};

use walrus_admin::context::{self, Asked, Chosen, Config, default_path};

use crate::{
    app::{App, Place, Sent, command, guard::Guard},
    args::{Args, ColorsArg, Output, View},
    screen::Screen,
    source::simulated::{Simulated, Size},
    ui::{
        keymap::Keymap,
        theme::{Colors, Theme},
    },
};

/// A variable of the environment that says something.
fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// What the file of contexts says. One that is named must be there.
///
/// # Errors
/// What is wrong with it, and where.
pub fn config(view: &View) -> Result<Config, String> {
    let named = view.config.clone();
    let must_exist = named.is_some();
    let variable = |name| set(name).map(PathBuf::from);
    let (xdg, home) = (variable("XDG_CONFIG_HOME"), variable("HOME"));
    let Some(path) = named.or_else(|| default_path(xdg.as_deref(), home.as_deref())) else {
        return Ok(Config::default());
    };
    context::load(Path::new(&path), must_exist).map_err(|why| why.to_string())
}

/// What keys do.
///
/// # Errors
/// An unknown name, or a key that would do two things.
pub fn keys(config: &Config) -> Result<Keymap, String> {
    let named = config.keys.iter().map(|(name, keys)| (name.as_str(), keys.as_slice()));
    Keymap::with(named).map_err(|why| format!("[keys] of the file of contexts: {why}"))
}

/// Which cluster is meant.
///
/// # Errors
/// It is none that is known.
pub fn chosen(args: &Args, config: &Config) -> Result<Chosen, String> {
    let (endpoints, context) = (set("WALRUS_ENDPOINTS"), set("WALRUS_CONTEXT"));
    let asked = Asked {
        endpoints: &args.endpoint,
        context: args.context.as_deref(),
        env_endpoints: endpoints.as_deref(),
        env_context: context.as_deref(),
    };
    config.choose(asked).map_err(|why| why.to_string())
}

/// A console that looks as it is to, and begins where it is to.
///
/// # Errors
/// What is asked for means nothing.
pub fn app(view: &View, config: &Config) -> Result<App, String> {
    let mut app = App::new(theme(view, config));
    app.keys = keys(config)?;
    match (&view.partition, &view.group) {
        (Some(given), _) => {
            let name = command::partition(given);
            let name = name.ok_or_else(|| format!("{given:?} is no TOPIC/PARTITION"))?;
            app.places = vec![Place::Screen(Screen::Topics), Place::Partition(name)];
        }
        (None, Some(group)) => {
            app.places = vec![Place::Screen(Screen::Groups), Place::Group(group.clone())];
        }
        (None, None) => app.places = vec![Place::Screen(view.screen)],
    }
    Ok(app)
}

/// Tells the console which cluster it is sent to.
pub fn send(app: &mut App, chosen: &Chosen, config: &Config) {
    app.sent = Sent::to(chosen);
    app.guard = Guard::new(chosen.context.production);
    app.contexts = config.contexts.keys().cloned().collect();
}

/// The cluster of `--demo`.
///
/// # Errors
/// It has more than this machine can count.
pub fn simulated(args: &Args) -> Result<Simulated, String> {
    let count = |given: u32| usize::try_from(given).map_err(|why| why.to_string());
    let size = Size { nodes: count(args.nodes)?, partitions: count(args.partitions)? };
    Ok(Simulated::new(args.seed, size))
}

/// Flags stand above the environment, that above the file of contexts.
fn theme(view: &View, config: &Config) -> Theme {
    let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
    let is_picture = view.cast.is_some() || (view.once && view.output == Output::Svg);
    let of_terminal = || match set("COLORTERM").as_deref() {
        Some("truecolor" | "24bit") => Colors::True,
        _ => Colors::Sixteen,
    };
    let colors = match (view.colors, config.theme) {
        (ColorsArg::None, _) => Colors::None,
        (ColorsArg::Sixteen, _) => Colors::Sixteen,
        (ColorsArg::True, _) => Colors::True,
        (ColorsArg::Auto, _) if is_picture => Colors::True,
        (ColorsArg::Auto, _) if set("NO_COLOR").is_some() || is_dumb => Colors::None,
        (ColorsArg::Auto, Some(context::Theme::None)) => Colors::None,
        (ColorsArg::Auto, Some(context::Theme::Sixteen)) => Colors::Sixteen,
        (ColorsArg::Auto, Some(context::Theme::True)) => Colors::True,
        (ColorsArg::Auto, Some(context::Theme::Auto) | None) => of_terminal(),
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let is_utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
    let is_written = view.once || view.cast.is_some();
    Theme { colors, ascii: view.ascii || !(is_utf8 || is_written) }
}
