//! Forecasts against what happens: a partition that grows steadily is played with the rules that roll
//! and prune it.

use walrus_types::{Epoch, Offset, TimestampMs};

use super::{ALL, LIMITS, MINUTE, NOW, S, World, world};
use crate::{
    backlog::Goes,
    retention::{self, Keep, Segment},
};

/// Between two looks of the monitor.
const STEP_MS: i64 = 100;
const RECORD_BYTES: u64 = 10;
/// How long a partition is played.
const PLAYED_MS: i64 = 900_000;

/// A chain that grows.
struct Played {
    sealed: Vec<Segment>,
    open: Segment,
    first_at: Option<i64>,
    log_start: Offset,
    keep: Keep,
}

impl Played {
    fn append(&mut self, now: i64) {
        self.open.end = self.open.end.plus(1);
        self.open.bytes += RECORD_BYTES;
        self.open.max_timestamp = TimestampMs(now);
        self.first_at.get_or_insert(now);
    }

    fn roll(&mut self) {
        let next = Segment {
            epoch: self.open.epoch.next(),
            base: self.open.end,
            bytes: 0,
            max_timestamp: TimestampMs::NONE,
            ..self.open
        };
        self.sealed.push(std::mem::replace(&mut self.open, next));
        self.first_at = None;
    }

    /// One look: rolls and prunes what is due, and answers what went.
    fn look(&mut self, now: i64) -> Vec<Epoch> {
        let age_ms = self.first_at.map_or(0, |first| (now - first).unsigned_abs());
        let entries = self.open.end.since(self.open.base);
        if LIMITS.reached(self.open.bytes, entries, age_ms).is_some() {
            self.roll();
        }
        let mut gone = Vec::new();
        loop {
            let (open, now) = (Some(&self.open), TimestampMs(now));
            let decided = retention::judge(&self.sealed, open, self.log_start, &self.keep, now);
            self.sealed.drain(..decided.drop.len());
            self.log_start = decided.log_start;
            gone.extend(decided.drop.iter().map(|(epoch, _)| *epoch));
            if decided.roll_first.is_none() {
                return gone;
            }
            self.roll();
        }
    }
}

/// When each of the first four segments goes.
fn play(World { sealed, open, keep, .. }: World, records_per_s: i64) -> [Option<i64>; 4] {
    let mut played =
        Played { sealed, open, first_at: Some(NOW - 15_000), log_start: Offset::ZERO, keep };
    let mut gone = [None; 4];
    let mut appended = 0;
    for look in 0..PLAYED_MS / STEP_MS {
        let ms = look * STEP_MS;
        while appended < ms * records_per_s / 1_000 {
            appended += 1;
            played.append(NOW + ms);
        }
        for Epoch(epoch) in played.look(NOW + ms) {
            if let Some(gone) = usize::try_from(epoch - 1).ok().and_then(|at| gone.get_mut(at)) {
                *gone = Some(ms);
            }
        }
    }
    gone
}

#[track_caller]
fn check(keep: Keep, records_per_s: i64) {
    let records = records_per_s.unsigned_abs();
    let growth = Some((records, records * RECORD_BYTES));
    let world = World { keep, growth, ..world() };
    let outlook = world.outlook();
    let gone = play(world, records_per_s);
    // A record more or less, and the time between two looks.
    let slack = STEP_MS * 2 + if records_per_s > 0 { 1_000 / records_per_s } else { 0 };
    for (at, gone) in gone.into_iter().enumerate() {
        let base = Offset(i64::try_from(at).unwrap() * 10);
        let what = format!("{keep:?}, {records_per_s} records/s, segment {}", at + 1);
        match (outlook.goes(base), gone) {
            (Goes::In { ms, .. }, Some(gone)) => {
                let ms = i64::try_from(ms).unwrap();
                assert!((ms - gone).abs() <= slack, "{what}: forecast {ms} ms, gone {gone} ms");
            }
            (Goes::In { ms, .. }, None) => {
                assert!(ms > PLAYED_MS.unsigned_abs(), "{what}: stays, forecast {ms} ms");
            }
            (Goes::Never, gone) => assert_eq!(gone, None, "{what}: forecast to stay"),
            (Goes::Unknown(why), _) => panic!("{what}: {why}"),
        }
    }
}

#[test]
fn segments_of_a_partition_that_grows_steadily_go_when_it_was_forecast() {
    let keeps = [
        ALL,
        MINUTE,
        Keep { ms: Some(25 * S), ..ALL },
        Keep { bytes: Some(120), ..ALL },
        Keep { bytes: Some(300), ..ALL },
        Keep { bytes: Some(2_500), ..ALL },
        Keep { bytes: Some(300), ..MINUTE },
        Keep { generations: Some(0), ..ALL },
        Keep { generations: Some(3), ..ALL },
        Keep { generations: Some(4), ..MINUTE },
    ];
    for keep in keeps {
        for records_per_s in [0, 1, 5, 10] {
            check(keep, records_per_s);
        }
    }
}
