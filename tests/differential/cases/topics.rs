//! Topics and their configs.

use uuid::Uuid;
use walrus_wire::kafka_protocol::messages::{
    create_partitions_request::{CreatePartitionsAssignment, CreatePartitionsTopic},
    create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    describe_configs_request::DescribeConfigsResource,
    *,
};

use super::{ALL, Case, case};
use crate::scene::{Scene, nothing, records, text, topic, trimmed, tuned};

/// The kinds of what has configs.
const TOPIC: i8 = 2;
const BROKER: i8 = 4;
/// Long enough for anything.
const PATIENCE_MS: i32 = 30_000;

fn topics(topics: Vec<CreatableTopic>) -> CreateTopicsRequest {
    CreateTopicsRequest::default().with_topics(topics).with_timeout_ms(PATIENCE_MS)
}

fn new(name: &str) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(1)
        .with_replication_factor(1)
}

fn create(topic: CreatableTopic) -> CreateTopicsRequest {
    topics(vec![topic])
}

fn of(scene: &Scene) -> CreatableTopic {
    new(scene.topic.as_str())
}

fn config(name: &str, value: Option<&str>) -> CreatableTopicConfig {
    CreatableTopicConfig::default().with_name(text(name)).with_value(value.map(text))
}

fn configured(scene: &Scene, name: &str, value: Option<&str>) -> CreateTopicsRequest {
    create(of(scene).with_configs(vec![config(name, value)]))
}

/// Partition and nodes, several times.
fn placed(scene: &Scene, places: &[(i32, &[i32])]) -> CreatableTopic {
    let places = places.iter().map(|(index, nodes)| {
        CreatableReplicaAssignment::default()
            .with_partition_index(*index)
            .with_broker_ids(nodes.iter().map(|node| BrokerId(*node)).collect())
    });
    of(scene).with_num_partitions(-1).with_replication_factor(-1).with_assignments(places.collect())
}

fn delete(scene: &Scene, names: &[&str]) -> DeleteTopicsRequest {
    let names = names.iter().map(|name| TopicName(text(name)));
    let request = DeleteTopicsRequest::default().with_timeout_ms(PATIENCE_MS);
    if scene.version < 6 {
        return request.with_topic_names(names.collect());
    }
    let topics = names.map(|name| DeleteTopicState::default().with_name(Some(name)));
    request.with_topics(topics.collect())
}

fn by_id(name: Option<TopicName>, id: Uuid) -> DeleteTopicsRequest {
    let one = DeleteTopicState::default().with_name(name).with_topic_id(id);
    DeleteTopicsRequest::default().with_topics(vec![one]).with_timeout_ms(PATIENCE_MS)
}

fn grow(scene: &Scene, count: i32, places: Option<&[&[i32]]>) -> CreatePartitionsRequest {
    let places = places.map(|places| {
        let place = |nodes: &&[i32]| {
            let nodes = nodes.iter().map(|node| BrokerId(*node)).collect();
            CreatePartitionsAssignment::default().with_broker_ids(nodes)
        };
        places.iter().map(place).collect()
    });
    let one = CreatePartitionsTopic::default()
        .with_name(scene.topic.clone())
        .with_count(count)
        .with_assignments(places);
    CreatePartitionsRequest::default().with_topics(vec![one]).with_timeout_ms(PATIENCE_MS)
}

fn trim(scene: &Scene, partition: i32, offset: i64) -> DeleteRecordsRequest {
    let part =
        DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let named =
        DeleteRecordsTopic::default().with_name(scene.topic.clone()).with_partitions(vec![part]);
    DeleteRecordsRequest::default().with_topics(vec![named]).with_timeout_ms(9_000)
}

fn describe(kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsRequest {
    let one = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    DescribeConfigsRequest::default().with_resources(vec![one])
}

fn change(
    kind: i8,
    resource: &str,
    changes: &[(&str, i8, Option<&str>)],
) -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let changes = changes.iter().map(|(name, operation, value)| {
        AlterableConfig::default()
            .with_name(text(name))
            .with_config_operation(*operation)
            .with_value(value.map(text))
    });
    let one = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configs(changes.collect());
    IncrementalAlterConfigsRequest::default().with_resources(vec![one])
}

fn replace(kind: i8, resource: &str, configs: &[(&str, Option<&str>)]) -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let configs = configs.iter().map(|(name, value)| {
        AlterableConfig::default().with_name(text(name)).with_value(value.map(text))
    });
    let one = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(resource))
        .with_configs(configs.collect());
    AlterConfigsRequest::default().with_resources(vec![one])
}

