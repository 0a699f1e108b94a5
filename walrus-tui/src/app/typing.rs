//! What is typed at the bottom: filters, commands, times, names of files.

use std::path::PathBuf;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::{
    App, Effect, Place,
    command::{self, Goal},
    lists::Listing,
};
use crate::screen::Screen;

/// The longest text that is typed.
const TYPED_MAX: usize = 60;

/// What is being typed at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typing {
    /// The filter of the present list.
    Filter,
    /// A command, as far as it is there.
    Command(String),
    /// A time to go to.
    Time(String),
    /// The name of a file for the picture.
    File(String),
}

impl App {
    /// A key while something is typed; `None` when it is none of the typing.
    pub(super) fn type_key(&mut self, typing: &Typing, key: &KeyEvent) -> Option<Vec<Effect>> {
        match (key.code, typing) {
            (KeyCode::Char(c), _) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.typed(&c.to_string());
            }
            (KeyCode::Backspace, _) => self
                .edit(|text| text.truncate(text.floor_char_boundary(text.len().saturating_sub(1)))),
            (KeyCode::Tab, Typing::Command(text)) => {
                let offers = command::offers(&self.model, &self.contexts, text);
                if let Some(completed) = command::completed(&offers) {
                    self.typing = Some(Typing::Command(completed));
                }
            }
            (KeyCode::Enter, Typing::Filter) => self.typing = None,
            (KeyCode::Enter, Typing::Command(text)) => {
                self.typing = None;
                let goal = command::goal(&self.model, &self.contexts, text);
                return Some(goal.map_or_else(Vec::new, |goal| self.reach(goal)));
            }
            (KeyCode::Enter, Typing::Time(text)) => {
                self.typing = None;
                self.go_to_time(text);
            }
            (KeyCode::Enter, Typing::File(text)) => {
                self.typing = None;
                let name = text.trim();
                if !name.is_empty() {
                    return Some(vec![Effect::Write(PathBuf::from(name))]);
                }
            }
            (KeyCode::Esc, _) => {
                self.edit(String::clear);
                self.typing = None;
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    pub(super) fn typed(&mut self, text: &str) {
        self.edit(|so_far| {
            let room = TYPED_MAX.saturating_sub(so_far.chars().count());
            so_far.extend(text.chars().filter(|c| !c.is_control()).take(room));
        });
    }

    /// Changes what is being typed.
    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        match (&mut self.typing, self.places.last()) {
            (Some(Typing::Command(text) | Typing::Time(text) | Typing::File(text)), _) => {
                change(text);
            }
            (Some(Typing::Filter), Some(Place::Screen(screen))) => {
                if let Some(listing) = Listing::of(*screen) {
                    change(&mut self.lists.of_mut(listing).filter);
                    self.relist();
                }
            }
            (Some(Typing::Filter) | None, _) => {}
        }
    }

    fn reach(&mut self, goal: Goal) -> Vec<Effect> {
        match goal {
            Goal::Quit => vec![Effect::Quit],
            Goal::Context(name) => vec![Effect::Switch(name)],
            Goal::Unlock => {
                self.guard.unlock(self.clock());
                self.tell(match self.guard.left_ms(self.clock()) {
                    Some(ms) => format!("unlocked for {} minutes", ms / 60_000),
                    None => "nothing here is locked".to_owned(),
                });
                Vec::new()
            }
            Goal::Shut => {
                self.guard.shut();
                self.tell("read-only until :rw".to_owned());
                Vec::new()
            }
            Goal::Do(wish) => self.begin(wish),
            Goal::Screen(screen) => self.go(screen),
            Goal::Partition(name) => {
                self.places = vec![Place::Screen(Screen::Topics)];
                vec![self.open_place(Place::Partition(name))]
            }
            Goal::Group(name) => {
                self.places = vec![Place::Screen(Screen::Groups)];
                vec![self.open_place(Place::Group(name))]
            }
            Goal::Topic(topic) => {
                self.lists.of_mut(Listing::Partitions).filter = topic;
                self.go(Screen::Topics)
            }
        }
    }
}
