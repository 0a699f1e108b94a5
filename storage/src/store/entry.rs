//! What the store puts into the WAL: the heads of its entries, to bytes and back.
//!
//! ```text
//! kinds 16 append · 17 truncate · 18 seal · 19 state · 20 prune · 21 remove partition
//!       22 remove topic · 23 control · 24 mark (of nothing)
//!
//! 16-20  0 topic uuid · 16 i32 partition · 20 i64 base · 28 i32 epoch
//!        32 u64 position in the log · 40 i64 offset there · 48 i64 greatest timestamp before it
//!        56 i64 end of the batch (append only)
//! 21     0 topic uuid · 16 i32 partition        22  0 topic uuid        23  0 u32 key
//! ```
//!
//! All numbers are little-endian. The body is the batch, the state or the control record's value.
//! An append says where its batch goes, so replay knows that everything in front of a segment's
//! first retained entry is durable in the segment's file.

use bytes::Bytes;
use uuid::Uuid;
use walrus_types::{
    Epoch, Offset, PartitionIndex, SegmentId, TimestampMs, TopicId, TopicPartition,
};

use crate::{
    segment::index::Spot,
    wal::{Entry, EntryHead, HEAD_BYTES_MAX, KIND_FIRST},
};

const APPEND: u8 = 16;
const TRUNCATE: u8 = 17;
const SEAL: u8 = 18;
const STATE: u8 = 19;
const PRUNE: u8 = 20;
const REMOVE_PARTITION: u8 = 21;
const REMOVE_TOPIC: u8 = 22;
const CONTROL: u8 = 23;
const MARK: u8 = 24;

const PLACE_BYTES: usize = 56;
const APPEND_BYTES: usize = 64;

const _: () = assert!(APPEND >= KIND_FIRST && APPEND_BYTES <= HEAD_BYTES_MAX);

/// What an entry of the WAL says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    /// The body is the batch of `[spot.offset, end)` and lies at `spot`.
    Append { segment: SegmentId, spot: Spot, end: Offset },
    /// The segment was cut at `spot`.
    Truncate { segment: SegmentId, spot: Spot },
    /// The segment was cut at `spot` for good.
    Seal { segment: SegmentId, spot: Spot },
    /// The body is kept beside the segment.
    State { segment: SegmentId },
    /// The segment's files were unlinked.
    Prune { segment: SegmentId },
    /// All segments of the partition were unlinked.
    RemovePartition(TopicPartition),
    /// All segments of the topic were unlinked.
    RemoveTopic(TopicId),
    /// The body is the value of this key.
    Control { key: u32 },
    /// Nothing: whoever appended it waits for all that came before.
    Mark,
}

/// An append's entry.
pub(crate) fn append(segment: SegmentId, spot: Spot, end: Offset, batch: Bytes) -> Entry {
    let mut head = place(segment, spot);
    head.extend_from_slice(&end.0.to_le_bytes());
    entry(APPEND, &head, batch)
}

/// A truncation's entry.
pub(crate) fn truncate(segment: SegmentId, spot: Spot) -> Entry {
    entry(TRUNCATE, &place(segment, spot), Bytes::new())
}

/// A seal's entry.
pub(crate) fn seal(segment: SegmentId, spot: Spot) -> Entry {
    entry(SEAL, &place(segment, spot), Bytes::new())
}

/// The entry of a state that is kept beside a segment.
pub(crate) fn state(segment: SegmentId, bytes: Bytes) -> Entry {
    entry(STATE, &place(segment, nowhere(segment)), bytes)
}

/// A prune's entry.
pub(crate) fn prune(segment: SegmentId) -> Entry {
    entry(PRUNE, &place(segment, nowhere(segment)), Bytes::new())
}

/// The entry of a partition's removal.
pub(crate) fn remove_partition(partition: TopicPartition) -> Entry {
    let mut head = partition.topic.0.as_bytes().to_vec();
    head.extend_from_slice(&partition.partition.0.to_le_bytes());
    entry(REMOVE_PARTITION, &head, Bytes::new())
}

/// The entry of a topic's removal.
pub(crate) fn remove_topic(topic: TopicId) -> Entry {
    entry(REMOVE_TOPIC, topic.0.as_bytes(), Bytes::new())
}

/// A control record's entry.
pub(crate) fn control(key: u32, value: Bytes) -> Entry {
    entry(CONTROL, &key.to_le_bytes(), value)
}

/// An entry that says nothing.
pub(crate) fn mark() -> Entry {
    entry(MARK, &[], Bytes::new())
}

fn entry(kind: u8, head: &[u8], body: Bytes) -> Entry {
    Entry { kind, head: EntryHead::new(head), body }
}

