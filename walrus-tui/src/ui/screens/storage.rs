//! Storage: each node's write-ahead log, how long its flushes took, and its disk.

use walrus_admin::snapshot::{NodeEntry, Snapshot, Vitals};

use super::{age_of, nothing_yet};
use crate::{
    app::App,
    model::change::Level,
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, words},
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
    let (width, height) = (canvas.width(), canvas.height());
    let rows = (snapshot.nodes.len() + 3).min(height / 2);
    {
        let mut top = canvas.part(0, 0, width, rows);
        let mut inside = top.framed("Write-ahead logs and disks");
        table::draw(&mut inside, COLUMNS, (snapshot.nodes.len(), None), |at| {
            node(app, at, &snapshot.nodes[at])
        });
    }
    let mut below = canvas.part(0, rows, width, height - rows);
    flushes(snapshot, &mut below.framed("How long flushes took, since each node started"));
}

fn node(app: &App, at: usize, entry: &NodeEntry) -> Vec<Cell> {
    let theme = app.theme;
    let style = if entry.silent.is_some() { theme.dim() } else { theme.text() };
    let own = |shown: &dyn Fn(&Vitals) -> String| {
        Cell::new(entry.vitals.as_ref().map_or_else(|| "-".to_owned(), shown), style)
    };
    let bars = |cells: usize, share: &dyn Fn(&Vitals) -> (u64, u64)| {
        let bar = entry.vitals.as_ref().map(|vitals| bar(theme, share(vitals), cells));
        Cell::new(bar.unwrap_or_else(|| "-".to_owned()), theme.node(at))
    };
    let rate = app.model.rates.of(entry.node.node);
    let per_second = |rate: Option<f64>, unit: fn(f64) -> String| {
        Cell::new(rate.map_or_else(|| "-".to_owned(), unit), style)
    };
    let flushed = rate.filter(|rate| rate.flushes > 0.0);
    let (level, state) = match &entry.vitals {
        _ if entry.silent.is_some() => (Level::Warn, "does not answer"),
        None => (Level::Warn, "not known"),
        Some(vitals) if vitals.store.disk_full => (Level::Error, "DISK FULL"),
        Some(_) => (Level::Info, "takes writes"),
    };
    vec![
        Cell::new(entry.node.node.to_string(), theme.node(at)),
        bars(16, &|vitals| (vitals.wal.used_bytes, vitals.wal.ring_bytes)),
        own(&|vitals| text::bytes(vitals.wal.used_bytes as f64)),
        per_second(rate.map(|rate| rate.flushes), text::count),
        per_second(rate.map(|rate| rate.logged_bytes), text::bytes),
        per_second(flushed.map(|rate| rate.logged_bytes / rate.flushes), text::bytes),
        own(&|vitals| text::micros(vitals.wal.flush_p50_us)),
        own(&|vitals| text::micros(vitals.wal.flush_p99_us)),
        bars(12, &|vitals| (vitals.wal.hot_tail_bytes, vitals.wal.hot_tail_max_bytes)),
        own(&|vitals| text::bytes(vitals.wal.hot_tail_bytes as f64)),
        bars(12, &|vitals| (super::nodes::used(vitals), vitals.disk.total_bytes)),
        own(&|vitals| text::bytes(vitals.disk.free_bytes as f64)),
        own(&|vitals| vitals.store.open_files.to_string()),
        Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level)),
        Cell::new(age_of(app, entry), theme.dim()),
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
            &format!("< {}", text::micros(1 << bucket.min(63))),
            theme.dim(),
        );
        for (column, (at, _)) in nodes.iter().enumerate() {
            let count = all[*at].get(bucket).copied().unwrap_or(0);
            let total: u64 = all[*at].iter().sum();
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
