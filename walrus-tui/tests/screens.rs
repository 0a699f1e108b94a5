//! Every screen at three sizes on a made-up cluster, against pictures that are kept beside this
//! file. `WALRUS_PICTURES=write` writes them anew: look at the difference before it is kept.

use std::{path::PathBuf, sync::Mutex};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use walrus_tui::{
    app::{App, Effect, Message, Place, Sent, guard::Guard},
    model::PartitionName,
    once,
    screen::Screen,
    source::{
        Told,
        record::{Recorder, file::Writer},
        replay::Replay,
        simulated::{Simulated, Size},
    },
    ui::{
        keymap::Keymap,
        theme::{Colors, Theme},
    },
};
use walrus_types::{PartitionIndex, UptimeMs};

const SIZES: [(u16, u16); 3] = [(80, 24), (120, 40), (200, 60)];

/// A console of a made-up cluster after so many seconds.
fn console(seconds: u64, theme: Theme) -> (App, Simulated, UptimeMs) {
    let mut simulated = Simulated::new(7, Size::default());
    let mut app = App::new(theme);
    let mut now = UptimeMs(0);
    let mut recorder = Recorder::default();
    for _ in 0..seconds {
        simulated.step();
        now = UptimeMs(now.0 + 1_000);
        let told = Told::Snapshot(simulated.shared());
        let record = recorder.take(&told, now).expect("it is small");
        app.update(Message::Told(told), now);
        app.update(Message::Told(Told::Kept(record)), now);
    }
    (app, simulated, now)
}

fn partition(topic: &str, index: i32) -> PartitionName {
    PartitionName { topic: topic.to_owned(), partition: PartitionIndex(index) }
}

fn press(app: &mut App, simulated: &Simulated, keys: &str) {
    let now = app.now;
    for key in keys.chars() {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        let key = Message::Key(KeyEvent::new(code, KeyModifiers::NONE));
        for effect in app.update(key, now) {
            let Effect::Ask(wish) = effect else { continue };
            if let Some(also) = &wish.also {
                app.update(Message::Told(simulated.tell(also)), now);
            }
        }
    }
}

#[track_caller]
fn compare(name: &str, app: &mut App) {
    for (columns, rows) in SIZES {
        let picture = once::text(&once::picture(app, (columns, rows)));
        let file = format!("{name}-{columns}x{rows}.txt");
        let path: PathBuf =
            [env!("CARGO_MANIFEST_DIR"), "tests", "pictures", &file].iter().collect();
        if std::env::var_os("WALRUS_PICTURES").is_some() {
            std::fs::write(&path, &picture).expect("the checkout can be written to");
        }
        let kept = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == picture, "{file} is another picture now:\n{picture}");
    }
}

#[test]
fn an_overview_says_first_whether_the_cluster_is_well() {
    let (mut app, _, _) = console(60, Theme::default());
    compare("overview", &mut app);
}

#[test]
fn leases_show_who_leads_every_partition() {
    let (mut app, simulated, _) = console(60, Theme::default());
    press(&mut app, &simulated, "4");
    compare("leases", &mut app);
}

#[test]
fn topics_list_partitions() {
    let (mut app, simulated, _) = console(60, Theme::default());
    press(&mut app, &simulated, "3/ord\nsjj");
    compare("topics", &mut app);
}

#[test]
fn a_partition_is_a_chain_of_segments() {
    let (mut app, simulated, _) = console(60, Theme::default());
    press(&mut app, &simulated, "3/orders/1\n\njj");
    compare("partition", &mut app);
}

#[test]
fn every_other_screen_is_as_it_was() {
    let keys = [
        ("nodes", "2j"),
        ("raft", "5"),
        ("storage", "6"),
        ("groups", "7sj"),
        ("group", "7\n"),
        ("events", "8/led by n2\n"),
        ("gc", "D"),
        ("clients", "K"),
        ("operations", "0"),
        ("playbooks", "9"),
        ("command", ":or"),
    ];
    for (name, keys) in keys {
        let (mut app, simulated, _) = console(60, Theme::default());
        press(&mut app, &simulated, keys);
        compare(name, &mut app);
    }
}

/// Presses keys, and has the made-up cluster do what they come to.
fn act(app: &mut App, simulated: &mut Simulated, keys: &str) {
    let now = app.clock();
    for key in keys.chars() {
        let code = match key {
            '\n' => KeyCode::Enter,
            '>' => KeyCode::Right,
            key => KeyCode::Char(key),
        };
        let key = Message::Key(KeyEvent::new(code, KeyModifiers::NONE));
        for effect in app.update(key, now) {
            if let Effect::Act(act) = effect {
                app.update(Message::Acted(simulated.act(&act)), now);
            }
        }
    }
}

#[test]
fn what_is_done_is_planned_agreed_to_and_followed() {
    let (mut app, mut simulated, _) = console(60, Theme::default());
    act(&mut app, &mut simulated, "2ja");
    compare("actions", &mut app);
    act(&mut app, &mut simulated, "jj\nn");
    compare("plan-drain", &mut app);
    act(&mut app, &mut simulated, "2\n");
    let later = |app: &mut App, simulated: &mut Simulated, seconds| {
        for _ in 0..seconds {
            simulated.step();
            let told = Message::Told(Told::Snapshot(simulated.shared()));
            app.update(told, UptimeMs(app.clock().0 + 1_000));
        }
    };
    later(&mut app, &mut simulated, 2);
    compare("operation-under-way", &mut app);
    later(&mut app, &mut simulated, 9);
    act(&mut app, &mut simulated, ":rollover orders\n");
    compare("plan-rollover", &mut app);
    act(&mut app, &mut simulated, ">\n");
    later(&mut app, &mut simulated, 12);
    compare("operations-done", &mut app);
    act(&mut app, &mut simulated, ":drain n1\n");
    app.theme.ascii = true;
    compare("plan-ascii", &mut app);
}

