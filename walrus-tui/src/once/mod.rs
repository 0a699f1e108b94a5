//! One picture without a terminal: for scripts, tests and the README.

pub mod cast;
pub mod svg;

use std::{
    fs::File,
    sync::{Mutex, PoisonError, mpsc::Receiver},
    time::Duration,
};

use ratatui::{buffer::Buffer, layout::Rect};
use walrus_types::UptimeMs;

use crate::{
    app::{App, Effect, Message, Place, lists::told_operations},
    model::{Seen, change::Change},
    screen::Screen,
    source::{
        Told, Wanted,
        record::{Recorder, file::Writer},
        replay::Replay,
        simulated::{STEP_MS, Simulated},
    },
    ui::{frame, keymap::Key, paint::Canvas},
};

/// How long a made-up cluster has been watched when it is written.
pub const DEMO_SECONDS: u64 = 100;

/// Draws the console as it is on so many columns and rows.
#[must_use]
pub fn picture(app: &mut App, (columns, rows): (u16, u16)) -> Buffer {
    let area = Rect::new(0, 0, columns, rows);
    let mut buffer = Buffer::empty(area);
    let theme = app.theme;
    frame::draw(app, &mut Canvas::new(&mut buffer, area, theme));
    buffer
}

/// A picture's signs, a line for each row, nothing at the ends of lines.
#[must_use]
pub fn text(buffer: &Buffer) -> String {
    let mut out = String::new();
    for y in 0..buffer.area.height {
        let mut line = String::new();
        for x in 0..buffer.area.width {
            line.push_str(buffer.cell((x, y)).map_or(" ", |cell| cell.symbol()));
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// What the present screen was made of.
#[must_use]
pub fn json(app: &App) -> serde_json::Value {
    let model = &app.model;
    let json = match app.place() {
        Place::Partition(_) => serde_json::to_value(model.chain.as_ref().and_then(Seen::known)),
        Place::Group(_) => serde_json::to_value(model.group.as_ref().and_then(Seen::known)),
        Place::Screen(Screen::Groups) => serde_json::to_value(model.group_list()),
        Place::Screen(Screen::Clients) => serde_json::to_value(model.client_list()),
        Place::Screen(Screen::Operations) => serde_json::to_value(told_operations(model)),
        Place::Screen(Screen::Events) => return model.changes.iter().map(changed).collect(),
        // None runs.
        Place::Screen(Screen::Playbooks) => return serde_json::json!([]),
        Place::Screen(_) => serde_json::to_value(model.seen()),
    };
    json.unwrap_or(serde_json::Value::Null)
}

fn changed(change: &Change) -> serde_json::Value {
    serde_json::json!({
        "at_ms": change.at,
        "severity": change.level.name(),
        "subject": change.subject.to_string(),
        "message": change.text,
    })
}

/// Why the present screen lacks what it is made of, if somebody said so.
fn failed(app: &App) -> Option<&str> {
    let model = &app.model;
    match app.place() {
        Place::Partition(_) => model.chain.as_ref()?.failed.as_deref(),
        Place::Group(_) => model.group.as_ref()?.failed.as_deref(),
        Place::Screen(Screen::Groups) => model.groups.as_ref()?.failed.as_deref(),
        Place::Screen(Screen::Clients) => model.clients.as_ref()?.failed.as_deref(),
        Place::Screen(_) => None,
    }
}

/// Waits until the source has told what the present screen needs, or why it cannot.
///
/// # Errors
/// What the source could not do.
pub fn fill(app: &mut App, told: &Receiver<Told>, patience: Duration) -> Result<(), String> {
    let began = std::time::Instant::now();
    let (mut snapshots, mut events) = (0, 0);
    loop {
        let rest = patience.saturating_sub(began.elapsed());
        let Ok(told) = told.recv_timeout(rest) else {
            return Err("nothing came in time".to_owned());
        };
        if let Told::Lost { why, .. } = &told {
            return Err(why.clone());
        }
        snapshots += u64::from(matches!(told, Told::Snapshot(_)));
        match &told {
            // What was before the console comes after the first snapshot.
            Told::Events(Some(_)) if snapshots > 0 => events += 1,
            Told::Events(None) if *app.place() == Place::Screen(Screen::Events) => {
                return Err("that node keeps no list of events".to_owned());
            }
            _ => {}
        }
        let now = UptimeMs(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        app.update(Message::Told(told), now);
        if let Some(why) = failed(app) {
            return Err(why.to_owned());
        }
        let model = &app.model;
        let is_whole = match app.place() {
            Place::Partition(_) => model.chain.is_some(),
            Place::Group(_) => model.group.is_some(),
            Place::Screen(Screen::Groups) => model.groups.is_some(),
            Place::Screen(Screen::Clients) => model.clients.is_some() && snapshots > 1,
            Place::Screen(Screen::Events) => events > 0,
            Place::Screen(Screen::Operations | Screen::Playbooks) => true,
            // What nodes do each second is what is different between two.
            Place::Screen(Screen::Topics | Screen::Leases | Screen::Raft) => true,
            Place::Screen(_) => snapshots > 1,
        };
        if is_whole && snapshots > 0 {
            return Ok(());
        }
    }
}

/// What a made-up cluster shows after so many seconds, which `file` keeps.
///
/// # Errors
/// That there is no such partition or group, or that it cannot be kept.
pub fn play(
    app: &mut App,
    simulated: &mut Simulated,
    seconds: u64,
    file: Option<&Mutex<Writer<File>>>,
) -> Result<(), String> {
    let mut now = UptimeMs(0);
    let mut recorder = Recorder::default();
    let mut tell = |app: &mut App, told: Told, now: UptimeMs| {
        if let Some(file) = file {
            let record = recorder.take(&told, now).map_err(|why| why.to_string())?;
            file.lock().unwrap_or_else(PoisonError::into_inner).push(&record)?;
        }
        app.update(Message::Told(told), now);
        Ok::<(), String>(())
    };
    for _ in 0..seconds {
        simulated.step();
        now = UptimeMs(now.0 + STEP_MS);
        tell(app, Told::Snapshot(simulated.shared()), now)?;
    }
    if let Effect::Ask(Wanted { also: Some(also), .. }) = app.ask() {
        tell(app, simulated.tell(&also), now)?;
    }
    if let Some(why) = failed(app) {
        return Err(why.to_owned());
    }
    Ok(())
}

/// Presses keys on a console of a made-up cluster, which does what they come to.
pub fn press(app: &mut App, simulated: &mut Simulated, keys: &[Key]) {
    for key in keys {
        let now = app.clock();
        for effect in app.update(Message::Key(key.event()), now) {
            match effect {
                Effect::Act(act) => drop(app.update(Message::Acted(simulated.act(&act)), now)),
                Effect::Ask(Wanted { also: Some(also), .. }) => {
                    drop(app.update(Message::Told(simulated.tell(&also)), now));
                }
                _ => {}
            }
        }
    }
}

/// Reads all of a recording.
fn read<R: std::io::Read>(app: &mut App, recording: &mut Replay<R>) {
    while app.ended().is_none() {
        let told = recording.next_told();
        drop(app.update(Message::Told(told), UptimeMs(0)));
    }
}

/// Shows a moment of a recording; its end where none is named.
///
/// # Errors
/// There is nothing in it, or nothing of what is to be shown.
pub fn at<R: std::io::Read>(
    app: &mut App,
    recording: &mut Replay<R>,
    time: Option<&str>,
) -> Result<(), String> {
    read(app, recording);
    app.show_at(time)?;
    match failed(app) {
        Some(why) => Err(why.to_owned()),
        None => Ok(()),
    }
}
