//! What the cluster is doing because somebody asked for it, and what it did of late.

use serde::{Deserialize, Serialize};
use walrus_types::{OperationId, PlanId, TimestampMs};

use crate::{document::Kind, error::ApiError};

/// How an operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum OperationState {
    /// It goes on, whoever is the controller.
    Running,
    /// All of it was done.
    Done,
    /// Somebody took it back; what was done stays.
    Cancelled,
    /// It cannot be done any more.
    Failed,
    /// A state that this version does not know.
    #[serde(other)]
    Other,
}

impl OperationState {
    /// As JSON has it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::Other => "other",
        }
    }
}

/// An operation, as any node sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operation {
    /// Its number.
    pub id: OperationId,
    /// The plan that it carries out.
    pub plan: PlanId,
    /// What is done: drain, undrain, remove, rollover, `transfer_raft`, `unsafe_seal`.
    pub verb: String,
    /// To what.
    pub subject: String,
    /// How it stands.
    pub state: OperationState,
    /// Who asked for it, as they said.
    pub actor: String,
    /// Why, as they said.
    pub reason: String,
    /// When it began.
    pub began_at_ms: TimestampMs,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at_ms: Option<TimestampMs>,
    /// How far it is, out of `total`.
    pub done: u64,
    /// Segments that are moved, rolled or copied; 1 where it is one step.
    pub total: u64,
    /// How long it takes from now on, if it goes on as so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_ms: Option<u64>,
    /// What it waits for while it runs, in one sentence; what came of it after that.
    pub now: String,
    /// What keeps it from going on until somebody does something.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blockers: Vec<ApiError>,
}

impl Operation {
    /// What is done and to what, in words.
    #[must_use]
    pub fn what(&self) -> String {
        format!("{} {}", self.verb.replace('_', " "), self.subject)
    }
}

impl Kind for Operation {
    const KIND: &'static str = "Operation";
}

/// The running operations and the last that ended, newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OperationList {
    /// The metadata's index that this is of.
    pub metadata_version: u64,
    /// They.
    pub items: Vec<Operation>,
}

impl Kind for OperationList {
    const KIND: &'static str = "OperationList";
}

/// Takes an operation back. What it did stays; a node that it was to empty takes part again.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct CancelRequest {
    /// Who asks, for the record.
    pub actor: String,
}
