//! What metadata answers. A refusal is an answer like any other: the same on every node.

use serde::{Deserialize, Serialize};
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, OperationId, ProducerId, StorageId, TopicId,
};

use crate::{node::NodeState, queries::Holding, segment::Digest};

/// The answer to a [`crate::Command`], by its kind. Lists answer in the order they were asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The list is longer than one command may carry; nothing was changed.
    TooMany {
        /// How long it may be.
        limit: u64,
    },
    /// To `Register`.
    Registered(Result<Registered, RegisterRefusal>),
    /// To `CreateTopics`.
    TopicsCreated(Vec<Result<TopicCreated, CreateRefusal>>),
    /// To `DeleteTopics`.
    TopicsDeleted(Vec<Result<(), UnknownTopic>>),
    /// To `AddPartitions`.
    PartitionsAdded(Result<(), AddRefusal>),
    /// To `SetConfigs`.
    ConfigsSet(Vec<Result<(), ConfigRefusal>>),
    /// To `Roll`.
    Rolled(Vec<Result<Rolled, RollRefusal>>),
    /// To `Prune`.
    Pruned(Vec<Result<Pruned, PruneRefusal>>),
    /// To `ProducerIds`.
    ProducerIds(Result<ProducerIdBlock, ProducerIdsSpent>),
    /// To `Fence`.
    Fenced(Result<Fenced, FenceRefusal>),
    /// To `SetNodeState`: the node's state now, changed or not.
    NodeStateSet(Result<NodeState, NodeStateRefusal>),
    /// To `SetMembers`.
    MembersSet(Vec<Result<(), MembersRefusal>>),
    /// To `Assign`.
    Assigned(Vec<Result<(), AssignRefusal>>),
    /// To `BeginOperation` and `EndOperation`: which one.
    Operation(Result<OperationId, OperationRefusal>),
}

/// A node is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registered {
    /// It serves nothing before it has applied the metadata up to here.
    pub index: u64,
}

/// A topic is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicCreated {
    /// The epoch of its partitions' first segments.
    pub epoch: Epoch,
}

/// A segment is sealed, its successor open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rolled {
    /// The successor's epoch; its base is the end that was proposed.
    pub epoch: Epoch,
    /// Whether the sealed segment is in the chain. An empty one is not.
    pub stays: bool,
}

/// A log start as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pruned {
    /// The log start.
    pub log_start: Offset,
    /// How many segments left the chain.
    pub dropped: u32,
}

/// A node's life is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fenced {
    /// How many open segments it leaves to be sealed.
    pub leads: u32,
}

/// Producer ids that nobody else gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProducerIdBlock {
    /// The first.
    pub first: ProducerId,
    /// How many.
    pub count: i64,
}

/// Why a node may not register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RegisterRefusal {
    /// It belongs elsewhere.
    #[error("this is cluster {ours}, the node belongs to {given}")]
    OtherCluster {
        /// This cluster.
        ours: ClusterId,
        /// What the node says.
        given: ClusterId,
    },
    /// The node's disk was replaced or another node took its id.
    #[error("node id is registered with storage {known}, this is {given}")]
    OtherStorage {
        /// The disk that the id belongs to.
        known: StorageId,
        /// What the node says.
        given: StorageId,
    },
    /// The disk came here from another node.
    #[error("this storage belongs to node {owner}")]
    StorageOfOther {
        /// Whose it is.
        owner: NodeId,
    },
    /// The disk is an old copy, or the command came again.
    #[error("incarnation {given} is not past {known}")]
    PastIncarnation {
        /// The greatest so far.
        known: Incarnation,
        /// What the node says.
        given: Incarnation,
    },
    /// The node was removed for good.
    #[error("the node was removed with this storage; its id is free for an empty one")]
    Removed,
    /// There are as many nodes as there may be.
    #[error("there are {limit} nodes already")]
    TooManyNodes {
        /// How many there may be.
        limit: u64,
    },
    /// A host or rack is too long.
    #[error("a host or rack is longer than {limit} bytes")]
    TooLong {
        /// How long it may be.
        limit: u64,
    },
    /// The disk belonged to a node that was removed, and another has its node id.
    #[error("this storage was removed; node {owner} had it")]
    StorageSpent {
        /// Whose it was.
        owner: NodeId,
    },
    /// As many disks were removed and replaced as are remembered.
    #[error("{limit} storages were removed already: take a node id that is not used")]
    TooManyStorages {
        /// How many may be.
        limit: u64,
    },
}

