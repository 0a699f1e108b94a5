//! What is kept comes back: a recording shows what was shown, whatever was done to its bytes it
//! ends where they end, and a picture that is held and let go on is the one it would have been.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::buffer::Buffer;
use walrus_tui::{
    app::{App, Effect, Message},
    once,
    source::{
        Told,
        record::{
            Kind, RING_BYTES_MAX, RING_SPAN_MS, Record, Recorder, Tape, WHOLE_EVERY_MS,
            file::Writer,
            format::{self, Broken, Reader},
            tape::Ended,
        },
        replay::Replay,
        simulated::{Simulated, Size},
    },
    ui::theme::{Colors, Theme},
};
use walrus_types::{UptimeMs, chance::Chance};

const SIZE: (u16, u16) = (120, 40);
const THEME: Theme = Theme { colors: Colors::True, ascii: false };

/// A console, a cluster, and what is kept of it.
struct Live {
    app: App,
    simulated: Simulated,
    recorder: Recorder,
    file: Vec<u8>,
    now: UptimeMs,
}

impl Live {
    fn new(seed: u64) -> Self {
        Self {
            app: App::new(THEME),
            simulated: Simulated::new(seed, Size::default()),
            recorder: Recorder::default(),
            file: format::file_head().to_vec(),
            now: UptimeMs(0),
        }
    }

    fn told(&mut self, told: Told) {
        let record = self.recorder.take(&told, self.now).expect("it is small");
        format::write(&record, &mut self.file).expect("a Vec takes all");
        drop(self.app.update(Message::Told(told), self.now));
        drop(self.app.update(Message::Told(Told::Kept(record)), self.now));
    }

    fn second(&mut self) {
        self.now.0 += 1_000;
        self.simulated.step();
        self.told(Told::Snapshot(self.simulated.shared()));
        if let Effect::Ask(wish) = self.app.ask()
            && let Some(also) = wish.also
        {
            self.told(self.simulated.tell(&also));
        }
    }

    fn press(&mut self, keys: &str) {
        for key in keys.chars() {
            press(&mut self.app, key, self.now);
        }
    }
}

fn press(app: &mut App, key: char, now: UptimeMs) {
    let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
    drop(app.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)), now));
}

/// All that is between the header and the footer, so high.
fn body(app: &mut App, (columns, rows): (u16, u16)) -> Vec<ratatui::buffer::Cell> {
    let more = u16::from(app.past.is_some());
    let picture: Buffer = once::picture(app, (columns, rows + more));
    let cells = |y: u16| (0..columns).map(move |x| (x, y));
    (1..rows - 1).flat_map(cells).map(|at| picture[at].clone()).collect()
}

/// A console that has read a recording, and holds its beginning.
fn replayed(bytes: &[u8]) -> App {
    let mut app = App::new(THEME);
    app.replay("1".parse().expect("a speed"));
    let mut replay = Replay::new(bytes).expect("its head is right");
    while app.ended().is_none() {
        drop(app.update(Message::Told(replay.next_told()), UptimeMs(0)));
    }
    app
}

/// Every place that is recorded with keys that lead there, and what it is called at the top.
const PLACES: [&str; 9] = ["1", "2j", "3/ord\nsj", "4", "5", "6", "7", "8", "3/orders/1\n\n"];

#[test]
fn a_recording_shows_cell_for_cell_what_was_shown_at_that_moment() {
    for keys in PLACES {
        let mut live = Live::new(7);
        live.second();
        live.press(keys);
        let mut shown = Vec::new();
        for _ in 0..WHOLE_EVERY_MS / 1_000 + 40 {
            live.second();
            shown.push((live.now, body(&mut live.app, SIZE)));
        }
        let mut app = replayed(&live.file);
        let mut clock = 0;
        press(&mut app, ' ', UptimeMs(clock));
        keys.chars().for_each(|key| press(&mut app, key, UptimeMs(clock)));
        // One by one to the end, back again, and here and there.
        let last = shown.len() - 1;
        let jumps = [3, last, 0, last / 2, last / 2 + 1, 60, 59];
        let path = (0..=last).chain((0..last).rev()).chain(jumps);
        for at in path {
            clock += 7;
            let (when, expected) = &shown[at];
            let to = format!("t{}", time_from(&app, *when));
            to.chars().chain(['\n']).for_each(|key| press(&mut app, key, UptimeMs(clock)));
            assert_eq!(app.now, *when, "{keys:?} {at}: {:?}", app.says());
            // What was told beside the cluster came a moment later: one record further.
            let is = body(&mut app, SIZE);
            let differs = is.iter().zip(expected).position(|(one, other)| one != other);
            if let Some(cell) = differs {
                let picture = once::text(&once::picture(&mut app, (SIZE.0, SIZE.1 + 1)));
                panic!("{keys:?} at {when:?}, cell {cell}:\n{picture}");
            }
        }
    }
}

