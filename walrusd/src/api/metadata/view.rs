//! A topic as Kafka clients see it: the open segments' members are its replicas, those that are
//! away are offline (design §13.14). In sync are those that are there and keep up, as their leader
//! sees it.

use std::sync::Arc;

use uuid::Uuid;
use walrus_metadata::{Member, Metadata, Open, Topic};
use walrus_replication::lag::Shown;
use walrus_types::{NodeId, TopicPartition};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, TopicName,
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};

use crate::{
    api::{codes::Refusal, topics},
    controller::nodes::is_up,
};

/// What Kafka says a client may do with a topic while nothing is forbidden: a bit for each
/// `AclOperation` that topics have, by its code (3 Read to 8 Describe, 10 and 11 the configs).
const TOPIC_OPERATIONS: i32 = 0b1101_1111_1000;

/// What there is, as this node sees it.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) metadata: Arc<Metadata>,
    /// Nodes whose connections ended a moment ago.
    pub(super) lost: Vec<NodeId>,
    /// Members that lag.
    pub(super) lag: Shown,
}

impl Seen {
    /// Whether a partition of the topic is led by a node that was lost a moment ago.
    pub(super) fn is_led_by_lost(&self, topic: &Topic) -> bool {
        let mut partitions = topic.partitions().iter();
        partitions.any(|(_, chain)| self.lost.contains(&chain.open().leader.node))
    }
}

/// A topic that is there.
pub(super) fn show(seen: &Seen, topic: &Topic) -> MetadataResponseTopic {
    let partitions = topic.partitions().iter();
    let partitions = partitions.map(|(index, chain)| {
        let id = TopicPartition { topic: topic.id, partition: *index };
        partition(seen, id, chain.open())
    });
    MetadataResponseTopic::default()
        .with_name(Some(TopicName(StrBytes::from_string(topic.name.to_string()))))
        .with_topic_id(topic.id.0)
        .with_is_internal(topics::is_internal(&topic.name))
        .with_partitions(partitions.collect())
}

/// A topic that is not, or not for this client.
pub(super) fn refused(
    name: Option<TopicName>,
    id: Uuid,
    refusal: &Refusal,
) -> MetadataResponseTopic {
    let is_internal = name.as_ref().is_some_and(|name| topics::is_internal(name));
    MetadataResponseTopic::default()
        .with_error_code(refusal.code.code())
        .with_name(name)
        .with_topic_id(id)
        .with_is_internal(is_internal)
}

/// Fills in what may be done with the topics that are there, as Kafka without an authorizer does.
pub(super) fn tell_operations(topics: &mut [MetadataResponseTopic]) {
    for topic in topics.iter_mut().filter(|topic| topic.error_code == 0) {
        topic.topic_authorized_operations = TOPIC_OPERATIONS;
    }
}

fn partition(seen: &Seen, of: TopicPartition, open: &Open) -> MetadataResponsePartition {
    let Seen { metadata, lost, lag } = seen;
    let id = |node: NodeId| BrokerId(node.0);
    let (up, away): (Vec<Member>, Vec<Member>) =
        open.members.iter().partition(|member| is_up(metadata, **member));
    let in_sync = up.iter().filter(|member| lag.keeps_up(of, open.key.epoch, member.node));
    // A node that was started anew leads on: its segment of the earlier life is sealed when
    // somebody asks for the partition. Of one that was lost a moment ago a client that is sent
    // back to it learns nothing: it asks again soon where it is told that there is none.
    let led = up.iter().any(|member| member.node == open.leader.node)
        && !lost.contains(&open.leader.node);
    let (error_code, leader) = if led {
        (0, id(open.leader.node))
    } else {
        (ResponseError::LeaderNotAvailable.code(), BrokerId(-1))
    };
    MetadataResponsePartition::default()
        .with_error_code(error_code)
        .with_partition_index(of.partition.0)
        .with_leader_id(leader)
        .with_leader_epoch(open.key.epoch.0)
        .with_replica_nodes(open.members.iter().map(|member| id(member.node)).collect())
        .with_isr_nodes(in_sync.map(|member| id(member.node)).collect())
        .with_offline_replicas(away.iter().map(|member| id(member.node)).collect())
}

