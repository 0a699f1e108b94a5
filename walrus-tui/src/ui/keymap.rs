//! What keys do: one table, from which the footer, the help and the README are made. The file of
//! contexts may give an action other keys.

use std::fmt;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use thiserror::Error;

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
    /// What can be done with the chosen row.
    Do,
    /// Order by the next column.
    Sort,
    /// Turn the order around.
    Reverse,
    /// Hold the picture, or let it go on.
    Freeze,
    /// To the sample before.
    SampleBack,
    /// To the sample after.
    SampleOn,
    /// To where something happened before.
    EventBack,
    /// To where something happened after.
    EventOn,
    /// Play slower.
    Slower,
    /// Play faster.
    Faster,
    /// Begin to type a time to go to.
    Time,
    /// Back to now.
    Live,
    /// Ask for news now.
    Refresh,
    /// Copy the name of the chosen row.
    Copy,
    /// Begin to type the name of a file for the picture.
    Write,
    /// Take the mouse, or let it go.
    Mouse,
    /// The next colours.
    Theme,
    /// What keys do.
    Help,
    /// End the console.
    Quit,
}

/// Keys, what they do, and what that is called.
#[derive(Debug, Clone, Copy)]
pub struct Binding {
    /// The keys, any of which does it, unless the file of contexts names others.
    pub keys: &'static [Key],
    /// What they do.
    pub action: Action,
    /// As `[keys]` of the file of contexts calls it.
    pub name: &'static str,
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

const fn bind(
    keys: &'static [Key],
    action: Action,
    name: &'static str,
    what: &'static str,
) -> Binding {
    Binding { keys, action, name, what }
}

const fn goes(key: &'static [Key], screen: Screen, name: &'static str) -> Binding {
    Binding { keys: key, action: Action::Go(screen), name, what: name }
}

/// All keys, unless somebody names others.
pub const KEYS: &[Binding] = &[
    bind(&[Code(KeyCode::Enter)], Action::Open, "open", "open"),
    bind(&[Code(KeyCode::Esc), Char('q')], Action::Back, "back", "back"),
    bind(&[Char('/')], Action::Filter, "filter", "filter"),
    bind(&[Char(':')], Action::Command, "command", "go to"),
    bind(&[Char('a')], Action::Do, "actions", "actions"),
    bind(&[Char('s')], Action::Sort, "sort", "sort"),
    bind(&[Char(' ')], Action::Freeze, "freeze", "freeze"),
    bind(&[Char('[')], Action::SampleBack, "sample-back", "step back"),
    bind(&[Char('?')], Action::Help, "help", "help"),
    bind(&[Char('m')], Action::Mouse, "mouse", "mouse on or off"),
    bind(&[Char(']')], Action::SampleOn, "sample-on", "step on"),
    bind(&[Char('{')], Action::EventBack, "event-back", "event before"),
    bind(&[Char('}')], Action::EventOn, "event-on", "event after"),
    bind(&[Char('<')], Action::Slower, "slower", "play slower"),
    bind(&[Char('>')], Action::Faster, "faster", "play faster"),
    bind(&[Char('t')], Action::Time, "time", "go to a time"),
    bind(&[Char('L')], Action::Live, "live", "back to now"),
    bind(&[Char('j'), Code(KeyCode::Down)], Action::Down, "row-below", "row below"),
    bind(&[Char('k'), Code(KeyCode::Up)], Action::Up, "row-above", "row above"),
    bind(&[Code(KeyCode::PageDown), Ctrl('d')], Action::PageDown, "page-down", "page down"),
    bind(&[Code(KeyCode::PageUp), Ctrl('u')], Action::PageUp, "page-up", "page up"),
    bind(&[Char('g'), Code(KeyCode::Home)], Action::First, "first-row", "first row"),
    bind(&[Char('G'), Code(KeyCode::End)], Action::Last, "last-row", "last row"),
    bind(&[Char('S')], Action::Reverse, "reverse", "turn the order around"),
    bind(&[Char('r')], Action::Refresh, "refresh", "ask for news now"),
    bind(&[Char('c')], Action::Copy, "copy", "copy its name"),
    bind(&[Char('w')], Action::Write, "write", "write to a file"),
    bind(&[Char('T')], Action::Theme, "theme", "other colours"),
    bind(&[Ctrl('c')], Action::Quit, "quit", "quit"),
    goes(&[Char('1')], Screen::Overview, "overview"),
    goes(&[Char('2')], Screen::Nodes, "nodes"),
    goes(&[Char('3')], Screen::Topics, "topics"),
    goes(&[Char('4')], Screen::Leases, "leases"),
    goes(&[Char('5')], Screen::Raft, "raft"),
    goes(&[Char('6')], Screen::Storage, "storage"),
    goes(&[Char('7')], Screen::Groups, "groups"),
    goes(&[Char('8')], Screen::Events, "events"),
    goes(&[Char('9')], Screen::Playbooks, "playbooks"),
    goes(&[Char('0')], Screen::Operations, "operations"),
    goes(&[Char('D')], Screen::Gc, "gc"),
    goes(&[Char('K')], Screen::Clients, "clients"),
];

/// How many of the table the footer shows, beside the key that ends the console.
pub const IN_FOOTER: usize = 10;

impl Key {
    /// As people write it.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Char(' ') => "space".to_owned(),
            Char(c) => c.to_string(),
            Ctrl(c) => format!("^{}", c.to_ascii_uppercase()),
            Code(KeyCode::Enter) => "enter".to_owned(),
            Code(KeyCode::PageDown) => "pagedown".to_owned(),
            Code(KeyCode::PageUp) => "pageup".to_owned(),
            Code(code) => code.to_string().to_lowercase(),
        }
    }

    /// The key of a name.
    #[must_use]
    pub fn of(name: &str) -> Option<Self> {
        let mut signs = name.chars();
        match (signs.next(), signs.next(), signs.next()) {
            (Some(c), None, None) if !c.is_control() && c != ' ' => return Some(Char(c)),
            (Some('^'), Some(c), None) if c.is_ascii_alphabetic() => {
                return Some(Ctrl(c.to_ascii_lowercase()));
            }
            _ => {}
        }
        if let Some(number) = name.strip_prefix('f').and_then(|number| number.parse().ok()) {
            return (1..=12).contains(&number).then_some(Code(KeyCode::F(number)));
        }
        Some(match name {
            "space" => Char(' '),
            "enter" => Code(KeyCode::Enter),
            "esc" => Code(KeyCode::Esc),
            "tab" => Code(KeyCode::Tab),
            "backspace" => Code(KeyCode::Backspace),
            "insert" => Code(KeyCode::Insert),
            "delete" => Code(KeyCode::Delete),
            "up" => Code(KeyCode::Up),
            "down" => Code(KeyCode::Down),
            "left" => Code(KeyCode::Left),
            "right" => Code(KeyCode::Right),
            "home" => Code(KeyCode::Home),
            "end" => Code(KeyCode::End),
            "pageup" => Code(KeyCode::PageUp),
            "pagedown" => Code(KeyCode::PageDown),
            _ => return None,
        })
    }

    /// As a terminal tells it.
    #[must_use]
    pub const fn event(self) -> KeyEvent {
        match self {
            Char(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE),
            Ctrl(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::CONTROL),
            Code(code) => KeyEvent::new(code, KeyModifiers::NONE),
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

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name())
    }
}

