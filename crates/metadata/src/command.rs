//! Everything that can be asked of metadata, and the bytes it travels and is stored as.
//!
//! ```text
//!  0  u8   version (1)
//!  1  …    postcard of [`Command`]
//! ```
//!
//! Postcard numbers an enum's variants in their order: new ones go to the end.
//! Time and random ids are in the command, for `apply` has neither.

use std::fmt;

use serde::{Deserialize, Serialize};
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, StorageId, TimestampMs, TopicId, TopicPartition,
};

use crate::{
    node::{Addresses, Leader, Member},
    partition::{Reason, SealedAt},
};

/// The format that [`Command::encode`] writes.
const VERSION: u8 = 1;

/// A change of metadata, to be judged by [`crate::Metadata::apply`].
///
/// Lists travel as one command and are judged one by one. What changes a partition names the
/// epoch it expects, so that a late or repeated command is refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// A node begins a life.
    Register(Register),
    /// Makes topics.
    CreateTopics(Vec<NewTopic>),
    /// Removes topics with all that is in them.
    DeleteTopics(Vec<TopicId>),
    /// Gives a topic more partitions.
    AddPartitions(AddPartitions),
    /// Sets and deletes configs.
    SetConfigs(Vec<SetConfigs>),
    /// Seals segments and opens their successors.
    Roll(Vec<Roll>),
    /// Raises log starts and drops what lies below.
    Prune(Vec<Prune>),
    /// Hands out a block of producer ids.
    ProducerIds,
}

/// A node that starts. Its incarnation must be greater than any before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Register {
    /// Who.
    pub node: NodeId,
    /// With which disk.
    pub storage: StorageId,
    /// In which life.
    pub incarnation: Incarnation,
    /// The first registration names the cluster, later ones must agree.
    pub cluster: ClusterId,
    /// Where it stands.
    pub rack: Option<String>,
    /// Where it listens.
    pub addresses: Addresses,
}

/// Who is to write a segment, who is to store it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// Who writes; its node is a member.
    pub leader: Leader,
    /// Who stores.
    pub members: Vec<Member>,
    /// How many of them make a batch committed: a majority at least.
    pub w: u8,
}

/// A topic to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// A fresh random id.
    pub id: TopicId,
    /// A name that is not taken.
    pub name: String,
    /// How many members its segments should have.
    pub replicas_target: u8,
    /// Where each partition begins.
    pub partitions: Vec<Placement>,
    /// What is set from the start.
    pub configs: Vec<(String, String)>,
    /// When.
    pub at: TimestampMs,
}

/// Partitions to be added behind those a topic has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddPartitions {
    /// To which topic.
    pub topic: TopicId,
    /// How many it is expected to have.
    pub expected: u32,
    /// Where each new one begins.
    pub partitions: Vec<Placement>,
    /// When.
    pub at: TimestampMs,
}

/// What configs belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConfigResource {
    /// Every node.
    Cluster,
    /// One node.
    Node(NodeId),
    /// One topic.
    Topic(TopicId),
}

/// Configs to be set and deleted, all or none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetConfigs {
    /// Whose.
    pub resource: ConfigResource,
    /// New values; `None` deletes. Later ones win.
    pub changes: Vec<(String, Option<String>)>,
}

/// Seal the open segment of a partition and open its successor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// Which partition.
    pub partition: TopicPartition,
    /// The epoch of the segment to be sealed.
    pub expected: Epoch,
    /// What it holds.
    pub sealed: SealedAt,
    /// Where the partition goes on.
    pub next: Placement,
    /// Why.
    pub reason: Reason,
    /// When.
    pub at: TimestampMs,
}

/// Raise a partition's log start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prune {
    /// Which partition.
    pub partition: TopicPartition,
    /// The epoch of its open segment. Who proposes has seen that `log_start` is not past the
    /// commit offset; with another open segment that would prove nothing.
    pub expected: Epoch,
    /// The new log start; one that is not past the present one changes nothing.
    pub log_start: Offset,
}

/// Why bytes are no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// A newer program wrote it, or something else did.
    #[error("format version {found} is not known here (this program reads up to {known})")]
    Version {
        /// What the bytes say.
        found: u8,
        /// The newest this program reads.
        known: u8,
    },
    /// The version is right and the rest is not.
    #[error("malformed: {0}")]
    Malformed(#[from] postcard::Error),
    /// There is more than one value.
    #[error("{0} bytes too many")]
    TooLong(usize),
}

impl Command {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![VERSION]).expect("a command has only plain data")
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are anything else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        decode_versioned(bytes, VERSION)
    }
}

/// One version byte, then exactly one postcard value.
pub(crate) fn decode_versioned<T: for<'de> Deserialize<'de>>(
    bytes: &[u8],
    known: u8,
) -> Result<T, DecodeError> {
    match bytes.split_first() {
        Some((&version, body)) if version == known => {
            let (value, rest) = postcard::take_from_bytes(body)?;
            if rest.is_empty() { Ok(value) } else { Err(DecodeError::TooLong(rest.len())) }
        }
        Some((&found, _)) => Err(DecodeError::Version { found, known }),
        None => Err(DecodeError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register(node) => write!(f, "register {} life {}", node.node, node.incarnation),
            Self::CreateTopics(topics) => write!(f, "create {} topics", topics.len()),
            Self::DeleteTopics(topics) => write!(f, "delete {} topics", topics.len()),
            Self::AddPartitions(add) => {
                write!(f, "add {} partitions to {}", add.partitions.len(), add.topic)
            }
            Self::SetConfigs(sets) => write!(f, "set configs of {} resources", sets.len()),
            Self::Roll(rolls) => write!(f, "roll {} partitions", rolls.len()),
            Self::Prune(prunes) => write!(f, "prune {} partitions", prunes.len()),
            Self::ProducerIds => f.write_str("hand out producer ids"),
        }
    }
}
