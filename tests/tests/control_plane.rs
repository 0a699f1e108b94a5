//! Requests about topics, configs, offsets and ids, by hand, in every version that is served.

use std::{collections::BTreeSet, time::Instant};

use anyhow::{Result, ensure};
use walrus_tests::{Node, NodeSettings, load::PATIENCE, raw::RawClient};
use walrus_types::TimestampMs;
use walrus_wire::{
    Api,
    kafka_protocol::{
        error::ResponseError,
        messages::{
            AlterConfigsRequest, ApiVersionsRequest, BrokerId, CreatePartitionsRequest,
            CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeClusterRequest,
            DescribeConfigsRequest, FindCoordinatorRequest, IncrementalAlterConfigsRequest,
            InitProducerIdRequest, ListOffsetsRequest, MetadataRequest,
            OffsetForLeaderEpochRequest, ProduceRequest, TopicName, TransactionalId,
            alter_configs_request,
            create_partitions_request::CreatePartitionsTopic,
            create_topics_request::{CreatableTopic, CreatableTopicConfig},
            delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
            delete_topics_request::DeleteTopicState,
            describe_configs_request::DescribeConfigsResource,
            incremental_alter_configs_request,
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
            metadata_request::MetadataRequestTopic,
            offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        protocol::StrBytes,
    },
    records::{NewRecord, build_batch},
};

struct Broker {
    _folder: tempfile::TempDir,
    node: Node,
    client: RawClient,
}

impl Broker {
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let node = Node::start(folder.path(), NodeSettings::default())?;
        let client = RawClient::connect(node.client_address())?;
        Ok(Self { _folder: folder, node, client })
    }

    fn make(&mut self, name: &str, configs: &[(&str, &str)]) -> Result<()> {
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let topic = CreatableTopic::default()
            .with_name(topic(name))
            .with_num_partitions(1)
            .with_replication_factor(-1)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(0);
        let answer = self.client.ask(7, &request)?;
        ensure!(answer.topics[0].error_code == 0, "{answer:?}");
        Ok(())
    }

    /// Writes one batch of records of these times; answers code, base offset and the broker's
    /// stamp.
    fn write(&mut self, name: &str, times: &[i64], bytes: usize) -> Result<(i16, i64, i64)> {
        let value = vec![7; bytes];
        let record = |at: &i64| NewRecord {
            timestamp: TimestampMs(*at),
            key: None,
            value: Some(&value),
            headers: &[],
        };
        let batch = build_batch(&times.iter().map(record).collect::<Vec<_>>());
        let data = PartitionProduceData::default().with_records(Some(batch.into()));
        let data =
            TopicProduceData::default().with_name(topic(name)).with_partition_data(vec![data]);
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000);
        let answer = self.client.ask(9, &request.with_topic_data(vec![data]))?;
        let part = &answer.responses[0].partition_responses[0];
        Ok((part.error_code, part.base_offset, part.log_append_time_ms))
    }

    /// Sets one config of a topic; answers the code.
    fn set(&mut self, name: &str, config: &str, value: &str) -> Result<i16> {
        let config = incremental_alter_configs_request::AlterableConfig::default()
            .with_name(text(config))
            .with_value(Some(text(value)));
        let resource = incremental_alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name))
            .with_configs(vec![config]);
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
        Ok(self.client.ask(1, &request)?.responses[0].error_code)
    }

    fn describe(&mut self, version: i16, name: &str, config: &str) -> Result<Option<String>> {
        let resource = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(name))
            .with_configuration_keys(Some(vec![text(config)]));
        let request = DescribeConfigsRequest::default().with_resources(vec![resource]);
        let answer = self.client.ask(version, &request)?;
        ensure!(answer.results[0].error_code == 0, "{answer:?}");
        Ok(answer.results[0].configs[0].value.as_ref().map(ToString::to_string))
    }

    /// Code, offset and epoch.
    fn offset(&mut self, version: i16, name: &str, at: i64) -> Result<(i16, i64, i32)> {
        let partition = ListOffsetsPartition::default().with_timestamp(at);
        let asked =
            ListOffsetsTopic::default().with_name(topic(name)).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1));
        let answer = self.client.ask(version, &request.with_topics(vec![asked]))?;
        let part = &answer.topics[0].partitions[0];
        Ok((part.error_code, part.offset, part.leader_epoch))
    }
}