/// An action with the keys that do it here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Any of them. Never empty.
    pub keys: Vec<Key>,
    /// What they do.
    pub action: Action,
    /// As `[keys]` calls it.
    pub name: &'static str,
    /// In a word or two.
    pub what: &'static str,
}

/// Why keys cannot be given so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeysError {
    /// There is no such action.
    #[error("there is no action {name:?}; walrus-tui keys lists them")]
    NoAction {
        /// As it was called.
        name: String,
    },
    /// There is no such key.
    #[error(
        "there is no key {key:?} for {name}: a sign, ^ and a letter, f1 to f12, or a name like space, enter, pagedown"
    )]
    NoKey {
        /// For which action.
        name: String,
        /// As it was called.
        key: String,
    },
    /// An action would have none.
    #[error("{name} has no key; leave it out to have its usual one")]
    None {
        /// The action.
        name: String,
    },
    /// Two actions would have the same.
    #[error("{key} is the key of both {one} and {other}: give one of them another")]
    Both {
        /// The key.
        key: Key,
        /// One action.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
}

/// What keys do in this console.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keymap {
    bound: Vec<Bound>,
}

impl Default for Keymap {
    fn default() -> Self {
        let bound = KEYS.iter().map(|binding| Bound {
            keys: binding.keys.to_vec(),
            action: binding.action,
            name: binding.name,
            what: binding.what,
        });
        Self { bound: bound.collect() }
    }
}

