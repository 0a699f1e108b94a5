//! What keys and the mouse come to, as tables of cases: what is asked for, and what is shown then.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use walrus_tui::{
    app::{
        App, Effect, Message, Place, Sent,
        guard::{Guard, Refused},
        lists::{Listing, RowOf},
    },
    once,
    screen::Screen,
    source::{
        Told,
        record::Recorder,
        simulated::{Simulated, Size},
    },
    ui::{frame, keymap::Keymap, paint::Canvas, theme::Theme},
};
use walrus_types::{NodeId, UptimeMs};

fn console() -> App {
    let mut simulated = Simulated::new(7, Size::default());
    let (mut app, mut recorder) = (App::new(Theme::default()), Recorder::default());
    app.contexts = vec!["prod".to_owned(), "test".to_owned()];
    for second in 1..=30 {
        simulated.step();
        let (told, now) = (Told::Snapshot(simulated.shared()), UptimeMs(second * 1_000));
        let record = recorder.take(&told, now).expect("it is small");
        drop(app.update(Message::Told(told), now));
        drop(app.update(Message::Told(Told::Kept(record)), now));
    }
    app
}

fn press(app: &mut App, keys: &str) -> Vec<Effect> {
    let now = app.clock();
    let codes = keys.chars().map(|key| match key {
        '\n' => KeyCode::Enter,
        '\x1b' => KeyCode::Esc,
        '\t' => KeyCode::Tab,
        key => KeyCode::Char(key),
    });
    let events = codes.map(|code| KeyEvent::new(code, KeyModifiers::NONE));
    let effects = events.flat_map(|event| app.update(Message::Key(event), now)).collect::<Vec<_>>();
    effects.into_iter().filter(|effect| !matches!(effect, Effect::Ask(_))).collect()
}

#[test]
fn keys_come_to_effects() {
    let cases: [(&str, &[Effect]); 12] = [
        ("2jc", &[Effect::Copy("n2".into())]),
        ("3/orders/3\nc", &[Effect::Copy("orders/3".into())]),
        ("3/orders/3\n\nc", &[Effect::Copy("orders/3".into())]),
        ("5c", &[]),
        ("wnode.svg\n", &[Effect::Write("node.svg".into())]),
        ("w \n", &[]),
        ("wnode\x1b", &[]),
        ("m", &[Effect::Mouse(true)]),
        ("mm", &[Effect::Mouse(true), Effect::Mouse(false)]),
        (":context prod\n", &[Effect::Switch("prod".into())]),
        (":con\tt\t\n", &[Effect::Switch("test".into())]),
        (":context nonsense\n", &[]),
    ];
    for (keys, expected) in cases {
        assert_eq!(press(&mut console(), keys), expected, "{keys:?}");
    }
}

#[test]
fn only_what_is_now_and_unlocked_may_be_changed() {
    let cases: [(&str, bool, Option<Refused>); 8] = [
        ("", false, None),
        (" ", false, Some(Refused::Past)),
        ("[[", false, Some(Refused::Past)),
        ("[[L", false, None),
        ("", true, Some(Refused::ReadOnly)),
        (":rw\n", true, None),
        (":rw\n:ro\n", true, Some(Refused::ReadOnly)),
        (":ro\n", false, Some(Refused::ReadOnly)),
    ];
    for (keys, is_production, refused) in cases {
        let mut app = console();
        app.guard = Guard::new(is_production);
        press(&mut app, keys);
        assert_eq!(app.permit().err(), refused, "{keys:?} {is_production}");
    }
}

#[test]
fn another_cluster_begins_with_nothing_known_and_its_own_lock() {
    let mut app = console();
    press(&mut app, "[[:rw\n3/orders\n");
    let sent = Sent { context: Some("prod".into()), is_production: true, colour: None };
    app.send_to(sent);
    assert!(app.model.newest.is_none() && app.past.is_none() && app.tape.last().is_none());
    assert_eq!(app.place(), &Place::Screen(Screen::Overview));
    assert!(app.lists.of(Listing::Partitions).filter.is_empty());
    assert_eq!(app.permit().err(), Some(Refused::ReadOnly));
    assert!(once::text(&once::picture(&mut app, (120, 40))).contains("PRODUCTION — prod"));
}

#[test]
fn keys_of_the_file_are_in_the_footer_and_do_what_they_say() {
    let mut app = console();
    let keys = ["f2".to_owned(), "o".to_owned()];
    app.keys = Keymap::with([("sort", &keys[..])]).unwrap();
    press(&mut app, "2o");
    assert_eq!(app.lists.of(Listing::Nodes).order, 1);
    press(&mut app, "s");
    assert_eq!(app.lists.of(Listing::Nodes).order, 1, "its usual key does nothing now");
    let picture = once::text(&once::picture(&mut app, (120, 40)));
    assert!(picture.contains("f2 sort"), "{picture}");
    press(&mut app, "?");
    assert!(once::text(&once::picture(&mut app, (120, 40))).contains("f2, o"));
}

/// What happens at a cell, after a picture was drawn.
fn point(app: &mut App, kind: MouseEventKind, (column, row): (u16, u16), now: UptimeMs) {
    let mut buffer = once::picture(app, (120, 40));
    let area = buffer.area;
    let mut canvas = Canvas::new(&mut buffer, area, app.theme);
    frame::draw(app, &mut canvas);
    app.hits = canvas.hits();
    let event = MouseEvent { kind, column, row, modifiers: KeyModifiers::NONE };
    drop(app.update(Message::Mouse(event), now));
}

#[test]
fn the_mouse_chooses_opens_orders_and_scrolls_only_where_it_is_taken() {
    let click = MouseEventKind::Down(MouseButton::Left);
    let mut app = console();
    let at = |app: &App| app.clock();
    press(&mut app, "2");
    let now = at(&app);
    let chosen = |app: &App| app.lists.of(Listing::Nodes).chosen.clone();
    let before = chosen(&app);
    point(&mut app, click, (10, 4), now);
    assert_eq!(chosen(&app), before, "it is not taken");
    press(&mut app, "m");
    point(&mut app, click, (10, 4), now);
    assert_eq!(chosen(&app), Some(RowOf::Node(NodeId(2))));
    point(&mut app, MouseEventKind::ScrollDown, (10, 30), now);
    assert_eq!(chosen(&app), Some(RowOf::Node(NodeId(3))));
    point(&mut app, click, (3, 2), now);
    assert_eq!(app.lists.of(Listing::Nodes).order, 0);
    assert!(app.lists.of(Listing::Nodes).reversed, "by the same, turned around");

    press(&mut app, "3");
    let later = |ms: u64| UptimeMs(now.0 + ms);
    point(&mut app, click, (10, 5), later(0));
    point(&mut app, click, (10, 5), later(900));
    assert_eq!(app.place(), &Place::Screen(Screen::Topics), "too slow for two");
    point(&mut app, click, (10, 6), later(1_000));
    assert_eq!(app.place(), &Place::Screen(Screen::Topics), "another row");
    point(&mut app, click, (10, 6), later(1_200));
    assert!(matches!(app.place(), Place::Partition(_)), "{:?}", app.place());
}
