//! Clients: how many each node serves. Who they are nodes do not tell yet.

use super::{NodeRow, nothing_yet};
use crate::{
    app::App,
    ui::{
        paint::Canvas,
        table::{self, Column, numbers, words},
        text,
    },
};

const COLUMNS: &[Column] = &[
    words("ID", 4, 0),
    words("ADDRESS", 28, 1),
    numbers("CONNECTIONS", 11, 0),
    numbers("REQ/s", 8, 0),
    numbers("RECORDS/s", 9, 1),
    numbers("IN/s", 9, 0),
    numbers("OUT/s", 9, 0),
    numbers("AGE", 6, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let mut inside = canvas.framed("Clients of each node; nodes do not tell of single clients yet");
    table::draw(&mut inside, COLUMNS, (snapshot.nodes.len(), None), |at| {
        let row = NodeRow::new(app, at, &snapshot.nodes[at]);
        vec![
            row.name(),
            row.address(),
            row.own(|vitals| vitals.traffic.connections.to_string()),
            row.per_second(|rate| rate.requests, text::count),
            row.per_second(|rate| rate.records_in, text::count),
            row.per_second(|rate| rate.bytes_in, text::bytes),
            row.per_second(|rate| rate.bytes_out, text::bytes),
            row.age(),
        ]
    });
}
