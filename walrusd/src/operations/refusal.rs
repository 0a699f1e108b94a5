//! What is refused, and why, as operators read it: one place for what the metadata and its group say.

use walrus_admin::{ApiError, Code};
use walrus_metadata::OperationRefusal;
use walrus_raft::{MembershipError, ProposeError};

/// A command that was not applied, or may not have been.
pub fn not_proposed(why: &ProposeError) -> ApiError {
    let (code, hint) = match why {
        ProposeError::Unknown => (Code::Unknown, "look how it stands, and ask again"),
        ProposeError::NotLeader { .. } | ProposeError::Full => {
            (Code::Unavailable, "ask again; see walrusctl raft status")
        }
        ProposeError::TooLarge { .. } => (Code::Internal, "ask for less at once"),
        ProposeError::Stopped(_) => (Code::Stopping, "ask another node"),
    };
    ApiError::new(code, why.to_string()).hint(hint)
}

/// A change of the metadata group that was not made, or may not have been.
pub fn membership_unchanged(why: &MembershipError) -> ApiError {
    let code = match why {
        MembershipError::NotLeader | MembershipError::UnderWay => Code::Unavailable,
        MembershipError::Refused(_) => Code::Quorum,
        MembershipError::Unknown(_) => Code::Unknown,
    };
    ApiError::new(code, why.to_string()).hint("look at walrusctl raft status, and ask again")
}

/// An answer that no command of this kind gives.
pub fn unexpected(reply: &impl std::fmt::Debug) -> ApiError {
    ApiError::new(Code::Internal, format!("the metadata answered {reply:?}"))
}

/// What a task that looked at everything failed with.
pub fn broken_off(why: &tokio::task::JoinError) -> ApiError {
    ApiError::new(Code::Internal, format!("the answer could not be put together: {why}"))
}

/// An operation that was not begun or ended.
pub fn not_begun(refused: &OperationRefusal) -> ApiError {
    let (code, hint) = match refused {
        OperationRefusal::Unknown { .. } => (Code::NotFound, "walrusctl op list".to_owned()),
        OperationRefusal::Ended { id } => (Code::Ended, format!("walrusctl op get {id}")),
        OperationRefusal::Busy { id } => {
            (Code::Busy, format!("walrusctl op wait {id}, or walrusctl op cancel {id}"))
        }
        OperationRefusal::TooMany { .. } => {
            (Code::Busy, "wait until one has ended: walrusctl op list".to_owned())
        }
        OperationRefusal::Targets { .. } => (Code::BadRequest, "name fewer".to_owned()),
        OperationRefusal::TooLong { .. } => (Code::BadRequest, "say it in fewer words".to_owned()),
        OperationRefusal::OtherStorage | OperationRefusal::Node(_) => {
            (Code::Changed, "look again: walrusctl node list".to_owned())
        }
    };
    ApiError::new(code, refused.to_string()).hint(hint)
}
