//! A producer table as bytes, as it stands in the `.state` file beside a sealed segment.
//!
//! ```text
//! u8   version (1)
//! i64  end      i64 commit      i64 clock
//! u32  producers, then for each, ids ascending:
//!        i64 id    i64 seen    u32 records forgotten    u32 batches, then for each, oldest first:
//!          i16 epoch    i32 sequence    i64 base    u32 records    i64 timestamp
//! ```
//!
//! All numbers are big-endian. The file around it carries the checksum; still nothing here trusts
//! a count: no byte string makes decoding panic or ask for more memory than a few times its size.

use std::collections::{BTreeMap, VecDeque};

use walrus_types::{
    Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, limits::PRODUCERS_PER_PARTITION_MAX,
};

use super::{
    ProducerTable,
    window::{Remembered, Window},
};

const VERSION: u8 = 1;
/// Room for the fields before the producers, for one producer, for one batch.
const HEAD_BYTES: usize = 29;
const PRODUCER_BYTES: usize = 24;
const BATCH_BYTES: usize = 26;

/// Why bytes are no producer table. The table can always be built again from the batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Written by a newer program.
    #[error("producer table has version {0}, this program reads {VERSION}")]
    Version(u8),
    /// They end in the middle.
    #[error("producer table ends in the middle of a field")]
    Truncated,
    /// Bytes follow that belong to nothing.
    #[error("producer table is followed by {0} bytes that belong to nothing")]
    Trailing(usize),
    /// What they say cannot be.
    #[error("producer table is unsound: {0}")]
    Unsound(&'static str),
}

impl ProducerTable {
    /// The table as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { producers, end, commit, clock } = self;
        let batches: usize = producers.values().map(|window| window.iter().len()).sum();
        let room = HEAD_BYTES + producers.len() * PRODUCER_BYTES + batches * BATCH_BYTES;
        let mut out = Vec::with_capacity(room);
        out.push(VERSION);
        for number in [end.0, commit.0, clock.0] {
            out.extend_from_slice(&number.to_be_bytes());
        }
        put_count(&mut out, producers.len());
        for (id, window) in producers {
            out.extend_from_slice(&id.0.to_be_bytes());
            out.extend_from_slice(&window.seen().0.to_be_bytes());
            out.extend_from_slice(&window.forgotten().to_be_bytes());
            put_count(&mut out, window.iter().len());
            for batch in window.iter() {
                put_batch(&mut out, batch);
            }
        }
        assert_eq!(out.len(), room, "the sizes of the fields are known");
        out
    }

    /// Reads what [`ProducerTable::encode`] wrote.
    ///
    /// # Errors
    /// [`DecodeError`] for anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut bytes = Reader(bytes);
        let [version] = bytes.take()?;
        if version != VERSION {
            return Err(DecodeError::Version(version));
        }
        let (end, commit) = (Offset(bytes.i64()?), Offset(bytes.i64()?));
        let clock = TimestampMs(bytes.i64()?);
        if commit > end || commit.0 < 0 {
            return Err(DecodeError::Unsound("its marks are out of order"));
        }
        let mut table = Self { producers: BTreeMap::new(), end, commit, clock };
        for _ in 0..bytes.u32()? {
            let id = ProducerId(bytes.i64()?);
            let last = table.producers.last_key_value().map_or(ProducerId::NONE, |(id, _)| *id);
            if id <= last {
                return Err(DecodeError::Unsound("its producers are out of order"));
            }
            if table.producers.len() == PRODUCERS_PER_PARTITION_MAX {
                return Err(DecodeError::Unsound("it holds more producers than are kept"));
            }
            let window = take_window(&mut bytes)?;
            if window.end() > end {
                return Err(DecodeError::Unsound("a batch stands past its end"));
            }
            table.producers.insert(id, window);
        }
        if bytes.0.is_empty() { Ok(table) } else { Err(DecodeError::Trailing(bytes.0.len())) }
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = u32::try_from(count).expect("producers and their windows are bounded far below");
    out.extend_from_slice(&count.to_be_bytes());
}

fn put_batch(out: &mut Vec<u8>, batch: &Remembered) {
    let Remembered { base, end, timestamp, sequence, epoch } = batch;
    let records = u32::try_from(end.since(*base)).expect("a batch's offsets are counted in an i32");
    out.extend_from_slice(&epoch.0.to_be_bytes());
    out.extend_from_slice(&sequence.0.to_be_bytes());
    out.extend_from_slice(&base.0.to_be_bytes());
    out.extend_from_slice(&records.to_be_bytes());
    out.extend_from_slice(&timestamp.0.to_be_bytes());
}

fn take_window(bytes: &mut Reader<'_>) -> Result<Window, DecodeError> {
    let seen = TimestampMs(bytes.i64()?);
    let forgotten = bytes.u32()?;
    // Grown batch by batch as the bytes hold out, never by what the count claims.
    let mut batches = VecDeque::new();
    for _ in 0..bytes.u32()? {
        let epoch = ProducerEpoch(i16::from_be_bytes(bytes.take()?));
        let sequence = Sequence(i32::from_be_bytes(bytes.take()?));
        let base = Offset(bytes.i64()?);
        let end = base.plus(i64::from(bytes.u32()?));
        let timestamp = TimestampMs(bytes.i64()?);
        batches.push_back(Remembered { base, end, timestamp, sequence, epoch });
    }
    Window::from_parts(batches, forgotten, seen)
        .ok_or(DecodeError::Unsound("a producer's batches do not follow each other"))
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (field, rest) = self.0.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
        self.0 = rest;
        Ok(*field)
    }

    fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_be_bytes(self.take()?))
    }
}
