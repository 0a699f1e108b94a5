//! The line at the bottom: what is being typed, what the console says, or the keys.

use super::{
    keymap::{Action, IN_FOOTER},
    paint::Canvas,
    text,
};
use crate::app::{App, Typing, command};

pub(super) fn draw(app: &App, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    if let Some(typing) = &app.typing {
        return typed(app, typing, canvas);
    }
    if let Some(says) = app.says() {
        let end = canvas.put(1, 0, theme.glyph("›", ">"), theme.strong());
        canvas.put(end + 1, 0, says, theme.strong());
        return;
    }
    keys(app, canvas);
}

/// What is of use in the past, with what it is called there.
const IN_PAST: [(Action, &str); 10] = [
    (Action::SampleBack, "step back"),
    (Action::SampleOn, "on"),
    (Action::EventBack, "event back"),
    (Action::EventOn, "on"),
    (Action::Time, "time"),
    (Action::Live, "now"),
    (Action::Slower, "slower"),
    (Action::Faster, "faster"),
    (Action::Help, "help"),
    (Action::Open, "open"),
];

fn keys(app: &App, canvas: &mut Canvas<'_>) {
    let (theme, width) = (canvas.theme, canvas.width());
    let hint = |action: Action, what: &'static str| (app.keys.key_of(action), what);
    let wide = |(key, what): &(String, &str)| text::width(key) + 1 + text::width(what);
    let mut put = |x: usize, (key, what): &(String, &str)| {
        let x = canvas.put(x, 0, key, theme.strong());
        canvas.put(x + 1, 0, what, theme.dim()) + 2
    };
    // Whatever else there is room for, the way out is shown, and who has the mouse.
    let mut last = vec![hint(Action::Quit, "quit")];
    if app.mouse {
        last.insert(0, hint(Action::Mouse, "MOUSE ON, shift selects"));
    }
    let needed: usize = last.iter().map(|hint| wide(hint) + 2).sum();
    let room = width.saturating_sub(needed);
    let mut x = 1;
    for hint in &first(app) {
        if x + wide(hint) < room {
            x = put(x, hint);
        }
    }
    let mut x = room + 1;
    for hint in &last {
        x = put(x, hint);
    }
}

/// The keys that are of use now, what is used most first.
fn first(app: &App) -> Vec<(String, &'static str)> {
    let hint = |action: Action, what: &'static str| (app.keys.key_of(action), what);
    if app.past.is_some() {
        let freeze = if app.is_held() { "go on" } else { "hold" };
        let past = IN_PAST.into_iter().map(|(action, what)| hint(action, what));
        return std::iter::once(hint(Action::Freeze, freeze)).chain(past).collect();
    }
    let usual = app.keys.bound().iter().take(IN_FOOTER);
    let usual = usual.filter(|bound| bound.action != Action::Mouse || !app.mouse);
    let usual = usual.map(|bound| match bound.action {
        Action::Mouse => hint(Action::Mouse, "mouse off"),
        action => hint(action, bound.what),
    });
    std::iter::once(("1-0".to_owned(), "screens")).chain(usual).collect()
}

/// What is being typed, and what it may mean.
fn typed(app: &App, typing: &Typing, canvas: &mut Canvas<'_>) {
    let theme = canvas.theme;
    let filter = app.listing().map(|listing| app.lists.of(listing).filter.as_str());
    let (what, text) = match typing {
        Typing::Filter => ("filter: ", filter.unwrap_or_default()),
        Typing::Command(text) => ("go to: ", text.as_str()),
        Typing::Time(text) => ("time: ", text.as_str()),
        Typing::File(text) => ("write to: ", text.as_str()),
    };
    let end = canvas.put(1, 0, what, theme.strong());
    let end = canvas.put(end, 0, text, theme.text());
    let end = canvas.put(end, 0, theme.glyph("█", "_"), theme.text());
    let hint = match typing {
        Typing::Filter => String::new(),
        Typing::Time(_) => "12:03, 12:03:07, -90s, +5m".to_owned(),
        Typing::File(_) => "a name that ends in .txt, .json or .svg".to_owned(),
        Typing::Command(text) => match command::offers(&app.model, &app.contexts, text) {
            offers if !offers.is_empty() => offers.join("  "),
            _ if command::goal(&app.model, &app.contexts, text).is_some() => {
                "enter goes there".to_owned()
            }
            _ => "there is nothing of that name".to_owned(),
        },
    };
    canvas.put(end + 2, 0, &hint, theme.dim());
}
