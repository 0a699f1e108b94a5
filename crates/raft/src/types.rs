//! The types that openraft is instantiated with.

use std::fmt;

use bytes::Bytes;
use openraft::{alias, entry::EntryPayload};
use serde::{Deserialize, Serialize};
use uuid::Uuid;
use walrus_metadata::Reply;
use walrus_types::{NodeId, StorageId};

openraft::declare_raft_types!(
    /// openraft, as Walrus uses it.
    pub(crate) TypeConfig:
        D = Proposal,
        R = Answer,
        NodeId = RaftId,
        Node = RaftPeer,
);

pub(crate) type LogId = alias::LogIdOf<TypeConfig>;
pub(crate) type LeaderId = alias::CommittedLeaderIdOf<TypeConfig>;
pub(crate) type Vote = alias::VoteOf<TypeConfig>;
pub(crate) type Entry = alias::EntryOf<TypeConfig>;
pub(crate) type Payload = EntryPayload<Proposal, RaftId, RaftPeer>;
pub(crate) type StoredMembership = alias::StoredMembershipOf<TypeConfig>;
pub(crate) type SnapshotMeta = alias::SnapshotMetaOf<TypeConfig>;
pub(crate) type Snapshot = alias::SnapshotOf<TypeConfig, Bytes>;

/// A member of the Raft group: a disk, not a node. A node whose disk was wiped has forgotten what
/// it voted for and must not come back as the member it was.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct RaftId(pub Uuid);

impl From<StorageId> for RaftId {
    fn from(storage: StorageId) -> Self {
        Self(storage.0)
    }
}

impl From<RaftId> for StorageId {
    fn from(member: RaftId) -> Self {
        Self(member.0)
    }
}

/// For openraft's own tests, which number their nodes.
#[cfg(test)]
impl From<u64> for RaftId {
    fn from(number: u64) -> Self {
        Self(Uuid::from_u128(number.into()))
    }
}

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a member of the group is reached, as the membership in the log says.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RaftPeer {
    /// The node that the disk belongs to.
    pub node: NodeId,
    /// The host of its peer port.
    pub host: String,
    /// Its peer port.
    pub port: u16,
}

impl fmt::Display for RaftPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.node, self.host, self.port)
    }
}

/// A command as bytes, the form in which it is stored, kept and sent. It is decoded when it is
/// applied, so a log entry costs its bytes and nothing more.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Proposal(#[serde(with = "as_bytes")] pub(crate) Bytes);

impl fmt::Debug for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proposal({self})")
    }
}

impl fmt::Display for Proposal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

/// [`Bytes`] as one run of bytes.
pub(crate) mod as_bytes {
    use std::fmt;

    use bytes::Bytes;
    use serde::{Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: &Bytes, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::copy_from_slice(bytes))
            }
        }

        from.deserialize_bytes(Visitor)
    }
}

/// What the state machine said to an entry; nothing to those that carry no command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer(pub(crate) Option<Reply>);
