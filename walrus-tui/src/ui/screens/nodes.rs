//! Nodes: what each does and holds, and all that the chosen one says of itself.

use walrus_admin::{
    node::NodeState,
    snapshot::{NodeEntry, Snapshot, Vitals},
};

use super::{NodeRow, nothing_yet};
use crate::{
    app::{App, lists::Listing},
    model::change::{self, Level},
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, words},
        text,
    },
};

const COLUMNS: &[Column] = &[
    words("ID", 4, 0),
    words("STATE", 11, 0),
    words("RAFT", 8, 4),
    numbers("LEASES", 6, 1),
    numbers("IN/s", 9, 1),
    numbers("OUT/s", 9, 2),
    numbers("REQ/s", 7, 5),
    numbers("CPU", 5, 4),
    numbers("FLUSH p99", 9, 3),
    numbers("WAL", 5, 3),
    numbers("DISK", 5, 3),
    numbers("MEMORY", 8, 6),
    words("ADDRESS", 21, 8),
    words("VERSION", 8, 9),
    numbers("UP", 6, 7),
    numbers("AGE", 6, 0),
];

/// Rows of the part about the chosen node.
const ABOUT: usize = 11;

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    let about = ABOUT.min(height / 2);
    let rows = height - about;
    let listed = app.lists.of(Listing::Nodes);
    let title = super::title(app, Listing::Nodes, "nodes");
    {
        let mut top = canvas.part(0, 0, width, rows);
        let mut inside = top.framed(&title);
        let window = listed.window.fitted(listed.rows.len(), inside.height().saturating_sub(1));
        table(app, snapshot, &mut inside, (listed.rows.len(), Some(window)), |row| {
            listed.rows[row].0
        });
    }
    let chosen = listed.rows.get(listed.window.chosen).and_then(|row| snapshot.nodes.get(row.0));
    if let Some(entry) = chosen {
        let row = NodeRow::new(app, listed.window.chosen, entry);
        about_one(&row, &mut canvas.part(0, rows, width, about));
    }
}

/// The table of nodes: `place` says which node stands at a row.
pub(super) fn table(
    app: &App,
    snapshot: &Snapshot,
    canvas: &mut Canvas<'_>,
    rows: (usize, Option<table::Window>),
    place: impl Fn(usize) -> usize,
) {
    let leases = app.model.figures.leases(snapshot);
    table::draw(canvas, COLUMNS, rows, |row| {
        let at = place(row);
        let (Some(entry), Some((_, leases))) = (snapshot.nodes.get(at), leases.get(at)) else {
            return Vec::new();
        };
        node(snapshot, &NodeRow::new(app, at, entry), *leases)
    });
}

/// A node's state in a word, and how bad that is.
pub(super) fn state(entry: &NodeEntry) -> (Level, &'static str) {
    let node = &entry.node;
    let level = match (node.state, &entry.silent) {
        (NodeState::Fenced, _) => Level::Error,
        (NodeState::Active, None) => Level::Info,
        _ => Level::Warn,
    };
    let state = match &entry.silent {
        Some(_) if node.state.serves() => "silent",
        _ => change::state(node),
    };
    (level, state)
}

fn node(snapshot: &Snapshot, row: &NodeRow<'_>, leases: u64) -> Vec<Cell> {
    let theme = row.app.theme;
    let cores = row.rate().and_then(|rate| rate.cores);
    let resident = row.entry.vitals.as_ref().and_then(|vitals| vitals.resident_bytes);
    vec![
        row.name(),
        row.state(state(row.entry)),
        row.cell(Some(part(snapshot, row.entry).to_owned())),
        Cell::new(leases.to_string(), theme.text()),
        row.per_second(|rate| rate.bytes_in, text::bytes),
        row.per_second(|rate| rate.bytes_out, text::bytes),
        row.per_second(|rate| rate.requests, text::count),
        row.cell(cores.map(|cores| format!("{:.0} %", cores * 100.0))),
        row.own(|vitals| text::micros(vitals.wal.flush_p99_us, row.app.theme.ascii)),
        row.own(|vitals| text::percent(vitals.wal.used_bytes, vitals.wal.ring_bytes)),
        row.cell(row.disk().map(|disk| text::percent(disk.used_bytes(), disk.total_bytes))),
        row.cell(resident.map(|bytes| text::bytes(bytes as f64))),
        row.address(),
        row.own(|vitals| vitals.version.clone()),
        row.own(|vitals| text::span(vitals.uptime_ms)),
        row.age(),
    ]
}

