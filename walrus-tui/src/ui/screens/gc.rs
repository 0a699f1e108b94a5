//! GC: what each topic keeps and how near that is, and what is gone and still held.

use walrus_admin::snapshot::{Keeps, Snapshot, TopicEntry};

use super::{NodeRow, nodes_above, nothing_yet};
use crate::{
    app::App,
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
    numbers("GROWS/s", 9, 1),
    numbers("FULL IN", 8, 0),
    numbers("GONE, STILL READ", 16, 1),
    numbers("READERS", 8, 2),
    words("STATE", 16, 1),
    numbers("AGE", 6, 0),
];

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let table = ("Disks, and files that went while somebody reads them", NODES);
    let rows = nodes_above(app, snapshot, canvas, table, node);
    let (width, height) = (canvas.width(), canvas.height());
    let mut below = canvas.part(0, rows, width, height - rows);
    let title = "Topics, and what each of their partitions keeps";
    let mut inside = below.framed(title);
    let mut topics: Vec<(u64, &TopicEntry)> =
        snapshot.topics.iter().map(|topic| (sealed(topic), topic)).collect();
    topics.sort_by_key(|(bytes, _)| std::cmp::Reverse(*bytes));
    table::draw(&mut inside, TOPICS, (topics.len(), None), |at| {
        topic(app, snapshot, topics[at].1, topics[at].0)
    });
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
    let state = match &row.entry.vitals {
        _ if row.entry.silent.is_some() => (Level::Warn, "does not answer"),
        None => (Level::Warn, "not known"),
        Some(vitals) if vitals.store.disk_full => (Level::Error, "DISK FULL"),
        Some(_) => (Level::Info, "has room"),
    };
    vec![
        row.name(),
        row.cell(disk.map(|disk| text::bytes(disk.free_bytes as f64))),
        row.cell(disk.map(|disk| text::percent(disk.used_bytes(), disk.total_bytes))),
        row.cell(grows.map(text::signed_bytes)),
        row.cell(full_in),
        row.own(|vitals| vitals.store.pruned_held.to_string()),
        row.own(|vitals| vitals.store.pruned_holders.to_string()),
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