/// Why a node was not fenced. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum FenceRefusal {
    /// There is no such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// What was asked for.
        node: NodeId,
    },
    /// That life is over, or has not begun.
    #[error("incarnation {given} is not the present one, which is {known}")]
    OtherIncarnation {
        /// The present one.
        known: Incarnation,
        /// The one to be fenced.
        given: Incarnation,
    },
    /// It is fenced: the command came again, or another controller was first.
    #[error("the node is fenced")]
    Already,
    /// The node was removed for good.
    #[error("the node was removed")]
    Removed,
}

/// Why a node was not drained, undrained or removed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NodeStateRefusal {
    /// There is no such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// What was asked for.
        node: NodeId,
    },
    /// The node was started anew since it was looked at.
    #[error("incarnation {known} is the present one, not {given}")]
    OtherIncarnation {
        /// The present one.
        known: Incarnation,
        /// The expected one.
        given: Incarnation,
    },
    /// The node was removed for good.
    #[error("the node was removed")]
    Removed,
    /// Only a node that drains, or is fenced, is removed.
    #[error("the node takes part: it is drained before it is removed")]
    Active,
    /// Segments name it.
    #[error(
        "the node leads {} segments and is a member of {} open and {} sealed ones{}",
        .0.leads, .0.open, .0.sealed, .0.one.map_or_else(String::new, |id| format!(", as of {id}"))
    )]
    Needed(Holding),
}

/// Why the members of a segment were not set. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum MembersRefusal {
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// It is not in the chain: pruned, or it never was.
    #[error("there is no such segment")]
    UnknownSegment,
    /// It is open, and has its members until it is sealed.
    #[error("the segment is open")]
    Open,
    /// Others hold it than were expected.
    #[error("the segment has other members")]
    OtherMembers,
    /// It cannot be stored so.
    #[error(transparent)]
    Placement(#[from] PlacementRefusal),
    /// None of those before stays.
    #[error("none of its members stays")]
    NoneStays,
    /// It has another digest. Whose copy is right must be found out before one goes.
    #[error("the segment's digest is {known}, not {given}")]
    OtherDigest {
        /// What was set.
        known: Digest,
        /// What was given.
        given: Digest,
    },
}

/// Why a partition is not assigned so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AssignRefusal {
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// Somebody else assigned it meanwhile, or it arrived.
    #[error("the partition is assigned otherwise meanwhile")]
    OtherAssignment,
    /// No nodes, too many, or one twice.
    #[error("a partition is assigned to 1 to {limit} nodes, all different")]
    Nodes {
        /// The most there may be.
        limit: u64,
    },
    /// A node that it names is not in the cluster.
    #[error("{node} is not in the cluster")]
    UnknownNode {
        /// Which.
        node: NodeId,
    },
}

/// Why an operation was not begun or ended. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum OperationRefusal {
    /// There is no such operation, or it ended long ago.
    #[error("there is no operation {id}")]
    Unknown {
        /// What was asked for.
        id: OperationId,
    },
    /// It has ended: the command came again, or another controller was first.
    #[error("operation {id} has ended")]
    Ended {
        /// Which.
        id: OperationId,
    },
    /// Another operation is changing the same thing.
    #[error("operation {id} is under way there")]
    Busy {
        /// Which.
        id: OperationId,
    },
    /// As many run as may.
    #[error("{limit} operations are running already")]
    TooMany {
        /// How many may.
        limit: u64,
    },
    /// No partitions, or too many.
    #[error("an operation rolls over 1 to {limit} partitions")]
    Targets {
        /// The most there may be.
        limit: u64,
    },
    /// Who, or why, is too long.
    #[error("who asks has {actor_max} bytes at most, and why {reason_max}")]
    TooLong {
        /// How long a name may be.
        actor_max: u64,
        /// How long a reason may be.
        reason_max: u64,
    },
    /// The node has another disk than was looked at.
    #[error("the node has another storage by now")]
    OtherStorage,
    /// The node's state cannot be changed so.
    #[error(transparent)]
    Node(#[from] NodeStateRefusal),
}

