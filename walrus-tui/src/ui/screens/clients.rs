//! Clients: how many each node serves, and who they are.

use walrus_admin::{
    connection::{Client, ClientList},
    snapshot::Snapshot,
};

use super::{nodes_above, nothing_yet};
use crate::{
    app::{App, lists::Listing},
    model::{STALE_MS, change::Level},
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, rest, words},
        text,
    },
};

const NODES: &[Column] = &[
    words("ID", 4, 0),
    words("ADDRESS", 28, 1),
    numbers("CONNECTIONS", 11, 0),
    numbers("REQ/s", 8, 0),
    numbers("RECORDS/s", 9, 1),
    numbers("IN/s", 9, 0),
    numbers("OUT/s", 9, 0),
    numbers("AGE", 6, 0),
];
const CLIENTS: &[Column] = &[
    words("NODE", 4, 0),
    rest("CLIENT", 12, 0),
    words("SOFTWARE", 20, 1),
    words("ADDRESS", 21, 2),
    words("MOSTLY", 7, 0),
    numbers("REQUESTS", 10, 1),
    numbers("UNDER WAY", 9, 5),
    numbers("IN", 9, 0),
    numbers("OUT", 9, 0),
    words("LAST", 16, 4),
    numbers("IDLE", 7, 0),
    numbers("FOR", 7, 3),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let table = ("Clients of each node", NODES);
    let rows = nodes_above(app, snapshot, canvas, table, |row| {
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
    let (width, height) = (canvas.width(), canvas.height());
    single(app, snapshot, &mut canvas.part(0, rows, width, height - rows));
}

/// One row for each connection.
fn single(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let seen = app.model.clients.as_ref();
    let failed = seen.and_then(|seen| seen.failed.as_deref());
    let Some((clients, at)) = seen.and_then(|seen| seen.newest.as_ref()) else {
        return super::said(canvas, "Clients", failed.unwrap_or("asking who is connected"));
    };
    super::aged(app, *at, STALE_MS, canvas);
    let title = super::title(app, Listing::Clients, "connections");
    let mut inside = canvas.framed(&title);
    let below = notes(clients, failed);
    let rows = inside.height().saturating_sub(below.len());
    let listed = app.lists.of(Listing::Clients);
    let window = listed.window.fitted(listed.rows.len(), rows.saturating_sub(1));
    let (wide, theme) = (inside.width(), inside.theme);
    let place = |one: &Client| snapshot.nodes.iter().position(|entry| entry.node.node == one.node);
    table::draw(
        &mut inside.part(0, 0, wide, rows),
        CLIENTS,
        (listed.rows.len(), Some(window)),
        |row| {
            let one = listed.rows.get(row).and_then(|row| clients.items.get(row.0));
            one.map_or_else(Vec::new, |one| cells(app, one, place(one)))
        },
    );
    for (row, note) in below.iter().enumerate() {
        inside.put(1, rows + row, note, theme.level(Level::Warn));
    }
    if clients.items.is_empty() {
        inside.put(1, 1, "nobody is connected", theme.dim());
    }
}

/// What is missing in the list.
fn notes(clients: &ClientList, failed: Option<&str>) -> Vec<String> {
    let missing = clients.missing.iter();
    let mut notes: Vec<String> = missing
        .map(|one| format!("! the clients of {} are missing: {}", one.node, one.why))
        .collect();
    notes.extend(failed.map(|why| format!("! asked again without an answer: {why}")));
    if clients.next.is_some() {
        notes.push(format!("! there are more than these {}", clients.items.len()));
    }
    notes
}

fn cells(app: &App, one: &Client, node: Option<usize>) -> Vec<Cell> {
    let theme = app.theme;
    let unknown = || "-".to_owned();
    let said = |said: &Option<String>| said.clone().unwrap_or_else(unknown);
    let software: Vec<&str> =
        [&one.software, &one.software_version].into_iter().flatten().map(String::as_str).collect();
    let software = if software.is_empty() { unknown() } else { software.join(" ") };
    let whole = |number: u64| text::whole(i64::try_from(number).unwrap_or(i64::MAX));
    let node = node.map_or_else(|| theme.text(), |at| theme.node(at));
    vec![
        Cell::new(one.node.to_string(), node),
        Cell::new(said(&one.client_id), theme.strong()),
        Cell::from(software),
        Cell::new(one.address.clone(), theme.dim()),
        Cell::from(one.mostly.map_or_else(unknown, |mostly| mostly.word().to_owned())),
        Cell::from(whole(one.requests)),
        Cell::from(whole(one.under_way)),
        Cell::from(text::bytes(one.bytes_in as f64)),
        Cell::from(text::bytes(one.bytes_out as f64)),
        Cell::from(said(&one.last)),
        Cell::from(one.idle_ms.map_or_else(unknown, text::span)),
        Cell::new(text::span(one.for_ms), theme.dim()),
    ]
}
