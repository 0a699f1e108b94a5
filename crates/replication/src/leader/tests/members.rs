//! What a leader of several members does when they are lost, know more than it does, or take the
//! lead away.

use walrus_types::Incarnation;

use super::*;
use crate::replica::{FenceAnswer, Fences, NoAnswer};

#[test]
fn a_member_that_knows_of_a_seal_stops_a_leader_that_did_not_ask_for_it() {
    check(
        3,
        &[
            ("put 4", "0..4"),
            ("member sealed", ""),
            ("put 1 acks=1", "fenced in 1"),
            ("flush 4", ""),
            ("sealed 4", "stopped"),
        ],
    );
    // One that has proposed is only behind with its metadata: nobody is turned away.
    check(
        3,
        &[
            ("put 4", "0..4"),
            ("flush 4", ""),
            ("roll operator", ""),
            ("ack 2 4", "commit 4, propose e1 end 4, 1 batches"),
            ("put 1", "parked"),
            ("member sealed", ""),
            ("put 1", "parked"),
            ("repeat", "propose e1 end 4, 1 batches"),
            ("sealed 4 for 3", "leads"),
            ("unpark 1", "4..5"),
        ],
    );
    // Its drain can never end.
    check(3, &[("put 4", "0..4"), ("roll operator", ""), ("member sealed", ""), ("cancel", "no")]);
}

#[test]
fn a_leader_knows_when_the_members_that_live_can_commit_nothing() {
    check(3, &[("dead 3", ""), ("quorum", "true"), ("dead 2", ""), ("quorum", "false")]);
    check(2, &[("quorum", "true"), ("dead 2", ""), ("quorum", "false")]);
    check(1, &[("quorum", "true")]);
    for (n, below) in [(1, true), (2, false), (3, false)] {
        assert_eq!(check(n, &[]).commits_below_min_insync(), below, "n={n}"); // M12
    }
}

#[test]
fn two_of_three_that_are_lost_cost_nothing_that_was_taken() {
    check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("flush 4", ""),
            ("ack 3 4", "commit 4"),
            ("put 7:4+1", "4..5"),
            ("put 7:5+1", "5..6"),
            ("flush 6", ""),
            ("dead 2", ""),
            ("dead 3", ""),
            ("roll lost", "propose e1 end 4, 1 batches"),
            ("ack 2 6", ""), // it was not as silent as that: too late
            ("put 7:6+1 acks=1", "parked"),
            ("repeat", "propose e1 end 4, 1 batches"),
            ("sealed 4 for 3", "leads, carry 4..6"), // they are back, or others are there
            ("unpark 7:6+1", "6..7"),
            ("flush 6", ""),
            ("ack 2 5", "commit 5"), // the successor's members
            ("put 7:4+1", "again 4..5"),
            ("put 7:5+1", "again 5..6, wait"), // M9
            ("ack 3 7", "commit 6"),
        ],
    );
}

#[test]
fn a_leader_may_be_sealed_by_another_while_its_own_proposal_is_on_its_way() {
    // Both ends hold all that is committed; what is past the one that was taken is undone.
    let leader = check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("flush 4", ""),
            ("ack 2 4", "commit 4"),
            ("put 7:4+1", "4..5"),
            ("roll lost", "propose e1 end 4, 1 batches"),
            ("fence", ""),
            ("repeat", ""),
            ("sealed 5", "stopped"), // by a controller that found the batch on a member
        ],
    );
    assert_eq!(leader.cursors().commit(), Offset(5));
}

#[test]
fn a_fenced_leader_votes_and_is_cut_as_any_member_is() {
    let leader = check(
        3,
        &[
            ("put 7:0+4", "0..4"),
            ("flush 4", ""),
            ("ack 2 4", "commit 4"),
            ("put 7:4+1", "4..5"),
            ("put 7:5+1", "5..6"),
            ("flush 5", ""),
            ("fence", ""),
        ],
    );
    let life = Writer { node: NodeId(1), incarnation: Incarnation(3) };
    let mut fences = Fences::default();
    let mut replica = leader.into_member(life);
    fences.fence(life);
    fences.durable(life);
    let unflushed = NoAnswer::NotDurable { durable: Offset(5), end: Offset(6) };
    assert_eq!(replica.answer_fence(&fences), Err(unflushed)); // M7
    replica.flushed(Offset(6));
    let Ok(FenceAnswer::Held(held)) = replica.answer_fence(&fences) else {
        panic!("all of it is durable");
    };
    assert_eq!((held.end, held.bytes, held.commit), (Offset(6), 3 * BATCH, Offset(4)));
    assert_eq!(replica.readable_end(), Offset(4));
    let sealing = replica.sealed(Offset(5));
    assert_eq!((sealing.cut, sealing.finish), (Some(Offset(5)), Some(Offset(5))));
    let ends = replica.producers().unwrap().remembered(ProducerId(7)).map(|batch| batch.end);
    assert_eq!(ends.collect::<Vec<_>>(), [Offset(4), Offset(5)]); // M10
}

#[test]
#[should_panic(expected = "only a fenced leader becomes a member")]
fn a_leader_that_goes_on_does_not_vote() {
    let life = Writer { node: NodeId(1), incarnation: Incarnation(3) };
    let _member = check(3, &[]).into_member(life);
}
