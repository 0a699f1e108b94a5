//! Batches are written and read as kafka-protocol does, and damaged ones never panic.

use std::io::Write as _;

use bytes::{Bytes, BytesMut};
use kafka_protocol::{
    protocol::StrBytes,
    records::{
        Compression, Record as Theirs, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions,
        TimestampType,
    },
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use walrus_types::{
    Epoch, Offset, TimestampMs,
    batch::{self, BatchHeader, HEADER_BYTES},
};
use walrus_wire::records::{
    NewRecord, Records, RecordsError, build_batch, check_records_uncompressed, encode_record,
};

const MIB: usize = 1 << 20;

fn seed() -> u64 {
    std::env::var("WALRUS_TEST_SEED").map_or_else(
        |_unset| rand::rng().random(),
        |text| text.parse().expect("WALRUS_TEST_SEED is a number"),
    )
}

fn part(rng: &mut StdRng) -> Option<Vec<u8>> {
    let bytes = rng.random_range(0..300);
    rng.random_ratio(4, 5).then(|| (0..bytes).map(|_| rng.random()).collect())
}

/// A record that owns its parts.
struct Sample {
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    header: Option<Vec<u8>>,
}

fn samples(rng: &mut StdRng) -> Vec<Sample> {
    let count = rng.random_range(1..20);
    let sample = |_| Sample {
        timestamp: 1_700_000_000_000 + rng.random_range(-5000..5000),
        key: part(rng),
        value: part(rng),
        header: part(rng),
    };
    (0..count).map(sample).collect()
}

/// A batch of `samples` written by us.
fn ours(samples: &[Sample]) -> Vec<u8> {
    let headers: Vec<_> = samples.iter().map(|one| [("h", one.header.as_deref())]).collect();
    let records: Vec<_> = samples
        .iter()
        .zip(&headers)
        .map(|(one, headers)| NewRecord {
            timestamp: TimestampMs(one.timestamp),
            key: one.key.as_deref(),
            value: one.value.as_deref(),
            headers,
        })
        .collect();
    build_batch(&records)
}

/// Rewrites an uncompressed batch with the codec of this number.
fn compressed(batch: &[u8], codec: i16) -> Vec<u8> {
    let mut header = BatchHeader::parse(batch).expect("a batch of ours");
    header.attributes = codec;
    let body = &batch[HEADER_BYTES..];
    let body = match codec {
        1 => {
            let level = flate2::Compression::fast();
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), level);
            encoder.write_all(body).expect("to memory");
            encoder.finish().expect("to memory")
        }
        2 => snap::raw::Encoder::new().compress_vec(body).expect("small"),
        3 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(body).expect("to memory");
            encoder.finish().expect("to memory")
        }
        4 => zstd::stream::encode_all(body, 3).expect("to memory"),
        _ => body.to_vec(),
    };
    batch::build(&header, &body)
}

#[test]
fn kafka_protocol_reads_what_we_write() {
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..200 {
        let samples = samples(&mut rng);
        let batch = ours(&samples);
        batch::check(&batch).unwrap();
        check_records_uncompressed(&batch).unwrap();
        let read = RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
        assert_eq!(read.records.len(), samples.len());
        for (theirs, sample) in read.records.iter().zip(&samples) {
            assert_eq!(theirs.timestamp, sample.timestamp);
            assert_eq!(theirs.key.as_deref(), sample.key.as_deref());
            assert_eq!(theirs.value.as_deref(), sample.value.as_deref());
            let header = theirs.headers.get(&StrBytes::from_static_str("h")).unwrap();
            assert_eq!(header.as_deref(), sample.header.as_deref());
        }
    }
}

#[test]
fn we_read_what_kafka_protocol_writes() {
    let records: Vec<_> = (0..50_i64)
        .map(|n| Theirs {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: 3,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: n,
            sequence: i32::try_from(n).expect("below 50"), // or it makes a batch of each
            timestamp: 1000 + n * 7,
            key: (n % 3 > 0).then(|| Bytes::from(format!("k{n}"))),
            value: Some(Bytes::from(format!("value {n}"))),
            headers: std::iter::once((StrBytes::from_static_str("a"), None)).collect(),
        })
        .collect();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    let mut batch = BytesMut::new();
    RecordBatchEncoder::encode(&mut batch, &records, &options).unwrap();
    let read = Records::decode(&batch, MIB).unwrap();
    for (ours, theirs) in read.iter().zip(&records) {
        let ours = ours.unwrap();
        assert_eq!((ours.offset.0, ours.timestamp.0), (theirs.offset, theirs.timestamp));
        assert_eq!((ours.key, ours.value), (theirs.key.as_deref(), theirs.value.as_deref()));
        assert_eq!(ours.headers().collect::<Vec<_>>(), [Some((&b"a"[..], None))]);
    }
    assert_eq!(read.iter().count(), records.len());
}