impl Keymap {
    /// The usual keys, but others for the actions that are named.
    ///
    /// # Errors
    /// A name that nothing has, or a key that would do two things.
    pub fn with<'a>(
        named: impl IntoIterator<Item = (&'a str, &'a [String])>,
    ) -> Result<Self, KeysError> {
        let mut map = Self::default();
        for (name, keys) in named {
            let bound = map.bound.iter_mut().find(|bound| bound.name == name);
            let bound = bound.ok_or_else(|| KeysError::NoAction { name: name.to_owned() })?;
            let key = |key: &String| {
                let (name, given) = (name.to_owned(), key.clone());
                Key::of(key).ok_or(KeysError::NoKey { name, key: given })
            };
            bound.keys = keys.iter().map(key).collect::<Result<_, _>>()?;
            if bound.keys.is_empty() {
                return Err(KeysError::None { name: name.to_owned() });
            }
        }
        map.check()?;
        Ok(map)
    }

    fn check(&self) -> Result<(), KeysError> {
        let mut seen: Vec<(Key, &'static str)> = Vec::new();
        for bound in &self.bound {
            for key in &bound.keys {
                match seen.iter().find(|(other, _)| other == key) {
                    Some((_, one)) if *one != bound.name => {
                        return Err(KeysError::Both { key: *key, one, other: bound.name });
                    }
                    _ => seen.push((*key, bound.name)),
                }
            }
        }
        Ok(())
    }

    /// All of it, what is used most first.
    #[must_use]
    pub fn bound(&self) -> &[Bound] {
        &self.bound
    }

    /// What a key does, if it does something.
    #[must_use]
    pub fn action(&self, event: &KeyEvent) -> Option<Action> {
        let bound = self.bound.iter().find(|bound| bound.keys.iter().any(|key| key.is(event)));
        bound.map(|bound| bound.action)
    }

    /// The first key of an action, as people write it.
    #[must_use]
    pub fn key_of(&self, action: Action) -> String {
        let bound = self.bound.iter().find(|bound| bound.action == action);
        bound.and_then(|bound| bound.keys.first()).map_or_else(String::new, |key| key.name())
    }

    /// All of it as rows of a table in Markdown, for the README. The screens share a row.
    #[must_use]
    pub fn markdown(&self) -> String {
        let code =
            |keys: &[Key]| keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" ");
        let mut out = "| key | what it does | in `[keys]` |\n|---|---|---|\n".to_owned();
        let (mut keys_of, mut names) = (Vec::new(), Vec::new());
        for bound in &self.bound {
            let keys = code(&bound.keys);
            if matches!(bound.action, Action::Go(_)) {
                keys_of.push(keys);
                names.push(bound.name);
            } else {
                out.push_str(&format!("| {keys} | {} | {} |\n", bound.what, bound.name));
            }
        }
        let (keys, names) = (keys_of.join(", "), names.join(", "));
        out.push_str(&format!("| {keys} | the screens: {names} | as they are called |\n"));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_and_no_action_stands_twice() {
        Keymap::default().check().unwrap();
        let keys: Vec<Key> = KEYS.iter().flat_map(|binding| binding.keys).copied().collect();
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{key} is bound twice");
            assert_eq!(Key::of(&key.name()), Some(*key), "a file can name it");
        }
        for (at, binding) in KEYS.iter().enumerate() {
            for other in &KEYS[..at] {
                assert!(other.action != binding.action && other.name != binding.name);
            }
        }
    }

    fn with(named: &[(&str, &[&str])]) -> Result<Keymap, String> {
        let owned: Vec<(&str, Vec<String>)> = named
            .iter()
            .map(|(name, keys)| (*name, keys.iter().map(|key| (*key).to_owned()).collect()))
            .collect();
        Keymap::with(owned.iter().map(|(name, keys)| (*name, keys.as_slice())))
            .map_err(|why| why.to_string())
    }

    #[test]
    fn keys_are_given_to_other_actions_unless_two_have_the_same() {
        let event = |c| KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE);
        let map = with(&[("sort", &["o", "f2"]), ("open", &["s"])]).unwrap();
        assert_eq!(map.action(&event('o')), Some(Action::Sort));
        assert_eq!(map.action(&event('s')), Some(Action::Open));
        let enter = KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE);
        assert_eq!(map.action(&enter), None, "its usual key is free");
        for (named, expected) in [
            (&[("sort", &["q"][..])][..], "q is the key of both back and sort"),
            (&[("sort", &["x"][..]), ("copy", &["x"])], "both sort and copy"),
            (&[("nonsense", &["x"][..])], "no action \"nonsense\""),
            (&[("sort", &["hyper-x"][..])], "no key \"hyper-x\" for sort"),
            (&[("sort", &[][..])], "sort has no key"),
        ] {
            let why = with(named).unwrap_err();
            assert!(why.contains(expected), "{named:?}: {why}");
        }
    }
}
