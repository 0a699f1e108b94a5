//! Storage: each node's write-ahead log, how long its flushes took, and its disk.

use walrus_admin::snapshot::{NodeEntry, Snapshot};

use super::{NodeRow, nodes_above, nothing_yet};
use crate::{
    app::App,
    model::change::Level,
    ui::{
        paint::Canvas,
        table::{Cell, Column, numbers, words},
        text,
        theme::Theme,
    },
};

const COLUMNS: &[Column] = &[
    words("ID", 4, 0),
    words("RING", 16, 2),
    numbers("USED", 9, 0),
    numbers("FLUSHES/s", 9, 1),
    numbers("LOGGED/s", 9, 2),
    numbers("A FLUSH", 9, 3),
    numbers("p50", 8, 2),
    numbers("p99", 8, 0),
    words("HOT TAIL", 12, 4),
    numbers("WAITS", 9, 3),
    words("DISK", 12, 4),
    numbers("FREE", 9, 0),
    numbers("FILES", 6, 5),
    words("STATE", 14, 1),
    numbers("AGE", 6, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let table = ("Write-ahead logs and disks", COLUMNS);
    let rows = nodes_above(app, snapshot, canvas, table, node);
    let (width, height) = (canvas.width(), canvas.height());
    let mut below = canvas.part(0, rows, width, height - rows);
    flushes(snapshot, &mut below.framed("How long flushes took, since each node started"));
}

fn node(row: &NodeRow<'_>) -> Vec<Cell> {
    let (theme, disk) = (row.app.theme, row.disk());
    let bars = |cells: usize, share: Option<(u64, u64)>| {
        let bar = share.map(|share| bar(theme, share, cells));
        Cell::new(bar.unwrap_or_else(|| "-".to_owned()), theme.node(row.at))
    };
    let wal = row.entry.vitals.as_ref().map(|vitals| &vitals.wal);
    let flushed = row.rate().filter(|rate| rate.flushes > 0.0);
    let state = match &row.entry.vitals {
        _ if row.entry.silent.is_some() => (Level::Warn, "does not answer"),
        None => (Level::Warn, "not known"),
        Some(vitals) if vitals.store.disk_full => (Level::Error, "DISK FULL"),
        Some(_) => (Level::Info, "takes writes"),
    };
    vec![
        row.name(),
        bars(16, wal.map(|wal| (wal.used_bytes, wal.ring_bytes))),
        row.own(|vitals| text::bytes(vitals.wal.used_bytes as f64)),
        row.per_second(|rate| rate.flushes, text::count),
        row.per_second(|rate| rate.logged_bytes, text::bytes),
        row.cell(flushed.map(|rate| text::bytes(rate.logged_bytes / rate.flushes))),
        row.own(|vitals| text::micros(vitals.wal.flush_p50_us, row.app.theme.ascii)),
        row.own(|vitals| text::micros(vitals.wal.flush_p99_us, row.app.theme.ascii)),
        bars(12, wal.map(|wal| (wal.hot_tail_bytes, wal.hot_tail_max_bytes))),
        row.own(|vitals| text::bytes(vitals.wal.hot_tail_bytes as f64)),
        bars(12, disk.map(|disk| (disk.used_bytes(), disk.total_bytes))),
        row.cell(disk.map(|disk| text::bytes(disk.free_bytes as f64))),
        row.own(|vitals| vitals.store.open_files.to_string()),
        row.state(state),
        row.age(),
    ]
}

/// A share of a whole as a bar.
fn bar(theme: Theme, (part, whole): (u64, u64), cells: usize) -> String {
    let cells_wide = u128::try_from(cells).unwrap_or(0);
    let full = (u128::from(part) * cells_wide).div_ceil(u128::from(whole.max(1)));
    let full = usize::try_from(full).unwrap_or(cells).min(cells);
    theme.glyph("█", "#").repeat(full) + &theme.glyph("░", ".").repeat(cells - full)
}

/// A row for each length of time, a column for each node.
fn flushes(snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let nodes: Vec<(usize, &NodeEntry)> = snapshot.nodes.iter().enumerate().collect();
    let counts = |entry: &NodeEntry| {
        entry.vitals.as_ref().map_or_else(Vec::new, |vitals| vitals.wal.flush_counts.clone())
    };
    let all: Vec<Vec<u64>> = nodes.iter().map(|(_, entry)| counts(entry)).collect();
    let used =
        |at: &usize| all.iter().any(|counts| counts.get(*at).is_some_and(|count| *count > 0));
    let longest = all.iter().map(Vec::len).max().unwrap_or(0);
    let Some(first) = (0..longest).find(used) else {
        canvas.put(1, 0, "nothing is known of them", theme.dim());
        return;
    };
    const NAMES: usize = 10;
    let wide = canvas.width().saturating_sub(NAMES + 2) / nodes.len().max(1);
    if wide < 12 {
        canvas.put(1, 0, "there is no room for so many nodes", theme.dim());
        return;
    }
    for (column, (at, entry)) in nodes.iter().enumerate() {
        canvas.put(NAMES + column * wide, 0, &entry.node.node.to_string(), theme.node(*at));
    }
    let shown = canvas.height().saturating_sub(1).min(longest - first);
    // Where there is no room the longest stay: they are looked for.
    for (row, bucket) in (longest - shown..longest).enumerate() {
        canvas.put_right(
            NAMES - 1,
            row + 1,
            &format!("< {}", text::micros(1 << bucket.min(63), theme.ascii)),
            theme.dim(),
        );
        for (column, (at, _)) in nodes.iter().enumerate() {
            let count = all[*at].get(bucket).copied().unwrap_or(0);
            let total = all[*at].iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
            let most = all[*at].iter().copied().max().unwrap_or(0);
            let room = wide.saturating_sub(9);
            let bar = if count == 0 { String::new() } else { bar(theme, (count, most), room) };
            let bar = bar.trim_end_matches(theme.glyph("░", ".")).to_owned();
            let x = NAMES + column * wide;
            let end = canvas.part(x, row + 1, room, 1).put(0, 0, &bar, theme.node(*at));
            if count > 0 {
                canvas.put(x + end + 1, row + 1, &text::percent(count, total), theme.dim());
            }
        }
    }
}