/// What is typed to go from what is shown to a moment.
fn time_from(app: &App, when: UptimeMs) -> String {
    if when >= app.now {
        format!("+{}", when.since(app.now) / 1_000)
    } else {
        format!("-{}", app.now.since(when) / 1_000)
    }
}

#[test]
fn steps_go_from_sample_to_sample_and_from_event_to_event() {
    let mut live = Live::new(7);
    for _ in 0..100 {
        live.second();
    }
    let mut app = replayed(&live.file);
    let mut step = |key: char| {
        press(&mut app, key, UptimeMs(0));
        app.now
    };
    assert_eq!([step(']'), step(']')], [2_000, 3_000].map(UptimeMs), "the first is shown");
    assert_eq!([step('['), step('[')], [2_000, 1_000].map(UptimeMs));
    assert_eq!(step('['), UptimeMs(1_000), "there is none before the first");
    let mut marked = Vec::new();
    loop {
        let at = step('}');
        if marked.last() == Some(&at) {
            break;
        }
        marked.push(at);
    }
    let mut reader = Reader::new(&live.file[..]).unwrap();
    let mut expected = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        expected.extend(record.mark.map(|_| record.at));
    }
    assert!(expected.len() > 10, "something happens");
    assert_eq!(marked, expected);
    assert_eq!(step('{'), expected[expected.len() - 2]);
    assert_eq!(step('L'), UptimeMs(100_000), "the end");
}

#[test]
fn the_past_is_played_at_any_speed_and_stands_at_the_end() {
    let mut live = Live::new(7);
    for _ in 0..20 {
        live.second();
    }
    let mut app = replayed(&live.file);
    let at = |app: &mut App, clock: u64| {
        drop(app.update(Message::Tick, UptimeMs(clock)));
        app.now.0
    };
    assert_eq!([at(&mut app, 0), at(&mut app, 500), at(&mut app, 2_000)], [1_000, 1_500, 3_000]);
    press(&mut app, '>', UptimeMs(2_000));
    press(&mut app, '>', UptimeMs(2_000));
    assert_eq!(at(&mut app, 3_000), 7_000, "four times as fast");
    let header = once::text(&once::picture(&mut app, SIZE));
    assert!(header.lines().next().unwrap().contains("⟲ REPLAY ×4 12:40:07"), "{header}");
    press(&mut app, ' ', UptimeMs(3_000));
    assert_eq!(at(&mut app, 9_000), 7_000, "held");
    assert!(once::text(&once::picture(&mut app, SIZE)).contains("❚❚ FROZEN 12:40:07"));
    press(&mut app, ' ', UptimeMs(9_000));
    assert_eq!(at(&mut app, 10_000), 11_000);
    assert_eq!((at(&mut app, 99_000), app.is_held()), (20_000, true));
}

#[test]
fn what_comes_while_the_picture_is_held_is_kept_and_counted() {
    let mut live = Live::new(7);
    let mut never_held = Live::new(7);
    for _ in 0..10 {
        live.second();
        never_held.second();
    }
    let before = body(&mut live.app, SIZE);
    live.press(" ");
    for _ in 0..34 {
        live.second();
        never_held.second();
    }
    assert!(body(&mut live.app, SIZE) == before, "a held picture does not change");
    let header = once::text(&once::picture(&mut live.app, SIZE));
    assert!(header.contains("❚❚ FROZEN 12:40:10 (+34 came)"), "{header}");
    live.press("[[[");
    assert_eq!(live.app.now, UptimeMs(7_000));
    assert!(body(&mut live.app, SIZE) != before, "another moment is another picture");
    live.press("L");
    assert!(live.app.past.is_none());
    assert!(body(&mut live.app, SIZE) == body(&mut never_held.app, SIZE), "as if never held");
    // Played from a step back, faster than time, it comes to what is now by itself.
    live.press("[[[[>> ");
    live.now.0 += 3_000;
    drop(live.app.update(Message::Tick, live.now));
    assert!(live.app.past.is_none(), "it has caught up");
}

