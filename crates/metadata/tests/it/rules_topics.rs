//! Topics that are made, grown and deleted.

use walrus_metadata::{
    AddPartitions, AddRefusal, Command, CreateRefusal, Metadata, NewTopic, PartitionCountRefusal,
    PlacementRefusal, Reply, TopicCreated, UnknownTopic,
    limits::{MEMBERS_MAX, TOMBSTONES_MAX},
};
use walrus_types::{
    Epoch, Incarnation, NodeId, Offset, ProducerId,
    limits::{
        CHANGES_PER_COMMAND_MAX, PRODUCER_ID_BLOCK, TOPIC_NAME_BYTES_MAX, TOPIC_PARTITIONS_MAX,
    },
};

use crate::world::{NOW, apply, member, new_topic, on, partition, register, roll, topic, world};

fn create(state: &mut Metadata, new: NewTopic) -> Result<TopicCreated, CreateRefusal> {
    match apply(state, &Command::CreateTopics(vec![new])) {
        Reply::TopicsCreated(mut each) if each.len() == 1 => each.remove(0),
        reply => panic!("{reply:?}"),
    }
}

fn delete(state: &mut Metadata, number: u128) {
    let reply = apply(state, &Command::DeleteTopics(vec![topic(number)]));
    assert_eq!(reply, Reply::TopicsDeleted(vec![Ok(())]));
}

#[test]
fn a_topic_is_found_by_name_and_id_and_begins_empty() {
    let mut state = world(3);
    let mut new = new_topic(2, "second", 2, &[2, 3, 1]);
    new.configs = vec![("retention.ms".into(), "1".into())];
    assert_eq!(create(&mut state, new), Ok(TopicCreated { epoch: Epoch::FIRST }));
    let found = state.topic_named("second").unwrap();
    assert_eq!((found.id, found.partitions().len()), (topic(2), 2));
    assert_eq!(found.configs()["retention.ms"], "1");
    assert_eq!(state.topic(topic(2)), Some(found));
    let open = state.partition(partition(2, 1)).unwrap().open();
    assert_eq!((open.key.base, open.key.epoch, open.w), (Offset::ZERO, Epoch(1), 2));
    assert_eq!(open.leader.node, NodeId(2));
    let names: Vec<&str> = state.topics().map(|topic| &*topic.name).collect();
    assert_eq!(names, ["second", "t"]);
    assert_eq!((state.topics_total(), state.partitions_total()), (2, 3));
}

#[test]
fn names_are_as_kafka_allows_them() {
    let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
    for name in ["a", "A.b_c-9", "...", "__consumer_offsets", &longest] {
        assert!(create(&mut world(1), new_topic(2, name, 1, &[1])).is_ok(), "{name:?}");
    }
    let too_long = "x".repeat(TOPIC_NAME_BYTES_MAX + 1);
    for name in ["", ".", "..", "a b", "a/b", "ü", "a\0", &too_long] {
        let found = create(&mut world(1), new_topic(2, name, 1, &[1]));
        assert_eq!(found, Err(CreateRefusal::Name), "{name:?}");
    }
}

#[test]
fn topics_of_one_command_are_judged_one_by_one() {
    let mut state = world(1);
    let command = Command::CreateTopics(vec![
        new_topic(2, "a", 1, &[1]),
        new_topic(3, "a", 1, &[1]),
        new_topic(2, "b", 1, &[1]),
        new_topic(4, "c", 0, &[1]),
        NewTopic { replicas_target: 0, ..new_topic(5, "d", 1, &[1]) },
        NewTopic { replicas_target: 17, ..new_topic(5, "d", 1, &[1]) },
        new_topic(6, "e", 10_001, &[1]),
        new_topic(7, "f", 1, &[1]),
    ]);
    let created = Ok(TopicCreated { epoch: Epoch::FIRST });
    let limit = u64::try_from(TOPIC_PARTITIONS_MAX).unwrap();
    let target = CreateRefusal::ReplicasTarget { limit: MEMBERS_MAX as u64 };
    let expected = vec![
        created.clone(),
        Err(CreateRefusal::NameTaken { id: topic(2) }),
        Err(CreateRefusal::IdTaken),
        Err(PartitionCountRefusal::None.into()),
        Err(target.clone()),
        Err(target),
        Err(PartitionCountRefusal::Topic { limit }.into()),
        created,
    ];
    assert_eq!(apply(&mut state, &command), Reply::TopicsCreated(expected));
}

