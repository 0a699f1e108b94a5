use walrus_metadata::{BeginOperation, Command, Fence, NodeChange, Reply, Target};
use walrus_types::{Incarnation, PartitionIndex, PlanId, TopicId};

use super::{
    super::{
        census,
        node_change::tests::{World, storage},
    },
    *,
};

fn begun(mut world: World, work: Work, segments: u64) -> World {
    world.apply(&Command::BeginOperation(BeginOperation {
        work,
        plan: PlanId::of(1),
        actor: String::new(),
        reason: String::new(),
        segments,
        at: TimestampMs(1_000),
    }));
    world
}

fn look(world: &World, now_ms: i64) -> Stand {
    let census = census::take(&world.metadata, |_| 1);
    let facts = Facts {
        metadata: &world.metadata,
        census: &census,
        members: &world.members,
        leader: world.leader,
    };
    let (_, operation) = world.metadata.operations().last().expect("one was begun");
    stand(operation, facts, TimestampMs(now_ms))
}

fn removal(node: i32) -> Work {
    Work::Remove { node: NodeId(node), storage: storage(node) }
}

#[test]
fn a_drain_ends_when_no_open_segment_names_its_node() {
    let world = begun(World::of(4).topic(3, &[2, 1, 3]), Work::Drain(NodeId(2)), 1);
    let told = look(&world, 1_000);
    assert_eq!((told.done, told.total, &told.next), (0, 1, &Next::Wait), "{told:?}");
    assert!(told.now.contains("leads 1 and is a member of 1 open segment"), "{told:?}");
    let moved = world.roll(&[1, 3, 4]);
    let told = look(&moved, 1_000);
    assert_eq!((told.done, told.total, told.next), (1, 1, Next::End(Outcome::Done)));
}

#[test]
fn a_node_that_leads_nothing_is_not_drained_while_open_segments_name_it() {
    let world = begun(World::of(4).topic(3, &[1, 2, 3]), Work::Drain(NodeId(2)), 1);
    let told = look(&world, 1_000);
    assert_eq!((told.done, told.next), (0, Next::Wait));
}

#[test]
fn a_drain_that_has_nowhere_to_go_says_who_has_to_do_what() {
    let world = begun(World::of(2).topic(1, &[2]), Work::Drain(NodeId(2)), 1).fence(1);
    let told = look(&world, 1_000);
    assert_eq!(told.next, Next::Wait);
    assert_eq!(told.blockers.first().map(|why| why.code), Some(Code::LastNode), "{told:?}");
    assert!(told.blockers[0].hint.is_some());
}

#[test]
fn what_was_taken_back_by_another_way_has_failed() {
    for work in [Work::Drain(NodeId(2)), removal(2)] {
        let world = begun(World::of(3).topic(3, &[1, 2, 3]), work, 1).set(2, NodeChange::Undrain);
        let told = look(&world, 1_000);
        let Next::End(Outcome::Failed { why }) = &told.next else { panic!("{told:?}") };
        assert!(why.contains("takes part again"), "{why}");
        assert_eq!(told.done, 0);
    }
}

#[test]
fn a_removal_goes_from_step_to_step() {
    let world = World::of(4).topic(2, &[2, 1]).roll(&[2, 1]);
    let world = begun(world, removal(2), 2);
    let told = look(&world, 1_000);
    assert_eq!((&told.next, told.blockers.len()), (&Next::Wait, 0), "{told:?}");
    // Its open segment has gone elsewhere; two sealed ones are short of copies.
    let world = world.roll(&[1, 3]);
    let told = look(&world, 1_000);
    assert_eq!((&told.next, told.done, told.total), (&Next::Wait, 0, 2), "{told:?}");
    let world = world.regroup(&[1, 3]);
    let told = look(&world, 1_000);
    assert_eq!((&told.next, told.done), (&Next::Remove(NodeId(2)), 2), "{told:?}");
    // Where it leads the metadata group another one has to first.
    let mut leading = world;
    leading.leader = Some(RaftId::from(storage(2)));
    leading.members[0].lag_entries = Some(5);
    leading.members[2].lag_entries = Some(0);
    leading.members[3].lag_entries = Some(0);
    leading.members[2].votes = false;
    assert_eq!(look(&leading, 1_000).next, Next::HandOver(NodeId(4)));
    leading.members.iter_mut().for_each(|member| member.votes = member.peer.node == NodeId(2));
    let told = look(&leading, 1_000);
    assert_eq!((told.next, told.blockers.len()), (Next::Wait, 1));
}

