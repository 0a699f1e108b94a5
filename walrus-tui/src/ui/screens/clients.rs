//! Clients: how many each node serves. Who they are nodes do not tell yet.

use super::{age_of, nothing_yet};
use crate::{
    app::App,
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, words},
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
    let theme = inside.theme;
    table::draw(&mut inside, COLUMNS, (snapshot.nodes.len(), None), |at| {
        let entry = &snapshot.nodes[at];
        let style = if entry.silent.is_some() { theme.dim() } else { theme.text() };
        let cell =
            |shown: Option<String>| Cell::new(shown.unwrap_or_else(|| "-".to_owned()), style);
        let rate = app.model.rates.of(entry.node.node);
        let connections = entry.vitals.as_ref().map(|one| one.traffic.connections.to_string());
        vec![
            Cell::new(entry.node.node.to_string(), theme.node(at)),
            Cell::new(entry.node.addresses.client.clone(), theme.dim()),
            cell(connections),
            cell(rate.map(|rate| text::count(rate.requests))),
            cell(rate.map(|rate| text::count(rate.records_in))),
            cell(rate.map(|rate| text::bytes(rate.bytes_in))),
            cell(rate.map(|rate| text::bytes(rate.bytes_out))),
            Cell::new(age_of(app, entry), theme.dim()),
        ]
    });
}
