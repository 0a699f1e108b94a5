//! The whole picture: the line at the top, the present screen, the keys at the bottom.

use super::{
    keymap::{self, IN_FOOTER, KEYS},
    paint::Canvas,
    screens, text,
};
use crate::{
    app::{App, Place, Typing, command},
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
    footer(app, &mut canvas.part(0, height - 1, width, 1));
    let mut body = canvas.part(0, 1, width, height - 2);
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
    if app.helps {
        help(&mut body);
    }
}

/// How old what is shown is, if it is not of now.
fn old(app: &App) -> Option<u64> {
    let age = app.model.age_ms(app.now)?;
    let is_lost = matches!(app.model.link, Link::Lost { .. });
    (is_lost || app.frozen.is_some() || age > STALE_MS).then_some(age)
}

/// How old what is shown is, in a few words.
fn age(app: &App) -> (Level, String) {
    let theme = app.theme;
    let (full, half, none) = (theme.glyph("●", "*"), theme.glyph("◐", "!"), theme.glyph("○", "o"));
    if let Some(frozen) = &app.frozen {
        let since = text::span(app.now.since(frozen.since));
        let sign = theme.glyph("‖", "=");
        return (Level::Warn, format!("{sign} FROZEN {since}, {} wait", frozen.waiting.len()));
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

fn header(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let width = canvas.width();
    canvas.put(0, 0, &" ".repeat(width), theme.bar());
    let bar = theme.glyph("▏", "|");
    let way: Vec<String> = app.places.iter().map(Place::title).collect();
    let way = way.join(theme.glyph(" › ", " > "));
    let mut left = " walrus".to_owned();
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
    right.extend(app.wall().map(text::clock));
    left.push_str(&format!(" {bar}{way}"));
    // What matters least goes first where there is no room: the clock, then the nodes.
    while right.len() > 1 && text::width(&left) + joined(&right, bar).1 + 2 > width {
        right.pop();
    }
    let end = canvas.put(0, 0, &left, theme.bar());
    let (line, wide) = joined(&right, bar);
    if end + wide < width {
        canvas.put_right(width - 1, 0, &line, theme.bar());
    }
}

fn joined(parts: &[String], bar: &str) -> (String, usize) {
    let line = parts.join(&format!(" {bar}"));
    let wide = text::width(&line);
    (line, wide)
}

fn footer(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    if let Some(typing) = &app.typing {
        return typed(app, typing, canvas);
    }
    let hint = |binding: &keymap::Binding| (binding.keys[0].name(), binding.what);
    let wide = |(key, what): &(String, &str)| text::width(key) + 1 + text::width(what);
    // Whatever else there is room for, the way out is shown.
    let quit = KEYS.iter().find(|binding| binding.action == keymap::Action::Quit).map(hint);
    let room = canvas.width().saturating_sub(quit.as_ref().map_or(0, |quit| wide(quit) + 1));
    let mut put = |x: usize, (key, what): (String, &str)| {
        let x = canvas.put(x, 0, &key, theme.strong());
        canvas.put(x + 1, 0, what, theme.dim()) + 2
    };
    let mut x = put(1, ("1-0".to_owned(), "screens"));
    for hint in KEYS.iter().take(IN_FOOTER).map(hint) {
        if x + wide(&hint) + 1 > room {
            break;
        }
        x = put(x, hint);
    }
    if let Some(quit) = quit {
        put(room, quit);
    }
}

/// What is being typed, and what it may mean.
fn typed(app: &App, typing: &Typing, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let filter = app.listing().map(|listing| app.lists.of(listing).filter.as_str());
    let (what, text) = match typing {
        Typing::Filter => ("filter: ", filter.unwrap_or_default()),
        Typing::Command(text) => ("go to: ", text.as_str()),
    };
    let end = canvas.put(1, 0, what, theme.strong());
    let end = canvas.put(end, 0, text, theme.text());
    let end = canvas.put(end, 0, theme.glyph("█", "_"), theme.text());
    if let Typing::Command(text) = typing {
        let offers = command::offers(&app.model, text);
        let hint = match offers.first() {
            Some(_) => offers.join("  "),
            None if command::goal(&app.model, text).is_some() => "enter goes there".to_owned(),
            None => "there is nothing of that name".to_owned(),
        };
        canvas.put(end + 2, 0, &hint, theme.dim());
    }
}

fn help(canvas: &mut Canvas<'_>) {
    let rows = KEYS.len().div_ceil(2);
    let (width, height) = (76.min(canvas.width()), (rows + 4).min(canvas.height()));
    let (x, y) = ((canvas.width() - width) / 2, (canvas.height() - height) / 2);
    let mut popup = canvas.part(x, y, width, height);
    for row in 0..height {
        popup.put(0, row, &" ".repeat(width), popup.theme.text());
    }
    let mut inside = popup.framed("Keys");
    let theme = inside.theme;
    for (at, binding) in KEYS.iter().enumerate() {
        let (x, row) = (1 + at / rows * 38, at % rows);
        let keys: Vec<String> = binding.keys.iter().map(|key| keymap::Key::name(*key)).collect();
        inside.put(x, row, &keys.join(", "), theme.strong());
        inside.put(x + 15, row, binding.what, theme.text());
    }
    inside.put(1, rows + 1, "nothing here changes the cluster", theme.dim());
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
