//! Reads a topic back, whole, and feeds the checker.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::topic_partition_list::Offset;

use super::{Checker, History, ValueId, Verdict};
use crate::client::Cluster;
use crate::topic::Topics;

const METADATA_TIMEOUT: Duration = Duration::from_secs(30);

/// Reads `topic` (one topic) from log start to the end it has now and judges it by `history`.
/// An error means that it could not be read, which is no verdict.
pub fn read_back(
    cluster: &Cluster,
    topics: &Topics,
    history: &History,
    patience: Duration,
) -> Result<Verdict> {
    let mut config = cluster.consumer()?;
    config.set("check.crcs", "true");
    let consumer: BaseConsumer = config.create()?;
    let mut checker = Checker::new(history);
    let mut assignment = TopicPartitionList::new();
    let mut left = BTreeSet::new();
    let mut ends = Vec::with_capacity(topics.partitions);
    for partition in 0..i32::try_from(topics.partitions).context("too many partitions")? {
        let (log_start, end) = watermarks(&consumer, &topics.topic, partition)?;
        checker.open(partition, log_start, end);
        ends.push(end);
        if end > log_start {
            let from = Offset::Offset(log_start);
            assignment.add_partition_offset(&topics.topic, partition, from)?;
            left.insert(partition);
        }
    }
    consumer.assign(&assignment)?;
    let mut last_progress = Instant::now();
    while !left.is_empty() {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                checker.read(partition, offset, message.payload().and_then(ValueId::decode));
                let index = usize::try_from(partition).context("a negative partition")?;
                if offset + 1 >= ends[index] {
                    left.remove(&partition);
                    consumer.pause(&one(&topics.topic, partition))?;
                }
                last_progress = Instant::now();
            }
            // The broker says that there is no more, whatever it said the end was: the checker
            // will find the difference.
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                left.remove(&partition);
            }
            // One of the brokers is gone: the client goes on with the others, or comes to nothing
            // in time.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
            ))) => {}
            Some(Err(error)) => return Err(error).context("reading back failed"),
            None if last_progress.elapsed() > patience => {
                bail!("nothing came for {patience:?}, partitions {left:?} are not at their end");
            }
            None => {}
        }
    }
    Ok(checker.finish())
}

fn watermarks(consumer: &BaseConsumer, topic: &str, partition: i32) -> Result<(i64, i64)> {
    consumer
        .fetch_watermarks(topic, partition, METADATA_TIMEOUT)
        .with_context(|| format!("offsets of {topic}-{partition}"))
}

fn one(topic: &str, partition: i32) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    list.add_partition(topic, partition);
    list
}
