//! Partitions a page at a time, and one partition's chain.

use std::sync::Arc;

use axum::{
    extract::{Path, rejection::PathRejection},
    http::Uri,
};
use walrus_admin::{
    ApiError, Code,
    partition::{self, Chain, Loss, PAGE_MAX, PartitionList},
};
use walrus_metadata::{Metadata, Partition, Segment, Topic};
use walrus_types::{Epoch, NodeId, PartitionIndex, TimestampMs, TopicPartition};

use super::answer::{Answer, Live, Told, node_id, parameter, parameters};
use crate::{operations::refusal::broken_off, vitals};

/// Which partitions are asked for.
#[derive(Debug, Default)]
struct Wanted {
    topic: Option<String>,
    leader: Option<NodeId>,
    after: Option<(String, PartitionIndex)>,
    limit: usize,
}

pub(super) async fn list(Live(broker): Live, uri: Uri) -> Answer<PartitionList> {
    let given = parameters(&uri, &["topic", "leader", "after", "limit"])?;
    let after = given.get("after").map(|after| place(after)).transpose()?;
    let wanted = Wanted {
        topic: parameter(&given, "topic")?,
        leader: given.get("leader").map(|leader| node_id(leader)).transpose()?,
        after,
        limit: parameter(&given, "limit")?.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX),
    };
    let metadata = broker.metadata();
    if let Some(topic) = &wanted.topic {
        topic_of(&metadata, topic)?;
    }
    // A page may lie behind very many partitions of other leaders.
    let page = tokio::task::spawn_blocking(move || page(&metadata, &wanted)).await;
    Ok(Told(page.map_err(|why| broken_off(&why))?))
}

/// `topic/partition`.
fn place(given: &str) -> Result<(String, PartitionIndex), ApiError> {
    let parts = given.rsplit_once('/').and_then(|(topic, partition)| {
        Some((topic.to_owned(), PartitionIndex(partition.parse().ok()?)))
    });
    parts.ok_or_else(|| ApiError::new(Code::BadRequest, format!("{given:?} is no TOPIC/PARTITION")))
}

fn page(metadata: &Metadata, wanted: &Wanted) -> PartitionList {
    let Wanted { topic, leader, after, limit } = wanted;
    let mut items = Vec::new();
    let mut next = None;
    let topics = metadata.topics().filter(|one| {
        topic.as_deref().is_none_or(|wanted| *one.name == *wanted)
            && after.as_ref().is_none_or(|(name, _)| *one.name >= **name)
    });
    let partitions = topics.flat_map(|topic| {
        topic.partitions().iter().map(move |(index, chain)| (topic, *index, chain))
    });
    let wanted = partitions.filter(|(topic, index, chain)| {
        let is_after =
            after.as_ref().is_none_or(|(name, last)| *topic.name > **name || index > last);
        is_after && leader.is_none_or(|leader| chain.open().leader.node == leader)
    });
    for (topic, index, chain) in wanted {
        if items.len() == *limit {
            let last: &partition::Partition = items.last().expect("a page has room for one");
            next = Some(format!("{}/{}", last.topic, last.partition));
            break;
        }
        items.push(shown(metadata, topic, index, chain));
    }
    PartitionList { metadata_version: metadata.applied(), items, next }
}

fn shown(
    metadata: &Metadata,
    topic: &Topic,
    index: PartitionIndex,
    chain: &Partition,
) -> partition::Partition {
    let open = chain.open();
    partition::Partition {
        topic: topic.name.to_string(),
        partition: index,
        epoch: open.key.epoch,
        base: open.key.base,
        leader: open.leader.node,
        leader_serves: metadata.may_lead(open.leader),
        members: open.members.iter().map(|member| member.node).collect(),
        write_quorum: open.w,
        replicas_target: topic.replicas_target,
        log_start: chain.log_start(),
        segments: u64::try_from(chain.segments()).unwrap_or(u64::MAX),
    }
}