const fn nowhere(segment: SegmentId) -> Spot {
    Spot { offset: segment.base, position: 0, max_before: TimestampMs::NONE }
}

fn place(segment: SegmentId, spot: Spot) -> Vec<u8> {
    let mut head = Vec::with_capacity(APPEND_BYTES);
    head.extend_from_slice(segment.partition.topic.0.as_bytes());
    head.extend_from_slice(&segment.partition.partition.0.to_le_bytes());
    head.extend_from_slice(&segment.base.0.to_le_bytes());
    head.extend_from_slice(&segment.epoch.0.to_le_bytes());
    head.extend_from_slice(&spot.position.to_le_bytes());
    head.extend_from_slice(&spot.offset.0.to_le_bytes());
    head.extend_from_slice(&spot.max_before.0.to_le_bytes());
    head
}

/// Reads a head back; nothing when it is none of ours.
pub(crate) fn decode(kind: u8, head: &[u8]) -> Option<Head> {
    match kind {
        APPEND => {
            let (segment, spot) = decode_place(head.get(..PLACE_BYTES)?)?;
            let end = Offset(i64::from_le_bytes(head.get(PLACE_BYTES..)?.try_into().ok()?));
            (end > spot.offset).then_some(Head::Append { segment, spot, end })
        }
        TRUNCATE | SEAL | STATE | PRUNE => {
            let (segment, spot) = decode_place(head)?;
            Some(match kind {
                TRUNCATE => Head::Truncate { segment, spot },
                SEAL => Head::Seal { segment, spot },
                STATE => Head::State { segment },
                _ => Head::Prune { segment },
            })
        }
        REMOVE_PARTITION => {
            let (topic, partition) = head.split_first_chunk::<16>()?;
            let partition = PartitionIndex(i32::from_le_bytes(partition.try_into().ok()?));
            let topic = TopicId(Uuid::from_bytes(*topic));
            Some(Head::RemovePartition(TopicPartition { topic, partition }))
        }
        REMOVE_TOPIC => Some(Head::RemoveTopic(TopicId(Uuid::from_slice(head).ok()?))),
        CONTROL => Some(Head::Control { key: u32::from_le_bytes(head.try_into().ok()?) }),
        MARK if head.is_empty() => Some(Head::Mark),
        _ => None,
    }
}

fn decode_place(head: &[u8]) -> Option<(SegmentId, Spot)> {
    let head: &[u8; PLACE_BYTES] = head.try_into().ok()?;
    let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
    let eight = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&head[at..at + 8]);
        bytes
    };
    let topic = TopicId(Uuid::from_slice(&head[..16]).ok()?);
    let partition = PartitionIndex(i32::from_le_bytes(four(16)));
    let segment = SegmentId {
        partition: TopicPartition { topic, partition },
        base: Offset(i64::from_le_bytes(eight(20))),
        epoch: Epoch(i32::from_le_bytes(four(28))),
    };
    let spot = Spot {
        position: u64::from_le_bytes(eight(32)),
        offset: Offset(i64::from_le_bytes(eight(40))),
        max_before: TimestampMs(i64::from_le_bytes(eight(48))),
    };
    Some((segment, spot))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_head_is_read_back_as_it_was_written() {
        let topic = TopicId(Uuid::from_u128(1 << 100 | 5));
        let partition = TopicPartition { topic, partition: PartitionIndex(9) };
        let segment = SegmentId { partition, base: Offset(70), epoch: Epoch(4) };
        let spot = Spot { offset: Offset(77), position: 4096, max_before: TimestampMs(-1) };
        let end = Offset(80);
        let none = Bytes::new;
        let cases = [
            (append(segment, spot, end, none()), Head::Append { segment, spot, end }),
            (truncate(segment, spot), Head::Truncate { segment, spot }),
            (seal(segment, spot), Head::Seal { segment, spot }),
            (state(segment, none()), Head::State { segment }),
            (prune(segment), Head::Prune { segment }),
            (remove_partition(partition), Head::RemovePartition(partition)),
            (remove_topic(topic), Head::RemoveTopic(topic)),
            (control(6, none()), Head::Control { key: 6 }),
            (mark(), Head::Mark),
        ];
        for (entry, head) in cases {
            let bytes = entry.head.as_slice();
            assert_eq!(decode(entry.kind, bytes), Some(head));
            for cut in 0..bytes.len() {
                assert_eq!(decode(entry.kind, &bytes[..cut]), None, "{head:?} cut at {cut}");
            }
        }
        assert_eq!(decode(200, &[]), None);
    }
}
