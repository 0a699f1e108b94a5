use walrus_metadata::{BeginOperation, Command, NodeChange};
use walrus_replication::seal::Blocked;
use walrus_types::{Offset, PlanId, SegmentId, TimestampMs};

use super::{super::node_change::tests::World, *};

fn judged(world: &World, wanted: &Wanted) -> Result<Judged, ApiError> {
    let census = census::take(&world.metadata, |_| 1);
    let facts = Facts {
        metadata: &world.metadata,
        census: &census,
        members: &world.members,
        leader: world.leader,
    };
    judge(Known { facts, clients: Some(7), unsafe_plan: None }, wanted)
}

fn place(topic: &str, partition: Option<i32>) -> Place {
    Place { topic: topic.to_owned(), partition: partition.map(PartitionIndex) }
}

fn rollover(which: Which) -> Wanted {
    Wanted::Rollover { which, per_minute: 60 }
}

#[test]
fn a_drain_is_told_with_its_numbers_and_moves_no_bytes() {
    let world = World::of(3).topic(3, &[1, 2, 3]).topic(2, &[2, 3]);
    let told = judged(&world, &Wanted::Drain { node: NodeId(2) }).unwrap();
    let expected = Impact {
        leases_move: 1,
        segments_roll: 2,
        topics_short: 1,
        voters: 3,
        quorum: 2,
        clients: Some(7),
        ..Impact::default()
    };
    assert_eq!(told.impact, expected);
    assert_eq!((told.work, told.segments), (Some(Work::Drain(NodeId(2))), 2));
}

#[test]
fn the_steps_of_a_removal_do_not_stand_against_it() {
    let world = World::of(3).topic(2, &[1, 2]);
    let told = judged(&world, &Wanted::Remove { node: NodeId(1) }).unwrap();
    assert!(told.refusals.is_empty() && told.work.is_some(), "{told:?}");
    assert_eq!((told.impact.voters, told.impact.quorum), (2, 2));
    let all = told.effects.join("; ");
    for part in ["given no leases", "another voter leads", "leave the cluster for good"] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let alone = judged(&World::of(1), &Wanted::Remove { node: NodeId(1) }).unwrap();
    assert_eq!(alone.refusals.first().map(|why| why.code), Some(Code::LastNode));
    assert_eq!(alone.work, None);
}

#[test]
fn sealed_segments_that_only_a_few_have_are_copied_before_a_removal() {
    let world = World::of(3).topic(2, &[1, 2]).roll(&[1, 3]).set(2, NodeChange::Drain);
    let told = judged(&world, &Wanted::Remove { node: NodeId(2) }).unwrap();
    assert_eq!((told.impact.segments_copy, told.impact.bytes_copy), (1, 500), "{told:?}");
    assert_eq!(told.segments, 1);
}

