//! What is shown above everything else.

use super::{keymap::Action, paint::Canvas};
use crate::app::App;

/// Cells of a key and what it does.
const CELL: usize = 37;
/// Cells of a screen and its key.
const SCREEN: usize = 18;

/// A box in the middle, empty, with a title; answers what is within.
pub(super) fn boxed(
    canvas: &mut Canvas<'_>,
    title: &str,
    (width, height): (usize, usize),
    inside: impl FnOnce(&mut Canvas<'_>),
) {
    let (width, height) = (width.min(canvas.width()), height.min(canvas.height()));
    let (x, y) = ((canvas.width() - width) / 2, (canvas.height() - height) / 2);
    let mut popup = canvas.part(x, y, width, height);
    popup.wipe();
    inside(&mut popup.framed(title));
}

/// What keys do.
pub(super) fn help(app: &App, canvas: &mut Canvas<'_>) {
    let all = app.keys.bound();
    let goes = |action| matches!(action, Action::Go(_));
    let screens: Vec<_> = all.iter().filter(|bound| goes(bound.action)).collect();
    let rest: Vec<_> = all.iter().filter(|bound| !goes(bound.action)).collect();
    let across = if canvas.width() >= 3 * CELL + 4 { 3 } else { 2 };
    let width = across * CELL + 3;
    let rows = rest.len().div_ceil(across);
    let beside = (width - 3) / SCREEN;
    let height = rows + screens.len().div_ceil(beside) + 3;
    boxed(canvas, "Keys", (width, height), |inside| {
        let theme = inside.theme;
        let keys = |bound: &super::keymap::Bound| {
            bound.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        for (at, bound) in screens.iter().enumerate() {
            let x = 1 + at % beside * SCREEN;
            let end = inside.put(x, at / beside, &keys(bound), theme.strong());
            inside.part(0, at / beside, x + SCREEN - 1, 1).put(
                end + 1,
                0,
                bound.what,
                theme.text(),
            );
        }
        let below = screens.len().div_ceil(beside);
        for (at, bound) in rest.iter().enumerate() {
            let (x, row) = (1 + at / rows * CELL, below + at % rows);
            let mut cell = inside.part(x, row, CELL - 1, 1);
            let end = cell.put(0, 0, &keys(bound), theme.strong());
            cell.put((end + 1).max(14), 0, bound.what, theme.text());
        }
        let last = "no key alone changes the cluster; the file of contexts may name others";
        inside.put(1, below + rows, last, theme.dim());
    });
}
