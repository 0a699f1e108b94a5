//! Is the cluster well? One word, the facts behind it, the nodes, and what changed.

use walrus_admin::snapshot::Snapshot;

use super::{changes_where, nothing_yet};
use crate::{
    app::App,
    model::{rates, verdict},
    ui::{paint::Canvas, spark, text},
};

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let Some(snapshot) = app.model.seen() else { return nothing_yet(app, canvas) };
    let (width, height) = (canvas.width(), canvas.height());
    let nodes_height = (snapshot.nodes.len() + 3).min(height.saturating_sub(9).max(4));
    verdict_of(app, &mut canvas.part(0, 0, width / 2, 5));
    traffic(app, &mut canvas.part(width / 2, 0, width - width / 2, 5));
    nodes(app, snapshot, &mut canvas.part(0, 5, width, nodes_height));
    let rest = height.saturating_sub(5 + nodes_height);
    let mut below = canvas.part(0, 5 + nodes_height, width, rest);
    changes_where(app, &mut below.framed("What changed"), |_| true);
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
    let mut inside = canvas.framed("Nodes");
    super::nodes::table(app, snapshot, &mut inside, (snapshot.nodes.len(), None), |row| row);
}
