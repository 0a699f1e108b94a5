mod played;

use walrus_types::Epoch;

use super::*;
use crate::{
    retention::{self, Keep, Segment},
    roll::RollLimits,
};

const NOW: i64 = 1_000_000;
const S: u64 = 1_000;

const ALL: Keep = Keep { ms: None, bytes: None, generations: None };
const LIMITS: RollLimits =
    RollLimits { bytes: 1_000, entries: 1_000, age_ms: 100 * S, interval_ms: 0, burst: 1 };

/// A partition: three sealed segments of ten records and 100 bytes, and an open one of five records
/// and 50 bytes. Their newest records are 40, 30, 20 and 0 seconds old.
#[derive(Clone)]
struct World {
    sealed: Vec<Segment>,
    open: Segment,
    log_start: i64,
    keep: Keep,
    growth: Option<(u64, u64)>,
    committed: Option<i64>,
    spot: Known<Spot>,
    reads: Option<u64>,
}

fn world() -> World {
    let segment = |at: i32, count: i64, age_s: i64| Segment {
        epoch: Epoch(at + 1),
        base: Offset(i64::from(at) * 10),
        end: Offset(i64::from(at) * 10 + count),
        bytes: count.unsigned_abs() * 10,
        max_timestamp: TimestampMs(NOW - age_s * 1_000),
        written_at: None,
    };
    World {
        sealed: vec![segment(0, 10, 40), segment(1, 10, 30), segment(2, 10, 20)],
        open: segment(3, 5, 0),
        log_start: 0,
        keep: ALL,
        growth: Some((0, 0)),
        committed: Some(0),
        spot: Err("nobody looked".into()),
        reads: Some(0),
    }
}

impl World {
    fn outlook(&self) -> Outlook {
        // Both rates are of ten seconds.
        let rate = |amount: u64| Rate { amount: amount * 10, over_ms: 10 * S };
        let growth = self
            .growth
            .map(|(records, bytes)| Growth { records: rate(records), bytes: rate(bytes) });
        let partition = Partition {
            sealed: &self.sealed,
            open: self.open,
            open_age_ms: 15 * S,
            log_start: Offset(self.log_start),
            keep: self.keep,
            roll: LIMITS,
            growth: growth.ok_or_else(|| "too short".into()),
        };
        Outlook::of(&partition, TimestampMs(NOW))
    }

    fn judge(&self) -> Backlog {
        let reads = self.reads.map(|amount| Rate { amount: amount * 10, over_ms: 10 * S });
        let reader = Reader {
            committed: self.committed.map(Offset),
            spot: self.spot.clone(),
            reads: reads.ok_or_else(|| "not seen".into()),
        };
        judge(&self.outlook(), &reader, TimestampMs(NOW))
    }
}

/// What is told of how far a group is.
#[track_caller]
fn check_state(world: &World, expected: (State, i64, u64)) {
    let backlog = world.judge();
    assert_eq!((backlog.state, backlog.next.0, backlog.records), expected);
}

#[test]
fn a_group_is_behind_by_the_records_up_to_the_commit_offset() {
    check_state(&World { committed: Some(7), ..world() }, (State::Behind, 7, 28));
    check_state(&World { committed: Some(34), ..world() }, (State::Behind, 34, 1));
    check_state(&World { committed: Some(35), ..world() }, (State::Read, 35, 0));
}

#[test]
fn what_is_deleted_before_it_was_read_is_lost_and_is_no_backlog() {
    let world = World { log_start: 12, ..world() };
    let lost = |committed, records, next, left| {
        let world = World { committed: Some(committed), ..world.clone() };
        check_state(&world, (State::Lost { records }, next, left));
    };
    lost(4, 8, 12, 23);
    lost(11, 1, 12, 23);
    check_state(&World { committed: Some(12), ..world }, (State::Behind, 12, 23));
}

#[test]
fn a_group_that_never_committed_has_all_before_it() {
    check_state(&World { committed: None, ..world() }, (State::NoCommit, 0, 35));
    let cut = World { committed: None, log_start: 12, ..world() };
    check_state(&cut, (State::NoCommit, 12, 23));
}

#[test]
fn a_commit_past_the_end_is_said_to_be_that() {
    let ahead = World { committed: Some(40), ..world() };
    check_state(&ahead, (State::PastEnd { records: 5 }, 35, 0));
}

#[test]
fn bytes_count_from_the_batch_of_the_next_record() {
    for (committed, position, expected) in
        [(0, 0, 350), (7, 60, 290), (10, 0, 250), (25, 40, 110), (34, 40, 10)]
    {
        let spot = Ok(Spot { position, timestamp: TimestampMs(NOW) });
        let world = World { committed: Some(committed), spot, ..world() };
        assert_eq!(world.judge().bytes, Ok(expected), "at {committed}");
    }
}

