//! Requests that make sense, one of each kind.

use bytes::Bytes;
use walrus_types::TimestampMs;
use walrus_wire::{
    kafka_protocol::{messages::*, protocol::StrBytes},
    records::{NewRecord, build_batch},
};

use super::World;

const TOPIC: &str = "table";

pub(super) fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub(super) fn topic() -> TopicName {
    TopicName(text(TOPIC))
}

pub(super) fn software() -> ApiVersionsRequest {
    ApiVersionsRequest::default()
        .with_client_software_name(text("table"))
        .with_client_software_version(text("1"))
}

pub(super) fn batch() -> Bytes {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let timestamp = TimestampMs(now);
    build_batch(&[NewRecord { timestamp, key: None, value: Some(b"v"), headers: &[] }]).into()
}

pub(super) fn produce(world: &World, version: i16) -> ProduceRequest {
    use produce_request::{PartitionProduceData, TopicProduceData};
    let data = PartitionProduceData::default().with_records(Some(batch()));
    let named = TopicProduceData::default().with_partition_data(vec![data]);
    let named =
        if version >= 13 { named.with_topic_id(world.topic.0) } else { named.with_name(topic()) };
    ProduceRequest::default().with_acks(-1).with_timeout_ms(9_000).with_topic_data(vec![named])
}

pub(super) fn fetch(world: &World, version: i16) -> FetchRequest {
    use fetch_request::{FetchPartition, FetchTopic};
    let part = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let named = FetchTopic::default().with_partitions(vec![part]);
    let named =
        if version >= 13 { named.with_topic_id(world.topic.0) } else { named.with_topic(topic()) };
    FetchRequest::default().with_max_bytes(1 << 20).with_session_epoch(-1).with_topics(vec![named])
}

pub(super) fn offsets(_: &World, _: i16) -> ListOffsetsRequest {
    use list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
    let part = ListOffsetsPartition::default().with_timestamp(-1);
    let named = ListOffsetsTopic::default().with_name(topic()).with_partitions(vec![part]);
    ListOffsetsRequest::default().with_topics(vec![named])
}

pub(super) fn metadata(_: &World, version: i16) -> MetadataRequest {
    use metadata_request::MetadataRequestTopic;
    let one = MetadataRequestTopic::default().with_name(Some(topic()));
    let request = MetadataRequest::default().with_topics(Some(vec![one]));
    if version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}

pub(super) fn coordinator(_: &World, version: i16) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    match version {
        0 => request.with_key(text("t")),
        1..4 => request.with_key(text("t")).with_key_type(1),
        _ => request.with_coordinator_keys(vec![text("t")]).with_key_type(1),
    }
}

pub(super) fn create(_: &World, version: i16) -> CreateTopicsRequest {
    use create_topics_request::CreatableTopic;
    let new = CreatableTopic::default()
        .with_name(TopicName(text(&format!("made-{version}"))))
        .with_num_partitions(1)
        .with_replication_factor(1);
    CreateTopicsRequest::default().with_topics(vec![new])
}

pub(super) fn delete(_: &World, version: i16) -> DeleteTopicsRequest {
    use delete_topics_request::DeleteTopicState;
    let name = TopicName(text("not-there"));
    let request = DeleteTopicsRequest::default();
    match version {
        6 => request.with_topics(vec![DeleteTopicState::default().with_name(Some(name))]),
        _ => request.with_topic_names(vec![name]),
    }
}

pub(super) fn delete_records(_: &World, _: i16) -> DeleteRecordsRequest {
    use delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
    let part = DeleteRecordsPartition::default().with_offset(0);
    let named = DeleteRecordsTopic::default().with_name(topic()).with_partitions(vec![part]);
    DeleteRecordsRequest::default().with_topics(vec![named])
}

pub(super) fn epochs(_: &World, _: i16) -> OffsetForLeaderEpochRequest {
    use offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic};
    let part = OffsetForLeaderPartition::default().with_leader_epoch(1);
    let named = OffsetForLeaderTopic::default().with_topic(topic()).with_partitions(vec![part]);
    OffsetForLeaderEpochRequest::default().with_topics(vec![named])
}

pub(super) fn describe_configs(_: &World, _: i16) -> DescribeConfigsRequest {
    use describe_configs_request::DescribeConfigsResource;
    let one = DescribeConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(TOPIC))
        .with_configuration_keys(None);
    DescribeConfigsRequest::default().with_resources(vec![one])
}

pub(super) fn alter_configs(_: &World, _: i16) -> AlterConfigsRequest {
    use alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let value =
        AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let one = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(TOPIC))
        .with_configs(vec![value]);
    AlterConfigsRequest::default().with_resources(vec![one])
}

