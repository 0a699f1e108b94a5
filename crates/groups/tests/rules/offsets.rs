//! Committed offsets.

use walrus_groups::{
    At, CommittedOffset, Effect, GroupLimits, Loader, UNDER_WAY_MAX,
    records::{OffsetKey, Record},
};
use walrus_types::{TimestampMs, UptimeMs};

use crate::play::{Play, rule, rule_with};

/// `a` alone, in generation 1, reads topic x.
const ONE: &[(&str, &str)] =
    &[("join a v3", ""), ("wait 3000", "a: 1 range leads 1"), ("sync a a=w", "a: does w")];

#[track_caller]
fn one(rest: &[(&str, &str)]) {
    rule(&[ONE, rest].concat());
}

const WEEK: &str = "wait 604800000";

#[test]
fn a_commit_shows_when_it_is_committed_and_its_words_come_back() {
    one(&[
        ("hold", ""),
        ("commit a x/0=5:words", ""),
        ("fetch", ""),
        ("go", "a: ok"),
        ("fetch", "x/0=5:words"),
        ("commit a x/0=6 x/1=7", "a: ok ok"),
        ("fetch", "x/0=6; x/1=7"),
    ]);
}

#[test]
fn a_commit_that_is_refused_leaves_what_was() {
    for (outcome, told) in [("refuse", "a: NotAvailable"), ("too-large", "a: CommitTooLarge")] {
        one(&[
            ("commit a x/0=5", "a: ok"),
            ("hold", ""),
            ("commit a x/0=6", ""),
            (outcome, told),
            ("fetch", "x/0=5"),
        ]);
    }
}

#[test]
fn a_commit_that_takes_too_long_is_told_so_and_counts_when_it_comes_through() {
    one(&[
        ("hold", ""),
        ("commit a x/0=5", ""),
        ("wait 4999", ""),
        ("commit a x/1=6", ""),
        ("wait 1", "a: TimedOut"),
        ("go", "a: ok"),
        ("fetch", "x/0=5; x/1=6"),
    ]);
}

#[test]
fn anybody_commits_for_a_group_without_members_and_nobody_else_for_one_with() {
    rule(&[
        ("commit - t/0=5", "-: ok"),
        ("fetch", "t/0=5"),
        ("list", "g \"\" Empty"),
        ("join a v3", ""),
        ("commit - t/0=6", "-: UnknownMember"),
        ("wait 3000", "a: 1 range leads 1"),
        ("commit - t/0=6", "-: UnknownMember"),
        ("sync a", "a: does"),
        ("commit - t/0=6", "-: UnknownMember"),
        ("fetch", "t/0=5"),
        ("leave a", "ok"),
        ("commit - t/0=6", "-: ok"),
    ]);
    rule(&[("commit - t/0=5 gen=3", "-: NotFound"), ("list", "")]);
}

#[test]
fn a_member_commits_while_others_gather_and_not_while_its_leader_assigns() {
    one(&[
        ("join b v3", ""),
        ("commit a x/0=5", "a: ok"),
        ("join a", "a: 2 range leads 2; b: 2 range"),
        ("commit a x/0=6", "a: Rebalancing"),
        ("commit a x/0=6 gen=1", "a: IllegalGeneration"),
        ("sync a", "a: does"),
        ("commit a x/0=6", "a: ok"),
    ]);
}

#[test]
fn a_commit_keeps_its_members_session() {
    one(&[("wait 9000", ""), ("commit a x/0=5", "a: ok"), ("wait 9000", ""), ("beat a", "ok")]);
}

#[test]
fn words_that_are_too_long_are_refused_alone() {
    let (fits, long) = ("y".repeat(4096), "y".repeat(4097));
    let wide = "\u{e9}".repeat(4096);
    rule(&[
        (
            &format!("commit - t/0=1:{fits} t/1=2:{long} t/2=3 t/3=4:{wide}"),
            "-: ok MetadataTooLarge ok ok",
        ),
        ("fetch", &format!("t/0=1:{fits}; t/2=3; t/3=4:{wide}")),
    ]);
    rule(&[(&format!("commit - t/0=1:{long}"), "-: MetadataTooLarge"), ("list", "")]);
}

#[test]
fn a_commit_that_fails_leaves_no_group_behind() {
    rule(&[("hold", ""), ("commit - t/0=1", ""), ("refuse", "-: NotAvailable"), ("list", "")]);
}

#[test]
fn commits_under_way_are_bounded() {
    let mut play = Play::new(GroupLimits::default());
    play.happens("hold");
    for n in 0..UNDER_WAY_MAX {
        assert_eq!(play.happens("commit - t/0=1"), "", "{n}");
    }
    assert_eq!(play.happens("commit - t/0=2"), "-: Busy");
    play.happens("go");
    assert_eq!(play.happens("commit - t/0=2"), "-: ok");
}

#[test]
fn a_commit_of_more_than_a_batch_is_refused() {
    let words = "y".repeat(4096);
    let many = (0..2100).map(|n| format!("t/{n}=1:{words}")).collect::<Vec<_>>().join(" ");
    rule(&[(&format!("commit - {many}"), "-: CommitTooLarge"), ("fetch", "")]);
}