#[test]
fn what_was_is_shown_on_a_line_of_time_that_says_where_something_happened() {
    let (mut app, simulated, _) = console(200, Theme::default());
    press(&mut app, &simulated, " ");
    compare("frozen", &mut app);
    press(&mut app, &simulated, "4t-90s\n{");
    compare("stepped-back", &mut app);
    press(&mut app, &simulated, "t99");
    compare("time", &mut app);
    press(&mut app, &simulated, "\n");
    compare("no-time", &mut app);
    let mut app = App::new(Theme { ascii: true, ..Theme::default() });
    app.replay("4".parse().unwrap());
    compare("replay-reading", &mut app);
    let (_, mut simulated, _) = console(0, Theme::default());
    let mut recorder = Recorder::default();
    for second in 0..120 {
        simulated.step();
        let told = Told::Snapshot(simulated.shared());
        let record = recorder.take(&told, UptimeMs(second * 1_000)).unwrap();
        app.update(Message::Told(Told::Kept(record)), UptimeMs(500));
    }
    app.update(Message::Tick, UptimeMs(20_500));
    compare("replay-ascii", &mut app);
}

#[test]
fn a_cluster_in_production_says_so_and_is_locked() {
    let (mut app, simulated, now) = console(60, Theme::default());
    app.sent = Sent {
        context: Some("prod-eu".to_owned()),
        is_production: true,
        colour: Some("red".parse().unwrap()),
    };
    app.guard = Guard::new(true);
    compare("production", &mut app);
    press(&mut app, &simulated, ":rw\n");
    app.update(Message::Tick, UptimeMs(now.0 + 61_000));
    compare("production-unlocked", &mut app);
}

#[test]
fn a_mouse_that_is_taken_is_in_the_footer() {
    let (mut app, simulated, _) = console(60, Theme::default());
    press(&mut app, &simulated, "2m");
    compare("mouse", &mut app);
}

#[test]
fn help_names_every_key() {
    let (mut app, simulated, _) = console(60, Theme::default());
    press(&mut app, &simulated, "?");
    compare("help", &mut app);
}

#[test]
fn the_pictures_of_the_readme_are_what_the_program_writes() {
    let places = [
        ("overview.svg", Place::Screen(Screen::Overview), ""),
        ("leases.svg", Place::Screen(Screen::Leases), ""),
        ("chain.svg", Place::Partition(partition("clicks", 1)), ""),
        ("plan.svg", Place::Screen(Screen::Overview), ":drain n2\nn"),
    ];
    for (file, place, keys) in places {
        let theme = Theme { colors: Colors::True, ascii: false };
        let mut app = App::new(theme);
        app.places = vec![Place::Screen(Screen::Topics), place];
        if matches!(app.place(), Place::Screen(_)) {
            app.places.remove(0);
        }
        let mut simulated = Simulated::new(7, Size::default());
        once::play(&mut app, &mut simulated, once::DEMO_SECONDS, None).unwrap();
        act(&mut app, &mut simulated, keys);
        let picture = once::svg::svg(&once::picture(&mut app, (120, 32)));
        let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "pictures", file].iter().collect();
        assert!(
            std::fs::read_to_string(path).is_ok_and(|kept| kept == picture),
            "walrus-tui/pictures/draw makes {file} anew"
        );
    }
}

#[test]
fn the_keys_of_the_readme_are_those_of_the_program() {
    let readme: PathBuf = [env!("CARGO_MANIFEST_DIR"), "..", "README.md"].iter().collect();
    let readme = std::fs::read_to_string(readme).expect("the checkout is whole");
    let table = Keymap::default().markdown();
    assert!(readme.contains(&table), "walrus-tui keys writes the table anew:\n{table}");
}

#[test]
fn a_recording_of_what_is_made_up_shows_what_the_readme_shows() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("demo.rec");
    let file = Mutex::new(Writer::create(&path).unwrap());
    let mut simulated = Simulated::new(7, Size::default());
    let mut live = App::new(Theme::default());
    once::play(&mut live, &mut simulated, once::DEMO_SECONDS, Some(&file)).unwrap();
    let mut app = App::new(Theme { colors: Colors::True, ascii: false });
    app.places = vec![Place::Screen(Screen::Leases)];
    app.replay("1".parse().unwrap());
    let mut recording = Replay::open(&path).unwrap();
    once::at(&mut app, &mut recording, Some("12:40:50")).unwrap();
    let picture = once::svg::svg(&once::picture(&mut app, (120, 32)));
    let kept: PathBuf = [env!("CARGO_MANIFEST_DIR"), "pictures", "replay.svg"].iter().collect();
    assert!(
        std::fs::read_to_string(kept).is_ok_and(|kept| kept == picture),
        "walrus-tui/pictures/draw makes replay.svg anew"
    );
}

#[test]
fn no_node_that_answers_is_a_screen() {
    let mut app = App::new(Theme::default());
    let why = "127.0.0.1:7071: connection refused".to_owned();
    app.update(Message::Told(Told::Lost { why, next_at: UptimeMs(2_500) }), UptimeMs(1_000));
    compare("nobody", &mut app);
}

#[test]
fn a_cluster_that_is_lost_stays_on_the_screen_with_its_age() {
    let (mut app, _, now) = console(60, Theme { ascii: true, ..Theme::default() });
    let now = UptimeMs(now.0 + 12_000);
    let why = "127.0.0.1:7071: connection refused".to_owned();
    app.update(Message::Told(Told::Lost { why, next_at: UptimeMs(now.0 + 4_000) }), now);
    compare("lost-ascii", &mut app);
}
