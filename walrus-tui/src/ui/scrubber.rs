//! The line of time: where in what is kept the picture is, and where something happened.

use super::{paint::Canvas, text};
use crate::{
    app::{App, past::Pace},
    model::change::Level,
    source::record::tape::Ended,
};

/// Draws it; without a past there is none.
pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let Some(past) = &app.past else { return };
    let records = || app.tape.records();
    let (Some(first), Some(last)) = (records().next(), records().next_back()) else {
        canvas.put(1, 0, "nothing is kept yet", theme.dim());
        return;
    };
    let clock = |wall: Option<_>| wall.map_or_else(|| "--:--:--".to_owned(), text::clock);
    let first_wall = records().find_map(|record| record.wall);
    let plays = matches!(past.pace, Pace::Plays { .. });
    let sign = if plays { theme.glyph("▶", ">") } else { theme.glyph("‖", "=") };
    let x = canvas.put(1, 0, sign, theme.strong());
    let x = canvas.put(x + 1, 0, &clock(first_wall), theme.dim());
    let end = end(app, past.player.trouble());
    let times = theme.glyph("×", "x");
    let right = format!("{} {times}{}{end}", clock(last.wall), past.speed);
    let room = canvas.width().saturating_sub(x + text::width(&right) + 4);
    if room < 10 {
        return canvas.put_right(canvas.width(), 0, &right, theme.dim());
    }
    let mut line = canvas.part(x + 1, 0, room, 1);
    line.put(0, 0, &theme.glyph("─", "-").repeat(room), theme.dim());
    let span = last.at.since(first.at).max(1);
    let cell = |ms: u64| {
        let at = u128::from(ms) * u128::try_from(room - 1).unwrap_or(0) / u128::from(span);
        usize::try_from(at).unwrap_or(0).min(room - 1)
    };
    for (at, mark) in marks(app, room, |record_at| cell(record_at.since(first.at))) {
        let sign = match mark {
            Level::Info => theme.glyph("┴", "+"),
            Level::Warn | Level::Error => "!",
        };
        line.put(at, 0, sign, theme.level(mark));
    }
    line.put(cell(app.now.since(first.at)), 0, theme.glyph("●", "O"), theme.strong());
    canvas.put(x + room + 2, 0, &right, theme.dim());
}

/// The greatest of what happened in each cell.
fn marks(
    app: &App,
    room: usize,
    cell: impl Fn(walrus_types::UptimeMs) -> usize,
) -> impl Iterator<Item = (usize, Level)> {
    let mut marks: Vec<Option<Level>> = vec![None; room];
    for record in app.tape.records() {
        if let (Some(mark), Some(slot)) = (record.mark, marks.get_mut(cell(record.at))) {
            *slot = (*slot).max(Some(mark));
        }
    }
    marks.into_iter().enumerate().filter_map(|(at, mark)| Some((at, mark?)))
}

/// What there is to say of the recording.
fn end(app: &App, trouble: Option<&str>) -> String {
    match (trouble, app.ended()) {
        (Some(why), _) => format!("  {why}"),
        (None, Some(Ended::Short(why))) => format!("  {why}"),
        (None, Some(Ended::Whole)) => String::new(),
        (None, None) if app.is_replay() => "  still read".to_owned(),
        (None, None) => String::new(),
    }
}