#[test]
fn a_removal_is_over_when_the_node_has_no_place_in_the_metadata_group() {
    let mut world = begun(World::of(4), removal(4), 0).set(4, NodeChange::Remove);
    assert_eq!(look(&world, 1_000).next, Next::Remove(NodeId(4)));
    world.members.pop();
    assert_eq!(look(&world, 1_000).next, Next::End(Outcome::Done));
}

#[test]
fn a_rollover_counts_what_has_another_epoch_or_is_gone() {
    let target = |topic: u128| Target {
        partition: TopicPartition {
            topic: TopicId(uuid::Uuid::from_u128(topic)),
            partition: PartitionIndex(0),
        },
        epoch: Epoch(1),
    };
    let targets = vec![target(1), target(2), target(99)];
    let work = Work::Rollover(Rollover { targets, total: 3, per_minute: 60 });
    let world = World::of(3).topic(3, &[1, 2, 3]).topic(3, &[1, 2, 3]);
    let world = begun(world, work, 3);
    let told = look(&world, 1_000);
    assert_eq!((told.done, told.total, &told.next), (1, 3, &Next::Wait), "one was deleted");
    let mut world = world.roll(&[1, 2, 3]);
    assert_eq!(look(&world, 1_000).done, 2);
    let gone = TopicId(uuid::Uuid::from_u128(2));
    let version = world.metadata.applied() + 1;
    let reply = world.metadata.apply(version, &Command::DeleteTopics(vec![gone]));
    assert!(matches!(reply, Reply::TopicsDeleted(_)));
    assert_eq!(look(&world, 1_000).next, Next::End(Outcome::Done));
}

#[test]
fn a_voter_has_some_time_to_lead() {
    let to = NodeId(2);
    let mut world = begun(World::of(3), Work::TransferRaft { to }, 1);
    assert_eq!(look(&world, 2_000).next, Next::HandOver(to));
    assert_eq!(look(&world, 0).next, Next::HandOver(to), "a clock that is behind");
    let late = look(&world, 1_000 + 20_001);
    assert!(matches!(late.next, Next::End(Outcome::Failed { .. })), "{late:?}");
    world.leader = Some(RaftId::from(storage(2)));
    assert_eq!(look(&world, 1_000 + 20_001).next, Next::End(Outcome::Done));
}

#[test]
fn an_unsafe_seal_is_asked_for_until_the_segment_has_a_successor() {
    let world = World::of(3).topic(3, &[1, 2, 3]);
    let (partition, chain) = world.metadata.partitions().next().unwrap();
    let epoch = chain.open().key.epoch;
    let world = begun(world, Work::UnsafeSeal { partition, epoch, end: Offset(3) }, 1);
    let expected = Next::SealUnsafe { partition, epoch, end: Offset(3) };
    assert_eq!(look(&world, 1_000).next, expected);
    let told = look(&world.roll(&[1, 2, 3]), 1_000);
    assert_eq!(told.next, Next::End(Outcome::Done));
    assert!(told.now.contains("sealed at 5"), "where it really ends: {told:?}");
}

#[test]
fn a_node_that_comes_back_with_an_empty_disk_is_not_removed() {
    let (node, incarnation) = (NodeId(4), Incarnation(1));
    let mut world = begun(World::of(4), removal(4), 0);
    world.apply(&Command::Fence(Fence { node, incarnation, at: TimestampMs(1) }));
    world = world.set(4, NodeChange::Remove);
    world.members.pop();
    world.register(4, 44, 2);
    assert_eq!(look(&world, 1_000).next, Next::End(Outcome::Done));
}