#[test]
fn a_ring_keeps_half_an_hour_and_no_more_than_its_bytes_and_begins_with_what_is_whole() {
    // A text that no compression makes shorter, told each second: none, or a quarter of a MiB.
    for (noise, seconds) in [(0, 2_400), (256 << 10, 300)] {
        let mut simulated = Simulated::new(1, Size::default());
        let (mut recorder, mut tape) = (Recorder::default(), Tape::ring());
        let mut chance = Chance::seeded(9);
        let mut most = 0;
        for second in 0..seconds {
            let now = UptimeMs(second * 1_000);
            simulated.step();
            let why = (0..noise)
                .map(|_| u8::try_from(chance.below(64)).unwrap() + b'0')
                .map(char::from)
                .collect();
            let all = [Told::Snapshot(simulated.shared()), Told::Lost { why, next_at: now }];
            for told in all {
                tape.push(recorder.take(&told, now).unwrap());
                most = most.max(tape.bytes());
                let first = tape.get(tape.first()).unwrap();
                assert_eq!(first.kind, Kind::Whole, "at {second}");
            }
        }
        let sum: usize = tape.records().map(Record::bytes).sum();
        assert_eq!(sum, tape.bytes());
        assert!(most <= RING_BYTES_MAX, "{most} bytes");
        let at = |number: u64| tape.get(number).unwrap().at;
        let spans = at(tape.last().unwrap()).since(at(tape.first()));
        println!("{noise} bytes of noise: {} KiB for {} s", tape.bytes() >> 10, spans / 1_000);
        if noise == 0 {
            assert!((RING_SPAN_MS..RING_SPAN_MS + 2 * WHOLE_EVERY_MS).contains(&spans), "{spans}");
        } else {
            assert!(most > RING_BYTES_MAX * 9 / 10, "only {most} bytes of what there is room for");
        }
    }
}

#[test]
fn a_chain_that_was_looked_at_then_is_shown_wherever_one_goes_in_time() {
    let mut live = Live::new(7);
    live.second();
    for keys in [":orders/1\n", ":clicks/1\n"] {
        live.press(keys);
        (0..100).for_each(|_| live.second());
    }
    let mut app = replayed(&live.file);
    let mut go = |keys: &str| {
        keys.chars().for_each(|key| press(&mut app, key, UptimeMs(0)));
        once::text(&once::picture(&mut app, SIZE))
    };
    assert!(go(" :clicks/1\n").contains("nothing of it was kept up to here"));
    let picture = go("t+190\n");
    assert!(picture.contains("clicks/1  led by"), "{picture}");
    // What was told of it last is as old as it is.
    for keys in [":orders/1\n", "t-20\n", "t-40\n", "t+50\n"] {
        let picture = go(keys);
        assert!(
            picture.contains("orders/1  led by") && picture.contains(" old ─"),
            "{keys:?}:\n{picture}"
        );
    }
    assert!(!go("t-150\n").contains(" old ─"), "it was looked at then");
}

#[test]
fn a_recording_that_is_cut_off_plays_up_to_there_and_says_so() {
    let mut live = Live::new(3);
    for _ in 0..5 {
        live.second();
    }
    let mut ends = vec![14];
    let mut reader = Reader::new(&live.file[..]).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        let mut bytes = Vec::new();
        format::write(&record, &mut bytes).unwrap();
        ends.push(ends.last().unwrap() + bytes.len());
    }
    for length in 14..live.file.len() {
        let cut = &live.file[..length];
        let mut reader = Reader::new(cut).unwrap();
        let mut whole = 0;
        let end = loop {
            match reader.next_record() {
                Ok(Some(_)) => whole += 1,
                end => break end,
            }
        };
        let expected = ends.iter().rposition(|end| *end <= length).unwrap();
        assert_eq!(whole, expected, "cut to {length} bytes");
        let at = u64::try_from(ends[expected]).unwrap();
        match ends.contains(&length) {
            true => assert!(matches!(end, Ok(None)), "{length}"),
            false => assert_eq!(end.unwrap_err(), Broken::CutOff { at }, "{length}"),
        }
    }
    let mut app = replayed(&live.file[..live.file.len() - 1]);
    press(&mut app, 'L', UptimeMs(0));
    assert_eq!(app.now, UptimeMs(4_000));
    assert!(matches!(app.ended(), Some(Ended::Short(why)) if why.contains("cut off")));
    let picture = once::text(&once::picture(&mut app, SIZE));
    assert!(picture.contains("it is cut off at byte"), "{picture}");
}

