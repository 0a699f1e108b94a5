//! Ways to other moments that take a while are gone elsewhere: meanwhile the picture says so, keys
//! work, and at the end is what would be there had it been gone at once.

use std::collections::VecDeque;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use walrus_tui::{
    app::{App, Effect, Message, travel::Travel},
    once,
    source::{
        Told,
        record::Recorder,
        simulated::{Simulated, Size},
    },
    ui::theme::{Colors, Theme},
};
use walrus_types::UptimeMs;

const SIZE: (u16, u16) = (120, 40);

/// A console, its cluster, and the ways that it left to somebody.
struct Live {
    app: App,
    simulated: Simulated,
    recorder: Recorder,
    travels: VecDeque<Box<Travel>>,
    now: UptimeMs,
}

impl Live {
    /// Of a console that leaves ways of more bytes to somebody, and has run for a while.
    fn new(at_once_max: usize, seconds: u64) -> Self {
        let mut app = App::new(Theme { colors: Colors::True, ascii: false });
        app.travels.at_once_max = at_once_max;
        let simulated = Simulated::new(7, Size::default());
        let (recorder, now) = (Recorder::default(), UptimeMs(0));
        let mut live = Self { app, simulated, recorder, travels: VecDeque::new(), now };
        (0..seconds).for_each(|_| live.second());
        live
    }

    fn happens(&mut self, message: Message) {
        for effect in self.app.update(message, self.now) {
            match effect {
                Effect::Travel(travel) => self.travels.push_back(travel),
                Effect::Ask(wish) => {
                    if let Some(also) = &wish.also {
                        self.told(self.simulated.tell(also));
                    }
                }
                _ => {}
            }
        }
    }

    fn told(&mut self, told: Told) {
        let record = self.recorder.take(&told, self.now).expect("it is small");
        self.happens(Message::Told(told));
        self.happens(Message::Told(Told::Kept(record)));
    }

    fn second(&mut self) {
        self.now.0 += 1_000;
        self.simulated.step();
        self.told(Told::Snapshot(self.simulated.shared()));
    }

    fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
            self.happens(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)));
        }
    }

    /// Whether there was a way to be gone; it is.
    fn arrive(&mut self) -> bool {
        let Some(travel) = self.travels.pop_front() else { return false };
        self.happens(Message::Arrived(Box::new(travel.arrive())));
        true
    }

    fn picture(&mut self) -> String {
        once::text(&once::picture(&mut self.app, SIZE))
    }

    fn header(&mut self) -> String {
        self.picture().lines().next().expect("a header").to_owned()
    }
}

#[test]
fn while_a_way_is_gone_the_picture_says_so_and_keys_work() {
    let mut live = Live::new(0, 100);
    let now = live.picture();
    live.press("[");
    assert!(live.header().contains("⟲ GOING BACK to 12:41:39"), "{}", live.header());
    let lines = |picture: &str| picture.lines().skip(1).take(30).map(str::to_owned).collect();
    let (before, meanwhile): (Vec<_>, Vec<_>) = (lines(&now), lines(&live.picture()));
    assert_eq!(before, meanwhile, "what is shown stays");
    live.press("4");
    assert!(live.picture().contains("Every partition"), "another screen");
    live.press("[[[");
    live.second();
    assert!(live.header().contains("GOING BACK to 12:41:36 (+1 came)"), "{}", live.header());
    assert_eq!(live.travels.len(), 1, "one way at a time");
    assert!(live.arrive());
    assert!(live.header().contains("GOING BACK to 12:41:36"), "{}", live.header());
    assert!(live.arrive() && !live.arrive());
    assert!(live.header().contains("FROZEN 12:41:36"), "{}", live.header());
    assert_eq!(live.app.now, UptimeMs(96_000));
    live.press("t+2\n");
    assert!(live.header().contains("GOING ON to 12:41:38"), "{}", live.header());
}

