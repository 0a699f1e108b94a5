//! DeleteGroups, versions 0 to 2, and OffsetDelete: each answered when it is committed.

use std::sync::Arc;

use walrus_groups::{Answer, OffsetError};
use walrus_types::PartitionIndex;
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteGroupsRequest, DeleteGroupsResponse, GroupId, OffsetDeleteRequest,
        OffsetDeleteResponse,
        delete_groups_response::DeletableGroupResult,
        offset_delete_response::{OffsetDeleteResponsePartition, OffsetDeleteResponseTopic},
    },
};

use super::{Refused, code, kept, unexpected};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    groups::Unready,
    net::replies::Reply,
};

/// Drops groups that have no members.
pub async fn delete(broker: &Arc<Broker>, head: Head, request: DeleteGroupsRequest) -> Reply {
    let broker = Arc::clone(broker);
    Reply::later(async move {
        let mut results = Vec::with_capacity(request.groups_names.len());
        for group in request.groups_names {
            let outcome = delete_one(&broker, &group).await;
            let result = DeletableGroupResult::default()
                .with_group_id(group)
                .with_error_code(code(&outcome));
            results.push(result);
        }
        head.frames(&DeleteGroupsResponse::default().with_results(results))
    })
}

async fn delete_one(broker: &Arc<Broker>, group: &GroupId) -> Refused {
    let refusal = |why: Unready| Refusal::from(&why);
    let shard = broker.groups.shard(broker, group).await.map_err(refusal)?;
    let asked = shard.ask(|coordinator, waiter, at, out| {
        coordinator.delete(group, waiter, at, out);
    });
    match asked.await.map_err(refusal)?.answer().await.map_err(refusal)? {
        Answer::DeleteGroup(outcome) => outcome.map_err(|why| Refusal::from(&why)),
        _ => Err(unexpected()),
    }
}

/// Forgets how far a group has read partitions that none of its members reads.
pub async fn delete_offsets(
    broker: &Arc<Broker>,
    head: Head,
    request: OffsetDeleteRequest,
) -> Reply {
    let broker = Arc::clone(broker);
    Reply::later(async move {
        let told = forget(&broker, &request).await;
        head.frames(&respond(&broker, request, told))
    })
}

type Told = Result<Vec<Result<(), OffsetError>>, Refusal>;

fn is_there(broker: &Broker, topic: &str, partition: i32) -> bool {
    let view = broker.topic_by_name(topic);
    view.is_some_and(|view| view.topic.partition(PartitionIndex(partition)).is_some())
}

async fn forget(broker: &Arc<Broker>, request: &OffsetDeleteRequest) -> Told {
    let refusal = |why: Unready| Refusal::from(&why);
    let mut places = Vec::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            if is_there(broker, &topic.name, partition.partition_index) {
                places.push((kept(&topic.name), partition.partition_index));
            }
        }
    }
    let shard = broker.groups.shard(broker, &request.group_id).await.map_err(refusal)?;
    let asked = shard.ask(|coordinator, waiter, at, out| {
        coordinator.delete_offsets(&request.group_id, places, waiter, at, out);
    });
    match asked.await.map_err(refusal)?.answer().await.map_err(refusal)? {
        Answer::DeleteOffsets(told) => told.map_err(|why| Refusal::from(&why)),
        _ => Err(unexpected()),
    }
}

fn respond(broker: &Broker, request: OffsetDeleteRequest, told: Told) -> OffsetDeleteResponse {
    let each = match told {
        Ok(each) => each,
        Err(why) => return OffsetDeleteResponse::default().with_error_code(why.code.code()),
    };
    let mut each = each.into_iter();
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for partition in topic.partitions {
            let index = partition.partition_index;
            let code = if is_there(broker, &topic.name, index) {
                let outcome = each.next().unwrap_or(Ok(()));
                code(&outcome.map_err(|why| Refusal::from(&why)))
            } else {
                ResponseError::UnknownTopicOrPartition.code()
            };
            let answer = OffsetDeleteResponsePartition::default().with_partition_index(index);
            partitions.push(answer.with_error_code(code));
        }
        let topic = OffsetDeleteResponseTopic::default().with_name(topic.name);
        topics.push(topic.with_partitions(partitions));
    }
    OffsetDeleteResponse::default().with_topics(topics)
}
