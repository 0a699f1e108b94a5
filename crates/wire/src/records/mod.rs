//! The records inside a batch, for the few who must look: ListOffsets by time, GET of the text
//! protocol, the broker's own topics.
//!
//! ```text
//! record  varint length · i8 attributes · varlong timestamp delta · varint offset delta ·
//!         varint key length (-1: null) · key · varint value length · value ·
//!         varint headers · [ varint key length · key · varint value length · value ]
//! ```
//!
//! Varints are zigzag. A batch that was accepted may hold anything after its header, for Produce
//! does not look here: every length is held against the bytes there are, sums saturate, and what
//! a compressed batch may grow to is capped. Where to read next: `inflate.rs` undoes compression,
//! `write.rs` makes batches.

mod inflate;
mod varint;
mod write;

use std::borrow::Cow;

use walrus_types::{
    Offset, TimestampMs,
    batch::{BatchError, BatchHeader, Codec, HEADER_BYTES},
};

pub use write::{NewRecord, build_batch, encode_record};

/// The least a record takes after its length: its six fields, a byte each.
const RECORD_BYTES_MIN: usize = 6;

/// Why a batch's records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordsError {
    /// The header is no header.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The compressed bytes are damaged.
    #[error("{codec:?}: {why}")]
    Inflate {
        /// How they were compressed.
        codec: Codec,
        /// What the decompressor says.
        why: String,
    },
    /// They would grow beyond the limit.
    #[error("{codec:?}: the records grow beyond {limit} bytes")]
    TooLarge {
        /// How they were compressed.
        codec: Codec,
        /// The most that was allowed.
        limit: usize,
    },
    /// A record's bytes are not what they should be.
    #[error("record {at} of the batch: {why}")]
    Record {
        /// Its place in the batch, from 0.
        at: i32,
        /// What is wrong.
        why: &'static str,
    },
    /// After the last record something follows.
    #[error("{0} bytes follow the last record")]
    Trailing(usize),
}

/// One record, its parts slices of the batch or of its inflated form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    /// Its offset in the partition.
    pub offset: Offset,
    /// Its time, or the batch's when the broker stamped it.
    pub timestamp: TimestampMs,
    /// Null and empty are not the same.
    pub key: Option<&'a [u8]>,
    /// Null is a tombstone where topics are compacted.
    pub value: Option<&'a [u8]>,
    headers: &'a [u8],
}

impl<'a> Record<'a> {
    /// Its headers, in order; keys may come twice and need not be UTF-8. `None` at the end when
    /// they are damaged.
    pub fn headers(&self) -> impl Iterator<Item = Option<(&'a [u8], Option<&'a [u8]>)>> {
        let mut rest = self.headers;
        let mut left = varint::read_i32(&mut rest).unwrap_or(0);
        std::iter::from_fn(move || {
            if left <= 0 {
                return None;
            }
            left -= 1;
            let header = read_header(&mut rest);
            if header.is_none() {
                left = 0;
            }
            Some(header)
        })
    }
}

fn read_header<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let key = varint::read_bytes(rest)??;
    let value = varint::read_bytes(rest)?;
    Some((key, value))
}

