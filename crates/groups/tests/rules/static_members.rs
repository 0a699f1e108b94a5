//! Static members (KIP-345): their place waits for them.

use crate::play::rule;

/// A group of `a`, who leads, and `b`, named i and j, in generation 1.
const NAMED: &[(&str, &str)] = &[
    ("join a name=i", ""),
    ("join b name=j", ""),
    ("wait 6000", "a: 1 range leads 2; b: 1 range"),
    ("sync b", ""),
    ("sync a a=x b=y", "a: does x; b: does y"),
];

#[track_caller]
fn named(rest: &[(&str, &str)]) {
    rule(&[NAMED, rest].concat());
}

#[test]
fn a_follower_that_comes_back_has_its_work_and_nobody_is_disturbed() {
    named(&[
        ("join c name=j", "c: 1 range"),
        ("sync c", "c: does y"),
        ("beat a", "ok"),
        ("beat c", "ok"),
        ("state", "Stable 1 a c"),
    ]);
}

#[test]
fn the_old_one_is_fenced() {
    named(&[
        ("join c name=j", "c: 1 range"),
        ("beat b", "FencedInstance"),
        ("sync b", "b: FencedInstance"),
        ("commit b t/0=1", "b: FencedInstance"),
        ("join b", "b: FencedInstance"),
        ("commit c t/0=1", "c: ok"),
    ]);
}

#[test]
fn a_leader_that_comes_back_is_kept_from_assigning_again() {
    named(&[
        ("join c name=i skip", "c: 1 range leads 2 and assigned before"),
        ("sync c", "c: does x"),
    ]);
    // One that does not know how to skip takes itself for a follower.
    named(&[("join c name=i", "c: 1 range"), ("sync c", "c: does x"), ("beat b", "ok")]);
}

#[test]
fn one_that_comes_back_with_other_topics_or_protocols_makes_a_generation() {
    named(&[("join c name=j can=range:z", ""), ("join a", "a: 2 range leads 2; c: 2 range")]);
    named(&[("join c name=j can=range:x+sticky:x", "c: 1 range")]);
}

#[test]
fn one_that_comes_back_while_the_leader_assigns_makes_a_generation() {
    rule(&[
        ("join a name=i", ""),
        ("join b name=j", ""),
        ("wait 6000", "a: 1 range leads 2; b: 1 range"),
        ("sync b", ""),
        ("join c name=j", "b: FencedInstance"),
        ("join a", "a: 2 range leads 2; c: 2 range"),
    ]);
}

#[test]
fn its_new_id_shows_when_the_record_is_committed() {
    named(&[
        ("hold", ""),
        ("join c name=j", ""),
        ("go", "c: 1 range"),
        ("move", ""),
        ("beat c", "ok"),
    ]);
    named(&[
        ("hold", ""),
        ("join c name=j", ""),
        ("refuse", "c: NotAvailable"),
        ("beat b", "ok"),
        ("state", "Stable 1 a b"),
    ]);
}

#[test]
fn one_that_comes_back_into_a_rebalance_is_in_the_next_generation() {
    named(&[
        ("join c v3", ""),
        ("join d name=j", ""),
        ("join a", "a: 2 range leads 3; c: 2 range; d: 2 range"),
    ]);
    // The replacement is written while somebody else asks for a rebalance.
    named(&[
        ("hold", ""),
        ("join d name=j", ""),
        ("join c v3", ""),
        ("go", ""),
        ("join a", "a: 2 range leads 3; c: 2 range; d: 2 range"),
    ]);
}

#[test]
fn a_silent_static_member_keeps_its_place_until_its_session_ends() {
    named(&[
        ("join c v3 rebalance=4000", ""),
        ("join a session=1800000 rebalance=4000", ""),
        // b does not come, and its session is over before the others have waited long enough.
        ("wait 10000", "a: 2 range leads 2; c: 2 range"),
        ("beat b", "UnknownMember"),
    ]);
}

#[test]
fn an_operator_takes_one_out_by_its_name() {
    named(&[
        ("leave name=j", "ok"),
        ("state", "PreparingRebalance 1 a"),
        ("leave name=j", "UnknownMember"),
    ]);
}

#[test]
fn a_name_that_nobody_has_is_no_member() {
    named(&[("beat a name=z", "UnknownMember"), ("beat a name=j", "FencedInstance")]);
}
