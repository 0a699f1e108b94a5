//! Dynamic members: in, out, and what they are told.

use walrus_groups::{
    Answer, At, Effect, GROUP_NAME_BYTES_MAX, GroupError, GroupLimits, Identity, Leaver, Loader,
    PENDING_MEMBERS_MAX, Sync, Waiter,
};
use walrus_types::{TimestampMs, UptimeMs};

use crate::play::{Play, rule, rule_with};

/// A group of `a`, who leads, and `b`, in generation 1.
const TWO: &[(&str, &str)] = &[
    ("join a v3", ""),
    ("join b v3", ""),
    ("wait 3000", ""),
    ("wait 3000", "a: 1 range leads 2; b: 1 range"),
    ("sync b", ""),
    ("sync a a=x b=y", "a: does x; b: does y"),
];

#[track_caller]
fn two(rest: &[(&str, &str)]) {
    rule(&[TWO, rest].concat());
}

#[test]
fn a_group_forms_when_its_first_wait_is_over_and_works_when_the_leader_has_assigned() {
    two(&[("state", "Stable 1 a b"), ("beat a", "ok"), ("beat b", "ok")]);
}

#[test]
fn the_first_wait_goes_on_while_members_come_but_not_past_the_rebalance_timeout() {
    rule(&[
        ("join a v3 rebalance=7000", ""),
        ("wait 2000", ""),
        ("join b v3 rebalance=7000", ""),
        ("wait 3000", ""),
        ("join c v3 rebalance=7000", ""),
        ("wait 1000", ""),
        ("wait 1000", "a: 1 range leads 3; b: 1 range; c: 1 range"),
    ]);
}

#[test]
fn without_a_first_wait_the_first_member_is_a_group() {
    let limits = GroupLimits { initial_delay_ms: 0, ..GroupLimits::default() };
    rule_with(
        limits,
        &[
            ("join a", "a: MemberIdRequired"),
            ("join a", "a: 1 range leads 1"),
            ("sync a a=x", "a: does x"),
        ],
    );
}

#[test]
fn a_new_member_comes_again_with_the_id_that_it_is_given() {
    rule(&[
        ("join a", "a: MemberIdRequired"),
        ("state", "Empty 0"),
        ("join a", ""),
        ("wait 3000", "a: 1 range leads 1"),
    ]);
}

#[test]
fn an_id_that_nobody_uses_is_forgotten_and_with_it_the_group() {
    rule(&[
        ("join a", "a: MemberIdRequired"),
        ("wait 9999", ""),
        ("state", "Empty 0"),
        ("wait 1", ""),
        ("state", "none"),
        ("join a", "a: UnknownMember"),
    ]);
}

#[test]
fn a_rebalance_waits_for_ids_that_were_given_out() {
    two(&[
        ("join c", "c: MemberIdRequired"),
        ("state", "Stable 1 a b"),
        ("join d v3", ""),
        ("join a", ""),
        ("join b", ""),
        ("join c", "a: 2 range leads 4; b: 2 range; c: 2 range; d: 2 range"),
    ]);
}

#[test]
fn ids_that_are_given_out_are_bounded_and_the_oldest_goes_first() {
    let mut play = Play::new(GroupLimits::default());
    assert_eq!(play.happens("join a"), "a: MemberIdRequired");
    for _ in 0..PENDING_MEMBERS_MAX {
        assert_eq!(play.happens("join b id="), "b: MemberIdRequired");
    }
    assert_eq!(play.happens("join a"), "a: UnknownMember");
    assert_eq!(play.happens("join b"), "");
}

#[test]
fn who_is_unknown_is_told_so() {
    rule(&[("join a id=nobody", "a: UnknownMember"), ("state", "none")]);
    two(&[("join c id=nobody", "c: UnknownMember"), ("state", "Stable 1 a b")]);
    two(&[("leave a", "ok"), ("beat a", "UnknownMember"), ("leave a", "UnknownMember")]);
}

#[test]
fn another_generation_is_refused() {
    two(&[
        ("beat a gen=0", "IllegalGeneration"),
        ("sync a gen=2", "a: IllegalGeneration"),
        ("commit a t/0=1 gen=0", "a: IllegalGeneration"),
        ("commit a t/0=1 gen=2", "a: IllegalGeneration"),
        ("fetch", ""),
    ]);
}

#[test]
fn a_third_member_makes_a_generation_once_all_have_come() {
    two(&[
        ("join c v3", ""),
        ("beat a", "Rebalancing"),
        ("join a", ""),
        ("sync b", "b: Rebalancing"),
        ("join b", "a: 2 range leads 3; b: 2 range; c: 2 range"),
        ("sync a a=1 b=2 c=3", "a: does 1"),
        ("sync c", "c: does 3"),
        ("sync b", "b: does 2"),
    ]);
}

