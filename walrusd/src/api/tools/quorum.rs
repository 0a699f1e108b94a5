//! DescribeQuorum, versions 0 to 2: the metadata group, as Kafka's tools see its quorum. An index of
//! the Raft log is the offset of an entry in `__cluster_metadata`, a term is its leader's epoch.

use std::sync::Arc;

use walrus_raft::{Reached, Standing};
use walrus_types::TimestampMs;
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, DescribeQuorumRequest, DescribeQuorumResponse,
        describe_quorum_response::{Listener, Node, PartitionData, ReplicaState, TopicData},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Kafka's name for the log of the metadata, which has one partition.
const TOPIC: &str = "__cluster_metadata";
const PARTITION: i32 = 0;
/// The first version that names disks and tells where members are (KIP-853).
const PLACES_SINCE: i16 = 2;
/// What the members' doors for each other are called.
const LISTENER: &str = "PEER";
/// What the wire carries for an offset or a time that is not known.
const UNKNOWN: i64 = -1;

/// Answers as the group's leader sees it, whoever is asked.
pub(super) async fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: &DescribeQuorumRequest,
) -> Reply {
    if !is_of_metadata(request) {
        return head.ready(&refused(request, &Refusal::unknown_topic()));
    }
    let response = match broker.raft.group().standing().await {
        Some(standing) => described(&standing, broker.clock.now(), head.version),
        None => {
            let why = "nobody is known to lead the metadata group now";
            refused(request, &Refusal::new(ResponseError::LeaderNotAvailable, why))
        }
    };
    head.ready(&response)
}

/// Whether it asks for the metadata's one partition and nothing else, as Kafka wants it.
fn is_of_metadata(request: &DescribeQuorumRequest) -> bool {
    match &request.topics[..] {
        [topic] if &*topic.topic_name == TOPIC => {
            matches!(&topic.partitions[..], [one] if one.partition_index == PARTITION)
        }
        _ => false,
    }
}

/// The same for every partition that was asked for.
fn refused(request: &DescribeQuorumRequest, refusal: &Refusal) -> DescribeQuorumResponse {
    let partition = |index: i32| {
        PartitionData::default()
            .with_partition_index(index)
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words())
            .with_leader_id(BrokerId(-1))
            .with_leader_epoch(-1)
            .with_high_watermark(UNKNOWN)
    };
    let topics = request.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|one| one.partition_index);
        TopicData::default()
            .with_topic_name(topic.topic_name.clone())
            .with_partitions(indexes.map(partition).collect())
    });
    DescribeQuorumResponse::default().with_topics(topics.collect()).with_error_message(None)
}

fn described(standing: &Standing, now: TimestampMs, version: i16) -> DescribeQuorumResponse {
    let Standing { term, leader, committed_end, members } = standing;
    let has_places = version >= PLACES_SINCE;
    let state = |member: &Reached| {
        let state = replica(member, *committed_end, now);
        if has_places { state.with_replica_directory_id(member.id.0) } else { state }
    };
    let voters = members.iter().filter(|member| member.votes).map(state);
    let observers = members.iter().filter(|member| !member.votes).map(state);
    let leads = members.iter().find(|member| member.id == *leader);
    let partition = PartitionData::default()
        .with_partition_index(PARTITION)
        .with_error_message(None)
        .with_leader_id(BrokerId(leads.map_or(-1, |member| member.peer.node.0)))
        .with_leader_epoch(i32::try_from(*term).unwrap_or(i32::MAX))
        .with_high_watermark(offset(*committed_end))
        .with_current_voters(voters.collect())
        .with_observers(observers.collect());
    let topic = TopicData::default()
        .with_topic_name(StrBytes::from_static_str(TOPIC).into())
        .with_partitions(vec![partition]);
    let nodes = members.iter().filter(|member| has_places && member.votes).map(|member| {
        let listener = Listener::default()
            .with_name(StrBytes::from_static_str(LISTENER))
            .with_host(StrBytes::from_string(member.peer.host.clone()))
            .with_port(member.peer.port);
        Node::default().with_node_id(BrokerId(member.peer.node.0)).with_listeners(vec![listener])
    });
    DescribeQuorumResponse::default()
        .with_error_message(None)
        .with_topics(vec![topic])
        .with_nodes(nodes.collect())
}

