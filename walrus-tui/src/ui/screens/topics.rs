//! Topics: their partitions, one in each row.

use super::{copies_of, nothing_yet};
use crate::{
    app::{
        App,
        lists::{Listing, partition_at},
    },
    model::change::Level,
    ui::{
        chain::place_of,
        paint::Canvas,
        table::{self, Cell, Column, numbers, words},
        text,
    },
};

pub(super) const COLUMNS: &[Column] = &[
    words("TOPIC/P", 28, 0),
    words("STATE", 11, 1),
    words("LEADER", 6, 0),
    numbers("SEG", 6, 1),
    numbers("SEGMENTS", 8, 2),
    numbers("BASE", 14, 3),
    numbers("LOG START", 14, 5),
    numbers("SEALED", 9, 2),
    words("COPIES", 12, 1),
    words("OPENED FOR", 12, 4),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    if app.model.seen().is_none() {
        return nothing_yet(app, canvas);
    }
    list(app, canvas);
}

/// The list of partitions, as the filter and the order have it.
pub(super) fn list(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return };
    let theme = canvas.theme;
    let listed = app.lists.of(Listing::Partitions);
    let rows = &listed.rows;
    let title = super::title(app, Listing::Partitions, "partitions");
    let mut inside = canvas.framed(&title);
    let window = listed.window.fitted(rows.len(), inside.height().saturating_sub(1));
    table::draw(&mut inside, COLUMNS, (rows.len(), Some(window)), |at| {
        let Some((topic, partition)) = rows.get(at).and_then(|at| partition_at(snapshot, *at))
        else {
            return Vec::new();
        };
        let is_short = partition.members.len() < usize::from(topic.replicas_target);
        let (level, state) = match (partition.leader_serves, is_short) {
            (false, _) => (Level::Error, "leaderless"),
            (true, true) => (Level::Warn, "few copies"),
            (true, false) => (Level::Info, "ok"),
        };
        let leader = theme.node(place_of(Some(snapshot), partition.leader));
        vec![
            Cell::from(format!("{}/{}", topic.topic, partition.partition)),
            Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level)),
            Cell::new(partition.leader.to_string(), leader),
            Cell::from(partition.epoch.to_string()),
            Cell::from(partition.segments.to_string()),
            Cell::from(text::whole(partition.base.0)),
            Cell::new(text::whole(partition.log_start.0), theme.dim()),
            Cell::from(text::bytes(partition.sealed_bytes as f64)),
            Cell::from(copies_of(&partition.members)),
            Cell::new(partition.reason.clone(), theme.dim()),
        ]
    });
}
