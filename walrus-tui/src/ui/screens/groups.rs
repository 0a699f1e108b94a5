//! Consumer groups: how far each is behind in records, bytes and time, and what it will lose.

use walrus_admin::group::{Group, GroupList, Risk};

use super::said;
use crate::{
    app::{App, lists::Listing},
    model::{STALE_MS, Seen, change::Level},
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, rest, words},
        text,
        theme::Theme,
    },
};

const COLUMNS: &[Column] = &[
    words("GROUP", 24, 0),
    words("STATE", 12, 2),
    numbers("MEMBERS", 7, 3),
    numbers("PARTITIONS", 10, 5),
    numbers("RECORDS", 12, 0),
    numbers("BYTES", 9, 3),
    numbers("TIME", 7, 0),
    numbers("LOST", 10, 4),
    words("COORDINATOR", 11, 6),
    rest("RISK", 20, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some((groups, at)) = app.model.groups.as_ref().and_then(|seen| seen.newest.as_ref()) else {
        let failed = app.model.groups.as_ref().and_then(|seen| seen.failed.as_deref());
        return said(canvas, "Groups", failed.unwrap_or("asking for the groups"));
    };
    super::aged(app, *at, STALE_MS, canvas);
    let failed = app.model.groups.as_ref().and_then(|seen: &Seen<_, _>| seen.failed.as_deref());
    let title = super::title(app, Listing::Groups, "groups");
    let mut inside = canvas.framed(&title);
    let below = notes(groups, failed);
    let rows = inside.height().saturating_sub(below.len());
    let listed = app.lists.of(Listing::Groups);
    let window = listed.window.fitted(listed.rows.len(), rows.saturating_sub(1));
    let wide = inside.width();
    let theme = inside.theme;
    table::draw(
        &mut inside.part(0, 0, wide, rows),
        COLUMNS,
        (listed.rows.len(), Some(window)),
        |row| {
            groups.items.get(listed.rows[row].0).map_or_else(Vec::new, |group| cells(theme, group))
        },
    );
    for (row, note) in below.iter().enumerate() {
        inside.put(1, rows + row, note, theme.level(Level::Warn));
    }
    if groups.items.is_empty() {
        inside.put(1, 1, "there are no groups", theme.dim());
    }
}

/// What is missing in the list.
fn notes(groups: &GroupList, failed: Option<&str>) -> Vec<String> {
    let missing = groups.missing.iter();
    let mut notes: Vec<String> = missing
        .map(|one| format!("! the groups of {} are missing: {}", one.node, one.why))
        .collect();
    notes.extend(failed.map(|why| format!("! asked again without an answer: {why}")));
    if groups.next.is_some() {
        notes.push(format!("! there are more than these {}", groups.items.len()));
    }
    notes
}

fn cells(theme: Theme, group: &Group) -> Vec<Cell> {
    let whole = |number: u64| text::whole(i64::try_from(number).unwrap_or(i64::MAX));
    // A sum that lacks some of its parts is less than the truth.
    let least = |shown: String| if group.unknown > 0 { format!("≥{shown}") } else { shown };
    let least =
        |shown: String| if theme.ascii { least(shown).replace('≥', ">=") } else { least(shown) };
    let lost = if group.lost_records > 0 { theme.level(Level::Error) } else { theme.dim() };
    let (level, risk) = risk(theme, group.risk.as_ref());
    vec![
        Cell::new(group.group.clone(), theme.strong()),
        Cell::from(group.state.clone()),
        Cell::from(group.members.to_string()),
        Cell::from(group.partitions.to_string()),
        Cell::from(least(whole(group.lag_records))),
        Cell::from(least(text::bytes(group.lag_bytes as f64))),
        Cell::from(least(text::span(group.lag_ms))),
        Cell::new(whole(group.lost_records), lost),
        Cell::from(group.coordinator.to_string()),
        Cell::new(risk, theme.level(level)),
    ]
}

/// What will be lost, in words: of which partition, and when.
fn risk(theme: Theme, risk: Option<&Risk>) -> (Level, String) {
    let Some(found) = risk else { return (Level::Info, "-".to_owned()) };
    let (level, what) = loss(found);
    (level, format!("{} {}/{} {what}", theme.sign(level), found.topic, found.partition))
}

/// What of a partition will be lost, in words.
pub(super) fn loss(risk: &Risk) -> (Level, String) {
    let by = risk.setting.as_deref().unwrap_or("retention");
    match risk.in_ms {
        0 => (Level::Error, format!("LOST from {}", text::whole(risk.from.0))),
        in_ms => (Level::Warn, format!("lost in {} ({by})", text::span(in_ms))),
    }
}
