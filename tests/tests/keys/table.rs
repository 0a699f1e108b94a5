//! The table: a row for each key, with the codes that its sound request gets.

use walrus_wire::{Api, kafka_protocol::messages::*};

use super::{Ask, requests::*, row};

/// Requests that read and write, and those that make topics.
#[expect(clippy::too_many_lines, reason = "a table: a row for each key")]
pub(super) fn of_clients() -> Vec<(Api, Ask)> {
    vec![
        row(
            Api::Produce,
            produce,
            |r| r.responses[0].partition_responses.iter().map(|p| p.error_code).collect(),
            &[0],
            ProduceRequest::default().with_acks(-1),
        ),
        row(
            Api::Fetch,
            fetch,
            |r| r.responses[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            FetchRequest::default(),
        ),
        row(
            Api::ListOffsets,
            offsets,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            ListOffsetsRequest::default(),
        ),
        row(
            Api::Metadata,
            metadata,
            |r| r.topics.iter().map(|t| t.error_code).collect(),
            &[0],
            MetadataRequest::default(),
        ),
        row(
            Api::FindCoordinator,
            coordinator,
            |_| Vec::new(),
            &[],
            FindCoordinatorRequest::default(),
        ),
        row(
            Api::ApiVersions,
            |_, version| if version < 3 { ApiVersionsRequest::default() } else { software() },
            |r| vec![r.error_code],
            &[0],
            ApiVersionsRequest::default(),
        ),
        row(
            Api::CreateTopics,
            create,
            |r| r.topics.iter().map(|t| t.error_code).collect(),
            &[0],
            CreateTopicsRequest::default(),
        ),
        row(
            Api::DeleteTopics,
            delete,
            |r| r.responses.iter().map(|t| t.error_code).collect(),
            &[3],
            DeleteTopicsRequest::default(),
        ),
        row(
            Api::DeleteRecords,
            delete_records,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            DeleteRecordsRequest::default(),
        ),
        row(
            Api::InitProducerId,
            |_, version| {
                let request = InitProducerIdRequest::default().with_transactional_id(None);
                if version < 3 { request } else { request.with_producer_id(ProducerId(-1)) }
            },
            |r| vec![r.error_code],
            &[0],
            InitProducerIdRequest::default(),
        ),
        row(
            Api::OffsetForLeaderEpoch,
            epochs,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            OffsetForLeaderEpochRequest::default(),
        ),
        row(
            Api::DescribeConfigs,
            describe_configs,
            |r| r.results.iter().map(|one| one.error_code).collect(),
            &[0],
            DescribeConfigsRequest::default(),
        ),
        row(
            Api::AlterConfigs,
            alter_configs,
            |r| r.responses.iter().map(|one| one.error_code).collect(),
            &[0],
            AlterConfigsRequest::default(),
        ),
        row(
            Api::CreatePartitions,
            partitions,
            |r| r.results.iter().map(|one| one.error_code).collect(),
            &[0],
            CreatePartitionsRequest::default(),
        ),
        row(
            Api::IncrementalAlterConfigs,
            alter_incrementally,
            |r| r.responses.iter().map(|one| one.error_code).collect(),
            &[0],
            IncrementalAlterConfigsRequest::default(),
        ),
        row(
            Api::DescribeCluster,
            |_, _| DescribeClusterRequest::default(),
            |r| vec![r.error_code],
            &[0],
            DescribeClusterRequest::default(),
        ),
    ]
}

/// Requests of tools.
#[expect(clippy::too_many_lines, reason = "a table: a row for each key")]
pub(super) fn of_tools() -> Vec<(Api, Ask)> {
    vec![
        row(
            Api::DescribeAcls,
            |_, _| DescribeAclsRequest::default(),
            |r| vec![r.error_code],
            &[54],
            DescribeAclsRequest::default(),
        ),
        row(
            Api::CreateAcls,
            create_acls,
            |r| r.results.iter().map(|one| one.error_code).collect(),
            &[54],
            CreateAclsRequest::default(),
        ),
        row(
            Api::DeleteAcls,
            delete_acls,
            |r| r.filter_results.iter().map(|one| one.error_code).collect(),
            &[54],
            DeleteAclsRequest::default(),
        ),
        row(
            Api::DescribeLogDirs,
            log_dirs,
            |r| {
                let parts = r.results[0].topics[0].partitions.iter();
                parts.map(|p| i16::from(p.is_future_key)).collect()
            },
            &[0, 0],
            DescribeLogDirsRequest::default(),
        ),
        row(
            Api::ElectLeaders,
            elect,
            |r| {
                let parts = r.replica_election_results[0].partition_result.iter();
                parts.map(|p| p.error_code).collect()
            },
            &[84, 3],
            ElectLeadersRequest::default(),
        ),
        row(
            Api::AlterPartitionReassignments,
            reassign,
            |r| r.responses[0].partitions.iter().map(|p| p.error_code).collect(),
            &[85, 39, 3],
            AlterPartitionReassignmentsRequest::default(),
        ),
        row(
            Api::ListPartitionReassignments,
            reassignments,
            |r| vec![r.error_code, i16::try_from(r.topics.len()).unwrap_or(-1)],
            &[0, 0],
            ListPartitionReassignmentsRequest::default(),
        ),
        row(
            Api::DescribeUserScramCredentials,
            describe_users,
            |r| r.results.iter().map(|one| one.error_code).collect(),
            &[91],
            DescribeUserScramCredentialsRequest::default(),
        ),
        row(
            Api::AlterUserScramCredentials,
            alter_users,
            |r| r.results.iter().map(|one| one.error_code).collect(),
            &[54],
            AlterUserScramCredentialsRequest::default(),
        ),
        row(
            Api::DescribeQuorum,
            quorum,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            DescribeQuorumRequest::default(),
        ),
        row(
            Api::DescribeProducers,
            producers,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0, 3],
            DescribeProducersRequest::default(),
        ),
        row(
            Api::UnregisterBroker,
            |_, _| UnregisterBrokerRequest::default().with_broker_id(BrokerId(77)),
            |r| vec![r.error_code],
            &[102],
            UnregisterBrokerRequest::default(),
        ),
        row(
            Api::DescribeTransactions,
            transactions,
            |r| r.transaction_states.iter().map(|one| one.error_code).collect(),
            &[105],
            DescribeTransactionsRequest::default(),
        ),
        row(
            Api::ListTransactions,
            |_, _| ListTransactionsRequest::default(),
            |r| vec![r.error_code],
            &[0],
            ListTransactionsRequest::default(),
        ),
        row(
            Api::GetTelemetrySubscriptions,
            |_, _| GetTelemetrySubscriptionsRequest::default(),
            |r| vec![r.error_code],
            &[0],
            GetTelemetrySubscriptionsRequest::default(),
        ),
        row(
            Api::PushTelemetry,
            push,
            |r| vec![r.error_code],
            &[117],
            PushTelemetryRequest::default(),
        ),
        row(
            Api::ListConfigResources,
            |_, _| ListConfigResourcesRequest::default(),
            |r| vec![r.error_code],
            &[0],
            ListConfigResourcesRequest::default(),
        ),
        row(
            Api::DescribeTopicPartitions,
            topic_partitions,
            |r| r.topics.iter().map(|t| t.error_code).collect(),
            &[0],
            DescribeTopicPartitionsRequest::default(),
        ),
    ]
}