fn text(given: &str) -> StrBytes {
    StrBytes::from_string(given.to_owned())
}

fn topic(name: &str) -> TopicName {
    TopicName(text(name))
}

fn versions(api: Api) -> std::ops::RangeInclusive<i16> {
    api.served().min..=api.served().max
}

#[test]
fn topics_are_made_grow_and_go_in_every_version() -> Result<()> {
    let mut broker = Broker::start()?;
    for version in versions(Api::CreateTopics) {
        let new = CreatableTopic::default()
            .with_name(topic(&format!("t{version}")))
            .with_num_partitions(2)
            .with_replication_factor(-1);
        let request = CreateTopicsRequest::default().with_topics(vec![new]);
        let checked = broker.client.ask(version, &request.clone().with_validate_only(true))?;
        ensure!(checked.topics[0].error_code == 0, "{checked:?}");
        let made = &broker.client.ask(version, &request)?.topics[0];
        ensure!(made.error_code == 0, "version {version}: {made:?}");
        ensure!(version < 5 || made.num_partitions == 2, "version {version}: {made:?}");
        ensure!(version < 7 || !made.topic_id.is_nil(), "version {version}: {made:?}");
        let again = broker.client.ask(version, &request)?.topics[0].error_code;
        ensure!(again == ResponseError::TopicAlreadyExists.code(), "version {version}: {again}");
    }
    for version in versions(Api::CreatePartitions) {
        let count = 3 + i32::from(version);
        let grown = CreatePartitionsTopic::default().with_name(topic("t2"));
        let grown = grown.with_count(count).with_assignments(None);
        let request = CreatePartitionsRequest::default().with_topics(vec![grown]);
        for (validate_only, expected) in [(true, 0), (false, 0), (false, 37)] {
            let request = request.clone().with_validate_only(validate_only);
            let answer = broker.client.ask(version, &request)?;
            ensure!(answer.results[0].error_code == expected, "version {version}: {answer:?}");
        }
    }
    for version in versions(Api::DeleteTopics) {
        let name = topic(&format!("t{}", version + 1));
        let request = if version < 6 {
            DeleteTopicsRequest::default().with_topic_names(vec![name])
        } else {
            let state = DeleteTopicState::default().with_name(Some(name));
            DeleteTopicsRequest::default().with_topics(vec![state])
        };
        let first = broker.client.ask(version, &request)?.responses[0].error_code;
        let second = broker.client.ask(version, &request)?.responses[0].error_code;
        ensure!((first, second) == (0, 3), "version {version}: {first}, then {second}");
    }
    Ok(())
}

#[test]
fn metadata_tells_topics_in_every_version_and_makes_those_that_are_missing() -> Result<()> {
    let mut broker = Broker::start()?;
    for version in versions(Api::Metadata) {
        let name = format!("m{version}");
        let one = MetadataRequestTopic::default().with_name(Some(topic(&name)));
        let request = MetadataRequest::default().with_topics(Some(vec![one]));
        if version >= 4 {
            let request = request.clone().with_allow_auto_topic_creation(false);
            let code = broker.client.ask(version, &request)?.topics[0].error_code;
            ensure!(code == ResponseError::UnknownTopicOrPartition.code(), "{version}: {code}");
        }
        let answer = broker.client.ask(version, &request)?;
        let made = &answer.topics[0];
        ensure!(made.error_code == 0 && made.partitions.len() == 1, "{version}: {made:?}");
        ensure!(made.partitions[0].leader_id == BrokerId(1), "{version}: {made:?}");
        ensure!(version < 7 || made.partitions[0].leader_epoch == 1, "{version}: {made:?}");
        let address = broker.node.client_address();
        let told = &answer.brokers[0];
        ensure!(*told.host == address.ip().to_string() && told.port == i32::from(address.port()));
        let all = if version == 0 { Some(Vec::new()) } else { None };
        let all = broker.client.ask(version, &MetadataRequest::default().with_topics(all))?;
        ensure!(all.topics.len() == usize::try_from(version)? + 1, "{version}: {all:?}");
    }
    Ok(())
}

