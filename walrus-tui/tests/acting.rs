//! Changing the cluster from the console: what is asked of it by which keys, and when nothing is.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use walrus_admin::{
    ApiError, Code,
    operation::OperationState,
    plan::{Place as Part, ROLLOVER_PER_MINUTE, Wanted, Which},
};
use walrus_tui::{
    app::{
        App, Effect, Message, Place,
        doing::{Act, Acted, Doing},
        guard::Guard,
    },
    once,
    screen::Screen,
    source::{
        Told,
        simulated::{Simulated, Size},
    },
    ui::theme::Theme,
};
use walrus_types::{NodeId, PartitionIndex, UptimeMs};

struct World {
    app: App,
    simulated: Simulated,
    now: UptimeMs,
}

impl World {
    fn new() -> Self {
        let (app, simulated) = (App::new(Theme::default()), Simulated::new(7, Size::default()));
        let mut world = Self { app, simulated, now: UptimeMs(0) };
        world.seconds(20);
        world
    }

    fn seconds(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now = UptimeMs(self.now.0 + 1_000);
            self.simulated.step();
            let told = Told::Snapshot(self.simulated.shared());
            drop(self.app.update(Message::Told(told), self.now));
        }
    }

    /// Presses keys; what the cluster is asked for is answered by it, and told here.
    fn press(&mut self, keys: &str) -> Vec<Act> {
        let mut asked = Vec::new();
        for key in keys.chars() {
            let code = match key {
                '\n' => KeyCode::Enter,
                '\x1b' => KeyCode::Esc,
                '→' => KeyCode::Right,
                key => KeyCode::Char(key),
            };
            let event = Message::Key(KeyEvent::new(code, KeyModifiers::NONE));
            for effect in self.app.update(event, self.now) {
                if let Effect::Act(act) = effect {
                    let acted = self.simulated.act(&act);
                    drop(self.app.update(Message::Acted(acted), self.now));
                    asked.push(act);
                }
            }
        }
        asked
    }

    fn plan_is_shown(&self) -> bool {
        matches!(self.app.doing, Some(Doing::Agreeing(_)))
    }
}

fn node(id: i32) -> NodeId {
    NodeId(id)
}

fn rollover(topic: &str, partition: Option<i32>) -> Wanted {
    let part = Part { topic: topic.to_owned(), partition: partition.map(PartitionIndex) };
    Wanted::Rollover { which: Which::These(vec![part]), per_minute: ROLLOVER_PER_MINUTE }
}

#[test]
fn what_is_chosen_or_typed_is_planned_first() {
    let all = |which| Wanted::Rollover { which, per_minute: ROLLOVER_PER_MINUTE };
    for (keys, wanted) in [
        ("2ja\n", all(Which::LedBy(node(2)))),
        ("2jaj\n", Wanted::TransferRaft { to: node(2) }),
        ("2jajj\n", Wanted::Drain { node: node(2) }),
        ("2jajjj\n", Wanted::Remove { node: node(2) }),
        ("2jajjjjjjkkk\n", all(Which::LedBy(node(2)))),
        ("3/orders/3\na\n", rollover("orders", Some(3))),
        ("3/orders/3\n\na\n", rollover("orders", Some(3))),
        ("3/orders/3\n\naj\n", rollover("orders", None)),
        ("5a\n", Wanted::TransferRaft { to: node(2) }),
        (":drain n3\n", Wanted::Drain { node: node(3) }),
        (":drain 3\n", Wanted::Drain { node: node(3) }),
        (":undrain n3\n", Wanted::Undrain { node: node(3) }),
        (":remove n3\n", Wanted::Remove { node: node(3) }),
        (":transfer n3\n", Wanted::TransferRaft { to: node(3) }),
        (":rollover all\n", all(Which::All)),
        (":rollover n3\n", all(Which::LedBy(node(3)))),
        (":rollover orders\n", rollover("orders", None)),
        (":rollover orders/2\n", rollover("orders", Some(2))),
    ] {
        let mut world = World::new();
        assert_eq!(world.press(keys), [Act::Plan(wanted)], "{keys:?}");
        assert!(world.plan_is_shown(), "{keys:?}");
        assert_eq!(world.press("\x1b"), []);
        assert!(world.app.doing.is_none());
    }
}

