//! Nodes that are fenced, come back, drain and go.

use uuid::Uuid;
use walrus_metadata::{
    Command, Fence, FenceRefusal, Fenced, Holding, Leader, Metadata, NodeChange, NodeState,
    NodeStateRefusal, Register, RegisterRefusal, Reply, Roll, SetMembers, SetNodeState,
};
use walrus_types::{Epoch, Incarnation, NodeId, Offset, SegmentId, StorageId, TimestampMs};

use crate::world::{
    CLUSTER, NOW, apply, fence, member, new_topic, on, partition, prune, register, roll, set_state,
    topic, world,
};

const NODE: NodeId = NodeId(1);

fn state_of(state: &Metadata, node: i32) -> NodeState {
    state.node(NodeId(node)).unwrap().state
}

fn fenced(state: &mut Metadata, command: &Command) -> Result<u32, FenceRefusal> {
    match apply(state, command) {
        Reply::Fenced(found) => found.map(|Fenced { leads }| leads),
        reply => panic!("{reply:?}"),
    }
}

fn changed(
    state: &mut Metadata,
    node: i32,
    change: NodeChange,
) -> Result<NodeState, NodeStateRefusal> {
    match apply(state, &set_state(node, change)) {
        Reply::NodeStateSet(found) => found,
        reply => panic!("{reply:?}"),
    }
}

fn registered(state: &mut Metadata, new: Register) -> Result<(), RegisterRefusal> {
    match apply(state, &Command::Register(new)) {
        Reply::Registered(found) => found.map(|_| ()),
        reply => panic!("{reply:?}"),
    }
}

/// Node 4, which nothing names, in the given state.
fn with_a_spare(wanted: NodeState) -> Metadata {
    let mut state = world(3);
    apply(&mut state, &Command::Register(register(4, 1)));
    match wanted {
        NodeState::Active => {}
        NodeState::Draining => drop(changed(&mut state, 4, NodeChange::Drain)),
        NodeState::Fenced => drop(fenced(&mut state, &fence(4, 1))),
        NodeState::Removed => {
            drop(changed(&mut state, 4, NodeChange::Drain));
            drop(changed(&mut state, 4, NodeChange::Remove));
        }
    }
    assert_eq!(state_of(&state, 4), wanted);
    state
}

#[test]
fn a_fence_ends_one_life_and_names_what_is_to_be_sealed() {
    let mut state = world(3);
    apply(&mut state, &Command::CreateTopics(vec![new_topic(2, "u", 2, &[2, 1, 3])]));
    assert_eq!(fenced(&mut state, &fence(1, 1)), Ok(1));
    assert!(!state.may_lead(Leader { node: NODE, incarnation: Incarnation(1) }));
    assert!(state.may_store(member(1)), "its copies are good");
    let left: Vec<_> = state.left_open().map(|(place, _)| place).collect();
    assert_eq!(left, [partition(1, 0)]);
    assert_eq!(fenced(&mut state, &fence(2, 1)), Ok(2));
    assert_eq!(state.left_open().count(), 3);
}

#[test]
fn a_fence_is_refused_unless_it_names_the_present_life_of_a_node_that_serves() {
    let other = |known, given| {
        let (known, given) = (Incarnation(known), Incarnation(given));
        Err(FenceRefusal::OtherIncarnation { known, given })
    };
    let cases = [
        (NodeState::Active, fence(4, 1), Ok(0)),
        (NodeState::Draining, fence(4, 1), Ok(0)),
        (NodeState::Fenced, fence(4, 1), Err(FenceRefusal::Already)),
        (NodeState::Removed, fence(4, 1), Err(FenceRefusal::Removed)),
        (NodeState::Active, fence(4, 0), other(1, 0)),
        (NodeState::Active, fence(4, 2), other(1, 2)),
        (NodeState::Active, fence(5, 1), Err(FenceRefusal::UnknownNode { node: NodeId(5) })),
    ];
    for (from, command, expected) in cases {
        let mut state = with_a_spare(from);
        let before = state.clone();
        assert_eq!(fenced(&mut state, &command), expected, "{from:?} {command}");
        if expected.is_err() {
            assert_eq!(state.nodes(), before.nodes());
        }
    }
}

#[test]
fn a_life_after_a_fence_serves_and_what_the_fenced_one_led_is_still_to_be_sealed() {
    let mut state = world(3);
    assert_eq!(fenced(&mut state, &fence(1, 1)), Ok(1));
    assert_eq!(registered(&mut state, register(1, 2)), Ok(()));
    assert_eq!(state_of(&state, 1), NodeState::Active);
    assert!(state.may_lead(Leader { node: NODE, incarnation: Incarnation(2) }));
    assert_eq!(state.left_open().count(), 1);
    // The late fence of the earlier life does not hit this one.
    let past = FenceRefusal::OtherIncarnation { known: Incarnation(2), given: Incarnation(1) };
    assert_eq!(fenced(&mut state, &fence(1, 1)), Err(past));
    apply(&mut state, &Command::Roll(vec![roll(1, 5, &[2, 1, 3])]));
    assert_eq!(state.left_open().count(), 0);
}

