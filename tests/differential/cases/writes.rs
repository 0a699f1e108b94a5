//! Produce and InitProducerId.

use bytes::Bytes;
use uuid::Uuid;
use walrus_wire::kafka_protocol::messages::{
    produce_request::{PartitionProduceData, TopicProduceData},
    *,
};

use super::{ALL, Case, case};
use crate::scene::{
    Scene, batch, batch_at, idempotent, nothing, producer, small, stamped, text, topic,
};

/// By id from version 13 on.
fn to(scene: &Scene, partition: i32, records: Bytes) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(records));
    let named = TopicProduceData::default().with_partition_data(vec![data]);
    let named = match scene.version {
        13.. => named.with_topic_id(scene.topic_id),
        _ => named.with_name(scene.topic.clone()),
    };
    ProduceRequest::default().with_acks(-1).with_timeout_ms(9_000).with_topic_data(vec![named])
}

fn one(scene: &Scene, records: Bytes) -> ProduceRequest {
    to(scene, 0, records)
}

/// The same with fields of its first batch replaced and the checksum right.
fn changed(scene: &Scene, change: fn(&mut [u8])) -> ProduceRequest {
    one(scene, stamped(&batch(2), change))
}

fn ids() -> InitProducerIdRequest {
    InitProducerIdRequest::default().with_transactional_id(None)
}