#[test]
fn the_age_is_that_of_the_next_record() {
    for (timestamp, expected) in [
        (NOW - 5_000, Ok(5_000)),
        (NOW, Ok(0)),
        (NOW + 5_000, Ok(0)), // from the future
        (-1, Err("the record has no timestamp".into())),
        (0, Ok(1_000_000)),
    ] {
        let spot = Ok(Spot { position: 0, timestamp: TimestampMs(timestamp) });
        assert_eq!(World { spot, ..world() }.judge().age_ms, expected, "{timestamp}");
    }
}

#[test]
fn where_nobody_looked_bytes_and_age_are_not_known_and_where_all_is_read_they_are_none() {
    let unknown: Known<u64> = Err("nobody looked".into());
    let backlog = world().judge();
    assert_eq!((backlog.bytes, backlog.age_ms), (unknown.clone(), unknown));
    let read = World { committed: Some(35), ..world() }.judge();
    assert_eq!((read.bytes, read.age_ms, read.goes), (Ok(0), Ok(0), Goes::Never));
}

fn shown(goes: &Goes) -> String {
    match goes {
        Goes::In { ms, cause } => format!("{ms} {}", cause.setting()),
        Goes::Never => "never".into(),
        Goes::Unknown(why) => format!("? {why}"),
    }
}

/// When the segments of offsets 0, 10, 20 and 30 go.
#[track_caller]
fn check_goes(world: &World, expected: [&str; 4]) {
    let outlook = world.outlook();
    let found = [0, 10, 20, 30].map(|offset| shown(&outlook.goes(Offset(offset))));
    assert_eq!(found, expected);
}

const MINUTE: Keep = Keep { ms: Some(60 * S), ..ALL };

#[test]
fn without_limits_nothing_goes() {
    check_goes(&world(), ["never"; 4]);
    check_goes(&World { growth: None, ..world() }, ["never"; 4]);
}

#[test]
fn a_segment_goes_when_its_newest_record_is_a_moment_older_than_retention() {
    let world = World { keep: MINUTE, ..world() };
    let of = |s: u64| format!("{} retention.ms", s * S + 1);
    check_goes(&world, [&of(20), &of(30), &of(40), &of(60)]);
}

#[test]
fn what_should_be_gone_goes_at_once() {
    let world = World { keep: Keep { ms: Some(35 * S), ..ALL }, ..world() };
    check_goes(
        &world,
        ["0 retention.ms", "5001 retention.ms", "15001 retention.ms", "35001 retention.ms"],
    );
}

#[test]
fn a_segment_goes_no_earlier_than_those_before_it() {
    let mut world = World { keep: MINUTE, ..world() };
    world.sealed[0].max_timestamp = TimestampMs(NOW);
    check_goes(&world, ["60001 retention.ms"; 4]);
}

#[test]
fn one_without_any_time_stays_and_keeps_those_behind_it() {
    let mut world = World { keep: MINUTE, ..world() };
    world.sealed[1].max_timestamp = TimestampMs::NONE;
    check_goes(&world, ["20001 retention.ms", "never", "never", "never"]);
}

#[test]
fn the_open_segment_is_rolled_before_its_age_counts() {
    let open = |growth| {
        let world = World { keep: MINUTE, growth: Some(growth), ..world() };
        shown(&world.outlook().goes(Offset(30)))
    };
    // By age: 85 s are left of 100. By bytes: 950 are left. By entries: 995 are left.
    assert_eq!(open((1, 1)), "145001 retention.ms");
    assert_eq!(open((1, 50)), "79001 retention.ms");
    assert_eq!(open((199, 1)), "65001 retention.ms");
}

#[test]
fn bytes_have_to_come_before_a_segment_goes_by_size() {
    let keep = Keep { bytes: Some(300), ..ALL };
    // 250, 150 and 50 bytes follow the sealed ones; the open one rolls after 85 s.
    let of = |s: u64| format!("{} retention.bytes", s * S);
    let grows = World { keep, growth: Some((1, 10)), ..world() };
    check_goes(&grows, [&of(5), &of(15), &of(25), &of(115)]);
    check_goes(&World { keep, ..world() }, ["never"; 4]);
    let enough = World { keep: Keep { bytes: Some(100), ..ALL }, ..world() };
    check_goes(&enough, ["0 retention.bytes", "0 retention.bytes", "never", "never"]);
}

