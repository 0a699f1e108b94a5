//! What is refused, and why: one code a program can go by, one sentence and one next step for
//! people.

use serde::{Deserialize, Serialize};

/// What a refusal is. Names are for ever; a client of an older version reads a new one as
/// [`Code::Other`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is malformed.
    BadRequest,
    /// The request is too long.
    TooLarge,
    /// The body is no JSON by its own account.
    UnsupportedMediaType,
    /// A page in a browser asked.
    Forbidden,
    /// There is no such path, node, topic or partition.
    NotFound,
    /// The path takes other methods.
    MethodNotAllowed,
    /// The node does not serve yet.
    Starting,
    /// The node stops.
    Stopping,
    /// The node is in no cluster yet.
    NoCluster,
    /// The node is in a cluster already.
    InCluster,
    /// Another node has to be asked. No node of this version says so: it asks that one itself.
    NotLeader,
    /// The metadata group does not answer.
    Unavailable,
    /// It may or may not have happened.
    Unknown,
    /// It is the only node that takes part.
    LastNode,
    /// The metadata group would lose its quorum.
    Quorum,
    /// A segment has no other copy.
    LastCopy,
    /// The node takes part: it has to be drained first.
    NotDrained,
    /// Segments still name the node.
    Needed,
    /// The node leads the metadata group: that has to move first.
    LeadsRaft,
    /// The node has no vote in the metadata group.
    NotAVoter,
    /// The node lacks too much of the metadata log.
    Lags,
    /// What was looked at is not so any more: a node was started anew, a plan would come to
    /// something else.
    Changed,
    /// There is no such plan any more: it expired, or another controller made it.
    Expired,
    /// What is dangerous was not confirmed by its name.
    NotConfirmed,
    /// Another operation is under way there.
    Busy,
    /// The operation has ended.
    Ended,
    /// Nothing keeps the partition from being sealed as it should be.
    NotBlocked,
    /// A fault of the node.
    Internal,
    /// A code that this version does not know.
    #[serde(other)]
    Other,
}

impl Code {
    /// The HTTP status that carries it.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::InCluster
            | Self::LastNode
            | Self::Quorum
            | Self::LastCopy
            | Self::NotDrained
            | Self::Needed
            | Self::LeadsRaft
            | Self::NotAVoter
            | Self::Lags
            | Self::Changed
            | Self::Expired
            | Self::NotConfirmed
            | Self::Busy
            | Self::Ended
            | Self::NotBlocked => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::NotLeader => 421,
            Self::Internal | Self::Other => 500,
            Self::Starting | Self::Stopping | Self::NoCluster | Self::Unavailable => 503,
            Self::Unknown => 504,
        }
    }

    /// As JSON has it.
    pub fn name(self) -> String {
        match serde_json::to_value(self) {
            Ok(serde_json::Value::String(name)) => name,
            Ok(_) | Err(_) => unreachable!("a code without fields is a text in JSON"),
        }
    }
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct ApiError {
    /// For programs.
    pub code: Code,
    /// What and why, in one sentence.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

impl ApiError {
    /// Without a next step.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None }
    }

    /// With a next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ErrorDocument {
    /// What was refused.
    pub error: ApiError,
    /// What there is, for whoever asked for something else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_that_came_later_is_read_as_another_one() {
        let read: ApiError =
            serde_json::from_str(r#"{"code":"of_tomorrow","message":"m"}"#).unwrap();
        assert_eq!((read.code, read.hint), (Code::Other, None));
        let known = serde_json::to_string(&ApiError::new(Code::LastNode, "m")).unwrap();
        assert_eq!(known, r#"{"code":"last_node","message":"m"}"#);
        assert_eq!(Code::NotAVoter.name(), "not_a_voter");
    }
}
