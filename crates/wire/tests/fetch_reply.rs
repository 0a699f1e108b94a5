//! Our Fetch replies are, byte for byte, what kafka-protocol would have written.

use bytes::{BufMut as _, Bytes, BytesMut};
use kafka_protocol::{
    messages::{
        BrokerId, FetchResponse, ProducerId, ResponseHeader,
        fetch_response::{
            AbortedTransaction, EpochEndOffset, FetchableTopicResponse, LeaderIdAndEpoch,
            NodeEndpoint as WireEndpoint, PartitionData,
        },
    },
    protocol::{Encodable as _, HeaderVersion as _, StrBytes},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use uuid::Uuid;
use walrus_wire::fetch::{
    Aborted, EpochEnd, FetchReply, Fetched, FetchedPartition, FetchedTopic, Leader, NodeEndpoint,
};

fn seed() -> u64 {
    std::env::var("WALRUS_TEST_SEED").map_or_else(
        |_unset| rand::rng().random(),
        |text| text.parse().expect("WALRUS_TEST_SEED is a number"),
    )
}

fn text(rng: &mut StdRng, max: usize) -> StrBytes {
    "abcdefghijklmnopqrstuvwxyz".repeat(12)[..rng.random_range(0..max)].to_owned().into()
}

fn partition(version: i16, rng: &mut StdRng) -> FetchedPartition {
    let records = (0..rng.random_range(0..4)).map(|_| {
        let bytes = rng.random_range(0..400);
        Bytes::from((0..bytes).map(|_| rng.random::<u8>()).collect::<Vec<_>>())
    });
    let records = records.collect();
    let aborted = rng.random::<bool>().then(|| {
        let count = rng.random_range(0..3);
        let one = |_| Aborted { producer_id: rng.random(), first_offset: rng.random() };
        (0..count).map(one).collect()
    });
    FetchedPartition {
        index: rng.random(),
        error_code: rng.random(),
        high_watermark: rng.random(),
        last_stable_offset: rng.random(),
        log_start_offset: rng.random(),
        aborted,
        preferred_read_replica: if version >= 11 { rng.random() } else { -1 },
        diverging_epoch: rng
            .random::<bool>()
            .then(|| EpochEnd { epoch: rng.random_range(0..99), end_offset: rng.random() }),
        current_leader: rng
            .random::<bool>()
            .then(|| Leader { id: rng.random_range(0..99), epoch: rng.random() }),
        records,
    }
}

fn fetched(version: i16, rng: &mut StdRng) -> Fetched {
    let mut topics = Vec::new();
    for _ in 0..rng.random_range(0..4) {
        let partitions = (0..rng.random_range(0..4)).map(|_| partition(version, rng)).collect();
        let name = kafka_protocol::messages::TopicName(text(rng, 200));
        topics.push(FetchedTopic { name, id: Uuid::from_u128(rng.random()), partitions });
    }
    let mut node_endpoints = Vec::new();
    for _ in 0..rng.random_range(0..3) {
        let rack = rng.random::<bool>().then(|| text(rng, 20));
        let host = text(rng, 60);
        let (id, port) = (rng.random(), rng.random_range(1..65_536));
        node_endpoints.push(NodeEndpoint { id, host, port, rack });
    }
    Fetched {
        throttle_time_ms: rng.random(),
        error_code: rng.random(),
        session_id: if version >= 7 { rng.random() } else { 0 },
        topics,
        node_endpoints,
    }
}

/// The same reply in kafka-protocol's words, records in one piece.
fn theirs(version: i16, fetched: &Fetched) -> FetchResponse {
    let partition = |ours: &FetchedPartition| {
        let aborted = ours.aborted.as_ref().map(|aborted| {
            let one = |one: &Aborted| {
                AbortedTransaction::default()
                    .with_producer_id(ProducerId(one.producer_id))
                    .with_first_offset(one.first_offset)
            };
            aborted.iter().map(one).collect()
        });
        let mut theirs = PartitionData::default()
            .with_partition_index(ours.index)
            .with_error_code(ours.error_code)
            .with_high_watermark(ours.high_watermark)
            .with_last_stable_offset(ours.last_stable_offset)
            .with_log_start_offset(ours.log_start_offset)
            .with_aborted_transactions(aborted)
            .with_preferred_read_replica(BrokerId(ours.preferred_read_replica))
            .with_records(Some(ours.records.concat().into()));
        if let Some(EpochEnd { epoch, end_offset }) = ours.diverging_epoch {
            theirs.diverging_epoch =
                EpochEndOffset::default().with_epoch(epoch).with_end_offset(end_offset);
        }
        if let Some(Leader { id, epoch }) = ours.current_leader {
            theirs.current_leader =
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(id)).with_leader_epoch(epoch);
        }
        theirs
    };
    let topic = |ours: &FetchedTopic| {
        FetchableTopicResponse::default()
            .with_topic(ours.name.clone())
            .with_topic_id(ours.id)
            .with_partitions(ours.partitions.iter().map(partition).collect())
    };
    let endpoint = |ours: &NodeEndpoint| {
        WireEndpoint::default()
            .with_node_id(BrokerId(ours.id))
            .with_host(ours.host.clone())
            .with_port(ours.port)
            .with_rack(ours.rack.clone())
    };
    let endpoints = if version >= 16 { &fetched.node_endpoints[..] } else { &[] };
    FetchResponse::default()
        .with_throttle_time_ms(fetched.throttle_time_ms)
        .with_error_code(fetched.error_code)
        .with_session_id(fetched.session_id)
        .with_responses(fetched.topics.iter().map(topic).collect())
        .with_node_endpoints(endpoints.iter().map(endpoint).collect())
}

#[test]
fn our_replies_are_what_kafka_protocol_would_have_written() {
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for version in 4..=18 {
        for round in 0..200 {
            let fetched = fetched(version, &mut rng);
            let theirs = theirs(version, &fetched);
            let mut expected = BytesMut::new();
            expected.put_i32(0);
            let header = ResponseHeader::default().with_correlation_id(round);
            header.encode(&mut expected, FetchResponse::header_version(version)).unwrap();
            theirs.encode(&mut expected, version).unwrap();
            let length = i32::try_from(expected.len() - 4).unwrap();
            expected[..4].copy_from_slice(&length.to_be_bytes());

            let ours = FetchReply::encode(round, version, &fetched).unwrap();
            assert_eq!(ours.frames.concat(), expected, "version {version} round {round}");
            assert_eq!(ours.bytes, expected.len());
            assert!(ours.frames.iter().all(|frame| !frame.is_empty()));
        }
    }
}

#[test]
fn records_are_handed_on_not_copied() {
    let records = Bytes::from(vec![7; 1 << 20]);
    let partition = FetchedPartition { records: vec![records.clone()], ..Default::default() };
    let topic = FetchedTopic { partitions: vec![partition], ..Default::default() };
    let fetched = Fetched { topics: vec![topic], ..Default::default() };
    let reply = FetchReply::encode(1, 12, &fetched).unwrap();
    assert!(reply.frames.iter().any(|frame| frame.as_ptr() == records.as_ptr()));
    assert!(reply.frames.len() == 3, "{} pieces", reply.frames.len());
}
