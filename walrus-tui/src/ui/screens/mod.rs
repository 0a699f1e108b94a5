//! The screens, a file for each.

mod clients;
mod events;
mod gc;
pub(super) mod group;
mod groups;
mod leases;
mod nodes;
mod operations;
mod overview;
pub(super) mod partition;
mod raft;
mod storage;
mod topics;

use ratatui::style::Style;
use walrus_admin::snapshot::{DiskVitals, NodeEntry, Snapshot, Vitals};
use walrus_types::UptimeMs;

use super::{
    paint::Canvas,
    table::{self, Cell, Column},
    text,
    theme::Theme,
};
use crate::{
    app::{App, lists::Listing},
    model::{
        Link,
        change::{Change, Level},
        rates::Rate,
    },
    screen::Screen,
};

/// Draws a screen of the whole cluster.
pub(super) fn draw(app: &App, screen: Screen, canvas: &mut Canvas<'_>) {
    if let Some(why) = screen.absent() {
        let theme = canvas.theme;
        let mut inside = canvas.framed(screen.title());
        inside.put(1, 1, "There is nothing to see here:", theme.text());
        inside.put(1, 2, why, theme.strong());
        if screen == Screen::Playbooks {
            playbooks(&mut inside);
        }
        return;
    }
    match screen {
        Screen::Overview => overview::draw(app, canvas),
        Screen::Nodes => nodes::draw(app, canvas),
        Screen::Topics => topics::draw(app, canvas),
        Screen::Leases => leases::draw(app, canvas),
        Screen::Raft => raft::draw(app, canvas),
        Screen::Storage => storage::draw(app, canvas),
        Screen::Groups => groups::draw(app, canvas),
        Screen::Events => events::draw(app, canvas),
        Screen::Gc => gc::draw(app, canvas),
        Screen::Clients => clients::draw(app, canvas),
        Screen::Operations => operations::draw(app, canvas),
        Screen::Playbooks => {}
    }
}

/// What a playbook will be, and what there is until then.
fn playbooks(inside: &mut Canvas<'_>) {
    let theme = inside.theme;
    let lines = [
        "A playbook is a run of steps against a cluster, as load, a drain, a kill,",
        "with what must hold meanwhile. They are to be files of a folder playbooks/,",
        "which is not there yet; then their runs are shown here.",
        "",
        "Until then the same is done",
        "  by hand    walrusctl node drain, rollover, raft transfer, node remove",
        "  by seeds   walrus-sim: whole clusters that live through faults",
        "  for real   cargo test -p walrus-tests: processes killed and cut off",
    ];
    for (row, line) in lines.iter().enumerate() {
        inside.put(1, 4 + row, line, theme.dim());
    }
}

/// What a list is called: how many there are, in which order, and which.
fn title(app: &App, listing: Listing, what: &str) -> String {
    let listed = app.lists.of(listing);
    let order = listing.orders().get(listed.order).copied().unwrap_or_default();
    let by = if listing.orders().len() > 1 { format!(" by {order}") } else { String::new() };
    let turned = if listed.reversed { ", turned around" } else { "" };
    let filtered = match listed.filter.strip_prefix('!') {
        _ if listed.filter.is_empty() => String::new(),
        Some(without) => format!(", without {without}"),
        None => format!(", with {}", listed.filter),
    };
    format!("{} {what}{by}{turned}{filtered}", listed.rows.len())
}

/// A table of all nodes above what else there is; answers how many rows of the screen it takes.
fn nodes_above(
    app: &App,
    snapshot: &Snapshot,
    canvas: &mut Canvas<'_>,
    (title, columns): (&str, &[Column]),
    cells: impl Fn(&NodeRow<'_>) -> Vec<Cell>,
) -> usize {
    let (width, height) = (canvas.width(), canvas.height());
    let rows = (snapshot.nodes.len() + 3).min(height / 2);
    let mut top = canvas.part(0, 0, width, rows);
    let nodes = (snapshot.nodes.len(), None);
    table::draw(&mut top.framed(title), columns, nodes, |at| {
        cells(&NodeRow::new(app, at, &snapshot.nodes[at]))
    });
    rows
}

/// What a table tells of one node: what is not known is a dash, and what it said before it fell
/// silent is dim.
struct NodeRow<'a> {
    app: &'a App,
    entry: &'a NodeEntry,
    /// Its place among the nodes, which is its colour.
    at: usize,
    style: Style,
}

impl<'a> NodeRow<'a> {
    fn new(app: &'a App, at: usize, entry: &'a NodeEntry) -> Self {
        let style = if entry.silent.is_some() { app.theme.dim() } else { app.theme.text() };
        Self { app, entry, at, style }
    }

