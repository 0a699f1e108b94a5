//! The record batch, magic 2: the one format that crosses every layer unchanged.
//!
//! ```text
//!  0  i64  base offset            set by the leader   ┐ outside
//!  8  i32  length of what follows                     │ the
//! 12  i32  leader epoch           set by the leader   │ CRC
//! 16  i8   magic (2)                                  ┘
//! 17  u32  CRC-32C of bytes 21..
//! 21  i16  attributes: 0-2 codec · 3 LogAppendTime · 4 transactional · 5 control · 6 delete horizon
//! 23  i32  last offset delta
//! 27  i64  base timestamp
//! 35  i64  max timestamp
//! 43  i64  producer id
//! 51  i16  producer epoch
//! 53  i32  base sequence
//! 57  i32  record count
//! 61  …    records, compressed as the codec says
//! ```
//!
//! All numbers are big-endian. Source: Kafka's `RecordBatch` (KIP-98). Nothing here decodes
//! records: the header is all that the broker needs to store and serve a batch.

use crate::offset::{Epoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs};

/// Bytes before the records.
pub const HEADER_BYTES: usize = 61;
/// Bytes before the part that the length field counts.
pub const LENGTH_END: usize = 12;
/// Where the bytes that the CRC covers begin.
pub const CRC_START: usize = 21;
/// The only format that is stored.
pub const MAGIC: i8 = 2;

const EPOCH_AT: usize = 12;
const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
const ATTRIBUTES_AT: usize = 21;
const MAX_TIMESTAMP_AT: usize = 35;
const LOG_APPEND_TIME: i16 = 1 << 3;

const _: () = assert!(CRC_AT + 4 == CRC_START && MAGIC_AT + 1 == CRC_AT && EPOCH_AT == LENGTH_END);

/// How a batch's records are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    None,
    /// RFC 1952.
    Gzip,
    /// Snappy in the framing of xerial's Java library, or raw.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// RFC 8878 (KIP-110).
    Zstd,
}

/// What is wrong with bytes that should be a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than the header, or than the header says.
    #[error("batch needs {needed} bytes, {given} are there")]
    Truncated {
        /// What the header (or its bare size) asks for.
        needed: usize,
        /// What is there.
        given: usize,
    },
    /// The length field is below what a header takes.
    #[error("batch says its length is {0}, less than its own header")]
    Length(i32),
    /// An old or unknown format.
    #[error("batch has magic {0}, only 2 is stored")]
    Magic(i8),
    /// The bytes were damaged on their way.
    #[error("batch crc is {computed:#010x}, its header says {stored:#010x}")]
    Crc {
        /// From the header.
        stored: u32,
        /// Of the bytes.
        computed: u32,
    },
    /// A codec number that Kafka does not define.
    #[error("batch names codec {0}, which is none of Kafka's")]
    Codec(i16),
    /// The record count is not the last offset delta plus one, or is below one.
    #[error("batch counts {records} records, its last offset delta is {last_delta}")]
    Count {
        /// The record count field.
        records: i32,
        /// The last offset delta field.
        last_delta: i32,
    },
}

