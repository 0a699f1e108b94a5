//! The forced seal as scripts: what members say and what the controller is to do.

use walrus_types::{Epoch, Incarnation, StorageId, TimestampMs};

use super::*;
use crate::cursors::Member;

mod holders;

const BASE: Offset = Offset(100);

fn storage(node: i32, disk: u32) -> StorageId {
    StorageId(format!("{disk:016x}{node:016x}").parse().unwrap())
}

fn member(node: i32) -> Member {
    Member { node: NodeId(node), storage: storage(node, 1) }
}

fn id(epoch: i32) -> SegmentId {
    SegmentId { epoch: Epoch(epoch), base: BASE, ..SegmentId::default() }
}

fn orphan(epoch: i32, n: i32, w: usize) -> Orphan {
    let members = (1..=n).map(member).collect();
    Orphan { id: id(epoch), members, w, hotness: 0, lax: false }
}

fn fenced() -> Writer {
    Writer { node: NodeId(1), incarnation: Incarnation(7) }
}

/// A copy that ends at `end`, counted from the base.
fn held(node: i32, end: i64) -> Held {
    Held {
        storage: storage(node, 1),
        end: BASE.plus(end),
        bytes: u64::try_from(end.max(0)).unwrap() * 10,
        max_timestamp: TimestampMs(end),
        commit: BASE,
    }
}

fn report(node: i32, words: &[&str]) -> Report {
    let end = |text: &str| held(node, text.parse().unwrap());
    match words {
        ["has", text] => Report::Held(end(text)),
        ["unclean", text] => Report::Unclean(end(text)),
        ["has", text, "of", commit] => {
            Report::Held(Held { commit: BASE.plus(commit.parse().unwrap()), ..end(text) })
        }
        ["new-disk", text] => Report::Held(Held { storage: storage(node, 2), ..end(text) }),
        ["lost"] => Report::LostDisk { found: storage(node, 2) },
        ["sealed"] => Report::Sealed,
        ["error"] => Report::Error,
        ["no-member"] => Report::NoMember,
        _ => panic!("{words:?}?"),
    }
}

fn play(seal: &mut ForcedSeal, now: &mut UptimeMs, event: &str) -> Vec<Effect> {
    let words: Vec<&str> = event.split(' ').collect();
    let number = |text: &str| text.parse::<i32>().unwrap();
    let outcome = |seal: &mut ForcedSeal, outcome| seal.proposed(&[(id(1), outcome)], *now);
    match words[..] {
        ["at", ms] => {
            *now = UptimeMs(ms.parse().unwrap());
            seal.tick(*now)
        }
        ["copied", to, end] => {
            let held = held(number(to), end.parse().unwrap());
            seal.copied(id(1), NodeId(number(to)), Some(held), *now)
        }
        ["copy", to, "fails"] => seal.copied(id(1), NodeId(number(to)), None, *now),
        ["reach", node] => seal.reached(NodeId(number(node)), *now),
        ["sealed"] => outcome(seal, Outcome::Sealed),
        ["other-epoch"] => outcome(seal, Outcome::OtherEpoch),
        ["refused"] => outcome(seal, Outcome::Refused),
        ["unknown"] => outcome(seal, Outcome::Unknown),
        [node, ref rest @ ..] => {
            let node = number(node);
            seal.answered(NodeId(node), &[(id(1), report(node, rest))], *now)
        }
        [] => panic!("an event has words"),
    }
}

fn say(effect: &Effect) -> String {
    let at = |offset: &Offset| offset.0 - BASE.0;
    match effect {
        Effect::AskFence { node, .. } => format!("ask {}", node.0),
        Effect::CopySuffix { from_member, to_member, from, to, .. } => {
            format!("copy {}>{} {}..{}", from_member.node.0, to_member.node.0, at(from), at(to))
        }
        Effect::ProposeRolls(rolls) => {
            let SealDecision { end, bytes, holders, short, may_lack_from, .. } = &rolls[0];
            assert_eq!(i64::try_from(*bytes).unwrap(), at(end) * 10);
            let holders: Vec<_> = holders.iter().map(|member| member.node.0.to_string()).collect();
            let short = if *short { ", short" } else { "" };
            let lacks = may_lack_from.map(|from| format!(", may lack from {}", at(&from)));
            format!("end {} on {}{short}{}", at(end), holders.join("+"), lacks.unwrap_or_default())
        }
        Effect::Blocked(blocked) => blocked.to_string(),
        Effect::Done => "done".to_owned(),
    }
}