#[test]
fn a_config_that_was_set_is_in_force_with_the_answer() -> Result<()> {
    let mut broker = Broker::start()?;
    broker.make("t", &[("max.message.bytes", "2000")])?;
    ensure!(broker.write("t", &[1], 3_000)?.0 == ResponseError::MessageTooLarge.code());
    ensure!(broker.set("t", "max.message.bytes", "4000")? == 0);
    ensure!(broker.write("t", &[1], 3_000)? == (0, 0, -1));
    ensure!(broker.set("t", "message.timestamp.type", "LogAppendTime")? == 0);
    let (code, _, stamp) = broker.write("t", &[1], 10)?;
    ensure!(code == 0 && stamp > 1_700_000_000_000, "stamped {stamp}");
    ensure!(broker.set("t", "cleanup.policy", "compact")? == ResponseError::InvalidConfig.code());

    for version in versions(Api::AlterConfigs) {
        let value = format!("{}", 5_000 + version);
        let config = alter_configs_request::AlterableConfig::default()
            .with_name(text("max.message.bytes"))
            .with_value(Some(text(&value)));
        let resource = alter_configs_request::AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text("t"))
            .with_configs(vec![config]);
        let request = AlterConfigsRequest::default().with_resources(vec![resource]);
        let code = broker.client.ask(version, &request)?.responses[0].error_code;
        ensure!(code == 0, "version {version}: {code}");
        for version in versions(Api::DescribeConfigs) {
            let told = broker.describe(version, "t", "max.message.bytes")?;
            ensure!(told.as_deref() == Some(&*value), "version {version}: {told:?}");
        }
    }
    let kept = broker.describe(4, "t", "message.timestamp.type")?;
    ensure!(kept.as_deref() == Some("CreateTime"), "AlterConfigs replaces all: {kept:?}");
    Ok(())
}

#[test]
fn offsets_are_listed_deleted_and_told_by_epoch_in_every_version() -> Result<()> {
    let mut broker = Broker::start()?;
    broker.make("t", &[("retention.ms", "-1"), ("walrus.segment.entries", "4")])?;
    for times in [[10, 30], [20, 40], [15, 50], [35, 25]] {
        ensure!(broker.write("t", &times, 10)?.0 == 0);
    }
    let epochs: BTreeSet<i32> = [-2, 30, 45]
        .into_iter()
        .map(|at| Ok(broker.offset(4, "t", at)?.2))
        .collect::<Result<_>>()?;
    ensure!(epochs.len() >= 2, "four offsets fill a segment: {epochs:?}");
    for version in versions(Api::ListOffsets) {
        for (at, offset) in [(-2, 0), (-1, 8), (0, 0), (11, 1), (31, 3), (41, 5), (50, 5), (51, -1)]
        {
            let (code, found, epoch) = broker.offset(version, "t", at)?;
            ensure!((code, found) == (0, offset), "version {version} at {at}: {code} {found}");
            ensure!(version < 4 || (epoch > 0) == (offset >= 0), "version {version}: {epoch}");
        }
        let (code, found, _) = broker.offset(version, "t", -3)?;
        let expected = if version >= 7 { (0, 5) } else { (35, -1) };
        ensure!((code, found) == expected, "version {version}: {code} {found}");
    }
    // The second segment is full as well, so a third one begins, a moment later.
    let until = Instant::now() + PATIENCE;
    let current = loop {
        let (last, open) = (broker.offset(4, "t", 41)?.2, broker.offset(4, "t", -1)?.2);
        if open > last {
            break open;
        }
        ensure!(Instant::now() < until, "epoch {last} goes on past its four offsets");
    };
    for version in versions(Api::OffsetForLeaderEpoch) {
        let mut ask = |epoch, known| -> Result<(i16, i64)> {
            let partition = OffsetForLeaderPartition::default()
                .with_leader_epoch(epoch)
                .with_current_leader_epoch(known);
            let one = OffsetForLeaderTopic::default()
                .with_topic(topic("t"))
                .with_partitions(vec![partition]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![one]);
            let answer = broker.client.ask(version, &request)?;
            let told = &answer.topics[0].partitions[0];
            Ok((told.error_code, told.end_offset))
        };
        ensure!(ask(1, -1)? == (0, 4), "version {version}: {:?}", ask(1, -1)?);
        ensure!(ask(current, current)? == (0, 8), "version {version}");
        ensure!(ask(current + 1, -1)? == (0, -1), "version {version}");
        ensure!(ask(1, current - 1)?.0 == ResponseError::FencedLeaderEpoch.code());
        ensure!(ask(1, current + 1)?.0 == ResponseError::UnknownLeaderEpoch.code());
    }
    for (version, to) in [(0, 3), (1, 5), (2, -1)] {
        let mut delete = |to| -> Result<(i16, i64)> {
            let partition = DeleteRecordsPartition::default().with_offset(to);
            let one = DeleteRecordsTopic::default().with_name(topic("t"));
            let one = one.with_partitions(vec![partition]);
            let request = DeleteRecordsRequest::default().with_topics(vec![one]);
            let answer = broker.client.ask(version, &request)?;
            let told = &answer.topics[0].partitions[0];
            Ok((told.error_code, told.low_watermark))
        };
        let end = if to == -1 { 8 } else { to };
        ensure!(delete(9)?.0 == ResponseError::OffsetOutOfRange.code(), "version {version}");
        ensure!(delete(to)? == (0, end), "version {version} to {to}");
        ensure!(broker.offset(7, "t", -2)?.1 == end, "version {version} to {to}");
    }
    Ok(())
}