/// Fences of node 1 at these seconds, each followed by a new life; then how many seconds after
/// the last it waits for leases.
#[track_caller]
fn check_wait(fences: &[i64], expected_s: i64) {
    let mut state = world(3);
    let at = |ms: i64| TimestampMs(NOW.0 + ms);
    let mut last = 0;
    for (life, second) in (1..).zip(fences) {
        last = second * 1_000;
        let incarnation = Incarnation(life);
        let fence = Fence { node: NODE, incarnation, at: at(last) };
        apply(&mut state, &Command::Fence(fence));
        assert!(!state.may_be_given_leases(NODE, at(last + 1_000_000_000)), "it is fenced");
        assert_eq!(registered(&mut state, register(1, life + 1)), Ok(()));
    }
    let wait = expected_s * 1_000;
    let node = state.node(NODE).unwrap();
    for (ms, may) in [(wait, true), (wait - 1, wait == 0), (-wait, true), (1 - wait, wait == 0)] {
        let now = at(last + ms);
        assert_eq!(state.may_be_given_leases(NODE, now), may, "{fences:?}: {ms} ms after");
        let from = (!may).then_some(at(last + wait));
        assert_eq!(node.fences.leases_from(now), from, "{fences:?}: {ms} ms after");
    }
}

#[test]
fn a_node_that_flaps_waits_for_leases_twice_as_long_each_time() {
    check_wait(&[], 0);
    check_wait(&[0], 0);
    check_wait(&[0, 30], 5);
    check_wait(&[0, 30, 60], 10);
    check_wait(&[0, 1, 2, 3], 20);
    check_wait(&[0, 1, 2, 3, 4], 40);
    check_wait(&[0, 1, 2, 3, 4, 5, 6], 160);
    check_wait(&[0, 1, 2, 3, 4, 5, 6, 7], 300);
    check_wait(&[7; 300], 300);
    // What lies ten minutes back is forgotten; a clock that is a little behind changes nothing.
    check_wait(&[0, 599], 5);
    check_wait(&[0, 600], 0);
    check_wait(&[0, 30, 700, 710], 5);
    check_wait(&[30, 0], 5);
}

#[test]
fn a_crash_that_nobody_noticed_in_time_counts_and_a_stop_in_order_does_not() {
    let later = |life, seconds: i64| Register {
        at: TimestampMs(NOW.0 + seconds * 1_000),
        ..register(1, life)
    };
    let count = |state: &Metadata| state.node(NODE).unwrap().fences.count;
    let mut state = world(3);
    assert_eq!(registered(&mut state, later(2, 1)), Ok(()));
    assert_eq!(count(&state), 1, "it led a segment");
    assert_eq!(registered(&mut state, later(3, 2)), Ok(()));
    assert_eq!(count(&state), 1, "its second life led none");
    assert_eq!(fenced(&mut state, &fence(1, 3)), Ok(0));
    assert_eq!(registered(&mut state, later(4, 3)), Ok(()));
    assert_eq!(count(&state), 2, "fenced, and not counted again when it came back");
    let untimed = Register { at: TimestampMs::NONE, ..register(1, 5) };
    let mut next = roll(1, 5, &[1, 2, 3]);
    next.next.leader.incarnation = Incarnation(4);
    apply(&mut state, &Command::Roll(vec![next]));
    assert_eq!(registered(&mut state, untimed), Ok(()));
    assert_eq!(count(&state), 2, "when it was is not known");
}

#[test]
fn states_change_only_as_they_may() {
    use NodeChange::{Drain, Remove, Undrain};
    use NodeState::{Active, Draining, Fenced, Removed};
    let gone = Err(NodeStateRefusal::Removed);
    let cases = [
        (Active, Drain, Ok(Draining)),
        (Active, Undrain, Ok(Active)),
        (Active, Remove, Err(NodeStateRefusal::Active)),
        (Draining, Drain, Ok(Draining)),
        (Draining, Undrain, Ok(Active)),
        (Draining, Remove, Ok(Removed)),
        (Fenced, Drain, Ok(Fenced)),
        (Fenced, Undrain, Ok(Fenced)),
        (Fenced, Remove, Ok(Removed)),
        (Removed, Drain, gone.clone()),
        (Removed, Undrain, gone),
        (Removed, Remove, Ok(Removed)),
    ];
    for (from, change, expected) in cases {
        let mut state = with_a_spare(from);
        let before = state.clone();
        assert_eq!(changed(&mut state, 4, change), expected, "{change:?} of {from:?}");
        assert_eq!(state_of(&state, 4), expected.unwrap_or(from));
        // Nobody is told of what did not change.
        let node = |state: &Metadata| state.node(NodeId(4)).unwrap().as_ref().clone();
        assert_eq!(state.diff(&before).is_empty(), node(&state) == node(&before));
    }
    let unknown = Err(NodeStateRefusal::UnknownNode { node: NodeId(5) });
    assert_eq!(changed(&mut world(1), 5, Drain), unknown);
}

