//! The file beside a log that says where its batches are.
//!
//! ```text
//! header  0 "WLIX" · 4 u16 version · 6 u16 0 · 8 topic uuid · 24 i32 partition · 28 i64 base
//!        36 i32 epoch · 40 u32 0 · 44 u32 CRC-32C of bytes 0..44
//! block   0 u8 kind (1 entries, 2 footer) · 1 3 bytes 0 · 4 u32 payload bytes
//!         8 u32 CRC-32C of the payload · 12 u32 CRC-32C of bytes 0..12 · 16 payload
//! entries n x (i64 offset · u64 position · i64 greatest timestamp before)
//! footer  i64 end · u64 bytes · i64 greatest timestamp · u8 digest known · 7 bytes 0 · u128 digest
//! ```
//!
//! All numbers are little-endian. Blocks of entries are appended while the segment is open; the
//! footer is the last block and says that it is sealed. Nothing here is needed: whatever is
//! missing or damaged is made anew from the log, so a reader takes what is whole and stops at the
//! first block that is not.

use walrus_types::{Offset, SegmentId, TimestampMs, batch::crc32c};

use super::{
    index::Spot,
    sizes::{in_file, in_memory},
};

const MAGIC: [u8; 4] = *b"WLIX";
const VERSION: u16 = 1;
/// Bytes before the first block.
pub(crate) const HEADER_BYTES: usize = 48;
const BLOCK_HEADER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 24;
const FOOTER_BYTES: usize = 48;
const KIND_ENTRIES: u8 = 1;
const KIND_FOOTER: u8 = 2;
/// More than a log of 64 GiB needs; a longer file is not ours.
pub(crate) const FILE_BYTES_MAX: u64 = 128 << 20;

/// What is fixed once a segment is sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Footer {
    pub(crate) end: Offset,
    pub(crate) bytes: u64,
    pub(crate) max_timestamp: TimestampMs,
    /// XXH3-128 of the log, where the writer saw all of it.
    pub(crate) digest: Option<u128>,
}

/// What could be read of an index file.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) entries: Vec<Spot>,
    pub(crate) footer: Option<Footer>,
    /// The part of the file that is whole: the next block goes here.
    pub(crate) whole_bytes: u64,
}

/// The header of the index of `id`.
pub(crate) fn encode_header(id: SegmentId) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 2]);
    bytes.extend_from_slice(id.partition.topic.0.as_bytes());
    bytes.extend_from_slice(&id.partition.partition.0.to_le_bytes());
    bytes.extend_from_slice(&id.base.0.to_le_bytes());
    bytes.extend_from_slice(&id.epoch.0.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    let crc = crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(bytes.len(), HEADER_BYTES);
    bytes
}

/// A block of entries.
pub(crate) fn encode_entries(entries: &[Spot]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(entries.len() * ENTRY_BYTES);
    for entry in entries {
        payload.extend_from_slice(&entry.offset.0.to_le_bytes());
        payload.extend_from_slice(&entry.position.to_le_bytes());
        payload.extend_from_slice(&entry.max_before.0.to_le_bytes());
    }
    encode_block(KIND_ENTRIES, &payload)
}

/// The last block of a sealed segment's index.
pub(crate) fn encode_footer(footer: &Footer) -> Vec<u8> {
    let Footer { end, bytes, max_timestamp, digest } = *footer;
    let mut payload = Vec::with_capacity(FOOTER_BYTES);
    payload.extend_from_slice(&end.0.to_le_bytes());
    payload.extend_from_slice(&bytes.to_le_bytes());
    payload.extend_from_slice(&max_timestamp.0.to_le_bytes());
    payload.extend_from_slice(&[u8::from(digest.is_some()), 0, 0, 0, 0, 0, 0, 0]);
    payload.extend_from_slice(&digest.unwrap_or(0).to_le_bytes());
    encode_block(KIND_FOOTER, &payload)
}

fn encode_block(kind: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a block holds one segment's new entries");
    let mut block = Vec::with_capacity(BLOCK_HEADER_BYTES + payload.len());
    block.extend_from_slice(&[kind, 0, 0, 0]);
    block.extend_from_slice(&length.to_le_bytes());
    block.extend_from_slice(&crc32c(payload).to_le_bytes());
    let crc = crc32c(&block);
    block.extend_from_slice(&crc.to_le_bytes());
    block.extend_from_slice(payload);
    block
}

/// Reads what is whole in the bytes of an index file of `id`. Never fails: a file that is not
/// usable has nothing in it.
pub(crate) fn decode(id: SegmentId, bytes: &[u8]) -> Stored {
    let mut stored = Stored::default();
    if bytes.get(..HEADER_BYTES) != Some(&encode_header(id)[..]) {
        return stored;
    }
    let mut rest = &bytes[HEADER_BYTES..];
    while let Some((kind, payload, after)) = decode_block(rest) {
        match kind {
            KIND_ENTRIES if decode_entries(payload, &mut stored.entries) => {}
            KIND_FOOTER if stored.footer.is_none() => stored.footer = decode_footer(payload),
            _ => break,
        }
        rest = after;
    }
    stored.whole_bytes = in_file(bytes.len() - rest.len());
    stored
}

