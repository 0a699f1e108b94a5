//! What keys do: one table, from which the footer and the help are made.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::screen::Screen;

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Go to a screen.
    Go(Screen),
    /// The chosen row's own screen.
    Open,
    /// Back to the screen before.
    Back,
    /// The row below.
    Down,
    /// The row above.
    Up,
    /// A page down.
    PageDown,
    /// A page up.
    PageUp,
    /// The first row.
    First,
    /// The last row.
    Last,
    /// Begin to type a filter.
    Filter,
    /// Begin to type a command.
    Command,
    /// Order by the next column.
    Sort,
    /// Turn the order around.
    Reverse,
    /// Hold the picture, or let it go on.
    Freeze,
    /// Ask for news now.
    Refresh,
    /// What keys do.
    Help,
    /// End the console.
    Quit,
}

/// Keys, what they do, and what that is called.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The keys, any of which does it.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// In a word or two; the footer shows those of the first ones.
    pub what: &'static str,
}

/// A key as the table names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter or sign.
    Char(char),
    /// A letter with Ctrl.
    Ctrl(char),
    /// Any other key.
    Code(KeyCode),
}

use Key::{Char, Code, Ctrl};

/// All keys.
pub const KEYS: &[Binding] = &[
    Binding { keys: &[Code(KeyCode::Enter)], action: Action::Open, what: "open" },
    Binding { keys: &[Code(KeyCode::Esc), Char('q')], action: Action::Back, what: "back" },
    Binding { keys: &[Char('/')], action: Action::Filter, what: "filter" },
    Binding { keys: &[Char(':')], action: Action::Command, what: "go to" },
    Binding { keys: &[Char('s')], action: Action::Sort, what: "sort" },
    Binding { keys: &[Char(' ')], action: Action::Freeze, what: "freeze" },
    Binding { keys: &[Char('?')], action: Action::Help, what: "help" },
    Binding { keys: &[Char('1')], action: Action::Go(Screen::Overview), what: "overview" },
    Binding { keys: &[Char('2')], action: Action::Go(Screen::Nodes), what: "nodes" },
    Binding { keys: &[Char('3')], action: Action::Go(Screen::Topics), what: "topics" },
    Binding { keys: &[Char('4')], action: Action::Go(Screen::Leases), what: "leases" },
    Binding { keys: &[Char('5')], action: Action::Go(Screen::Raft), what: "raft" },
    Binding { keys: &[Char('6')], action: Action::Go(Screen::Storage), what: "storage" },
    Binding { keys: &[Char('7')], action: Action::Go(Screen::Groups), what: "groups" },
    Binding { keys: &[Char('8')], action: Action::Go(Screen::Events), what: "events" },
    Binding { keys: &[Char('9')], action: Action::Go(Screen::Playbooks), what: "playbooks" },
    Binding { keys: &[Char('0')], action: Action::Go(Screen::Operations), what: "operations" },
    Binding { keys: &[Char('D')], action: Action::Go(Screen::Gc), what: "GC" },
    Binding { keys: &[Char('K')], action: Action::Go(Screen::Clients), what: "clients" },
    Binding { keys: &[Char('j'), Code(KeyCode::Down)], action: Action::Down, what: "row below" },
    Binding { keys: &[Char('k'), Code(KeyCode::Up)], action: Action::Up, what: "row above" },
    Binding {
        keys: &[Code(KeyCode::PageDown), Ctrl('d')],
        action: Action::PageDown,
        what: "page down",
    },
    Binding { keys: &[Code(KeyCode::PageUp), Ctrl('u')], action: Action::PageUp, what: "page up" },
    Binding { keys: &[Char('g'), Code(KeyCode::Home)], action: Action::First, what: "first row" },
    Binding { keys: &[Char('G'), Code(KeyCode::End)], action: Action::Last, what: "last row" },
    Binding { keys: &[Char('S')], action: Action::Reverse, what: "turn the order around" },
    Binding { keys: &[Char('r')], action: Action::Refresh, what: "ask for news now" },
    Binding { keys: &[Ctrl('c')], action: Action::Quit, what: "quit" },
];

/// How many of the table the footer shows, beside the key that ends the console.
pub const IN_FOOTER: usize = 7;

impl Key {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Char(' ') => "space".to_owned(),
            Char(c) => c.to_string(),
            Ctrl(c) => format!("^{}", c.to_ascii_uppercase()),
            Code(KeyCode::Enter) => "enter".to_owned(),
            Code(code) => code.to_string().to_lowercase(),
        }
    }

    fn is(self, event: &KeyEvent) -> bool {
        let control = event.modifiers.contains(KeyModifiers::CONTROL);
        match self {
            Char(c) => !control && event.code == KeyCode::Char(c),
            Ctrl(c) => control && event.code == KeyCode::Char(c),
            Code(code) => !control && event.code == code,
        }
    }
}

/// What a key does, if it does something.
#[must_use]
pub fn action(event: &KeyEvent) -> Option<Action> {
    let bound = KEYS.iter().find(|binding| binding.keys.iter().any(|key| key.is(event)));
    bound.map(|binding| binding.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_does_two_things() {
        let keys: Vec<Key> = KEYS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{} is bound twice", key.name());
        }
        let mut actions: Vec<Action> = Vec::new();
        for binding in KEYS {
            assert!(!actions.contains(&binding.action), "{} stands twice", binding.what);
            actions.push(binding.action);
        }
    }
}