/// Why a segment cannot be placed so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PlacementRefusal {
    /// No members, too many, or one twice.
    #[error("a segment has 1 to {limit} members, all different")]
    Members {
        /// The most there may be.
        limit: u64,
    },
    /// Fewer members than the topic wants and the active nodes allow.
    #[error("{given} members are fewer than {least}")]
    TooFew {
        /// How many were named.
        given: u64,
        /// How many there must be.
        least: u64,
    },
    /// A member is not registered with that storage, or removed.
    #[error("node {node} is not registered with storage {storage}")]
    UnknownMember {
        /// The node.
        node: NodeId,
        /// The disk that was named with it.
        storage: StorageId,
    },
    /// The leader is none of the members.
    #[error("leader {node} is no member")]
    LeaderNoMember {
        /// Who.
        node: NodeId,
    },
    /// The leader was started anew since, or is fenced: that life may write nothing more.
    #[error("incarnation {given} of {node} is past; {known} is the present one")]
    PastIncarnation {
        /// Who.
        node: NodeId,
        /// Its present life.
        known: Incarnation,
        /// The life that was named.
        given: Incarnation,
    },
    /// A write quorum that two halves could have at once, or nobody.
    #[error("a write quorum of {w} does not fit {members} members")]
    Quorum {
        /// What was named.
        w: u8,
        /// How many members there are.
        members: u64,
    },
    /// Nothing could be committed to it.
    #[error("{live} of the members are not fenced, and {w} must have a batch")]
    Dead {
        /// How many are neither fenced nor removed.
        live: u64,
        /// The write quorum.
        w: u8,
    },
}

impl PlacementRefusal {
    /// Whether nodes that came or went after the placement was made may be why. Made anew from the
    /// metadata that refused it, it may fit.
    pub fn is_overtaken(&self) -> bool {
        match self {
            Self::TooFew { .. }
            | Self::UnknownMember { .. }
            | Self::PastIncarnation { .. }
            | Self::Dead { .. } => true,
            Self::Members { .. } | Self::LeaderNoMember { .. } | Self::Quorum { .. } => false,
        }
    }
}

/// There is no topic of that id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("there is no topic {topic}")]
pub struct UnknownTopic {
    /// What was asked for.
    pub topic: TopicId,
}

/// Why a topic was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CreateRefusal {
    /// Letters, digits, `.`, `_` and `-`, up to a limit; not `.` or `..`.
    #[error("the name is not one a topic may have")]
    Name,
    /// The name is taken.
    #[error("the name belongs to topic {id}")]
    NameTaken {
        /// By this topic.
        id: TopicId,
    },
    /// The id is taken: the command came again, or ids are not random.
    #[error("the id is taken")]
    IdTaken,
    /// None, or too many.
    #[error(transparent)]
    Count(#[from] PartitionCountRefusal),
    /// A segment cannot be placed so.
    #[error("partition {partition}: {why}")]
    Placement {
        /// Which partition's.
        partition: u32,
        /// Why not.
        why: PlacementRefusal,
    },
    /// Configs past their bounds.
    #[error(transparent)]
    Configs(#[from] ConfigBounds),
    /// The target replication factor is 0, or greater than a segment may have members.
    #[error("a replication factor must lie in 1 to {limit}")]
    ReplicasTarget {
        /// The greatest.
        limit: u64,
    },
    /// The name was used for as many segments as there are epochs.
    #[error("the name has no epochs left")]
    EpochsSpent,
}

/// Why a topic cannot have so many partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PartitionCountRefusal {
    /// Not even one.
    #[error("at least one partition is needed")]
    None,
    /// More than a topic may have.
    #[error("a topic may have {limit} partitions")]
    Topic {
        /// How many.
        limit: u64,
    },
    /// More than the cluster may have.
    #[error("the cluster may have {limit} partitions")]
    Cluster {
        /// How many.
        limit: u64,
    },
}

