//! The whole picture: the line at the top, the present screen, the keys at the bottom.

use super::{footer, overlay, paint::Canvas, screens, scrubber, text};
use crate::{
    app::{
        App, Overlay, Place,
        past::{Pace, Past},
    },
    model::{Link, STALE_MS, change::Level, verdict},
};

/// Below this there is no room for tables.
const TABLES_WIDTH: usize = 60;
const TABLES_HEIGHT: usize = 16;

/// Draws all of it.
pub fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let (width, height) = (canvas.width(), canvas.height());
    if width < 20 || height < 4 {
        let verdict = verdict::verdict(&app.model, app.now);
        canvas.put(0, 0, &format!("walrus {}", verdict.word()), canvas.theme.level(verdict.level));
        return;
    }
    header(app, &mut canvas.part(0, 0, width, 1));
    footer::draw(app, &mut canvas.part(0, height - 1, width, 1));
    let top = if app.sent.is_production && height > TABLES_HEIGHT { 2 } else { 1 };
    if top > 1 {
        production(app, &mut canvas.part(0, 1, width, 1));
    }
    let time = usize::from(app.past.is_some());
    if time > 0 {
        scrubber::draw(app, &mut canvas.part(0, height - 2, width, 1));
    }
    let mut body = canvas.part(0, top, width, height - top - 1 - time);
    if width < TABLES_WIDTH || height < TABLES_HEIGHT {
        return card(app, &mut body);
    }
    body.old_ms = old(app);
    match app.place() {
        Place::Screen(screen) => screens::draw(app, *screen, &mut body),
        Place::Partition(name) => screens::partition::draw(app, name, &mut body),
        Place::Group(name) => screens::group::draw(app, name, &mut body),
    }
    body.old_ms = None;
    if let Some(doing) = &app.doing {
        return super::doing::draw(app, doing, &mut body);
    }
    match app.overlay {
        Some(Overlay::Help) => overlay::help(app, &mut body),
        None => {}
    }
}

/// How old what is shown is, if it is not of now.
fn old(app: &App) -> Option<u64> {
    let age = app.model.age_ms(app.now)?;
    let is_lost = matches!(app.model.link, Link::Lost { .. });
    (is_lost || age > STALE_MS).then_some(age)
}

/// How old what is shown is, in a few words.
fn age(app: &App) -> (Level, String) {
    let theme = app.theme;
    let (full, half, none) = (theme.glyph("●", "*"), theme.glyph("◐", "!"), theme.glyph("○", "o"));
    if let Some(past) = &app.past {
        return (Level::Warn, past_in_words(app, past));
    }
    match (&app.model.link, app.model.age_ms(app.now)) {
        (Link::Connecting, _) => (Level::Warn, format!("{none} CONNECTING")),
        (Link::Lost { tries, next_at, .. }, _) => {
            let wait = text::span(next_at.since(app.now));
            (Level::Error, format!("{none} DISCONNECTED, again in {wait} ({tries})"))
        }
        (Link::Live, Some(age)) if age > STALE_MS => {
            (Level::Warn, format!("{half} STALE {}", text::span(age)))
        }
        (Link::Live, age) => (Level::Info, format!("{full} LIVE {}", text::span(age.unwrap_or(0)))),
    }
}

/// What is shown instead of what is now.
fn past_in_words(app: &App, past: &Past) -> String {
    let theme = app.theme;
    let at = app.wall().map_or_else(String::new, |wall| format!(" {}", text::clock(wall)));
    let waits = if past.arrived > 0 { format!(" (+{} came)", past.arrived) } else { String::new() };
    if let Some(to) = past.going.and_then(|going| app.tape.get(going.to)) {
        let way = if to.at < app.now { "BACK" } else { "ON" };
        let to = to.wall.map_or_else(String::new, |wall| format!(" to {}", text::clock(wall)));
        return format!("{} GOING {way}{to}{waits}", theme.glyph("⟲", "<"));
    }
    match past.pace {
        Pace::Held => format!("{} FROZEN{at}{waits}", theme.glyph("❚❚", "||")),
        Pace::Plays { .. } => {
            let sign = theme.glyph("⟲ REPLAY ×", "< REPLAY x");
            format!("{sign}{}{at}{waits}", past.speed)
        }
    }
}