#[test]
fn a_recording_of_a_later_version_is_refused_by_name() {
    let mut head = format::file_head();
    head[8] = 7;
    let checksum = crc_fast::crc32_iscsi(&head[..10]);
    head[10..].copy_from_slice(&checksum.to_le_bytes());
    let why = Reader::new(&head[..]).unwrap_err();
    assert_eq!(why, Broken::Newer { found: 7 });
    assert!(why.to_string().contains("version 7"), "{why}");
    for none in [&b""[..], b"WALRUSR", b"asciicast version 2, or so", &[0; 14]] {
        assert_eq!(Reader::new(none).unwrap_err(), Broken::NoRecording, "{none:?}");
    }
}

#[test]
fn a_byte_that_is_another_is_found() {
    let mut live = Live::new(3);
    for _ in 0..2 {
        live.second();
    }
    for at in (0..live.file.len()).step_by(11) {
        let mut bytes = live.file.clone();
        bytes[at] ^= 0x10;
        let whole = Reader::new(&bytes[..]).and_then(|mut reader| {
            let mut whole = 0;
            while reader.next_record()?.is_some() {
                whole += 1;
            }
            Ok(whole)
        });
        assert!(whole.is_err(), "byte {at}: {whole:?}");
    }
}

#[test]
fn a_file_that_is_there_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("some.rec");
    let mut live = Live::new(3);
    let mut writer = Writer::create(&path).unwrap();
    live.second();
    let told = Told::Snapshot(live.simulated.shared());
    writer.push(&Recorder::default().take(&told, UptimeMs(9)).unwrap()).unwrap();
    Writer::create(&path).unwrap_err();
    let mut replay = Replay::open(&path).unwrap();
    assert!(matches!(replay.next_told(), Told::Kept(record) if record.at == UptimeMs(9)));
    assert!(matches!(replay.next_told(), Told::Ended(Ended::Whole)));
    let why = Replay::open(&folder.path().join("none")).unwrap_err();
    assert!(why.contains("none: No such file"), "{why}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_bytes_a_file_has_it_is_read_to_an_end_and_shown(
        bytes in prop::collection::vec(any::<u8>(), 0..600),
        bodies in prop::collection::vec((0_u8..6, 0_u8..6, any::<u64>(), prop::collection::vec(any::<u8>(), 0..60), any::<bool>()), 0..8),
    ) {
        // Bytes of no meaning, then records whose checksums are right and whose bodies are not.
        let mut file = format::file_head().to_vec();
        for (kind, mark, at, body, is_json) in bodies {
            let body = match is_json {
                true => zstd::stream::encode_all(&br#"{"Snapshot":{"cluster":1}}"#[..], 1).unwrap(),
                false => body,
            };
            let mut inner = vec![kind, mark];
            inner.extend(at.to_le_bytes());
            inner.extend(at.rotate_left(9).to_le_bytes());
            inner.extend(body);
            file.extend(u32::try_from(inner.len()).unwrap().to_le_bytes());
            file.extend(crc_fast::crc32_iscsi(&inner).to_le_bytes());
            file.extend(inner);
        }
        file.extend(&bytes);
        let mut app = replayed(&file);
        for (step, key) in "]]}[{L>>t+5m\n<[ ".chars().enumerate() {
            let now = UptimeMs(u64::try_from(step).unwrap() * 300);
            press(&mut app, key, now);
            drop(once::picture(&mut app, (80, 24)));
        }
        if let Ok(mut reader) = Reader::new(&bytes[..]) {
            while let Ok(Some(_)) = reader.next_record() {}
        }
    }
}
