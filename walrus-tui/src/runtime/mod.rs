//! The terminal and what is around the console: keys, time, sources, and the way out.
//!
//! One thread owns the console and draws; keys, the source and the guard of the terminal have
//! threads of their own and send messages. It draws when something changed and no more than thirty
//! times a second; ages on the screen are redrawn once a second.

mod clipboard;
mod effects;
mod hangup;
mod listen;
mod terminal;
mod terse;

use std::{
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    thread,
    time::{Duration, Instant},
};

use crossterm::event::{self, Event, KeyEventKind};
use walrus_admin::context::Config;
use walrus_types::UptimeMs;

use self::{effects::Hands, terminal::Screen};
pub use self::{
    listen::{Recording, Running, start},
    terminal::restore,
    terse::Terse,
};
use crate::{
    app::{App, Message, doing::Acted, travel},
    source::Told,
    ui::{frame, paint::Canvas},
};

/// The least time between two pictures, and between two for which somebody pressed a key.
const PICTURE_MIN: Duration = Duration::from_millis(33);
const PRESSED_MIN: Duration = Duration::from_millis(10);
/// How late may be what comes each second before the picture is drawn without it.
const LATE: Duration = Duration::from_millis(200);
/// The longest time without a look at a picture that is held.
const HELD_MAX: Duration = Duration::from_secs(60);
/// Messages that may wait for the console.
const WAITING_MAX: usize = 256;

/// What comes to the thread that draws.
enum Item {
    /// From the terminal or from the console's own threads.
    Message(Message),
    /// From a source, by its number: one that was left is not listened to.
    Told(u64, Told),
    /// From the cluster of a source, by its number.
    Acted(u64, Acted),
}

/// What the console runs with.
#[derive(Debug)]
pub struct Settings {
    /// When its time began.
    pub began: Instant,
    /// Where it keeps what is told.
    pub recording: Recording,
    /// The contexts that it may go to.
    pub config: Config,
}

/// Runs the console on the terminal until somebody ends it, or the terminal is gone. `drawn_first` is
/// called once, after the first picture.
///
/// # Errors
/// What the terminal said.
pub fn run(
    mut app: App,
    running: Running,
    settings: Settings,
    drawn_first: impl FnOnce(),
) -> std::io::Result<()> {
    let mut screen = Screen::enter()?;
    let (send, items) = mpsc::sync_channel(WAITING_MAX);
    hangup::guard()?;
    keys(send.clone())?;
    let began = settings.began;
    let mut hands = Hands::new(settings, send, running)?;
    hands.ask(&app);
    app.travels.at_once_max = travel::AT_ONCE_MAX;
    draw(&mut app, &mut screen)?;
    drawn_first();
    let mut drawn = Instant::now();
    let (mut is_dirty, mut has_said, mut gap) = (false, false, PICTURE_MIN);
    loop {
        let wait = if is_dirty {
            gap.saturating_sub(drawn.elapsed())
        } else if app.is_held() && !has_said {
            // Nothing of it ages.
            HELD_MAX
        } else {
            // Until the next second of what is shown as an age; what comes each second shows it too.
            let late = if app.past.is_none() { LATE } else { Duration::ZERO };
            Duration::from_millis(app.stays_ms()) + late
        };
        let item = match items.recv_timeout(wait) {
            Ok(item) => Some(item),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        let now = UptimeMs(u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX));
        let mut came = false;
        for item in item.into_iter().chain(items.try_iter()) {
            let message = match item {
                Item::Message(message) => message,
                Item::Told(number, told) if hands.listens_to(number) => Message::Told(told),
                Item::Acted(number, acted) if hands.listens_to(number) => Message::Acted(acted),
                Item::Told(..) | Item::Acted(..) => continue,
            };
            came = true;
            is_dirty |= match &message {
                Message::Told(told) => app.is_seen(told),
                _ => true,
            };
            if matches!(message, Message::Key(_) | Message::Mouse(_) | Message::Paste(_)) {
                gap = PRESSED_MIN;
            }
            for effect in app.update(message, now) {
                if hands.carry_out(effect, &mut app, &mut screen, now)?.is_break() {
                    return Ok(());
                }
            }
        }
        if !came && !is_dirty {
            hands.update(Message::Tick, &mut app, now);
        }
        let says = app.says().is_some();
        // Held pictures do not age: only keys change them.
        is_dirty |= (!came && !app.is_held()) || says != has_said;
        if is_dirty && drawn.elapsed() >= gap {
            draw(&mut app, &mut screen)?;
            (drawn, is_dirty, has_said, gap) = (Instant::now(), false, says, PICTURE_MIN);
        }
    }
}

fn draw(app: &mut App, screen: &mut Screen) -> std::io::Result<()> {
    let theme = app.theme;
    screen.draw(|area, buffer| {
        app.fit(usize::from(area.height).saturating_sub(5));
        let mut canvas = Canvas::new(buffer, area, theme);
        frame::draw(app, &mut canvas);
        app.hits = canvas.hits();
    })
}

/// Keys, pastes and sizes, from a thread that waits for them.
fn keys(send: SyncSender<Item>) -> std::io::Result<()> {
    let read = move || {
        while let Ok(event) = event::read() {
            let message = match event {
                Event::Key(key) if key.kind != KeyEventKind::Release => Message::Key(key),
                Event::Paste(text) => Message::Paste(text),
                Event::Resize(..) | Event::FocusGained => Message::Resized,
                Event::Mouse(event) => Message::Mouse(event),
                Event::Key(_) | Event::FocusLost => continue,
            };
            if send.send(Item::Message(message)).is_err() {
                return;
            }
        }
    };
    drop(thread::Builder::new().name("keys".to_owned()).spawn(read)?);
    Ok(())
}