#[test]
fn who_goes_back_to_now_meanwhile_is_not_taken_away_again() {
    let mut live = Live::new(0, 70);
    live.press("[[");
    live.press("L");
    let (now, before) = (live.app.now, live.picture());
    assert!(live.header().contains("LIVE"), "{}", live.header());
    while live.arrive() {}
    assert_eq!((live.app.now, live.picture()), (now, before));
    // The next way is another one: what arrives late from the first is none of it.
    live.press("[[");
    let late = live.travels.pop_front().expect("a way");
    live.press("L[");
    live.happens(Message::Arrived(Box::new(late.arrive())));
    assert!(live.header().contains("GOING BACK"), "{}", live.header());
    while live.arrive() {}
    assert!(live.header().contains("FROZEN 12:41:09"), "{}", live.header());
}

#[test]
fn the_past_that_is_played_waits_for_its_way_and_goes_on_from_there() {
    let mut live = Live::new(0, 60);
    live.press("[[[[[[ ");
    assert!(live.header().contains("GOING BACK"), "{}", live.header());
    live.now.0 += 3_000;
    live.happens(Message::Tick);
    assert!(live.header().contains("GOING BACK"), "{}", live.header());
    while live.arrive() {}
    let at = live.app.now;
    assert!(live.header().contains("REPLAY"), "{}", live.header());
    live.now.0 += 2_000;
    live.happens(Message::Tick);
    while live.arrive() {}
    assert_eq!(live.app.now, UptimeMs(at.0 + 2_000));
}

#[test]
fn a_held_picture_is_drawn_for_the_first_few_that_came_and_then_for_every_tenth() {
    let mut live = Live::new(0, 20);
    let lost = Told::Lost { why: "gone".to_owned(), next_at: UptimeMs(0) };
    let snapshot = |live: &Live| Told::Snapshot(live.simulated.shared());
    let record = |live: &mut Live| Told::Kept(live.recorder.take(&lost, live.now).unwrap());
    let kept = record(&mut live);
    assert!(live.app.is_seen(&snapshot(&live)) && live.app.is_seen(&lost));
    assert!(!live.app.is_seen(&kept), "what it is of was seen");
    live.press(" ");
    let mut drawn = Vec::new();
    for came in 1..=40 {
        if live.app.is_seen(&snapshot(&live)) {
            drawn.push(came);
        }
        assert!(!live.app.is_seen(&kept) && !live.app.is_seen(&lost), "{came}");
        live.second();
    }
    assert_eq!(drawn, [1, 2, 3, 10, 20, 30, 40]);
}

/// What somebody does.
fn steps() -> impl Strategy<Value = Vec<(&'static str, bool)>> {
    let keys = [
        "[",
        "[[[",
        "]",
        "{",
        "}",
        "}}",
        "t-40\n",
        "t+15\n",
        "t12:40:30\n",
        "1",
        "4",
        "3jj",
        "8",
        "3\n",
        "q",
        ":orders/1\n",
        "7",
    ];
    prop::collection::vec((prop::sample::select(keys.to_vec()), any::<bool>()), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn a_way_that_is_gone_elsewhere_ends_where_it_does_when_it_is_gone_at_once(
        steps in steps(),
        at_once_max in prop::sample::select(vec![0_usize, 5_000, 40_000]),
    ) {
        let mut here = Live::new(usize::MAX, 90);
        let mut elsewhere = Live::new(at_once_max, 90);
        for live in [&mut here, &mut elsewhere] {
            live.press(" ");
        }
        for (keys, arrives) in steps {
            here.press(keys);
            elsewhere.press(keys);
            prop_assert!(here.travels.is_empty(), "nobody is asked");
            if arrives {
                while elsewhere.arrive() {}
            }
        }
        while elsewhere.arrive() {}
        // A list that was on the screen on the way has its first row chosen of another moment.
        for live in [&mut here, &mut elsewhere] {
            live.press("1");
            while live.arrive() {}
        }
        prop_assert_eq!(here.app.now, elsewhere.app.now);
        prop_assert_eq!(here.picture(), elsewhere.picture());
        for live in [&mut here, &mut elsewhere] {
            live.press("5");
            live.press(":orders/1\n");
            while live.arrive() {}
        }
        prop_assert_eq!(here.picture(), elsewhere.picture());
    }
}
