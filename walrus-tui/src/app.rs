//! The console itself: what happens goes in, what is to be done comes out.
//!
//! Pure: no clock, no terminal, no socket. Drawing reads it ([`crate::ui`]), the loop around it
//! carries out what it asks for ([`crate::runtime`]).

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use walrus_admin::snapshot::{PartitionEntry, Snapshot, TopicEntry};
use walrus_types::{TimestampMs, UptimeMs};

use crate::{
    model::{ChainSeen, Model, PartitionName, find},
    screen::Screen,
    source::{Told, Wanted},
    ui::{
        keymap::{self, Action},
        table::Window,
        theme::Theme,
    },
};

/// The longest filter.
const FILTER_MAX: usize = 60;
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
}

impl Place {
    /// As it is called at the top.
    #[must_use]
    pub fn title(&self) -> String {
        match self {
            Self::Screen(screen) => screen.title().to_owned(),
            Self::Partition(name) => name.to_string(),
        }
    }
}

/// By what partitions are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Topic and partition.
    #[default]
    Name,
    /// Who leads.
    Leader,
    /// How many segments there are.
    Segments,
    /// How many bytes.
    Bytes,
}

impl Order {
    const fn next(self) -> Self {
        match self {
            Self::Name => Self::Leader,
            Self::Leader => Self::Segments,
            Self::Segments => Self::Bytes,
            Self::Bytes => Self::Name,
        }
    }

    /// As it is called.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::Leader => "leader",
            Self::Segments => "segments",
            Self::Bytes => "bytes",
        }
    }
}

/// A list of partitions: which are in it, in which order, which is chosen.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Places in the snapshot: the topic's and the partition's.
    pub rows: Vec<(usize, usize)>,
    /// Which of them are seen.
    pub window: Window,
    /// By what they are ordered.
    pub order: Order,
    /// The other way around.
    pub reversed: bool,
    /// What their names must have; with `!` before it, must not.
    pub filter: String,
    chosen: Option<PartitionName>,
}

/// A picture that is held.
#[derive(Debug, Clone)]
pub struct Frozen {
    /// Since when.
    pub since: UptimeMs,
    /// News that wait.
    pub waiting: Vec<Told>,
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
    /// The partitions of Topics and Leases.
    pub listed: Listed,
    /// The chosen link of the chain that is shown, counted from the newest.
    pub link: usize,
    /// The filter is being typed.
    pub types_filter: bool,
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
            listed: Listed::default(),
            link: 0,
            types_filter: false,
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
            Message::Paste(text) if self.types_filter => self.typed(&text),
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
        match told {
            Told::Snapshot(snapshot) => {
                self.model.snapshot(snapshot, self.now);
                self.relist();
            }
            Told::Chain { name, chain } => {
                if matches!(self.place(), Place::Partition(shown) if *shown == name) {
                    self.model.chain(name, chain, self.now);
                }
            }
            Told::Lost { why, next_at } => self.model.lost(why, next_at),
        }
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        if self.types_filter && self.type_key(key) {
            return Vec::new();
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
            Action::Filter => self.types_filter = self.lists(),
            Action::Sort => {
                self.listed.order = self.listed.order.next();
                self.relist();
            }
            Action::Reverse => {
                self.listed.reversed = !self.listed.reversed;
                self.relist();
            }
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

    /// Whether the present screen is a list of partitions.
    fn lists(&self) -> bool {
        matches!(self.place(), Place::Screen(Screen::Topics | Screen::Leases))
    }

    /// A key while the filter is typed; false when it is none of the typing.
    fn type_key(&mut self, key: &KeyEvent) -> bool {
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => {
                self.typed(&c.to_string());
            }
            KeyCode::Backspace => {
                self.listed.filter.pop();
                self.relist();
            }
            KeyCode::Enter => self.types_filter = false,
            KeyCode::Esc => {
                self.types_filter = false;
                self.listed.filter.clear();
                self.relist();
            }
            _ => return false,
        }
        true
    }

    fn typed(&mut self, text: &str) {
        let room = FILTER_MAX.saturating_sub(self.listed.filter.chars().count());
        self.listed.filter.extend(text.chars().filter(|c| !c.is_control()).take(room));
        self.relist();
    }

    fn go(&mut self, screen: Screen) -> Vec<Effect> {
        self.places = vec![Place::Screen(screen)];
        self.types_filter = false;
        vec![self.ask()]
    }

    fn open(&mut self) -> Vec<Effect> {
        if !self.lists() {
            return Vec::new();
        }
        let Some(name) = self.listed.chosen.clone() else { return Vec::new() };
        vec![self.open_partition(name)]
    }

