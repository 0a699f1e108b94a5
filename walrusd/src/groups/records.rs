//! Between the decider's records and batches of the log.

use bytes::BytesMut;
use walrus_groups::records::Record;
use walrus_types::{
    TimestampMs,
    batch::{self, BatchHeader},
    limits,
};
use walrus_wire::records::{NewRecord, Records, build_batch};

use crate::partition::Prepared;

/// What one batch holds: a commit or a group's record always fits one.
const BATCH_BYTES: usize = 12 << 20;

/// The records in batches, in their order.
pub(super) fn batches(records: &[Record], timestamp: TimestampMs) -> Vec<Prepared> {
    let mut batches = Vec::new();
    let mut encoded: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let mut bytes = 0;
    for record in records {
        let (key, value) = record.encode();
        let more = key.len() + value.as_ref().map_or(0, Vec::len);
        if bytes + more > BATCH_BYTES && !encoded.is_empty() {
            batches.push(batch(&encoded, timestamp));
            encoded.clear();
            bytes = 0;
        }
        bytes += more;
        encoded.push((key, value));
    }
    if !encoded.is_empty() {
        batches.push(batch(&encoded, timestamp));
    }
    batches
}

fn batch(encoded: &[(Vec<u8>, Option<Vec<u8>>)], timestamp: TimestampMs) -> Prepared {
    let records: Vec<NewRecord<'_>> = encoded
        .iter()
        .map(|(key, value)| NewRecord {
            timestamp,
            key: Some(key),
            value: value.as_deref(),
            headers: &[],
        })
        .collect();
    let bytes = build_batch(&records);
    let header = BatchHeader::parse(&bytes).expect("it was just built");
    Prepared { header, bytes: BytesMut::from(&bytes[..]), stamped: false }
}

/// The records of whole batches. One that cannot be read is passed over and counted: the log has
/// checked the bytes, so a later version wrote it.
pub(super) fn read(bytes: &[u8], mut each: impl FnMut(Record)) -> Result<usize, String> {
    let mut unread = 0;
    for batch in batch::batches(bytes) {
        let (_, batch) = batch.map_err(|why| why.to_string())?;
        let records = Records::decode(batch, limits::INFLATED_BYTES_MAX);
        let records = records.map_err(|why| why.to_string())?;
        for record in &records {
            let record = record.map_err(|why| why.to_string())?;
            match record.key.map(|key| Record::decode(key, record.value)) {
                Some(Ok(Some(record))) => each(record),
                Some(Ok(None)) => {}
                Some(Err(_)) | None => unread += 1,
            }
        }
    }
    Ok(unread)
}

#[cfg(test)]
mod tests {
    use walrus_groups::{CommittedOffset, records::OffsetKey};

    use super::*;

    fn record(partition: i32, words: usize) -> Record {
        let offset = i64::from(partition);
        let metadata = "y".repeat(words);
        let (leader_epoch, committed_at) = (-1, TimestampMs(7));
        let value =
            CommittedOffset { offset, leader_epoch, metadata, committed_at, expires_at: None };
        let key = OffsetKey { group: "g".into(), topic: "t".into(), partition };
        Record::Offset { key, value: (partition % 2 == 0).then_some(value) }
    }

    #[test]
    fn records_come_back_from_their_batches_in_order() {
        for (count, words, expected) in [(1, 0, 1), (10, 0, 1), (2_000, 30_000, 3)] {
            let records: Vec<Record> = (0..count).map(|at| record(at, words)).collect();
            let batches = batches(&records, TimestampMs(9));
            assert_eq!(batches.len(), expected, "{count} records");
            let mut back = Vec::new();
            for batch in &batches {
                assert_eq!(read(&batch.bytes, |record| back.push(record)), Ok(0));
            }
            assert_eq!(back, records);
        }
    }
}