#[test]
fn who_does_not_come_in_time_is_out() {
    two(&[
        ("join c v3", ""),
        ("join a rebalance=5000", ""),
        // b is heard of and its session lives on, but it does not join.
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 9000", ""),
        ("beat b", "Rebalancing"),
        ("wait 6000", "a: 2 range leads 2; c: 2 range"),
        ("beat b", "UnknownMember"),
    ]);
}

#[test]
fn a_member_without_heartbeats_is_out_when_its_session_ends() {
    two(&[
        ("wait 9000", ""),
        ("beat a", "ok"),
        ("wait 1000", ""),
        ("state", "PreparingRebalance 1 a"),
        ("beat a", "Rebalancing"),
        ("join a", "a: 2 range leads 1"),
    ]);
}

#[test]
fn the_last_member_leaves_an_empty_group_of_the_next_generation() {
    two(&[
        ("leave b", "ok"),
        ("state", "PreparingRebalance 1 a"),
        ("leave a", "ok"),
        ("state", "Empty 2"),
        ("beat a", "UnknownMember"),
    ]);
}

#[test]
fn each_leaver_is_judged_alone() {
    two(&[
        ("join c", "c: MemberIdRequired"),
        ("leave a name=nobody c b", "ok UnknownMember ok ok"),
        ("state", "Empty 2"),
    ]);
}

#[test]
fn a_member_that_joins_again_with_nothing_new_is_told_the_generation_and_the_leader_asks_for_a_next()
 {
    two(&[
        ("join b", "b: 1 range"),
        ("join a", ""),
        ("beat b", "Rebalancing"),
        ("join b", "a: 2 range leads 2; b: 2 range"),
        // The answer was lost, before the assignments.
        ("join b", "b: 2 range"),
        ("join a", "a: 2 range leads 2"),
        ("join b can=range:z", ""),
        ("join a", "a: 3 range leads 2; b: 3 range"),
    ]);
}

#[test]
fn a_member_that_joins_and_never_syncs_is_out_after_the_rebalance_timeout() {
    rule(&[
        ("join a v3 rebalance=4000", ""),
        ("join b v3 rebalance=4000", ""),
        ("wait 4000", "a: 1 range leads 2; b: 1 range"),
        ("sync a a=x b=y", "a: does x"),
        ("wait 3999", ""),
        ("state", "Stable 1 a b"),
        ("wait 1", ""),
        ("state", "PreparingRebalance 1 a"),
        ("sync b", "b: UnknownMember"),
    ]);
}

#[test]
fn a_leader_that_never_assigns_is_out_and_those_that_wait_are_told() {
    rule(&[
        ("join a v3 rebalance=4000", ""),
        ("join b v3 rebalance=4000", ""),
        ("wait 4000", "a: 1 range leads 2; b: 1 range"),
        ("sync b", ""),
        ("wait 3999", ""),
        ("wait 1", "b: Rebalancing"),
        ("state", "PreparingRebalance 1 b"),
        ("join b", "b: 2 range leads 1"),
    ]);
}