#[test]
fn a_node_that_was_looked_at_in_another_life_is_left_alone() {
    let mut state = with_a_spare(NodeState::Fenced);
    assert_eq!(registered(&mut state, register(4, 2)), Ok(()));
    for (expected, change, answer) in [
        (1, NodeChange::Drain, Err((2, 1))),
        (2, NodeChange::Drain, Ok(NodeState::Draining)),
        (1, NodeChange::Remove, Err((2, 1))),
        (2, NodeChange::Remove, Ok(NodeState::Removed)),
    ] {
        let expected = Some(Incarnation(expected));
        let set = SetNodeState { node: NodeId(4), expected, change };
        let answer = answer.map_err(|(known, given)| NodeStateRefusal::OtherIncarnation {
            known: Incarnation(known),
            given: Incarnation(given),
        });
        let reply = apply(&mut state, &Command::SetNodeState(set));
        assert_eq!(reply, Reply::NodeStateSet(answer), "{set:?}");
    }
}

#[test]
fn a_node_that_drains_goes_on_draining_in_its_next_life() {
    for (changes, expected) in [
        (&[NodeChange::Drain][..], NodeState::Draining),
        (&[NodeChange::Drain, NodeChange::Undrain][..], NodeState::Active),
        (&[][..], NodeState::Active),
    ] {
        // Asked for before the fence, and while the node was down.
        for before in [true, false] {
            let mut state = world(3);
            let fence = [fence(1, 1)];
            let asked: Vec<_> = changes.iter().map(|change| set_state(1, *change)).collect();
            let order = if before { [&asked[..], &fence[..]] } else { [&fence[..], &asked[..]] };
            order.concat().iter().for_each(|command| drop(apply(&mut state, command)));
            assert_eq!(state_of(&state, 1), NodeState::Fenced);
            assert_eq!(registered(&mut state, register(1, 2)), Ok(()));
            assert_eq!(state_of(&state, 1), expected, "{changes:?} {before}");
            let may = state.may_be_given_leases(NODE, NOW);
            assert_eq!(may, expected == NodeState::Active, "what drains is given nothing new");
        }
    }
}

#[test]
fn a_node_is_removed_when_no_segment_names_it() {
    let mut state = world(3);
    apply(&mut state, &Command::Register(register(4, 1)));
    apply(&mut state, &Command::Roll(vec![roll(1, 5, &[1, 2, 3]), roll(2, 9, &[2, 1, 3])]));
    assert_eq!(changed(&mut state, 1, NodeChange::Drain), Ok(NodeState::Draining));
    let id = |base, epoch| {
        let (base, epoch) = (Offset(base), Epoch(epoch));
        Some(SegmentId { partition: partition(1, 0), base, epoch })
    };
    let mut refused = |step: Command, holding| {
        let reply = apply(&mut state, &step);
        assert!(!format!("{reply:?}").contains("Err"), "{reply:?}");
        let found = changed(&mut state, 1, NodeChange::Remove);
        assert_eq!(found, Err(NodeStateRefusal::Needed(holding)), "after {step}");
        found.unwrap_err().to_string()
    };
    let holding = Holding { leads: 0, open: 1, sealed: 2, one: id(0, 1) };
    refused(set_state(1, NodeChange::Drain), holding);
    // It leads again, in an open segment of another topic.
    let create = Command::CreateTopics(vec![new_topic(2, "u", 1, &[1, 2, 3])]);
    let holding = Holding { leads: 1, open: 2, sealed: 2, one: id(0, 1) };
    let said = refused(create, holding);
    assert!(said.contains("leads 1 segments"), "{said}");
    let holding = Holding { leads: 0, open: 1, sealed: 2, one: id(0, 1) };
    refused(Command::DeleteTopics(vec![topic(2)]), holding);
    let holding = Holding { leads: 0, open: 0, sealed: 3, one: id(0, 1) };
    refused(Command::Roll(vec![roll(3, 12, &[2, 3, 4])]), holding);
    let holding = Holding { leads: 0, open: 0, sealed: 2, one: id(5, 2) };
    refused(Command::Prune(vec![prune(4, 6)]), holding);
    let without = |base, epoch| SetMembers {
        partition: partition(1, 0),
        segment: walrus_metadata::SegmentKey { base: Offset(base), epoch: Epoch(epoch) },
        expected: if epoch == 2 { on(&[1, 2, 3]).members } else { on(&[2, 1, 3]).members },
        members: on(&[2, 3, 4]).members,
        digest: None,
    };
    let holding = Holding { leads: 0, open: 0, sealed: 1, one: id(9, 3) };
    refused(Command::SetMembers(vec![without(5, 2)]), holding);
    apply(&mut state, &Command::SetMembers(vec![without(9, 3)]));
    assert_eq!(state.holding(NODE), Holding::default());
    assert_eq!(changed(&mut state, 1, NodeChange::Remove), Ok(NodeState::Removed));
    assert!(!state.may_store(member(1)));
}

