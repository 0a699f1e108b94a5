//! Batches and fetches by hand, as no client library sends them.

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use walrus_tests::{Node, NodeSettings, raw::RawClient};
use walrus_types::{
    ProducerEpoch, ProducerId, Sequence, TimestampMs,
    batch::{self, BatchHeader},
};
use walrus_wire::{
    kafka_protocol::{
        error::ResponseError,
        messages::{
            BrokerId, CreateTopicsRequest, FetchRequest, ListOffsetsRequest, ProduceRequest,
            TopicName,
            create_topics_request::CreatableTopic,
            fetch_request::{FetchPartition, FetchTopic},
            fetch_response::PartitionData,
            list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
            produce_request::{PartitionProduceData, TopicProduceData},
            produce_response::PartitionProduceResponse,
        },
        protocol::StrBytes,
    },
    records::{NewRecord, build_batch},
};

const TOPIC: &str = "data";
/// Where a batch's fields are: see `walrus_types::batch`.
const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;

struct Broker {
    _folder: tempfile::TempDir,
    _node: Node,
    client: RawClient,
}

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

impl Broker {
    /// A node with one topic of one partition.
    fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
        let mut client = RawClient::connect(node.client_address())?;
        let topic = CreatableTopic::default()
            .with_name(name())
            .with_num_partitions(1)
            .with_replication_factor(-1);
        let request = CreateTopicsRequest::default().with_topics(vec![topic]);
        let answer = client.ask(7, &request)?;
        ensure!(answer.topics[0].error_code == 0, "{answer:?}");
        Ok(Self { _folder: folder, _node: node, client })
    }

    fn produce(&mut self, acks: i16, batch: Vec<u8>) -> Result<PartitionProduceResponse> {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch.into()));
        let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(acks)
            .with_timeout_ms(10_000)
            .with_topic_data(vec![topic]);
        let mut answer = self.client.ask(9, &request)?;
        let topic = answer.responses.pop().context("no topic in the answer")?;
        topic.partition_responses.into_iter().next().context("no partition in the answer")
    }

    fn end(&mut self) -> Result<i64> {
        let partition = ListOffsetsPartition::default().with_timestamp(-1);
        let topic = ListOffsetsTopic::default().with_name(name()).with_partitions(vec![partition]);
        let request =
            ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
        Ok(self.client.ask(5, &request)?.topics[0].partitions[0].offset)
    }

    fn fetch(&mut self, from: i64, bytes_max: i32) -> Result<PartitionData> {
        let partition = FetchPartition::default()
            .with_fetch_offset(from)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(bytes_max);
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_min_bytes(1)
            .with_max_bytes(bytes_max)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut answer = self.client.ask(11, &request)?;
        let topic = answer.responses.pop().context("no topic in the answer")?;
        topic.partitions.into_iter().next().context("no partition in the answer")
    }
}

/// A batch of `count` small records of now.
fn sound(count: usize) -> Vec<u8> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(0));
    let record =
        NewRecord { timestamp: TimestampMs(now), key: None, value: Some(b"value"), headers: &[] };
    build_batch(&vec![record; count])
}

/// The same records under a changed header, its CRC right.
fn with(count: usize, change: impl FnOnce(&mut BatchHeader)) -> Vec<u8> {
    let bytes = sound(count);
    let mut header = BatchHeader::parse(&bytes).expect("it was just built");
    change(&mut header);
    batch::build(&header, &bytes[batch::HEADER_BYTES..])
}

fn idempotent(count: usize, epoch: i16, sequence: i32) -> Vec<u8> {
    with(count, |header| {
        header.producer_id = ProducerId(4_000_000);
        header.producer_epoch = ProducerEpoch(epoch);
        header.base_sequence = Sequence(sequence);
    })
}

