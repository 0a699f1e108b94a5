//! OffsetFetch, versions 1 to 9: how far groups have read; -1 for what nobody committed.
//!
//! `require_stable` asks for offsets that no open transaction will change; there are none. Who
//! asks so wants no old offsets either: the answer waits until a quorum of the members has shown
//! that this node still coordinated when it was made, where others go by its lease (L6).

use std::sync::Arc;

use walrus_groups::CommittedOffset;
use walrus_wire::kafka_protocol::{
    messages::{
        OffsetFetchRequest, OffsetFetchResponse, TopicName,
        offset_fetch_response::{
            OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
            OffsetFetchResponseTopic, OffsetFetchResponseTopics,
        },
    },
    protocol::StrBytes,
};

use super::text;
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// The first version that asks for many groups.
const MANY_SINCE: i16 = 8;
/// The first version that tells an error of the whole group.
const GROUP_ERROR_SINCE: i16 = 2;

/// Topics and partitions that are asked for; `None` asks for all that the group has.
type Wanted = Option<Vec<(TopicName, Vec<i32>)>>;
/// Topics and partitions with what is committed for them.
type Found = Vec<(TopicName, Vec<(i32, Option<CommittedOffset>)>)>;

/// Answers with what is committed.
pub async fn fetch(broker: &Arc<Broker>, head: Head, request: OffsetFetchRequest) -> Reply {
    if head.version < MANY_SINCE {
        let topics = request.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
        });
        let found = find(broker, &request.group_id, &topics, request.require_stable).await;
        return head.ready(&one(head.version, topics, found));
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let topics = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (topic.name, topic.partition_indexes)).collect()
        });
        let answer = OffsetFetchResponseGroup::default().with_group_id(group.group_id.clone());
        groups.push(match find(broker, &group.group_id, &topics, request.require_stable).await {
            Ok(found) => answer.with_topics(found.into_iter().map(topic_of_many).collect()),
            Err(refusal) => answer.with_error_code(refusal.code.code()),
        });
    }
    head.ready(&OffsetFetchResponse::default().with_groups(groups))
}

async fn find(
    broker: &Arc<Broker>,
    group: &str,
    wanted: &Wanted,
    surely: bool,
) -> Result<Found, Refusal> {
    let shard = broker.groups.shard(broker, group).await.map_err(|why| Refusal::from(&why))?;
    let found = shard.ask_now(|coordinator, _, _| match wanted {
        Some(wanted) => {
            let topic = |(topic, partitions): &(TopicName, Vec<i32>)| {
                let of = |index: &i32| (*index, coordinator.offset(group, topic, *index).cloned());
                (topic.clone(), partitions.iter().map(of).collect())
            };
            wanted.iter().map(topic).collect()
        }
        None => {
            let mut found: Found = Vec::new();
            for (topic, index, offset) in coordinator.offsets(group) {
                match found.last_mut() {
                    Some((last, partitions)) if last.as_str() == topic => {
                        partitions.push((index, Some(offset.clone())));
                    }
                    Some(_) | None => {
                        let name = TopicName(text(topic.to_owned()));
                        found.push((name, vec![(index, Some(offset.clone()))]));
                    }
                }
            }
            found
        }
    });
    let found = found.await.map_err(|why| Refusal::from(&why))?;
    if surely {
        shard.confirm().await.map_err(|why| Refusal::from(&why))?;
    }
    Ok(found)
}

/// What is committed for a partition, or that nothing is.
fn parts(offset: Option<CommittedOffset>) -> (i64, i32, StrBytes) {
    match offset {
        Some(offset) => (offset.offset, offset.leader_epoch, text(offset.metadata)),
        None => (-1, -1, StrBytes::default()),
    }
}

fn one(version: i16, wanted: Wanted, found: Result<Found, Refusal>) -> OffsetFetchResponse {
    let (found, code) = match found {
        Ok(found) => (found, 0),
        Err(refusal) => {
            let none = |(topic, indexes): (TopicName, Vec<i32>)| {
                (topic, indexes.into_iter().map(|index| (index, None)).collect())
            };
            (wanted.into_iter().flatten().map(none).collect(), refusal.code.code())
        }
    };
    let each = if version < GROUP_ERROR_SINCE { code } else { 0 };
    let topics = found.into_iter().map(|(name, partitions)| {
        let partitions = partitions.into_iter().map(|(index, offset)| {
            let (offset, epoch, metadata) = parts(offset);
            OffsetFetchResponsePartition::default()
                .with_partition_index(index)
                .with_committed_offset(offset)
                .with_committed_leader_epoch(epoch)
                .with_metadata(Some(metadata))
                .with_error_code(each)
        });
        OffsetFetchResponseTopic::default().with_name(name).with_partitions(partitions.collect())
    });
    let answer = OffsetFetchResponse::default().with_topics(topics.collect());
    if version < GROUP_ERROR_SINCE { answer } else { answer.with_error_code(code) }
}

fn topic_of_many(
    (name, partitions): (TopicName, Vec<(i32, Option<CommittedOffset>)>),
) -> OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|(index, offset)| {
        let (offset, epoch, metadata) = parts(offset);
        OffsetFetchResponsePartitions::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_leader_epoch(epoch)
            .with_metadata(Some(metadata))
    });
    OffsetFetchResponseTopics::default().with_name(name).with_partitions(partitions.collect())
}

#[cfg(test)]
mod tests {
    use walrus_types::TimestampMs;
    use walrus_wire::{kafka_protocol::error::ResponseError, response};

    use super::*;

    fn name() -> TopicName {
        TopicName(StrBytes::from_static_str("t"))
    }

    #[test]
    fn what_nobody_committed_is_minus_one_without_an_error() {
        let offset = CommittedOffset {
            offset: 5,
            leader_epoch: 2,
            metadata: "words".into(),
            committed_at: TimestampMs(1),
            expires_at: None,
        };
        for version in 1..MANY_SINCE {
            let found = vec![(name(), vec![(0, Some(offset.clone())), (1, None)])];
            let answer = one(version, None, Ok(found));
            response::encode(1, version, &answer).unwrap();
            let told: Vec<_> = answer.topics[0]
                .partitions
                .iter()
                .map(|one| (one.committed_offset, one.error_code, one.metadata.as_deref()))
                .collect();
            assert_eq!(told, [(5, 0, Some("words")), (-1, 0, Some(""))], "version {version}");
        }
    }

    #[test]
    fn an_error_is_told_where_the_version_has_its_place() {
        let code = ResponseError::NotCoordinator.code();
        for version in 1..MANY_SINCE {
            let refusal = Refusal::new(ResponseError::NotCoordinator, "");
            let answer = one(version, Some(vec![(name(), vec![0])]), Err(refusal));
            response::encode(1, version, &answer).unwrap();
            let told = (answer.error_code, answer.topics[0].partitions[0].error_code);
            let expected = if version < GROUP_ERROR_SINCE { (0, code) } else { (code, 0) };
            assert_eq!(told, expected, "version {version}");
        }
    }
}
