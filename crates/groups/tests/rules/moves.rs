//! A coordinator that moves to another node: nothing committed is lost, and who stays is not
//! disturbed.

use crate::play::rule;

const TWO: &[(&str, &str)] = &[
    ("join a v3", ""),
    ("join b v3", ""),
    ("wait 6000", "a: 1 range leads 2; b: 1 range"),
    ("sync b", ""),
    ("sync a a=x b=y", "a: does x; b: does y"),
];

#[track_caller]
fn two(rest: &[(&str, &str)]) {
    rule(&[TWO, rest].concat());
}

#[test]
fn members_that_stay_notice_nothing() {
    two(&[
        ("commit a x/0=5:words", "a: ok"),
        ("wait 9999", ""),
        ("move", ""),
        ("wait 9999", ""),
        ("beat a", "ok"),
        ("beat b", "ok"),
        ("commit b x/1=6", "b: ok"),
        ("fetch", "x/0=5:words; x/1=6"),
        ("sync b", "b: does y"),
        ("state", "Stable 1 a b"),
    ]);
}

#[test]
fn sessions_begin_anew_and_end() {
    two(&[("move", ""), ("wait 10000", ""), ("state", "Empty 2")]);
}

#[test]
fn static_members_keep_their_names() {
    rule(&[
        ("join a name=i", ""),
        ("wait 3000", "a: 1 range leads 1"),
        ("sync a a=x", "a: does x"),
        ("move", ""),
        ("join b name=i", "b: 1 range"),
        ("sync b", "b: does x"),
        ("move", ""),
        ("beat a", "FencedInstance"),
        ("beat b", "ok"),
    ]);
}

#[test]
fn a_rebalance_that_the_move_broke_off_begins_again_where_the_last_generation_was() {
    two(&[
        ("join c v3", ""),
        ("join a", ""),
        ("move", "a: NotCoordinator; c: NotCoordinator"),
        ("state", "Stable 1 a b"),
        ("beat b", "ok"),
        ("join c v3 id=", ""),
        ("join a", ""),
        ("join b", "a: 2 range leads 3; b: 2 range; c: 2 range"),
    ]);
}

#[test]
fn a_generation_without_assignments_never_was() {
    two(&[
        ("join a", ""),
        ("join b", "a: 2 range leads 2; b: 2 range"),
        ("hold", ""),
        ("sync a a=x", ""),
        ("move", "a: NotCoordinator"),
        ("sync a a=x", "a: IllegalGeneration"),
        ("join a", ""),
        ("join b", "a: 2 range leads 2; b: 2 range"),
    ]);
}

#[test]
fn a_commit_that_was_under_way_is_answered_as_not_known() {
    two(&[
        ("commit a x/0=5", "a: ok"),
        ("hold", ""),
        ("commit a x/0=6", ""),
        ("move", "a: NotCoordinator"),
        ("fetch", "x/0=5"),
    ]);
}

#[test]
fn a_log_that_begins_with_the_state_is_as_good_as_all_of_it() {
    two(&[
        ("commit a x/0=5:words", "a: ok"),
        ("commit b x/1=6", "b: ok"),
        ("snapshot", ""),
        ("commit b x/1=7", "b: ok"),
        ("move", ""),
        ("fetch", "x/0=5:words; x/1=7"),
        ("beat a", "ok"),
        ("sync b", "b: does y"),
        // In the middle of a rebalance the state is that of the last generation with work.
        ("join a", ""),
        ("snapshot", ""),
        ("move", "a: NotCoordinator"),
        ("state", "Stable 1 a b"),
    ]);
}

#[test]
fn an_empty_group_is_remembered_with_its_generation() {
    two(&[
        ("leave a b", "ok ok"),
        ("move", ""),
        ("state", "Empty 2"),
        ("list", "g \"consumer\" Empty"),
        ("join a id= v3", ""),
        ("wait 3000", "a: 3 range leads 1"),
    ]);
}