/// Plays events against the seal of one segment and compares what is to be done after each.
#[track_caller]
fn check_orphan(orphan: Orphan, script: &[(&str, &str)]) -> ForcedSeal {
    let mut now = UptimeMs(0);
    let (mut seal, effects) = ForcedSeal::begin(fenced(), vec![orphan], now);
    assert!(effects.iter().all(|effect| matches!(effect, Effect::AskFence { .. })));
    for (at, (event, expected)) in script.iter().enumerate() {
        let effects = play(&mut seal, &mut now, event);
        let said: Vec<_> = effects.iter().map(say).collect();
        assert_eq!(said.join(", "), *expected, "step {at}: {event}");
    }
    seal
}

#[track_caller]
fn check(n: i32, w: usize, script: &[(&str, &str)]) -> ForcedSeal {
    check_orphan(orphan(1, n, w), script)
}

#[test]
fn enough_votes_and_w_holders_seal_at_the_greatest_end() {
    // I4: n - w + 1.
    check(3, 2, &[("2 has 5", ""), ("3 has 5", "end 5 on 2+3"), ("sealed", "done")]);
    check(1, 1, &[("1 has 5", "end 5 on 1")]);
    check(5, 3, &[("2 has 5", ""), ("3 has 5", ""), ("5 has 5", "end 5 on 2+3+5")]);
    check(4, 2, &[("1 has 5", ""), ("2 has 5", ""), ("3 has 4", "end 5 on 1+2")]);
    // The first answer is not the longest.
    check(3, 2, &[("2 has 3", ""), ("3 has 5", "copy 3>2 3..5"), ("copied 2 5", "end 5 on 2+3")]);
}

#[test]
fn the_end_is_on_w_members_before_it_is_proposed() {
    // I7. The one that lacks least is copied to.
    check(
        5,
        3,
        &[
            ("2 has 1", ""),
            ("3 has 9", ""),
            ("4 has 4", "copy 3>4 4..9, copy 3>2 1..9"),
            ("copied 4 9", ""),
            ("5 has 9", "end 9 on 3+4+5"),
        ],
    );
    // An answer that is longer while a copy is under way moves the end.
    check(
        4,
        3,
        &[
            ("2 has 1", ""),
            ("3 has 4", "copy 3>2 1..4"),
            ("4 has 6", "copy 4>3 4..6"),
            ("copied 2 4", "copy 4>2 4..6"),
            ("copied 3 6", ""),
            ("copied 2 6", "end 6 on 2+3+4"),
        ],
    );
}

#[test]
fn a_copy_that_fails_or_hangs_is_tried_again() {
    check(
        3,
        2,
        &[
            ("2 has 3", ""),
            ("3 has 5", "copy 3>2 3..5"),
            ("copy 2 fails", ""),
            ("at 99", ""),
            ("at 100", "copy 3>2 3..5"),
            ("at 400", "ask 1"),
            ("copied 2 5", "end 5 on 2+3"),
        ],
    );
    check(
        3,
        2,
        &[
            ("2 has 3", ""),
            ("3 has 5", "copy 3>2 3..5"),
            ("at 9999", "ask 1"),
            ("at 10000", ""),
            ("at 10099", ""),
            ("at 10100", "copy 3>2 3..5"),
        ],
    );
}

#[test]
fn when_w_cannot_be_reached_for_half_a_second_it_goes_on_with_those_that_can() {
    // M4. n=2, w=2, one dead: one vote is enough for the end, two are wanted to hold it.
    let script = [
        ("2 has 5", ""),
        ("at 499", "ask 1"),
        ("at 500", "ask 2"),
        ("2 has 5", "end 5 on 2, short"),
    ];
    check(2, 2, &script);
    check(2, 2, &[("2 has 5", ""), ("at 499", "ask 1"), ("1 has 5", "end 5 on 1+2")]);
    check(
        2,
        2,
        &[
            ("at 5000", "ask 1, ask 2, 0 of 1 votes; n1: no answer; n2: no answer"),
            ("2 has 5", ""),
            ("at 5499", "ask 1"),
            ("at 5500", "ask 2"),
            ("2 has 5", "end 5 on 2, short"),
        ],
    );
    // All that can be reached get it first.
    check(
        3,
        3,
        &[
            ("2 has 5", ""),
            ("3 has 3", "copy 2>3 3..5"),
            ("at 500", "ask 1"),
            ("copied 3 5", ""),
            ("at 550", "ask 2, ask 3"),
            ("3 has 5", ""),
            ("2 has 5", "end 5 on 2+3, short"),
        ],
    );
    check(
        3,
        3,
        &[
            ("2 has 5", ""),
            ("3 has 3", "copy 2>3 3..5"),
            ("copy 3 fails", ""),
            ("at 100", "copy 2>3 3..5"),
            ("copy 3 fails", ""),
            ("at 500", "copy 2>3 3..5, ask 1"),
            ("copy 3 fails", ""),
            ("at 550", "ask 2"),
            ("2 has 5", "end 5 on 2, short"),
        ],
    );
}