/// A member that has all that is committed was caught up when it was last heard; of another one it
/// is not known when it was.
fn replica(member: &Reached, committed_end: u64, now: TimestampMs) -> ReplicaState {
    let heard = member.heard_ms.map(|ms| now.0.saturating_sub_unsigned(ms));
    let is_caught_up = member.end.is_some_and(|end| end >= committed_end);
    ReplicaState::default()
        .with_replica_id(BrokerId(member.peer.node.0))
        .with_log_end_offset(member.end.map_or(UNKNOWN, offset))
        .with_last_fetch_timestamp(heard.unwrap_or(UNKNOWN))
        .with_last_caught_up_timestamp(heard.filter(|_| is_caught_up).unwrap_or(UNKNOWN))
}

fn offset(index: u64) -> i64 {
    i64::try_from(index).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use walrus_raft::{RaftId, RaftPeer};
    use walrus_types::NodeId;
    use walrus_wire::{
        kafka_protocol::messages::describe_quorum_request::{
            PartitionData as AskedPartition, TopicData as AskedTopic,
        },
        response,
    };

    use super::*;

    fn request(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
        let topics = topics.iter().map(|(name, indexes)| {
            let one = |index: &i32| AskedPartition::default().with_partition_index(*index);
            AskedTopic::default()
                .with_topic_name(StrBytes::from_string((*name).to_owned()).into())
                .with_partitions(indexes.iter().map(one).collect())
        });
        DescribeQuorumRequest::default().with_topics(topics.collect())
    }

    #[test]
    fn only_the_metadata_has_a_quorum() {
        for (topics, sound) in [
            (&[(TOPIC, &[0][..])][..], true),
            (&[], false),
            (&[("t", &[0])], false),
            (&[(TOPIC, &[])], false),
            (&[(TOPIC, &[1])], false),
            (&[(TOPIC, &[0, 0])], false),
            (&[(TOPIC, &[0]), (TOPIC, &[0])], false),
        ] {
            let request = request(topics);
            assert_eq!(is_of_metadata(&request), sound, "{topics:?}");
            let response = refused(&request, &Refusal::unknown_topic());
            let told: usize = response.topics.iter().map(|topic| topic.partitions.len()).sum();
            assert_eq!(told, topics.iter().map(|(_, indexes)| indexes.len()).sum::<usize>());
            for version in 0..=2 {
                response::encode(1, version, &response).unwrap();
            }
        }
    }

    #[test]
    fn members_are_told_with_how_far_they_are_and_when_that_was_so() {
        let member = |node: i32, votes, end, heard_ms| Reached {
            id: RaftId(Uuid::from_u128(node.unsigned_abs().into())),
            peer: RaftPeer { node: NodeId(node), host: format!("h{node}"), port: 6001 },
            votes,
            end,
            heard_ms,
        };
        let members = vec![
            member(1, true, Some(12), Some(0)),
            member(2, true, Some(10), Some(30)),
            member(3, false, Some(4), Some(50)),
            member(4, false, None, None),
        ];
        let leader = members[0].id;
        let standing = Standing { term: 7, leader, committed_end: 10, members };
        let told = |version| described(&standing, TimestampMs(1_000), version);
        for version in 0..=2 {
            response::encode(1, version, &told(version)).unwrap();
        }
        let response = told(2);
        let partition = &response.topics[0].partitions[0];
        let told = (partition.leader_id.0, partition.leader_epoch, partition.high_watermark);
        assert_eq!(told, (1, 7, 10));
        let all = partition.current_voters.iter().chain(&partition.observers);
        let states: Vec<_> = all
            .map(|one| {
                let times = (one.last_fetch_timestamp, one.last_caught_up_timestamp);
                (one.replica_id.0, one.log_end_offset, times)
            })
            .collect();
        let expected =
            [(1, 12, (1_000, 1_000)), (2, 10, (970, 970)), (3, 4, (950, -1)), (4, -1, (-1, -1))];
        assert_eq!(states, expected);
        let nodes: Vec<_> = response.nodes.iter().map(|node| node.node_id.0).collect();
        assert_eq!((nodes, partition.current_voters.len()), (vec![1, 2], 2));
    }
}
