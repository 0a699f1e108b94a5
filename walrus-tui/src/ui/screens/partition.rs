//! One partition: its chain on a line of offsets, and its segments one in each row.

use walrus_admin::partition::{Chain, Segment};

use super::{copies_of, nothing_yet, said};
use crate::{
    app::App,
    model::{PartitionName, STALE_MS, find},
    ui::{
        chain::{self, place_of},
        paint::Canvas,
        table::{self, Cell, Column, Window, numbers, words},
        text,
    },
};

const COLUMNS: &[Column] = &[
    numbers("SEG", 6, 0),
    words("STATE", 8, 0),
    words("LEADER", 6, 0),
    numbers("BASE", 15, 1),
    numbers("END", 15, 1),
    numbers("RECORDS", 12, 2),
    numbers("BYTES", 9, 2),
    words("COPIES", 12, 0),
    words("OPENED FOR", 12, 3),
    words("NEWEST RECORD", 13, 4),
];

pub(in crate::ui) fn draw(app: &App, name: &PartitionName, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    let seen = app.model.chain.as_ref().filter(|seen| seen.of == *name);
    let Some((chain, at)) = seen.and_then(|seen| seen.newest.as_ref()) else {
        let why = seen.and_then(|seen| seen.failed.as_deref());
        return said(canvas, &name.to_string(), why.unwrap_or("asking for its chain"));
    };
    super::aged(app, *at, STALE_MS, canvas);
    let copies = copies(chain);
    let high = (copies + 5).min(height / 2);
    let title = match find(snapshot, name) {
        Some((topic, partition)) => format!(
            "{name}  led by {}, {} of {} copies, {} must have a batch, log from {}",
            partition.leader,
            partition.members.len(),
            topic.replicas_target,
            partition.write_quorum,
            text::whole(partition.log_start.0),
        ),
        None => format!("{name}  is there no more"),
    };
    let links = &chain.items;
    let chosen = links.len().saturating_sub(1 + app.link.min(links.len().saturating_sub(1)));
    {
        let mut top = canvas.part(0, 0, width, high);
        let mut inside = top.framed(&title);
        let (wide, rows) = (inside.width().saturating_sub(2), inside.height());
        chain::draw(&mut inside.part(1, 0, wide, rows), links, chosen, Some(snapshot));
    }
    let mut below = canvas.part(0, high, width, height - high);
    let older = chain.segments.saturating_sub(u64::try_from(links.len()).unwrap_or(u64::MAX));
    let more = if older > 0 { format!(", {older} older ones not shown") } else { String::new() };
    let losses = match chain.losses.len() {
        0 => String::new(),
        losses => format!(", {losses} LOSSES"),
    };
    let mut inside = below.framed(&format!("{} segments{more}{losses}", chain.segments));
    let theme = inside.theme;
    let window =
        Window { top: 0, chosen: app.link }.fitted(links.len(), inside.height().saturating_sub(1));
    table::draw(&mut inside, COLUMNS, (links.len(), Some(window)), |row| {
        let link = &links[links.len() - 1 - row];
        let leader = theme.node(place_of(Some(snapshot), link.leader));
        segment(link, chain)
            .into_iter()
            .enumerate()
            .map(|(at, cell)| if at == 2 { Cell { style: leader, ..cell } } else { cell })
            .collect()
    });
}

/// How many nodes have any of it.
fn copies(chain: &Chain) -> usize {
    let mut nodes: Vec<_> = chain.items.iter().flat_map(|link| link.members.iter()).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes.len()
}

fn segment(link: &Segment, chain: &Chain) -> Vec<Cell> {
    let state = match (link.open, link.members.len() < usize::from(chain.replicas_target)) {
        (true, _) => "open",
        (false, true) => "sealed !",
        (false, false) => "sealed",
    };
    let number = |value: Option<i64>| Cell::from(value.map_or_else(|| "-".to_owned(), text::whole));
    vec![
        Cell::from(link.epoch.to_string()),
        Cell::from(state.to_owned()),
        Cell::from(link.leader.to_string()),
        number(Some(link.base.0)),
        number(link.end.map(|end| end.0)),
        number(link.end.map(|end| end.0.saturating_sub(link.base.0))),
        Cell::from(link.bytes.map_or_else(|| "-".to_owned(), |bytes| text::bytes(bytes as f64))),
        Cell::from(copies_of(&link.members)),
        Cell::from(link.reason.clone()),
        Cell::from(link.max_timestamp_ms.map_or_else(|| "-".to_owned(), text::clock)),
    ]
}
