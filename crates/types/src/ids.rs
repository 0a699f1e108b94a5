//! Who and what: nodes, disks, clusters, topics, partitions, segments.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::offset::{Epoch, Offset};

/// A node, as people and Kafka clients see it (Kafka's broker id). Printed `n1`, read as `1`
/// or `n1`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct NodeId(pub i32);

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// A text that does not name what it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no {what}: {expected}")]
pub struct ParseIdError {
    given: String,
    what: &'static str,
    expected: &'static str,
}

impl FromStr for NodeId {
    type Err = ParseIdError;

    fn from_str(given: &str) -> Result<Self, ParseIdError> {
        let digits = given.strip_prefix('n').unwrap_or(given);
        match digits.parse::<i32>() {
            Ok(id) if id >= 0 && !digits.starts_with('+') => Ok(Self(id)),
            _ => Err(ParseIdError {
                given: given.into(),
                what: "node id",
                expected: "give a number from 0 to 2147483647, like 1 or n1",
            }),
        }
    }
}

/// Made at random with a data directory; an empty disk has a new one. Kafka's directory id and
/// the member id in Raft.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct StorageId(pub Uuid);

/// A cluster, printed as Kafka does: 22 characters of URL-safe base64.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ClusterId(pub Uuid);

/// A topic for its whole life; a topic that is made again under the same name has a new one.
/// Printed as Kafka does: 22 characters of URL-safe base64.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct TopicId(pub Uuid);

impl fmt::Display for StorageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64_url(self.0))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64_url(self.0))
    }
}

/// URL-safe base64 without padding (RFC 4648 §5) of the 16 bytes: always 22 characters.
fn base64_url(id: Uuid) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bits = id.as_u128();
    // 128 bits are 21 digits of 6 bits and one of 2, which stands at the top of its six.
    (0..22)
        .map(|digit| {
            let six = if digit < 21 { bits >> (122 - 6 * digit) } else { bits << 4 };
            char::from(ALPHABET[usize::try_from(six & 63).expect("six bits fit")])
        })
        .collect()
}

/// A partition's number within its topic, from 0.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct PartitionIndex(pub i32);

impl fmt::Display for PartitionIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One partition of one topic.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct TopicPartition {
    /// Whose partition.
    pub topic: TopicId,
    /// Which one.
    pub partition: PartitionIndex,
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic, self.partition)
    }
}

/// One segment: offsets `[base, …)` of a partition, written in one epoch.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
pub struct SegmentId {
    /// The partition whose chain it is a link of.
    pub partition: TopicPartition,
    /// Its first offset.
    pub base: Offset,
    /// Its number, which is Kafka's leader epoch.
    pub epoch: Epoch,
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}.{}", self.partition, self.base, self.epoch)
    }
}

/// One life of a node's process: counted on its disk and in Raft, greater with every start.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_printed_with_its_letter_and_read_with_or_without() {
        assert_eq!(NodeId(7).to_string(), "n7");
        for given in ["7", "n7"] {
            assert_eq!(given.parse::<NodeId>(), Ok(NodeId(7)));
        }
        for given in ["", "n", "-1", "n-1", "+1", "7 ", "N7", "99999999999"] {
            assert!(given.parse::<NodeId>().is_err(), "{given:?}");
        }
    }

    #[test]
    fn ids_are_printed_as_kafka_prints_them() {
        // The vectors follow from RFC 4648: all zeros are all 'A', all ones end in a two-bit digit.
        assert_eq!(ClusterId(Uuid::nil()).to_string(), "A".repeat(22));
        assert_eq!(ClusterId(Uuid::max()).to_string(), format!("{}w", "_".repeat(21)));
        let id = Uuid::from_u128(0x0001_0203_0405_0607_0809_0a0b_0c0d_0e0f);
        assert_eq!(TopicId(id).to_string(), "AAECAwQFBgcICQoLDA0ODw");
    }
}