#[test]
fn producer_ids_are_never_given_twice_and_transactions_are_refused() -> Result<()> {
    let mut broker = Broker::start()?;
    let mut given = BTreeSet::new();
    for life in 0..2 {
        for version in versions(Api::InitProducerId) {
            let request = InitProducerIdRequest::default().with_transactional_id(None);
            let answer = broker.client.ask(version, &request)?;
            ensure!((answer.error_code, answer.producer_epoch) == (0, 0), "{answer:?}");
            ensure!(given.insert(answer.producer_id.0), "life {life}: given twice: {answer:?}");
            let named = request.with_transactional_id(Some(TransactionalId(text("t"))));
            let code = broker.client.ask(version, &named)?.error_code;
            ensure!(code == ResponseError::InvalidRequest.code(), "version {version}: {code}");
        }
        broker.node.kill()?;
        broker.node.restart()?;
        broker.client = RawClient::connect(broker.node.client_address())?;
    }
    Ok(())
}

#[test]
fn the_cluster_is_described_and_coordinators_are_not_there_yet() -> Result<()> {
    let mut broker = Broker::start()?;
    for version in versions(Api::ApiVersions) {
        let request = ApiVersionsRequest::default();
        let request = if version < 3 {
            request
        } else {
            request.with_client_software_name(text("t")).with_client_software_version(text("1"))
        };
        let answer = broker.client.ask(version, &request)?;
        ensure!(answer.error_code == 0 && answer.api_keys.len() == Api::ALL.len(), "{answer:?}");
    }
    for version in versions(Api::DescribeCluster) {
        let answer = broker.client.ask(version, &DescribeClusterRequest::default())?;
        ensure!(answer.error_code == 0 && answer.brokers.len() == 1, "{answer:?}");
        ensure!(answer.controller_id == BrokerId(1) && answer.cluster_id.len() == 22);
    }
    for version in versions(Api::FindCoordinator) {
        let request = FindCoordinatorRequest::default();
        let request = if version < 4 {
            request.with_key(text("g"))
        } else {
            request.with_coordinator_keys(vec![text("g")])
        };
        let answer = broker.client.ask(version, &request)?;
        let many = answer.coordinators.first().map(|one| (one.error_code, one.node_id));
        let found = many.unwrap_or((answer.error_code, answer.node_id));
        ensure!(found == (0, BrokerId(1)), "version {version}: {found:?}");
    }
    Ok(())
}