/// A batch whose records can be walked.
#[derive(Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Parses the header of `batch` and undoes its compression, if any. The CRC is not checked:
    /// bytes from disk were when they were read.
    ///
    /// Inflated records never take more than `inflated_max` bytes
    /// (`limits::INFLATED_BYTES_MAX` is the most to allow), their vector never more than twice
    /// that; zstd may take a window of 128 MiB beside them.
    ///
    /// # Errors
    /// [`RecordsError`] about the header or the compression.
    pub fn decode(batch: &'a [u8], inflated_max: usize) -> Result<Self, RecordsError> {
        let header = BatchHeader::parse(batch)?;
        let body = &batch[HEADER_BYTES..header.batch_bytes];
        let bytes = match header.codec()? {
            Codec::None => Cow::Borrowed(body),
            codec => Cow::Owned(inflate::inflate(codec, body, inflated_max)?),
        };
        Ok(Self { header, bytes })
    }

    /// The batch's header.
    #[must_use]
    pub const fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Walks the records. An error is the last item.
    #[must_use]
    pub fn iter(&self) -> Iter<'_> {
        Iter { header: &self.header, rest: &self.bytes, at: 0, ended: false }
    }

    /// The first record that is not older than `at`: the answer to ListOffsets by time.
    ///
    /// # Errors
    /// [`RecordsError`] when a record before it is damaged.
    pub fn first_at(&self, at: TimestampMs) -> Result<Option<Record<'_>>, RecordsError> {
        for record in self {
            let record = record?;
            if record.timestamp >= at {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// The first of the youngest records: the answer to ListOffsets by greatest timestamp.
    ///
    /// # Errors
    /// [`RecordsError`] when a record is damaged.
    pub fn youngest(&self) -> Result<Option<Record<'_>>, RecordsError> {
        let mut youngest: Option<Record<'_>> = None;
        for record in self {
            let record = record?;
            if youngest.is_none_or(|youngest| record.timestamp > youngest.timestamp) {
                youngest = Some(record);
            }
        }
        Ok(youngest)
    }
}

impl<'r> IntoIterator for &'r Records<'_> {
    type Item = Result<Record<'r>, RecordsError>;
    type IntoIter = Iter<'r>;

    fn into_iter(self) -> Iter<'r> {
        self.iter()
    }
}

/// Walks a batch's records.
#[derive(Debug)]
pub struct Iter<'r> {
    header: &'r BatchHeader,
    rest: &'r [u8],
    at: i32,
    ended: bool,
}

impl<'r> Iterator for Iter<'r> {
    type Item = Result<Record<'r>, RecordsError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.at >= self.header.record_count {
            self.ended = true;
            let left = self.rest.len();
            return (left > 0).then_some(Err(RecordsError::Trailing(left)));
        }
        let record = read_record(self.header, &mut self.rest);
        let record = record.map_err(|why| RecordsError::Record { at: self.at, why });
        self.at += 1;
        self.ended = record.is_err();
        Some(record)
    }
}

fn read_record<'r>(header: &BatchHeader, rest: &mut &'r [u8]) -> Result<Record<'r>, &'static str> {
    let mut record = varint::read_bytes(rest)
        .ok_or("its length does not fit the batch")?
        .ok_or("its length is -1")?;
    let (_attributes, fields) = record.split_first().ok_or("it is empty")?;
    record = fields;
    let timestamp = varint::read_i64(&mut record).ok_or("its timestamp is cut")?;
    let offset = varint::read_i32(&mut record).ok_or("its offset is cut")?;
    if !(0..=header.last_offset_delta).contains(&offset) {
        return Err("its offset lies outside the batch");
    }
    let key = varint::read_bytes(&mut record).ok_or("its key does not fit")?;
    let value = varint::read_bytes(&mut record).ok_or("its value does not fit")?;
    let timestamp = if header.is_log_append_time() {
        header.max_timestamp
    } else {
        TimestampMs(header.base_timestamp.0.saturating_add(timestamp))
    };
    let offset = header.base_offset.plus(offset.into());
    Ok(Record { offset, timestamp, key, value, headers: record })
}

/// Checks that an uncompressed batch holds as many records as its header counts and nothing
/// else, by their lengths alone. A compressed batch passes unseen.
///
/// # Errors
/// [`RecordsError`] about the first thing that is wrong.
pub fn check_records_uncompressed(batch: &[u8]) -> Result<(), RecordsError> {
    let header = BatchHeader::parse(batch)?;
    if header.codec()? != Codec::None {
        return Ok(());
    }
    let mut rest = &batch[HEADER_BYTES..header.batch_bytes];
    for at in 0..header.record_count {
        let record = varint::read_bytes(&mut rest).flatten();
        if record.is_none_or(|record| record.len() < RECORD_BYTES_MIN) {
            return Err(RecordsError::Record { at, why: "its length does not fit the batch" });
        }
    }
    if rest.is_empty() { Ok(()) } else { Err(RecordsError::Trailing(rest.len())) }
}
