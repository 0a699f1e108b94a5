//! One group: what it has to read of each partition, and its members.

use walrus_admin::group::{GroupStatus, PartitionLag, ReadState};

use super::{groups::loss, said};
use crate::{
    app::App,
    model::{STALE_MS, change::Level},
    ui::{
        paint::Canvas,
        table::{self, Cell, Column, Window, numbers, rest, words},
        text,
        theme::Theme,
    },
};

const PARTITIONS: &[Column] = &[
    words("TOPIC/P", 20, 0),
    words("STATE", 11, 2),
    numbers("COMMITTED", 14, 1),
    numbers("END", 14, 3),
    numbers("RECORDS", 12, 0),
    numbers("BYTES", 9, 4),
    numbers("TIME", 7, 0),
    numbers("READS/s", 8, 2),
    numbers("APPENDS/s", 9, 3),
    words("MEMBER", 20, 4),
    rest("RISK", 20, 0),
];
const MEMBERS: &[Column] = &[
    words("MEMBER", 44, 0),
    words("CLIENT", 20, 1),
    words("FROM", 22, 1),
    numbers("PARTITIONS", 10, 0),
    words("STATIC", 20, 2),
];

pub(in crate::ui) fn draw(app: &App, name: &str, canvas: &mut Canvas<'_>) {
    let seen = app.model.group.as_ref().filter(|seen| seen.of == name);
    let Some((group, at)) = seen.and_then(|seen| seen.newest.as_ref()) else {
        let failed = seen.and_then(|seen| seen.failed.as_deref());
        return said(canvas, name, failed.unwrap_or("asking for the group"));
    };
    super::aged(app, *at, STALE_MS, canvas);
    let (width, height) = (canvas.width(), canvas.height());
    let members = (group.member_list.len() + 3).clamp(4, (height / 3).max(4));
    let rows = height.saturating_sub(members);
    {
        let mut top = canvas.part(0, 0, width, rows);
        let mut inside = top.framed(&title(group));
        let theme = inside.theme;
        let window = Window { top: 0, chosen: app.link };
        let window = window.fitted(group.items.len(), inside.height().saturating_sub(1));
        table::draw(&mut inside, PARTITIONS, (group.items.len(), Some(window)), |row| {
            partition(theme, &group.items[row])
        });
    }
    let mut below = canvas.part(0, rows, width, members);
    let mut inside = below.framed(&format!("{} members", group.member_list.len()));
    let theme = inside.theme;
    if group.member_list.is_empty() {
        inside.put(1, 1, "nobody reads", theme.dim());
        return;
    }
    table::draw(&mut inside, MEMBERS, (group.member_list.len(), None), |row| {
        let member = &group.member_list[row];
        vec![
            Cell::new(member.member.clone(), theme.strong()),
            Cell::from(member.client_id.clone()),
            Cell::from(member.client_host.clone()),
            Cell::from(member.partitions.to_string()),
            Cell::from(member.instance.clone().unwrap_or_else(|| "-".to_owned())),
        ]
    });
}

fn title(status: &GroupStatus) -> String {
    let group = &status.group;
    let unknown = match group.unknown {
        0 => String::new(),
        unknown => format!(", {unknown} partitions not known"),
    };
    format!(
        "{}  {}, generation {}, coordinator {}, {} records and {} behind{unknown}",
        group.group,
        group.state,
        status.generation,
        group.coordinator,
        text::whole(i64::try_from(group.lag_records).unwrap_or(i64::MAX)),
        text::span(group.lag_ms),
    )
}

fn partition(theme: Theme, lag: &PartitionLag) -> Vec<Cell> {
    let (level, state) = match lag.state {
        ReadState::Read => (Level::Info, "read"),
        ReadState::Behind => (Level::Info, "behind"),
        ReadState::Lost => (Level::Error, "lost"),
        ReadState::NoCommit => (Level::Warn, "no commit"),
        ReadState::PastEnd => (Level::Warn, "past end"),
        ReadState::Unknown => (Level::Warn, "not known"),
    };
    let cell = |shown: Option<String>| Cell::from(shown.unwrap_or_else(|| "-".to_owned()));
    let whole = |number: u64| text::whole(i64::try_from(number).unwrap_or(i64::MAX));
    let (risk_level, risk) = match (lag.unknown.first(), &lag.risk) {
        (Some(why), _) => (Level::Warn, why.clone()),
        (None, Some(risk)) => loss(risk),
        (None, None) => (Level::Info, String::new()),
    };
    let sign = if risk.is_empty() { "-" } else { theme.sign(risk_level) };
    vec![
        Cell::new(format!("{}/{}", lag.topic, lag.partition), theme.strong()),
        Cell::new(format!("{} {state}", theme.sign(level)), theme.level(level)),
        cell(lag.committed.map(|at| text::whole(at.0))),
        cell(lag.end.map(|at| text::whole(at.0))),
        cell(lag.lag_records.map(whole)),
        cell(lag.lag_bytes.map(|bytes| text::bytes(bytes as f64))),
        cell(lag.lag_ms.map(text::span)),
        cell(lag.reads_per_s.map(text::count)),
        cell(lag.appends_per_s.map(text::count)),
        cell(lag.member.clone()),
        Cell::new(format!("{sign} {risk}"), theme.level(risk_level)),
    ]
}
