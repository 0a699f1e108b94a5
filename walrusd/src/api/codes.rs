//! The one place where our errors become Kafka's codes.
//!
//! Every match is exhaustive: a new variant does not compile until someone has thought about
//! what a client does with it.

use walrus_admin::{ApiError, Code};
use walrus_groups::{GroupError, OffsetError};
use walrus_metadata::{
    AddRefusal, AssignRefusal, CreateRefusal, PartitionCountRefusal, PlacementRefusal,
    ProducerIdsSpent, PruneRefusal, Reply, UnknownTopic,
};
use walrus_raft::ProposeError;
use walrus_replication::{OffsetOutOfRange, SequenceError, placement};
use walrus_types::batch::BatchError;
use walrus_wire::kafka_protocol::{error::ResponseError, protocol::StrBytes};

use crate::{
    groups::Unready,
    partition::{AppendFailure, read::FetchFailure, registry::Unavailable},
    topic_config::ConfigRefusal,
};

/// An error as a client gets it: a code, and words for a person.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// What the client acts on.
    pub code: ResponseError,
    /// What a person reads, where the answer has room for it.
    pub message: String,
}

impl Refusal {
    /// A code with its words.
    pub fn new(code: ResponseError, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What a client gets for a name that no topic has.
    pub fn unknown_topic() -> Self {
        Self::new(ResponseError::UnknownTopicOrPartition, "there is no topic of that name")
    }

    /// What a client gets for an id that no topic has.
    pub fn unknown_topic_id() -> Self {
        Self::new(ResponseError::UnknownTopicId, "there is no topic of that id")
    }

    /// A request that contradicts itself or asks for what cannot be.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ResponseError::InvalidRequest, message)
    }

    /// The metadata answered to another question than was asked, or to none of so great a list:
    /// our mistake.
    pub fn unexpected(reply: &Reply) -> Self {
        let message = format!("the metadata gave an answer that does not fit: {reply:?}");
        Self::new(ResponseError::UnknownServerError, message)
    }

    /// The words, for an answer that has room for them.
    pub fn words(&self) -> Option<StrBytes> {
        Some(StrBytes::from_string(self.message.clone()))
    }
}

/// A batch that is not sound. Kafka tells damage (retriable) from what a retry cannot mend.
impl From<BatchError> for Refusal {
    fn from(error: BatchError) -> Self {
        let code = match error {
            BatchError::Length(_) | BatchError::Crc { .. } => ResponseError::CorruptMessage,
            // For Kafka what is not a whole batch of its format is none at all.
            BatchError::Truncated { .. } | BatchError::Magic(0 | 1) => ResponseError::InvalidRecord,
            BatchError::Magic(_) => ResponseError::CorruptMessage,
            BatchError::Codec(_) => ResponseError::UnsupportedCompressionType,
            BatchError::Count { .. } => ResponseError::InvalidRecord,
        };
        Self::new(code, error.to_string())
    }
}

impl From<&AppendFailure> for Refusal {
    fn from(failure: &AppendFailure) -> Self {
        let code = match failure {
            AppendFailure::NotLeader | AppendFailure::Overtaken | AppendFailure::NoLease => {
                ResponseError::NotLeaderOrFollower
            }
            AppendFailure::Deleted => ResponseError::UnknownTopicOrPartition,
            AppendFailure::NotEnoughReplicas { .. } => ResponseError::NotEnoughReplicas,
            AppendFailure::TooFewCopiesAfterAppend => ResponseError::NotEnoughReplicasAfterAppend,
            AppendFailure::Sequence(error) => match error {
                SequenceError::InvalidEpoch { .. } => ResponseError::InvalidProducerEpoch,
                SequenceError::OutOfOrder { .. } => ResponseError::OutOfOrderSequenceNumber,
                SequenceError::DuplicateOld { .. } => ResponseError::DuplicateSequenceNumber,
                SequenceError::Malformed { .. } => ResponseError::InvalidRecord,
            },
            AppendFailure::TooLarge { .. } => ResponseError::MessageTooLarge,
            // Both are retriable and pass by themselves.
            AppendFailure::DiskFull | AppendFailure::Busy => ResponseError::KafkaStorageError,
            AppendFailure::Storage(_) => ResponseError::KafkaStorageError,
            AppendFailure::Unknown => ResponseError::RequestTimedOut,
        };
        Self::new(code, failure.to_string())
    }
}

impl From<&Unavailable> for Refusal {
    fn from(unavailable: &Unavailable) -> Self {
        let code = match unavailable {
            Unavailable::Unknown => ResponseError::UnknownTopicOrPartition,
            Unavailable::UnknownId => ResponseError::UnknownTopicId,
            Unavailable::NotLeader | Unavailable::NoLease | Unavailable::Sealing => {
                ResponseError::NotLeaderOrFollower
            }
            Unavailable::Loading(_) => ResponseError::KafkaStorageError,
        };
        Self::new(code, unavailable.to_string())
    }
}

