//! Leases: who leads how much, every partition as one field in its leader's colour, how much is
//! written to the busiest of each node, and the list.

use std::collections::HashMap;

use ratatui::style::Style;
use walrus_admin::snapshot::Snapshot;
use walrus_types::{NodeId, PartitionIndex};

use super::{nothing_yet, topics};
use crate::{
    app::App,
    model::change::Subject,
    ui::{chain::place_of, heat, paint::Canvas},
};

/// A field that changed so short a time ago is marked.
const FRESH_MS: i64 = 10_000;
/// Rows from which on there is room for the heat map.
const ROOM_FOR_LOAD: usize = 20;

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    let balance = (snapshot.nodes.len() + 2).min(height / 4).max(3);
    let fields = usize::try_from(app.model.figures.partitions).unwrap_or(usize::MAX);
    let map = (fields.div_ceil((width - 2).max(1)) + 2).min(height / 4).max(3);
    owners(app, snapshot, &mut canvas.part(0, 0, width, balance));
    fields_of(app, snapshot, &mut canvas.part(0, balance, width, map));
    // Where there is little room, who leads what matters more.
    let load = if height >= ROOM_FOR_LOAD { balance } else { 0 };
    if load > 0 {
        heat::draw(app, snapshot, &mut canvas.part(0, balance + map, width, load));
    }
    let above = balance + map + load;
    topics::list(app, &mut canvas.part(0, above, width, height - above));
}

fn owners(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let leases = app.model.figures.leases(snapshot);
    let total: u64 = leases.iter().map(|(_, count)| count).sum();
    let mut inside =
        canvas.framed(&format!("{total} leases, metadata version {}", snapshot.metadata_version));
    let theme = inside.theme;
    let most = leases.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let room = inside.width().saturating_sub(52);
    for (at, (node, count)) in leases.iter().enumerate() {
        let entry = &snapshot.nodes[at];
        inside.put(1, at, &node.to_string(), theme.node(at));
        inside.put_right(11, at, &count.to_string(), theme.strong());
        let length = usize::try_from(
            u128::from(*count) * u128::try_from(room).unwrap_or(0) / u128::from(most),
        );
        let bar = theme.glyph("█", "#").repeat(length.unwrap_or(0));
        inside.put(12, at, &bar, theme.node(at));
        let view = match (&entry.silent, &entry.vitals) {
            (Some(_), _) => format!("{} does not answer", theme.glyph("✗", "X")),
            (None, None) => "not known".to_owned(),
            (None, Some(vitals)) => {
                let behind = snapshot.metadata_version.saturating_sub(vitals.metadata_version);
                let view = if behind == 0 {
                    "sees the same".to_owned()
                } else {
                    format!("{behind} versions behind")
                };
                let without = vitals.leases.without_lease;
                let lease =
                    if without > 0 { format!(", {without} WITHOUT LEASE") } else { String::new() };
                format!("{view}, {} loaded{lease}", vitals.leases.loaded)
            }
        };
        let x = inside.width().saturating_sub(38);
        inside.put(x, at, &view, theme.dim());
    }
}

fn fields_of(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let mut inside = canvas.framed("Every partition, in the colour of who leads it");
    let theme = inside.theme;
    let fresh = fresh(app, snapshot);
    let places: HashMap<NodeId, Style> = snapshot
        .nodes
        .iter()
        .map(|entry| entry.node.node)
        .map(|node| (node, theme.node(place_of(Some(snapshot), node))))
        .collect();
    let (width, height) = (inside.width().saturating_sub(2).max(1), inside.height());
    let mut at = 0;
    for topic in &snapshot.topics {
        let fresh = fresh.get(topic.topic.as_str());
        for partition in &topic.partitions {
            if at >= width * height {
                return;
            }
            let is_fresh = fresh.is_some_and(|fresh| fresh.contains(&partition.partition));
            let sign = match (partition.leader_serves, is_fresh) {
                (false, _) => theme.glyph("×", "x"),
                (true, true) => theme.glyph("◆", "@"),
                (true, false) => theme.glyph("■", "o"),
            };
            let of_stranger = || theme.node(place_of(Some(snapshot), partition.leader));
            let style = places.get(&partition.leader).copied().unwrap_or_else(of_stranger);
            inside.sign(1 + at % width, at / width, sign, style);
            at += 1;
        }
    }
}

/// Partitions that changed a short time ago, by their topics.
fn fresh<'a>(app: &'a App, snapshot: &Snapshot) -> HashMap<&'a str, Vec<PartitionIndex>> {
    let newest = app.model.changes.iter().rev();
    let newest =
        newest.take_while(|change| snapshot.at_ms.0.saturating_sub(change.at.0) < FRESH_MS);
    let mut fresh: HashMap<&str, Vec<PartitionIndex>> = HashMap::new();
    for change in newest {
        if let Subject::Partition(name) = &change.subject {
            fresh.entry(&name.topic).or_default().push(name.partition);
        }
    }
    fresh
}
