//! DescribeProducers, version 0: the idempotent producers that the leader of a partition remembers
//! (KIP-664). None of them has a transaction, for there are none.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use walrus_replication::ProducerTable;
use walrus_wire::kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId, TopicName,
    describe_producers_response::{PartitionResponse, ProducerState, TopicResponse},
};

use crate::{
    api::{Head, codes::Refusal},
    broker::{Broker, TopicView},
    net::replies::Reply,
};

/// What the wire carries for a transaction that is not there.
const NO_TRANSACTION: (i32, i64) = (-1, -1);

/// Answers for the partitions that this node leads; each once, however often it is named.
pub(super) async fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: DescribeProducersRequest,
) -> Reply {
    let mut asked: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
    for topic in request.topics {
        asked.entry(topic.name).or_default().extend(topic.partition_indexes);
    }
    let mut topics = Vec::with_capacity(asked.len());
    for (name, indexes) in asked {
        let view = broker.topic_by_name(&name);
        let mut partitions = Vec::with_capacity(indexes.len());
        for index in indexes {
            partitions.push(shown(index, producers(broker, view.as_ref(), index).await));
        }
        topics.push(TopicResponse::default().with_name(name).with_partitions(partitions));
    }
    head.ready(&DescribeProducersResponse::default().with_topics(topics))
}

async fn producers(
    broker: &Arc<Broker>,
    topic: Option<&TopicView>,
    index: i32,
) -> Result<Vec<ProducerState>, Refusal> {
    let topic = topic.ok_or_else(Refusal::unknown_topic)?;
    let partition = broker.leased(topic, index).await.map_err(|why| Refusal::from(&why))?;
    Ok(partition.with_leader(|leader| states(leader.producers())))
}

fn states(table: &ProducerTable) -> Vec<ProducerState> {
    let (coordinator_epoch, start) = NO_TRANSACTION;
    let states = table.newest().map(|(producer, batch)| {
        ProducerState::default()
            .with_producer_id(ProducerId(producer.0))
            .with_producer_epoch(batch.epoch.0.into())
            .with_last_sequence(batch.last_sequence().0)
            .with_last_timestamp(batch.timestamp.0)
            .with_coordinator_epoch(coordinator_epoch)
            .with_current_txn_start_offset(start)
    });
    states.collect()
}

fn shown(index: i32, outcome: Result<Vec<ProducerState>, Refusal>) -> PartitionResponse {
    let partition = PartitionResponse::default().with_partition_index(index);
    match outcome {
        Ok(states) => partition.with_error_message(None).with_active_producers(states),
        Err(refusal) => {
            partition.with_error_code(refusal.code.code()).with_error_message(refusal.words())
        }
    }
}
