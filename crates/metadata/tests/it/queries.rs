//! What a controller asks.

use walrus_metadata::{
    AddPartitions, Command, Coverage, Leader, Member, Metadata, NodeState, Reason, Roll, Short,
};
use walrus_types::{Epoch, Incarnation, NodeId, Offset, SegmentId};

use crate::world::{
    NOW, apply, fence, member, new_topic, on, partition, register, roll, topic, world,
};

fn leases(state: &Metadata) -> Vec<(i32, u64, u32)> {
    state.leases().map(|(leader, n)| (leader.node.0, leader.incarnation.0, n)).collect()
}

#[test]
fn leases_are_counted_by_life_through_every_command_that_moves_them() {
    let mut state = world(3);
    assert_eq!(leases(&state), [(1, 1, 1)]);
    let create = Command::CreateTopics(vec![new_topic(2, "u", 3, &[2, 1, 3])]);
    apply(&mut state, &create);
    assert_eq!(leases(&state), [(1, 1, 1), (2, 1, 3)]);
    let partitions = vec![on(&[1, 2, 3]), on(&[3, 2, 1])];
    let add = AddPartitions { topic: topic(2), expected: 3, partitions, at: NOW };
    apply(&mut state, &Command::AddPartitions(add.clone()));
    apply(&mut state, &Command::AddPartitions(add));
    assert_eq!(leases(&state), [(1, 1, 2), (2, 1, 3), (3, 1, 1)]);
    apply(&mut state, &Command::Register(register(1, 2)));
    let mut moves = roll(1, 5, &[1, 2, 3]);
    moves.next.leader.incarnation = Incarnation(2);
    apply(&mut state, &Command::Roll(vec![moves]));
    assert_eq!(leases(&state), [(1, 1, 1), (1, 2, 1), (2, 1, 3), (3, 1, 1)]);
    assert_eq!(state.leases_of(NodeId(1)), 2);
    let of_two = |leader: Leader| leader.node == NodeId(2);
    let places: Vec<_> = state.led_by(of_two).map(|(place, _)| place).collect();
    assert_eq!(places, [0, 1, 2].map(|index| partition(2, index)));
    let left: Vec<_> = state.left_open().map(|(place, _)| place).collect();
    assert_eq!(left, [partition(2, 3)], "led by the first life of node 1");
    assert_eq!(
        Metadata::decode(&state.encode()).map(|decoded| leases(&decoded)),
        Ok(leases(&state))
    );
    apply(&mut state, &Command::DeleteTopics(vec![topic(2)]));
    assert_eq!(leases(&state), [(1, 2, 1)]);
    assert_eq!(state.left_open().count(), 0);
}

#[test]
fn segments_with_too_few_copies_are_found_single_ones_first() {
    // Epoch 1 on one node, epoch 2 on two, epoch 3 on three; epoch 4 is open, on four.
    let mut state = Metadata::default();
    for (node, members) in
        [(1, &[1][..]), (2, &[1, 2][..]), (3, &[1, 2, 3][..]), (4, &[1, 2, 3, 4][..])]
    {
        apply(&mut state, &Command::Register(register(node, 1)));
        let step = match node {
            1 => Command::CreateTopics(vec![new_topic(1, "t", 1, members)]),
            _ => Command::Roll(vec![roll(node - 1, i64::from(node) * 10, members)]),
        };
        apply(&mut state, &step);
    }
    let active = |state: &Metadata, member: Member| {
        state.node(member.node).is_some_and(|node| node.state == NodeState::Active)
    };
    let found = |state: &Metadata, limit| {
        let short = state.short_of_copies(|member| active(state, member), limit);
        short.iter().map(|short| (short.segment.epoch.0, short.copies)).collect::<Vec<_>>()
    };
    assert_eq!(found(&state, 9), [(1, 1), (2, 2)]);
    assert_eq!(found(&state, 1), [(1, 1)]);
    let short = state.short_of_copies(|_| true, 1);
    let segment = SegmentId { partition: partition(1, 0), base: Offset(0), epoch: Epoch(1) };
    assert_eq!(short, [Short { segment, is_open: false, copies: 1, target: 3 }]);
    // What nobody has comes last, for there is nothing to copy; what cannot have more copies than
    // there are nodes for them is not short.
    apply(&mut state, &fence(1, 1));
    assert_eq!(found(&state, 9), [(2, 1), (3, 2), (1, 0)]);
    apply(&mut state, &fence(2, 1));
    assert_eq!(found(&state, 9), [(3, 1), (1, 0), (2, 0)]);
    let mut narrow = roll(4, 50, &[3, 4]);
    (narrow.reason, narrow.coverage) = (Reason::Failover, Coverage::Narrow(vec![member(3)]));
    apply(&mut state, &Command::Roll(vec![narrow]));
    assert_eq!(found(&state, 9), [(3, 1), (4, 1), (1, 0), (2, 0)]);
    apply(&mut state, &Command::Register(register(5, 1)));
    let open = state.short_of_copies(|member| active(&state, member), 9);
    assert!(open.iter().any(|short| short.is_open && short.copies == 2), "a roll widens it");
}

#[test]
fn what_a_node_holds_is_found_in_whole_chains() {
    let mut state = world(3);
    apply(&mut state, &Command::Register(register(4, 1)));
    let rolls =
        vec![roll(1, 5, &[2, 3, 4]), roll(2, 9, &[1, 2, 3]), Roll { ..roll(3, 12, &[4, 2, 3]) }];
    apply(&mut state, &Command::Roll(rolls));
    let held = |node| {
        let held = state.held_by(NodeId(node));
        held.map(|(_, segment)| segment.key().epoch.0).collect::<Vec<_>>()
    };
    let cases = [(1, vec![1, 3]), (2, vec![1, 2, 3, 4]), (4, vec![2, 4]), (9, vec![])];
    for (node, epochs) in cases {
        assert_eq!(held(node), epochs, "node {node}");
    }
}
