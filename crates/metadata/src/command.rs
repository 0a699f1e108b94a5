//! Everything that can be asked of metadata, and the bytes it travels and is stored as.
//!
//! ```text
//!  0  u8   version (2)
//!  1  …    postcard of [`Command`]
//! ```
//!
//! Version 1 is read too, see `v1.rs`.
//! Postcard numbers an enum's variants in their order: new ones go to the end.
//! Time and random ids are in the command, for `apply` has neither.

use std::fmt;

use serde::{Deserialize, Serialize};
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, StorageId, TimestampMs, TopicId, TopicPartition,
};

use crate::{
    node::{Addresses, Leader, Member},
    operation::{BeginOperation, EndOperation},
    partition::Assignment,
    segment::{Coverage, Digest, Reason, SealedAt, SegmentKey},
    v1,
};

/// The format that [`Command::encode`] writes.
const VERSION: u8 = 2;

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
    /// Ends a node's life: what it leads is to be sealed.
    Fence(Fence),
    /// Drains, undrains or removes a node.
    SetNodeState(SetNodeState),
    /// Says who holds sealed segments.
    SetMembers(Vec<SetMembers>),
    /// Says where partitions are to be.
    Assign(Vec<Assign>),
    /// Begins what goes on whoever is the controller.
    BeginOperation(BeginOperation),
    /// Ends it.
    EndOperation(EndOperation),
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
    /// When.
    pub at: TimestampMs,
}

/// That life of that node may write no more: the intent to seal every open segment that it leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Who.
    pub node: NodeId,
    /// In which life; in another one it is not fenced.
    pub incarnation: Incarnation,
    /// When.
    pub at: TimestampMs,
}

/// What an operator does with a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NodeChange {
    /// It is given nothing new, and what it has is to go elsewhere.
    Drain,
    /// It takes part again.
    Undrain,
    /// It goes for good, once it is drained or fenced and no segment names it.
    Remove,
}

/// A change of what a node may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetNodeState {
    /// Which node.
    pub node: NodeId,
    /// In which life it was seen, if that matters: to remove it, it does.
    pub expected: Option<Incarnation>,
    /// What to do.
    pub change: NodeChange,
}

/// Who holds a sealed segment from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetMembers {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Which segment.
    pub segment: SegmentKey,
    /// Who is expected to hold it, in that order.
    pub expected: Vec<Member>,
    /// Who holds it; one of those before at least, for the others got it from there.
    pub members: Vec<Member>,
    /// What its bytes come to, if that was computed. It is set once.
    pub digest: Option<Digest>,
}

/// Where a partition is to be from now on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assign {
    /// Which partition.
    pub partition: TopicPartition,
    /// What is in force: another assignment is left alone.
    pub expected: Option<Assignment>,
    /// What is to be; nothing when the partition is where it was to be, or may stay where it is.
    /// As many nodes as it names are its topic's target from then on.
    pub assignment: Option<Assignment>,
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
    /// How many have that.
    pub coverage: Coverage,
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
        decode_versioned::<Self, v1::Command>(bytes, VERSION)
    }
}

/// One version byte, then exactly one postcard value: of the `known` version, or of version 1.
pub(crate) fn decode_versioned<T, V1>(bytes: &[u8], known: u8) -> Result<T, DecodeError>
where
    T: for<'de> Deserialize<'de> + From<V1>,
    V1: for<'de> Deserialize<'de>,
{
    match bytes.split_first() {
        Some((&version, body)) if version == known => decode_whole(body),
        Some((1, body)) => decode_whole::<V1>(body).map(T::from),
        Some((&found, _)) => Err(DecodeError::Version { found, known }),
        None => Err(DecodeError::Malformed(postcard::Error::DeserializeUnexpectedEnd)),
    }
}

/// Exactly one postcard value.
pub(crate) fn decode_whole<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, DecodeError> {
    let (value, rest) = postcard::take_from_bytes(body)?;
    if rest.is_empty() { Ok(value) } else { Err(DecodeError::TooLong(rest.len())) }
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
            Self::Fence(fence) => write!(f, "fence {} life {}", fence.node, fence.incarnation),
            Self::SetNodeState(set) => {
                let what = match set.change {
                    NodeChange::Drain => "drain",
                    NodeChange::Undrain => "undrain",
                    NodeChange::Remove => "remove",
                };
                write!(f, "{what} {}", set.node)
            }
            Self::SetMembers(sets) => write!(f, "set members of {} segments", sets.len()),
            Self::Assign(assigns) => write!(f, "assign {} partitions", assigns.len()),
            Self::BeginOperation(begin) => write!(f, "begin the operation of plan {}", begin.plan),
            Self::EndOperation(end) => write!(f, "end operation {}", end.id),
        }
    }
}