#[test]
fn a_batch_that_is_not_sound_gets_kafkas_error_and_nothing_is_stored() -> Result<()> {
    let mut broker = Broker::start()?;
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = sound(2);
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    let flipped = {
        let mut bytes = sound(2);
        *bytes.last_mut().expect("a batch has bytes") ^= 1;
        bytes
    };
    let cases: Vec<(&str, Vec<u8>, ResponseError)> = vec![
        ("a flipped byte", flipped, ResponseError::CorruptMessage),
        ("a cut batch", sound(2)[..70].to_vec(), ResponseError::InvalidRecord),
        ("a length past the end", changed(LENGTH_AT, &[0x7f; 4]), ResponseError::InvalidRecord),
        ("a negative length", changed(LENGTH_AT, &[0xff; 4]), ResponseError::CorruptMessage),
        ("magic 0", changed(MAGIC_AT, &[0]), ResponseError::InvalidRecord),
        ("magic 1", changed(MAGIC_AT, &[1]), ResponseError::InvalidRecord),
        ("magic 3", changed(MAGIC_AT, &[3]), ResponseError::CorruptMessage),
        ("no such codec", with(2, |h| h.attributes = 7), ResponseError::UnsupportedCompressionType),
        ("a count too high", with(2, |h| h.record_count = 3), ResponseError::InvalidRecord),
        ("a count of none", with(2, |h| h.record_count = 0), ResponseError::InvalidRecord),
        ("a control batch", with(2, |h| h.attributes = 1 << 5), ResponseError::InvalidRecord),
        ("two batches", [sound(1), sound(1)].concat(), ResponseError::InvalidRecord),
        ("nothing", Vec::new(), ResponseError::InvalidRecord),
        (
            "an idempotent batch without a sequence",
            idempotent(1, 0, -1),
            ResponseError::InvalidRecord,
        ),
        ("too large", sound(100_000), ResponseError::MessageTooLarge),
        (
            "a timestamp of tomorrow",
            with(2, |h| h.max_timestamp.0 += 86_400_000),
            ResponseError::InvalidTimestamp,
        ),
    ];
    for (what, bytes, expected) in cases {
        for acks in [1, -1] {
            let answer = broker.produce(acks, bytes.clone())?;
            assert_eq!(answer.error_code, expected.code(), "{what}: {answer:?}");
            assert_eq!(answer.base_offset, -1, "{what}");
        }
    }
    assert_eq!(broker.end()?, 0, "nothing is stored");
    let answer = broker.produce(2, sound(1))?;
    assert_eq!(answer.error_code, ResponseError::InvalidRequiredAcks.code());
    let answer = broker.produce(-1, sound(3))?;
    assert_eq!((answer.error_code, answer.base_offset), (0, 0), "a sound one goes through");
    assert_eq!(broker.end()?, 3);
    Ok(())
}

#[test]
fn sequences_are_judged_as_kip_98_says() -> Result<()> {
    let mut broker = Broker::start()?;
    // Epoch, sequence, records; what it gets and at which offset.
    for (epoch, sequence, count, error, offset) in [
        (0, 0, 2, None, 0),
        (0, 2, 3, None, 2),
        (0, 2, 3, None, 2),
        (0, 0, 2, None, 0),
        (0, 6, 1, Some(ResponseError::OutOfOrderSequenceNumber), -1),
        (0, 5, 1, None, 5),
        (1, 3, 1, Some(ResponseError::OutOfOrderSequenceNumber), -1),
        (1, 0, 1, None, 6),
        (0, 6, 1, Some(ResponseError::InvalidProducerEpoch), -1),
        (1, 1, 1, None, 7),
    ] {
        let answer = broker.produce(-1, idempotent(count, epoch, sequence))?;
        let expected = (error.map_or(0, |error| error.code()), offset);
        let got = (answer.error_code, answer.base_offset);
        assert_eq!(got, expected, "epoch {epoch}, sequence {sequence}, {count} records");
    }
    assert_eq!(broker.end()?, 8, "what was repeated stands once");
    Ok(())
}

#[test]
fn a_fetch_gets_whole_batches_from_the_middle_and_past_the_limit() -> Result<()> {
    let mut broker = Broker::start()?;
    for _ in 0..3 {
        broker.produce(-1, sound(10))?;
    }
    let bases = |data: &PartitionData| -> Vec<i64> {
        let records: Bytes = data.records.clone().unwrap_or_default();
        let all =
            batch::batches(&records).map(|batch| batch.map(|(header, _)| header.base_offset.0));
        all.collect::<Result<_, _>>().expect("whole batches")
    };
    let data = broker.fetch(0, 1 << 20)?;
    assert_eq!((bases(&data), data.high_watermark), (vec![0, 10, 20], 30));
    let data = broker.fetch(15, 1 << 20)?;
    assert_eq!(bases(&data), [10, 20], "the batch that has the offset is whole");
    let data = broker.fetch(15, 1)?;
    assert_eq!(bases(&data), [10], "the first batch is whole past the limit");
    let data = broker.fetch(30, 1 << 20)?;
    assert_eq!((data.error_code, bases(&data)), (0, vec![]), "the end is no error");
    let data = broker.fetch(31, 1 << 20)?;
    assert_eq!(data.error_code, ResponseError::OffsetOutOfRange.code());
    Ok(())
}
