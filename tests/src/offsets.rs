//! Committed offsets by hand, as a client asks that is no member: of a topic's partition 0.

use anyhow::{Context as _, Result};
use walrus_wire::kafka_protocol::{
    messages::{
        GroupId, OffsetCommitRequest, OffsetFetchRequest, TopicName,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
    },
    protocol::StrBytes,
};

use crate::raw::RawClient;

/// The version in which [`commit_request`] and [`fetch_request`] are asked.
pub const VERSION: i16 = 8;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Commits `offset`; the record before it has `leader_epoch`, or -1.
pub fn commit_request(
    group: &str,
    topic: &str,
    offset: i64,
    leader_epoch: i32,
) -> OffsetCommitRequest {
    let place = OffsetCommitRequestPartition::default()
        .with_committed_offset(offset)
        .with_committed_leader_epoch(leader_epoch)
        .with_committed_metadata(Some(StrBytes::default()));
    let topic = OffsetCommitRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![place]);
    OffsetCommitRequest::default()
        .with_group_id(GroupId(text(group)))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// Asks what is committed; `stable` is asked of a quorum.
pub fn fetch_request(group: &str, topic: &str, stable: bool) -> OffsetFetchRequest {
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName(text(topic)))
        .with_partition_indexes(vec![0]);
    let group = OffsetFetchRequestGroup::default()
        .with_group_id(GroupId(text(group)))
        .with_topics(Some(vec![topic]));
    OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(stable)
}

/// The error of the group and the offset of the partition, -1 where there is none.
///
/// # Errors
/// When the connection ends, or the answer is of no group.
pub fn committed(
    client: &mut RawClient,
    group: &str,
    topic: &str,
    stable: bool,
) -> Result<(i16, i64)> {
    let answer = client.ask(VERSION, &fetch_request(group, topic, stable))?;
    let group = answer.groups.first().context("a group")?;
    let place = group.topics.first().and_then(|topic| topic.partitions.first());
    Ok((group.error_code, place.map_or(-1, |place| place.committed_offset)))
}
