//! The console itself: what happens goes in, what is to be done comes out.
//!
//! Pure: no clock, no terminal, no socket. Drawing reads it ([`crate::ui`]), the loop around it
//! carries out what it asks for ([`crate::runtime`]).

pub mod acting;
pub mod command;
mod connected;
pub mod doing;
pub mod going;
pub mod guard;
pub mod lists;
mod mouse;
pub mod past;
mod places;
mod player;
pub mod travel;
mod typing;

use std::path::PathBuf;

use crossterm::event::{KeyEvent, MouseEvent};
use walrus_admin::context::{Chosen, Colour};
use walrus_types::{TimestampMs, UptimeMs};

use self::{
    doing::{Act, Acted, Doing},
    guard::{Guard, Permit, Refused, Shown},
    lists::{Listed, Lists},
    past::Past,
    travel::{Arrived, Travel, Travels},
};
pub use self::{places::Place, typing::Typing};
use crate::{
    model::Model,
    screen::Screen,
    source::{
        Told, Wanted,
        record::{
            Record, Tape,
            tape::{Ended, Way},
        },
    },
    ui::{
        hits::Hits,
        keymap::{Action, Keymap},
        theme::Theme,
    },
};

/// Rows that a page key goes.
const PAGE: usize = 10;
/// How long the console says something before the keys are shown again.
const TOLD_MS: u64 = 5_000;

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
    /// The mouse did something.
    Mouse(MouseEvent),
    /// What became of something that was asked for.
    Said(String),
    /// The cluster answered what was asked of it.
    Acted(Acted),
    /// A way to another moment was gone.
    Arrived(Box<Arrived>),
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Ask the source for this.
    Ask(Wanted),
    /// End the console.
    Quit,
    /// Copy a text to where the terminal keeps such.
    Copy(String),
    /// Write what is shown to a file.
    Write(PathBuf),
    /// Take the mouse, or let it go.
    Mouse(bool),
    /// Show the cluster of another context.
    Switch(String),
    /// Ask the cluster for a plan, or to carry one out.
    Act(Act),
    /// Go a way to another moment, which takes a while.
    Travel(Box<Travel>),
}

/// What is shown above everything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlay {
    /// What keys do.
    Help,
}

/// Which cluster the console was sent to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sent {
    /// The context's name, where it has one.
    pub context: Option<String>,
    /// Whether a mistake there would be one in earnest.
    pub is_production: bool,
    /// What its header looks like.
    pub colour: Option<Colour>,
}

impl Sent {
    /// To the cluster that was chosen.
    #[must_use]
    pub fn to(chosen: &Chosen) -> Self {
        Self {
            context: chosen.name.clone(),
            is_production: chosen.context.production,
            colour: chosen.context.colour,
        }
    }
}

