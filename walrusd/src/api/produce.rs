//! Produce: are the batches sound and allowed, and who appends them?
//!
//! Checking and appending happen in the order of the connection's requests; the acks are waited
//! for later, so that a connection's requests overlap in the WAL. Versions 3 to 13; 0 to 2 are
//! advertised for old librdkafka's sake and refused in `walrus-wire`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use walrus_types::{
    Offset, PartitionIndex, TimestampMs, TopicId, TopicPartition,
    batch::{self, BatchHeader, Codec},
};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, ProduceRequest, ProduceResponse, TopicName,
        produce_request::{PartitionProduceData, TopicProduceData},
        produce_response::{
            LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse, TopicProduceResponse,
        },
    },
    protocol::StrBytes,
};

use super::{Head, codes::Refusal, topics};
use crate::{
    broker::{Broker, TopicView},
    net::replies::Reply,
    partition::{Acks, Appended, Prepared, Receipt},
    topic_config::{TimestampType, TopicConfig},
};

/// The first version that names topics by id alone (KIP-516).
const TOPIC_IDS: i16 = 13;
/// The first version whose clients know zstd (KIP-110).
const ZSTD: i16 = 7;
/// A batch of this size may be kept in its frame's memory.
const BATCH_KEPT_BYTES_MIN: usize = 16 << 10;

/// One partition's part of the answer, or who will know it.
struct Part {
    topic: usize,
    partition: TopicPartition,
    receipt: Result<Receipt, Refusal>,
}

/// Appends what the request carries; the answer comes when its acks have.
pub async fn begin(
    broker: &Arc<Broker>,
    reached: SocketAddr,
    head: Head,
    request: ProduceRequest,
) -> Reply {
    let acks = match (request.acks, &request.transactional_id) {
        (_, Some(_)) => Err(Refusal::new(
            ResponseError::InvalidRequest,
            "transactions are not built yet: produce without a transactional id",
        )),
        (0, None) => Ok(Acks::None),
        (1, None) => Ok(Acks::Leader),
        (-1, None) => Ok(Acks::All),
        (other, None) => Err(Refusal::new(
            ResponseError::InvalidRequiredAcks,
            format!("acks {other} is none of 0, 1 and -1 (all)"),
        )),
    };
    // Producers are slowed here, before their batch has an offset, while the disk is behind.
    broker.store.room().await;
    let mut answers = Vec::with_capacity(request.topic_data.len());
    let mut parts = Vec::new();
    for (at, topic) in request.topic_data.into_iter().enumerate() {
        let TopicProduceData { name, topic_id, partition_data, .. } = topic;
        let view = if head.version >= TOPIC_IDS {
            broker.topic_by_id(TopicId(topic_id)).ok_or_else(Refusal::unknown_topic_id)
        } else {
            broker.topic_by_name(&name).ok_or_else(Refusal::unknown_topic)
        };
        // A copy: a name that is a slice of the frame would keep the batch from being taken.
        let named = TopicName(StrBytes::from_string(name.to_string()));
        drop(name);
        let answer = TopicProduceResponse::default();
        answers.push(answer.with_name(named).with_topic_id(topic_id));
        if let Ok(view) = &view {
            broker.load_partitions(view, partition_data.iter().map(|data| data.index)).await;
        }
        for data in partition_data {
            let index = data.index;
            let receipt = match &acks {
                Ok(acks) => append(broker, head.version, view.as_ref(), data, *acks).await,
                Err(refusal) => Err(refusal.clone()),
            };
            let topic = view.as_ref().map_or_else(|_| TopicId::default(), |view| view.id());
            let partition = TopicPartition { topic, partition: PartitionIndex(index) };
            parts.push(Part { topic: at, partition, receipt });
        }
    }
    if request.acks == 0 {
        // Kafka's way of telling a producer that asked for no answer: the connection ends.
        let refused = parts.into_iter().any(|part| part.receipt.is_ok_and(Receipt::refused));
        return if refused { Reply::Close } else { Reply::Silent };
    }
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let broker = Arc::clone(broker);
    Reply::later(async move {
        let answer = collect(&broker, (head.version, reached), answers, parts, timeout).await;
        head.frames(&answer)
    })
}

async fn append(
    broker: &Arc<Broker>,
    version: i16,
    topic: Result<&TopicView, &Refusal>,
    data: PartitionProduceData,
    acks: Acks,
) -> Result<Receipt, Refusal> {
    let topic = topic.map_err(Refusal::clone)?;
    if topics::is_internal(&topic.topic.name) {
        let why = "the broker alone writes to its internal topics";
        return Err(Refusal::new(ResponseError::InvalidTopicException, why));
    }
    let partition = broker.partition(topic, data.index).await.map_err(|why| Refusal::from(&why))?;
    let bytes = data.records.unwrap_or_default();
    let now = broker.clock.now();
    let mut header = check(&bytes, version, &topic.config, now)?;
    let mut bytes = own(bytes);
    let stamped = topic.config.timestamp_type == TimestampType::LogAppendTime;
    if stamped {
        batch::set_log_append_time(&mut bytes, now);
        header = BatchHeader::parse(&bytes)?;
    }
    broker.metrics.produced(header.record_count, bytes.len());
    Ok(partition.append(Prepared { header, bytes, stamped }, acks, broker.clock.uptime()))
}