#[test]
fn who_is_gone_with_a_vote_that_is_needed_is_told_to_an_operator() {
    let mut now = UptimeMs(0);
    let (mut seal, _asked) = ForcedSeal::begin(fenced(), vec![orphan(1, 3, 2)], now);
    play(&mut seal, &mut now, "2 has 5");
    play(&mut seal, &mut now, "3 has 3");
    play(&mut seal, &mut now, "copy 3 fails");
    for ms in (50..7000).step_by(50) {
        let effects = play(&mut seal, &mut now, &format!("at {ms}"));
        if effects.iter().any(|effect| matches!(effect, Effect::CopySuffix { .. })) {
            play(&mut seal, &mut now, "copy 3 fails");
        }
    }
    let plan = seal.plan_unsafe(id(1), None).unwrap();
    assert_eq!((plan.blocked.have, plan.end), (1, BASE.plus(3)));
    let gone = (member(2), Problem::Gone { had: BASE.plus(5) });
    assert!(plan.blocked.missing.contains(&gone), "{}", plan.blocked);
    // It is back, and has what it had.
    let effects = play(&mut seal, &mut now, "2 has 5");
    assert_eq!(effects.iter().map(say).collect::<Vec<_>>(), ["copy 2>3 3..5"]);
}

#[test]
fn an_empty_segment_needs_votes_but_no_holders() {
    check(3, 2, &[("2 has 0", ""), ("3 has 0", "end 0 on 2+3")]);
    check(2, 2, &[("2 has 0", "end 0 on 2"), ("sealed", "done")]);
    check(3, 2, &[("2 has 0", ""), ("3 lost", ""), ("at 400", "ask 1, ask 3")]);
}

#[test]
fn a_lost_disk_and_an_error_are_no_votes() {
    // M2: counted as an empty vote, each of these would seal at 0 what was acknowledged.
    for no_vote in ["3 lost", "3 new-disk 0", "3 error", "3 no-member", "3 has -1", "9 has 0"] {
        let script = [("2 has 0", ""), (no_vote, ""), ("1 has 5", "copy 1>2 0..5")];
        check(3, 2, &script);
    }
    // One that had a vote and has forgotten what it held loses it.
    check(
        4,
        2,
        &[
            ("2 has 5", ""),
            ("2 has 3", ""),
            ("3 has 4", ""),
            ("4 has 4", ""),
            ("2 has 5", "copy 2>3 4..5"),
        ],
    );
}

#[test]
fn votes_that_contradict_what_is_known_to_be_committed_decide_nothing() {
    let seal = check(
        3,
        2,
        &[
            ("2 has 5", ""),
            ("3 has 4 of 6", ""),
            (
                "at 2000",
                "ask 1, 2 of 2 votes; n1: no answer; \
              nobody has all below 106, which is committed",
            ),
        ],
    );
    assert_eq!(seal.plan_unsafe(id(1), None).unwrap().seen, Some(BASE.plus(6)));
    check(3, 2, &[("2 has 5", ""), ("3 has 4 of 6", ""), ("1 has 6", "copy 1>2 5..6")]);
}

#[test]
fn who_went_down_uncleanly_votes_in_a_lax_segment_only_when_all_have_answered() {
    // L17.
    let lax = || Orphan { lax: true, ..orphan(1, 3, 2) };
    check_orphan(lax(), &[("2 unclean 2", ""), ("3 has 5", ""), ("1 has 5", "end 5 on 1+3")]);
    check_orphan(
        lax(),
        &[
            ("2 unclean 7", ""),
            ("3 unclean 5", ""),
            (
                "at 2000",
                "ask 1, 0 of 2 votes; n1: no answer; \
              n2: its machine went down uncleanly; n3: its machine went down uncleanly",
            ),
            ("1 unclean 2", "copy 2>3 5..7"),
        ],
    );
    check(3, 2, &[("2 unclean 5", ""), ("3 unclean 5", "end 5 on 2+3")]);
    // All have answered, and the power cut took what was committed: that is what lax means.
    check_orphan(
        lax(),
        &[
            ("2 unclean 5", ""),
            ("3 has 4 of 6", ""),
            ("1 unclean 5", "end 5 on 1+2, may lack from 5"),
        ],
    );
}

