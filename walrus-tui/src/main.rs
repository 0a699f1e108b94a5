//! `walrus-tui`: reads the command line, starts the source and the console.

use std::{
    io::{IsTerminal as _, Write as _},
    path::Path,
    process::ExitCode,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use clap::{CommandFactory as _, Parser as _};
use walrus_admin::context::Config;
use walrus_tui::{
    app::{App, Effect},
    args::{Args, Command, Output, Replay},
    begin,
    once::{self, cast, svg},
    runtime::{self, Recording, Settings},
    source::{self, Source, live, record::file::Writer, simulated::Demo},
};

/// How long `--once` waits for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// The command line cannot be carried out: as clap ends.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let done = match &args.command {
        Some(Command::Man { dir }) => man(dir.as_deref()),
        Some(Command::Keys) => keys(&args),
        Some(Command::Replay(replay)) => play(&args, replay),
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

fn wrong(why: impl std::fmt::Display) -> Failed {
    (USAGE, why.to_string())
}

fn show(args: &Args) -> Result<(), Failed> {
    let view = &args.view;
    let config = begin::config(view).map_err(wrong)?;
    let mut app = begin::app(view, &config).map_err(wrong)?;
    if let Some(path) = &view.cast {
        if !args.demo {
            return Err(wrong(
                "--cast is of --demo or of a recording: what is live has no clock of ours",
            ));
        }
        let mut simulated = begin::simulated(args).map_err(wrong)?;
        let frames = cast::demo(&mut app, &mut simulated, args.lasts);
        return write_cast(path, view.size, frames);
    }
    if !view.once {
        terminal()?;
    } else if args.record.is_some() && !args.demo {
        return Err(wrong("one screen is no recording: --record is for a console that stays"));
    }
    if view.once && args.demo {
        let mut simulated = begin::simulated(args).map_err(wrong)?;
        let file = args.record.as_deref().map(recording).transpose()?;
        once::play(&mut app, &mut simulated, once::DEMO_SECONDS, file.as_deref())
            .map_err(failed)?;
        once::press(&mut app, &mut simulated, args.press.as_deref().unwrap_or_default());
        return write_once(args, app);
    }
    let began = Instant::now();
    let source: Box<dyn Source> = if args.demo {
        Box::new(Demo::of(begin::simulated(args).map_err(wrong)?))
    } else {
        let chosen = begin::chosen(args, &config).map_err(wrong)?;
        begin::send(&mut app, &chosen, &config);
        Box::new(live::Cluster(chosen.context.endpoints))
    };
    let file = args.record.as_deref().map(recording).transpose()?;
    let running = runtime::start(source, began).map_err(failed)?;
    if view.once {
        if let Effect::Ask(wish) = app.ask() {
            drop(running.wanted.send_replace(wish));
        }
        once::fill(&mut app, &running.told, PATIENCE).map_err(failed)?;
        return write_once(args, app);
    }
    let recording = Recording { in_memory: true, file };
    run(args, app, running, Settings { began, recording, config })
}

fn recording(path: &Path) -> Result<Arc<Mutex<Writer<std::fs::File>>>, Failed> {
    let file = Writer::create(path);
    let file = file.map_err(|why| failed(format!("cannot record to {}: {why}", path.display())))?;
    Ok(Arc::new(Mutex::new(file)))
}

fn terminal() -> Result<(), Failed> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(());
    }
    Err(wrong("this is no terminal: walrus-tui --once writes one screen to anything"))
}

fn run(args: &Args, app: App, running: runtime::Running, settings: Settings) -> Result<(), Failed> {
    signals()?;
    let drawn = || assert!(!args.test_panic, "as asked for");
    runtime::run(app, running, settings, drawn).map_err(failed)
}

/// Plays a recording.
fn play(args: &Args, replay: &Replay) -> Result<(), Failed> {
    let view = &args.view;
    let config = begin::config(view).map_err(wrong)?;
    let mut app = begin::app(view, &config).map_err(wrong)?;
    app.replay(replay.speed);
    let mut recording = source::replay::Replay::open(&replay.file).map_err(failed)?;
    if let Some(path) = &view.cast {
        let frames = cast::replay(&mut app, &mut recording);
        return write_cast(path, view.size, frames);
    }
    if view.once {
        once::at(&mut app, &mut recording, replay.at.as_deref()).map_err(failed)?;
        return write_once(args, app);
    }
    terminal()?;
    let began = Instant::now();
    let running = runtime::start(Box::new(recording), began).map_err(failed)?;
    let settings = Settings { began, recording: Recording::default(), config: Config::default() };
    run(args, app, running, settings)
}

fn keys(args: &Args) -> Result<(), Failed> {
    let config = begin::config(&args.view).map_err(wrong)?;
    let table = begin::keys(&config).map_err(wrong)?.markdown();
    std::io::stdout().write_all(table.as_bytes()).map_err(failed)
}

fn write_cast(
    path: &Path,
    size: (u16, u16),
    mut frames: impl FnMut(&mut cast::Cast) -> Result<(), String>,
) -> Result<(), Failed> {
    let mut cast = cast::Cast::new(size).map_err(failed)?;
    frames(&mut cast).map_err(failed)?;
    std::fs::write(path, cast.written()).map_err(|why| failed(format!("{}: {why}", path.display())))
}

fn write_once(args: &Args, mut app: App) -> Result<(), Failed> {
    let size = args.view.size;
    let written = match args.view.output {
        Output::Text => once::text(&once::picture(&mut app, size)),
        Output::Json => {
            let json = serde_json::to_string_pretty(&once::json(&app)).map_err(failed)?;
            format!("{json}\n")
        }
        Output::Svg => svg::svg(&once::picture(&mut app, size)),
    };
    std::io::stdout().write_all(written.as_bytes()).map_err(failed)
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
