//! Before a narrow seal: do those that hold the end still have it?

use super::check;

#[test]
fn who_alone_holds_the_end_is_asked_again_before_a_narrow_seal() {
    // Member 2 voted and lost its disk: sealed at 5, [4, 5) would be nowhere.
    check(
        3,
        2,
        &[
            ("2 has 5", ""),
            ("3 has 3", "copy 2>3 3..5"),
            ("copy 3 fails", ""),
            ("at 100", "copy 2>3 3..5"),
            ("copy 3 fails", ""),
            ("at 500", "copy 2>3 3..5, ask 1"),
            ("copy 3 fails", ""),
            ("at 550", "ask 2"),
            ("2 lost", ""),
            ("1 has 4", ""),
            ("at 650", "copy 1>3 3..4"),
            ("copied 3 4", "end 4 on 1+3"),
        ],
    );
    // Of several, those that say so again go on after a while.
    check(
        4,
        4,
        &[
            ("2 has 5", ""),
            ("3 has 5", ""),
            ("at 500", "ask 1, ask 2, ask 3, ask 4"),
            ("3 has 5", ""),
            ("at 999", "ask 1, ask 2, ask 4"),
            ("at 1000", "end 5 on 3, short"),
        ],
    );
}

#[test]
fn what_was_said_again_before_copies_or_of_another_end_is_asked_anew() {
    // Who held it may have lost its disk while the copies failed.
    check(
        2,
        2,
        &[
            ("2 has 5", ""),
            ("at 500", "ask 1, ask 2"),
            ("1 has 3", "copy 2>1 3..5"),
            ("2 has 5", ""),
            ("copy 1 fails", ""),
            ("at 600", "copy 2>1 3..5"),
            ("copy 1 fails", ""),
            ("at 700", "copy 2>1 3..5"),
            ("copy 1 fails", ""),
            ("at 899", ""),
            ("at 900", "ask 2"),
            ("2 has 5", "end 5 on 2, short"),
        ],
    );
    // That member 2 is gone is no reason to do without member 1, which has more.
    check(
        2,
        2,
        &[
            ("2 has 3", ""),
            ("at 500", "ask 1, ask 2"),
            ("1 has 5", "copy 1>2 3..5"),
            ("copy 2 fails", ""),
            ("at 600", "copy 1>2 3..5"),
            ("copy 2 fails", ""),
            ("at 9000", "copy 1>2 3..5"),
            ("copy 2 fails", ""),
            ("at 9050", "ask 1"),
            ("1 has 5", "end 5 on 1, short"),
        ],
    );
}

#[test]
fn who_alone_held_the_end_and_is_gone_for_good_holds_up_no_seal() {
    // One vote is enough: what only member 2 had was not committed.
    check(
        2,
        2,
        &[
            ("2 has 5", ""),
            ("1 has 3", "copy 2>1 3..5"),
            ("copy 1 fails", ""),
            ("at 100", "copy 2>1 3..5"),
            ("copy 1 fails", ""),
            ("at 200", "copy 2>1 3..5"),
            ("copy 1 fails", ""),
            ("at 500", "ask 2"),
            ("at 5499", "ask 2"),
            ("at 5500", ""),
            ("at 5501", "ask 1"),
            ("1 has 3", "end 3 on 1, short"),
        ],
    );
}