pub(super) fn cases() -> Vec<Case> {
    const LAST: &[i16] = &[9];
    const IDS: &[i16] = &[4];
    vec![
        case("produce a batch", ALL, topic, |s| one(s, batch(2))),
        case("produce with acks 1", LAST, topic, |s| one(s, batch(2)).with_acks(1)),
        case("produce with acks 5", &[3, 9], topic, |s| one(s, batch(2)).with_acks(5)),
        case("produce with acks -2", LAST, topic, |s| one(s, batch(2)).with_acks(-2)),
        case("produce to no topic at all", &[3, 9, 13], nothing, |_| {
            ProduceRequest::default().with_acks(-1)
        }),
        case("produce to a topic without partitions named", LAST, topic, |s| {
            let named = TopicProduceData::default().with_name(s.topic.clone());
            ProduceRequest::default().with_acks(-1).with_topic_data(vec![named])
        }),
        case("produce to an unknown topic", &[3, 7, 9, 12], nothing, |s| one(s, batch(2))),
        case("produce to an unknown topic id", &[13], nothing, |s| {
            let mut request = one(s, batch(2));
            request.topic_data[0].topic_id = Uuid::from_u128(77);
            request
        }),
        case("produce to an unknown partition", &[3, 9], topic, |s| to(s, 7, batch(2))),
        case("produce to a negative partition", LAST, topic, |s| to(s, -1, batch(2))),
        case("produce to an internal topic", LAST, crate::scene::coordinator, |s| {
            let mut request = one(s, batch(2));
            request.topic_data[0].name = TopicName(text("__consumer_offsets"));
            request
        }),
        case("produce an empty byte string", LAST, topic, |s| one(s, Bytes::new())),
        case("produce two batches for one partition", LAST, topic, |s| {
            one(s, [batch(1), batch(2)].concat().into())
        }),
        case("produce a batch with a wrong checksum", LAST, topic, |s| {
            let mut bytes = batch(2).to_vec();
            bytes[17] ^= 0xff;
            one(s, bytes.into())
        }),
        case("produce a batch that is cut", LAST, topic, |s| {
            let bytes = batch(2);
            one(s, bytes.slice(..bytes.len() - 3))
        }),
        case("produce half a batch header", LAST, topic, |s| one(s, batch(2).slice(..30))),
        case("produce a batch of magic 1", LAST, topic, |s| changed(s, |b| b[16] = 1)),
        case("produce a batch of magic 0", LAST, topic, |s| changed(s, |b| b[16] = 0)),
        case("produce a batch of magic 9", LAST, topic, |s| changed(s, |b| b[16] = 9)),
        case("produce a batch that says it has no records", LAST, topic, |s| {
            changed(s, |b| b[57..61].copy_from_slice(&0_i32.to_be_bytes()))
        }),
        case("produce a batch that says it has too many records", LAST, topic, |s| {
            changed(s, |b| b[57..61].copy_from_slice(&9_i32.to_be_bytes()))
        }),
        case("produce a batch with a wrong last offset", LAST, topic, |s| {
            changed(s, |b| b[23..27].copy_from_slice(&9_i32.to_be_bytes()))
        }),
        case("produce a batch that begins at offset 7", LAST, topic, |s| {
            changed(s, |b| b[..8].copy_from_slice(&7_i64.to_be_bytes()))
        }),
        case("produce a batch of an unknown codec", LAST, topic, |s| changed(s, |b| b[22] = 6)),
        case("produce a control batch", LAST, topic, |s| changed(s, |b| b[22] |= 0x20)),
        case("produce a transactional batch", LAST, topic, |s| changed(s, |b| b[22] |= 0x10)),
        case("produce zstd in an old version", &[6], topic, |s| changed(s, |b| b[22] = 4)),
        case("produce a batch that is too large", LAST, small, |s| one(s, batch(30))),
        case("produce a batch from far in the future", LAST, topic, |s| {
            one(s, batch_at(i64::MAX / 2, 1))
        }),
        case("produce in a transaction that nobody began", &[9], topic, |s| {
            one(s, batch(2)).with_transactional_id(Some(TransactionalId(text("t"))))
        }),
        case("produce the next batch", LAST, producer, |s| one(s, idempotent(s, 0, 2, 1))),
        case("produce a batch again", LAST, producer, |s| one(s, idempotent(s, 0, 0, 2))),
        case("produce after a gap", LAST, producer, |s| one(s, idempotent(s, 0, 7, 1))),
        case("produce in a new epoch from 0 on", LAST, producer, |s| {
            one(s, idempotent(s, 1, 0, 1))
        }),
        case("produce in a new epoch from 5 on", LAST, producer, |s| {
            one(s, idempotent(s, 1, 5, 1))
        }),
        case("produce with a negative epoch", LAST, producer, |s| one(s, idempotent(s, -1, 2, 1))),
        case("produce with an id that nobody gave out", LAST, topic, |s| {
            one(
                s,
                stamped(&batch(1), |b| {
                    b[43..51].copy_from_slice(&999_999_i64.to_be_bytes());
                    b[51..53].copy_from_slice(&0_i16.to_be_bytes());
                    b[53..57].copy_from_slice(&0_i32.to_be_bytes());
                }),
            )
        }),
        case("an id that nobody gave out begins in the middle", LAST, topic, |s| {
            one(
                s,
                stamped(&batch(1), |b| {
                    b[43..51].copy_from_slice(&999_998_i64.to_be_bytes());
                    b[51..53].copy_from_slice(&0_i16.to_be_bytes());
                    b[53..57].copy_from_slice(&5_i32.to_be_bytes());
                }),
            )
        }),
        case("init a producer id", &[0, 1, 2], producer, |_| ids()),
        case("init a producer id", &[3, 4], producer, |_| {
            ids().with_producer_id(ProducerId(-1)).with_producer_epoch(-1)
        }),
        case("init with an empty transactional id", IDS, nothing, |_| {
            ids().with_transactional_id(Some(TransactionalId(text(""))))
        }),
        case("init with an id and no epoch", IDS, nothing, |_| {
            ids().with_producer_id(ProducerId(5)).with_producer_epoch(-1)
        }),
        case("init with an epoch and no id", IDS, nothing, |_| {
            ids().with_producer_id(ProducerId(-1)).with_producer_epoch(5)
        }),
        case("init with an id and an epoch, and no transactional id", IDS, nothing, |_| {
            ids().with_producer_id(ProducerId(5)).with_producer_epoch(5)
        }),
        case("init with a timeout of nothing", &[2], nothing, |_| {
            ids().with_transaction_timeout_ms(0)
        }),
    ]
}