#[test]
fn what_was_proposed_is_repeated_unchanged_until_it_is_known() {
    let repeated = [
        ("2 has 5", ""),
        ("3 has 5", "end 5 on 2+3"),
        ("1 has 9", ""), // too late to move the end
        ("at 5000", ""),
        ("unknown", ""),
        ("at 5099", ""),
        ("at 5100", "end 5 on 2+3"),
        ("refused", ""), // the successor's placement, say
        ("at 5200", "end 5 on 2+3"),
        ("unknown", ""),
        ("unknown", ""),
        ("at 5300", "end 5 on 2+3"),
    ];
    for last in ["sealed", "other-epoch"] {
        let mut script = repeated.to_vec();
        script.extend([(last, "done"), ("at 9999", ""), ("1 has 9", ""), ("unknown", "")]);
        assert_eq!(check(3, 2, &script).remaining(), 0);
    }
}

#[test]
fn what_metadata_shows_sealed_is_over_at_any_time() {
    check(3, 2, &[("2 has 5", ""), ("other-epoch", "done"), ("at 9999", "")]);
    check(3, 2, &[("2 has 3", ""), ("3 has 5", "copy 3>2 3..5"), ("sealed", "done")]);
}

#[test]
fn who_does_not_answer_is_asked_again_ever_more_seldom() {
    check(
        3,
        2,
        &[
            ("2 has 5", ""),
            ("at 199", ""),
            ("at 200", "ask 1, ask 3"),
            ("3 error", ""), // may pass
            ("at 599", ""),
            ("at 600", "ask 1, ask 3"),
            ("reach 1", "ask 1"),
            ("reach 2", ""),
            ("at 1400", "ask 1, ask 3"),
            ("1 has 5", "end 5 on 1+2"),
            ("at 9999", ""),
        ],
    );
}

#[test]
fn an_operator_hears_of_what_is_blocked_once_and_when_it_changes() {
    let seal = check(
        3,
        2,
        &[
            ("2 has 5", ""),
            ("at 1999", "ask 1, ask 3"),
            ("at 2000", "1 of 2 votes; n1: no answer; n3: no answer"),
            ("3 lost", ""),
            ("3 sealed", ""),
            (
                "at 2100",
                "1 of 2 votes; n1: no answer; n3: its disk was lost, it has \
              00000000-0000-0002-0000-000000000003 now",
            ),
            ("at 2200", ""),
        ],
    );
    let blocked: Vec<_> = seal.blocked().collect();
    assert_eq!((blocked.len(), blocked[0].have, blocked[0].need), (1, 1, 2));
}

#[test]
fn unsafe_seal_takes_what_answered_and_names_what_may_be_missing() {
    // L19. Two of three are gone for good; a consumer has read up to 9.
    let mut seal = check(3, 2, &[("2 has 5", ""), ("3 lost", "")]);
    let now = UptimeMs(0);
    let plan = seal.plan_unsafe(id(1), Some(BASE.plus(9))).unwrap();
    assert_eq!((plan.end, plan.seen), (BASE.plus(5), Some(BASE.plus(9))));
    assert_eq!(seal.plan_unsafe(id(1), Some(BASE.plus(5))).unwrap().seen, None);
    // I7 all the same: half a second for others to come.
    assert_eq!(seal.seal_unsafe(&plan, now), Ok(vec![]));
    let effects = seal.tick(UptimeMs(NARROW_AFTER_MS));
    assert_eq!(effects.len(), 1);
    assert_eq!(say(&effects[0]), "end 5 on 2, short, may lack from 5");
    assert_eq!(seal.plan_unsafe(id(1), None), Err(UnsafeRefusal::NotNeeded(id(1))));

    // Who comes back in time makes it safe.
    let mut seal = check(3, 2, &[("2 has 5", "")]);
    let plan = seal.plan_unsafe(id(1), None).unwrap();
    assert_eq!(seal.seal_unsafe(&plan, now), Ok(vec![]));
    let effects = play(&mut seal, &mut now.clone(), "1 has 5");
    assert_eq!(say(&effects[0]), "end 5 on 1+2");

    // Nobody has it: all of it may be missing.
    let mut seal = check(1, 1, &[("1 lost", "")]);
    let plan = seal.plan_unsafe(id(1), None).unwrap();
    let effects = seal.seal_unsafe(&plan, now).unwrap();
    assert_eq!(say(&effects[0]), "end 0 on , may lack from 0");
}