/// A topic by its name.
pub(super) fn topic_of<'a>(metadata: &'a Metadata, name: &str) -> Result<&'a Arc<Topic>, ApiError> {
    metadata.topic_named(name).ok_or_else(|| {
        ApiError::new(Code::NotFound, format!("there is no topic {name:?}"))
            .hint("topics are listed by any Kafka client, as kcat -L")
    })
}

/// The number of a partition by its text.
pub(super) fn index_of(given: &str) -> Result<PartitionIndex, ApiError> {
    given.parse().map(PartitionIndex).map_err(|_error| {
        ApiError::new(Code::BadRequest, format!("{given:?} is no partition: give its number"))
    })
}

/// A partition of a topic by its number.
pub(super) fn partition_of(topic: &Topic, index: PartitionIndex) -> Result<&Partition, ApiError> {
    topic.partition(index).map(|chain| &**chain).ok_or_else(|| {
        let (name, count) = (&topic.name, topic.partitions().len());
        ApiError::new(Code::NotFound, format!("{name} has {count} partitions, and no {index}"))
    })
}

pub(super) async fn chain(
    Live(broker): Live,
    place: Result<Path<(String, String)>, PathRejection>,
    uri: Uri,
) -> Answer<Chain> {
    let Path((name, index)) =
        place.map_err(|why| ApiError::new(Code::BadRequest, why.body_text()))?;
    let given = parameters(&uri, &["before", "limit"])?;
    let before: Option<i32> = parameter(&given, "before")?;
    let limit = parameter(&given, "limit")?.unwrap_or(PAGE_MAX).clamp(1, PAGE_MAX);
    let index = index_of(&index)?;
    let metadata = broker.metadata();
    let topic = topic_of(&metadata, &name)?;
    let chain = partition_of(topic, index)?;
    let id = TopicPartition { topic: topic.id, partition: index };
    let end = match before {
        None => vitals::open_at(&broker, chain.open().leader.node, id).await,
        Some(_) => None,
    };
    // From the end: of a long chain the newest part is what is asked for.
    let wanted: Vec<Segment<'_>> = chain
        .chain()
        .filter(|segment| before.is_none_or(|before| segment.key().epoch < Epoch(before)))
        .collect();
    let newest = wanted.len().saturating_sub(limit);
    Ok(Told(Chain {
        metadata_version: metadata.applied(),
        topic: topic.name.to_string(),
        topic_id: topic.id.to_string(),
        partition: index,
        log_start: chain.log_start(),
        segments: u64::try_from(chain.segments()).unwrap_or(u64::MAX),
        replicas_target: topic.replicas_target,
        items: wanted[newest..].iter().map(|segment| link(*segment, end)).collect(),
        losses: chain
            .losses()
            .iter()
            .map(|(key, loss)| Loss { epoch: key.epoch, from: loss.from, seen: loss.seen })
            .collect(),
    }))
}

/// A link of the chain; what the leader of the open one says of it is taken if it is of that one.
fn link(segment: Segment<'_>, open: Option<vitals::Open>) -> partition::Segment {
    let key = segment.key();
    let (bytes, max_timestamp, digest) = match segment {
        Segment::Sealed(_, sealed) => (
            Some(sealed.bytes),
            sealed.max_timestamp,
            sealed.digest.map(|digest| digest.to_string()),
        ),
        Segment::Open(_) => (None, TimestampMs::NONE, None),
    };
    let mut link = partition::Segment {
        epoch: key.epoch,
        open: matches!(segment, Segment::Open(_)),
        base: key.base,
        end: segment.end(),
        bytes,
        max_timestamp_ms: (max_timestamp != TimestampMs::NONE).then_some(max_timestamp),
        leader: segment.leader(),
        members: segment.members().iter().map(|member| member.node).collect(),
        reason: segment.reason().to_string(),
        digest,
    };
    if link.open
        && let Some(open) = open.filter(|open| open.epoch == key.epoch)
    {
        link.end = Some(open.end);
        link.bytes = Some(open.bytes);
        let none = open.max_timestamp == TimestampMs::NONE;
        link.max_timestamp_ms = (!none).then_some(open.max_timestamp);
    }
    link
}
