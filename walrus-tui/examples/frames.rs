//! What a picture costs: what is told is taken, drawn, compared with the picture before and made
//! into bytes for a terminal. `cargo run --profile dist -p walrus-tui --example frames`
//!
//! For each size: a picture in which nothing changed, one after a second of a cluster, a whole one,
//! and, on a thread of its own in the console, the record of what was told; p50 and p99 in
//! microseconds, and bytes for the terminal and in the record.

use std::{
    cell::RefCell,
    io::{self, Write},
    rc::Rc,
    time::{Duration, Instant},
};

use ratatui::{Terminal, TerminalOptions, Viewport, layout::Rect};
use walrus_tui::{
    app::{App, Message, Place},
    runtime::Terse,
    screen::Screen,
    source::{
        Told,
        record::Recorder,
        simulated::{Simulated, Size},
    },
    ui::{
        frame,
        paint::Canvas,
        theme::{Colors, Theme},
    },
};
use walrus_types::UptimeMs;

const ROUNDS: usize = 500;
const SIZES: [(u16, u16); 4] = [(80, 24), (120, 40), (200, 60), (300, 100)];
const PARTITIONS: [usize; 2] = [100, 10_000];

/// Counts what a terminal would be sent.
#[derive(Clone, Default)]
struct Sent(Rc<RefCell<usize>>);

impl Write for Sent {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        *self.0.borrow_mut() += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type Drawn = Terminal<Terse<io::BufWriter<Sent>>>;

/// A terminal that shows nothing yet.
fn terminal((columns, rows): (u16, u16), sent: &Sent) -> io::Result<Drawn> {
    let options = TerminalOptions { viewport: Viewport::Fixed(Rect::new(0, 0, columns, rows)) };
    let out = io::BufWriter::with_capacity(64 << 10, sent.clone());
    Terminal::with_options(Terse::new(out), options)
}

struct Bench {
    app: App,
    simulated: Simulated,
    terminal: Drawn,
    sent: Sent,
    now: UptimeMs,
}

impl Bench {
    fn new((columns, rows): (u16, u16), partitions: usize, screen: Screen) -> io::Result<Self> {
        let mut app = App::new(Theme { colors: Colors::True, ascii: false });
        app.places = vec![Place::Screen(screen)];
        let sent = Sent::default();
        let terminal = terminal((columns, rows), &sent)?;
        let simulated = Simulated::new(7, Size { nodes: 3, partitions });
        let mut bench = Self { app, simulated, terminal, sent, now: UptimeMs(0) };
        for _ in 0..30 {
            let told = bench.told();
            bench.tick(told)?;
        }
        Ok(bench)
    }

    fn told(&mut self) -> Told {
        self.simulated.step();
        self.now.0 += 1_000;
        Told::Snapshot(self.simulated.shared())
    }

    fn tick(&mut self, told: Told) -> io::Result<()> {
        drop(self.app.update(Message::Told(told), self.now));
        self.draw()
    }

    fn draw(&mut self) -> io::Result<()> {
        let theme = self.app.theme;
        let app = &mut self.app;
        self.terminal.draw(|frame| {
            let area = frame.area();
            app.fit(usize::from(area.height).saturating_sub(5));
            frame::draw(app, &mut Canvas::new(frame.buffer_mut(), area, theme));
        })?;
        self.terminal.backend_mut().flush()
    }

    fn forget_bytes(&self) {
        *self.sent.0.borrow_mut() = 0;
    }

    fn bytes(&self) -> usize {
        std::mem::take(&mut *self.sent.0.borrow_mut())
    }
}

fn p50_p99(mut took: Vec<Duration>) -> (u128, u128) {
    took.sort_unstable();
    let at = |part: usize| took[took.len() * part / 100].as_micros();
    (at(50), at(99))
}

/// What a size costs, in words.
fn measured(size: (u16, u16), partitions: usize, screen: Screen) -> io::Result<String> {
    let mut bench = Bench::new(size, partitions, screen)?;
    let mut recorder = Recorder::default();
    let mut rounds = [const { Vec::new() }; 4];
    let (mut sent, mut kept) = (0, 0);
    for _ in 0..ROUNDS {
        let told = bench.told();
        let began = Instant::now();
        let record = recorder.take(&told, bench.now).map_err(io::Error::other)?;
        rounds[3].push(began.elapsed());
        kept += record.bytes();
        bench.forget_bytes();
        let began = Instant::now();
        bench.tick(told)?;
        rounds[1].push(began.elapsed());
        sent += bench.bytes();
        let began = Instant::now();
        bench.draw()?;
        rounds[0].push(began.elapsed());
        bench.terminal = terminal(size, &bench.sent)?;
        let began = Instant::now();
        bench.draw()?;
        rounds[2].push(began.elapsed());
    }
    let shown = rounds.map(p50_p99).map(|(p50, p99)| format!("{p50:>6} / {p99:<6}"));
    let (sent, kept) = (sent / ROUNDS, kept / ROUNDS);
    Ok(format!("{} {sent:>6} B sent {kept:>6} B kept", shown.join(" ")))
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(
        out,
        "microseconds, p50 / p99: nothing changed, after a second, all of it, its record"
    )?;
    for partitions in PARTITIONS {
        for screen in [Screen::Overview, Screen::Leases] {
            for size in SIZES {
                let (columns, rows) = size;
                let shown = measured(size, partitions, screen)?;
                let name = screen.title();
                writeln!(out, "{partitions:>6} {name:<9} {columns:>3}x{rows:<3} {shown}")?;
            }
        }
    }
    Ok(())
}