#[test]
fn a_list_past_the_limit_changes_nothing() {
    let mut state = world(1);
    let before = state.clone();
    let command = Command::DeleteTopics(vec![topic(1); CHANGES_PER_COMMAND_MAX + 1]);
    let limit = CHANGES_PER_COMMAND_MAX as u64;
    assert_eq!(apply(&mut state, &command), Reply::TooMany { limit });
    assert_eq!(state.topic(topic(1)), before.topic(topic(1)));
}

#[test]
fn a_segment_is_placed_on_registered_disks_and_led_by_a_present_life() {
    let stale = PlacementRefusal::PastIncarnation {
        node: NodeId(1),
        known: Incarnation(2),
        given: Incarnation(1),
    };
    let members = PlacementRefusal::Members { limit: MEMBERS_MAX as u64 };
    let unknown = |node| PlacementRefusal::UnknownMember { node, storage: member(9).storage };
    let mut good = on(&[1, 2, 3]);
    good.leader.incarnation = Incarnation(2);
    let with = |change: fn(&mut walrus_metadata::Placement)| {
        let mut placement = good.clone();
        change(&mut placement);
        placement
    };
    let cases = [
        (good.clone(), None),
        (with(|p| p.w = 3), None),
        (with(|p| p.leader.incarnation = Incarnation(1)), Some(stale)),
        (with(|p| p.members.clear()), Some(members.clone())),
        (with(|p| p.members.push(member(1))), Some(members.clone())),
        (with(|p| p.members.extend((4..18).map(member))), Some(members)),
        (with(|p| p.members.push(member(9))), Some(unknown(NodeId(9)))),
        (with(|p| p.members[1].storage = member(9).storage), Some(unknown(NodeId(2)))),
        (
            with(|p| p.leader.node = NodeId(9)),
            Some(PlacementRefusal::LeaderNoMember { node: NodeId(9) }),
        ),
        (with(|p| p.members.truncate(2)), Some(PlacementRefusal::TooFew { given: 2, least: 3 })),
        (with(|p| p.w = 1), Some(PlacementRefusal::Quorum { w: 1, members: 3 })),
        (with(|p| p.w = 4), Some(PlacementRefusal::Quorum { w: 4, members: 3 })),
    ];
    for (placement, refusal) in cases {
        let mut state = world(3);
        apply(&mut state, &Command::Register(register(1, 2)));
        let new = NewTopic {
            partitions: vec![good.clone(), placement.clone()],
            ..new_topic(2, "a", 0, &[1])
        };
        let expected = match &refusal {
            None => Ok(TopicCreated { epoch: Epoch::FIRST }),
            Some(why) => Err(CreateRefusal::Placement { partition: 1, why: why.clone() }),
        };
        assert_eq!(create(&mut state, new), expected, "{placement:?}");
        assert_eq!(state.topic_named("a").is_some(), refusal.is_none());

        let add = AddPartitions {
            topic: topic(1),
            expected: 1,
            partitions: vec![placement.clone()],
            at: NOW,
        };
        let expected = match &refusal {
            None => Ok(()),
            Some(why) => Err(AddRefusal::Placement { partition: 1, why: why.clone() }),
        };
        let reply = apply(&mut state, &Command::AddPartitions(add));
        assert_eq!(reply, Reply::PartitionsAdded(expected));

        let mut roll = roll(1, 5, &[1]);
        roll.next = placement;
        let reply = apply(&mut state, &Command::Roll(vec![roll]));
        let Reply::Rolled(each) = reply else { panic!("{reply:?}") };
        assert_eq!(each[0].clone().err(), refusal.map(Into::into));
    }
}

