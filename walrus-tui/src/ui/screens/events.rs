//! Events: what changed, as nodes tell it; where they do not, while this console looked.

use super::{nothing_yet, told};
use crate::{
    app::{App, lists::Listing},
    ui::{
        paint::Canvas,
        table::{self, Column, rest, words},
    },
};

const COLUMNS: &[Column] =
    &[words("TIME", 8, 0), words("", 1, 0), words("SUBJECT", 20, 0), rest("WHAT", 10, 0)];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    if app.model.seen().is_none() {
        return nothing_yet(app, canvas);
    }
    let tells = app.model.tells_events;
    let what = if tells { "changes" } else { "changes since this console began" };
    let title = super::title(app, Listing::Changes, what);
    let mut inside = canvas.framed(&title);
    let theme = inside.theme;
    let listed = app.lists.of(Listing::Changes);
    if listed.rows.is_empty() {
        inside.put(1, 0, "nothing has changed", theme.dim());
        return;
    }
    let window = listed.window.fitted(listed.rows.len(), inside.height().saturating_sub(1));
    table::draw(&mut inside, COLUMNS, (listed.rows.len(), Some(window)), |row| {
        let change = app.model.changes.get(listed.rows[row].0);
        change.map_or_else(Vec::new, |change| told(theme, change).to_vec())
    });
}