#[test]
fn every_codec_reads_the_same_and_takes_its_offsets_from_the_header() {
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for codec in 0..=4 {
        let samples = samples(&mut rng);
        let mut batch = compressed(&ours(&samples), codec);
        batch::set_place(&mut batch, Offset(1000), Epoch(4));
        let records = Records::decode(&batch, MIB).unwrap();
        for ((record, sample), offset) in records.iter().zip(&samples).zip(1000..) {
            let record = record.unwrap();
            assert_eq!((record.offset, record.timestamp.0), (Offset(offset), sample.timestamp));
            assert_eq!(record.value, sample.value.as_deref());
        }
        assert_eq!(records.iter().count(), samples.len());
    }
}

#[test]
fn by_time_the_first_record_that_is_not_older_and_the_first_of_the_youngest_are_found() {
    let at = |timestamp| NewRecord { timestamp: TimestampMs(timestamp), ..Default::default() };
    let batch = build_batch(&[at(10), at(30), at(20), at(30)]);
    let records = Records::decode(&batch, 0).unwrap();
    for (time, offset) in [(0, Some(0)), (10, Some(0)), (11, Some(1)), (30, Some(1)), (31, None)] {
        let found = records.first_at(TimestampMs(time)).unwrap();
        assert_eq!(found.map(|record| record.offset.0), offset, "at {time}");
    }
    assert_eq!(records.youngest().unwrap().unwrap().offset, Offset(1));

    let mut stamped = batch.clone();
    batch::set_log_append_time(&mut stamped, TimestampMs(99));
    let records = Records::decode(&stamped, 0).unwrap();
    let youngest = records.youngest().unwrap().unwrap();
    assert_eq!((youngest.offset, youngest.timestamp), (Offset(0), TimestampMs(99)));
}

#[test]
fn a_count_that_the_bytes_do_not_bear_out_is_found() {
    let batch = build_batch(&[NewRecord::default(); 3]);
    let with_count = |count: i32| {
        let mut header = BatchHeader::parse(&batch).unwrap();
        header.record_count = count;
        header.last_offset_delta = count - 1;
        batch::build(&header, &batch[HEADER_BYTES..])
    };
    for count in [1, 2, 4, i32::MAX] {
        let batch = with_count(count);
        let error = check_records_uncompressed(&batch).unwrap_err();
        let records = Records::decode(&batch, 0).unwrap();
        let walked = records.iter().last().unwrap();
        assert!(walked.is_err(), "count {count}");
        assert_eq!(matches!(error, RecordsError::Trailing(_)), count < 3, "{error}");
    }
    assert_eq!(check_records_uncompressed(&with_count(3)), Ok(()));
}

#[test]
fn deltas_saturate_and_offsets_stay_in_the_batch() {
    let mut body = Vec::new();
    encode_record(&mut body, 0, i64::MAX, &NewRecord::default());
    encode_record(&mut body, 5, i64::MIN, &NewRecord::default());
    let mut header = batch::plain_header(2);
    header.base_timestamp = TimestampMs(i64::MAX - 1);
    let bytes = batch::build(&header, &body);
    let records = Records::decode(&bytes, 0).unwrap();
    let walked: Vec<_> = records.iter().collect();
    assert_eq!(walked[0].as_ref().unwrap().timestamp, TimestampMs(i64::MAX));
    assert!(matches!(walked[1], Err(RecordsError::Record { at: 1, .. })));
}

#[test]
fn damaged_batches_never_panic_and_never_outgrow_the_cap() {
    let seed = seed();
    println!("WALRUS_TEST_SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(1);
    let (mut whole, mut damaged) = (0_u32, 0_u32);
    while std::time::Instant::now() < end {
        let codec = rng.random_range(0..=4);
        let mut batch = compressed(&ours(&samples(&mut rng)), codec);
        for _ in 0..rng.random_range(0..4) {
            let at = rng.random_range(0..batch.len());
            match rng.random_range(0..3) {
                0 => batch[at] = rng.random(),
                1 => batch[at] ^= 1 << rng.random_range(0..8),
                _ => batch.truncate(at.max(1)),
            }
        }
        let Ok(records) = Records::decode(&batch, 64 << 10) else {
            damaged += 1;
            continue;
        };
        let mut bytes = 0;
        for record in &records {
            let Ok(record) = record else {
                damaged += 1;
                break;
            };
            bytes += record.value.map_or(0, <[u8]>::len);
            bytes += record.headers().flatten().map(|(key, _)| key.len()).sum::<usize>();
        }
        assert!(bytes <= 64 << 10);
        whole += 1;
        drop(check_records_uncompressed(&batch));
    }
    assert!(whole > 50 && damaged > 50, "{whole} whole, {damaged} damaged");
}