/// The 61 bytes before a batch's records, parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record.
    pub base_offset: Offset,
    /// The whole batch in bytes, from its base offset to its last record.
    pub batch_bytes: usize,
    /// Epoch of the segment, set by its leader.
    pub epoch: Epoch,
    /// CRC-32C that the header claims.
    pub crc: u32,
    /// The flags, as they are.
    pub attributes: i16,
    /// Last record's offset minus the base offset.
    pub last_offset_delta: i32,
    /// Timestamp that the records' deltas count from.
    pub base_timestamp: TimestampMs,
    /// Greatest timestamp of the records.
    pub max_timestamp: TimestampMs,
    /// Who wrote it, or [`ProducerId::NONE`].
    pub producer_id: ProducerId,
    /// The producer's epoch.
    pub producer_epoch: ProducerEpoch,
    /// Sequence of the first record.
    pub base_sequence: Sequence,
    /// How many records.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may hold more after the batch.
    ///
    /// # Errors
    /// [`BatchError`] when the bytes are too few for the header or for the length it names, or
    /// the magic is not 2. Nothing else is judged: see [`check`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        let header = Self::parse_prefix(bytes)?;
        if bytes.len() < header.batch_bytes {
            return Err(BatchError::Truncated { needed: header.batch_bytes, given: bytes.len() });
        }
        Ok(header)
    }

    /// Reads the header alone: the records need not be there.
    ///
    /// # Errors
    /// As [`BatchHeader::parse`], but for the records' bytes.
    pub fn parse_prefix(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic is looked at first, for the old formats are shorter than this header.
        if let Some(&magic) = bytes.get(MAGIC_AT) {
            let magic = magic.cast_signed();
            if magic != MAGIC {
                return Err(BatchError::Magic(magic));
            }
        }
        let Some((head, _)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
            return Err(BatchError::Truncated { needed: HEADER_BYTES, given: bytes.len() });
        };
        let length = i32::from_be_bytes(field(head, 8));
        let rest = usize::try_from(length).ok().filter(|rest| *rest >= HEADER_BYTES - LENGTH_END);
        let Some(rest) = rest else {
            return Err(BatchError::Length(length));
        };
        Ok(Self {
            base_offset: Offset(i64::from_be_bytes(field(head, 0))),
            batch_bytes: rest + LENGTH_END,
            epoch: Epoch(i32::from_be_bytes(field(head, EPOCH_AT))),
            crc: u32::from_be_bytes(field(head, CRC_AT)),
            attributes: i16::from_be_bytes(field(head, ATTRIBUTES_AT)),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field(head, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field(head, MAX_TIMESTAMP_AT))),
            producer_id: ProducerId(i64::from_be_bytes(field(head, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(head, 51))),
            base_sequence: Sequence(i32::from_be_bytes(field(head, 53))),
            record_count: i32::from_be_bytes(field(head, 57)),
        })
    }

    /// The offset after the batch's last one.
    #[must_use]
    pub fn end(&self) -> Offset {
        self.base_offset.plus(i64::from(self.last_offset_delta) + 1)
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::Codec`] for a number that Kafka does not define.
    pub fn codec(&self) -> Result<Codec, BatchError> {
        match self.attributes & 7 {
            0 => Ok(Codec::None),
            1 => Ok(Codec::Gzip),
            2 => Ok(Codec::Snappy),
            3 => Ok(Codec::Lz4),
            4 => Ok(Codec::Zstd),
            other => Err(BatchError::Codec(other)),
        }
    }

    /// Whether the broker's clock stamped the batch.
    #[must_use]
    pub const fn is_log_append_time(&self) -> bool {
        self.attributes & LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & (1 << 4) != 0
    }

    /// Whether the batch is a broker's own marker, which no client may send.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & (1 << 5) != 0
    }
}

/// Copies `N` bytes at `at` out of a header, whose size is known to cover them.
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}

/// Parses the batch at the start of `bytes` and checks its CRC.
///
/// # Errors
/// [`BatchError`]: as [`BatchHeader::parse`], or [`BatchError::Crc`].
pub fn check_crc(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = BatchHeader::parse(bytes)?;
    let computed = crc32c(&bytes[CRC_START..header.batch_bytes]);
    if computed != header.crc {
        return Err(BatchError::Crc { stored: header.crc, computed });
    }
    Ok(header)
}

/// Everything that can be judged about a client's batch without looking into its records:
/// length, magic, CRC, codec, and that the count fits the offsets.
///
/// # Errors
/// [`BatchError`], the first that applies.
pub fn check(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
    let header = check_crc(bytes)?;
    header.codec()?;
    let (records, last_delta) = (header.record_count, header.last_offset_delta);
    if records < 1 || last_delta != records - 1 {
        return Err(BatchError::Count { records, last_delta });
    }
    Ok(header)
}

/// CRC-32C (Castagnoli), as batches carry it.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    // The checksum of a 32-bit polynomial fits in 32 bits.
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
        .expect("a 32-bit checksum")
}

/// Writes the two fields that the leader decides. Both lie outside the CRC.
///
/// # Panics
/// When `batch` is shorter than a header: parse it first.
pub fn set_place(batch: &mut [u8], base_offset: Offset, epoch: Epoch) {
    batch[..8].copy_from_slice(&base_offset.0.to_be_bytes());
    batch[EPOCH_AT..MAGIC_AT].copy_from_slice(&epoch.0.to_be_bytes());
}

/// Stamps a batch with the broker's clock (`message.timestamp.type=LogAppendTime`) and computes
/// its CRC anew.
///
/// # Panics
/// When `batch` is not exactly one parsed batch.
pub fn set_log_append_time(batch: &mut [u8], now: TimestampMs) {
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2]
        .copy_from_slice(&(attributes | LOG_APPEND_TIME).to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&now.0.to_be_bytes());
    let crc = crc32c(&batch[CRC_START..]);
    batch[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
}

/// Walks batches that lie back to back. Ends after the last whole one; what could not be parsed
/// is the last item.
pub fn batches(bytes: &[u8]) -> impl Iterator<Item = Result<(BatchHeader, &[u8]), BatchError>> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        match BatchHeader::parse(rest) {
            Ok(header) => {
                let (batch, after) = rest.split_at(header.batch_bytes);
                rest = after;
                Some(Ok((header, batch)))
            }
            Err(error) => {
                rest = &[];
                Some(Err(error))
            }
        }
    })
}

/// A batch built from raw parts, for tests and for the brokers' own records: not compressed, its
/// CRC right.
///
/// `records` are the encoded records (each with its own length), `count` how many they are.
#[must_use]
pub fn build(header: &BatchHeader, records: &[u8]) -> Vec<u8> {
    let length = i32::try_from(HEADER_BYTES - LENGTH_END + records.len())
        .expect("a batch the broker builds itself is small");
    let mut batch = Vec::with_capacity(HEADER_BYTES + records.len());
    batch.extend_from_slice(&header.base_offset.0.to_be_bytes());
    batch.extend_from_slice(&length.to_be_bytes());
    batch.extend_from_slice(&header.epoch.0.to_be_bytes());
    batch.push(MAGIC.cast_unsigned());
    batch.extend_from_slice(&[0; 4]);
    batch.extend_from_slice(&header.attributes.to_be_bytes());
    batch.extend_from_slice(&header.last_offset_delta.to_be_bytes());
    batch.extend_from_slice(&header.base_timestamp.0.to_be_bytes());
    batch.extend_from_slice(&header.max_timestamp.0.to_be_bytes());
    batch.extend_from_slice(&header.producer_id.0.to_be_bytes());
    batch.extend_from_slice(&header.producer_epoch.0.to_be_bytes());
    batch.extend_from_slice(&header.base_sequence.0.to_be_bytes());
    batch.extend_from_slice(&header.record_count.to_be_bytes());
    batch.extend_from_slice(records);
    let crc = crc32c(&batch[CRC_START..]);
    batch[CRC_AT..CRC_START].copy_from_slice(&crc.to_be_bytes());
    batch
}

/// A header of `count` plain records from offset 0 on, to change and hand to [`build`].
#[must_use]
pub fn plain_header(count: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset::ZERO,
        batch_bytes: HEADER_BYTES,
        epoch: Epoch(-1),
        crc: 0,
        attributes: 0,
        last_offset_delta: count - 1,
        base_timestamp: TimestampMs(0),
        max_timestamp: TimestampMs(0),
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch(-1),
        base_sequence: Sequence(-1),
        record_count: count,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch() -> Vec<u8> {
        build(&plain_header(3), b"three records, or so the header says")
    }

    #[test]
    fn a_built_batch_passes_its_own_check() {
        let bytes = batch();
        let header = check(&bytes).unwrap();
        assert_eq!(header.batch_bytes, bytes.len());
        assert_eq!(header.end(), Offset(3));
        assert_eq!(header.codec(), Ok(Codec::None));
    }

    #[test]
    fn the_leaders_fields_lie_outside_the_crc() {
        let mut bytes = batch();
        set_place(&mut bytes, Offset(1 << 40), Epoch(9));
        let header = check(&bytes).unwrap();
        assert_eq!((header.base_offset, header.epoch), (Offset(1 << 40), Epoch(9)));
    }

    #[test]
    fn a_stamped_batch_carries_the_brokers_time_and_a_right_crc() {
        let mut bytes = batch();
        set_log_append_time(&mut bytes, TimestampMs(42));
        let header = check(&bytes).unwrap();
        assert!(header.is_log_append_time());
        assert_eq!(header.max_timestamp, TimestampMs(42));
    }

    #[test]
    fn every_flipped_byte_under_the_crc_is_found() {
        let good = batch();
        for at in CRC_AT..good.len() {
            let mut bytes = good.clone();
            bytes[at] ^= 1;
            assert!(matches!(check(&bytes), Err(BatchError::Crc { .. })), "byte {at}");
        }
    }

    #[test]
    fn every_cut_is_an_error_and_never_a_panic() {
        let good = batch();
        for end in 0..good.len() {
            assert!(check(&good[..end]).is_err(), "cut at {end}");
        }
        for length in [i32::MIN, -1, 0, 48, i32::MAX] {
            let mut bytes = good.clone();
            bytes[8..12].copy_from_slice(&length.to_be_bytes());
            assert!(check(&bytes).is_err(), "length {length}");
        }
    }

    #[test]
    fn a_count_that_does_not_fit_the_offsets_is_refused() {
        for (records, last_delta) in [(0, -1), (3, 1), (3, 3), (-1, -2), (1, i32::MAX)] {
            let mut header = plain_header(1);
            header.record_count = records;
            header.last_offset_delta = last_delta;
            let bytes = build(&header, b"");
            assert_eq!(check(&bytes), Err(BatchError::Count { records, last_delta }));
        }
    }

    #[test]
    fn an_unknown_codec_and_an_old_magic_are_named() {
        let mut header = plain_header(1);
        header.attributes = 5;
        assert_eq!(check(&build(&header, b"")), Err(BatchError::Codec(5)));
        for magic in [0_i8, 1, 3] {
            let mut bytes = batch();
            bytes[MAGIC_AT] = magic.cast_unsigned();
            assert_eq!(check(&bytes), Err(BatchError::Magic(magic)));
            // Old messages are shorter than this header: the magic is named all the same.
            assert_eq!(check(&bytes[..20]), Err(BatchError::Magic(magic)));
        }
    }

    #[test]
    fn batches_back_to_back_are_walked_and_a_cut_tail_is_the_last_item() {
        let mut bytes = batch();
        bytes.extend(batch());
        assert_eq!(batches(&bytes).filter(Result::is_ok).count(), 2);
        bytes.truncate(bytes.len() - 1);
        let walked: Vec<_> = batches(&bytes).collect();
        assert!(walked[0].is_ok() && walked[1].is_err() && walked.len() == 2);
    }
}
