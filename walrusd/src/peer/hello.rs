//! Who is at the other end. Nothing is asked or answered before both ends know.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use walrus_raft::Lane;
use walrus_types::{ClusterId, Incarnation, NodeId, StorageId};

/// The protocol of the peer port that this version speaks.
pub const PROTOCOL: u16 = 2;

/// A node, as it names itself to others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerIdentity {
    /// Its cluster, once it is in one.
    pub cluster: Option<ClusterId>,
    /// Its number.
    pub node: NodeId,
    /// Its disk.
    pub storage: StorageId,
    /// Which of its lives.
    pub incarnation: Incarnation,
}

/// The first frame of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The protocol that it speaks. The first field in every version.
    pub protocol: u16,
    /// Who connects.
    pub from: PeerIdentity,
    /// What the connection is for.
    #[serde(with = "lane")]
    pub lane: Lane,
}

/// Why a node is not let in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum HelloRefusal {
    /// It speaks another version of the protocol.
    #[error("this node speaks version {ours} of the peer protocol, the other one {given}")]
    OtherProtocol {
        /// Ours.
        ours: u16,
        /// Theirs.
        given: u16,
    },
    /// It belongs to another cluster.
    #[error("this is cluster {ours}, the other node belongs to {given}")]
    OtherCluster {
        /// Ours.
        ours: ClusterId,
        /// Theirs.
        given: ClusterId,
    },
    /// Its disk is not the one that its id stands for.
    #[error(
        "node {node} is registered with storage {known}, and comes with {given}: remove it first, it is then taken in as new"
    )]
    OtherStorage {
        /// Which node.
        node: NodeId,
        /// The disk that the cluster knows.
        known: StorageId,
        /// The disk that it says it has.
        given: StorageId,
    },
    /// It was removed for good.
    #[error("node {node} with storage {storage} was removed from the cluster")]
    Removed {
        /// Which node.
        node: NodeId,
        /// Its disk.
        storage: StorageId,
    },
    /// The bytes are no hello.
    #[error("malformed hello: {0}")]
    Malformed(String),
}

impl Hello {
    /// Its bytes.
    pub fn encode(&self) -> Bytes {
        Bytes::from(postcard::to_stdvec(self).expect("a hello has only plain data"))
    }

    /// Reads what [`Hello::encode`] wrote, of this version.
    ///
    /// # Errors
    /// [`HelloRefusal::Malformed`] or [`HelloRefusal::OtherProtocol`].
    pub fn decode(bytes: &[u8]) -> Result<Self, HelloRefusal> {
        let malformed = |why: postcard::Error| HelloRefusal::Malformed(why.to_string());
        let (given, _) = postcard::take_from_bytes::<u16>(bytes).map_err(malformed)?;
        if given != PROTOCOL {
            return Err(HelloRefusal::OtherProtocol { ours: PROTOCOL, given });
        }
        postcard::from_bytes(bytes).map_err(malformed)
    }
}

/// The answer to a hello: who is there, or why it does not talk.
pub type Welcome = Result<PeerIdentity, HelloRefusal>;

/// The bytes of a [`Welcome`].
pub fn encode_welcome(welcome: &Welcome) -> Bytes {
    Bytes::from(postcard::to_stdvec(welcome).expect("a welcome has only plain data"))
}

/// Reads what [`encode_welcome`] wrote.
///
/// # Errors
/// When it is anything else.
pub fn decode_welcome(bytes: &[u8]) -> Result<Welcome, postcard::Error> {
    postcard::from_bytes(bytes)
}

mod lane {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};
    use walrus_raft::Lane;

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    pub(super) fn serialize<S: Serializer>(lane: &Lane, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u8(match lane {
            Lane::Control => 1,
            Lane::Bulk => 2,
            Lane::Append => 3,
            Lane::Copy => 4,
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Lane, D::Error> {
        match u8::deserialize(from)? {
            1 => Ok(Lane::Control),
            2 => Ok(Lane::Bulk),
            3 => Ok(Lane::Append),
            4 => Ok(Lane::Copy),
            other => Err(D::Error::custom(format!("no lane has the number {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn hello() -> Hello {
        let from = PeerIdentity {
            cluster: Some(ClusterId(Uuid::from_u128(1))),
            node: NodeId(2),
            storage: StorageId(Uuid::from_u128(3)),
            incarnation: Incarnation(4),
        };
        Hello { protocol: PROTOCOL, from, lane: Lane::Bulk }
    }

    #[test]
    fn a_hello_comes_back_as_it_went_and_no_part_of_it_does() {
        for lane in [Lane::Control, Lane::Bulk, Lane::Append, Lane::Copy] {
            let hello = Hello { lane, ..hello() };
            assert_eq!(Hello::decode(&hello.encode()), Ok(hello));
        }
        let bytes = hello().encode();
        for cut in 0..bytes.len() {
            assert!(Hello::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn another_version_is_named_whatever_follows() {
        let newer = Hello { protocol: PROTOCOL + 1, ..hello() }.encode();
        let refused = HelloRefusal::OtherProtocol { ours: PROTOCOL, given: PROTOCOL + 1 };
        assert_eq!(Hello::decode(&newer[..1]), Err(refused));
    }

    #[test]
    fn a_refusal_names_both_ids() {
        let refusal = HelloRefusal::OtherStorage {
            node: NodeId(2),
            known: StorageId(Uuid::from_u128(7)),
            given: StorageId(Uuid::from_u128(8)),
        };
        let back = decode_welcome(&encode_welcome(&Err(refusal.clone()))).unwrap();
        assert_eq!(back, Err(refusal.clone()));
        let text = refusal.to_string();
        for id in [7, 8].map(|id| StorageId(Uuid::from_u128(id)).to_string()) {
            assert!(text.contains(&id), "{text}");
        }
    }
}
