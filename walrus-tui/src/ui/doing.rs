//! What is being done to the cluster, above everything else: the menu, the plan, its agreement.

use walrus_admin::plan::{Impact, Plan};

use super::{overlay::boxed, paint::Canvas, text};
use crate::{
    app::{
        App,
        doing::{Agreeing, Doing, Gate, Wish},
    },
    model::change::Level,
};

/// Cells of the box.
const WIDTH: usize = 92;

/// Draws it.
pub(super) fn draw(app: &App, doing: &Doing, canvas: &mut Canvas<'_>) {
    match doing {
        Doing::Menu { wishes, at } => menu(canvas, wishes, *at),
        Doing::Planning(wanted) => {
            let what = format!("{} {}", wanted.verb(), wanted.subject());
            lines(canvas, "Plan", &[(Style::Text, format!("asking what it comes to: {what}"))]);
        }
        Doing::Sent(what) => lines(canvas, "Sent", &[(Style::Text, format!("{what} …"))]),
        Doing::Refused(why) => {
            let mut told = vec![(Style::Error, why.message.clone())];
            told.extend(why.hint.iter().map(|hint| (Style::Text, hint.clone())));
            told.push((Style::Dim, "esc leaves; nothing was changed that is not listed".into()));
            lines(canvas, "Refused", &told);
        }
        Doing::Agreeing(agreeing) => agree(app, agreeing, canvas),
    }
}

#[derive(Debug, Clone, Copy)]
enum Style {
    Text,
    Strong,
    Dim,
    Warn,
    Error,
}

fn menu(canvas: &mut Canvas<'_>, wishes: &[Wish], at: usize) {
    let names: Vec<String> = wishes.iter().map(Wish::name).collect();
    let wide = names.iter().map(|name| text::width(name)).max().unwrap_or(0).max(34) + 6;
    boxed(canvas, "Do", (wide, names.len() + 4), |inside| {
        let theme = inside.theme;
        for (row, name) in names.iter().enumerate() {
            let sign = if row == at { theme.glyph("▸", ">") } else { " " };
            let end = inside.put(1, row, sign, theme.strong());
            inside.put(end + 1, row, name, theme.text());
            if row == at {
                inside.restyle(row, theme.chosen());
            }
        }
        inside.put(1, names.len() + 1, "enter shows the plan, esc leaves", theme.dim());
    });
}

fn agree(app: &App, agreeing: &Agreeing, canvas: &mut Canvas<'_>) {
    let plan = &agreeing.plan;
    let cluster = app.model.seen().map_or("", |snapshot| snapshot.cluster.as_str());
    let of = app.sent.context.as_deref().unwrap_or(cluster);
    let title = format!("Plan: {} {} of {of}", plan.wanted.verb(), plan.subject);
    let mut told = told(plan);
    told.push((Style::Text, String::new()));
    told.push((Style::Dim, plan.command.clone()));
    told.push((Style::Text, String::new()));
    told.extend(question(agreeing, canvas));
    lines(canvas, &title, &told);
}

fn told(plan: &Plan) -> Vec<(Style, String)> {
    let mut told: Vec<(Style, String)> = Vec::new();
    let effects = plan.effects.iter().enumerate();
    told.extend(effects.map(|(at, effect)| (Style::Text, format!("{}  {effect}", at + 1))));
    told.extend(plan.warnings.iter().map(|warning| (Style::Warn, format!("!  {warning}"))));
    for refusal in &plan.refusals {
        told.push((Style::Error, format!("x  {}", refusal.message)));
        told.extend(refusal.hint.iter().map(|hint| (Style::Text, format!("   {hint}"))));
    }
    told.push((Style::Text, String::new()));
    told.push((Style::Dim, impact(&plan.impact)));
    told
}

fn impact(impact: &Impact) -> String {
    let Impact { leases_move, segments_roll, segments_copy, bytes_copy, clients, .. } = impact;
    let copies = match segments_copy {
        0 => "0 B copied".to_owned(),
        number => format!("{number} segments copied ({})", text::bytes(*bytes_copy as f64)),
    };
    let clients = clients.map_or_else(String::new, |number| format!(", {number} connections"));
    format!(
        "{leases_move} leases move, {segments_roll} segments roll, {copies}; {} of {} voters \
         decide{clients}",
        impact.quorum, impact.voters
    )
}

fn question(agreeing: &Agreeing, canvas: &Canvas<'_>) -> Vec<(Style, String)> {
    let cursor = canvas.theme.glyph("█", "_");
    if !agreeing.may_go() {
        let what = if agreeing.plan.changes { "it is refused" } else { "there is nothing to do" };
        return vec![(Style::Strong, format!("{what}: esc leaves"))];
    }
    let Agreeing { gate, typed, goes, plan, .. } = agreeing;
    match gate {
        Gate::Type => vec![
            (Style::Strong, format!("Type {} to confirm: {typed}{cursor}", plan.subject)),
            (Style::Dim, "enter does nothing until it matches; esc leaves".to_owned()),
        ],
        Gate::Press => vec![(Style::Strong, "y carries it out; enter and esc leave".to_owned())],
        Gate::Choose => {
            let (left, run) = if *goes {
                ("  leave  ", "[ carry it out ]")
            } else {
                "[ leave ]  carry it out  ".split_at(9)
            };
            vec![
                (Style::Strong, format!("{left}   {run}")),
                (Style::Dim, "arrows choose, enter does it, C copies the command".to_owned()),
            ]
        }
    }
}

/// A box with these lines, each broken where the room ends.
fn lines(canvas: &mut Canvas<'_>, title: &str, told: &[(Style, String)]) {
    let width = WIDTH.min(canvas.width());
    let room = width.saturating_sub(4).max(1);
    let broken: Vec<(Style, String)> = told
        .iter()
        .flat_map(|(style, line)| text::wrapped(line, room).into_iter().map(|part| (*style, part)))
        .collect();
    // The end is the question: where there is no room for all, the beginning goes.
    let most = canvas.height().saturating_sub(2);
    let from = broken.len().saturating_sub(most);
    boxed(canvas, title, (width, broken.len() - from + 2), |inside| {
        let theme = inside.theme;
        for (row, (style, line)) in broken[from..].iter().enumerate() {
            let style = match style {
                Style::Text => theme.text(),
                Style::Strong => theme.strong(),
                Style::Dim => theme.dim(),
                Style::Warn => theme.level(Level::Warn),
                Style::Error => theme.level(Level::Error),
            };
            inside.put(1, row, line, style);
        }
    });
}
