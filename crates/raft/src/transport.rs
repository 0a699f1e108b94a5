//! How a member's requests reach another one. The sockets are the shell's; what the bytes say is
//! in `message.rs`.

use std::{fmt, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::types::{RaftId, RaftPeer};

/// Whom a request is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The member. Whoever answers at the address with another disk must not be asked.
    pub member: RaftId,
    /// Where it is.
    pub peer: RaftPeer,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (storage {})", self.peer, self.member)
    }
}

/// What must not wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Short and urgent: appends, votes, proposals.
    Control,
    /// Long: snapshots.
    Bulk,
    /// What a leader pushes to the members of its segments, and nothing else.
    Append,
    /// What is read from one member for another: long, and waited for by nobody but a copy.
    Copy,
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It did not leave this node, so nobody acted on it.
    #[error("not sent: {0}")]
    NotSent(String),
    /// It may have arrived, and may yet be acted on.
    #[error("no answer: {0}")]
    NoAnswer(String),
}

/// Carries requests to members and brings their answers.
pub trait Transport: fmt::Debug + Send + Sync + 'static {
    /// Sends `request` and waits for the answer, `limit` at most.
    fn call(
        &self,
        to: Destination,
        lane: Lane,
        request: Bytes,
        limit: Duration,
    ) -> BoxFuture<'_, Result<Bytes, CallError>>;
}

/// For a group that will never have a second member.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alone;

impl Transport for Alone {
    fn call(
        &self,
        to: Destination,
        _lane: Lane,
        _request: Bytes,
        _limit: Duration,
    ) -> BoxFuture<'_, Result<Bytes, CallError>> {
        let why = format!("this group has no way to other members, and {to} is one");
        Box::pin(std::future::ready(Err(CallError::NotSent(why))))
    }
}