pub(super) fn alter_incrementally(_: &World, _: i16) -> IncrementalAlterConfigsRequest {
    use incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
    let value =
        AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text("-1")));
    let one = AlterConfigsResource::default()
        .with_resource_type(2)
        .with_resource_name(text(TOPIC))
        .with_configs(vec![value]);
    IncrementalAlterConfigsRequest::default().with_resources(vec![one])
}

pub(super) fn partitions(_: &World, _: i16) -> CreatePartitionsRequest {
    use create_partitions_request::CreatePartitionsTopic;
    let one =
        CreatePartitionsTopic::default().with_name(topic()).with_count(9).with_assignments(None);
    CreatePartitionsRequest::default().with_topics(vec![one]).with_validate_only(true)
}

pub(super) fn log_dirs(_: &World, _: i16) -> DescribeLogDirsRequest {
    use describe_log_dirs_request::DescribableLogDirTopic;
    let one = DescribableLogDirTopic::default().with_topic(topic()).with_partitions(vec![0, 1]);
    DescribeLogDirsRequest::default().with_topics(Some(vec![one]))
}

pub(super) fn elect(_: &World, _: i16) -> ElectLeadersRequest {
    use elect_leaders_request::TopicPartitions;
    let one = TopicPartitions::default().with_topic(topic()).with_partitions(vec![0, 9]);
    ElectLeadersRequest::default().with_topic_partitions(Some(vec![one]))
}

pub(super) fn reassign(_: &World, _: i16) -> AlterPartitionReassignmentsRequest {
    use alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic};
    let to = |index: i32, nodes: Option<&[i32]>| {
        let nodes = nodes.map(|nodes| nodes.iter().map(|node| BrokerId(*node)).collect());
        ReassignablePartition::default().with_partition_index(index).with_replicas(nodes)
    };
    let parts = vec![to(0, None), to(1, Some(&[1, 7])), to(9, Some(&[1]))];
    let one = ReassignableTopic::default().with_name(topic()).with_partitions(parts);
    AlterPartitionReassignmentsRequest::default().with_topics(vec![one])
}

pub(super) fn reassignments(_: &World, _: i16) -> ListPartitionReassignmentsRequest {
    use list_partition_reassignments_request::ListPartitionReassignmentsTopics;
    let one = ListPartitionReassignmentsTopics::default().with_name(topic());
    let one = one.with_partition_indexes(vec![0, 1, 9]);
    ListPartitionReassignmentsRequest::default().with_topics(Some(vec![one]))
}

pub(super) fn create_acls(_: &World, _: i16) -> CreateAclsRequest {
    let one = create_acls_request::AclCreation::default().with_resource_name(text(TOPIC));
    CreateAclsRequest::default().with_creations(vec![one])
}

pub(super) fn delete_acls(_: &World, _: i16) -> DeleteAclsRequest {
    let one = delete_acls_request::DeleteAclsFilter::default();
    DeleteAclsRequest::default().with_filters(vec![one])
}

pub(super) fn describe_users(_: &World, _: i16) -> DescribeUserScramCredentialsRequest {
    use describe_user_scram_credentials_request::UserName;
    let one = UserName::default().with_name(text("u"));
    DescribeUserScramCredentialsRequest::default().with_users(Some(vec![one]))
}

pub(super) fn alter_users(_: &World, _: i16) -> AlterUserScramCredentialsRequest {
    use alter_user_scram_credentials_request::ScramCredentialUpsertion;
    let one = ScramCredentialUpsertion::default().with_name(text("u")).with_mechanism(1);
    AlterUserScramCredentialsRequest::default().with_upsertions(vec![one])
}

pub(super) fn quorum(_: &World, _: i16) -> DescribeQuorumRequest {
    use describe_quorum_request::{PartitionData, TopicData};
    let one = TopicData::default()
        .with_topic_name(TopicName(text("__cluster_metadata")))
        .with_partitions(vec![PartitionData::default()]);
    DescribeQuorumRequest::default().with_topics(vec![one])
}

pub(super) fn producers(_: &World, _: i16) -> DescribeProducersRequest {
    use describe_producers_request::TopicRequest;
    let one = TopicRequest::default().with_name(topic()).with_partition_indexes(vec![0, 9]);
    DescribeProducersRequest::default().with_topics(vec![one])
}

pub(super) fn topic_partitions(_: &World, _: i16) -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::TopicRequest;
    let one = TopicRequest::default().with_name(topic());
    DescribeTopicPartitionsRequest::default().with_topics(vec![one])
}

pub(super) fn push(world: &World, _: i16) -> PushTelemetryRequest {
    PushTelemetryRequest::default().with_client_instance_id(world.topic.0).with_subscription_id(3)
}

pub(super) fn transactions(_: &World, _: i16) -> DescribeTransactionsRequest {
    let one = TransactionalId(text("t"));
    DescribeTransactionsRequest::default().with_transactional_ids(vec![one])
}
