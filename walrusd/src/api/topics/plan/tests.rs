//! The rules of CreateTopics as tables.

use walrus_wire::kafka_protocol::{messages::TopicName, protocol::StrBytes};

use super::*;
use crate::api::world::World;

fn topic(name: &'static str, partitions: i32, replicas: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(name)))
        .with_num_partitions(partitions)
        .with_replication_factor(replicas)
}

fn assigned(lists: &[(i32, &[i32])]) -> CreatableTopic {
    let assignments = lists.iter().map(|(index, brokers)| {
        let brokers = brokers.iter().map(|id| BrokerId(*id)).collect();
        CreatableReplicaAssignment::default().with_partition_index(*index).with_broker_ids(brokers)
    });
    topic("assigned", -1, -1).with_assignments(assignments.collect())
}

fn config(name: &'static str, value: Option<&'static str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default()
        .with_name(StrBytes::from_static_str(name))
        .with_value(value.map(StrBytes::from_static_str))
}

fn plan(topic: &CreatableTopic) -> Result<Planned, Refusal> {
    let World { metadata, .. } = World::with_topics(&[("there", 1), ("a.b", 1)]);
    Planner::new(&metadata, 4, 3).plan(topic)
}

#[track_caller]
fn check(topic: &CreatableTopic, expected: Result<(usize, u8), ResponseError>) {
    let planned = plan(topic).map(|planned| (planned.partitions, planned.replicas_target));
    assert_eq!(planned.map_err(|refusal| refusal.code), expected, "{topic:?}");
}

#[test]
fn counts_are_given_or_the_defaults_or_refused() {
    check(&topic("t", -1, -1), Ok((4, 3)));
    check(&topic("t", 7, -1), Ok((7, 3)));
    check(&topic("t", 7, 1), Ok((7, 1)));
    check(&topic("t", TOPIC_PARTITIONS_MAX, 1), Ok((10_000, 1)));
    for partitions in [0, -2, i32::MIN, TOPIC_PARTITIONS_MAX + 1, i32::MAX] {
        check(&topic("t", partitions, 1), Err(ResponseError::InvalidPartitions));
    }
    for replicas in [0, -2, i16::MIN, 2, 3, 256, i16::MAX] {
        check(&topic("t", 1, replicas), Err(ResponseError::InvalidReplicationFactor));
    }
}

#[test]
fn names_are_new_legal_and_tell_apart() {
    check(&topic("there", 1, 1), Err(ResponseError::TopicAlreadyExists));
    check(&topic("a_b", 1, 1), Err(ResponseError::InvalidTopicException));
    check(&topic("..", 1, 1), Err(ResponseError::InvalidTopicException));
}

#[test]
fn assignments_name_each_partition_once_and_brokers_that_are_there() {
    check(&assigned(&[(0, &[1])]), Ok((1, 1)));
    check(&assigned(&[(1, &[1]), (0, &[1]), (2, &[1])]), Ok((3, 1)));
    let kept = plan(&assigned(&[(1, &[1]), (0, &[1])])).unwrap().assigned;
    assert_eq!(kept, [[NodeId(1)], [NodeId(1)]]);
    let refused = Err(ResponseError::InvalidReplicaAssignment);
    check(&assigned(&[(1, &[1])]), refused);
    check(&assigned(&[(0, &[1]), (2, &[1])]), refused);
    check(&assigned(&[(-1, &[1]), (0, &[1])]), refused);
    check(&assigned(&[(0, &[1]), (0, &[1])]), refused);
    check(&assigned(&[(0, &[])]), refused);
    check(&assigned(&[(0, &[2])]), refused);
    check(&assigned(&[(0, &[1, 1])]), refused);
    check(&assigned(&[(0, &[1]), (1, &[])]), refused);
    let both = assigned(&[(0, &[1])]);
    let invalid = Err(ResponseError::InvalidRequest);
    check(&both.clone().with_num_partitions(1), invalid);
    check(&both.with_replication_factor(1), invalid);
}

#[test]
fn configs_are_judged_before_anything_is_made() {
    let with = |configs| topic("t", 1, 1).with_configs(configs);
    let sound = with(vec![
        config("retention.ms", Some(" 5 ")),
        config("retention.ms", Some("7 ")),
        config("cleanup.policy", Some("delete")),
    ]);
    let planned = plan(&sound).unwrap().configs;
    let expected = [("cleanup.policy", "delete"), ("retention.ms", "7")];
    assert_eq!(planned, expected.map(|(name, value)| (name.into(), value.into())).into());
    for (name, value) in [
        ("retention.ms", None),
        ("retention.ms", Some("soon")),
        ("cleanup.policy", Some("compact")),
        ("no.such", Some("1")),
    ] {
        check(&with(vec![config(name, value)]), Err(ResponseError::InvalidConfig));
    }
    let long: &'static str = Box::leak(format!("7{}", " ".repeat(VALUE_BYTES_MAX)).into());
    check(&with(vec![config("retention.ms", Some(long))]), Err(ResponseError::InvalidConfig));
}

#[test]
fn a_request_makes_so_many_partitions_and_no_more() {
    let World { metadata, .. } = World::with_topics(&[]);
    let mut planner = Planner::new(&metadata, 1, 3);
    for (name, partitions, fits) in
        [("a", 9_000, true), ("b", 1_001, false), ("c", 1_000, true), ("d", 1, false)]
    {
        let planned = planner.plan(&topic(name, partitions, 1));
        let refused = planned.err().map(|refusal| refusal.code);
        assert_eq!(refused, (!fits).then_some(ResponseError::PolicyViolation), "{name}");
    }
}
