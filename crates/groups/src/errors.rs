//! Why a group's coordinator refuses.

/// Why a request about a group, or about one of its members, is refused. Nothing was changed
/// unless a variant says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// The name is empty or too long.
    #[error("a group's name has 1 to {max} bytes", max = crate::GROUP_NAME_BYTES_MAX)]
    InvalidName,
    /// Its session timeout is outside what the broker allows.
    #[error("the session timeout is outside what the broker allows")]
    InvalidSessionTimeout,
    /// The group has no such member, or there is no such group.
    #[error("the group has no such member")]
    UnknownMember,
    /// The member has to come again with the id that it was given (KIP-394).
    #[error("join again with this member id")]
    MemberIdRequired,
    /// Another member has taken the place of this instance (KIP-345).
    #[error("another member has taken the place of this instance")]
    FencedInstance,
    /// The generation is not the group's.
    #[error("the generation is not the group's")]
    IllegalGeneration,
    /// The group has another type, or nothing in common with what was offered.
    #[error("the group has no protocol in common with what was offered")]
    InconsistentProtocol,
    /// Members are being gathered: join again.
    #[error("the group rebalances")]
    Rebalancing,
    /// It has as many members as it may have.
    #[error("the group has as many members as it may have")]
    GroupFull,
    /// The coordinator has as many groups as it may have.
    #[error("the coordinator has as many groups as it may have, {max}", max = crate::GROUPS_MAX)]
    TooManyGroups,
    /// What the member brings, or the group with it, is larger than allowed.
    #[error("the member's metadata or the group with it is larger than allowed")]
    TooLarge,
    /// The commit is larger than a batch may be.
    #[error("the commit takes more than {max} bytes", max = crate::COMMIT_BYTES_MAX)]
    CommitTooLarge,
    /// The group is being deleted, or the record could not be stored now. Try again.
    #[error("the coordinator cannot do this now")]
    NotAvailable,
    /// Another node coordinates the group, or this one not any more. The change may happen or not.
    #[error("another node coordinates the group")]
    NotCoordinator,
    /// Too many changes wait for their records. Try again.
    #[error("the coordinator has too much under way")]
    Busy,
    /// The record was not confirmed in time. The change may happen or not.
    #[error("the change was not confirmed in time; it may still be")]
    TimedOut,
    /// There is no such group.
    #[error("there is no such group")]
    NotFound,
    /// It has members.
    #[error("the group has members")]
    NonEmpty,
}

/// Why one offset of a request was passed over; the others were not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OffsetError {
    /// Its metadata is too long.
    #[error("the metadata is longer than offset.metadata.max.bytes")]
    MetadataTooLarge,
    /// The coordinator keeps as many offsets as it may.
    #[error("the coordinator keeps as many offsets as it may, {max}", max = crate::OFFSETS_MAX)]
    TooManyOffsets,
    /// A member of the group reads this topic.
    #[error("the group is subscribed to the topic")]
    Subscribed,
}
