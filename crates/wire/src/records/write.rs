//! Making batches of plain records: for the text protocol and the broker's own topics.

use walrus_types::{
    TimestampMs,
    batch::{self, BatchHeader},
};

use super::varint;

/// A record to be written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// When it was made.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
}

/// Appends one record, its length first.
///
/// # Panics
/// When a part of it has 2 GiB or more.
pub fn encode_record(
    out: &mut Vec<u8>,
    offset_delta: i32,
    timestamp_delta: i64,
    record: &NewRecord<'_>,
) {
    let bytes = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    let mut fields = Vec::with_capacity(32 + bytes(record.key));
    fields.push(0); // Attributes: none are defined.
    varint::write(&mut fields, timestamp_delta);
    varint::write(&mut fields, offset_delta.into());
    varint::write_bytes(&mut fields, record.key);
    // The value is written straight to its place: it may be large.
    let value_bytes = record
        .value
        .map_or(-1, |value| i32::try_from(value.len()).expect("a record is below the batch limit"));
    varint::write(&mut fields, value_bytes.into());
    let mut headers = Vec::new();
    let count = i32::try_from(record.headers.len()).expect("headers fit a record");
    varint::write(&mut headers, count.into());
    for (key, value) in record.headers {
        varint::write_bytes(&mut headers, Some(key.as_bytes()));
        varint::write_bytes(&mut headers, *value);
    }
    let length = fields.len() + bytes(record.value) + headers.len();
    varint::write(out, i64::try_from(length).expect("a record is below the batch limit"));
    out.extend_from_slice(&fields);
    out.extend_from_slice(record.value.unwrap_or(&[]));
    out.extend_from_slice(&headers);
}

/// An uncompressed batch of `records` from offset 0 on, its CRC right: the leader sets its place
/// as it does for a client's.
///
/// # Panics
/// When there are no records, or they take 2 GiB or more.
#[must_use]
pub fn build_batch(records: &[NewRecord<'_>]) -> Vec<u8> {
    let base = records.first().expect("a batch has records").timestamp;
    let bytes = records.iter().map(|record| record.value.map_or(0, <[u8]>::len) + 32).sum();
    let mut body = Vec::with_capacity(bytes);
    let mut max = base;
    for (delta, record) in (0_i32..).zip(records) {
        let since = record.timestamp.0.saturating_sub(base.0);
        encode_record(&mut body, delta, since, record);
        max = max.max(record.timestamp);
    }
    let count = i32::try_from(records.len()).expect("a batch has fewer records than bytes");
    let header =
        BatchHeader { base_timestamp: base, max_timestamp: max, ..batch::plain_header(count) };
    batch::build(&header, &body)
}
