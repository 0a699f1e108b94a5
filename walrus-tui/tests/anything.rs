//! Whatever keys are pressed, whatever the size, whatever the names: a whole picture, and no end
//! but by the key for it.

use std::{collections::VecDeque, sync::Arc};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use proptest::prelude::*;
use walrus_admin::snapshot::Snapshot;
use walrus_tui::{
    app::{
        App, Effect, Message, Typing,
        past::{Pace, Past},
        travel::Travel,
    },
    once,
    source::{
        Told,
        record::{Recorder, tape::Ended},
        simulated::{Simulated, Size},
    },
    ui::{frame, paint::Canvas, theme::Theme},
};
use walrus_types::{Offset, TimestampMs, UptimeMs};

#[derive(Debug, Clone)]
enum Event {
    Key(KeyCode, bool),
    Paste(String),
    Second,
    Lost,
    Other(Box<Snapshot>),
    Mouse(MouseEventKind, u16, u16),
    Later(u16),
    Draw(u16, u16),
}

fn keys() -> impl Strategy<Value = Event> {
    let code = prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        prop::sample::select(
            "1234567890DK/sS?qjkgGr: aayC[[[]]{}<>tLmcwT"
                .chars()
                .map(KeyCode::Char)
                .collect::<Vec<_>>()
        ),
        prop::sample::select(vec![
            KeyCode::Enter,
            KeyCode::Esc,
            KeyCode::Up,
            KeyCode::Down,
            KeyCode::PageDown,
            KeyCode::PageUp,
            KeyCode::End,
            KeyCode::Backspace,
        ]),
    ];
    (code, any::<bool>()).prop_map(|(code, control)| Event::Key(code, control))
}

fn events() -> impl Strategy<Value = Event> {
    let other = (1_usize..5, 0_usize..40, any::<u64>(), ".{0,40}").prop_map(odd);
    prop_oneof![
        6 => keys(),
        1 => ".{0,20}".prop_map(Event::Paste),
        3 => Just(Event::Second),
        1 => Just(Event::Lost),
        1 => other,
        1 => mouse(),
        1 => (0_u16..60_000).prop_map(Event::Later),
        3 => (0_u16..220, 0_u16..70).prop_map(|(columns, rows)| Event::Draw(columns, rows)),
    ]
}

fn mouse() -> impl Strategy<Value = Event> {
    let kind = prop::sample::select(vec![
        MouseEventKind::Down(MouseButton::Left),
        MouseEventKind::ScrollDown,
        MouseEventKind::ScrollUp,
        MouseEventKind::Moved,
    ]);
    (kind, any::<u16>(), any::<u16>(), 0_u16..200, 0_u16..60, any::<bool>()).prop_map(
        |(kind, x, y, near_x, near_y, is_near)| {
            if is_near { Event::Mouse(kind, near_x, near_y) } else { Event::Mouse(kind, x, y) }
        },
    )
}

/// A snapshot that no node of ours would send.
fn odd((nodes, partitions, seed, name): (usize, usize, u64, String)) -> Event {
    let mut snapshot = Simulated::new(seed, Size { nodes, partitions }).snapshot();
    snapshot.cluster = name.clone();
    for (at, topic) in snapshot.topics.iter_mut().enumerate() {
        let topic = Arc::make_mut(topic);
        topic.topic = format!("{name}{at}");
        for partition in &mut topic.partitions {
            partition.reason.clone_from(&name);
            partition.base = Offset(i64::MAX);
            partition.log_start = Offset(i64::MIN);
            partition.sealed_bytes = u64::MAX;
        }
    }
    for entry in &mut snapshot.nodes {
        entry.silent = Some(name.clone());
        if let Some(vitals) = &mut entry.vitals {
            vitals.uptime_ms = seed;
            vitals.wal.used_bytes = u64::MAX;
            vitals.wal.flush_counts = vec![u64::MAX; 40];
            vitals.disk = vitals.disk.filter(|_| seed.is_multiple_of(2));
            if let Some(disk) = &mut vitals.disk {
                disk.free_bytes = u64::MAX;
            }
        }
    }
    snapshot.at_ms = TimestampMs(if seed.is_multiple_of(3) { i64::MIN } else { i64::MAX });
    Event::Other(Box::new(snapshot))
}

/// A chain that no node of ours would send.
fn odd_chain(mut told: Told) -> Told {
    if let Told::Chain { chain: Ok(chain), .. } = &mut told {
        let chain = Arc::make_mut(chain);
        chain.log_start = Offset(i64::MAX);
        for (at, segment) in chain.items.iter_mut().enumerate() {
            segment.base = Offset(if at % 2 == 0 { i64::MIN } else { i64::MAX });
            segment.end = segment.end.map(|_| Offset(if at % 3 == 0 { i64::MAX } else { -1 }));
            segment.bytes = segment.bytes.map(|_| u64::MAX);
        }
    }
    told
}

/// A console, and what it is told.
struct Played {
    app: App,
    simulated: Simulated,
    recorder: Recorder,
    now: UptimeMs,
    is_odd: bool,
    /// Ways that are yet to be gone.
    travels: VecDeque<Box<Travel>>,
}

