//! What tools ask: places, elections, disks, the metadata group, who may do what, transactions.

use walrus_wire::kafka_protocol::messages::{
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    describe_log_dirs_request::DescribableLogDirTopic,
    describe_quorum_request::{PartitionData, TopicData},
    list_partition_reassignments_request::ListPartitionReassignmentsTopics,
    *,
};

use super::{ALL, Case, case};
use crate::scene::{nothing, producer, text, topic};

const PATIENCE_MS: i32 = 30_000;

fn elect(name: &str, parts: &[i32]) -> ElectLeadersRequest {
    use elect_leaders_request::TopicPartitions;
    let one = TopicPartitions::default()
        .with_topic(TopicName(text(name)))
        .with_partitions(parts.to_vec());
    ElectLeadersRequest::default()
        .with_topic_partitions(Some(vec![one]))
        .with_timeout_ms(PATIENCE_MS)
}

fn reassign(
    name: &str,
    partition: i32,
    nodes: Option<&[i32]>,
) -> AlterPartitionReassignmentsRequest {
    let nodes = nodes.map(|nodes| nodes.iter().map(|node| BrokerId(*node)).collect());
    let part =
        ReassignablePartition::default().with_partition_index(partition).with_replicas(nodes);
    let one =
        ReassignableTopic::default().with_name(TopicName(text(name))).with_partitions(vec![part]);
    AlterPartitionReassignmentsRequest::default()
        .with_topics(vec![one])
        .with_timeout_ms(PATIENCE_MS)
}

fn reassignments(name: &str, parts: &[i32]) -> ListPartitionReassignmentsRequest {
    let one = ListPartitionReassignmentsTopics::default()
        .with_name(TopicName(text(name)))
        .with_partition_indexes(parts.to_vec());
    ListPartitionReassignmentsRequest::default()
        .with_topics(Some(vec![one]))
        .with_timeout_ms(PATIENCE_MS)
}

fn log_dirs(name: &str, parts: &[i32]) -> DescribeLogDirsRequest {
    let one = DescribableLogDirTopic::default()
        .with_topic(TopicName(text(name)))
        .with_partitions(parts.to_vec());
    DescribeLogDirsRequest::default().with_topics(Some(vec![one]))
}

fn quorum(name: &str, partition: i32) -> DescribeQuorumRequest {
    let part = PartitionData::default().with_partition_index(partition);
    let one =
        TopicData::default().with_topic_name(TopicName(text(name))).with_partitions(vec![part]);
    DescribeQuorumRequest::default().with_topics(vec![one])
}

fn producers(name: &str, parts: &[i32]) -> DescribeProducersRequest {
    use describe_producers_request::TopicRequest;
    let one = TopicRequest::default()
        .with_name(TopicName(text(name)))
        .with_partition_indexes(parts.to_vec());
    DescribeProducersRequest::default().with_topics(vec![one])
}

fn pages(names: &[&str], limit: i32) -> DescribeTopicPartitionsRequest {
    use describe_topic_partitions_request::TopicRequest;
    let topics = names.iter().map(|name| TopicRequest::default().with_name(TopicName(text(name))));
    DescribeTopicPartitionsRequest::default()
        .with_topics(topics.collect())
        .with_response_partition_limit(limit)
}

