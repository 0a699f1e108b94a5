//! Rolls, prunes, and what a chain answers.

use std::sync::Arc;

use walrus_metadata::{
    Command, Difference, EpochEnd, Metadata, PlacementRefusal, Prune, PruneRefusal, Pruned, Reason,
    Reply, Roll, RollRefusal, Rolled, SegmentKey,
};
use walrus_types::{Epoch, Incarnation, NodeId, Offset};

use crate::world::{
    apply, chain, new_topic, partition, prune, register, roll, sealed, topic, world,
};

fn rolled(state: &mut Metadata, roll: Roll) -> Result<Rolled, RollRefusal> {
    match apply(state, &Command::Roll(vec![roll])) {
        Reply::Rolled(mut each) if each.len() == 1 => each.remove(0),
        reply => panic!("{reply:?}"),
    }
}

fn pruned(state: &mut Metadata, prune: Prune) -> Result<Pruned, PruneRefusal> {
    match apply(state, &Command::Prune(vec![prune])) {
        Reply::Pruned(mut each) if each.len() == 1 => each.remove(0),
        reply => panic!("{reply:?}"),
    }
}

/// Ends of epochs 1, 2, 3 ...; an end that repeats is an empty segment.
fn rolled_at(ends: &[i64]) -> Metadata {
    let mut state = world(1);
    let mut base = 0;
    for (epoch, end) in (1..).zip(ends) {
        let bytes = (end - base).unsigned_abs() * 10;
        let roll = Roll { sealed: sealed(*end, bytes), ..roll(epoch, *end, &[1]) };
        let stays = *end > base;
        assert_eq!(rolled(&mut state, roll), Ok(Rolled { epoch: Epoch(epoch + 1), stays }));
        base = *end;
    }
    state
}

#[test]
fn a_roll_seals_and_opens_as_one_move() {
    assert_eq!(chain(&rolled_at(&[5])), "1:[0,5) 2:[5,) start=0");
    assert_eq!(chain(&rolled_at(&[5, 9])), "1:[0,5) 2:[5,9) 3:[9,) start=0");
}

#[test]
fn an_empty_segment_leaves_the_chain_and_its_epoch_stays_spent() {
    assert_eq!(chain(&rolled_at(&[0])), "2:[0,) start=0");
    assert_eq!(chain(&rolled_at(&[5, 5, 5, 7])), "1:[0,5) 4:[5,7) 5:[7,) start=0");
}

#[test]
fn a_sealed_segment_keeps_who_wrote_it_and_the_chain_keeps_the_reason() {
    let mut state = world(3);
    let mut next = roll(1, 5, &[2, 1, 3]);
    next.reason = Reason::Operator;
    assert!(rolled(&mut state, next).is_ok());
    let partition = state.partition(partition(1, 0)).unwrap();
    let reasons: Vec<_> = partition.chain().map(|s| (s.leader(), s.reason())).collect();
    assert_eq!(reasons, [(NodeId(1), Reason::Created), (NodeId(2), Reason::Operator)]);
}

#[test]
fn segments_in_a_row_with_the_same_members_share_one_list() {
    let state = rolled_at(&[5, 9]);
    let partition = state.partition(partition(1, 0)).unwrap();
    let (_, last) = partition.sealed().last().unwrap();
    assert!(Arc::ptr_eq(&last.members, &partition.open().members));
}