impl Played {
    fn new(theme: Theme, is_replay: bool) -> Self {
        let mut app = App::new(theme);
        if is_replay {
            app.replay("4".parse().expect("a speed"));
        }
        // All ways are gone elsewhere, and some time later.
        app.travels.at_once_max = if theme.ascii { usize::MAX } else { 0 };
        let simulated = Simulated::new(3, Size::default());
        let (recorder, now) = (Recorder::default(), UptimeMs(0));
        Self { app, simulated, recorder, now, is_odd: false, travels: VecDeque::new() }
    }

    fn told(&mut self, told: Told) {
        if let Ok(record) = self.recorder.take(&told, self.now) {
            self.happens(Message::Told(Told::Kept(record)), false);
        }
        if !self.app.is_replay() {
            self.happens(Message::Told(told), false);
        }
    }

    fn draw(&mut self, columns: u16, rows: u16) {
        let picture = once::picture(&mut self.app, (columns, rows));
        assert_eq!((picture.area.width, picture.area.height), (columns, rows));
        let signs = once::text(&picture);
        assert!(!signs.chars().any(|c| c.is_control() && c != '\n'), "{signs:?}");
        let mut buffer = picture;
        let area = buffer.area;
        let mut canvas = Canvas::new(&mut buffer, area, self.app.theme);
        frame::draw(&self.app, &mut canvas);
        self.app.hits = canvas.hits();
    }

    fn key(&mut self, code: KeyCode, control: bool) {
        let modifiers = if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
        let may_quit = match (&self.app.typing, code) {
            (_, KeyCode::Char('c')) => control,
            (Some(Typing::Command(text)), KeyCode::Enter) => matches!(text.trim(), "q" | "quit"),
            _ => false,
        };
        self.happens(Message::Key(KeyEvent::new(code, modifiers)), may_quit);
    }

    fn happens(&mut self, message: Message, may_quit: bool) {
        for effect in self.app.update(message, self.now) {
            match effect {
                Effect::Quit => assert!(may_quit, "ended by another key"),
                Effect::Ask(wish) => {
                    if let Some(also) = &wish.also {
                        let told = self.simulated.tell(also);
                        self.told(if self.is_odd { odd_chain(told) } else { told });
                    }
                }
                Effect::Copy(_) | Effect::Write(_) | Effect::Mouse(_) => {}
                Effect::Act(act) => {
                    assert!(self.app.permit().is_ok(), "asked for without leave: {act:?}");
                    let acted = self.simulated.act(&act);
                    self.happens(Message::Acted(acted), false);
                }
                Effect::Travel(travel) => self.travels.push_back(travel),
                Effect::Switch(name) => panic!("there is no context {name}"),
            }
        }
    }

    /// What is shown is never of a time to come, and nothing may be changed in what was.
    fn check(&self) {
        assert!(self.app.is_replay() || self.app.now <= self.now, "{:?}", self.app.now);
        assert!(self.app.past.is_none() || self.app.permit().is_err());
        if let Some(Past { pace: Pace::Plays { since, .. }, .. }) = self.app.past {
            assert!(since <= self.now);
        }
    }
}

fn play(events: Vec<Event>, theme: Theme, is_replay: bool) {
    let mut played = Played::new(theme, is_replay);
    for event in events {
        played.now = UptimeMs(played.now.0 + 40);
        match event {
            Event::Key(code, control) => played.key(code, control),
            Event::Paste(text) => played.happens(Message::Paste(text), false),
            Event::Second => {
                played.simulated.step();
                played.told(Told::Snapshot(played.simulated.shared()));
            }
            Event::Lost => {
                let next_at = UptimeMs(played.now.0 + 900);
                played.told(Told::Lost { why: "gone\u{1b}[2J".into(), next_at });
            }
            Event::Other(snapshot) => {
                played.is_odd = true;
                played.told(Told::Snapshot(Arc::new(*snapshot)));
            }
            Event::Mouse(kind, column, row) => {
                let modifiers = KeyModifiers::NONE;
                let event = MouseEvent { kind, column, row, modifiers };
                played.happens(Message::Mouse(event), false);
            }
            Event::Later(ms) => {
                played.now = UptimeMs(played.now.0 + u64::from(ms));
                if let Some(travel) = played.travels.pop_front() {
                    played.happens(Message::Arrived(Box::new(travel.arrive())), false);
                }
                played.happens(Message::Tick, false);
            }
            Event::Draw(columns, rows) => played.draw(columns, rows),
        }
        played.check();
    }
    if is_replay {
        played.happens(Message::Told(Told::Ended(Ended::Short("cut\u{7}".into()))), false);
        played.draw(120, 40);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_there_is_a_whole_picture(
        events in prop::collection::vec(events(), 1..60),
        ascii in any::<bool>(),
        is_replay in any::<bool>(),
    ) {
        play(events, Theme { ascii, ..Theme::default() }, is_replay);
    }
}
