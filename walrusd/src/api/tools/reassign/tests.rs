//! The rules of reassignments, as requests and what is told of them.

use walrus_metadata::{NodeChange, Placement, Reason, Reply, Roll, SealedAt, SetNodeState};
use walrus_types::{Offset, TimestampMs};
use walrus_wire::{
    kafka_protocol::{
        error::ResponseError,
        messages::{
            alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
            list_partition_reassignments_request::ListPartitionReassignmentsTopics,
        },
    },
    response,
};

use super::*;
use crate::controller::fake;

fn name() -> TopicName {
    let metadata = fake::cluster(1, 1);
    let topic = metadata.topic(fake::partition(0).topic).expect("the fake made it");
    TopicName(StrBytes::from_string(topic.name.to_string()))
}

type Wish<'a> = (i32, Option<&'a [i32]>);

fn request(partitions: &[Wish<'_>]) -> AlterPartitionReassignmentsRequest {
    let partitions = partitions.iter().map(|(index, nodes)| {
        let nodes = nodes.map(|nodes| nodes.iter().map(|node| BrokerId(*node)).collect());
        ReassignablePartition::default().with_partition_index(*index).with_replicas(nodes)
    });
    let topic = ReassignableTopic::default().with_name(name());
    let topic = topic.with_partitions(partitions.collect());
    AlterPartitionReassignmentsRequest::default().with_topics(vec![topic])
}

/// Carries a request out; answers a code for each partition.
fn assign(metadata: &mut Metadata, partitions: &[Wish<'_>], may_change: bool) -> Vec<i16> {
    let mut planned = plan(metadata, &request(partitions), may_change);
    for one in &mut planned {
        let Ok(Some(change)) = &one.outcome else { continue };
        match fake::apply(metadata, &Command::Assign(vec![change.clone()])) {
            Reply::Assigned(each) => assert_eq!(each, [Ok(())]),
            other => panic!("{other:?}"),
        }
    }
    let response = altered(planned);
    for version in 0..=1 {
        response::encode(1, version, &response).unwrap();
    }
    let topics = response.responses.iter();
    topics.flat_map(|topic| &topic.partitions).map(|one| one.error_code).collect()
}

/// Partitions under way as `index: replicas +adding -removing`.
fn under_way(metadata: &Metadata, asked: Option<&[i32]>) -> Vec<String> {
    let topics = asked.map(|indexes| {
        let topic = ListPartitionReassignmentsTopics::default().with_name(name());
        let other = ListPartitionReassignmentsTopics::default();
        vec![topic.with_partition_indexes(indexes.to_vec()), other]
    });
    let request = ListPartitionReassignmentsRequest::default().with_topics(topics);
    let response = listed(metadata, &request);
    response::encode(1, 0, &response).unwrap();
    let ids = |nodes: &[BrokerId]| -> String {
        nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>().join(",")
    };
    let topics = response.topics.iter().flat_map(|topic| &topic.partitions);
    topics
        .map(|one| {
            let (adding, removing) = (ids(&one.adding_replicas), ids(&one.removing_replicas));
            format!("{}: {} +{adding} -{removing}", one.partition_index, ids(&one.replicas))
        })
        .collect()
}

/// Seals what partition 0 has at `end` and goes on with these members.
fn roll(metadata: &mut Metadata, end: i64, members: &[i32]) {
    let partition = fake::partition(0);
    let open = metadata.partition(partition).unwrap().open().clone();
    let members: Vec<_> = members.iter().map(|node| fake::member(*node)).collect();
    let leader = walrus_metadata::Leader { node: members[0].node, ..open.leader };
    let w = u8::try_from(members.len() / 2 + 1).unwrap();
    let members = members.into_iter().map(crate::controller::nodes::stored).collect();
    let is_empty = end == open.key.base.0;
    let reply = fake::apply(
        metadata,
        &Command::Roll(vec![Roll {
            partition,
            expected: open.key.epoch,
            sealed: SealedAt {
                end: Offset(end),
                bytes: u64::from(!is_empty),
                max_timestamp: if is_empty { TimestampMs::NONE } else { fake::NOW },
            },
            coverage: walrus_metadata::Coverage::Quorum,
            next: Placement { leader, members, w },
            reason: Reason::Operator,
            at: fake::NOW,
        }]),
    );
    assert!(matches!(&reply, Reply::Rolled(all) if all[0].is_ok()), "{reply:?}");
}

#[test]
fn nodes_that_cannot_store_a_partition_are_refused_and_nothing_changes() {
    let code = |code: ResponseError| code.code();
    let invalid = code(ResponseError::InvalidReplicaAssignment);
    let mut metadata = fake::cluster(4, 2);
    let drain = SetNodeState { node: NodeId(4), expected: None, change: NodeChange::Drain };
    fake::apply(&mut metadata, &Command::SetNodeState(drain));
    let cases: [(&[Wish<'_>], Vec<i16>); 11] = [
        (&[(0, Some(&[]))], vec![invalid]),
        (&[(0, Some(&[1, 2, 9]))], vec![invalid]),
        (&[(0, Some(&[1, 2, -1]))], vec![invalid]),
        (&[(0, Some(&[1, 2, 2]))], vec![invalid]),
        (&[(0, Some(&[1, 2, 4]))], vec![invalid]),
        (&[(0, Some(&[1; 40]))], vec![invalid]),
        (&[(7, Some(&[1, 2, 3]))], vec![code(ResponseError::UnknownTopicOrPartition)]),
        (&[(-1, None)], vec![code(ResponseError::UnknownTopicOrPartition)]),
        (&[(0, None)], vec![code(ResponseError::NoReassignmentInProgress)]),
        (&[(0, Some(&[1, 2, 3])), (0, None)], vec![code(ResponseError::InvalidRequest); 2]),
        (&[], vec![]),
    ];
    for (partitions, expected) in cases {
        assert_eq!(assign(&mut metadata, partitions, true), expected, "{partitions:?}");
        assert_eq!(under_way(&metadata, None), [] as [String; 0]);
    }
}

#[test]
fn the_number_of_replicas_changes_for_all_partitions_of_a_topic_or_for_none() {
    let refused = ResponseError::InvalidReplicationFactor.code();
    let one: &[i32] = &[2];
    let two: &[i32] = &[2, 3];
    let cases: [(&[Wish<'_>], bool, Vec<i16>, u8); 5] = [
        (&[(0, Some(two))], true, vec![refused], 3),
        (&[(0, Some(two)), (1, Some(one))], true, vec![refused; 2], 3),
        (&[(0, Some(two)), (1, Some(two))], false, vec![refused; 2], 3),
        (&[(0, Some(two)), (1, Some(two))], true, vec![0, 0], 2),
        (&[(0, Some(&[3, 2, 1])), (1, Some(two))], true, vec![0, refused], 3),
    ];
    for (partitions, may_change, expected, target) in cases {
        let mut metadata = fake::cluster(3, 2);
        assert_eq!(assign(&mut metadata, partitions, may_change), expected, "{partitions:?}");
        let topic = metadata.topic(fake::partition(0).topic).unwrap();
        assert_eq!(topic.replicas_target, target, "{partitions:?}");
    }
}

#[test]
fn progress_is_what_the_chain_says() {
    let mut metadata = fake::cluster(4, 2);
    roll(&mut metadata, 10, &[1, 2, 3]);
    assert_eq!(assign(&mut metadata, &[(0, Some(&[4, 1, 2]))], false), [0]);
    let all = ["0: 4,1,2,3 +4 -3"];
    assert_eq!(under_way(&metadata, None), all);
    assert_eq!(under_way(&metadata, Some(&[0, 0, 1, 9])), all);
    assert_eq!(under_way(&metadata, Some(&[1])), [] as [String; 0]);
    // The next segment is there, the older ones are not.
    roll(&mut metadata, 20, &[4, 1, 2]);
    assert_eq!(under_way(&metadata, None), all);
    for (at, (key, sealed)) in
        metadata.clone().partition(fake::partition(0)).unwrap().sealed().iter().enumerate()
    {
        let members = [4, 1, 2].map(|node| crate::controller::nodes::stored(fake::member(node)));
        let set = walrus_metadata::SetMembers {
            partition: fake::partition(0),
            segment: *key,
            expected: sealed.members.to_vec(),
            members: members.to_vec(),
            digest: None,
        };
        fake::apply(&mut metadata, &Command::SetMembers(vec![set]));
        let left = if at == 0 { &all[..] } else { &[] };
        assert_eq!(under_way(&metadata, None), left);
    }
    let arrived = crate::controller::repair::Repair::arrived(&metadata);
    assert_eq!(arrived.len(), 1, "the controller strikes it");
    fake::apply(&mut metadata, &Command::Assign(arrived));
    let none = ResponseError::NoReassignmentInProgress.code();
    assert_eq!(assign(&mut metadata, &[(0, None)], false), [none]);
}

#[test]
fn what_is_cancelled_goes_back_to_where_it_came_from() {
    let mut metadata = fake::cluster(4, 1);
    roll(&mut metadata, 10, &[1, 2, 3]);
    assert_eq!(assign(&mut metadata, &[(0, Some(&[4, 1, 2]))], false), [0]);
    assert_eq!(assign(&mut metadata, &[(0, Some(&[4, 3, 2]))], false), [0], "it is turned");
    roll(&mut metadata, 20, &[4, 3, 2]);
    assert_eq!(assign(&mut metadata, &[(0, None)], false), [0]);
    assert_eq!(under_way(&metadata, None), ["0: 1,2,3,4 +1 -4"]);
    roll(&mut metadata, 30, &[1, 2, 3]);
    assert_eq!(under_way(&metadata, None), ["0: 1,2,3,4 +1 -4"], "what 4 wrote lies there");
}

#[test]
fn what_is_cancelled_before_anything_moved_is_over() {
    let mut metadata = fake::cluster(4, 1);
    assert_eq!(assign(&mut metadata, &[(0, Some(&[4, 1, 2]))], false), [0]);
    assert_eq!(assign(&mut metadata, &[(0, None)], false), [0]);
    assert_eq!(under_way(&metadata, None), [] as [String; 0]);
    let chain = metadata.partition(fake::partition(0)).unwrap();
    assert!(chain.assignment().is_none());
}
