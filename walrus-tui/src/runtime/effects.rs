//! What the console asks for, carried out.

use std::{
    fs::File,
    io::Write as _,
    ops::ControlFlow,
    path::Path,
    sync::{Arc, Mutex, PoisonError, mpsc::SyncSender},
    thread,
};

use tokio::sync::watch;
use walrus_admin::Endpoint;
use walrus_types::UptimeMs;

use super::{
    Item, Settings, clipboard,
    listen::{self, Running},
    terminal::Screen,
};
use crate::{
    app::{App, Effect, Message, Sent, doing::Act, travel::Travel},
    once::{self, svg},
    source::{Hand, Wanted, live::Cluster},
};

/// The longest text that is copied: as the sequence for it most terminals take no more.
pub(super) const COPIED_MAX: usize = 74_994;

/// What carries out what the console asks for.
pub(super) struct Hands {
    settings: Settings,
    send: SyncSender<Item>,
    /// The number of the source that is listened to.
    number: u64,
    wanted: watch::Sender<Wanted>,
    /// Who changes what is shown.
    hand: Option<Arc<dyn Hand>>,
}

impl Hands {
    /// Listens to a source that runs.
    pub(super) fn new(
        settings: Settings,
        send: SyncSender<Item>,
        running: Running,
    ) -> std::io::Result<Self> {
        let Running { told, wanted, hand } = running;
        let hands = Self { settings, send, number: 0, wanted, hand };
        hands.listen(told)?;
        Ok(hands)
    }

    fn listen(&self, told: std::sync::mpsc::Receiver<crate::source::Told>) -> std::io::Result<()> {
        let recording = self.settings.recording.clone();
        listen::listen(told, self.number, self.settings.began, recording, self.send.clone())
    }

    pub(super) const fn listens_to(&self, number: u64) -> bool {
        self.number == number
    }

    /// Asks for what the console wants now.
    pub(super) fn ask(&self, app: &App) {
        if let Effect::Ask(wish) = app.ask() {
            drop(self.wanted.send_replace(wish));
        }
    }