fn making() -> Vec<Case> {
    const LAST: &[i16] = &[7];
    vec![
        case("create a topic", ALL, nothing, |s| create(of(s))),
        case("create a topic by defaults", &[4, 7], nothing, |s| {
            create(of(s).with_num_partitions(-1).with_replication_factor(-1))
        }),
        case("only ask whether a topic could be created", &[2, 7], nothing, |s| {
            create(of(s)).with_validate_only(true)
        }),
        case("create a topic that is there", &[2, 5, 7], topic, |s| create(of(s))),
        case("only ask whether a topic that is there could be created", LAST, topic, |s| {
            create(of(s)).with_validate_only(true)
        }),
        case("create a topic twice in one request", &[2, 7], nothing, |s| {
            topics(vec![of(s), of(s)])
        }),
        case("create topics whose names cannot be", &[2, 7], nothing, |_| {
            let long = "n".repeat(250);
            let names = ["", ".", "..", "a b", "a/b", "ä", "a:b", &long];
            topics(names.iter().map(|name| new(name)).collect())
        }),
        case("create a topic with the longest name", LAST, nothing, |_| {
            create(new(&"n".repeat(249))).with_validate_only(true)
        }),
        case("create a topic whose name differs by a dot", LAST, nothing, |s| {
            let (dot, line) = (format!("{}.x", s.topic.0), format!("{}_x", s.topic.0));
            topics(vec![new(&dot), new(&line)])
        }),
        case("create topics with bad counts of partitions", &[2, 7], nothing, |s| {
            let name = |at: usize| format!("{}-{at}", s.topic.0);
            let bad = [0, -2, i32::MIN].iter().enumerate();
            topics(bad.map(|(at, count)| new(&name(at)).with_num_partitions(*count)).collect())
        }),
        case("create topics with bad counts of replicas", &[2, 7], nothing, |s| {
            let name = |at: usize| format!("{}-{at}", s.topic.0);
            let bad = [0, -2, 2, i16::MAX].iter().enumerate();
            topics(bad.map(|(at, count)| new(&name(at)).with_replication_factor(*count)).collect())
        }),
        case("create a topic with an unknown config", &[2, 7], nothing, |s| {
            configured(s, "no.such", Some("1"))
        }),
        case("create a topic with a value out of range", LAST, nothing, |s| {
            configured(s, "retention.ms", Some("-2"))
        }),
        case("create a topic with a value that is no number", LAST, nothing, |s| {
            configured(s, "retention.ms", Some("soon"))
        }),
        case("create a topic with a value that is no choice", LAST, nothing, |s| {
            configured(s, "compression.type", Some("best"))
        }),
        case("create a topic with a config of nothing", LAST, nothing, |s| {
            configured(s, "retention.ms", None)
        }),
        case("create a compacted topic", LAST, nothing, |s| {
            configured(s, "cleanup.policy", Some("compact"))
        }),
        case("create a topic with an unknown policy", LAST, nothing, |s| {
            configured(s, "cleanup.policy", Some("sometimes"))
        }),
        case("create a topic with configs", &[2, 7], nothing, |s| {
            let configs = vec![
                config("retention.ms", Some("60000")),
                config("segment.bytes", Some("1048576")),
            ];
            create(of(s).with_configs(configs))
        }),
        case("create a topic with places", &[2, 7], nothing, |s| {
            create(placed(s, &[(0, &[1]), (1, &[1])]))
        }),
        case("create a topic with places and a count", &[2, 7], nothing, |s| {
            create(placed(s, &[(0, &[1])]).with_num_partitions(1))
        }),
        case("create a topic with places and a count of replicas", LAST, nothing, |s| {
            create(placed(s, &[(0, &[1])]).with_replication_factor(1))
        }),
        case("create a topic at an unknown node", LAST, nothing, |s| {
            create(placed(s, &[(0, &[9])]))
        }),
        case("create a topic at a node twice", LAST, nothing, |s| {
            create(placed(s, &[(0, &[1, 1])]))
        }),
        case("create a topic with a partition nowhere", LAST, nothing, |s| {
            create(placed(s, &[(0, &[])]))
        }),
        case("create a topic with a gap in its partitions", LAST, nothing, |s| {
            create(placed(s, &[(0, &[1]), (2, &[1])]))
        }),
        case("create a topic with a partition twice", LAST, nothing, |s| {
            create(placed(s, &[(0, &[1]), (0, &[1])]))
        }),
        case("create a topic with different counts of replicas", LAST, nothing, |s| {
            create(placed(s, &[(0, &[1]), (1, &[1, 9])]))
        }),
        case("create no topic", &[2, 7], nothing, |_| topics(Vec::new())),
        case("delete a topic", ALL, topic, |s| delete(s, &[s.topic.as_str()])),
        case("delete an unknown topic", ALL, nothing, |s| delete(s, &["not-there"])),
        case("delete a topic twice in one request", &[1, 5, 6], topic, |s| {
            delete(s, &[s.topic.as_str(), s.topic.as_str()])
        }),
        case("delete a topic by id", &[6], topic, |s| by_id(None, s.topic_id)),
        case("delete a topic by an unknown id", &[6], nothing, |_| {
            by_id(None, Uuid::from_u128(77))
        }),
        case("delete a topic by name and id", &[6], topic, |s| {
            by_id(Some(s.topic.clone()), s.topic_id)
        }),
        case("delete a topic by neither", &[6], nothing, |_| by_id(None, Uuid::nil())),
        case("delete a topic whose name cannot be", &[1, 6], nothing, |s| delete(s, &["no name"])),
        case("delete no topic", &[1, 6], nothing, |s| delete(s, &[])),
        case("add a partition", ALL, topic, |s| grow(s, 3, None)),
        case("only ask whether a partition could be added", &[1, 3], topic, |s| {
            grow(s, 3, None).with_validate_only(true)
        }),
        case("add no partition", &[0, 3], topic, |s| grow(s, 2, None)),
        case("take a partition away", &[0, 3], topic, |s| grow(s, 1, None)),
        case("have no partitions left", &[3], topic, |s| grow(s, 0, None)),
        case("have a negative count of partitions", &[3], topic, |s| grow(s, -1, None)),
        case("add partitions to an unknown topic", &[0, 3], nothing, |s| grow(s, 3, None)),
        case("add a partition with a place", &[3], topic, |s| grow(s, 3, Some(&[&[1]]))),
        case("add a partition with too many places", &[3], topic, |s| {
            grow(s, 3, Some(&[&[1], &[1]]))
        }),
        case("add a partition at an unknown node", &[3], topic, |s| grow(s, 3, Some(&[&[9]]))),
        case("add a partition with other replicas", &[3], topic, |s| grow(s, 3, Some(&[&[1, 9]]))),
        case("add a partition nowhere", &[3], topic, |s| grow(s, 3, Some(&[&[]]))),
        case("add partitions to a topic twice in one request", &[0, 3], topic, |s| {
            let mut request = grow(s, 3, None);
            let again = request.topics[0].clone().with_count(4);
            request.topics.push(again);
            request
        }),
    ]
}