fn placing() -> Vec<Case> {
    vec![
        case("elect a leader that leads", ALL, topic, |s| elect(s.topic.as_str(), &[0])),
        case("elect a leader of an unknown partition", &[0, 2], topic, |s| {
            elect(s.topic.as_str(), &[7])
        }),
        case("elect a leader of an unknown topic", &[0, 2], nothing, |_| elect("not-there", &[0])),
        case("elect a leader out of sync where one leads", &[1, 2], topic, |s| {
            elect(s.topic.as_str(), &[0]).with_election_type(1)
        }),
        case("elect a leader in a way that there is not", &[2], topic, |s| {
            elect(s.topic.as_str(), &[0]).with_election_type(9)
        }),
        case("elect no leader", &[2], nothing, |_| {
            ElectLeadersRequest::default()
                .with_topic_partitions(Some(Vec::new()))
                .with_timeout_ms(PATIENCE_MS)
        }),
        case("reassign a partition to where it is", &[0, 1], topic, |s| {
            reassign(s.topic.as_str(), 0, Some(&[1]))
        }),
        case("reassign a partition to an unknown node", &[0, 1], topic, |s| {
            reassign(s.topic.as_str(), 0, Some(&[9]))
        }),
        case("reassign a partition to a negative node", &[0], topic, |s| {
            reassign(s.topic.as_str(), 0, Some(&[-1]))
        }),
        case("reassign a partition to a node twice", &[0], topic, |s| {
            reassign(s.topic.as_str(), 0, Some(&[1, 1]))
        }),
        case("reassign a partition to nowhere", &[0], topic, |s| {
            reassign(s.topic.as_str(), 0, Some(&[]))
        }),
        case("cancel a reassignment that there is not", &[0, 1], topic, |s| {
            reassign(s.topic.as_str(), 0, None)
        }),
        case("reassign an unknown partition", &[0], topic, |s| {
            reassign(s.topic.as_str(), 7, Some(&[1]))
        }),
        case("reassign a partition of an unknown topic", &[0], nothing, |_| {
            reassign("not-there", 0, Some(&[1]))
        }),
        case("reassign nothing", &[0, 1], nothing, |_| {
            AlterPartitionReassignmentsRequest::default().with_timeout_ms(PATIENCE_MS)
        }),
        case("list all reassignments", &[0], topic, |_| {
            ListPartitionReassignmentsRequest::default()
                .with_topics(None)
                .with_timeout_ms(PATIENCE_MS)
        }),
        case("list a topic's reassignments", &[0], topic, |s| {
            reassignments(s.topic.as_str(), &[0, 1])
        }),
        case("list an unknown topic's reassignments", &[0], nothing, |_| {
            reassignments("not-there", &[0])
        }),
        case("list the reassignments of no topic", &[0], nothing, |_| {
            ListPartitionReassignmentsRequest::default()
                .with_topics(Some(Vec::new()))
                .with_timeout_ms(PATIENCE_MS)
        }),
        case("describe a topic on the disks", ALL, topic, |s| log_dirs(s.topic.as_str(), &[0, 1])),
        case("describe an unknown partition on the disks", &[1, 4], topic, |s| {
            log_dirs(s.topic.as_str(), &[7])
        }),
        case("describe an unknown topic on the disks", &[1, 4], nothing, |_| {
            log_dirs("not-there", &[0])
        }),
        case("describe no topic on the disks", &[1, 4], nothing, |_| {
            DescribeLogDirsRequest::default().with_topics(Some(Vec::new()))
        }),
    ]
}

fn cluster() -> Vec<Case> {
    vec![
        case("describe the metadata group", ALL, nothing, |_| quorum("__cluster_metadata", 0)),
        case("describe another partition of the metadata group", &[0, 2], nothing, |_| {
            quorum("__cluster_metadata", 1)
        }),
        case("describe a topic as the metadata group", &[0, 2], nothing, |_| quorum("orders", 0)),
        case("describe no metadata group", &[0, 2], nothing, |_| DescribeQuorumRequest::default()),
        case("describe the cluster", ALL, nothing, |_| DescribeClusterRequest::default()),
        case("describe the cluster with what one may do", &[0, 1], nothing, |_| {
            DescribeClusterRequest::default().with_include_cluster_authorized_operations(true)
        }),
        case("describe the cluster by the controllers' port", &[1], nothing, |_| {
            DescribeClusterRequest::default().with_endpoint_type(2)
        }),
        case("describe the cluster by an unknown port", &[1], nothing, |_| {
            DescribeClusterRequest::default().with_endpoint_type(9)
        }),
        case("take an unknown node out", &[0], nothing, |_| {
            UnregisterBrokerRequest::default().with_broker_id(BrokerId(77))
        }),
        case("take a negative node out", &[0], nothing, |_| {
            UnregisterBrokerRequest::default().with_broker_id(BrokerId(-1))
        }),
        case("a topic's partitions by pages", &[0], topic, |s| pages(&[s.topic.as_str()], 2_000)),
        case("a page of one partition", &[0], topic, |s| pages(&[s.topic.as_str()], 1)),
        case("an unknown topic by pages", &[0], topic, |s| {
            pages(&[s.topic.as_str(), "not-there"], 2_000)
        }),
        case("a topic whose name cannot be by pages", &[0], nothing, |_| pages(&["no name"], 9)),
        case("pages of no partition", &[0], topic, |s| pages(&[s.topic.as_str()], 0)),
        case("pages from the second partition on", &[0], topic, |s| {
            let from = describe_topic_partitions_request::Cursor::default()
                .with_topic_name(s.topic.clone())
                .with_partition_index(1);
            pages(&[s.topic.as_str()], 2_000).with_cursor(Some(from))
        }),
        case("pages from a negative partition on", &[0], topic, |s| {
            let from = describe_topic_partitions_request::Cursor::default()
                .with_topic_name(s.topic.clone())
                .with_partition_index(-2);
            pages(&[s.topic.as_str()], 2_000).with_cursor(Some(from))
        }),
        case("what has configs", &[0], nothing, |_| ListConfigResourcesRequest::default()),
        case("what has configs, of an unknown kind", &[1], nothing, |_| {
            ListConfigResourcesRequest::default().with_resource_types(vec![77])
        }),
    ]
}