/// What a cluster in production is called, in its colour, over the whole width.
fn production(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let style = bar(app);
    canvas.put(0, 0, &" ".repeat(canvas.width()), style);
    let name = app.sent.context.as_deref().unwrap_or("this cluster");
    let lock = match app.guard.left_ms(app.clock()) {
        Some(ms) => format!("changes are let through for {} more", minutes(ms)),
        None if app.guard.is_shut(app.clock()) => "read-only, :rw unlocks it".to_owned(),
        None => "changes are let through".to_owned(),
    };
    let dash = theme.glyph("—", "-");
    canvas.put(1, 0, &format!("PRODUCTION {dash} {name} {dash} {lock}"), style);
}

/// Minutes and seconds.
fn minutes(ms: u64) -> String {
    let seconds = ms.div_ceil(1_000);
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

fn bar(app: &App) -> ratatui::style::Style {
    app.sent.colour.map_or_else(|| app.theme.bar(), |colour| app.theme.bar_of(colour))
}

/// The context, and whether it may be changed.
fn sent(app: &App, bar: &str) -> String {
    let name =
        app.sent.context.as_ref().map_or_else(String::new, |name| {
            format!(" {bar}{}", text::cut(name, 16, app.theme.ascii))
        });
    let lock = match app.guard.left_ms(app.clock()) {
        Some(ms) => format!(" {bar}RW {}", minutes(ms)),
        None if app.guard.is_shut(app.clock()) => format!(" {bar}RO"),
        None => String::new(),
    };
    format!("{name}{lock}")
}

fn header(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let width = canvas.width();
    let style = self::bar(app);
    canvas.put(0, 0, &" ".repeat(width), style);
    let bar = theme.glyph("▏", "|");
    let way: Vec<String> = app.places.iter().map(Place::title).collect();
    let way = way.join(theme.glyph(" › ", " > "));
    let mut left = format!(" walrus{}", sent(app, bar));
    let mut right = Vec::new();
    let (_, age) = age(app);
    right.push(age);
    if let Some(snapshot) = app.model.seen() {
        left.push_str(&format!(" {bar}{}", text::cut(&snapshot.cluster, 22, theme.ascii)));
        let serve = snapshot
            .nodes
            .iter()
            .filter(|entry| entry.silent.is_none() && entry.node.state.serves());
        let known = snapshot
            .nodes
            .iter()
            .filter(|entry| entry.node.state != walrus_admin::node::NodeState::Removed);
        let leads = snapshot.group.leader.map_or("none".to_owned(), |leader| leader.to_string());
        right.push(format!("{leads} leads, term {}", snapshot.group.term));
        right.push(format!("{}/{} nodes", serve.count(), known.count()));
    }
    right.extend(app.wall_now().map(text::clock));
    left.push_str(&format!(" {bar}{way}"));
    // What matters least goes first where there is no room: the clock, then the nodes.
    while right.len() > 1 && text::width(&left) + joined(&right, bar).1 + 2 > width {
        right.pop();
    }
    let end = canvas.put(0, 0, &left, style);
    let (line, wide) = joined(&right, bar);
    if end + wide < width {
        canvas.put_right(width - 1, 0, &line, style);
    }
}

fn joined(parts: &[String], bar: &str) -> (String, usize) {
    let line = parts.join(&format!(" {bar}"));
    let wide = text::width(&line);
    (line, wide)
}

/// Where there is no room for tables: the worst that is to be said.
fn card(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let verdict = verdict::verdict(&app.model, app.now);
    canvas.put(1, 0, verdict.word(), theme.level(verdict.level));
    let room = canvas.height().saturating_sub(2);
    for (row, fact) in verdict.facts.iter().take(room.saturating_sub(1)).enumerate() {
        let line = format!("{} {}", theme.sign(fact.level), fact.text);
        canvas.put(1, row + 1, &line, theme.level(fact.level));
    }
    let why = format!("tables need {TABLES_WIDTH}x{TABLES_HEIGHT}");
    canvas.put(1, canvas.height().saturating_sub(1), &why, theme.dim());
}