#[test]
fn unsafe_seal_is_refused_when_it_is_not_needed_or_its_plan_is_stale() {
    let now = UptimeMs(0);
    let seal = check(3, 2, &[("2 has 5", ""), ("3 has 3", "copy 2>3 3..5")]);
    assert_eq!(seal.plan_unsafe(id(1), None), Err(UnsafeRefusal::NotNeeded(id(1))));
    assert_eq!(seal.plan_unsafe(id(2), None), Err(UnsafeRefusal::NotWaiting(id(2))));
    let mut seal = check(5, 3, &[("2 has 5", "")]);
    let plan = seal.plan_unsafe(id(1), None).unwrap();
    assert_eq!(play(&mut seal, &mut now.clone(), "3 has 8"), []);
    let changed = UnsafeRefusal::Changed { segment: id(1), end: BASE.plus(8) };
    assert_eq!(seal.seal_unsafe(&plan, now), Err(changed));
    assert_eq!(seal.tick(UptimeMs(100)), [], "nothing was begun");
}

#[test]
fn ten_thousand_segments_cost_one_request_per_node_and_ten_commands_hottest_first() {
    // M18.
    let orphans: Vec<Orphan> = (1..=10_000)
        .map(|at| Orphan { hotness: u64::try_from(at).unwrap(), ..orphan(at, 3, 2) })
        .collect();
    let (mut seal, effects) = ForcedSeal::begin(fenced(), orphans, UptimeMs(0));
    assert_eq!(effects.len(), 3);
    for effect in &effects {
        let Effect::AskFence { segments, .. } = effect else { panic!("{effect:?}") };
        assert_eq!((segments.len(), segments[0]), (10_000, id(10_000)));
    }
    let reports =
        |node| -> Vec<_> { (1..=10_000).map(|at| (id(at), Report::Held(held(node, 5)))).collect() };
    assert_eq!(seal.answered(NodeId(2), &reports(2), UptimeMs(1)), []);
    let effects = seal.answered(NodeId(3), &reports(3), UptimeMs(2));
    let mut epochs = Vec::new();
    for effect in &effects {
        let Effect::ProposeRolls(rolls) = effect else { panic!("{effect:?}") };
        assert_eq!(rolls.len(), CHANGES_PER_COMMAND_MAX);
        epochs.extend(rolls.iter().map(|roll| roll.segment.epoch.0));
    }
    assert_eq!(epochs, (1..=10_000).rev().collect::<Vec<_>>());
    let outcomes: Vec<_> = (1..=10_000).map(|at| (id(at), Outcome::Sealed)).collect();
    assert_eq!(seal.proposed(&outcomes, UptimeMs(3)), [Effect::Done]);
}

#[test]
fn a_segment_that_an_answer_leaves_out_is_asked_for_again() {
    // The node had not applied its Roll yet, or the Roll came after the fence (M8, M20).
    let (mut seal, _) = ForcedSeal::begin(fenced(), vec![orphan(1, 1, 1)], UptimeMs(0));
    let effects = seal.add(vec![orphan(1, 1, 1), orphan(2, 1, 1)], UptimeMs(10));
    assert_eq!(effects, [Effect::AskFence { node: NodeId(1), segments: vec![id(1), id(2)] }]);
    let report = Report::Held(held(1, 5));
    assert_eq!(seal.answered(NodeId(1), &[(id(1), report)], UptimeMs(20)).len(), 1);
    let again = Effect::AskFence { node: NodeId(1), segments: vec![id(2)] };
    assert_eq!(seal.tick(UptimeMs(410)), [again]);
}

#[test]
fn another_controller_comes_to_the_same_end() {
    // Redo: the first one proposed and died; its members hold what was copied.
    let script = [("2 has 3", ""), ("3 has 5", "copy 3>2 3..5"), ("copied 2 5", "end 5 on 2+3")];
    check(3, 2, &script);
    check(3, 2, &[("2 has 5", ""), ("3 has 5", "end 5 on 2+3")]);
    check(3, 2, &[("3 has 5", ""), ("1 has 5", "end 5 on 1+3"), ("other-epoch", "done")]);
}

#[test]
fn nothing_to_seal_is_done_at_once() {
    let (mut seal, effects) = ForcedSeal::begin(fenced(), vec![], UptimeMs(0));
    assert_eq!(effects, [Effect::Done]);
    assert_eq!(seal.tick(UptimeMs(9999)), []);
    assert_eq!(seal.add(vec![orphan(1, 1, 1)], UptimeMs(1)).len(), 1);
}

#[test]
#[should_panic(expected = "w=3 of 2 members")]
fn a_record_that_can_never_be_met_is_our_own_mistake() {
    let (_seal, _effects) = ForcedSeal::begin(fenced(), vec![orphan(1, 2, 3)], UptimeMs(0));
}