/// What a node is in the metadata group, as the metadata has it.
pub(super) fn part(snapshot: &Snapshot, entry: &NodeEntry) -> &'static str {
    let leads = snapshot.group.leader == Some(entry.node.node);
    match &entry.node.raft {
        _ if leads => "LEADER",
        Some(raft) if raft.votes => "follows",
        Some(_) => "learns",
        None => "-",
    }
}

fn about_one(row: &NodeRow<'_>, canvas: &mut Canvas<'_>) {
    let (entry, node) = (row.entry, &row.entry.node);
    let said = match &entry.silent {
        Some(why) => format!("does not answer: {why}"),
        None => format!("said so {} ago", row.age_text().unwrap_or_else(|| "-".to_owned())),
    };
    let mut inside = canvas.framed(&format!("{}  {said}", node.node));
    let half = inside.width() / 2;
    let holding = &node.holding;
    let left = [
        ("clients", node.addresses.client.clone()),
        ("peers", node.addresses.peer.clone()),
        ("operators", node.addresses.admin.clone()),
        ("rack", node.rack.clone().unwrap_or_else(|| "-".to_owned())),
        ("disk id", node.storage.to_string()),
        ("life", format!("{}, fenced {} times", node.incarnation, node.fences)),
        ("leads", format!("{} open segments", holding.leads)),
        ("stores", format!("{} open, {} sealed segments", holding.open, holding.sealed)),
        ("needed for", format!("{} sealed segments, alone for {}", holding.needed, holding.sole)),
    ];
    lines(&mut inside.part(1, 0, half.saturating_sub(2), ABOUT), &left);
    let right = entry.vitals.as_ref().map_or_else(Vec::new, own);
    let wide = inside.width() - half;
    lines(&mut inside.part(half, 0, wide, ABOUT), &right);
}

fn own(vitals: &Vitals) -> Vec<(&'static str, String)> {
    let Vitals { leases, traffic, wal, disk, store, .. } = vitals;
    let bytes = |bytes: u64| text::bytes(bytes as f64);
    let refused = if store.disk_full { ", APPENDS REFUSED" } else { "" };
    vec![
        ("metadata", format!("version {}", vitals.metadata_version)),
        (
            "leases",
            format!(
                "{} loaded, {} rolling, {} without",
                leases.loaded, leases.rolling, leases.without_lease
            ),
        ),
        ("extended", format!("{} ago", text::span(leases.silent_ms))),
        ("connections", traffic.connections.to_string()),
        ("records in", text::whole(i64::try_from(traffic.records_in).unwrap_or(i64::MAX))),
        (
            "log",
            format!(
                "{} of {}, {} flushes",
                bytes(wal.used_bytes),
                bytes(wal.ring_bytes),
                wal.flushes
            ),
        ),
        ("hot tail", format!("{} of {}", bytes(wal.hot_tail_bytes), bytes(wal.hot_tail_max_bytes))),
        (
            "disk",
            disk.map_or_else(
                || format!("not known{refused}"),
                |disk| {
                    let (free, total) = (bytes(disk.free_bytes), bytes(disk.total_bytes));
                    format!("{free} of {total} free{refused}")
                },
            ),
        ),
        ("files", format!("{} open, {} gone and still read", store.open_files, store.pruned_held)),
    ]
}

/// Names and what they stand for, one in each row.
pub(super) fn lines(canvas: &mut Canvas<'_>, lines: &[(&'static str, String)]) {
    let theme = canvas.theme;
    for (row, (name, what)) in lines.iter().enumerate() {
        canvas.put(0, row, name, theme.dim());
        canvas.put(12, row, what, theme.text());
    }
}
