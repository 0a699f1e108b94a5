//! OffsetCommit, versions 2 to 9: answered when the offsets are committed in the log.

use std::sync::Arc;

use walrus_groups::{Answer, Commit, GroupError, NewOffset};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        OffsetCommitRequest, OffsetCommitResponse,
        offset_commit_response::{OffsetCommitResponsePartition, OffsetCommitResponseTopic},
    },
};

use super::{code, kept, kept_if, unexpected};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    groups::Asked,
    net::replies::Reply,
};

/// The version from which a group that is not there is told as that.
const NOT_FOUND_SINCE: i16 = 9;

/// What becomes of a partition of the request.
enum Place {
    /// It is committed with the others, in their order.
    Asked,
    /// There is no such partition.
    Unknown,
}

/// Commits how far a group has read. Partitions that are not there are told so, the others are
/// committed.
pub async fn commit(broker: &Arc<Broker>, head: Head, request: OffsetCommitRequest) -> Reply {
    let mut places = Vec::new();
    let mut offsets = Vec::new();
    for topic in &request.topics {
        let view = broker.topic_by_name(&topic.name);
        for partition in &topic.partitions {
            let index = walrus_types::PartitionIndex(partition.partition_index);
            let is_there = view.as_ref().is_some_and(|view| view.topic.partition(index).is_some());
            places.push(if is_there { Place::Asked } else { Place::Unknown });
            if is_there {
                offsets.push(NewOffset {
                    topic: kept(&topic.name),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch,
                    metadata: kept_if(partition.committed_metadata.as_ref()).unwrap_or_default(),
                });
            }
        }
    }
    let commit = Commit {
        group: kept(&request.group_id),
        member: kept(&request.member_id),
        instance: kept_if(request.group_instance_id.as_ref()),
        generation: request.generation_id_or_member_epoch,
        retention_ms: u64::try_from(request.retention_time_ms).ok(),
        offsets,
    };
    let asked = match broker.groups.shard(broker, &commit.group.clone()).await {
        Ok(shard) => {
            let ask = shard.ask(|coordinator, waiter, at, out| {
                coordinator.commit(commit, waiter, at, out);
            });
            ask.await
        }
        Err(why) => Err(why),
    };
    match asked {
        Ok(asked) => Reply::later(async move {
            let told = answer(head.version, asked).await;
            head.frames(&respond(request, &places, told))
        }),
        Err(why) => head.ready(&respond(request, &places, Err(Refusal::from(&why)))),
    }
}

/// What became of each offset, in their order.
type Told = Result<Vec<Result<(), Refusal>>, Refusal>;

async fn answer(version: i16, asked: Asked) -> Told {
    match asked.answer().await {
        Ok(Answer::Commit(Ok(each))) => {
            Ok(each.into_iter().map(|one| one.map_err(|why| Refusal::from(&why))).collect())
        }
        Ok(Answer::Commit(Err(GroupError::NotFound))) if version < NOT_FOUND_SINCE => {
            Err(Refusal::from(&GroupError::IllegalGeneration))
        }
        Ok(Answer::Commit(Err(why))) => Err(Refusal::from(&why)),
        Ok(_) => Err(unexpected()),
        Err(why) => Err(Refusal::from(&why)),
    }
}

fn respond(request: OffsetCommitRequest, places: &[Place], told: Told) -> OffsetCommitResponse {
    let mut places = places.iter();
    let mut each = told.as_ref().map(|each| each.iter());
    let mut code_of_next = || match places.next() {
        Some(Place::Asked) => match &mut each {
            Ok(each) => each.next().map_or(0, code),
            Err(refusal) => refusal.code.code(),
        },
        Some(Place::Unknown) | None => ResponseError::UnknownTopicOrPartition.code(),
    };
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let partitions = topic.partitions.iter().map(|partition| {
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(code_of_next())
        });
        let partitions = partitions.collect();
        let topic = OffsetCommitResponseTopic::default().with_name(topic.name);
        topics.push(topic.with_partitions(partitions));
    }
    OffsetCommitResponse::default().with_topics(topics)
}
