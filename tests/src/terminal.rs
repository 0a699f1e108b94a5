//! A program in a terminal of its own: a pseudo-terminal, and what it shows.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    num::NonZero,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt},
    termios::{Termios, Winsize, tcgetattr, tcsetwinsize},
};

/// The limit is only there so that a broken program ends the test.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often who reads looks whether it is to end.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 20_000_000 };

/// A terminal and the program in it.
#[expect(missing_debug_implementations, reason = "a terminal's parser shows nothing of itself")]
pub struct Terminal {
    /// `None` when the terminal was hung up.
    master: Option<File>,
    slave: OwnedFd,
    child: Child,
    screen: Arc<Mutex<vt100::Parser>>,
    before: Termios,
    hung_up: Arc<AtomicBool>,
    reads: Option<JoinHandle<()>>,
}

/// What a program left of its terminal.
#[derive(Debug, PartialEq, Eq)]
pub struct Left {
    /// Whether the settings (echo, lines, signals) are those of before.
    pub settings_restored: bool,
    /// Whether it still shows the other screen.
    pub other_screen: bool,
    /// Whether the cursor is still hidden.
    pub cursor_hidden: bool,
    /// Whether pastes are still bracketed.
    pub bracketed_paste: bool,
    /// Whether what the mouse does is still told.
    pub mouse_taken: bool,
}

impl Left {
    /// As it was before the program came.
    pub const AS_BEFORE: Self = Self {
        settings_restored: true,
        other_screen: false,
        cursor_hidden: false,
        bracketed_paste: false,
        mouse_taken: false,
    };
}

impl Terminal {
    /// Starts a program in a terminal of so many columns and rows.
    ///
    /// # Errors
    /// When there is no terminal to be had, or the program does not start.
    pub fn start(program: &Path, arguments: &[String], size: (u16, u16)) -> Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let name = ptsname(&master, Vec::new())?;
        let slave: OwnedFd = File::options().read(true).write(true).open(name.to_str()?)?.into();
        tcsetwinsize(&slave, winsize(size))?;
        let before = tcgetattr(&slave)?;
        // It makes the terminal the program's own, and then becomes the program.
        let child = Command::new("setsid")
            .arg("--ctty")
            .arg(program)
            .args(arguments)
            .env("TERM", "xterm-256color")
            .env("COLORTERM", "truecolor")
            .env("LANG", "C.UTF-8")
            .env_remove("NO_COLOR")
            // Why it ended would leave the screen above a long list of calls.
            .env_remove("RUST_BACKTRACE")
            .env_remove("LC_ALL")
            .stdin(Stdio::from(slave.try_clone()?))
            .stdout(Stdio::from(slave.try_clone()?))
            .stderr(Stdio::from(slave.try_clone()?))
            .spawn()
            .context("setsid of util-linux starts the program")?;
        let screen = Arc::new(Mutex::new(vt100::Parser::new(cells(size.1)?, cells(size.0)?, 0)));
        let master = File::from(master);
        let (mut reader, shown) = (master.try_clone()?, Arc::clone(&screen));
        let hung_up = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&hung_up);
        let reads = thread::spawn(move || {
            let mut bytes = [0; 16 << 10];
            while !ends.load(Ordering::Relaxed) {
                let mut watched = [PollFd::new(&reader, PollFlags::IN)];
                if poll(&mut watched, Some(&LOOK)) == Ok(0) {
                    continue;
                }
                let Ok(read @ 1..) = reader.read(&mut bytes) else { return };
                locked(&shown).process(&bytes[..read]);
            }
        });
        Ok(Self { master: Some(master), slave, child, screen, before, hung_up, reads: Some(reads) })
    }

    /// The program's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What is shown, a line for each row, without blanks at their ends.
    pub fn shows(&self) -> String {
        let screen = locked(&self.screen);
        let (_, columns) = screen.screen().size();
        let rows = screen.screen().rows(0, columns.get());
        rows.map(|row| row.trim_end().to_owned() + "\n").collect()
    }

    /// Types.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn types(&mut self, keys: &str) -> Result<()> {
        let master = self.master.as_mut().context("it was hung up")?;
        master.write_all(keys.as_bytes())?;
        Ok(())
    }

    /// Gives it another size.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn resize(&self, size: (u16, u16)) -> Result<()> {
        locked(&self.screen).screen_mut().set_size(cells(size.1)?, cells(size.0)?);
        tcsetwinsize(&self.slave, winsize(size))?;
        Ok(())
    }

    /// Waits until what it shows is so; answers how long that took.
    ///
    /// # Errors
    /// When that does not come; what it shows is in the error.
    pub fn until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> Result<Duration> {
        let began = Instant::now();
        loop {
            let shows = self.shows();
            if is_so(&shows) {
                return Ok(began.elapsed());
            }
            ensure!(began.elapsed() < PATIENCE, "{what} is not shown:\n{shows}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks the program to end with a signal.
    ///
    /// # Errors
    /// When it is gone.
    pub fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg(format!("-{signal}")).arg(pid).status()?;
        ensure!(asked.success(), "kill -{signal} failed");
        Ok(())
    }

    /// Takes the terminal away, as a connection that breaks.
    pub fn hang_up(&mut self) {
        self.hung_up.store(true, Ordering::Relaxed);
        if let Some(reads) = self.reads.take() {
            drop(reads.join());
        }
        self.master = None;
    }

    /// Waits until the program has ended; answers how and how long that took.
    ///
    /// # Errors
    /// When it does not end.
    pub fn ended(&mut self) -> Result<(ExitStatus, Duration)> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok((status, began.elapsed()));
            }
            if began.elapsed() >= PATIENCE {
                bail!("it does not end:\n{}", self.shows());
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// How the terminal stands now.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn stands(&self) -> Result<Left> {
        let now = tcgetattr(&self.slave)?;
        let screen = locked(&self.screen);
        let screen = screen.screen();
        Ok(Left {
            settings_restored: settings(&now) == settings(&self.before),
            other_screen: screen.alternate_screen(),
            cursor_hidden: screen.hide_cursor(),
            bracketed_paste: screen.bracketed_paste(),
            mouse_taken: screen.mouse_protocol_mode() != vt100::MouseProtocolMode::None,
        })
    }

    /// What a program that has ended left: what it wrote last is on its way to us for a moment.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub fn left(&self) -> Result<Left> {
        let began = Instant::now();
        while self.stands()? != Left::AS_BEFORE && began.elapsed() < PATIENCE / 6 {
            thread::sleep(Duration::from_millis(5));
        }
        self.stands()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone after this.
        drop(self.child.kill());
        drop(self.child.wait());
        self.hang_up();
    }
}

fn cells(count: u16) -> Result<NonZero<u16>> {
    NonZero::new(count).context("a terminal has a cell")
}

fn winsize((columns, rows): (u16, u16)) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

/// All that a program may change.
fn settings(of: &Termios) -> String {
    format!(
        "{:?} {:?} {:?} {:?}",
        of.input_modes, of.output_modes, of.control_modes, of.local_modes
    )
}

fn locked(screen: &Mutex<vt100::Parser>) -> MutexGuard<'_, vt100::Parser> {
    screen.lock().unwrap_or_else(PoisonError::into_inner)
}