/// The console.
#[derive(Debug)]
pub struct App {
    /// What is known.
    pub model: Model,
    /// The console's own time at what is shown: now, unless that is the past.
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
    /// What is shown above everything else.
    pub overlay: Option<Overlay>,
    /// What is being done to the cluster.
    pub doing: Option<Doing>,
    /// What keys do.
    pub keys: Keymap,
    /// What was told, to go back to.
    pub tape: Tape,
    /// What is shown, if that is not what is now.
    pub past: Option<Past>,
    /// Which cluster this is.
    pub sent: Sent,
    /// Other contexts, by their names.
    pub contexts: Vec<String>,
    /// Whether changes are let through.
    pub guard: Guard,
    /// Whether the mouse is taken.
    pub mouse: bool,
    /// What is where in the picture, for the mouse.
    pub hits: Hits,
    /// Ways to other moments.
    pub travels: Travels,
    /// What the console says, and since when.
    said: Option<(String, UptimeMs)>,
    /// The row that was clicked last, and when.
    click: Option<(usize, UptimeMs)>,
    clock: UptimeMs,
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
            overlay: None,
            doing: None,
            keys: Keymap::default(),
            tape: Tape::ring(),
            past: None,
            sent: Sent::default(),
            contexts: Vec::new(),
            guard: Guard::new(false),
            mouse: false,
            hits: Hits::default(),
            travels: Travels::default(),
            said: None,
            click: None,
            clock: UptimeMs(0),
            refreshes: 0,
        }
    }

    /// The time that is shown: that of the cluster, as far as it is known.
    #[must_use]
    pub fn wall(&self) -> Option<TimestampMs> {
        wall(&self.model, self.now)
    }

    /// The cluster's time now, whatever is shown; a recording has none.
    #[must_use]
    pub fn wall_now(&self) -> Option<TimestampMs> {
        match &self.past {
            None => self.wall(),
            Some(past) => wall(past.live.as_ref()?, self.clock),
        }
    }

    /// Something happened at `clock`. Answers what is to be done; whatever happened, a new picture
    /// is due unless it was a [`Message::Tick`] that changed none.
    pub fn update(&mut self, message: Message, clock: UptimeMs) -> Vec<Effect> {
        self.clock = clock;
        match self.past {
            Some(_) => self.play(),
            None => self.now = clock,
        }
        let mut effects = self.happens(message);
        effects.extend(self.travels.leaving.take().map(Effect::Travel));
        effects
    }

    fn happens(&mut self, message: Message) -> Vec<Effect> {
        match message {
            Message::Key(key) => return self.key(&key),
            Message::Mouse(event) => return self.moused(event),
            Message::Paste(text) if self.typing.is_some() => self.typed(&text),
            Message::Paste(_) | Message::Resized | Message::Tick => {}
            Message::Told(told) => self.told(told),
            Message::Said(what) => self.tell(what),
            Message::Acted(acted) => return self.acted(acted),
            Message::Arrived(arrived) => self.arrived(*arrived),
        }
        Vec::new()
    }

    fn told(&mut self, told: Told) {
        match told {
            Told::Kept(record) => return self.kept(record),
            Told::Ended(how) if self.is_replay() => return self.tape.end(how),
            Told::Ended(Ended::Short(why)) => return self.tell(why),
            Told::Ended(Ended::Whole) => return,
            _ => {}
        }
        let also = self.also();
        match &mut self.past {
            None => {
                self.model.hear(told, self.clock, also.as_ref());
                self.relist();
            }
            Some(past) => {
                past.arrived += u64::from(matches!(told, Told::Snapshot(_)));
                if let Some(live) = &mut past.live {
                    live.hear(told, self.clock, also.as_ref());
                }
            }
        }
    }

    /// The console says something for a while.
    pub fn tell(&mut self, what: String) {
        self.said = Some((what, self.clock));
    }

    /// What the console says now, if anything.
    #[must_use]
    pub fn says(&self) -> Option<&str> {
        let (what, since) = self.said.as_ref()?;
        (self.clock.since(*since) < TOLD_MS).then_some(what)
    }

    /// The console's own time, whatever is shown.
    #[must_use]
    pub const fn clock(&self) -> UptimeMs {
        self.clock
    }

    /// Leave to change the cluster once, which only the guard gives.
    ///
    /// # Errors
    /// Why it may not be.
    pub fn permit(&self) -> Result<Permit, Refused> {
        let shown = Shown {
            is_past: self.past.is_some(),
            is_recording: self.is_replay(),
            age_ms: self.model.age_ms(self.clock),
        };
        self.guard.permit(self.clock, shown)
    }

    /// Shows another cluster, of which nothing is known yet.
    pub fn send_to(&mut self, sent: Sent) {
        self.guard = Guard::new(sent.is_production);
        self.sent = sent;
        (self.model, self.past, self.tape) = (Model::default(), None, Tape::ring());
        self.doing = None;
        self.now = self.clock;
        self.places = vec![Place::Screen(Screen::Overview)];
        self.lists = Lists::default();
    }

    fn key(&mut self, key: &KeyEvent) -> Vec<Effect> {
        if let Some(effects) = self.doing_key(key) {
            return effects;
        }
        if let Some(typing) = &self.typing {
            let typing = typing.clone();
            if let Some(effects) = self.type_key(&typing, key) {
                return effects;
            }
        }
        let Some(action) = self.keys.action(key) else { return Vec::new() };
        self.said = None;
        if self.overlay == Some(Overlay::Help) {
            // Any key that means something puts the help away; those that leave mean just that.
            self.overlay = None;
            if matches!(action, Action::Help | Action::Back) {
                return Vec::new();
            }
        }
        self.act(action)
    }

    fn act(&mut self, action: Action) -> Vec<Effect> {
        match action {
            Action::Quit => return vec![Effect::Quit],
            Action::Help => self.overlay = Some(Overlay::Help),
            Action::Go(screen) => return self.go(screen),
            Action::Open => return self.open(),
            Action::Back => return self.back(),
            Action::Filter => self.typing = self.listing().map(|_| Typing::Filter),
            Action::Command => self.typing = Some(Typing::Command(String::new())),
            Action::Do => self.offer(),
            Action::Sort => {
                self.reorder(|listed, orders| listed.order = (listed.order + 1) % orders);
            }
            Action::Reverse => self.reorder(|listed, _| listed.reversed = !listed.reversed),
            Action::Freeze
            | Action::SampleBack
            | Action::SampleOn
            | Action::EventBack
            | Action::EventOn
            | Action::Slower
            | Action::Faster
            | Action::Live => self.act_on_time(action),
            Action::Time => self.typing = Some(Typing::Time(String::new())),
            Action::Copy => return self.copy(),
            Action::Write => self.typing = Some(Typing::File(String::new())),
            Action::Mouse => {
                self.mouse = !self.mouse;
                return vec![Effect::Mouse(self.mouse)];
            }
            Action::Theme => {
                self.theme = self.theme.next();
                self.tell(format!("colours: {}", self.theme.name()));
            }
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

    fn act_on_time(&mut self, action: Action) {
        match action {
            Action::SampleBack => self.step_time(Way::Back, Record::is_sample, "the cluster"),
            Action::SampleOn => self.step_time(Way::On, Record::is_sample, "the cluster"),
            Action::EventBack => self.step_time(Way::Back, happened, "what happened"),
            Action::EventOn => self.step_time(Way::On, happened, "what happened"),
            Action::Slower => self.pace(Way::Back),
            Action::Faster => self.pace(Way::On),
            Action::Live => self.live(),
            _ => self.freeze(),
        }
    }

    /// Copies what the chosen row is called.
    fn copy(&mut self) -> Vec<Effect> {
        match self.chosen_name() {
            Some(name) => vec![Effect::Copy(name)],
            None => {
                self.tell("nothing is chosen here that has a name".to_owned());
                Vec::new()
            }
        }
    }

    fn reorder(&mut self, change: impl FnOnce(&mut Listed, usize)) {
        if let Some(listing) = self.listing() {
            change(self.lists.of_mut(listing), listing.orders().len());
            self.relist();
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

fn wall(model: &Model, now: UptimeMs) -> Option<TimestampMs> {
    let (snapshot, at) = model.newest.as_ref()?;
    let ago = i64::try_from(now.since(*at)).unwrap_or(0);
    Some(TimestampMs(snapshot.at_ms.0.saturating_add(ago)))
}

/// Whether something happened then.
const fn happened(record: &Record) -> bool {
    record.mark.is_some()
}