#[test]
fn nothing_is_asked_for_where_nothing_is_chosen_or_meant() {
    for keys in [
        "1a\n",
        "6a\n",
        "9a\n",
        "0a\n",
        "7a\n",
        ":drain\n",
        ":drain all\n",
        ":rollover nope\n",
        ":cancel 9\n",
    ] {
        let mut world = World::new();
        assert_eq!(world.press(keys), [], "{keys:?}");
        assert!(world.app.doing.is_none(), "{keys:?}");
    }
}

#[test]
fn nothing_is_asked_for_without_leave() {
    for (keys, part) in [
        (":ro\n:drain n2\n", "read-only"),
        (":ro\n2a", "read-only"),
        (" :drain n2\n", "not what is now"),
        (" 2a", "not what is now"),
    ] {
        let mut world = World::new();
        assert_eq!(world.press(keys), [], "{keys:?}");
        assert!(world.app.doing.is_none(), "{keys:?}");
        assert!(
            world.app.says().is_some_and(|says| says.contains(part)),
            "{keys:?}: {:?}",
            world.app.says()
        );
    }
    // What was read for too long is of what was.
    let mut world = World::new();
    world.press(":drain n2\nn2");
    world.now = UptimeMs(world.now.0 + 60_000);
    assert_eq!(world.press("\n"), []);
    assert!(world.app.says().is_some_and(|says| says.contains("nothing was done")));
    // A lock that shuts meanwhile.
    let mut world = World::new();
    world.press(":drain n2\nn2");
    world.app.guard = Guard::new(true);
    assert_eq!(world.press("\n"), []);
}

#[test]
fn a_drain_is_agreed_to_by_name_begun_and_followed_to_its_end() {
    let mut world = World::new();
    world.press(":drain n2\n");
    let Some(Doing::Agreeing(agreeing)) = &world.app.doing else { panic!("{:?}", world.app.doing) };
    let plan = agreeing.plan.id;
    assert_eq!(world.press("n1\n"), [], "another name");
    assert!(world.plan_is_shown());
    drop(world.app.update(Message::Paste("n2".into()), world.now));
    assert_eq!(world.press("\n"), [], "a paste types nothing");
    for _ in 0..2 {
        let back = Message::Key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE));
        drop(world.app.update(back, world.now));
    }
    let confirm = Some("n2".to_owned());
    assert_eq!(world.press("n2\n"), [Act::Run { plan, confirm }]);
    assert!(world.app.doing.is_none());
    assert_eq!(world.app.place(), &Place::Screen(Screen::Operations));
    world.seconds(1);
    let shows = once::text(&once::picture(&mut world.app, (160, 40)));
    assert!(shows.contains("drain") && shows.contains("running"), "{shows}");
    world.seconds(20);
    let shows = once::text(&once::picture(&mut world.app, (160, 40)));
    assert!(shows.contains("done"), "{shows}");
}

#[test]
fn an_operation_that_runs_is_taken_back_and_one_that_ended_is_not() {
    let mut world = World::new();
    world.press(":rollover all\n→\n");
    world.seconds(1);
    let id = world.simulated.snapshot().operations.unwrap()[0].id;
    assert_eq!(world.press("a\n"), [Act::Cancel(id)]);
    world.seconds(1);
    let state = world.simulated.snapshot().operations.unwrap()[0].state;
    assert_eq!(state, OperationState::Cancelled);
    assert_eq!(world.press("a\n"), []);
}

#[test]
fn what_the_cluster_refuses_is_shown_with_its_next_step() {
    let mut world = World::new();
    let key = |code| Message::Key(KeyEvent::new(code, KeyModifiers::NONE));
    for c in ":drain n2".chars() {
        drop(world.app.update(key(KeyCode::Char(c)), world.now));
    }
    drop(world.app.update(key(KeyCode::Enter), world.now));
    let refused = ApiError::new(Code::Unavailable, "nobody leads").hint("ask again in a moment");
    drop(world.app.update(Message::Acted(Acted::Planned(Err(refused))), world.now));
    let shows = once::text(&once::picture(&mut world.app, (100, 30)));
    assert!(shows.contains("nobody leads") && shows.contains("ask again in a moment"), "{shows}");
    assert_eq!(world.press("\n"), []);
    assert!(world.app.doing.is_none());
}
