//! The console itself: what happens goes in, what is to be done comes out.
//!
//! Pure: no clock, no terminal, no socket. Drawing reads it ([`crate::ui`]), the loop around it
//! carries out what it asks for ([`crate::runtime`]).

pub mod command;
pub mod lists;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use walrus_types::{TimestampMs, UptimeMs};

use self::{
    command::Goal,
    lists::{Listed, Listing, Lists, RowOf},
};
use crate::{
    model::{Model, PartitionName, Seen},
    screen::Screen,
    source::{Also, Told, Wanted},
    ui::{
        keymap::{self, Action},
        theme::Theme,
    },
};

/// The longest text that is typed.
const TYPED_MAX: usize = 60;
/// Rows that a page key goes.
const PAGE: usize = 10;

/// What happens.
#[derive(Debug, Clone)]
pub enum Message {
    /// A key was pressed.
    Key(KeyEvent),
    /// A text was pasted: it goes where text is typed, and nowhere else.
    Paste(String),
    /// The terminal has another size, or has to be drawn anew.
    Resized,
    /// Time has passed.
    Tick,
    /// The source has something.
    Told(Told),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the source for this.
    Ask(Wanted),
    /// End the console.
    Quit,
}

/// What is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A screen of the whole cluster.
    Screen(Screen),
    /// One partition's chain.
    Partition(PartitionName),
    /// One group.
    Group(String),
}

impl Place {
    /// As it is called at the top.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Screen(screen) => screen.title().to_owned(),
            Self::Partition(name) => name.to_string(),
            Self::Group(name) => name.clone(),
        }
    }
}

/// A picture that is held.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Since when.
    pub since: UptimeMs,
    /// News that wait.
    pub waiting: Vec<Told>,
}

/// What is being typed at the bottom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Typing {
    /// The filter of the present list.
    Filter,
    /// A command, as far as it is there.
    Command(String),
}

/// News that wait while the picture is held; the oldest go.
const WAITING_MAX: usize = 600;

/// The console.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub model: Model,
    /// The console's own time.
    pub now: UptimeMs,
    /// How it looks.
    pub theme: Theme,
    /// Where the way led, the present screen last. Never empty.
    pub places: Vec<Place>,
    /// The lists of all screens.
    pub lists: Lists,
    /// The chosen row of a chain or a group: of a chain counted from the newest.
    pub link: usize,
    /// What is being typed.
    pub typing: Option<Typing>,
    /// The help is shown.
    pub helps: bool,
    /// The picture is held.
    pub frozen: Option<Frozen>,
    refreshes: u64,
}

impl App {
    /// A console that has just begun and knows nothing.
    #[must_use]
    pub fn new(theme: Theme) -> Self {
        Self {
            model: Model::default(),
            now: UptimeMs(0),
            theme,
            places: vec![Place::Screen(Screen::Overview)],
            lists: Lists::default(),
            link: 0,
            typing: None,
            helps: false,
            frozen: None,
            refreshes: 0,
        }
    }

    /// The present screen.
    ///
    /// # Panics
    /// Never: the way always has one.
    #[must_use]
    pub fn place(&self) -> &Place {
        self.places.last().expect("the way has a first screen")
    }

    /// The time that is shown: that of the cluster, as far as it is known.
    #[must_use]
    pub fn wall(&self) -> Option<TimestampMs> {
        let (snapshot, at) = self.model.newest.as_ref()?;
        let ago = i64::try_from(self.now.since(*at)).unwrap_or(0);
        Some(TimestampMs(snapshot.at_ms.0.saturating_add(ago)))
    }

    /// Something happened at `now`. Answers what is to be done; whatever happened, a new picture
    /// is due unless it was a [`Message::Tick`] that changed none.
    pub fn update(&mut self, message: Message, now: UptimeMs) -> Vec<Effect> {
        self.now = now;
        match message {
            Message::Key(key) => return self.key(&key),
            Message::Paste(text) if self.typing.is_some() => self.typed(&text),
            Message::Paste(_) | Message::Resized | Message::Tick => {}
            Message::Told(told) => self.told(told),
        }
        Vec::new()
    }

