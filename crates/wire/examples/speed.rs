//! What the wire costs: `cargo run --release -p walrus-wire --example speed`.
//!
//! Prints the median of many runs in microseconds. The numbers in the comments of this crate
//! come from here.

#![expect(clippy::print_stdout, reason = "a program that prints a table")]

use std::{hint::black_box, time::Instant};

use bytes::{Bytes, BytesMut};
use walrus_types::batch;
use walrus_wire::{
    Api,
    fetch::{FetchReply, Fetched, FetchedPartition, FetchedTopic},
    guard,
    kafka_protocol::{
        messages::{
            FetchRequest, MetadataRequest, ProduceRequest, RequestHeader, TopicName,
            fetch_request::{FetchPartition, FetchTopic},
            metadata_request::MetadataRequestTopic,
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        protocol::{Encodable, HeaderVersion, StrBytes},
    },
    produce,
    records::{NewRecord, Records, build_batch, check_records_uncompressed},
};

fn median(name: &str, mut run: impl FnMut()) {
    let mut times: Vec<_> = (0..2001)
        .map(|_| {
            let start = Instant::now();
            run();
            start.elapsed()
        })
        .collect();
    times.sort();
    println!("{:>9.2} us  {name}", times[times.len() / 2].as_secs_f64() * 1e6);
}

fn frame<R: Encodable + HeaderVersion>(api: Api, version: i16, body: &R) -> Bytes {
    let mut frame = BytesMut::new();
    RequestHeader::default()
        .with_request_api_key(api.key())
        .with_request_api_version(version)
        .with_client_id(Some(StrBytes::from_static_str("rdkafka")))
        .encode(&mut frame, R::header_version(version))
        .expect("a header");
    body.encode(&mut frame, version).expect("a body");
    frame.freeze()
}

fn topic_name(n: usize) -> TopicName {
    TopicName(format!("topic-{n:04}").into())
}

fn produce_frame(batch: Bytes) -> Bytes {
    let partition = PartitionProduceData::default().with_records(Some(batch));
    let topic =
        TopicProduceData::default().with_name(topic_name(0)).with_partition_data(vec![partition]);
    let body = ProduceRequest::default().with_acks(-1).with_topic_data(vec![topic]);
    frame(Api::Produce, 9, &body)
}

fn main() {
    let value = vec![b'x'; 1024];
    let record = NewRecord { value: Some(&value), ..Default::default() };
    let large = Bytes::from(build_batch(&vec![record; 1000]));
    let small_value = [b'x'; 90];
    let record = NewRecord { value: Some(&small_value), ..Default::default() };
    let small = Bytes::from(build_batch(&vec![record; 10_000]));

    let request = produce_frame(large.clone());
    median("decode Produce v9, 1000 x 1 KiB, guard included", || {
        drop(black_box(walrus_wire::decode(request.clone())));
    });
    median("the same, and its partitions", || {
        let request = walrus_wire::decode(request.clone()).expect("a request");
        let walrus_wire::Body::Produce(body) = &request.body else { return };
        black_box(produce::partitions(body).map(|one| one.records.len()).sum::<usize>());
    });
    median("batch header, CRC and counts of 1 MiB", || {
        black_box(batch::check(&large)).expect("whole");
    });
    for (name, batch) in [("1000 x 1 KiB", &large), ("10,000 x 100 B", &small)] {
        median(&format!("check_records_uncompressed, {name}"), || {
            black_box(check_records_uncompressed(batch)).expect("whole");
        });
        median(&format!("walk all records, {name}"), || {
            let records = Records::decode(batch, 0).expect("whole");
            black_box(records.iter().filter(Result::is_ok).count());
        });
    }

    let partitions = || (0..6).map(|index| FetchPartition::default().with_partition(index));
    let topics = (0..100).map(|n| {
        FetchTopic::default().with_topic(topic_name(n)).with_partitions(partitions().collect())
    });
    let body = FetchRequest::default().with_topics(topics.collect());
    let request = frame(Api::Fetch, 12, &body);
    median("decode Fetch v12 of 600 partitions, guard included", || {
        drop(black_box(walrus_wire::decode(request.clone())));
    });
    median("its guard alone", || {
        black_box(guard::check(1, 12, &request[18..])).expect("a shape").expect("whole");
    });
    let topics = (0..100).map(|n| MetadataRequestTopic::default().with_name(Some(topic_name(n))));
    let request =
        frame(Api::Metadata, 12, &MetadataRequest::default().with_topics(Some(topics.collect())));
    median("decode Metadata v12 of 100 topics, guard included", || {
        drop(black_box(walrus_wire::decode(request.clone())));
    });

    for pieces in [1, 16] {
        let bytes = large.len() / pieces;
        let records = (0..pieces).map(|n| large.slice(n * bytes..(n + 1) * bytes)).collect();
        let partition = FetchedPartition { records, ..Default::default() };
        let topic = FetchedTopic { partitions: vec![partition], ..Default::default() };
        let fetched = Fetched { topics: vec![topic], ..Default::default() };
        median(&format!("encode a Fetch reply of 1 MiB in {pieces} pieces"), || {
            drop(black_box(FetchReply::encode(1, 12, &fetched)));
        });
    }
}
