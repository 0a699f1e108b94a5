//! The whole cluster at one moment, for consoles.

use std::sync::Arc;

use axum::{extract::State as Extract, http::Uri};
use walrus_admin::{
    cluster::Group,
    snapshot::{Keeps, NodeEntry, PartitionEntry, Snapshot, TopicEntry, Vitals},
};
use walrus_metadata::{Metadata, Partition, Topic};
use walrus_replication::retention;
use walrus_types::{PartitionIndex, TimestampMs};

use super::{
    answer::{Answer, Live, Told, broken_off, parameters},
    census, nodes, raft,
};
use crate::{admin::routes::Sources, broker::Broker, controller::monitor, groups, vitals};

pub(super) async fn vitals(Live(broker): Live, uri: Uri) -> Answer<Vitals> {
    parameters(&uri, &[])?;
    let look = tokio::task::spawn_blocking(move || vitals::of_self(&broker)).await;
    Ok(Told(look.map_err(|why| broken_off(&why))?))
}

pub(super) async fn snapshot(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
) -> Answer<Snapshot> {
    parameters(&uri, &[])?;
    vitals::gather(&broker).await;
    let look = tokio::task::spawn_blocking(move || look(&sources, &broker)).await;
    Ok(Told(look.map_err(|why| broken_off(&why))?))
}

fn look(sources: &Sources, broker: &Arc<Broker>) -> Snapshot {
    let metadata = broker.metadata();
    let group = raft::group(broker);
    let census = census::take(&metadata, |topic| nodes::min_insync(broker, topic));
    let now = broker.clock.uptime();
    let me = broker.identity.node;
    let entry = |node: walrus_admin::node::Node| {
        if node.node == me {
            let vitals = Some(vitals::of_self(broker));
            return NodeEntry { node, vitals, vitals_age_ms: Some(0), silent: None };
        }
        let heard = broker.vitals.of(node.node);
        let age = heard.said.as_ref().map(|(_, at)| now.since(*at));
        let vitals = heard.said.map(|(said, _)| Vitals::clone(&said));
        NodeEntry { node, vitals, vitals_age_ms: age, silent: heard.silent }
    };
    let nodes = nodes::all(sources, broker, &metadata, &census);
    let topics = topics(&metadata, |topic| monitor::keep(&broker.view(topic).config));
    Snapshot {
        cluster: broker.identity.cluster.to_string(),
        answered_by: me,
        metadata_version: metadata.applied(),
        at_ms: broker.clock.now(),
        group: Group {
            leader: group.leader,
            term: group.term,
            voters: group.voters,
            quorum: group.quorum,
        },
        nodes: nodes.into_iter().map(entry).collect(),
        topics,
    }
}

/// All topics, by name. `keeps` is what the settings of one keep.
fn topics(metadata: &Metadata, keeps: impl Fn(&Arc<Topic>) -> retention::Keep) -> Vec<TopicEntry> {
    let keep = |topic: &Arc<Topic>| {
        // What groups need is known by their coordinators alone: retention takes nothing of it.
        let is_kept = *topic.name == *groups::TOPIC;
        if is_kept { retention::Keep::default() } else { keeps(topic) }
    };
    let mut topics: Vec<TopicEntry> =
        metadata.topics().map(|topic| topic_of(metadata, topic, keep(topic))).collect();
    topics.sort_by(|one, other| one.topic.cmp(&other.topic));
    topics
}