#[test]
fn offsets_of_topics_that_nobody_reads_can_be_deleted() {
    one(&[
        ("commit a x/0=5 t/0=6", "a: ok ok"),
        ("forget x/0 t/0 t/9", "-: Subscribed ok ok"),
        ("fetch", "x/0=5"),
        ("leave a", "ok"),
        ("forget x/0", "-: ok"),
        ("fetch", ""),
    ]);
    rule(&[("forget t/0", "-: NotFound")]);
    rule(&[
        ("join a v3 type=connect", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("forget t/0", "-: NonEmpty"),
    ]);
}

#[test]
fn what_is_deleted_shows_until_that_is_committed() {
    rule(&[
        ("commit - t/0=5 t/1=6", "-: ok ok"),
        ("hold", ""),
        ("forget t/0", ""),
        ("fetch", "t/0=5; t/1=6"),
        ("refuse", "-: NotAvailable"),
        ("fetch", "t/0=5; t/1=6"),
        ("forget t/0", "-: ok"),
        ("fetch", "t/1=6"),
    ]);
}

#[test]
fn a_deletion_takes_a_commit_along_that_came_before_it() {
    rule(&[
        ("hold", ""),
        ("commit - t/0=5", ""),
        ("forget t/0", ""),
        ("go", "-: ok; -: ok"),
        ("fetch", ""),
        ("list", ""),
    ]);
}

#[test]
fn offsets_of_a_client_that_was_no_member_are_kept_for_a_week_from_the_commit() {
    rule(&[
        ("commit - t/0=5", "-: ok"),
        ("wait 604799999", ""),
        ("commit - t/1=5", "-: ok"),
        ("expire", ""),
        ("fetch", "t/0=5; t/1=5"),
        ("wait 1", ""),
        ("expire", ""),
        ("fetch", "t/1=5"),
        (WEEK, ""),
        ("expire", ""),
        ("list", ""),
    ]);
}

#[test]
fn offsets_of_a_group_are_kept_for_a_week_from_when_its_last_member_went() {
    one(&[
        ("commit a x/0=5", "a: ok"),
        ("wait 9000", ""),
        ("leave a", "ok"),
        ("wait 604799999", ""),
        ("expire", ""),
        ("fetch", "x/0=5"),
        ("move", ""),
        ("wait 1", ""),
        ("expire", ""),
        ("list", ""),
    ]);
}

#[test]
fn offsets_of_members_stay_for_the_topics_that_they_read() {
    let alive: Vec<(&str, &str)> =
        std::iter::repeat_n([("wait 1700000", ""), ("beat a", "ok")], 400).flatten().collect();
    let before: &[(&str, &str)] = &[
        ("join a v3 session=1800000", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("sync a a=w", "a: does w"),
        ("commit a x/0=5 t/0=6", "a: ok ok"),
    ];
    rule(&[before, &alive, &[("expire", ""), ("fetch", "x/0=5")]].concat());
}

#[test]
fn a_client_may_say_how_long_its_offsets_are_kept() {
    rule(&[
        ("commit - t/0=5 keep=1000", "-: ok"),
        ("wait 999", ""),
        ("expire", ""),
        ("fetch", "t/0=5"),
        ("move", ""),
        ("wait 1", ""),
        ("expire", ""),
        ("fetch", ""),
    ]);
}

#[test]
fn the_cursor_of_a_queue_is_kept_however_long_nobody_asks() {
    let mut loader = Loader::default();
    let offset = CommittedOffset {
        offset: 5,
        leader_epoch: -1,
        metadata: String::new(),
        committed_at: TimestampMs(0),
        expires_at: None,
    };
    for group in ["walrus.get.jobs", "others"] {
        let key = OffsetKey { group: group.into(), topic: "jobs".into(), partition: 0 };
        loader.replay(Record::Offset { key, value: Some(offset.clone()) });
    }
    let at = At { now: UptimeMs(1), wall: TimestampMs(700_000_000) };
    let mut out = Vec::new();
    let mut coordinator = loader.finish(GroupLimits::default(), at, &mut out);
    coordinator.expire(at, &mut out);
    let forgotten: Vec<&str> = out
        .iter()
        .filter_map(|effect| match effect {
            Effect::Append { records, .. } => Some(records),
            Effect::Answer { .. } => None,
        })
        .flatten()
        .map(Record::group)
        .collect();
    assert_eq!(forgotten, ["others", "others"]);
}

#[test]
fn nothing_expires_while_a_change_is_under_way() {
    rule(&[
        ("commit - t/0=5", "-: ok"),
        (WEEK, ""),
        ("hold", ""),
        ("commit - t/0=6", ""),
        ("expire", ""),
        ("go", "-: ok"),
        ("fetch", "t/0=6"),
    ]);
}

#[test]
fn offsets_of_topics_that_are_no_more_are_forgotten() {
    one(&[
        ("commit a x/0=5 t/0=6", "a: ok ok"),
        ("hold", ""),
        ("commit a t/1=7", ""),
        ("gone t", ""),
        ("go", "a: ok"),
        ("fetch", "x/0=5"),
    ]);
}

#[test]
fn offsets_of_an_earlier_topic_of_the_same_name_are_forgotten() {
    // All are committed with leader epoch 7.
    one(&[
        ("commit a x/0=5 t/0=6", "a: ok ok"),
        ("gone t<7", ""),
        ("fetch", "t/0=6; x/0=5"),
        ("gone t<8", ""),
        ("fetch", "x/0=5"),
    ]);
}

#[test]
fn other_limits_hold() {
    let limits = GroupLimits { offset_metadata_max: 2, ..GroupLimits::default() };
    rule_with(limits, &[("commit - t/0=1:ab t/1=1:abc", "-: ok MetadataTooLarge")]);
}
