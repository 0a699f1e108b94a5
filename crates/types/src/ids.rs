//! Who and what: nodes, disks, clusters, topics, partitions, segments.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

use crate::offset::{Epoch, Offset};

/// A node, as people and Kafka clients see it (Kafka's broker id). Printed `n1`, read as `1`
/// or `n1`.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
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
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Something that an operator has the cluster do: the index of the metadata log at which it began.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationId(pub u64);

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for OperationId {
    type Err = ParseIdError;

    fn from_str(given: &str) -> Result<Self, ParseIdError> {
        let digits = given.bytes().all(|byte| byte.is_ascii_digit());
        given.parse().ok().filter(|_| digits).map(Self).ok_or_else(|| ParseIdError {
            given: given.into(),
            what: "operation",
            expected: "give its number, as walrusctl op list shows it",
        })
    }
}

/// What an operation would come to, as the controller told it. Drawn at random, 48 bits; printed as
/// 12 hex digits, and so written where people read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct PlanId(u64);

impl PlanId {
    /// Digits that it is printed with.
    const DIGITS: usize = 12;

    /// Of the low 48 bits.
    pub const fn of(bits: u64) -> Self {
        Self(bits & 0xffff_ffff_ffff)
    }
}

impl fmt::Display for PlanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:0width$x}", self.0, width = Self::DIGITS)
    }
}

impl FromStr for PlanId {
    type Err = ParseIdError;

    fn from_str(given: &str) -> Result<Self, ParseIdError> {
        let fits =
            given.len() == Self::DIGITS && given.bytes().all(|byte| byte.is_ascii_hexdigit());
        u64::from_str_radix(given, 16).ok().filter(|_| fits).map(Self).ok_or_else(|| ParseIdError {
            given: given.chars().take(40).collect(),
            what: "plan",
            expected: "give its 12 hex digits, as --dry-run shows them",
        })
    }
}

impl Serialize for PlanId {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if to.is_human_readable() { to.collect_str(self) } else { to.serialize_u64(self.0) }
    }
}

impl<'de> Deserialize<'de> for PlanId {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        if from.is_human_readable() {
            String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
        } else {
            u64::deserialize(from).map(Self::of)
        }
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
    fn a_plan_is_twelve_hex_digits_and_an_operation_a_number() {
        assert_eq!(PlanId::of(u64::MAX).to_string(), "ffffffffffff");
        assert_eq!(PlanId::of(0x9c1f).to_string(), "000000009c1f");
        assert_eq!("000000009C1f".parse(), Ok(PlanId::of(0x9c1f)));
        for given in ["", "9c1f", "0000000009c1f", "+00000009c1f", "00000009c1fg"] {
            assert!(given.parse::<PlanId>().is_err(), "{given:?}");
        }
        assert_eq!("42".parse(), Ok(OperationId(42)));
        for given in ["", "+1", "-1", "1 ", "x", "99999999999999999999"] {
            assert!(given.parse::<OperationId>().is_err(), "{given:?}");
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