#[test]
fn so_many_rolls_have_to_come_before_there_are_too_many_segments() {
    let keep = Keep { generations: Some(3), ..ALL };
    // One roll takes the first: after 85 s. Later segments last 101 s: one until the first record.
    let grows = World { keep, growth: Some((1, 1)), ..world() };
    let of = |s: u64| format!("{} walrus.retention.generations", s * S);
    check_goes(&grows, [&of(85), &of(186), &of(287), &of(388)]);
    let stands = World { keep, ..world() };
    check_goes(&stands, ["85000 walrus.retention.generations", "never", "never", "never"]);
}

#[test]
fn the_rule_that_comes_first_takes_a_segment() {
    let keep = Keep { ms: Some(60 * S), bytes: Some(300), generations: None };
    let world = World { keep, growth: Some((1, 10)), ..world() };
    check_goes(
        &world,
        [
            "5000 retention.bytes",
            "15000 retention.bytes",
            "25000 retention.bytes",
            "115000 retention.bytes",
        ],
    );
}

#[test]
fn what_needs_a_rate_that_is_not_known_is_not_known_either() {
    let by_age = World { keep: MINUTE, growth: None, ..world() };
    check_goes(
        &by_age,
        ["20001 retention.ms", "30001 retention.ms", "40001 retention.ms", "? too short"],
    );
    let both = World { keep: Keep { bytes: Some(200), ..MINUTE }, growth: None, ..world() };
    check_goes(&both, ["0 retention.bytes", "? too short", "? too short", "? too short"]);
}

#[track_caller]
fn check_risk(world: &World, expected: &str) {
    let said = match world.judge().risk {
        Risk::None => "none".into(),
        Risk::Loses { in_ms, from, cause } => format!("{in_ms} from {from} by {}", cause.setting()),
        Risk::Unknown(why) => format!("? {why}"),
    };
    assert_eq!(said, expected);
}

#[test]
fn a_group_that_stands_still_loses_what_it_reads_next() {
    let world = World { keep: MINUTE, committed: Some(13), ..world() };
    check_risk(&world, "30001 from 13 by retention.ms");
    check_risk(&World { keep: ALL, ..world.clone() }, "none");
    check_risk(&World { committed: Some(35), ..world }, "none");
}

#[test]
fn a_group_that_is_past_each_segment_in_time_loses_nothing() {
    // Ten records in 20 s, twenty in 30 s, thirty in 40 s, thirty-five in 60 s.
    let world = World { keep: MINUTE, ..world() };
    check_risk(&World { reads: Some(1), ..world.clone() }, "none");
    let mut slower = World { reads: Some(1), ..world };
    slower.sealed[2].end = Offset(80);
    slower.open = Segment { base: Offset(80), end: Offset(85), ..slower.open };
    check_risk(&slower, "40001 from 20 by retention.ms");
}

#[test]
fn a_group_that_keeps_up_with_what_is_appended_loses_nothing() {
    let follows = World { keep: MINUTE, committed: Some(33), growth: Some((2, 20)), ..world() };
    check_risk(&World { reads: Some(2), ..follows.clone() }, "none");
    // The open segment is rolled after 47.5 s with 100 records, and goes a minute later.
    check_risk(&World { reads: Some(1), ..follows.clone() }, "none");
    check_risk(&World { reads: Some(0), ..follows }, "107501 from 33 by retention.ms");
}

#[test]
fn how_fast_a_group_reads_has_to_be_known_where_anything_goes() {
    let world = World { keep: MINUTE, reads: None, ..world() };
    check_risk(&world, "? not seen");
    check_risk(&World { keep: ALL, ..world }, "none");
}

#[test]
fn a_forecast_is_when_retention_takes_the_segment_and_not_a_moment_before() {
    let keeps = [35, 50, 60, 90].map(|s| Keep { ms: Some(s * S), ..ALL });
    let others = [
        Keep { bytes: Some(120), ..MINUTE },
        Keep { bytes: Some(0), ..ALL },
        Keep { generations: Some(2), ..MINUTE },
        Keep { generations: Some(0), ..ALL },
    ];
    for keep in keeps.into_iter().chain(others) {
        let world = World { keep, ..world() };
        let outlook = world.outlook();
        for segment in &world.sealed {
            let Goes::In { ms, .. } = outlook.goes(segment.base) else { continue };
            let taken = |ms: i64| {
                let now = TimestampMs(NOW + ms);
                let taken =
                    retention::judge(&world.sealed, Some(&world.open), Offset(0), &keep, now);
                taken.drop.iter().any(|(epoch, _)| *epoch == segment.epoch)
            };
            let ms = i64::try_from(ms).unwrap();
            // Segments are rolled by age meanwhile, which this chain does not see.
            let rolls = keep.generations.is_some() && ms > 0;
            assert!(taken(ms) || rolls, "{keep:?}: {segment:?} after {ms} ms");
            assert!(ms == 0 || !taken(ms - 1), "{keep:?}: {segment:?} before {ms} ms");
        }
    }
}
