//! One picture without a terminal: for scripts, tests and the README.

pub mod svg;

use std::{
    sync::{Arc, mpsc::Receiver},
    time::Duration,
};

use ratatui::{buffer::Buffer, layout::Rect};
use walrus_types::UptimeMs;

use crate::{
    app::{App, Message, Place},
    screen::Screen,
    source::{
        CHAIN_LINKS, Told,
        simulated::{STEP_MS, Simulated},
    },
    ui::{frame, paint::Canvas},
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
    let chain = app.model.chain.as_ref().and_then(|seen| seen.chain());
    match (app.place(), app.model.seen()) {
        (Place::Partition(_), _) => serde_json::to_value(chain),
        (_, Some(snapshot)) => serde_json::to_value(snapshot),
        (_, None) => Ok(serde_json::Value::Null),
    }
    .unwrap_or(serde_json::Value::Null)
}

/// Waits until the source has told what the present screen needs, or why it cannot.
///
/// # Errors
/// What the source could not do.
pub fn fill(app: &mut App, told: &Receiver<Told>, patience: Duration) -> Result<(), String> {
    let began = std::time::Instant::now();
    let mut snapshots = 0;
    loop {
        let rest = patience.saturating_sub(began.elapsed());
        let Ok(told) = told.recv_timeout(rest) else {
            return Err("nothing came in time".to_owned());
        };
        if let Told::Lost { why, .. } = &told {
            return Err(why.clone());
        }
        snapshots += u64::from(matches!(told, Told::Snapshot(_)));
        let now = UptimeMs(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        app.update(Message::Told(told), now);
        let is_whole = match app.place() {
            Place::Partition(_) => app.model.chain.is_some() && snapshots > 0,
            // What nodes do each second is what is different between two.
            Place::Screen(Screen::Overview | Screen::Nodes) => snapshots > 1,
            Place::Screen(_) => snapshots > 0,
        };
        if is_whole {
            return Ok(());
        }
    }
}

/// What a made-up cluster shows after so many seconds.
///
/// # Errors
/// That there is no such partition.
pub fn play(app: &mut App, simulated: &mut Simulated, seconds: u64) -> Result<(), String> {
    let mut now = UptimeMs(0);
    for _ in 0..seconds {
        simulated.step();
        now = UptimeMs(now.0 + STEP_MS);
        app.update(Message::Told(Told::Snapshot(simulated.shared())), now);
    }
    if let Place::Partition(name) = app.place().clone() {
        let chain = simulated.chain(&name, CHAIN_LINKS)?;
        app.update(Message::Told(Told::Chain { name, chain: Ok(Arc::new(chain)) }), now);
    }
    Ok(())
}