    fn name(&self) -> Cell {
        Cell::new(self.entry.node.node.to_string(), self.app.theme.node(self.at))
    }

    fn address(&self) -> Cell {
        Cell::new(self.entry.node.addresses.client.clone(), self.app.theme.dim())
    }

    fn cell(&self, shown: Option<String>) -> Cell {
        Cell::new(shown.unwrap_or_else(|| "-".to_owned()), self.style)
    }

    /// What it said of itself.
    fn own(&self, shown: impl FnOnce(&Vitals) -> String) -> Cell {
        self.cell(self.entry.vitals.as_ref().map(shown))
    }

    fn disk(&self) -> Option<DiskVitals> {
        self.entry.vitals.as_ref().and_then(|vitals| vitals.disk)
    }

    fn rate(&self) -> Option<Rate> {
        self.app.model.rates.of(self.entry.node.node)
    }

    fn per_second(&self, of: impl FnOnce(Rate) -> f64, unit: fn(f64) -> String) -> Cell {
        self.cell(self.rate().map(of).map(unit))
    }

    fn state(&self, (level, state): (Level, &str)) -> Cell {
        let theme = self.app.theme;
        Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level))
    }

    /// How old what it said is by now: as old as it was when it was told, and that since then.
    fn age_text(&self) -> Option<String> {
        let age = self.entry.vitals_age_ms.zip(self.app.model.age_ms(self.app.now));
        age.map(|(then, since)| text::span(then.saturating_add(since)))
    }

    fn age(&self) -> Cell {
        Cell::new(self.age_text().unwrap_or_else(|| "-".to_owned()), self.app.theme.dim())
    }
}

/// What came `at` some time may be older than the rest: frames say so.
fn aged(app: &App, at: UptimeMs, stale_ms: u64, canvas: &mut Canvas<'_>) {
    let age = app.now.since(at);
    canvas.old_ms = canvas.old_ms.map(|_| age).or((age > stale_ms).then_some(age));
}

/// Says why there is nothing else.
fn said(canvas: &mut Canvas<'_>, title: &str, what: &str) {
    let mut inside = canvas.framed(title);
    let theme = inside.theme;
    inside.put(1, 1, what, theme.text());
}

/// What is said where there is nothing to show yet: never an empty screen.
fn nothing_yet(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let mut inside = canvas.framed("");
    if app.is_replay() {
        let what = match app.ended() {
            None => "Reading the recording.",
            Some(_) => "The recording does not show the cluster here.",
        };
        inside.put(1, 1, what, theme.text());
        return;
    }
    match &app.model.link {
        Link::Lost { why, .. } => {
            inside.put(1, 1, "No node answers.", theme.strong());
            inside.put(1, 2, why, theme.text());
            inside.put(
                1,
                4,
                "This goes on asking. Are the nodes up, and is this their admin port?",
                theme.dim(),
            );
            inside.put(1, 5, "  walrus-tui --endpoint HOST:PORT   asks elsewhere", theme.dim());
            inside.put(
                1,
                6,
                "  walrus-tui --demo                 shows a cluster that is made up",
                theme.dim(),
            );
        }
        Link::Connecting | Link::Live => {
            inside.put(1, 1, "Asking the nodes.", theme.text());
        }
    }
}

/// What changed, the newest first.
fn changes_where(app: &App, canvas: &mut Canvas<'_>, is_wanted: impl Fn(&Change) -> bool) {
    let theme = canvas.theme;
    let wanted = app.model.changes.iter().rev().filter(|change| is_wanted(change));
    let mut rows = 0;
    for (row, change) in wanted.take(canvas.height()).enumerate() {
        let [time, sign, subject, what] = told(theme, change);
        let end = canvas.put(1, row, &time.text, time.style);
        let end = canvas.put(end + 1, row, &sign.text, sign.style);
        canvas.part(end + 1, row, 16, 1).put(0, 0, &subject.text, subject.style);
        canvas.put(end + 18, row, &what.text, what.style);
        rows += 1;
    }
    if rows == 0 {
        canvas.put(1, 0, "nothing has changed since this console began", theme.dim());
    }
}

fn told(theme: Theme, change: &Change) -> [Cell; 4] {
    [
        Cell::new(text::clock(change.at), theme.dim()),
        Cell::new(theme.sign(change.level), theme.level(change.level)),
        Cell::new(change.subject.to_string(), theme.strong()),
        Cell::new(change.text.clone(), theme.text()),
    ]
}

/// Nodes as people write them, one after another.
fn copies_of(members: &[walrus_types::NodeId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
