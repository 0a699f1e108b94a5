//! The screens, a file for each.

pub mod leases;
pub mod overview;
pub mod partition;
pub mod topics;

use super::{paint::Canvas, table::Cell, text, theme::Theme};
use crate::{
    app::App,
    model::{
        Link,
        change::{Change, Subject},
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
        return;
    }
    match screen {
        Screen::Overview => overview::draw(app, canvas),
        Screen::Topics => topics::draw(app, canvas),
        Screen::Leases => leases::draw(app, canvas),
        _ => {}
    }
}

/// What is said where there is nothing to show yet: never an empty screen.
fn nothing_yet(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let mut inside = canvas.framed("");
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
fn changes(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    if app.model.changes.is_empty() {
        canvas.put(1, 0, "nothing has changed since this console began", theme.dim());
    }
    for (row, change) in app.model.changes.iter().rev().take(canvas.height()).enumerate() {
        let [time, sign, subject, what] = told(theme, change);
        let end = canvas.put(1, row, &time.text, time.style);
        let end = canvas.put(end + 1, row, &sign.text, sign.style);
        canvas.part(end + 1, row, 16, 1).put(0, 0, &subject.text, subject.style);
        canvas.put(end + 18, row, &what.text, what.style);
    }
}

fn told(theme: Theme, change: &Change) -> [Cell; 4] {
    let subject = match &change.subject {
        Subject::Cluster => "cluster".to_owned(),
        Subject::Node(node) => node.clone(),
        Subject::Topic(topic) => topic.clone(),
        Subject::Partition(name) => name.to_string(),
    };
    [
        Cell::new(text::clock(change.at), theme.dim()),
        Cell::new(theme.sign(change.level), theme.level(change.level)),
        Cell::new(subject, theme.strong()),
        Cell::new(change.text.clone(), theme.text()),
    ]
}

/// Nodes as people write them, one after another.
fn nodes(members: &[walrus_types::NodeId]) -> String {
    members.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}