#[test]
fn partitions_are_rolled_over_by_name_by_leader_or_all_each_once() {
    let world = World::of(3).topic(3, &[1, 2, 3]).topic(3, &[2, 3, 1]).topic(3, &[1, 3, 2]);
    let topics = |which| {
        judged(&world, &rollover(which)).map(|told| match told.work {
            Some(Work::Rollover(rollover)) => {
                let ids = rollover.targets.iter().map(|one| one.partition.topic.0.as_u128());
                ids.collect::<Vec<_>>()
            }
            None => Vec::new(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(topics(Which::All), Ok(vec![1, 2, 3]));
    assert_eq!(topics(Which::LedBy(NodeId(1))), Ok(vec![1, 3]));
    assert_eq!(topics(Which::LedBy(NodeId(3))), Ok(vec![]));
    let twice = vec![place("t2", Some(0)), place("t2", None), place("t1", None)];
    assert_eq!(topics(Which::These(twice)), Ok(vec![1, 2]));
    for (which, part) in [
        (Which::LedBy(NodeId(9)), "no node n9"),
        (Which::These(vec![place("x", None)]), "no topic \"x\""),
        (Which::These(vec![place("t1", Some(1))]), "t1/1: the topic has no such partition"),
    ] {
        let refused = topics(which).unwrap_err();
        assert!(refused.message.contains(part), "{refused}");
        assert_eq!(refused.code, Code::NotFound);
    }
}

#[test]
fn who_may_lead_the_metadata_group() {
    let of = |world: &World, to| judged(world, &Wanted::TransferRaft { to: NodeId(to) }).unwrap();
    let mut world = World::of(4).fence(4);
    world.members[2].votes = false;
    let told = of(&world, 1);
    assert_eq!((told.changes, told.work), (false, None), "it leads already");
    assert_eq!(of(&world, 2).work, Some(Work::TransferRaft { to: NodeId(2) }));
    world.members[1].lag_entries = Some(LAG_MAX + 1);
    for (to, code) in [(2, Code::Lags), (3, Code::NotAVoter), (4, Code::Lags), (9, Code::NotFound)]
    {
        let told = of(&world, to);
        assert_eq!(told.refusals.first().map(|why| why.code), Some(code), "{to}");
        assert_eq!(told.work, None, "{to}");
    }
}

#[test]
fn what_is_given_up_is_told_before_a_segment_is_sealed_without_votes() {
    let wanted = Wanted::UnsafeSeal { topic: "t1".into(), partition: PartitionIndex(0) };
    let led = World::of(3).topic(3, &[1, 2, 3]);
    let refused = judged(&led, &wanted).unwrap();
    assert_eq!(refused.refusals.first().map(|why| why.code), Some(Code::NotBlocked));
    let lost = led.fence(1);
    let refused = judged(&lost, &wanted).unwrap();
    assert_eq!(refused.refusals.first().map(|why| why.code), Some(Code::NotBlocked));

    let (id, chain) = lost.metadata.partitions().next().unwrap();
    let key = chain.open().key;
    let segment = SegmentId { partition: id, base: key.base, epoch: key.epoch };
    let blocked = Blocked { segment, have: 1, need: 2, missing: vec![], committed: None };
    let seen = Some(Offset(12));
    let plan = UnsafePlan { blocked, end: Offset(5), seen };
    let census = census::take(&lost.metadata, |_| 1);
    let (metadata, members) = (&lost.metadata, &lost.members[..]);
    let facts = Facts { metadata, census: &census, members, leader: lost.leader };
    let known = Known { facts, clients: None, unsafe_plan: Some(&plan) };
    let told = judge(known, &wanted).unwrap();
    assert!(told.warnings[0].contains("7 records from 5 on are lost"), "{told:?}");
    let work = Work::UnsafeSeal { partition: id, epoch: key.epoch, end: Offset(5) };
    assert_eq!(told.work, Some(work));
}

#[test]
fn what_is_under_way_stands_against_the_same_again() {
    let mut world = World::of(3).topic(3, &[1, 2, 3]);
    world.apply(&Command::BeginOperation(BeginOperation {
        work: Work::Drain(NodeId(2)),
        plan: PlanId::of(1),
        actor: String::new(),
        reason: String::new(),
        segments: 1,
        at: TimestampMs(0),
    }));
    let id = world.metadata.applied();
    let again = judged(&world, &Wanted::Drain { node: NodeId(2) }).unwrap();
    let refusal = again.refusals.first().unwrap();
    assert_eq!(refusal.code, Code::Busy);
    assert!(refusal.hint.as_ref().unwrap().contains(&format!("op wait {id}")), "{refusal:?}");
    assert_eq!(again.work, None);
    let back = judged(&world, &Wanted::Undrain { node: NodeId(2) }).unwrap();
    assert!(back.effects.contains(&format!("operation {id} on it is cancelled")), "{back:?}");
    let gone = judged(&world, &Wanted::Remove { node: NodeId(2) }).unwrap();
    assert!(gone.work.is_some(), "a removal takes over: {gone:?}");
}