/// Why partitions were not added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum AddRefusal {
    /// There is no such topic.
    #[error(transparent)]
    UnknownTopic(#[from] UnknownTopic),
    /// It does not have the number of partitions that was expected.
    #[error("the topic has {found} partitions")]
    OtherCount {
        /// How many it has.
        found: u64,
    },
    /// None, or too many.
    #[error(transparent)]
    Count(#[from] PartitionCountRefusal),
    /// A segment cannot be placed so.
    #[error("partition {partition}: {why}")]
    Placement {
        /// Which partition's.
        partition: u32,
        /// Why not.
        why: PlacementRefusal,
    },
}

/// Configs past what is kept. What a value means is not judged here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ConfigBounds {
    /// Too many for one resource.
    #[error("more than {limit} configs")]
    Count {
        /// How many there may be.
        limit: u64,
    },
    /// An empty name or one that is too long.
    #[error("a config's name has 1 to {limit} bytes")]
    Key {
        /// How long it may be.
        limit: u64,
    },
    /// A value that is too long.
    #[error("a config's value has at most {limit} bytes")]
    Value {
        /// How long it may be.
        limit: u64,
    },
}

/// Why configs were not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum ConfigRefusal {
    /// There is no such topic.
    #[error(transparent)]
    UnknownTopic(#[from] UnknownTopic),
    /// There is no such node.
    #[error("there is no node {node}")]
    UnknownNode {
        /// What was asked for.
        node: NodeId,
    },
    /// Past their bounds.
    #[error(transparent)]
    Bounds(#[from] ConfigBounds),
}

/// Why a segment was not sealed. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RollRefusal {
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// Another segment is open: this one was sealed already, or never was.
    #[error("epoch {current} is open")]
    OtherEpoch {
        /// What is open.
        current: Epoch,
    },
    /// The end lies before the base or the log start, or does not go with the bytes.
    #[error("a segment from {base} with log start {log_start} cannot end so")]
    End {
        /// The segment's base.
        base: Offset,
        /// The partition's log start.
        log_start: Offset,
    },
    /// The successor cannot be placed so.
    #[error(transparent)]
    Placement(#[from] PlacementRefusal),
    /// The partition has used as many segments as there are epochs.
    #[error("the partition has no epochs left")]
    EpochsSpent,
    /// Who is said to hold the segment does not go with its members or the reason.
    #[error(transparent)]
    Coverage(#[from] CoverageRefusal),
    /// Its leader is not fenced, and only that one seals it.
    #[error("incarnation {incarnation} of {node} is not fenced")]
    LeaderLives {
        /// Who leads.
        node: NodeId,
        /// In which life.
        incarnation: Incarnation,
    },
}

/// What is wrong with what is said of who holds a segment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum CoverageRefusal {
    /// One is no member, or there twice.
    #[error("holders are members, each once")]
    Holders,
    /// A narrow seal is held by one member at least and fewer than a write quorum.
    #[error(
        "a narrow seal has fewer holders than the {w} that commit, and one at least: not {given}"
    )]
    Count {
        /// How many hold it.
        given: u64,
        /// The write quorum of the segment.
        w: u8,
    },
    /// Only what is sealed in its leader's place is lossy, an unsafe seal always is, and what was
    /// seen is not below the end.
    #[error("a lossy seal is a forced one, and was seen up to its end at least")]
    Loss,
}

/// Why a log start was not raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum PruneRefusal {
    /// There is no such partition.
    #[error("there is no such partition")]
    UnknownPartition,
    /// Another segment is open.
    #[error("epoch {current} is open")]
    OtherEpoch {
        /// What is open.
        current: Epoch,
    },
}

/// All producer ids are handed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("no producer ids are left")]
pub struct ProducerIdsSpent;