impl From<&Unready> for Refusal {
    fn from(unready: &Unready) -> Self {
        let code = match unready {
            Unready::NoTopic(_) | Unready::Failed(_) => ResponseError::CoordinatorNotAvailable,
            Unready::NotHere(_) => ResponseError::NotCoordinator,
            Unready::Loading => ResponseError::CoordinatorLoadInProgress,
        };
        Self::new(code, unready.to_string())
    }
}

impl From<&GroupError> for Refusal {
    fn from(error: &GroupError) -> Self {
        let code = match error {
            GroupError::InvalidName => ResponseError::InvalidGroupId,
            GroupError::InvalidSessionTimeout => ResponseError::InvalidSessionTimeout,
            GroupError::UnknownMember => ResponseError::UnknownMemberId,
            GroupError::MemberIdRequired => ResponseError::MemberIdRequired,
            GroupError::FencedInstance => ResponseError::FencedInstanceId,
            GroupError::IllegalGeneration => ResponseError::IllegalGeneration,
            GroupError::InconsistentProtocol => ResponseError::InconsistentGroupProtocol,
            GroupError::Rebalancing => ResponseError::RebalanceInProgress,
            GroupError::GroupFull => ResponseError::GroupMaxSizeReached,
            GroupError::TooManyGroups => ResponseError::PolicyViolation,
            GroupError::TooLarge => ResponseError::MessageTooLarge,
            GroupError::CommitTooLarge => ResponseError::InvalidCommitOffsetSize,
            GroupError::NotAvailable => ResponseError::CoordinatorNotAvailable,
            GroupError::NotCoordinator => ResponseError::NotCoordinator,
            // A client asks the same node again, as it should.
            GroupError::Busy => ResponseError::CoordinatorLoadInProgress,
            GroupError::TimedOut => ResponseError::RequestTimedOut,
            GroupError::NotFound => ResponseError::GroupIdNotFound,
            GroupError::NonEmpty => ResponseError::NonEmptyGroup,
        };
        Self::new(code, error.to_string())
    }
}

impl From<&OffsetError> for Refusal {
    fn from(error: &OffsetError) -> Self {
        let code = match error {
            OffsetError::MetadataTooLarge => ResponseError::OffsetMetadataTooLarge,
            OffsetError::TooManyOffsets => ResponseError::PolicyViolation,
            OffsetError::Subscribed => ResponseError::GroupSubscribedToTopic,
        };
        Self::new(code, error.to_string())
    }
}