    fn told(&mut self, told: Told) {
        if let Some(frozen) = &mut self.frozen {
            if frozen.waiting.len() == WAITING_MAX {
                frozen.waiting.remove(0);
            }
            frozen.waiting.push(told);
            return;
        }
        let now = self.now;
        match told {
            Told::Snapshot(snapshot) => self.model.snapshot(snapshot, now),
            // What is looked at no more is of no use.
            Told::Chain { name, chain } if self.shows(&Also::Chain(name.clone())) => {
                Seen::take(&mut self.model.chain, name, chain, now);
            }
            Told::Group { name, group } if self.shows(&Also::Group(name.clone())) => {
                Seen::take(&mut self.model.group, name, group, now);
            }
            Told::Groups(groups) => Seen::take(&mut self.model.groups, (), groups, now),
            Told::Chain { .. } | Told::Group { .. } => {}
            Told::Lost { why, next_at } => self.model.lost(why, next_at),
        }
        self.relist();
    }

    fn shows(&self, what: &Also) -> bool {
        self.also().as_ref() == Some(what)
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        if let Some(typing) = &self.typing {
            let typing = typing.clone();
            if let Some(effects) = self.type_key(&typing, key) {
                return effects;
            }
        }
        let Some(action) = keymap::action(key) else { return Vec::new() };
        if self.helps {
            // Any key that means something puts the help away; those that leave mean just that.
            self.helps = false;
            if matches!(action, Action::Help | Action::Back) {
                return Vec::new();
            }
        }
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Help => self.helps = true,
            Action::Go(screen) => return self.go(screen),
            Action::Open => return self.open(),
            Action::Back => return self.back(),
            Action::Filter => self.typing = self.listing().map(|_| Typing::Filter),
            Action::Command => self.typing = Some(Typing::Command(String::new())),
            Action::Sort => {
                self.reorder(|listed, orders| listed.order = (listed.order + 1) % orders);
            }
            Action::Reverse => self.reorder(|listed, _| listed.reversed = !listed.reversed),
            Action::Freeze => self.freeze(),
            Action::Refresh => {
                self.refreshes += 1;
                return vec![self.ask()];
            }
            Action::Down => self.step(|at, _| at + 1),
            Action::Up => self.step(|at, _| at.saturating_sub(1)),
            Action::PageDown => self.step(|at, _| at + PAGE),
            Action::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            Action::First => self.step(|_, _| 0),
            Action::Last => self.step(|_, last| last),
        }
        Vec::new()
    }

    /// What the present screen lists.
    #[must_use]
    pub fn listing(&self) -> Option<Listing> {
        match self.place() {
            Place::Screen(screen) => Listing::of(*screen),
            Place::Partition(_) | Place::Group(_) => None,
        }
    }

    /// A key while something is typed; `None` when it is none of the typing.
    fn type_key(&mut self, typing: &Typing, key: &KeyEvent) -> Option<Vec<Effect>> {
        match (key.code, typing) {
            (KeyCode::Char(c), _) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.typed(&c.to_string());
            }
            (KeyCode::Backspace, _) => self
                .edit(|text| text.truncate(text.floor_char_boundary(text.len().saturating_sub(1)))),
            (KeyCode::Tab, Typing::Command(text)) => {
                let offers = command::offers(&self.model, text);
                if let Some(completed) = command::completed(&offers) {
                    self.typing = Some(Typing::Command(completed));
                }
            }
            (KeyCode::Enter, Typing::Filter) => self.typing = None,
            (KeyCode::Enter, Typing::Command(text)) => {
                self.typing = None;
                let goal = command::goal(&self.model, text);
                return Some(goal.map_or_else(Vec::new, |goal| self.reach(goal)));
            }
            (KeyCode::Esc, _) => {
                self.edit(String::clear);
                self.typing = None;
            }
            _ => return None,
        }
        Some(Vec::new())
    }

    fn typed(&mut self, text: &str) {
        self.edit(|so_far| {
            let room = TYPED_MAX.saturating_sub(so_far.chars().count());
            so_far.extend(text.chars().filter(|c| !c.is_control()).take(room));
        });
    }

    /// Changes what is being typed.
    fn edit(&mut self, change: impl FnOnce(&mut String)) {
        match (&mut self.typing, self.places.last()) {
            (Some(Typing::Command(text)), _) => change(text),
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

    fn reorder(&mut self, change: impl FnOnce(&mut Listed, usize)) {
        if let Some(listing) = self.listing() {
            change(self.lists.of_mut(listing), listing.orders().len());
            self.relist();
        }
    }

    fn go(&mut self, screen: Screen) -> Vec<Effect> {
        self.places = vec![Place::Screen(screen)];
        self.typing = None;
        self.relist();
        vec![self.ask()]
    }

    fn open(&mut self) -> Vec<Effect> {
        let chosen = self.listing().and_then(|listing| self.lists.of(listing).chosen.clone());
        let partition = |index: usize| {
            let change = self.model.changes.get(index)?;
            lists::leads_to(change)
        };
        let place = match (chosen, self.place()) {
            (Some(RowOf::Partition(name)), _) => Place::Partition(name),
            (Some(RowOf::Group(name)), _) => Place::Group(name),
            (Some(RowOf::Change(number)), _) => {
                let index = number.checked_sub(self.model.changes_dropped);
                let index = index.and_then(|index| usize::try_from(index).ok());
                match index.and_then(partition) {
                    Some(name) => Place::Partition(name),
                    None => return Vec::new(),
                }
            }
            (Some(RowOf::Node(_)) | None, _) => return Vec::new(),
        };
        vec![self.open_place(place)]
    }

    /// Goes to a partition's chain or to a group, from where the way led so far.
    pub fn open_place(&mut self, place: Place) -> Effect {
        self.link = 0;
        (self.model.chain, self.model.group) = (None, None);
        self.places.push(place);
        self.ask()
    }

    /// A filter goes first, then the screen. From the first screen there is no way back: one key
    /// too many must not end the console.
    fn back(&mut self) -> Vec<Effect> {
        let filtered = self.listing().filter(|listing| !self.lists.of(*listing).filter.is_empty());
        if let Some(listing) = filtered {
            self.lists.of_mut(listing).filter.clear();
            self.relist();
        } else if self.places.len() > 1 {
            self.places.pop();
            self.relist();
            return vec![self.ask()];
        } else if *self.place() != Place::Screen(Screen::Overview) {
            return self.go(Screen::Overview);
        }
        Vec::new()
    }

    /// What is asked for beside the cluster as a whole.
    fn also(&self) -> Option<Also> {
        match self.place() {
            Place::Partition(name) => Some(Also::Chain(name.clone())),
            Place::Group(name) => Some(Also::Group(name.clone())),
            Place::Screen(Screen::Groups) => Some(Also::Groups),
            Place::Screen(_) => None,
        }
    }

    /// What the present screen asks for.
    #[must_use]
    pub fn ask(&self) -> Effect {
        Effect::Ask(Wanted { also: self.also(), refreshes: self.refreshes })
    }

    fn freeze(&mut self) {
        match self.frozen.take() {
            None => self.frozen = Some(Frozen { since: self.now, waiting: Vec::new() }),
            Some(frozen) => frozen.waiting.into_iter().for_each(|told| self.told(told)),
        }
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        if let Some(listing) = self.listing() {
            self.lists.step(listing, &self.model, to);
        } else {
            let last = self.links().saturating_sub(1);
            self.link = to(self.link, last).min(last);
        }
    }

    /// Rows of the chain or the group that is shown.
    fn links(&self) -> usize {
        match self.place() {
            Place::Partition(_) => {
                let chain = self.model.chain.as_ref().and_then(Seen::known);
                chain.map_or(0, |chain| chain.items.len())
            }
            Place::Group(_) => {
                let group = self.model.group.as_ref().and_then(Seen::known);
                group.map_or(0, |group| group.items.len())
            }
            Place::Screen(_) => 0,
        }
    }

    /// The chosen row of the present list must be seen, `seen` of which fit.
    pub fn fit(&mut self, seen: usize) {
        if let Some(listing) = self.listing() {
            let listed = self.lists.of_mut(listing);
            listed.window = listed.window.fitted(listed.rows.len(), seen);
        }
    }

    /// Makes the present list anew; the chosen row stays chosen, wherever it stands now.
    fn relist(&mut self) {
        if let Some(listing) = self.listing() {
            self.lists.refresh(listing, &self.model);
        }
    }
}