    /// Goes straight to a partition's chain.
    pub fn open_partition(&mut self, name: PartitionName) -> Effect {
        self.link = 0;
        self.model.chain = None;
        self.places.push(Place::Partition(name));
        self.ask()
    }

    /// A filter goes first, then the screen. From the first screen there is no way back: one key
    /// too many must not end the console.
    fn back(&mut self) -> Vec<Effect> {
        if self.lists() && !self.listed.filter.is_empty() {
            self.listed.filter.clear();
            self.relist();
        } else if self.places.len() > 1 {
            self.places.pop();
            return vec![self.ask()];
        } else if *self.place() != Place::Screen(Screen::Overview) {
            return self.go(Screen::Overview);
        }
        Vec::new()
    }

    fn ask(&self) -> Effect {
        let chain = match self.place() {
            Place::Partition(name) => Some(name.clone()),
            Place::Screen(_) => None,
        };
        Effect::Ask(Wanted { chain, refreshes: self.refreshes })
    }

    fn freeze(&mut self) {
        match self.frozen.take() {
            None => self.frozen = Some(Frozen { since: self.now, waiting: Vec::new() }),
            Some(frozen) => frozen.waiting.into_iter().for_each(|told| self.told(told)),
        }
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        if self.lists() {
            let last = self.listed.rows.len().saturating_sub(1);
            self.listed.window.chosen = to(self.listed.window.chosen, last).min(last);
            self.listed.chosen = self.chosen_name();
        } else if let Place::Partition(_) = self.place() {
            let links = self.links();
            let last = links.saturating_sub(1);
            self.link = to(self.link, last).min(last);
        }
    }

    /// Links of the chain that is shown.
    fn links(&self) -> usize {
        self.model.chain.as_ref().and_then(ChainSeen::chain).map_or(0, |chain| chain.items.len())
    }

    fn chosen_name(&self) -> Option<PartitionName> {
        let snapshot = self.model.seen()?;
        let (topic, partition) = row(snapshot, *self.listed.rows.get(self.listed.window.chosen)?)?;
        Some(PartitionName { topic: topic.topic.clone(), partition: partition.partition })
    }

    /// The rows that are seen must have the chosen one among them, `seen` of which fit.
    pub fn fit(&mut self, seen: usize) {
        self.listed.window = self.listed.window.fitted(self.listed.rows.len(), seen);
    }

    /// Makes the list anew; the chosen partition stays chosen, wherever it stands now.
    fn relist(&mut self) {
        let Some((snapshot, _)) = &self.model.newest else { return };
        let snapshot = Arc::clone(snapshot);
        let Listed { order, reversed, filter, .. } = &self.listed;
        let mut rows: Vec<(usize, usize)> = Vec::new();
        for (at, topic) in snapshot.topics.iter().enumerate() {
            for index in 0..topic.partitions.len() {
                if passes(filter, &topic.topic, &topic.partitions[index]) {
                    rows.push((at, index));
                }
            }
        }
        let entry = |row: &(usize, usize)| &snapshot.topics[row.0].partitions[row.1];
        match order {
            Order::Name => {}
            Order::Leader => rows.sort_by_key(|row| entry(row).leader),
            Order::Segments => rows.sort_by_key(|row| std::cmp::Reverse(entry(row).segments)),
            Order::Bytes => rows.sort_by_key(|row| std::cmp::Reverse(entry(row).sealed_bytes)),
        }
        if *reversed {
            rows.reverse();
        }
        let chosen = self.listed.chosen.as_ref().and_then(|name| {
            let (topic, partition) = find(&snapshot, name)?;
            rows.iter().position(|at| {
                row(&snapshot, *at).is_some_and(|(one, other)| {
                    std::ptr::eq(one, topic) && std::ptr::eq(other, partition)
                })
            })
        });
        self.listed.rows = rows;
        let last = self.listed.rows.len().saturating_sub(1);
        self.listed.window.chosen = chosen.unwrap_or(self.listed.window.chosen.min(last));
        self.listed.chosen = self.chosen_name();
    }
}

/// What stands at a row of a list.
#[must_use]
pub fn row(
    snapshot: &Snapshot,
    (topic, partition): (usize, usize),
) -> Option<(&TopicEntry, &PartitionEntry)> {
    let topic = snapshot.topics.get(topic)?;
    Some((topic, topic.partitions.get(partition)?))
}

/// `text` is part of what people call the partition or its leader; `!text` is not.
fn passes(filter: &str, topic: &str, partition: &PartitionEntry) -> bool {
    let (wanted, text) = filter.strip_prefix('!').map_or((true, filter), |text| (false, text));
    if text.is_empty() {
        return true;
    }
    let has = topic.contains(text)
        || partition.leader.to_string() == text
        || format!("{topic}/{}", partition.partition).contains(text);
    has == wanted
}