#[test]
fn a_roll_is_refused_unless_it_names_the_open_segment_and_an_end_it_can_have() {
    // Epoch 3 is open with base 9, and the log starts at 11.
    let mut start = rolled_at(&[5, 9]);
    assert!(pruned(&mut start, prune(3, 11)).is_ok());
    let other_epoch = Err(RollRefusal::OtherEpoch { current: Epoch(3) });
    let end = Err(RollRefusal::End { base: Offset(9), log_start: Offset(11) });
    let good = roll(3, 12, &[1]);
    let stays = |stays| Ok(Rolled { epoch: Epoch(4), stays });
    let cases = [
        (good.clone(), stays(true)),
        (Roll { expected: Epoch(2), ..good.clone() }, other_epoch.clone()),
        (Roll { expected: Epoch(4), ..good.clone() }, other_epoch),
        (Roll { partition: partition(1, 1), ..good.clone() }, Err(RollRefusal::UnknownPartition)),
        (Roll { partition: partition(2, 0), ..good.clone() }, Err(RollRefusal::UnknownPartition)),
        (Roll { sealed: sealed(8, 100), ..good.clone() }, end.clone()),
        (Roll { sealed: sealed(10, 100), ..good.clone() }, end.clone()),
        (Roll { sealed: sealed(11, 100), ..good.clone() }, stays(false)),
        (Roll { sealed: sealed(12, 0), ..good }, end),
    ];
    for (roll, expected) in cases {
        let mut state = start.clone();
        assert_eq!(rolled(&mut state, roll.clone()), expected, "{roll:?}");
        if expected.is_err() {
            assert_eq!(chain(&state), chain(&start));
        }
    }
}

#[test]
fn a_roll_that_comes_again_is_refused() {
    let mut state = world(1);
    let command = roll(1, 5, &[1]);
    assert!(rolled(&mut state, command.clone()).is_ok());
    let again = rolled(&mut state, command);
    assert_eq!(again, Err(RollRefusal::OtherEpoch { current: Epoch(2) }));
    assert_eq!(chain(&state), "1:[0,5) 2:[5,) start=0");
}

#[test]
fn an_empty_segment_has_neither_bytes_nor_a_timestamp() {
    let refused = Err(RollRefusal::End { base: Offset::ZERO, log_start: Offset::ZERO });
    let with_bytes = Roll { sealed: sealed(0, 1), ..roll(1, 0, &[1]) };
    assert_eq!(rolled(&mut world(1), with_bytes), refused);
    let mut with_timestamp = Roll { sealed: sealed(0, 0), ..roll(1, 0, &[1]) };
    with_timestamp.sealed.max_timestamp.0 = 1;
    assert_eq!(rolled(&mut world(1), with_timestamp), refused);
}

#[test]
fn a_past_life_gets_no_segment_and_rolls_are_judged_one_by_one() {
    let mut state = world(1);
    apply(&mut state, &Command::CreateTopics(vec![new_topic(2, "u", 1, &[1])]));
    apply(&mut state, &Command::Register(register(1, 2)));
    let past = roll(1, 5, &[1]);
    let mut present = Roll { partition: partition(2, 0), ..past.clone() };
    present.next.leader.incarnation = Incarnation(2);
    let reply = apply(&mut state, &Command::Roll(vec![past, present]));
    let refusal = PlacementRefusal::PastIncarnation {
        node: NodeId(1),
        known: Incarnation(2),
        given: Incarnation(1),
    };
    let expected = vec![Err(refusal.into()), Ok(Rolled { epoch: Epoch(2), stays: true })];
    assert_eq!(reply, Reply::Rolled(expected));
    // Segments of the past life are there to be sealed, and it may not lead.
    let left_open = state.partition(partition(1, 0)).unwrap().open().leader;
    assert!(!state.may_lead(left_open));
}

#[test]
fn a_prune_drops_whole_segments_and_may_start_inside_one() {
    let cases = [
        (0, 0, "1:[0,5) 4:[5,9) 5:[9,) start=0"),
        (4, 0, "1:[0,5) 4:[5,9) 5:[9,) start=4"),
        (5, 1, "4:[5,9) 5:[9,) start=5"),
        (8, 1, "4:[5,9) 5:[9,) start=8"),
        (9, 2, "5:[9,) start=9"),
        (12, 2, "5:[9,) start=12"),
    ];
    for (log_start, dropped, expected) in cases {
        let mut state = rolled_at(&[5, 5, 5, 9]);
        let found = pruned(&mut state, prune(5, log_start));
        assert_eq!(found, Ok(Pruned { log_start: Offset(log_start), dropped }));
        assert_eq!(chain(&state), expected);
        let lower = pruned(&mut state, prune(5, log_start - 1));
        assert_eq!(lower, Ok(Pruned { log_start: Offset(log_start), dropped: 0 }));
        assert_eq!(chain(&state), expected, "a log start never falls");
    }
}