fn trimming() -> Vec<Case> {
    vec![
        case("delete records", ALL, records, |s| trim(s, 0, 3)),
        case("delete all records", &[2], records, |s| trim(s, 0, -1)),
        case("delete records past the end", &[0, 2], records, |s| trim(s, 0, 6)),
        case("delete records before the start", &[2], trimmed, |s| trim(s, 0, 1)),
        case("delete records up to a negative offset", &[2], records, |s| trim(s, 0, -2)),
        case("delete records of an unknown partition", &[0, 2], records, |s| trim(s, 7, 1)),
        case("delete records of an unknown topic", &[0, 2], nothing, |s| trim(s, 0, 1)),
        case("delete no records", &[2], nothing, |_| DeleteRecordsRequest::default()),
    ]
}

fn configs() -> Vec<Case> {
    vec![
        case("describe a topic's configs", ALL, tuned, |s| describe(TOPIC, s.topic.as_str(), None)),
        case("describe a topic's configs in full", &[1, 3, 4], tuned, |s| {
            let keys: &[&str] = &["retention.ms", "max.message.bytes", "cleanup.policy"];
            let request = describe(TOPIC, s.topic.as_str(), Some(keys)).with_include_synonyms(true);
            if s.version >= 3 { request.with_include_documentation(true) } else { request }
        }),
        case("describe a topic's unknown config", &[1, 4], tuned, |s| {
            describe(TOPIC, s.topic.as_str(), Some(&["no.such"]))
        }),
        case("describe a topic by no config", &[1, 4], tuned, |s| {
            describe(TOPIC, s.topic.as_str(), Some(&[]))
        }),
        case("describe an unknown topic's configs", &[1, 4], nothing, |_| {
            describe(TOPIC, "not-there", None)
        }),
        case("describe the configs of a topic whose name cannot be", &[4], nothing, |_| {
            describe(TOPIC, "no name", None)
        }),
        case("describe the configs of a topic without a name", &[4], nothing, |_| {
            describe(TOPIC, "", None)
        }),
        case("describe some configs of a broker", &[1, 4], nothing, |_| {
            let keys: &[&str] = &["num.partitions", "broker.id", "default.replication.factor"];
            describe(BROKER, "1", Some(keys))
        }),
        case("describe an unknown broker's configs", &[1, 4], nothing, |_| {
            describe(BROKER, "77", None)
        }),
        case("describe the configs of a broker without a number", &[4], nothing, |_| {
            describe(BROKER, "one", None)
        }),
        case("describe the configs of an unknown kind", &[1, 4], nothing, |_| {
            describe(77, "x", None)
        }),
        case("describe no configs", &[1, 4], nothing, |_| DescribeConfigsRequest::default()),
        case("set a config", &[0, 1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, Some("77"))])
        }),
        case("take a config back", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 1, None)])
        }),
        case("take a config back that was not set", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("segment.ms", 1, None)])
        }),
        case("append to a config that is no list", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 2, Some("5"))])
        }),
        case("subtract from a config that is no list", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 3, Some("5"))])
        }),
        case("append to a list what it has", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("cleanup.policy", 2, Some("delete"))])
        }),
        case("subtract from a list what it has not", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("cleanup.policy", 3, Some("compact"))])
        }),
        case("change a config in a way that there is not", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 9, Some("5"))])
        }),
        case("change a config twice", &[1], tuned, |s| {
            let twice = [("retention.ms", 0, Some("5")), ("retention.ms", 0, Some("6"))];
            change(TOPIC, s.topic.as_str(), &twice)
        }),
        case("set a config to nothing", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, None)])
        }),
        case("set a config out of range", &[0, 1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, Some("-2"))])
        }),
        case("set a config to what is no number", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, Some("soon"))])
        }),
        case("set an unknown config", &[0, 1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("no.such", 0, Some("1"))])
        }),
        case("take an unknown config back", &[1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("no.such", 1, None)])
        }),
        case("change nothing", &[1], tuned, |s| change(TOPIC, s.topic.as_str(), &[])),
        case("set an unknown topic's config", &[0, 1], nothing, |_| {
            change(TOPIC, "not-there", &[("retention.ms", 0, Some("5"))])
        }),
        case("set an unknown broker's config", &[1], nothing, |_| {
            change(BROKER, "77", &[("log.retention.ms", 0, Some("5"))])
        }),
        case("set an unknown config of a broker", &[1], nothing, |_| {
            change(BROKER, "1", &[("no.such", 0, Some("5"))])
        }),
        case("set a broker's config that is fixed", &[1], nothing, |_| {
            change(BROKER, "1", &[("broker.id", 0, Some("5"))])
        }),
        case("set a config of an unknown kind", &[1], nothing, |_| {
            change(77, "x", &[("retention.ms", 0, Some("5"))])
        }),
        case("set a topic's config twice in one request", &[1], tuned, |s| {
            let mut request = change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, Some("5"))]);
            let again = request.resources[0].clone();
            request.resources.push(again);
            request
        }),
        case("only ask whether a config could be set", &[0, 1], tuned, |s| {
            change(TOPIC, s.topic.as_str(), &[("retention.ms", 0, Some("5"))])
                .with_validate_only(true)
        }),
        case("replace configs", ALL, tuned, |s| {
            replace(TOPIC, s.topic.as_str(), &[("retention.ms", Some("5"))])
        }),
        case("replace configs by one that is unknown", &[0, 2], tuned, |s| {
            replace(TOPIC, s.topic.as_str(), &[("no.such", Some("5"))])
        }),
        case("replace configs by one out of range", &[2], tuned, |s| {
            replace(TOPIC, s.topic.as_str(), &[("retention.ms", Some("-2"))])
        }),
        case("replace configs by nothing", &[2], tuned, |s| {
            replace(TOPIC, s.topic.as_str(), &[("retention.ms", None)])
        }),
        case("replace an unknown topic's configs", &[0, 2], nothing, |_| {
            replace(TOPIC, "not-there", &[("retention.ms", Some("5"))])
        }),
        case("replace configs of an unknown kind", &[2], nothing, |_| {
            replace(77, "x", &[("retention.ms", Some("5"))])
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [making(), trimming(), configs()].into_iter().flatten().collect()
}