#[test]
fn a_removed_node_frees_its_node_id_for_an_empty_disk_and_its_disk_stays_spent() {
    let mut state = with_a_spare(NodeState::Fenced);
    let disk = |number: u128| StorageId(Uuid::from_u128(number));
    let wiped = |node, storage, life| Register { storage: disk(storage), ..register(node, life) };
    let other = RegisterRefusal::OtherStorage { known: disk(4), given: disk(40) };
    assert_eq!(registered(&mut state, wiped(4, 40, 2)), Err(other));
    assert_eq!(changed(&mut state, 4, NodeChange::Remove), Ok(NodeState::Removed));
    assert_eq!(registered(&mut state, register(4, 2)), Err(RegisterRefusal::Removed));
    let owner = NodeId(4);
    let of_other = Err(RegisterRefusal::StorageOfOther { owner });
    assert_eq!(registered(&mut state, wiped(5, 4, 2)), of_other);
    let of_other = Err(RegisterRefusal::StorageOfOther { owner: NODE });
    assert_eq!(registered(&mut state, wiped(4, 1, 2)), of_other);
    // Lives of one node id are not used again either: fences are known by them.
    let (known, given) = (Incarnation(1), Incarnation(1));
    let past = RegisterRefusal::PastIncarnation { known, given };
    assert_eq!(registered(&mut state, wiped(4, 40, 1)), Err(past));

    assert_eq!(registered(&mut state, wiped(4, 40, 2)), Ok(()));
    let node = state.node(owner).unwrap();
    assert_eq!((node.state, node.storage, node.fences.count), (NodeState::Active, disk(40), 0));
    assert_eq!((state.spent(disk(4)), state.spent(disk(40))), (Some(owner), None));
    let spent = Err(RegisterRefusal::StorageSpent { owner });
    assert_eq!(registered(&mut state, register(4, 3)), spent);
    assert_eq!(registered(&mut state, wiped(5, 4, 1)), spent);
    assert_eq!(state.cluster(), Some(CLUSTER));
    assert_eq!(Metadata::decode(&state.encode()), Ok(state));
}

#[test]
fn only_nodes_that_may_be_given_segments_count_for_how_many_members_there_must_be() {
    use walrus_metadata::{PlacementRefusal, Reply::Rolled};
    let down = |node| fence(node, 1);
    let drain = |node| set_state(node, NodeChange::Drain);
    let few = |given, least| Some(PlacementRefusal::TooFew { given, least });
    let dead = |live, w| Some(PlacementRefusal::Dead { live, w });
    // Of four nodes some go; the topic wants three members. Node 2 leads the next segment.
    let cases: [(&[Command], &[i32], Option<PlacementRefusal>); 14] = [
        (&[], &[2, 3, 4], None),
        (&[], &[2, 3], few(2, 3)),
        (&[down(1)], &[2, 3, 4], None),
        (&[down(1)], &[2, 3], few(2, 3)),
        // One that is fenced keeps its place for a while.
        (&[down(1)], &[2, 3, 1], None),
        (&[down(1), down(3)], &[2, 4], None),
        (&[down(1), down(3)], &[2], few(1, 2)),
        (&[down(1), down(3)], &[2, 1, 3], dead(1, 2)),
        (&[down(1), down(3)], &[2, 1], dead(1, 2)),
        // M5: the leader alone is left, and goes on alone.
        (&[down(1), down(3), down(4)], &[2], None),
        (&[down(1), down(3), down(4)], &[2, 3], dead(1, 2)),
        (&[drain(1), drain(3)], &[2, 4], None),
        (&[drain(1), drain(3)], &[2, 1, 3], None),
        (&[drain(1), drain(2), drain(3), drain(4)], &[2], None),
    ];
    for (steps, nodes, refusal) in cases {
        let mut state = with_a_spare(NodeState::Active);
        for step in steps {
            apply(&mut state, step);
        }
        let reply = apply(&mut state, &Command::Roll(vec![Roll { ..roll(1, 5, nodes) }]));
        let Rolled(found) = reply else { panic!("{reply:?}") };
        let expected = refusal.map(Into::into);
        assert_eq!(found[0].clone().err(), expected, "{nodes:?} after {steps:?}");
    }
}
