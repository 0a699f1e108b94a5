//! DescribeLogDirs, versions 1 to 4: the one folder of this node, and how much of each partition
//! lies in it.
//!
//! A sealed segment is counted as long as its record says, where this node is a member of it; the
//! open one as far as it is written here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tracing::warn;
use walrus_metadata::{Metadata, Partition as Chain, Topic};
use walrus_types::{PartitionIndex, SegmentId, TopicPartition};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName,
        describe_log_dirs_response::{
            DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
        },
    },
    protocol::StrBytes,
};

use crate::{api::Head, broker::Broker, facts, net::replies::Reply, partition::read::segment_of};

/// The partitions asked for, by topic; `None`: all.
type Wanted = Option<BTreeMap<TopicName, BTreeSet<i32>>>;

/// Answers from the metadata and the store.
pub(super) async fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: DescribeLogDirsRequest,
) -> Reply {
    let wanted = wanted(request);
    let looking = Arc::clone(broker);
    // Where an open segment ends may have to be found on the disk.
    let looked = tokio::task::spawn_blocking(move || {
        let open_bytes = |id| open_bytes(&looking, id);
        topics(&looking.metadata(), &wanted, looking.identity.storage, open_bytes)
    });
    let (code, topics) = match looked.await {
        Ok(topics) => (0, topics),
        Err(why) => {
            warn!(%why, "the folder was not described");
            (ResponseError::KafkaStorageError.code(), Vec::new())
        }
    };
    let space = facts::space(broker);
    let bytes = |bytes: Option<u64>| bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(-1));
    let folder = broker.config.node.data_dir.display().to_string();
    let result = DescribeLogDirsResult::default()
        .with_error_code(code)
        .with_log_dir(StrBytes::from_string(folder))
        .with_topics(topics)
        .with_total_bytes(bytes(space.map(|space| space.total_bytes)))
        .with_usable_bytes(bytes(space.map(|space| space.free_bytes)));
    head.ready(&DescribeLogDirsResponse::default().with_results(vec![result]))
}

fn wanted(request: DescribeLogDirsRequest) -> Wanted {
    let mut wanted: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
    for topic in request.topics? {
        wanted.entry(topic.topic).or_default().extend(topic.partitions);
    }
    Some(wanted)
}

/// How long the open segment is here.
fn open_bytes(broker: &Broker, id: SegmentId) -> u64 {
    let led = broker.partitions().loaded(id.partition);
    let led = led.map(|led| led.with_leader(|leader| (leader.epoch(), leader.facts().bytes)));
    match led {
        Some((epoch, bytes)) if epoch == id.epoch => bytes,
        // One that was never written to, or cannot be read, is nothing that could be counted.
        Some(_) | None => broker.store.segment(id).bytes().unwrap_or(0),
    }
}

fn topics(
    metadata: &Metadata,
    wanted: &Wanted,
    own: walrus_types::StorageId,
    open_bytes: impl Fn(SegmentId) -> u64,
) -> Vec<DescribeLogDirsTopic> {
    let all = || metadata.topics().map(|topic| (topic, None)).collect();
    let picked: Vec<(&Arc<Topic>, Option<&BTreeSet<i32>>)> = match wanted {
        None => all(),
        Some(wanted) => wanted
            .iter()
            .filter_map(|(name, indexes)| Some((metadata.topic_named(name)?, Some(indexes))))
            .collect(),
    };
    let mut described = Vec::new();
    for (topic, indexes) in picked {
        let asked = topic.partitions().iter();
        let asked = asked.filter(|(index, _)| indexes.is_none_or(|all| all.contains(&index.0)));
        let partitions: Vec<DescribeLogDirsPartition> = asked
            .filter_map(|(index, chain)| {
                let id = TopicPartition { topic: topic.id, partition: *index };
                let bytes = bytes_of(chain, id, own, &open_bytes)?;
                Some(partition(*index, bytes))
            })
            .collect();
        if !partitions.is_empty() {
            let name = TopicName(StrBytes::from_string(topic.name.to_string()));
            let topic = DescribeLogDirsTopic::default().with_name(name);
            described.push(topic.with_partitions(partitions));
        }
    }
    described
}

/// What of a partition is on the disk `own`; `None` where that holds none of its segments.
fn bytes_of(
    chain: &Chain,
    id: TopicPartition,
    own: walrus_types::StorageId,
    open_bytes: impl Fn(SegmentId) -> u64,
) -> Option<u64> {
    let mut held = None;
    for (_, sealed) in chain.sealed() {
        if sealed.members.iter().any(|member| member.storage == own) {
            held = Some(held.unwrap_or(0) + sealed.bytes);
        }
    }
    let open = chain.open();
    if open.members.iter().any(|member| member.storage == own) {
        held = Some(held.unwrap_or(0) + open_bytes(segment_of(id, open.key)));
    }
    held
}

/// Kafka tells how far a member is behind what it knows to be committed; a node knows that only
/// of what it has.
fn partition(index: PartitionIndex, bytes: u64) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition::default()
        .with_partition_index(index.0)
        .with_partition_size(i64::try_from(bytes).unwrap_or(i64::MAX))
        .with_offset_lag(0)
        .with_is_future_key(false)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;
    use walrus_types::StorageId;
    use walrus_wire::{
        kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic, response,
    };

    use super::*;
    use crate::api::world::World;

    type Shown = Vec<(String, Vec<(i32, i64)>)>;

    fn shown(asked: Option<&[(&'static str, &[i32])]>, own: u128) -> Shown {
        let mut world = World::with_topics(&[("a", 2), ("b", 1)]);
        world.roll("a", 5, 0);
        let request = DescribeLogDirsRequest::default().with_topics(asked.map(|asked| {
            let topics = asked.iter().map(|(name, indexes)| {
                DescribableLogDirTopic::default()
                    .with_topic(TopicName(StrBytes::from_static_str(name)))
                    .with_partitions(indexes.to_vec())
            });
            topics.collect()
        }));
        let own = StorageId(Uuid::from_u128(own));
        let topics = topics(&world.metadata, &wanted(request), own, |_| 100);
        let result = DescribeLogDirsResult::default().with_topics(topics.clone());
        let response = DescribeLogDirsResponse::default().with_results(vec![result]);
        for version in 1..=4 {
            response::encode(1, version, &response).unwrap();
        }
        let sizes = |topic: &DescribeLogDirsTopic| {
            let all = topic.partitions.iter();
            all.map(|one| (one.partition_index, one.partition_size)).collect()
        };
        topics.iter().map(|topic| (topic.name.to_string(), sizes(topic))).collect()
    }

    #[test]
    fn a_partition_is_as_long_as_what_this_disk_has_of_it() {
        // Partition 0 of a has a sealed segment of one byte.
        let (a, b) = (("a".to_owned(), vec![(0, 101), (1, 100)]), ("b".to_owned(), vec![(0, 100)]));
        assert_eq!(shown(None, 1), [a.clone(), b]);
        assert_eq!(shown(None, 2), [], "another disk has none of it");
        assert_eq!(shown(Some(&[]), 1), []);
        let twice: &[(&str, &[i32])] = &[("a", &[1, 1]), ("a", &[0]), ("none", &[0])];
        assert_eq!(shown(Some(twice), 1), [a]);
        assert_eq!(shown(Some(&[("b", &[-1, 7])]), 1), []);
    }
}