#[test]
fn the_first_assignment_of_a_generation_counts() {
    two(&[("sync a a=y b=x", "a: does x"), ("sync b", "b: does y")]);
    rule(&[
        ("join a v3", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("hold", ""),
        ("sync a a=x", ""),
        ("sync a a=y", "a: Rebalancing"),
        ("go", "a: does x"),
    ]);
}

#[test]
fn assignments_show_when_their_record_is_committed() {
    rule(&[
        ("join a v3", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("hold", ""),
        ("sync a a=x", ""),
        ("state", "CompletingRebalance 1 a"),
        ("go", "a: does x"),
        ("state", "Stable 1 a"),
    ]);
}

#[test]
fn assignments_whose_record_is_refused_are_asked_for_again() {
    for (outcome, told) in [("refuse", "a: NotAvailable"), ("too-large", "a: TooLarge")] {
        rule(&[
            ("join a v3", ""),
            ("wait 3000", "a: 1 range leads 1"),
            ("hold", ""),
            ("sync a a=x", ""),
            (outcome, told),
            ("state", "PreparingRebalance 1 a"),
            ("join a", "a: 2 range leads 1"),
            ("sync a a=x", "a: does x"),
        ]);
    }
}

#[test]
fn assignments_that_come_too_late_for_their_generation_change_nothing() {
    rule(&[
        ("join a v3", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("hold", ""),
        ("sync a a=x", ""),
        ("join b v3", "a: Rebalancing"),
        ("go", ""),
        ("state", "PreparingRebalance 1 a b"),
        ("join a", "a: 2 range leads 2; b: 2 range"),
    ]);
}

#[test]
fn the_protocol_is_what_most_members_like_best_of_what_all_can_do() {
    rule(&[
        ("join a v3 can=range:x+sticky:x+own:x", ""),
        ("join b v3 can=sticky:x+range:x", ""),
        ("join c v3 can=sticky:x+range:x", ""),
        ("wait 6000", "a: 1 sticky leads 3; b: 1 sticky; c: 1 sticky"),
    ]);
    rule(&[
        ("join a v3 can=range:x+sticky:x", ""),
        ("join b v3 can=sticky:x+range:x", ""),
        ("wait 6000", "a: 1 range leads 2; b: 1 range"),
    ]);
}

#[test]
fn from_eager_to_cooperative_goes_over_a_time_with_both() {
    two(&[
        ("join a can=sticky:x+range:x", ""),
        ("join b", "a: 2 range leads 2; b: 2 range"),
        ("sync a", "a: does"),
        ("join b can=sticky:x+range:x", ""),
        ("join a can=sticky:x+range:x", "a: 3 sticky leads 2; b: 3 sticky"),
    ]);
}

#[test]
fn a_member_with_nothing_in_common_is_refused() {
    two(&[
        ("join c v3 can=sticky:x", "c: InconsistentProtocol"),
        ("join c v3 type=connect", "c: InconsistentProtocol"),
        ("sync a type=connect", "a: InconsistentProtocol"),
        ("sync a proto=sticky", "a: InconsistentProtocol"),
        ("state", "Stable 1 a b"),
    ]);
    rule(&[("join a v3 can=:", "a: InconsistentProtocol"), ("state", "none")]);
}

#[test]
fn any_type_of_group_may_be() {
    rule(&[
        ("join a v3 type=connect can=sessioned:u", ""),
        ("wait 3000", "a: 1 sessioned leads 1"),
        ("sync a a=tasks", "a: does tasks"),
        ("list", "g \"connect\" Stable"),
    ]);
}

#[test]
fn session_timeouts_are_bounded() {
    for (session, told) in [
        ("join a v3 session=5999", "a: InvalidSessionTimeout"),
        ("join a v3 session=1800001", "a: InvalidSessionTimeout"),
        ("join a v3 session=-1", "a: InvalidSessionTimeout"),
        ("join a v3 session=6000", ""),
        ("join a v3 session=1800000", ""),
    ] {
        rule(&[(session, told)]);
    }
}

#[test]
fn a_full_group_takes_nobody_in() {
    let limits = GroupLimits { members_max: 2, ..GroupLimits::default() };
    let full: &[(&str, &str)] = &[
        ("join c v3", "c: GroupFull"),
        ("state", "Stable 1 a b"),
        ("join a", ""),
        // Who comes first to a rebalance has a place.
        ("join c v3", ""),
        ("join b", "a: 2 range leads 2; b: GroupFull; c: 2 range"),
    ];
    rule_with(limits, &[TWO, full].concat());
}

#[test]
fn what_a_member_brings_is_bounded() {
    let long = "x".repeat(GROUP_NAME_BYTES_MAX + 1);
    rule(&[(&format!("join a v3 can={long}:x"), "a: TooLarge"), ("state", "none")]);
    rule(&[(&format!("join a v3 name={long}"), "a: TooLarge")]);
    let many = (0..65).map(|n| format!("p{n}:x")).collect::<Vec<_>>().join("+");
    rule(&[(&format!("join a v3 can={many}"), "a: TooLarge")]);
}

#[test]
fn a_new_member_that_waits_is_out_when_its_patience_ends() {
    two(&[
        ("join c v3", ""),
        ("join a session=1800000 rebalance=600000", ""),
        ("join b id= v3 session=1800000", ""),
        ("state", "PreparingRebalance 1 a b b c"),
    ]);
}

#[test]
fn a_group_without_a_name_is_refused_by_that_and_not_for_its_members() {
    let at = At { now: UptimeMs(0), wall: TimestampMs(0) };
    let mut out = Vec::new();
    let mut coordinator = Loader::default().finish(GroupLimits::default(), at, &mut out);
    let who = Identity { member: "a", instance: None, generation: 1 };
    assert_eq!(coordinator.heartbeat("", who, at.now), Err(GroupError::InvalidName));
    let leavers = [Leaver { member: "a".into(), instance: None }];
    assert_eq!(coordinator.leave("", &leavers, at, &mut out), Err(GroupError::InvalidName));
    let sync = Sync {
        group: String::new(),
        member: "a".into(),
        instance: None,
        generation: 1,
        protocol_type: None,
        protocol: None,
        assignments: Vec::new(),
    };
    out.clear();
    coordinator.sync(sync, Waiter(1), at, &mut out);
    coordinator.delete_offsets("", Vec::new(), Waiter(2), at, &mut out);
    let answers = out.iter().filter(|effect| {
        matches!(
            effect,
            Effect::Answer {
                answer: Answer::Sync(Err(GroupError::InvalidName))
                    | Answer::DeleteOffsets(Err(GroupError::InvalidName)),
                ..
            }
        )
    });
    assert_eq!(answers.count(), 2, "{out:?}");
}