fn rights() -> Vec<Case> {
    use alter_user_scram_credentials_request::{ScramCredentialDeletion, ScramCredentialUpsertion};
    use describe_user_scram_credentials_request::UserName;
    vec![
        case("describe rights", ALL, nothing, |_| {
            DescribeAclsRequest::default()
                .with_resource_type_filter(1)
                .with_pattern_type_filter(1)
                .with_operation(1)
                .with_permission_type(1)
        }),
        case("give a right", ALL, nothing, |_| {
            let one = create_acls_request::AclCreation::default()
                .with_resource_type(2)
                .with_resource_name(text("orders"))
                .with_resource_pattern_type(3)
                .with_principal(text("User:u"))
                .with_host(text("*"))
                .with_operation(3)
                .with_permission_type(3);
            CreateAclsRequest::default().with_creations(vec![one])
        }),
        case("take a right away", ALL, nothing, |_| {
            let one = delete_acls_request::DeleteAclsFilter::default()
                .with_resource_type_filter(2)
                .with_resource_name_filter(Some(text("orders")))
                .with_pattern_type_filter(3)
                .with_operation(3)
                .with_permission_type(3);
            DeleteAclsRequest::default().with_filters(vec![one])
        }),
        case("describe all users", &[0], nothing, |_| {
            DescribeUserScramCredentialsRequest::default().with_users(None)
        }),
        case("describe an unknown user", &[0], nothing, |_| {
            let one = UserName::default().with_name(text("u"));
            DescribeUserScramCredentialsRequest::default().with_users(Some(vec![one]))
        }),
        case("describe a user twice", &[0], nothing, |_| {
            let one = UserName::default().with_name(text("u"));
            DescribeUserScramCredentialsRequest::default().with_users(Some(vec![one.clone(), one]))
        }),
        case("forget an unknown user's password", &[0], nothing, |_| {
            let one = ScramCredentialDeletion::default().with_name(text("u")).with_mechanism(1);
            AlterUserScramCredentialsRequest::default().with_deletions(vec![one])
        }),
        case("set a password of an unknown kind", &[0], nothing, |_| {
            let one = ScramCredentialUpsertion::default()
                .with_name(text("u"))
                .with_mechanism(9)
                .with_iterations(4_096);
            AlterUserScramCredentialsRequest::default().with_upsertions(vec![one])
        }),
        case("change no password", &[0], nothing, |_| AlterUserScramCredentialsRequest::default()),
    ]
}

fn producing() -> Vec<Case> {
    vec![
        case("describe a partition's producers", &[0], producer, |s| {
            producers(s.topic.as_str(), &[0])
        }),
        case("describe no producers", &[0], topic, |s| producers(s.topic.as_str(), &[0])),
        case("describe an unknown partition's producers", &[0], topic, |s| {
            producers(s.topic.as_str(), &[7])
        }),
        case("describe an unknown topic's producers", &[0], nothing, |_| {
            producers("not-there", &[0])
        }),
        case("describe an unknown transaction", &[0], nothing, |_| {
            DescribeTransactionsRequest::default()
                .with_transactional_ids(vec![TransactionalId(text("t"))])
        }),
        case("describe a transaction without a name", &[0], nothing, |_| {
            DescribeTransactionsRequest::default()
                .with_transactional_ids(vec![TransactionalId(text(""))])
        }),
        case("describe no transaction", &[0], nothing, |_| DescribeTransactionsRequest::default()),
        case("list transactions", &[0, 1], nothing, |_| ListTransactionsRequest::default()),
        case("list transactions of states that there are not", &[0, 1], nothing, |_| {
            ListTransactionsRequest::default()
                .with_state_filters(vec![text("Ongoing"), text("NoSuchState")])
        }),
        case("list transactions of a producer", &[1], nothing, |_| {
            ListTransactionsRequest::default().with_producer_id_filters(vec![ProducerId(5)])
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [placing(), cluster(), rights(), producing()].into_iter().flatten().collect()
}