/// The batch in bytes of its own, which the leader writes its fields into. A large one that
/// nobody else refers to is most of its frame and stays where it is; others are copied, so that
/// no small batch holds a large frame in memory.
fn own(batch: Bytes) -> BytesMut {
    if batch.len() < BATCH_KEPT_BYTES_MIN {
        return BytesMut::from(&batch[..]);
    }
    match batch.try_into_mut() {
        Ok(own) if own.capacity() <= 2 * own.len() => own,
        Ok(shared) => BytesMut::from(&shared[..]),
        Err(shared) => BytesMut::from(&shared[..]),
    }
}

/// Judges a client's records for one partition: exactly one sound batch within the topic's limits.
fn check(
    bytes: &[u8],
    version: i16,
    config: &TopicConfig,
    now: TimestampMs,
) -> Result<BatchHeader, Refusal> {
    let invalid = |why: &str| Refusal::new(ResponseError::InvalidRecord, why);
    if bytes.is_empty() {
        return Err(invalid("the request carries no batch for this partition"));
    }
    let header = batch::check(bytes)?;
    if header.batch_bytes != bytes.len() {
        return Err(invalid("a Produce carries exactly one batch for a partition"));
    }
    if header.base_offset != Offset(0) {
        return Err(invalid("a batch begins at offset 0 until its partition gives it a place"));
    }
    if header.codec()? == Codec::Zstd && version < ZSTD {
        let why = format!("Produce {version} cannot carry zstd, which came with {ZSTD}");
        return Err(Refusal::new(ResponseError::UnsupportedCompressionType, why));
    }
    if header.is_control() {
        return Err(invalid("control batches are written by brokers only"));
    }
    if header.is_transactional() {
        let why = "transactions are not built yet: the batch is marked transactional";
        return Err(Refusal::new(ResponseError::InvalidRequest, why));
    }
    let limit = usize::try_from(config.batch_bytes_max).unwrap_or(0);
    if bytes.len() > limit {
        let why = format!(
            "batch of {} bytes is over the topic's max.message.bytes of {limit}",
            bytes.len()
        );
        return Err(Refusal::new(ResponseError::MessageTooLarge, why));
    }
    check_timestamp(&header, config, now)?;
    Ok(header)
}

/// Judges a producer's own timestamps by the batch's newest; those of its other records would
/// take decoding it.
fn check_timestamp(
    header: &BatchHeader,
    config: &TopicConfig,
    now: TimestampMs,
) -> Result<(), Refusal> {
    if config.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let ahead = header.max_timestamp.0.saturating_sub(now.0);
    let (limit, name) = if ahead > config.timestamp_after_max_ms {
        (config.timestamp_after_max_ms, "message.timestamp.after.max.ms")
    } else if ahead.saturating_neg() > config.timestamp_before_max_ms {
        (config.timestamp_before_max_ms, "message.timestamp.before.max.ms")
    } else {
        return Ok(());
    };
    let why = format!(
        "the newest timestamp is {}, the broker's time is {now}; {name} allows {limit} ms",
        header.max_timestamp
    );
    Err(Refusal::new(ResponseError::InvalidTimestamp, why))
}

/// Waits for every ack, `timeout` at most, and builds the answer.
async fn collect(
    broker: &Broker,
    (version, reached): (i16, SocketAddr),
    mut topics: Vec<TopicProduceResponse>,
    parts: Vec<Part>,
    timeout: Duration,
) -> ProduceResponse {
    let deadline = tokio::time::Instant::now() + timeout;
    let mut endpoints = false;
    for Part { topic, partition, receipt } in parts {
        let outcome = match receipt {
            Ok(receipt) => receipt.wait(deadline).await.map_err(|failure| Refusal::from(&failure)),
            Err(refusal) => Err(refusal),
        };
        let index = partition.partition.0;
        let answer = match outcome {
            Ok(appended) => accepted(index, appended),
            Err(refusal) => {
                broker.metrics.produce_refused(refusal.code);
                let answer = refused(index, version, &refusal);
                match broker.leader_hint(refusal.code, partition) {
                    Some((leader, epoch)) if version >= 10 => {
                        endpoints = true;
                        let hint = LeaderIdAndEpoch::default()
                            .with_leader_id(BrokerId(leader.0))
                            .with_leader_epoch(epoch.0);
                        answer.with_current_leader(hint)
                    }
                    _ => answer,
                }
            }
        };
        topics[topic].partition_responses.push(answer);
    }
    let response = ProduceResponse::default().with_responses(topics);
    if endpoints { response.with_node_endpoints(endpoints_of(broker, reached)) } else { response }
}