#[cfg(test)]
mod tests {
    use walrus_replication::lag::{Edition, Laggards, Published};
    use walrus_types::{Epoch, PartitionIndex, StorageId};

    use super::*;
    use crate::{api::world::World, controller::fake};

    fn one_partition() -> (Seen, TopicPartition, Open) {
        let World { metadata, .. } = World::with_topics(&[("t", 1)]);
        let topic = metadata.topic_named("t").unwrap();
        let of = TopicPartition { topic: topic.id, partition: PartitionIndex(0) };
        let open = topic.partition(of.partition).unwrap().open().clone();
        let (lost, lag) = (Vec::new(), Shown::default());
        (Seen { metadata: Arc::new(metadata), lost, lag }, of, open)
    }

    #[test]
    fn nobody_is_sent_to_a_leader_that_was_lost_a_moment_ago() {
        let (mut seen, of, open) = one_partition();
        for (lost, waits) in [(open.leader.node.0 + 1, false), (open.leader.node.0, true)] {
            seen.lost = vec![NodeId(lost)];
            let shown = partition(&seen, of, &open);
            assert_eq!(shown.leader_id.0 == -1, waits);
            assert_eq!(shown.error_code == ResponseError::LeaderNotAvailable.code(), waits);
            // It may be back in no time: it is not taken for away.
            assert_eq!((shown.isr_nodes.len(), shown.offline_replicas.len()), (1, 0));
            let topic = seen.metadata.topic_named("t").unwrap();
            assert_eq!(seen.is_led_by_lost(topic), waits);
        }
    }

    #[test]
    fn members_that_are_away_are_offline_and_a_leader_that_is_away_is_none() {
        let (seen, of, open) = one_partition();
        let shown = partition(&seen, of, &open);
        let node = open.leader.node.0;
        assert_eq!((shown.error_code, shown.leader_id.0), (0, node));
        assert_eq!(shown.leader_epoch, open.key.epoch.0);
        assert_eq!((shown.isr_nodes.len(), shown.offline_replicas.len()), (1, 0));

        let other_disk = Member { node: open.leader.node, storage: StorageId(Uuid::max()) };
        let gone = Member { node: NodeId(node + 1), storage: open.members[0].storage };
        for members in [vec![other_disk], vec![gone]] {
            let open = Open { members: members.into(), ..open.clone() };
            let shown = partition(&seen, of, &open);
            assert_eq!(shown.error_code, ResponseError::LeaderNotAvailable.code());
            assert_eq!(shown.leader_id.0, -1);
            assert_eq!((shown.isr_nodes.len(), shown.offline_replicas.len()), (0, 1));
            assert_eq!(shown.replica_nodes.len(), 1);
        }
    }

    #[test]
    fn a_member_that_lags_is_not_in_sync_and_not_offline_and_only_in_that_segment() {
        let metadata = Arc::new(fake::cluster(3, 1));
        let of = fake::partition(0);
        let open = metadata.partition(of).unwrap().open().clone();
        for (epoch, isr) in [(open.key.epoch, &[1, 3][..]), (Epoch(9), &[1, 2, 3])] {
            let lags = Laggards { partition: of, epoch, members: vec![NodeId(2)] };
            let edition = Edition { term: 1, number: 1 };
            let mut lag = Shown::default();
            lag.take(&Published { version: 0, edition, list: Some(vec![lags]) });
            let seen = Seen { metadata: Arc::clone(&metadata), lost: Vec::new(), lag };
            let shown = partition(&seen, of, &open);
            let in_sync: Vec<i32> = shown.isr_nodes.iter().map(|node| node.0).collect();
            assert_eq!(in_sync, isr, "lag in {epoch}");
            assert_eq!((shown.replica_nodes.len(), shown.offline_replicas.len()), (3, 0));
        }
    }
}
