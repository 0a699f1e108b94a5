//! What operators see and do.

use crate::play::rule;

#[test]
fn a_group_is_listed_in_each_of_its_states() {
    rule(&[
        ("list", ""),
        ("commit - t/0=5", "-: ok"),
        ("list", "g \"\" Empty"),
        ("join a v3", ""),
        ("list", "g \"consumer\" PreparingRebalance"),
        ("wait 3000", "a: 1 range leads 1"),
        ("list", "g \"consumer\" CompletingRebalance"),
        ("sync a", "a: does"),
        ("list", "g \"consumer\" Stable"),
        ("leave a", "ok"),
        ("list", "g \"consumer\" Empty"),
    ]);
}

#[test]
fn only_a_group_without_members_can_be_deleted() {
    rule(&[
        ("delete", "-: NotFound"),
        ("join a v3", ""),
        ("delete", "-: NonEmpty"),
        ("wait 3000", "a: 1 range leads 1"),
        ("delete", "-: NonEmpty"),
        ("sync a", "a: does"),
        ("delete", "-: NonEmpty"),
        ("commit a x/0=5", "a: ok"),
        ("leave a", "ok"),
        ("delete", "-: ok"),
        ("fetch", ""),
        ("list", ""),
        ("move", ""),
        ("list", ""),
    ]);
}

#[test]
fn a_group_that_is_being_deleted_is_dead_and_comes_back_when_that_fails() {
    rule(&[
        ("commit - t/0=5", "-: ok"),
        ("hold", ""),
        ("delete", ""),
        ("state", "Dead 0"),
        ("fetch", "t/0=5"),
        ("join a v3", "a: NotAvailable"),
        ("commit - t/0=6", "-: NotAvailable"),
        ("forget t/0", "-: NotFound"),
        ("delete", "-: NotFound"),
        ("refuse", "-: NotAvailable"),
        ("state", "Empty 0"),
        ("commit - t/0=6", "-: ok"),
    ]);
}

#[test]
fn a_deletion_takes_commits_along_that_came_before_it() {
    rule(&[
        ("hold", ""),
        ("commit - t/0=5", ""),
        ("delete", ""),
        ("go", "-: ok; -: ok"),
        ("list", ""),
        ("move", ""),
        ("list", ""),
    ]);
}