#[test]
fn partitions_are_added_behind_those_that_were_expected() {
    let mut state = world(1);
    let too_many = usize::try_from(TOPIC_PARTITIONS_MAX).unwrap();
    let limit = too_many as u64;
    let cases = [
        (9, 1, 1, Err(UnknownTopic { topic: topic(9) }.into())),
        (1, 0, 1, Err(AddRefusal::OtherCount { found: 1 })),
        (1, 2, 1, Err(AddRefusal::OtherCount { found: 1 })),
        (1, 1, 0, Err(PartitionCountRefusal::None.into())),
        (1, 1, too_many, Err(PartitionCountRefusal::Topic { limit }.into())),
        (1, 1, 2, Ok(())),
        (1, 1, 2, Err(AddRefusal::OtherCount { found: 3 })),
    ];
    for (number, expected, count, answer) in cases {
        let partitions = vec![on(&[1]); count];
        let add = AddPartitions { topic: topic(number), expected, partitions, at: NOW };
        let reply = apply(&mut state, &Command::AddPartitions(add));
        assert_eq!(reply, Reply::PartitionsAdded(answer));
    }
    assert_eq!(state.partitions_total(), 3);
    assert!(state.partition(partition(1, 2)).is_some());
    assert!(state.partition(partition(1, 3)).is_none());
}

#[test]
fn a_deleted_topic_is_gone_and_its_epochs_stay_spent() {
    let mut state = world(1);
    let command = Command::Roll(vec![roll(1, 5, &[1])]);
    apply(&mut state, &command);
    let command = Command::DeleteTopics(vec![topic(9), topic(1), topic(1)]);
    let unknown = |number| Err(UnknownTopic { topic: topic(number) });
    let expected = vec![unknown(9), Ok(()), unknown(1)];
    assert_eq!(apply(&mut state, &command), Reply::TopicsDeleted(expected));
    assert_eq!(state.topic_named("t"), None);
    assert_eq!((state.topics_total(), state.partitions_total()), (0, 0));

    // Epoch 2 was open when it was deleted, so the next of that name begins with 3.
    let created = create(&mut state, new_topic(2, "t", 1, &[1]));
    assert_eq!(created, Ok(TopicCreated { epoch: Epoch(3) }));
    let other = create(&mut state, new_topic(3, "u", 1, &[1]));
    assert_eq!(other, Ok(TopicCreated { epoch: Epoch(1) }));
    let add = AddPartitions { topic: topic(2), expected: 1, partitions: vec![on(&[1])], at: NOW };
    apply(&mut state, &Command::AddPartitions(add));
    let added = state.partition(partition(2, 1)).unwrap();
    assert_eq!(added.open().key.epoch, Epoch(3), "an added partition may have been there before");
    delete(&mut state, 2);
    let again = create(&mut state, new_topic(4, "t", 1, &[1]));
    assert_eq!(again, Ok(TopicCreated { epoch: Epoch(4) }));
}

#[test]
fn names_past_the_limit_of_tombstones_share_a_floor() {
    let mut state = world(1);
    for _ in 0..2 {
        let again = create(&mut state, new_topic(2, "often", 1, &[1]));
        assert!(again.is_ok());
        delete(&mut state, 2);
    }
    for number in 0..TOMBSTONES_MAX {
        assert!(create(&mut state, new_topic(3, &format!("n{number}"), 1, &[1])).is_ok());
        delete(&mut state, 3);
    }
    for name in ["often", "n7", "never-used"] {
        let created = create(&mut state, new_topic(4, name, 1, &[1]));
        assert_eq!(created, Ok(TopicCreated { epoch: Epoch(3) }), "{name}");
        delete(&mut state, 4);
    }
}

#[test]
fn producer_ids_are_handed_out_once() {
    let mut state = world(1);
    for block in 0..3 {
        let reply = apply(&mut state, &Command::ProducerIds);
        let Reply::ProducerIds(Ok(ids)) = reply else { panic!("{reply:?}") };
        assert_eq!(ids.first, ProducerId(block * PRODUCER_ID_BLOCK));
        assert_eq!(ids.count, PRODUCER_ID_BLOCK);
    }
}
