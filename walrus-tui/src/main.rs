//! `walrus-tui`: reads the command line, starts the source and the console.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{CommandFactory as _, Parser as _};
use walrus_admin::Endpoint;
use walrus_tui::{
    app::{App, Effect, Place, command},
    args::{Args, ColorsArg, Command, Output},
    once::{self, svg},
    runtime::{self, From},
    screen::Screen,
    source::simulated::{Simulated, Size},
    ui::theme::{Colors, Theme},
};

/// How long `--once` waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The command line cannot be carried out: as clap ends.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Man { dir }) => man(dir.as_deref()),
        None => show(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err((status, why)) => {
            // The terminal is given back by now.
            drop(writeln!(std::io::stderr(), "walrus-tui: {why}"));
            status.into()
        }
    }
}

type Failed = (u8, String);

fn failed(why: impl std::fmt::Display) -> Failed {
    (1, why.to_string())
}

fn show(args: &Args) -> Result<(), Failed> {
    let mut app = App::new(theme(args));
    match (&args.partition, &args.group) {
        (Some(given), _) => {
            let name = command::partition(given);
            let name = name.ok_or_else(|| (USAGE, format!("{given:?} is no TOPIC/PARTITION")))?;
            app.places = vec![Place::Screen(Screen::Topics), Place::Partition(name)];
        }
        (None, Some(group)) => {
            app.places = vec![Place::Screen(Screen::Groups), Place::Group(group.clone())];
        }
        (None, None) => app.places = vec![Place::Screen(args.screen)],
    }
    if let Some(why) = args.screen.absent().filter(|_| args.once) {
        return Err((USAGE, format!("there is no {} to write: {why}", args.screen.title())));
    }
    let is_terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    if args.once && !args.demo && args.screen == Screen::Events {
        let why = "changes are what a console sees while it runs: there are none to write at once";
        return Err((USAGE, why.to_owned()));
    }
    if !args.once && !is_terminal {
        let why = "this is no terminal: walrus-tui --once writes one screen to anything";
        return Err((USAGE, why.to_owned()));
    }
    if args.once && args.demo {
        let mut simulated = simulated(args)?;
        once::play(&mut app, &mut simulated, once::DEMO_SECONDS).map_err(failed)?;
        return write_once(args, app);
    }
    let began = Instant::now();
    let running = runtime::start(source(args)?, began).map_err(failed)?;
    if let Effect::Ask(wish) = app.ask() {
        drop(running.wanted.send_replace(wish));
    }
    if args.once {
        once::fill(&mut app, &running.told, PATIENCE).map_err(failed)?;
        return write_once(args, app);
    }
    signals()?;
    let drawn = || assert!(!args.test_panic, "as asked for");
    runtime::run(app, running, began, drawn).map_err(failed)
}

fn simulated(args: &Args) -> Result<Simulated, Failed> {
    let count = |given: u32| usize::try_from(given).map_err(failed);
    let size = Size { nodes: count(args.nodes)?, partitions: count(args.partitions)? };
    Ok(Simulated::new(args.seed, size))
}

fn source(args: &Args) -> Result<From, Failed> {
    if args.demo {
        return Ok(From::Demo(Box::new(simulated(args)?)));
    }
    let mut endpoints = args.endpoint.clone();
    if endpoints.is_empty() {
        let local: Endpoint = "127.0.0.1:7071".parse().map_err(failed)?;
        endpoints.push(local);
    }
    Ok(From::Cluster(endpoints))
}

fn write_once(args: &Args, mut app: App) -> Result<(), Failed> {
    let written = match args.output {
        Output::Text => once::text(&once::picture(&mut app, args.size)),
        Output::Json => {
            let json = serde_json::to_string_pretty(&once::json(&app)).map_err(failed)?;
            format!("{json}\n")
        }
        Output::Svg => svg::svg(&once::picture(&mut app, args.size)),
    };
    std::io::stdout().write_all(written.as_bytes()).map_err(failed)
}

fn theme(args: &Args) -> Theme {
    let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let is_dumb = set("TERM").is_none_or(|term| term == "dumb");
    let colors = match args.colors {
        ColorsArg::None => Colors::None,
        ColorsArg::Sixteen => Colors::Sixteen,
        ColorsArg::True => Colors::True,
        ColorsArg::Auto if args.once && args.output == Output::Svg => Colors::True,
        ColorsArg::Auto if set("NO_COLOR").is_some() || is_dumb => Colors::None,
        ColorsArg::Auto => match set("COLORTERM").as_deref() {
            Some("truecolor" | "24bit") => Colors::True,
            _ => Colors::Sixteen,
        },
    };
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set).unwrap_or_default();
    let is_utf8 = locale.to_lowercase().replace('-', "").contains("utf8");
    Theme { colors, ascii: args.ascii || !(is_utf8 || args.once) }
}

/// Signals that end a program give the terminal back first.
fn signals() -> Result<(), Failed> {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let wait = move || {
        runtime.block_on(async {
            let kinds = [
                SignalKind::terminate(),
                SignalKind::interrupt(),
                SignalKind::quit(),
                SignalKind::hangup(),
            ];
            let Ok(mut signals) = kinds.map(signal).into_iter().collect::<Result<Vec<_>, _>>()
            else {
                return;
            };
            let numbers = kinds.map(|kind| kind.as_raw_value());
            let (terminate, rest) = signals.split_at_mut(1);
            let (interrupt, rest) = rest.split_at_mut(1);
            let (quit, hangup) = rest.split_at_mut(1);
            let at = tokio::select! {
                _ = terminate[0].recv() => 0,
                _ = interrupt[0].recv() => 1,
                _ = quit[0].recv() => 2,
                _ = hangup[0].recv() => 3,
            };
            runtime::restore();
            std::process::exit(128 + numbers[at]);
        });
    };
    drop(std::thread::Builder::new().name("signals".to_owned()).spawn(wait).map_err(failed)?);
    Ok(())
}

fn man(dir: Option<&std::path::Path>) -> Result<(), Failed> {
    let command = Args::command();
    if let Some(dir) = dir {
        std::fs::create_dir_all(dir).map_err(failed)?;
        return clap_mangen::generate_to(command, dir).map_err(failed);
    }
    clap_mangen::Man::new(command).render(&mut std::io::stdout()).map_err(failed)
}
