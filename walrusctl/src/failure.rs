//! How a command fails: what, why and what next, and the exit status that says the same.

use std::{fmt, process::ExitCode};

use serde_json::json;
use walrus_admin::{API_VERSION, ApiError, Code, client::ClientError};

/// The exit statuses; `--help` explains them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It failed.
    Failed = 1,
    /// Wrong usage, or nobody to answer a question.
    Usage = 2,
    /// No such thing.
    NotFound = 3,
    /// Not allowed.
    Forbidden = 4,
    /// No node answered in time.
    Unreachable = 5,
    /// Something stands against it.
    Refused = 6,
    /// The cluster is not well.
    Unhealthy = 7,
    /// Still under way.
    Running = 8,
    /// SIGINT.
    Interrupted = 130,
    /// Nobody reads.
    Pipe = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit status.
    pub exit: Exit,
    /// For programs.
    pub code: String,
    /// What and why, in a sentence.
    pub message: String,
    /// What to do next.
    pub next: Option<String>,
}

impl Failure {
    /// Without a next step.
    pub fn new(exit: Exit, what: impl fmt::Display, why: impl fmt::Display) -> Self {
        let code = match exit {
            Exit::Failed => "failed",
            Exit::Usage => "usage",
            Exit::NotFound => "not_found",
            Exit::Forbidden => "forbidden",
            Exit::Unreachable => "unreachable",
            Exit::Refused => "refused",
            Exit::Unhealthy => "unhealthy",
            Exit::Running => "under_way",
            Exit::Interrupted => "interrupted",
            Exit::Pipe => "pipe",
        };
        Self { exit, code: code.into(), message: format!("{what}: {why}"), next: None }
    }

    /// With a next step.
    #[must_use]
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// The user does not want to wait any more.
    pub fn interrupted(under_way: Option<String>) -> Self {
        let what = under_way.unwrap_or_else(|| "nothing was under way".into());
        Self::new(Exit::Interrupted, "interrupted", what)
    }

    /// What stands on standard error with `-o json`.
    pub fn to_json(&self) -> serde_json::Value {
        let Self { exit, code, message, next } = self;
        let mut error = json!({ "code": code, "message": message, "exit_status": *exit as u8 });
        if let Some(next) = next {
            error["hint"] = json!(next);
        }
        json!({ "apiVersion": API_VERSION, "kind": "Error", "error": error })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.next {
            Some(next) => write!(f, "\n  next: {next}"),
            None => Ok(()),
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        let exit = match error.code {
            Code::NotFound => Exit::NotFound,
            Code::Forbidden => Exit::Forbidden,
            Code::Starting
            | Code::Stopping
            | Code::Unavailable
            | Code::Unknown
            | Code::NotLeader => Exit::Unreachable,
            Code::NoCluster
            | Code::InCluster
            | Code::LastNode
            | Code::Quorum
            | Code::LastCopy
            | Code::NotDrained
            | Code::Needed
            | Code::LeadsRaft
            | Code::NotAVoter
            | Code::Lags
            | Code::Changed
            | Code::NotBlocked
            | Code::Expired
            | Code::NotConfirmed
            | Code::Busy
            | Code::Ended => Exit::Refused,
            Code::BadRequest
            | Code::TooLarge
            | Code::UnsupportedMediaType
            | Code::MethodNotAllowed
            | Code::Internal
            | Code::Other => Exit::Failed,
        };
        Self { exit, code: error.code.name(), message: error.message, next: error.hint }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        match error {
            ClientError::Refused { error, .. } => error.into(),
            ClientError::Unreachable { .. } => Self::new(
                Exit::Unreachable,
                "no node answers",
                error,
            )
            .next(
                "look whether walrusd runs there, or name another node: --endpoint HOST:ADMINPORT",
            ),
            ClientError::NoAnswer { .. } => Self {
                code: "no_answer".into(),
                ..Self::new(Exit::Unreachable, "no node answers", error)
            }
            .next("look how it stands (walrusctl cluster health), and ask again"),
            ClientError::NotUnderstood { .. } => Self {
                code: "not_understood".into(),
                ..Self::new(Exit::Failed, "no answer that can be read", error)
            }
            .next("look whether this is the admin port of a walrusd of this version"),
        }
    }
}
