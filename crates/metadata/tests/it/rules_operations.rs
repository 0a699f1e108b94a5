//! Operations: what may begin beside what, what their ends leave, how many are kept.

use walrus_metadata::{
    BeginOperation, Command, Difference, EndOperation, Metadata, NodeChange, NodeState,
    OperationRefusal, Outcome, Reply, Rollover, Target, Work,
    limits::{ACTOR_BYTES_MAX, OPERATION_TARGETS_MAX, OPERATIONS_MAX, OPERATIONS_RUNNING_MAX},
};
use walrus_types::{Epoch, NodeId, Offset, OperationId, PlanId, TimestampMs};

use crate::world::{NOW, apply, member, partition, register, set_state, world};

fn begin(state: &mut Metadata, plan: u64, work: Work) -> Result<OperationId, OperationRefusal> {
    let (actor, reason) = ("ann".to_owned(), "a disk is to be replaced".to_owned());
    let asked =
        BeginOperation { work, plan: PlanId::of(plan), actor, reason, segments: 7, at: NOW };
    match apply(state, &Command::BeginOperation(asked)) {
        Reply::Operation(told) => told,
        other => panic!("{other:?}"),
    }
}

fn end(
    state: &mut Metadata,
    id: OperationId,
    outcome: Outcome,
) -> Result<OperationId, OperationRefusal> {
    let at = TimestampMs(NOW.0 + 1);
    match apply(state, &Command::EndOperation(EndOperation { id, outcome, at })) {
        Reply::Operation(told) => told,
        other => panic!("{other:?}"),
    }
}

fn drain(node: i32) -> Work {
    Work::Drain(NodeId(node))
}

fn remove(node: i32) -> Work {
    Work::Remove { node: NodeId(node), storage: member(node).storage }
}

fn rollover(targets: usize) -> Work {
    let target = Target { partition: partition(1, 0), epoch: Epoch(1) };
    Work::Rollover(Rollover { targets: vec![target; targets], total: 1, per_minute: 60 })
}

fn cancelled() -> Outcome {
    Outcome::Cancelled { by: "bob".to_owned() }
}

fn is_draining(state: &Metadata, node: i32) -> bool {
    state.node(NodeId(node)).unwrap().state == NodeState::Draining
}

#[test]
fn a_drain_begins_with_its_operation_and_is_taken_back_with_it() {
    for drained_before in [false, true] {
        let mut state = world(4);
        if drained_before {
            apply(&mut state, &set_state(2, NodeChange::Drain));
        }
        let before = state.clone();
        let id = begin(&mut state, 1, drain(2)).unwrap();
        assert_eq!(id, OperationId(state.applied()));
        assert!(is_draining(&state, 2));
        assert!(state.diff(&before).contains(&Difference::Operation(id)));
        let known = state.operations().get(&id).unwrap();
        assert_eq!((known.actor.as_str(), known.segments, known.is_running()), ("ann", 7, true));

        assert_eq!(end(&mut state, id, cancelled()), Ok(id));
        assert_eq!(is_draining(&state, 2), drained_before);
        assert_eq!(end(&mut state, id, Outcome::Done), Err(OperationRefusal::Ended { id }));
        assert_eq!(Metadata::decode(&state.encode()), Ok(state));
    }
}

#[test]
fn a_node_that_was_drained_stays_so_when_its_operation_is_done() {
    let mut state = world(4);
    let id = begin(&mut state, 1, drain(2)).unwrap();
    end(&mut state, id, Outcome::Done).unwrap();
    assert!(is_draining(&state, 2));
}

#[test]
fn a_plan_is_carried_out_once() {
    let mut state = world(4);
    let id = begin(&mut state, 1, drain(2)).unwrap();
    assert_eq!(begin(&mut state, 1, drain(2)), Ok(id));
    end(&mut state, id, cancelled()).unwrap();
    assert_eq!(begin(&mut state, 1, drain(2)), Ok(id), "of a plan that has ended");
    assert!(!is_draining(&state, 2));
}

#[test]
fn what_begins_beside_what() {
    let transfer = || Work::TransferRaft { to: NodeId(2) };
    let seal = |index, epoch| Work::UnsafeSeal {
        partition: partition(1, index),
        epoch: Epoch(epoch),
        end: Offset(5),
    };
    for (runs, asked, may) in [
        (drain(2), drain(2), false),
        (drain(2), drain(3), true),
        (drain(2), remove(2), true),
        (remove(2), drain(2), false),
        (remove(2), remove(2), false),
        (remove(2), remove(3), true),
        (transfer(), transfer(), false),
        (transfer(), drain(2), true),
        (rollover(1), rollover(1), true),
        (rollover(1), drain(2), true),
        (seal(0, 1), seal(0, 1), false),
        (seal(0, 1), seal(0, 2), true),
        (seal(0, 1), seal(1, 1), true),
    ] {
        let mut state = world(4);
        let id = begin(&mut state, 1, runs.clone()).unwrap();
        let told = begin(&mut state, 2, asked.clone());
        let expected =
            if may { Ok(OperationId(state.applied())) } else { Err(OperationRefusal::Busy { id }) };
        assert_eq!(told, expected, "{asked:?} beside {runs:?}");
        end(&mut state, id, Outcome::Done).unwrap();
        assert!(begin(&mut state, 3, asked).is_ok() || may);
    }
}