impl From<&placement::Refusal> for Refusal {
    fn from(refusal: &placement::Refusal) -> Self {
        let code = match refusal {
            placement::Refusal::NobodyLives
            | placement::Refusal::LeaderGone(_)
            | placement::Refusal::CutOff { .. } => ResponseError::BrokerNotAvailable,
            placement::Refusal::NotAble(_) => ResponseError::PreferredLeaderNotAvailable,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<&FetchFailure> for Refusal {
    fn from(failure: &FetchFailure) -> Self {
        let code = match failure {
            FetchFailure::OutOfRange { .. } => ResponseError::OffsetOutOfRange,
            FetchFailure::EpochFenced { .. } => ResponseError::FencedLeaderEpoch,
            FetchFailure::EpochUnknown { .. } => ResponseError::UnknownLeaderEpoch,
            FetchFailure::Damaged(_) => ResponseError::CorruptMessage,
            FetchFailure::Storage(_) => ResponseError::KafkaStorageError,
            FetchFailure::Unavailable(unavailable) => return Self::from(unavailable),
        };
        Self::new(code, failure.to_string())
    }
}

impl From<&ConfigRefusal> for Refusal {
    fn from(refusal: &ConfigRefusal) -> Self {
        let code = match refusal {
            ConfigRefusal::Unknown(_)
            | ConfigRefusal::Invalid { .. }
            | ConfigRefusal::Fixed { .. } => ResponseError::InvalidConfig,
        };
        Self::new(code, refusal.to_string())
    }
}

/// All but two pass by themselves, and a client that tries again finds out whether the change was
/// made.
impl From<ProposeError> for Refusal {
    fn from(error: ProposeError) -> Self {
        let code = match &error {
            ProposeError::TooLarge { .. } => ResponseError::PolicyViolation,
            ProposeError::NotLeader { .. } | ProposeError::Full | ProposeError::Unknown => {
                ResponseError::RequestTimedOut
            }
            ProposeError::Stopped(_) => ResponseError::UnknownServerError,
        };
        Self::new(code, error.to_string())
    }
}

impl From<OffsetOutOfRange> for Refusal {
    fn from(error: OffsetOutOfRange) -> Self {
        Self::new(ResponseError::OffsetOutOfRange, error.to_string())
    }
}

impl From<CreateRefusal> for Refusal {
    fn from(refusal: CreateRefusal) -> Self {
        let code = match &refusal {
            CreateRefusal::Name => ResponseError::InvalidTopicException,
            CreateRefusal::NameTaken { .. } => ResponseError::TopicAlreadyExists,
            CreateRefusal::IdTaken | CreateRefusal::EpochsSpent => {
                ResponseError::UnknownServerError
            }
            CreateRefusal::Count(count) => return Self::from(count),
            CreateRefusal::Placement { why, .. } => placement_code(why),
            CreateRefusal::Configs(_) => ResponseError::InvalidConfig,
            CreateRefusal::ReplicasTarget { .. } => ResponseError::InvalidReplicationFactor,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<AddRefusal> for Refusal {
    fn from(refusal: AddRefusal) -> Self {
        let code = match &refusal {
            AddRefusal::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            AddRefusal::OtherCount { .. } => ResponseError::InvalidPartitions,
            AddRefusal::Count(count) => return Self::from(count),
            AddRefusal::Placement { why, .. } => placement_code(why),
        };
        Self::new(code, refusal.to_string())
    }
}

/// A topic's limit is about the request; the cluster's is a rule that the request ran into.
impl From<&PartitionCountRefusal> for Refusal {
    fn from(refusal: &PartitionCountRefusal) -> Self {
        let code = match refusal {
            PartitionCountRefusal::None | PartitionCountRefusal::Topic { .. } => {
                ResponseError::InvalidPartitions
            }
            PartitionCountRefusal::Cluster { .. } => ResponseError::PolicyViolation,
        };
        Self::new(code, refusal.to_string())
    }
}

/// Placements are made by brokers, and anew when nodes overtook them: what a client is told is that
/// it went on.
fn placement_code(refusal: &PlacementRefusal) -> ResponseError {
    match refusal {
        PlacementRefusal::TooFew { .. } => ResponseError::InvalidReplicationFactor,
        PlacementRefusal::UnknownMember { .. }
        | PlacementRefusal::PastIncarnation { .. }
        | PlacementRefusal::Dead { .. } => ResponseError::BrokerNotAvailable,
        PlacementRefusal::Members { .. }
        | PlacementRefusal::LeaderNoMember { .. }
        | PlacementRefusal::Quorum { .. } => ResponseError::UnknownServerError,
    }
}

impl From<AssignRefusal> for Refusal {
    fn from(refusal: AssignRefusal) -> Self {
        let code = match &refusal {
            AssignRefusal::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            AssignRefusal::OtherAssignment => ResponseError::RequestTimedOut,
            AssignRefusal::Nodes { .. } | AssignRefusal::UnknownNode { .. } => {
                ResponseError::InvalidReplicaAssignment
            }
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<UnknownTopic> for Refusal {
    fn from(_unknown: UnknownTopic) -> Self {
        Self::unknown_topic()
    }
}

impl From<walrus_metadata::ConfigRefusal> for Refusal {
    fn from(refusal: walrus_metadata::ConfigRefusal) -> Self {
        use walrus_metadata::ConfigRefusal;
        let code = match &refusal {
            ConfigRefusal::UnknownTopic(_) => ResponseError::UnknownTopicOrPartition,
            ConfigRefusal::UnknownNode { .. } => ResponseError::InvalidRequest,
            ConfigRefusal::Bounds(_) => ResponseError::InvalidConfig,
        };
        Self::new(code, refusal.to_string())
    }
}

/// Another epoch is tried again; a client sees it only when the partition rolls without end.
impl From<PruneRefusal> for Refusal {
    fn from(refusal: PruneRefusal) -> Self {
        let code = match &refusal {
            PruneRefusal::UnknownPartition => ResponseError::UnknownTopicOrPartition,
            PruneRefusal::OtherEpoch { .. } => ResponseError::RequestTimedOut,
        };
        Self::new(code, refusal.to_string())
    }
}

impl From<ProducerIdsSpent> for Refusal {
    fn from(spent: ProducerIdsSpent) -> Self {
        Self::new(ResponseError::UnknownServerError, spent.to_string())
    }
}

/// What an operator would be told, for a tool of Kafka's: with the next step, for it has no other
/// place.
impl From<&ApiError> for Refusal {
    fn from(error: &ApiError) -> Self {
        let code = match error.code {
            Code::NotFound => ResponseError::BrokerIdNotRegistered,
            Code::LastNode
            | Code::Quorum
            | Code::LastCopy
            | Code::NotDrained
            | Code::Needed
            | Code::LeadsRaft
            | Code::NotAVoter
            | Code::InCluster
            | Code::NotBlocked
            | Code::Busy
            | Code::NotConfirmed => ResponseError::PolicyViolation,
            Code::Unavailable
            | Code::Unknown
            | Code::Changed
            | Code::Lags
            | Code::Expired
            | Code::Ended => ResponseError::RequestTimedOut,
            Code::Starting | Code::Stopping | Code::NoCluster | Code::NotLeader => {
                ResponseError::BrokerNotAvailable
            }
            Code::BadRequest
            | Code::TooLarge
            | Code::UnsupportedMediaType
            | Code::Forbidden
            | Code::MethodNotAllowed => ResponseError::InvalidRequest,
            Code::Internal | Code::Other => ResponseError::UnknownServerError,
        };
        let hint = error.hint.as_ref().map_or_else(String::new, |hint| format!("; {hint}"));
        Self::new(code, format!("{}{hint}", error.message))
    }
}
