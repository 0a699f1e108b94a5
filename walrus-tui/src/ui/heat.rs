//! The heat map of load: a row for each node, a field for each of its busiest partitions, as hot
//! and as high as what is written to it beside the busiest of all.

use walrus_admin::snapshot::Snapshot;

use super::{paint::Canvas, text};
use crate::{app::App, model::loads::Load};

/// Cells of a node's name and of what is written to all of its partitions.
const NODE: usize = 5;
const SUM: usize = 11;
/// Cells of a partition that is named.
const NAMED: usize = 26;
/// Partitions that are named at most.
const NAMED_MAX: usize = 3;

/// Draws it.
pub(super) fn draw(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let most = app.model.loads.most();
    let title = if most > 0.0 {
        format!("Load: the busiest partitions of each node, the hottest {}/s", text::bytes(most))
    } else {
        "Load: nothing is written, or nobody tells".to_owned()
    };
    let mut inside = canvas.framed(&title);
    let theme = inside.theme;
    let width = inside.width();
    let named = (width.saturating_sub(NODE + SUM + 34) / NAMED).min(NAMED_MAX);
    let fields = width.saturating_sub(NODE + SUM + named * NAMED + 2);
    for (row, entry) in snapshot.nodes.iter().enumerate().take(inside.height()) {
        let node = entry.node.node;
        inside.put(1, row, &node.to_string(), theme.node(row));
        let rate = app.model.rates.of(node);
        let sum = rate.map_or_else(|| "-".to_owned(), |rate| text::bytes(rate.bytes_in) + "/s");
        inside.put_right(NODE + SUM, row, &sum, theme.text());
        let loads = app.model.loads.of(node);
        let mut line = inside.part(NODE + SUM + 1, row, fields, 1);
        for (at, load) in loads.iter().take(fields).enumerate() {
            let share = self::share(load, most);
            line.put(at, 0, theme.height(share), theme.heat(share));
        }
        for (at, load) in loads.iter().take(named).enumerate() {
            let x = NODE + SUM + 2 + fields + at * NAMED;
            let mut part = inside.part(x, row, NAMED - 1, 1);
            let rate = text::bytes(load.bytes_per_s) + "/s";
            let room = part.width().saturating_sub(text::width(&rate) + 1);
            let name = text::cut(&load.name.to_string(), room, theme.ascii);
            let end = part.put(0, 0, &name, theme.dim());
            part.put(end + 1, 0, &rate, theme.heat(share(load, most)));
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is between 0 and 1")]
fn share(load: &Load, most: f64) -> f32 {
    if most > 0.0 { (load.bytes_per_s / most).clamp(0.0, 1.0) as f32 } else { 0.0 }
}