fn topic_of(metadata: &Metadata, topic: &Topic, keep: retention::Keep) -> TopicEntry {
    let partition = |(index, chain): (&PartitionIndex, &Arc<Partition>)| {
        let open = chain.open();
        PartitionEntry {
            partition: *index,
            epoch: open.key.epoch,
            base: open.key.base,
            leader: open.leader.node,
            leader_serves: metadata.may_lead(open.leader),
            members: open.members.iter().map(|member| member.node).collect(),
            write_quorum: open.w,
            log_start: chain.log_start(),
            segments: u64::try_from(chain.segments()).unwrap_or(u64::MAX),
            sealed_bytes: chain.sealed().iter().map(|(_, sealed)| sealed.bytes).sum(),
            oldest_ms: chain
                .sealed()
                .first()
                .map(|(_, sealed)| sealed.max_timestamp)
                .filter(|newest| *newest != TimestampMs::NONE),
            reason: open.reason.to_string(),
        }
    };
    TopicEntry {
        topic: topic.name.to_string(),
        replicas_target: topic.replicas_target,
        keeps: Some(Keeps {
            ms: keep.ms,
            bytes: keep.bytes,
            segments: keep.generations.map(|segments| u64::try_from(segments).unwrap_or(u64::MAX)),
        }),
        partitions: topic.partitions().iter().map(partition).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use uuid::Uuid;
    use walrus_metadata::{
        Address, Addresses, Command, Coverage, Leader, Member, NewTopic, Placement, Reason,
        Register, Roll, SealedAt,
    };
    use walrus_types::{
        ClusterId, Incarnation, NodeId, Offset, StorageId, TopicId, TopicPartition,
    };

    use super::*;

    const TOPICS: i32 = 100;
    const PARTITIONS: i32 = 100;
    const SEALED: i32 = 10;

    fn uuid(of: i32) -> Uuid {
        Uuid::from_u128(u128::try_from(of).unwrap())
    }

    fn placement() -> Placement {
        let member = |node| Member { node: NodeId(node), storage: StorageId(uuid(node)) };
        let leader = Leader { node: NodeId(1), incarnation: Incarnation(1) };
        Placement { leader, members: (1..=3).map(member).collect(), w: 2 }
    }

    /// A cluster of three nodes and ten thousand partitions, each of eleven segments.
    fn large() -> Metadata {
        let mut metadata = Metadata::default();
        let apply = |metadata: &mut Metadata, command: &Command| {
            drop(metadata.apply(metadata.applied() + 1, command));
        };
        for node in 1..=3 {
            let door = |port| Address { host: "h".into(), port };
            apply(
                &mut metadata,
                &Command::Register(Register {
                    node: NodeId(node),
                    storage: StorageId(uuid(node)),
                    incarnation: Incarnation(1),
                    cluster: ClusterId(uuid(99)),
                    rack: None,
                    addresses: Addresses {
                        client: door(9091),
                        peer: door(6001),
                        admin: door(7071),
                    },
                    at: TimestampMs(0),
                }),
            );
        }
        for topic in 1..=TOPICS {
            apply(
                &mut metadata,
                &Command::CreateTopics(vec![NewTopic {
                    id: TopicId(uuid(topic)),
                    name: format!("topic-{topic}"),
                    replicas_target: 3,
                    partitions: (0..PARTITIONS).map(|_| placement()).collect(),
                    configs: vec![],
                    at: TimestampMs(0),
                }]),
            );
            for _ in 0..SEALED {
                let roll = |partition| {
                    let topic = TopicId(uuid(topic));
                    let id = TopicPartition { topic, partition: PartitionIndex(partition) };
                    let open = metadata.partition(id).unwrap().open().key;
                    let end = Offset(open.base.0 + 5);
                    Roll {
                        partition: id,
                        expected: open.epoch,
                        sealed: SealedAt { end, bytes: 500, max_timestamp: TimestampMs(7) },
                        coverage: Coverage::Quorum,
                        next: placement(),
                        reason: Reason::Operator,
                        at: TimestampMs(0),
                    }
                };
                let rolls = (0..PARTITIONS).map(roll).collect();
                apply(&mut metadata, &Command::Roll(rolls));
            }
        }
        metadata
    }

    #[test]
    fn all_partitions_are_told_by_name_with_what_is_sealed() {
        let metadata = large();
        let began = Instant::now();
        let census = census::take(&metadata, |_| 2);
        let counted = began.elapsed();
        let topics = topics(&metadata, |_| retention::Keep::default());
        let listed = began.elapsed();
        let bytes = serde_json::to_vec(&topics).unwrap().len();
        println!(
            "counted {counted:?}, listed {listed:?}, written {:?}: {bytes} bytes",
            began.elapsed()
        );

        assert!(topics.is_sorted_by_key(|topic| topic.topic.clone()));
        let partitions: Vec<_> = topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(partitions.len(), 10_000);
        let all = |one: &&PartitionEntry| {
            (one.segments, one.sealed_bytes, one.oldest_ms) == (11, 5_000, Some(TimestampMs(7)))
        };
        assert!(partitions.iter().all(all));
        assert_eq!((census.segments.total, census.segments.below_target), (110_000, 0));
        assert_eq!(census.holding(NodeId(2)).sealed, 100_000);
    }
}
