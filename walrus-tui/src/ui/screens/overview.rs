//! Is the cluster well? One word, the facts behind it, the nodes, and what changed.

use walrus_admin::{
    node::NodeState,
    snapshot::{NodeEntry, Snapshot},
};

use super::{changes, nothing_yet};
use crate::{
    app::App,
    model::{
        change::{self, Level},
        leases, rates, verdict,
    },
    ui::{
        paint::Canvas,
        spark,
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
    numbers("AGE", 6, 2),
];

pub(crate) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    let nodes_height = (snapshot.nodes.len() + 3).min(height.saturating_sub(9).max(4));
    verdict_of(app, &mut canvas.part(0, 0, width / 2, 5));
    traffic(app, &mut canvas.part(width / 2, 0, width - width / 2, 5));
    nodes(app, snapshot, &mut canvas.part(0, 5, width, nodes_height));
    let rest = height.saturating_sub(5 + nodes_height);
    let mut below = canvas.part(0, 5 + nodes_height, width, rest);
    changes(app, &mut below.framed("What changed"));
}

fn verdict_of(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let verdict = verdict::verdict(&app.model, app.now);
    let mut inside = canvas.framed(verdict.word());
    let room = inside.height();
    for (row, fact) in verdict.facts.iter().take(room).enumerate() {
        let more = verdict.facts.len() - room.min(verdict.facts.len());
        let line = if row + 1 == room && more > 0 {
            format!("{} and {} more", theme.sign(fact.level), more + 1)
        } else {
            format!("{} {}", theme.sign(fact.level), fact.text)
        };
        inside.put(1, row, &line, theme.level(fact.level));
    }
}

fn traffic(app: &App, canvas: &mut Canvas<'_>) {
    let mut inside = canvas.framed("Traffic");
    let theme = inside.theme;
    let total = app.model.rates.total();
    let per_second = |of: fn(&rates::Rate) -> f64, unit: fn(f64) -> String| {
        total.as_ref().map_or_else(|| "-".to_owned(), |total| format!("{}/s", unit(of(total))))
    };
    let lines = [
        ("in", per_second(|total| total.bytes_in, text::bytes), &app.model.bytes_in),
        ("out", per_second(|total| total.bytes_out, text::bytes), &app.model.bytes_out),
    ];
    let room = inside.width();
    for (row, (name, rate, series)) in lines.into_iter().enumerate() {
        inside.put(1, row, name, theme.dim());
        inside.put_right(17, row, &rate, theme.strong());
        let bars = room.saturating_sub(20);
        spark::draw(&mut inside, (19, row, bars), series, 1.0, theme.node(row));
    }
    inside.put(1, 2, "records", theme.dim());
    let records = per_second(|total| total.records_in, text::count);
    inside.put_right(17, 2, &records, theme.strong());
    let requests = per_second(|total| total.requests, text::count);
    inside.put(19, 2, &format!("requests {requests}"), theme.dim());
}

fn nodes(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let leases = leases(snapshot);
    let mut inside = canvas.framed("Nodes");
    table::draw(&mut inside, COLUMNS, (snapshot.nodes.len(), None), |at| {
        let entry = &snapshot.nodes[at];
        node(app, snapshot, entry, (at, leases[at].1))
    });
}

fn node(
    app: &App,
    snapshot: &Snapshot,
    entry: &NodeEntry,
    (at, leases): (usize, u64),
) -> Vec<Cell> {
    let theme = app.theme;
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
    // What it said last is shown, and that it is old.
    let style = if entry.silent.is_some() { theme.dim() } else { theme.text() };
    let rate = app.model.rates.of(node.node);
    let per_second = |rate: Option<f64>, unit: fn(f64) -> String| {
        Cell::new(rate.map_or_else(|| "-".to_owned(), unit), style)
    };
    let vitals = entry.vitals.as_ref();
    let own = |shown: &dyn Fn(&walrus_admin::snapshot::Vitals) -> String| {
        Cell::new(vitals.map_or_else(|| "-".to_owned(), shown), style)
    };
    let leads = snapshot.group.leader == Some(node.node);
    let votes = node.raft.as_ref().is_some_and(|raft| raft.votes);
    let raft = if leads {
        "LEADER"
    } else if votes {
        "follows"
    } else {
        "learns"
    };
    let age = aged(app, entry).map_or_else(|| "-".to_owned(), text::span);
    vec![
        Cell::new(node.node.to_string(), theme.node(at)),
        Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level)),
        Cell::new(raft, style),
        Cell::new(leases.to_string(), theme.text()),
        per_second(rate.map(|rate| rate.bytes_in), text::bytes),
        per_second(rate.map(|rate| rate.bytes_out), text::bytes),
        per_second(rate.map(|rate| rate.requests), text::count),
        per_second(rate.map(|rate| rate.cores), |cores| format!("{:.0} %", cores * 100.0)),
        own(&|vitals| format!("{:.1} ms", vitals.wal.flush_p99_us as f64 / 1000.0)),
        own(&|vitals| percent(vitals.wal.used_bytes, vitals.wal.ring_bytes)),
        own(&|vitals| {
            let DiskPart { used, total } = DiskPart::of(&vitals.disk);
            percent(used, total)
        }),
        own(&|vitals| text::bytes(vitals.resident_bytes as f64)),
        Cell::new(node.addresses.client.clone(), theme.dim()),
        own(&|vitals| vitals.version.clone()),
        own(&|vitals| text::span(vitals.uptime_ms)),
        Cell::new(age, theme.dim()),
    ]
}

/// How old what a node said is by now: as old as it was when it was told, and that since then.
fn aged(app: &App, entry: &NodeEntry) -> Option<u64> {
    Some(entry.vitals_age_ms?.saturating_add(app.model.age_ms(app.now)?))
}

struct DiskPart {
    used: u64,
    total: u64,
}

impl DiskPart {
    const fn of(disk: &walrus_admin::snapshot::DiskVitals) -> Self {
        Self { used: disk.total_bytes.saturating_sub(disk.free_bytes), total: disk.total_bytes }
    }
}

fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "-".to_owned();
    }
    format!("{:.0} %", part as f64 * 100.0 / whole as f64)
}