#[test]
fn to_undrain_a_node_ends_what_was_to_empty_it() {
    let mut state = world(4);
    let drains = begin(&mut state, 1, drain(2)).unwrap();
    let removes = begin(&mut state, 2, remove(2)).unwrap();
    let other = begin(&mut state, 3, drain(3)).unwrap();
    let id = begin(&mut state, 4, Work::Undrain(NodeId(2))).unwrap();
    assert!(!is_draining(&state, 2) && is_draining(&state, 3));
    let outcome = |id| state.operations().get(&id).unwrap().end.as_ref().map(|end| &end.outcome);
    let taken_back = Outcome::Cancelled { by: "ann".to_owned() };
    assert_eq!(outcome(drains), Some(&taken_back));
    assert_eq!(outcome(removes), Some(&taken_back));
    assert_eq!((outcome(other), outcome(id)), (None, Some(&Outcome::Done)));
}

#[test]
fn a_cancelled_removal_that_took_over_a_drain_leaves_the_node_draining() {
    let mut state = world(4);
    begin(&mut state, 1, drain(2)).unwrap();
    let id = begin(&mut state, 2, remove(2)).unwrap();
    end(&mut state, id, cancelled()).unwrap();
    assert!(is_draining(&state, 2));
}

#[test]
fn of_a_removed_node_what_is_left_may_still_be_ended() {
    let mut state = world(3);
    apply(&mut state, &Command::Register(register(4, 1)));
    apply(&mut state, &set_state(4, NodeChange::Drain));
    apply(&mut state, &set_state(4, NodeChange::Remove));
    let id = begin(&mut state, 1, remove(4)).unwrap();
    end(&mut state, id, cancelled()).unwrap();
    assert_eq!(state.node(NodeId(4)).unwrap().state, NodeState::Removed);
    assert!(matches!(begin(&mut state, 2, drain(4)), Err(OperationRefusal::Node(_))));
    let other = Work::Remove { node: NodeId(3), storage: member(9).storage };
    assert_eq!(begin(&mut state, 3, other), Err(OperationRefusal::OtherStorage));
}

#[test]
fn what_is_too_long_or_too_much_is_refused() {
    let mut state = world(4);
    for targets in [0, OPERATION_TARGETS_MAX + 1] {
        let limit = OPERATION_TARGETS_MAX as u64;
        let refused = begin(&mut state, 1, rollover(targets));
        assert_eq!(refused, Err(OperationRefusal::Targets { limit }), "{targets}");
    }
    let asked = BeginOperation {
        work: drain(2),
        plan: PlanId::of(1),
        actor: "a".repeat(ACTOR_BYTES_MAX + 1),
        reason: String::new(),
        segments: 0,
        at: NOW,
    };
    let reply = apply(&mut state, &Command::BeginOperation(asked));
    assert!(matches!(reply, Reply::Operation(Err(OperationRefusal::TooLong { .. }))), "{reply:?}");
    assert!(state.operations().is_empty() && !is_draining(&state, 2));

    for plan in 0..OPERATIONS_RUNNING_MAX as u64 {
        begin(&mut state, 10 + plan, rollover(1)).unwrap();
    }
    let limit = OPERATIONS_RUNNING_MAX as u64;
    assert_eq!(begin(&mut state, 9, rollover(1)), Err(OperationRefusal::TooMany { limit }));
    let id = OperationId(9_999);
    assert_eq!(end(&mut state, id, Outcome::Done), Err(OperationRefusal::Unknown { id }));
}

#[test]
fn running_operations_are_never_forgotten_and_ended_ones_keep_no_targets() {
    let mut state = world(4);
    let first = begin(&mut state, 1, rollover(3)).unwrap();
    let mut ended = Vec::new();
    for plan in 0..OPERATIONS_MAX as u64 + 5 {
        let id = begin(&mut state, 10 + plan, rollover(3)).unwrap();
        end(&mut state, id, Outcome::Done).unwrap();
        ended.push(id);
    }
    assert_eq!(state.operations().len(), OPERATIONS_MAX);
    let targets = |id| match &state.operations().get(&id)?.work {
        Work::Rollover(rollover) => Some(rollover.targets.len()),
        other => panic!("{other:?}"),
    };
    assert_eq!(targets(first), Some(3));
    assert_eq!((targets(ended[0]), targets(*ended.last().unwrap())), (None, Some(0)));
    assert_eq!(Metadata::decode(&state.encode()), Ok(state));
}