fn decode_block(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (header, rest) = bytes.split_first_chunk::<BLOCK_HEADER_BYTES>()?;
    if u32_at(header, 12) != crc32c(&header[..12]) {
        return None;
    }
    let length = in_memory(u64::from(u32_at(header, 4)));
    let payload = rest.get(..length)?;
    (crc32c(payload) == u32_at(header, 8)).then_some((header[0], payload, &rest[length..]))
}

fn u32_at(header: &[u8; BLOCK_HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
}

/// Appends the block's entries; false when they do not go on from those before.
fn decode_entries(payload: &[u8], entries: &mut Vec<Spot>) -> bool {
    let (chunks, rest) = payload.as_chunks::<ENTRY_BYTES>();
    if !rest.is_empty() {
        return false;
    }
    for chunk in chunks {
        let spot = Spot {
            offset: Offset(u64_at(chunk, 0).cast_signed()),
            position: u64_at(chunk, 8),
            max_before: TimestampMs(u64_at(chunk, 16).cast_signed()),
        };
        let rises = entries
            .last()
            .is_none_or(|last| last.offset < spot.offset && last.position < spot.position);
        if !rises {
            return false;
        }
        entries.push(spot);
    }
    true
}

fn decode_footer(payload: &[u8]) -> Option<Footer> {
    let fields: &[u8; FOOTER_BYTES] = payload.try_into().ok()?;
    let digest = u128::from(u64_at(fields, 40)) << 64 | u128::from(u64_at(fields, 32));
    Some(Footer {
        end: Offset(u64_at(fields, 0).cast_signed()),
        bytes: u64_at(fields, 8),
        max_timestamp: TimestampMs(u64_at(fields, 16).cast_signed()),
        digest: (fields[24] == 1).then_some(digest),
    })
}

fn u64_at<const N: usize>(bytes: &[u8; N], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(field)
}

#[cfg(test)]
mod tests {
    use walrus_types::{Epoch, PartitionIndex, TopicId, TopicPartition};

    use super::*;

    fn id() -> SegmentId {
        let topic = TopicId::default();
        let partition = TopicPartition { topic, partition: PartitionIndex(1) };
        SegmentId { partition, base: Offset(100), epoch: Epoch(3) }
    }

    fn spot(offset: i64, position: u64) -> Spot {
        Spot { offset: Offset(offset), position, max_before: TimestampMs(offset * 2) }
    }

    fn footer() -> Footer {
        Footer {
            end: Offset(400),
            bytes: 9000,
            max_timestamp: TimestampMs(77),
            digest: Some(u128::MAX - 5),
        }
    }

    fn file() -> Vec<u8> {
        let mut bytes = encode_header(id());
        bytes.extend(encode_entries(&[spot(100, 0), spot(200, 5000)]));
        bytes.extend(encode_entries(&[spot(300, 7000)]));
        bytes.extend(encode_footer(&footer()));
        bytes
    }

    #[test]
    fn what_was_stored_is_read_back() {
        let bytes = file();
        let stored = decode(id(), &bytes);
        assert_eq!(stored.entries, [spot(100, 0), spot(200, 5000), spot(300, 7000)]);
        assert_eq!(stored.footer, Some(footer()));
        assert_eq!(stored.whole_bytes, bytes.len() as u64);
    }

    #[test]
    fn another_segments_index_has_nothing_for_us() {
        let other = SegmentId { epoch: Epoch(4), ..id() };
        assert!(decode(other, &file()).entries.is_empty());
    }

    #[test]
    fn a_cut_file_gives_its_whole_blocks_and_no_footer() {
        let bytes = file();
        for cut in 0..bytes.len() {
            let stored = decode(id(), &bytes[..cut]);
            assert!(stored.footer.is_none() && stored.entries.len() <= 3, "cut at {cut}");
            assert!(stored.whole_bytes <= cut as u64, "cut at {cut}");
        }
    }

    #[test]
    fn a_flipped_byte_never_gives_another_entry_or_footer() {
        let bytes = file();
        let whole = decode(id(), &bytes);
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let stored = decode(id(), &flipped);
            assert!(whole.entries.starts_with(&stored.entries), "byte {at}");
            assert!(stored.footer.is_none(), "byte {at}");
        }
    }

    #[test]
    fn entries_that_do_not_rise_end_the_file() {
        let mut bytes = encode_header(id());
        bytes.extend(encode_entries(&[spot(100, 0)]));
        bytes.extend(encode_entries(&[spot(90, 5000)]));
        assert_eq!(decode(id(), &bytes).entries, [spot(100, 0)]);
    }
}
