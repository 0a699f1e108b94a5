//! Operations: what the cluster is doing because somebody asked for it, and what it did of late.

use walrus_admin::operation::{Operation, OperationState};

use super::nothing_yet;
use crate::{
    app::{App, lists::Listing},
    model::change::Level,
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, rest, words},
        text,
        theme::Theme,
    },
};

/// Rows for the chosen one.
const DETAIL_ROWS: usize = 9;
/// Cells of a bar.
const BAR: usize = 8;

const COLUMNS: &[Column] = &[
    numbers("ID", 6, 0),
    words("VERB", 13, 0),
    words("SUBJECT", 14, 0),
    words("STATE", 9, 0),
    words("DONE", 17, 0),
    numbers("LEFT", 6, 1),
    words("BY", 18, 2),
    rest("NOW", 12, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let operations = snapshot.operations.as_deref().unwrap_or_default();
    let (width, height) = (canvas.width(), canvas.height());
    let detail = DETAIL_ROWS.min(height / 2);
    let title = super::title(app, Listing::Operations, "operations");
    let listed = app.lists.of(Listing::Operations);
    let mut upper = canvas.part(0, 0, width, height - detail);
    let mut inside = upper.framed(&title);
    let theme = inside.theme;
    if listed.rows.is_empty() {
        inside.put(1, 0, "nothing is under way, and nothing was of late", theme.dim());
        inside.put(1, 1, "a on a node or a partition shows what can be done with it", theme.dim());
    } else {
        let window = listed.window.fitted(listed.rows.len(), inside.height().saturating_sub(1));
        table::draw(&mut inside, COLUMNS, (listed.rows.len(), Some(window)), |row| {
            operations.get(listed.rows[row].0).map_or_else(Vec::new, |one| cells(theme, one))
        });
    }
    let mut lower = canvas.part(0, height - detail, width, detail);
    let chosen = listed.rows.get(listed.window.chosen).and_then(|(at, _)| operations.get(*at));
    let Some(one) = chosen else {
        lower.framed("");
        return;
    };
    let mut inside = lower.framed(&one.what());
    for (row, (what, told)) in lines(one).into_iter().enumerate() {
        inside.put(1, row, what, theme.dim());
        inside.put(12, row, &told, theme.text());
    }
}

fn cells(theme: Theme, one: &Operation) -> Vec<Cell> {
    let style = match one.state {
        OperationState::Running if one.blockers.is_empty() => theme.level(Level::Info),
        OperationState::Running => theme.level(Level::Warn),
        OperationState::Failed => theme.level(Level::Error),
        OperationState::Done | OperationState::Cancelled | OperationState::Other => theme.dim(),
    };
    let plain = |told: String| Cell::new(told, theme.text());
    vec![
        plain(one.id.to_string()),
        plain(one.verb.clone()),
        plain(one.subject.clone()),
        Cell::new(one.state.name().to_owned(), style),
        Cell::new(format!("{} {}/{}", bar(theme, one), one.done, one.total), style),
        plain(one.left_ms.map_or_else(String::new, text::span)),
        plain(one.actor.clone()),
        plain(first_of(one)),
    ]
}

/// What it waits for; what keeps it comes first.
fn first_of(one: &Operation) -> String {
    one.blockers.first().map_or_else(|| one.now.clone(), |blocker| blocker.message.clone())
}

fn bar(theme: Theme, one: &Operation) -> String {
    let total = u128::from(one.total.max(1));
    let full = u128::from(one.done.min(one.total)) * BAR as u128 / total;
    let full = usize::try_from(full).unwrap_or(BAR).min(BAR);
    theme.glyph("█", "#").repeat(full) + &theme.glyph("░", ".").repeat(BAR - full)
}

fn lines(one: &Operation) -> Vec<(&'static str, String)> {
    let mut told = vec![
        ("operation", format!("{} of plan {}", one.id, one.plan)),
        ("by", format!("{}, at {}", one.actor, text::clock(one.began_at_ms))),
        (
            "reason",
            if one.reason.is_empty() { "none given".to_owned() } else { one.reason.clone() },
        ),
        ("now", one.now.clone()),
    ];
    for blocker in &one.blockers {
        told.push(("blocked", blocker.message.clone()));
        told.extend(blocker.hint.iter().map(|hint| ("next", hint.clone())));
    }
    if one.state == OperationState::Running {
        told.push(("follow", format!("walrusctl op wait {}", one.id)));
    }
    told
}
