//! What a terminal would show over time, as an asciicast (version 2), with a clock of its own: the
//! same command writes the same file.

use std::{cell::RefCell, fmt::Write as _, io, rc::Rc, time::Duration};

use ratatui::{
    Terminal, TerminalOptions, Viewport,
    backend::{Backend as _, CrosstermBackend},
    layout::Rect,
};
use walrus_types::UptimeMs;

use crate::{
    app::{App, Effect, Message},
    source::{
        Told, Wanted,
        replay::Replay,
        simulated::{STEP_MS, Simulated},
    },
    ui::{frame, paint::Canvas},
};

/// Pictures that are written at most: a recording may be long.
const FRAMES_MAX: usize = 20_000;
/// When the first picture was drawn, for those who ask: a file that is made anew is the same.
const BEGAN: u64 = 1_767_268_800;

/// What a terminal is sent, for whoever looks next.
#[derive(Debug, Clone, Default)]
struct Sent(Rc<RefCell<Vec<u8>>>);

impl io::Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A cast that is being made.
#[derive(Debug)]
pub struct Cast {
    terminal: Terminal<CrosstermBackend<Sent>>,
    sent: Sent,
    written: String,
    frames: usize,
}

impl Cast {
    /// A terminal of so many columns and rows.
    ///
    /// # Errors
    /// What the terminal said.
    pub fn new((columns, rows): (u16, u16)) -> io::Result<Self> {
        // Whoever plays it decides about colours; this is no terminal.
        crossterm::style::force_color_output(true);
        let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, columns, rows)) };
        let sent = Sent::default();
        let terminal = Terminal::with_options(CrosstermBackend::new(sent.clone()), options)?;
        let head = serde_json::json!({
            "version": 2, "width": columns, "height": rows, "timestamp": BEGAN,
            "env": { "TERM": "xterm-256color" },
        });
        Ok(Self { terminal, sent, written: format!("{head}\n"), frames: 0 })
    }

    /// Draws the console as it is at `ms`.
    ///
    /// # Errors
    /// What the terminal said, or that there are too many pictures.
    pub fn draw(&mut self, app: &mut App, ms: u64) -> Result<(), String> {
        if self.frames == FRAMES_MAX {
            return Err(format!("more than {FRAMES_MAX} pictures: play it faster"));
        }
        let theme = app.theme;
        let drawn = self.terminal.draw(|frame| {
            let area = frame.area();
            app.fit(usize::from(area.height).saturating_sub(5));
            frame::draw(app, &mut Canvas::new(frame.buffer_mut(), area, theme));
        });
        drawn.map_err(|why| why.to_string())?;
        self.terminal.backend_mut().flush().map_err(|why| why.to_string())?;
        let bytes = std::mem::take(&mut *self.sent.0.borrow_mut());
        let mut text = String::from_utf8_lossy(&bytes).into_owned();
        if self.frames == 0 {
            text.insert_str(0, "\x1b[2J\x1b[?25l");
        }
        self.frames += 1;
        let text = serde_json::Value::from(text);
        let (seconds, rest) = (ms / 1_000, ms % 1_000);
        writeln!(self.written, "[{seconds}.{rest:03}, \"o\", {text}]")
            .map_err(|why| why.to_string())
    }

    /// All of it.
    #[must_use]
    pub fn written(&self) -> &str {
        &self.written
    }
}

/// A made-up cluster, so long.
pub fn demo(
    app: &mut App,
    simulated: &mut Simulated,
    lasts: Duration,
) -> impl FnMut(&mut Cast) -> Result<(), String> {
    move |cast| {
        let mut ms = 0;
        while Duration::from_millis(ms) <= lasts {
            simulated.step();
            let now = UptimeMs(ms);
            drop(app.update(Message::Told(Told::Snapshot(simulated.shared())), now));
            if let Effect::Ask(Wanted { also: Some(also), .. }) = app.ask() {
                drop(app.update(Message::Told(simulated.tell(&also)), now));
            }
            cast.draw(app, ms)?;
            ms += STEP_MS;
        }
        Ok(())
    }
}

/// A recording, from its beginning to its end.
pub fn replay<R: io::Read>(
    app: &mut App,
    recording: &mut Replay<R>,
) -> impl FnMut(&mut Cast) -> Result<(), String> {
    move |cast| {
        super::read(app, recording);
        let mut ms = 0;
        loop {
            drop(app.update(Message::Tick, UptimeMs(ms)));
            cast.draw(app, ms)?;
            if app.is_held() {
                return Ok(());
            }
            ms += app.stays_ms();
        }
    }
}
