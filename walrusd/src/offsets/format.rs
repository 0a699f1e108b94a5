//! The records of `__consumer_offsets`, as Kafka writes them and its tools read them.
//!
//! ```text
//! key    i16 version (1) · string group · string topic · i32 partition
//! value  i16 version (3) · i64 offset · i32 leader epoch · string metadata · i64 commit time
//! ```
//!
//! Big-endian; a string is an i16 length and UTF-8. Source: Kafka's `OffsetCommitKey` and
//! `OffsetCommitValue`. A record without a value is a tombstone.

/// The topic that holds committed offsets.
pub const TOPIC: &str = "__consumer_offsets";
/// Kafka's `offsets.topic.num.partitions`.
pub const PARTITIONS: i32 = 50;

const KEY_VERSIONS: std::ops::RangeInclusive<i16> = 0..=1;
const KEY_VERSION: i16 = 1;
const VALUE_VERSION: i16 = 3;

/// Whose offset it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The group.
    pub group: String,
    /// The topic it reads.
    pub topic: String,
    /// Which of its partitions.
    pub partition: i32,
}

/// How far a group is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the record before it, or -1.
    pub leader_epoch: i32,
    /// The client's own words.
    pub metadata: String,
    /// When it was committed, ms since 1970.
    pub committed_at_ms: i64,
}

/// The partition of [`TOPIC`] that has a group's offsets: Java's hash of the name over UTF-16,
/// without its sign, modulo `partitions`.
pub fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    (hash & i32::MAX) % partitions.max(1)
}

impl Key {
    /// The record's key.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = KEY_VERSION.to_be_bytes().to_vec();
        put_string(&mut out, &self.group);
        put_string(&mut out, &self.topic);
        out.extend_from_slice(&self.partition.to_be_bytes());
        out
    }

    /// A record's key; `None` for the other kinds of record that the topic has (group metadata,
    /// version 2) and for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = take::<2>(bytes)?;
        if !KEY_VERSIONS.contains(&i16::from_be_bytes(version)) {
            return None;
        }
        let (group, rest) = take_string(rest)?;
        let (topic, rest) = take_string(rest)?;
        let (partition, _) = take::<4>(rest)?;
        Some(Self { group, topic, partition: i32::from_be_bytes(partition) })
    }
}

impl Value {
    /// The record's value.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = VALUE_VERSION.to_be_bytes().to_vec();
        out.extend_from_slice(&self.offset.to_be_bytes());
        out.extend_from_slice(&self.leader_epoch.to_be_bytes());
        put_string(&mut out, &self.metadata);
        out.extend_from_slice(&self.committed_at_ms.to_be_bytes());
        out
    }

    /// A record's value of version 3; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, rest) = take::<2>(bytes)?;
        if i16::from_be_bytes(version) != VALUE_VERSION {
            return None;
        }
        let (offset, rest) = take::<8>(rest)?;
        let (leader_epoch, rest) = take::<4>(rest)?;
        let (metadata, rest) = take_string(rest)?;
        let (committed_at, _) = take::<8>(rest)?;
        Some(Self {
            offset: i64::from_be_bytes(offset),
            leader_epoch: i32::from_be_bytes(leader_epoch),
            metadata,
            committed_at_ms: i64::from_be_bytes(committed_at),
        })
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    // Names are far shorter than this; a longer one is cut rather than written with a wrong length.
    let bytes = &text.as_bytes()[..text.len().min(usize::from(i16::MAX.unsigned_abs()))];
    let length = i16::try_from(bytes.len()).expect("cut to fit");
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

fn take<const N: usize>(bytes: &[u8]) -> Option<([u8; N], &[u8])> {
    bytes.split_first_chunk::<N>().map(|(taken, rest)| (*taken, rest))
}

fn take_string(bytes: &[u8]) -> Option<(String, &[u8])> {
    let (length, rest) = take::<2>(bytes)?;
    let length = usize::try_from(i16::from_be_bytes(length)).ok()?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((String::from_utf8(text.to_vec()).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_values_come_back_as_they_went_in() {
        let key = Key { group: "walrus.get.logs".into(), topic: "logs".into(), partition: 3 };
        assert_eq!(Key::decode(&key.encode()), Some(key.clone()));
        let value =
            Value { offset: 42, leader_epoch: 7, metadata: "m\u{e9}".into(), committed_at_ms: 9 };
        assert_eq!(Value::decode(&value.encode()), Some(value.clone()));
        for cut in 0..key.encode().len() {
            assert_eq!(Key::decode(&key.encode()[..cut]), None, "cut at {cut}");
        }
        for cut in 0..value.encode().len() {
            assert_eq!(Value::decode(&value.encode()[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn group_metadata_is_not_taken_for_an_offset() {
        let mut bytes = 2_i16.to_be_bytes().to_vec();
        put_string(&mut bytes, "group");
        assert_eq!(Key::decode(&bytes), None);
    }

    #[test]
    fn a_group_is_hashed_as_java_does() {
        // "abc".hashCode() is 96354, "".hashCode() is 0; this one is negative in Java:
        // "polygenelubricants".hashCode() is i32::MIN, whose sign bit alone is dropped.
        for (group, expected) in [("abc", 96354 % 50), ("", 0), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(group, 50), expected, "{group:?}");
        }
    }
}
