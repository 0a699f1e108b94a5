//! The metadata group: what each node makes of it, who led it on a line of time, and what changed.

use walrus_admin::snapshot::Snapshot;

use super::{NodeRow, changes_where, nodes::lines, nothing_yet};
use crate::{
    app::App,
    model::change::{Level, Subject},
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, numbers, words},
        terms, text,
    },
};

const COLUMNS: &[Column] = &[
    words("ID", 4, 0),
    words("PART", 8, 0),
    words("SAYS", 10, 2),
    numbers("TERM", 6, 0),
    words("LEADER", 6, 1),
    numbers("LAST", 12, 2),
    numbers("COMMITTED", 12, 2),
    numbers("APPLIED", 12, 1),
    numbers("BEHIND", 8, 0),
    numbers("LEADER SAYS", 11, 3),
    numbers("SNAPSHOT", 12, 4),
    numbers("PURGED", 12, 5),
    words("VIEW", 17, 1),
    numbers("AGE", 6, 0),
];

/// Rows that are left to what changed, at least.
const CHANGES_LEAST: usize = 4;

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    group(snapshot, &mut canvas.part(0, 0, width, 5));
    let rows = (snapshot.nodes.len() + 3).min(height.saturating_sub(9).max(4));
    nodes(app, snapshot, &mut canvas.part(0, 5, width, rows));
    let mut above = 5 + rows;
    if height >= above + terms::ROWS + CHANGES_LEAST {
        terms::draw(&mut canvas.part(0, above, width, terms::ROWS), &app.model.terms, snapshot);
        above += terms::ROWS;
    }
    let mut below = canvas.part(0, above, width, height.saturating_sub(above));
    let mut inside = below.framed("What changed in the cluster");
    changes_where(app, &mut inside, |change| change.subject == Subject::Cluster);
}

fn group(snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let group = &snapshot.group;
    let mut inside = canvas.framed(&format!("Metadata group, term {}", group.term));
    let leader = group.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    let serve = snapshot.nodes.iter().filter(|entry| {
        entry.silent.is_none() && entry.node.raft.as_ref().is_some_and(|raft| raft.votes)
    });
    let votes = format!(
        "{}, {} of them answer, {} are a quorum",
        group.voters,
        serve.count(),
        group.quorum
    );
    let applied = text::whole(i64::try_from(snapshot.metadata_version).unwrap_or(i64::MAX));
    let told = format!("{applied} at {}, which answers", snapshot.answered_by);
    let room = inside.width().saturating_sub(1);
    lines(
        &mut inside.part(1, 0, room, 3),
        &[("leader", leader), ("voters", votes), ("version", told)],
    );
}

fn nodes(app: &App, snapshot: &Snapshot, canvas: &mut Canvas<'_>) {
    let mut inside = canvas.framed("In the eyes of each node");
    let views = snapshot.nodes.iter().filter_map(|entry| entry.vitals.as_ref());
    let last = views.map(|vitals| vitals.raft.last).max().unwrap_or(0);
    table::draw(&mut inside, COLUMNS, (snapshot.nodes.len(), None), |at| {
        node(snapshot, &NodeRow::new(app, at, &snapshot.nodes[at]), last)
    });
}

fn node(snapshot: &Snapshot, row: &NodeRow<'_>, last: u64) -> Vec<Cell> {
    let entry = row.entry;
    let whole = |number: u64| text::whole(i64::try_from(number).unwrap_or(i64::MAX));
    let raft = entry.vitals.as_ref().map(|vitals| &vitals.raft);
    let said = raft.map(|raft| raft.state.clone()).filter(|state| !state.is_empty());
    let leader =
        raft.map(|raft| raft.leader.map_or_else(|| "none".to_owned(), |one| one.to_string()));
    let lag = entry.node.raft.as_ref().and_then(|raft| raft.lag_entries);
    let view = match raft {
        _ if entry.silent.is_some() => (Level::Warn, "does not answer"),
        None => (Level::Warn, "not known"),
        Some(raft) if raft.term != snapshot.group.term => (Level::Warn, "another term"),
        Some(raft) if raft.leader != snapshot.group.leader => (Level::Warn, "another leader"),
        Some(_) => (Level::Info, "agrees"),
    };
    vec![
        row.name(),
        Cell::new(super::nodes::part(snapshot, entry), row.app.theme.strong()),
        row.cell(said),
        row.cell(raft.map(|raft| raft.term.to_string())),
        row.cell(leader),
        row.cell(raft.map(|raft| whole(raft.last))),
        row.cell(raft.map(|raft| whole(raft.committed))),
        row.cell(raft.map(|raft| whole(raft.applied))),
        row.cell(raft.map(|raft| whole(last.saturating_sub(raft.applied)))),
        row.cell(lag.map(whole)),
        row.cell(raft.map(|raft| whole(raft.snapshot))),
        row.cell(raft.map(|raft| whole(raft.purged))),
        row.state(view),
        row.age(),
    ]
}
