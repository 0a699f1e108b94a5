//! Whatever keys are pressed, whatever the size, whatever the names: a whole picture, and no end
//! but by the key for it.

use std::sync::Arc;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use walrus_admin::snapshot::Snapshot;
use walrus_tui::{
    app::{App, Effect, Message, Typing},
    once,
    source::{
        Told,
        simulated::{Simulated, Size},
    },
    ui::theme::Theme,
};
use walrus_types::{Offset, TimestampMs, UptimeMs};

#[derive(Debug, Clone)]
enum Event {
    Key(KeyCode, bool),
    Paste(String),
    Second,
    Lost,
    Other(Box<Snapshot>),
    Draw(u16, u16),
}

fn keys() -> impl Strategy<Value = Event> {
    let code = prop_oneof![
        any::<char>().prop_map(KeyCode::Char),
        prop::sample::select(
            "1234567890DK/sS?qjkgGr: ".chars().map(KeyCode::Char).collect::<Vec<_>>()
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
        3 => (0_u16..220, 0_u16..70).prop_map(|(columns, rows)| Event::Draw(columns, rows)),
    ]
}

/// A snapshot that no node of ours would send.
fn odd((nodes, partitions, seed, name): (usize, usize, u64, String)) -> Event {
    let mut snapshot = Simulated::new(seed, Size { nodes, partitions }).snapshot();
    snapshot.cluster = name.clone();
    for (at, topic) in snapshot.topics.iter_mut().enumerate() {
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

fn play(events: Vec<Event>, theme: Theme) {
    let mut simulated = Simulated::new(3, Size::default());
    let mut app = App::new(theme);
    let mut now = UptimeMs(0);
    let mut is_odd = false;
    for event in events {
        now = UptimeMs(now.0 + 40);
        let message = match event {
            Event::Key(code, control) => {
                let modifiers = if control { KeyModifiers::CONTROL } else { KeyModifiers::NONE };
                Message::Key(KeyEvent::new(code, modifiers))
            }
            Event::Paste(text) => Message::Paste(text),
            Event::Second => {
                simulated.step();
                Message::Told(Told::Snapshot(simulated.shared()))
            }
            Event::Lost => Message::Told(Told::Lost {
                why: "gone\u{1b}[2J".into(),
                next_at: UptimeMs(now.0 + 900),
            }),
            Event::Other(snapshot) => {
                is_odd = true;
                Message::Told(Told::Snapshot(Arc::new(*snapshot)))
            }
            Event::Draw(columns, rows) => {
                let picture = once::picture(&mut app, (columns, rows));
                assert_eq!((picture.area.width, picture.area.height), (columns, rows));
                let signs = once::text(&picture);
                assert!(!signs.chars().any(|c| c.is_control() && c != '\n'), "{signs:?}");
                continue;
            }
        };
        let is_quit = matches!(
            message,
            Message::Key(KeyEvent {
                code: KeyCode::Char('c'),
                modifiers: KeyModifiers::CONTROL,
                ..
            })
        );
        let says_quit = matches!(
            (&app.typing, &message),
            (Some(Typing::Command(text)), Message::Key(KeyEvent { code: KeyCode::Enter, .. }))
                if matches!(text.trim(), "q" | "quit")
        );
        for effect in app.update(message, now) {
            match effect {
                Effect::Quit => assert!(is_quit || says_quit, "ended by another key"),
                Effect::Ask(wish) => {
                    if let Some(also) = &wish.also {
                        let told = simulated.tell(also);
                        let told = if is_odd { odd_chain(told) } else { told };
                        app.update(Message::Told(told), now);
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn whatever_happens_there_is_a_whole_picture(
        events in prop::collection::vec(events(), 1..60),
        ascii in any::<bool>(),
    ) {
        play(events, Theme { ascii, ..Theme::default() });
    }
}