fn accepted(index: i32, appended: Appended) -> PartitionProduceResponse {
    PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(appended.base.0)
        .with_log_append_time_ms(appended.log_append_time.0)
        .with_log_start_offset(appended.log_start.0)
}

fn refused(index: i32, version: i16, refusal: &Refusal) -> PartitionProduceResponse {
    let answer = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(refusal.code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1);
    if version >= 8 {
        answer.with_error_message(Some(StrBytes::from_string(refusal.message.clone())))
    } else {
        answer
    }
}

/// Where the nodes are, for a client that is told another leader (KIP-951).
fn endpoints_of(broker: &Broker, reached: SocketAddr) -> Vec<NodeEndpoint> {
    broker
        .endpoints(reached)
        .into_iter()
        .map(|node| {
            NodeEndpoint::default()
                .with_node_id(BrokerId(node.id.0))
                .with_host(StrBytes::from_string(node.host))
                .with_port(i32::from(node.port))
                .with_rack(node.rack.map(StrBytes::from_string))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use walrus_types::{ProducerId, batch::plain_header};

    use super::*;

    fn refusal(bytes: &[u8], version: i16) -> Option<ResponseError> {
        let config = TopicConfig {
            batch_bytes_max: 200,
            timestamp_after_max_ms: 3_600_000,
            timestamp_before_max_ms: 60_000,
            ..crate::topic_config::tests::any()
        };
        check(bytes, version, &config, TimestampMs(0)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_large_batch_is_kept_where_it_is_and_others_are_copied() {
        let frame = |bytes: usize| Bytes::from(vec![7; bytes]);
        let large = frame(BATCH_KEPT_BYTES_MIN);
        let at = large.as_ptr();
        assert_eq!(own(large).as_ptr(), at, "nobody else refers to it");

        let shared = frame(BATCH_KEPT_BYTES_MIN);
        assert_ne!(own(shared.clone()).as_ptr(), shared.as_ptr(), "it is still read elsewhere");

        let mut much = frame(4 * BATCH_KEPT_BYTES_MIN);
        much.truncate(BATCH_KEPT_BYTES_MIN);
        assert!(own(much).capacity() < 2 * BATCH_KEPT_BYTES_MIN, "it would hold a larger frame");

        let small = frame(BATCH_KEPT_BYTES_MIN - 1);
        let at = small.as_ptr();
        assert_ne!(own(small).as_ptr(), at);
    }

    #[test]
    fn a_batch_that_is_not_sound_gets_the_code_that_kafka_gives() {
        let sound = batch::build(&plain_header(2), b"records");
        let with = |change: fn(&mut BatchHeader)| {
            let mut header = plain_header(2);
            change(&mut header);
            batch::build(&header, b"records")
        };
        let flip = |at: usize| {
            let mut bytes = sound.clone();
            bytes[at] ^= 0x40;
            bytes
        };
        let old_magic = |magic: u8| {
            let mut bytes = sound.clone();
            bytes[16] = magic;
            bytes
        };
        for (bytes, expected) in [
            (sound.clone(), None),
            (with(|header| header.producer_id = ProducerId(7)), None),
            (vec![], Some(ResponseError::InvalidRecord)),
            (sound[..40].to_vec(), Some(ResponseError::InvalidRecord)),
            (sound[..sound.len() - 1].to_vec(), Some(ResponseError::InvalidRecord)),
            ([sound.clone(), sound.clone()].concat(), Some(ResponseError::InvalidRecord)),
            (flip(sound.len() - 1), Some(ResponseError::CorruptMessage)),
            (old_magic(0), Some(ResponseError::InvalidRecord)),
            (old_magic(1), Some(ResponseError::InvalidRecord)),
            (old_magic(3), Some(ResponseError::CorruptMessage)),
            (with(|header| header.attributes = 6), Some(ResponseError::UnsupportedCompressionType)),
            (with(|header| header.record_count = 3), Some(ResponseError::InvalidRecord)),
            (with(|header| header.base_offset = Offset(7)), Some(ResponseError::InvalidRecord)),
            (with(|header| header.attributes = 4), None),
            (with(|header| header.attributes = 1 << 5), Some(ResponseError::InvalidRecord)),
            (with(|header| header.attributes = 1 << 4), Some(ResponseError::InvalidRequest)),
            (batch::build(&plain_header(1), &[0; 200]), Some(ResponseError::MessageTooLarge)),
            (
                with(|header| header.max_timestamp = TimestampMs(3_600_001)),
                Some(ResponseError::InvalidTimestamp),
            ),
            (with(|header| header.max_timestamp = TimestampMs(3_600_000)), None),
            (
                with(|header| header.max_timestamp = TimestampMs(-60_001)),
                Some(ResponseError::InvalidTimestamp),
            ),
        ] {
            assert_eq!(refusal(&bytes, ZSTD), expected, "{} bytes", bytes.len());
        }
        let zstd = with(|header| header.attributes = 4);
        let expected = Some(ResponseError::UnsupportedCompressionType);
        assert_eq!(refusal(&zstd, ZSTD - 1), expected, "before zstd was known");
    }
}