    /// Carries something out; breaks where the console is to end.
    pub(super) fn carry_out(
        &mut self,
        effect: Effect,
        app: &mut App,
        screen: &mut Screen,
        now: UptimeMs,
    ) -> std::io::Result<ControlFlow<()>> {
        let said = match effect {
            Effect::Quit => return Ok(ControlFlow::Break(())),
            Effect::Ask(wish) => {
                drop(self.wanted.send_replace(wish));
                None
            }
            Effect::Mouse(takes) => {
                screen.mouse(takes)?;
                None
            }
            Effect::Act(act) => self.act(act, app),
            Effect::Copy(text) => self.copy(text, screen)?,
            Effect::Travel(travel) => {
                self.travel(travel, app, now);
                None
            }
            Effect::Write(path) => Some(match write(app, &path, screen.size()?) {
                Ok(()) => format!("written to {}", path.display()),
                Err(why) => format!("{}: {why}", path.display()),
            }),
            Effect::Switch(name) => Some(match self.switch(&name, app) {
                Ok(()) => format!("this is {name}"),
                Err(why) => why,
            }),
        };
        if let Some(said) = said {
            self.update(Message::Said(said), app, now);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Gives a text to the terminal and to the desktop, as far as they take it; says so at once
    /// where only the terminal can be asked, which never answers.
    fn copy(&self, text: String, screen: &mut Screen) -> std::io::Result<Option<String>> {
        let fits = text.len() <= COPIED_MAX;
        if fits {
            screen.copy(&text)?;
        }
        let programs = clipboard::programs(|name| std::env::var_os(name).is_some());
        let alone = match fits {
            true => format!("{text} is copied, if this terminal allows it (OSC 52)"),
            false => format!("{} bytes are more than a terminal copies", text.len()),
        };
        if programs.is_empty() || text.len() > clipboard::TEXT_MAX {
            return Ok(Some(alone));
        }
        let send = self.send.clone();
        let gives = move || {
            let said = clipboard::give(&text, &programs)
                .map_or(alone, |program| format!("{text} is copied ({program})"));
            drop(send.send(Item::Message(Message::Said(said))));
        };
        let named = thread::Builder::new().name("copy".to_owned());
        Ok(named.spawn(gives).err().map(|why| format!("nobody can copy: {why}")))
    }

    /// Has somebody ask the cluster; says why nobody does.
    fn act(&self, act: Act, app: &App) -> Option<String> {
        let Some(hand) = self.hand.clone() else { return Some("there is no cluster".to_owned()) };
        let nodes = app.model.seen().map_or(&[][..], |snapshot| &snapshot.nodes);
        let known: Vec<Endpoint> = nodes
            .iter()
            .filter_map(|entry| entry.node.addresses.admin.parse().ok())
            .filter(Endpoint::is_reachable)
            .collect();
        let (send, number) = (self.send.clone(), self.number);
        let asks = move || drop(send.send(Item::Acted(number, hand.act(act, known))));
        let named = thread::Builder::new().name("act".to_owned());
        named.spawn(asks).err().map(|why| format!("nobody can ask the cluster: {why}"))
    }

    /// Has somebody go a way; goes it here if nobody does.
    fn travel(&self, travel: Box<Travel>, app: &mut App, now: UptimeMs) {
        let send = self.send.clone();
        let left = Arc::new(Mutex::new(Some(travel)));
        let taken = Arc::clone(&left);
        let take = |left: &Mutex<Option<Box<Travel>>>| {
            left.lock().unwrap_or_else(PoisonError::into_inner).take()
        };
        let goes = move || {
            if let Some(travel) = take(&taken) {
                let arrived = Message::Arrived(Box::new(travel.arrive()));
                // Where nobody listens any more nobody wants to be there.
                drop(send.send(Item::Message(arrived)));
            }
        };
        let named = thread::Builder::new().name("past".to_owned());
        if named.spawn(goes).is_err()
            && let Some(travel) = take(&left)
        {
            self.update(Message::Arrived(Box::new(travel.arrive())), app, now);
        }
    }

    /// Tells the console something after which nothing is to be done but a way to be gone.
    pub(super) fn update(&self, message: Message, app: &mut App, now: UptimeMs) {
        for effect in app.update(message, now) {
            if let Effect::Travel(travel) = effect {
                self.travel(travel, app, now);
            }
        }
    }

    /// Leaves the source that is listened to for another cluster.
    fn switch(&mut self, name: &str, app: &mut App) -> Result<(), String> {
        let chosen = self.settings.config.named(name).map_err(|why| why.to_string())?;
        let source = Box::new(Cluster(chosen.context.endpoints.clone()));
        let running = listen::start(source, self.settings.began).map_err(|why| why.to_string())?;
        self.number += 1;
        (self.wanted, self.hand) = (running.wanted, running.hand);
        self.listen(running.told).map_err(|why| why.to_string())?;
        app.send_to(Sent::to(&chosen));
        self.ask(app);
        Ok(())
    }
}

/// Writes what is shown to a file that is not there yet, in the form that its name says.
fn write(app: &mut App, path: &Path, size: (u16, u16)) -> Result<(), String> {
    let form = path.extension().and_then(|form| form.to_str());
    let written = match form {
        Some("txt") => once::text(&once::picture(app, size)),
        Some("svg") => svg::svg(&once::picture(app, size)),
        Some("json") => format!("{:#}\n", once::json(app)),
        _ => return Err("the name is to end in .txt, .json or .svg".to_owned()),
    };
    let file = File::options().write(true).create_new(true).open(path);
    let mut file = file.map_err(|why| why.to_string())?;
    file.write_all(written.as_bytes()).map_err(|why| why.to_string())
}