#[test]
fn a_prune_that_saw_another_segment_is_refused() {
    let mut state = rolled_at(&[5]);
    let refused = Err(PruneRefusal::OtherEpoch { current: Epoch(2) });
    assert_eq!(pruned(&mut state, prune(1, 3)), refused);
    let nowhere = Prune { partition: partition(1, 7), ..prune(2, 3) };
    assert_eq!(pruned(&mut state, nowhere), Err(PruneRefusal::UnknownPartition));
}

#[test]
fn an_offset_is_found_in_the_segment_that_has_it() {
    let mut state = rolled_at(&[5, 5, 9]);
    let at = |state: &Metadata, offset| {
        let partition = state.partition(partition(1, 0)).unwrap();
        partition.segment_at(Offset(offset)).map(|segment| segment.key().epoch.0)
    };
    for (offset, epoch) in [(0, 1), (4, 1), (5, 3), (8, 3), (9, 4), (i64::MAX, 4)] {
        assert_eq!(at(&state, offset), Some(epoch), "offset {offset}");
    }
    assert!(pruned(&mut state, prune(4, 6)).is_ok());
    for (offset, epoch) in [(-1, None), (4, None), (5, Some(3)), (9, Some(4))] {
        assert_eq!(at(&state, offset), epoch, "offset {offset}");
    }
}

#[test]
fn an_epoch_ends_where_the_next_begins() {
    // Epochs 2 and 3 were empty.
    let mut state = rolled_at(&[5, 5, 5, 9]);
    let ask = |state: &Metadata, asked| {
        let partition = state.partition(partition(1, 0)).unwrap();
        let EpochEnd { epoch, end } = partition.epoch_end(Epoch(asked));
        (epoch.0, end.map(|end| end.0))
    };
    for (asked, expected) in [
        (0, (0, Some(0))),
        (1, (1, Some(5))),
        (2, (1, Some(5))),
        (3, (1, Some(5))),
        (4, (4, Some(9))),
        (5, (5, None)),
        (6, (5, None)),
    ] {
        assert_eq!(ask(&state, asked), expected, "epoch {asked}");
    }
    assert!(pruned(&mut state, prune(5, 7)).is_ok());
    assert_eq!(ask(&state, 1), (1, Some(7)), "before the chain");
    assert_eq!(ask(&state, 4), (4, Some(9)));
}

#[test]
fn a_diff_names_what_changed_and_what_to_unlink() {
    let mut state = rolled_at(&[5, 9]);
    apply(&mut state, &Command::CreateTopics(vec![new_topic(2, "u", 2, &[1])]));
    let old = state.clone();
    assert_eq!(state.diff(&old), []);

    assert!(pruned(&mut state, prune(3, 6)).is_ok());
    let empty = Roll { sealed: sealed(9, 0), ..roll(3, 9, &[1]) };
    assert!(rolled(&mut state, empty).is_ok());
    apply(&mut state, &Command::CreateTopics(vec![new_topic(3, "v", 1, &[1])]));
    let gone = Arc::clone(old.topic(topic(2)).unwrap());
    apply(&mut state, &Command::DeleteTopics(vec![gone.id]));
    apply(&mut state, &Command::Register(register(1, 2)));
    let expected = [
        Difference::Node(NodeId(1)),
        Difference::Partition(partition(1, 0)),
        Difference::TopicRemoved(gone),
        Difference::TopicAdded(topic(3)),
        Difference::Partition(partition(3, 0)),
    ];
    assert_eq!(state.diff(&old), expected);

    let key = |base, epoch| SegmentKey { base: Offset(base), epoch: Epoch(epoch) };
    let now = state.partition(partition(1, 0)).unwrap();
    let was = old.partition(partition(1, 0)).unwrap();
    assert_eq!(now.dropped_since(was), [key(0, 1), key(9, 3)]);
}
