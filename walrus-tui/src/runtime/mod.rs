//! The terminal and what is around the console: keys, time, sources, and the way out.
//!
//! One thread owns the console and draws; keys, the source and the guard of the terminal have
//! threads of their own and send messages. It draws when something changed and no more than thirty
//! times a second; ages on the screen are redrawn once a second.

mod hangup;
mod terminal;

use std::{
    sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{self, Event, KeyEventKind};
use tokio::sync::watch;
use walrus_admin::Endpoint;
use walrus_types::UptimeMs;

use self::terminal::Screen;
pub use self::terminal::restore;
use crate::{
    app::{App, Effect, Message},
    source::{
        Told, Wanted, live,
        simulated::{STEP_MS, Simulated},
    },
    ui::{frame, paint::Canvas},
};

/// The least time between two pictures.
const PICTURE_MIN: Duration = Duration::from_millis(33);
/// Messages that may wait for the console.
const WAITING_MAX: usize = 256;

/// Where the console gets what it shows.
#[derive(Debug)]
pub enum From {
    /// A cluster.
    Cluster(Vec<Endpoint>),
    /// One that is made up.
    Demo(Box<Simulated>),
}

/// A source that runs.
#[derive(Debug)]
pub struct Running {
    /// What it tells.
    pub told: Receiver<Told>,
    /// What it is asked for.
    pub wanted: watch::Sender<Wanted>,
}

/// Starts a source. It ends when what it tells is heard no more.
///
/// # Errors
/// What starting a thread said.
pub fn start(from: From, began: Instant) -> std::io::Result<Running> {
    let (wanted, wishes) = watch::channel(Wanted::default());
    let (tell, told) = mpsc::sync_channel(WAITING_MAX);
    let named = thread::Builder::new().name("source".to_owned());
    match from {
        From::Cluster(endpoints) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            drop(named.spawn(move || {
                runtime.block_on(live::run(endpoints, began, wishes, tell));
            })?);
        }
        From::Demo(simulated) => drop(named.spawn(move || demo(*simulated, &wishes, &tell))?),
    }
    Ok(Running { told, wanted })
}

/// A made-up second every second.
fn demo(mut simulated: Simulated, wanted: &watch::Receiver<Wanted>, tell: &SyncSender<Told>) {
    let mut next = Instant::now();
    let mut asked = Wanted::default();
    loop {
        let wish = wanted.borrow().clone();
        let is_due = Instant::now() >= next;
        if is_due {
            simulated.step();
            next += Duration::from_millis(STEP_MS);
        }
        if is_due && tell.send(Told::Snapshot(simulated.shared())).is_err() {
            return;
        }
        if let Some(also) = wish.also.as_ref().filter(|_| is_due || wish != asked)
            && tell.send(simulated.tell(also)).is_err()
        {
            return;
        }
        asked = wish;
        thread::sleep(Duration::from_millis(20));
    }
}

/// Runs the console on the terminal until somebody ends it, or the terminal is gone. `drawn_first` is
/// called once, after the first picture.
///
/// # Errors
/// What the terminal said.
pub fn run(
    mut app: App,
    running: Running,
    began: Instant,
    drawn_first: impl FnOnce(),
) -> std::io::Result<()> {
    let mut screen = Screen::enter()?;
    let (send, messages) = mpsc::sync_channel(WAITING_MAX);
    hangup::guard()?;
    keys(send.clone())?;
    let Running { told, wanted } = running;
    let forward = send;
    drop(thread::Builder::new().name("forward".to_owned()).spawn(move || {
        while let Ok(told) = told.recv() {
            if forward.send(Message::Told(told)).is_err() {
                return;
            }
        }
    })?);
    if let Effect::Ask(wish) = app.ask() {
        wanted.send_replace(wish);
    }
    draw(&mut app, &mut screen)?;
    drawn_first();
    let mut drawn = Instant::now();
    let mut is_dirty = false;
    loop {
        let wait = if is_dirty {
            PICTURE_MIN.saturating_sub(drawn.elapsed())
        } else {
            // Until the next second of what is shown as an age.
            Duration::from_secs(1)
        };
        let message = match messages.recv_timeout(wait) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let now = UptimeMs(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let all = message.into_iter().chain(messages.try_iter());
        let mut came = false;
        for message in all {
            came = true;
            for effect in app.update(message, now) {
                match effect {
                    Effect::Quit => return Ok(()),
                    Effect::Ask(wish) => drop(wanted.send_replace(wish)),
                }
            }
        }
        if !came && !is_dirty {
            drop(app.update(Message::Tick, now));
        }
        // Held pictures do not age: only keys change them.
        is_dirty |= came || app.frozen.is_none();
        if is_dirty && drawn.elapsed() >= PICTURE_MIN {
            draw(&mut app, &mut screen)?;
            (drawn, is_dirty) = (Instant::now(), false);
        }
    }
}

fn draw(app: &mut App, screen: &mut Screen) -> std::io::Result<()> {
    let theme = app.theme;
    screen.draw(|area, buffer| {
        app.fit(usize::from(area.height).saturating_sub(5));
        frame::draw(app, &mut Canvas::new(buffer, area, theme));
    })
}

/// Keys, pastes and sizes, from a thread that waits for them.
fn keys(send: SyncSender<Message>) -> std::io::Result<()> {
    let read = move || {
        while let Ok(event) = event::read() {
            let message = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Message::Key(key),
                Event::Paste(text) => Message::Paste(text),
                Event::Resize(..) | Event::FocusGained => Message::Resized,
                Event::Key(_) | Event::FocusLost | Event::Mouse(_) => continue,
            };
            if send.send(message).is_err() {
                return;
            }
        }
    };
    drop(thread::Builder::new().name("keys".to_owned()).spawn(read)?);
    Ok(())
}
