//! Where partitions are to be: what may be asked for, and what is left to do.

use walrus_metadata::{
    Assign, AssignRefusal, Assignment, Command, Metadata, NodeChange, Outstanding, Reply,
    SetMembers, limits::MEMBERS_MAX,
};
use walrus_types::NodeId;

use crate::world::{apply, member, on, partition, roll, set_state, world};

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

fn wish(to: &[i32]) -> Assignment {
    Assignment { to: nodes(to), from: nodes(&[1, 2, 3]) }
}

fn assign(
    state: &mut Metadata,
    expected: Option<Assignment>,
    assignment: Option<Assignment>,
) -> Result<(), AssignRefusal> {
    let assign = Assign { partition: partition(1, 0), expected, assignment };
    match apply(state, &Command::Assign(vec![assign])) {
        Reply::Assigned(mut each) => each.remove(0),
        other => panic!("{other:?}"),
    }
}

/// What is left to do, as `to +adding -removing`, with a `!` while the open segment is elsewhere.
fn left(state: &Metadata) -> String {
    let partition = state.partition(partition(1, 0)).unwrap();
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| node.0.to_string()).collect::<String>();
    state.outstanding(partition).map_or_else(String::new, |outstanding| {
        let Outstanding { to, adding, removing, is_open_there } = outstanding;
        let mark = if is_open_there { "" } else { "!" };
        format!("{} +{} -{}{mark}", ids(&to), ids(&adding), ids(&removing))
    })
}

#[test]
fn a_partition_is_assigned_to_nodes_of_the_cluster_each_once() {
    let mut state = world(4);
    apply(&mut state, &set_state(4, NodeChange::Drain));
    let before = state.clone();
    let limit = MEMBERS_MAX as u64;
    for (to, expected) in [
        (&[][..], AssignRefusal::Nodes { limit }),
        (&[1, 1], AssignRefusal::Nodes { limit }),
        (&[1; MEMBERS_MAX + 1], AssignRefusal::Nodes { limit }),
        (&[1, 9], AssignRefusal::UnknownNode { node: NodeId(9) }),
    ] {
        assert_eq!(assign(&mut state, None, Some(wish(to))), Err(expected), "{to:?}");
    }
    let elsewhere = Assign { partition: partition(1, 7), expected: None, assignment: None };
    let reply = apply(&mut state, &Command::Assign(vec![elsewhere]));
    assert_eq!(reply, Reply::Assigned(vec![Err(AssignRefusal::UnknownPartition)]));
    assert!(state.partitions().eq(before.partitions()));
}

#[test]
fn an_assignment_is_changed_by_who_knows_it() {
    let mut state = world(4);
    assert_eq!(assign(&mut state, None, Some(wish(&[4, 1, 2]))), Ok(()));
    for stale in [None, Some(wish(&[1, 2, 3]))] {
        let refused = assign(&mut state, stale, Some(wish(&[2, 3, 4])));
        assert_eq!(refused, Err(AssignRefusal::OtherAssignment));
    }
    let known = Some(wish(&[4, 1, 2]));
    assert_eq!(assign(&mut state, known.clone(), Some(wish(&[2, 3, 4]))), Ok(()));
    assert_eq!(assign(&mut state, known, None), Err(AssignRefusal::OtherAssignment));
    assert_eq!(assign(&mut state, Some(wish(&[2, 3, 4])), None), Ok(()));
    assert!(state.partition(partition(1, 0)).unwrap().assignment().is_none());
    assert_eq!(Metadata::decode(&state.encode()), Ok(state));
}

#[test]
fn as_many_nodes_as_are_named_are_what_the_topic_wants_from_then_on() {
    let mut state = world(3);
    for to in [&[2][..], &[3, 1], &[1, 2, 3]] {
        let known = state.partition(partition(1, 0)).unwrap().assignment().cloned();
        let known = known.map(|known| Assignment::clone(&known));
        assert_eq!(assign(&mut state, known, Some(wish(to))), Ok(()));
        let topic = state.topic(partition(1, 0).topic).unwrap();
        assert_eq!(usize::from(topic.replicas_target), to.len());
        assert_eq!(Metadata::decode(&state.encode()).as_ref(), Ok(&state), "it is kept");
    }
}

#[test]
fn what_is_left_is_what_lies_elsewhere() {
    let mut state = world(4);
    assert_eq!(left(&state), "");
    // The first segment was on all four.
    for (epoch, end) in [(1, 5), (2, 10)] {
        apply(&mut state, &Command::Roll(vec![roll(epoch, end, &[1, 2, 3])]));
    }
    assign(&mut state, None, Some(wish(&[4, 2, 1]))).unwrap();
    assert_eq!(left(&state), "421 +4 -3!");
    let short = state.short_of_copies(|_| true, 9);
    assert_eq!(short.len(), 2, "all but the first lack a member: {short:?}");
    apply(&mut state, &Command::Roll(vec![roll(3, 20, &[4, 2, 1])]));
    assert_eq!(left(&state), "421 +4 -3");
    let chain = state.partition(partition(1, 0)).unwrap().clone();
    for (segment, sealed) in chain.sealed() {
        let set = SetMembers {
            partition: partition(1, 0),
            segment: *segment,
            expected: sealed.members.to_vec(),
            members: on(&[4, 2, 1]).members,
            digest: None,
        };
        apply(&mut state, &Command::SetMembers(vec![set]));
    }
    assert_eq!(left(&state), "421 + -");
    assert_eq!(state.short_of_copies(|_| true, 9), []);
    let chain = state.partition(partition(1, 0)).unwrap();
    assert!(state.outstanding(chain).is_some_and(|outstanding| outstanding.is_done()));
    let assigned: Vec<_> = state.assigned(chain);
    assert_eq!(assigned, [4, 2, 1].map(member));
}
