//! GC: what was unlinked, what waits and who holds it, and what each topic keeps and how near that
//! is.

use walrus_admin::{
    gc::{HeldSegment, NextSegment},
    snapshot::{Keeps, NodeEntry, Snapshot, TopicEntry},
};
use walrus_types::TimestampMs;

use super::{NodeRow, nodes_above, nothing_yet};
use crate::{
    app::{
        App,
        going::{self, Entry},
        lists::Listing,
    },
    model::change::Level,
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, rest, words},
        text,
    },
};

const TOPICS: &[Column] = &[
    words("TOPIC", 24, 0),
    numbers("PARTITIONS", 10, 3),
    numbers("SEGMENTS", 9, 1),
    numbers("SEALED", 9, 0),
    rest("KEEPS", 14, 0),
    numbers("LARGEST", 9, 2),
    numbers("OF LIMIT", 8, 1),
    numbers("OLDEST", 7, 1),
    words("STATE", 23, 1),
];
const NODES: &[Column] = &[
    words("ID", 4, 0),
    numbers("FREE", 9, 0),
    numbers("DISK", 6, 1),
    numbers("GROWS/s", 9, 3),
    numbers("FULL IN", 8, 0),
    numbers("UNLINKED", 9, 1),
    numbers("FREED", 9, 2),
    numbers("FREED/s", 9, 1),
    numbers("WAIT", 5, 0),
    numbers("HELD", 4, 0),
    words("STATE", 16, 1),
    numbers("AGE", 6, 0),
];
const GOING: &[Column] = &[
    words("NODE", 4, 0),
    words("STATE", 8, 0),
    words("WHAT", 22, 0),
    numbers("BYTES", 9, 2),
    numbers("FOR", 7, 3),
    rest("WHO OR WHY", 34, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let table = ("Disks, and what was unlinked", NODES);
    let rows = nodes_above(app, snapshot, canvas, table, node);
    let (width, left) = (canvas.width(), canvas.height() - rows);
    let wanted = app.lists.of(Listing::Going).rows.len().max(1) + 3;
    let middle = wanted.min(left / 2);
    going(app, snapshot, &mut canvas.part(0, rows, width, middle));
    let mut below = canvas.part(0, rows + middle, width, left - middle);
    let title = "Topics, and what each of their partitions keeps";
    let mut inside = below.framed(title);
    let mut topics: Vec<(u64, &TopicEntry)> =
        snapshot.topics.iter().map(|topic| (sealed(topic), &**topic)).collect();
    topics.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    table::draw(&mut inside, TOPICS, (topics.len(), None), |at| {
        topic(app, snapshot, topics[at].1, topics[at].0)
    });
}

/// What somebody holds, what could not be removed, what is due and waits, what goes next.
fn going(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let title = super::title(app, Listing::Going, "that go or wait,");
    let mut inside = canvas.framed(&title);
    let listed = app.lists.of(Listing::Going);
    let window = listed.window.fitted(listed.rows.len(), inside.height().saturating_sub(1));
    table::draw(&mut inside, GOING, (listed.rows.len(), Some(window)), |row| {
        let entry = listed.rows.get(row).and_then(|row| {
            let (node, entry) = going::entry_at(snapshot, *row)?;
            Some(cells(app, snapshot, (row.0, node), entry))
        });
        entry.unwrap_or_default()
    });
    if listed.rows.is_empty() {
        let told = snapshot.nodes.iter().filter_map(|node| node.vitals.as_ref());
        let is_told = told.clone().any(|vitals| vitals.gc.is_some());
        let what =
            if is_told { "nothing waits, and nobody holds anything" } else { "nodes do not tell" };
        inside.put(1, 1, what, inside.theme.dim());
    }
}

fn cells(
    app: &App,
    snapshot: &Snapshot,
    (at, node): (usize, &NodeEntry),
    entry: Entry<'_>,
) -> Vec<Cell> {
    let theme = app.theme;
    let unknown = || "-".to_owned();
    let (level, time, why) = match entry {
        Entry::Held(one) => {
            let level = if one.on_disk { Level::Warn } else { Level::Info };
            (level, Some(one.since_ms), holders(one))
        }
        Entry::Leftover(one) => (Level::Error, Some(one.since_ms), one.why.clone()),
        Entry::Due(one) => (Level::Warn, None, format!("for {}; {}", one.waits_for, one.why)),
        Entry::Next(one) => (Level::Info, None, goes(one, snapshot.at_ms)),
    };
    let state = match level {
        Level::Info => Cell::new(format!("  {}", entry.word()), theme.text()),
        level => Cell::new(format!("{} {}", theme.sign(level), entry.word()), theme.level(level)),
    };
    vec![
        Cell::new(node.node.node.to_string(), theme.node(at)),
        state,
        Cell::new(entry.name(), theme.strong()),
        Cell::from(entry.bytes().map_or_else(unknown, |bytes| text::bytes(bytes as f64))),
        Cell::from(time.map_or_else(unknown, text::span)),
        Cell::from(why),
    ]
}

/// Who holds a segment, in words.
fn holders(one: &HeldSegment) -> String {
    let named = one.holders.iter().map(|holder| {
        let whose = holder.whose.as_ref().map_or_else(String::new, |whose| format!(" by {whose}"));
        let time = holder.for_ms.map_or_else(String::new, |ms| format!(" for {}", text::span(ms)));
        format!("{}{whose}{time}", holder.purpose.word())
    });
    let unnamed = (one.unnamed > 0).then(|| format!("{} unnamed", one.unnamed));
    let mut who: Vec<String> = named.chain(unnamed).collect();
    if who.is_empty() {
        who.push(if one.on_disk { "its log is still open" } else { "-" }.to_owned());
    }
    let on_disk = if one.on_disk { "" } else { " (the disk has it back)" };
    who.join(", ") + on_disk
}

/// When a segment goes, in words.
fn goes(one: &NextSegment, now: TimestampMs) -> String {
    let span = |at: TimestampMs| text::span(u64::try_from(at.0.saturating_sub(now.0)).unwrap_or(0));
    let parts = [
        one.at_ms.map(|at| format!("in {}", span(at))),
        one.lacking_bytes.map(|bytes| format!("after {} more", text::bytes(bytes as f64))),
        one.lacking_segments.map(|more| format!("after {more} more to be sealed")),
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(", or ")
}

fn sealed(topic: &TopicEntry) -> u64 {
    topic.partitions.iter().fold(0, |sum, one| sum.saturating_add(one.sealed_bytes))
}

fn node(row: &NodeRow<'_>) -> Vec<Cell> {
    let disk = row.disk();
    let grows = row.app.model.disks.grows(row.entry.node.node);
    let full_in = disk.zip(grows).filter(|(_, grows)| *grows >= 1.0).map(|(disk, grows)| {
        let seconds = disk.free_bytes as f64 / grows;
        if seconds > 100.0 * 86_400.0 { "> 100 d".to_owned() } else { text::seconds(seconds) }
    });
    let gc = row.entry.vitals.as_ref().and_then(|vitals| vitals.gc.as_ref());
    let look = gc.and_then(|gc| gc.look.as_ref());
    let is_stuck = gc.is_some_and(|gc| !gc.leftovers.is_empty());
    let state = match &row.entry.vitals {
        _ if row.entry.silent.is_some() => (Level::Warn, "does not answer"),
        None => (Level::Warn, "not known"),
        Some(vitals) if vitals.store.disk_full => (Level::Error, "DISK FULL"),
        Some(_) if is_stuck => (Level::Error, "files stay"),
        Some(_) => (Level::Info, "has room"),
    };
    vec![
        row.name(),
        row.cell(disk.map(|disk| text::bytes(disk.free_bytes as f64))),
        row.cell(disk.map(|disk| text::percent(disk.used_bytes(), disk.total_bytes))),
        row.cell(grows.map(text::signed_bytes)),
        row.cell(full_in),
        row.cell(gc.map(|gc| gc.freed_segments.to_string())),
        row.cell(gc.map(|gc| text::bytes(gc.freed_bytes as f64))),
        row.cell(gc.and_then(|gc| gc.freed_bytes_per_s).map(|rate| text::bytes(rate as f64))),
        row.cell(look.map(|look| look.due_segments.to_string())),
        row.own(|vitals| vitals.store.pruned_held.to_string()),
        row.state(state),
        row.age(),
    ]
}

fn topic(app: &App, snapshot: &Snapshot, topic: &TopicEntry, sealed: u64) -> Vec<Cell> {
    let theme = app.theme;
    let segments = topic.partitions.iter().fold(0_u64, |sum, one| sum.saturating_add(one.segments));
    let largest = topic.partitions.iter().map(|one| one.sealed_bytes).max().unwrap_or(0);
    let oldest = topic.partitions.iter().filter_map(|one| one.oldest_ms).min();
    let age = oldest.map(|at| u64::try_from(snapshot.at_ms.0.saturating_sub(at.0)).unwrap_or(0));
    let limit = topic.keeps.and_then(|keeps| keeps.bytes);
    let is_late = topic.keeps.and_then(|keeps| keeps.ms).zip(age).is_some_and(|(ms, age)| age > ms);
    let is_large = limit.is_some_and(|limit| largest > limit);
    let (level, state) = match (is_late, is_large) {
        (true, _) => (Level::Warn, "older than it keeps"),
        (false, true) => (Level::Warn, "more than it keeps"),
        (false, false) => (Level::Info, "within what it keeps"),
    };
    let unknown = || "-".to_owned();
    vec![
        Cell::new(topic.topic.clone(), theme.strong()),
        Cell::from(topic.partitions.len().to_string()),
        Cell::from(segments.to_string()),
        Cell::from(text::bytes(sealed as f64)),
        Cell::from(topic.keeps.map_or_else(unknown, keeps)),
        Cell::from(text::bytes(largest as f64)),
        Cell::from(limit.map_or_else(unknown, |limit| text::percent(largest, limit))),
        Cell::from(age.map_or_else(unknown, text::span)),
        Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level)),
    ]
}

/// What a topic keeps, in words.
fn keeps(keeps: Keeps) -> String {
    let parts = [
        keeps.ms.map(text::span),
        keeps.bytes.map(|bytes| text::bytes(bytes as f64)),
        keeps.segments.map(|segments| format!("{segments} segments")),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { "everything".to_owned() } else { parts.join(", ") }
}
