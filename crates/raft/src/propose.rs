//! Proposals, and how many of them there may be at once.
//!
//! The ring that holds the log must never be full: the marker that makes room in it is written to
//! it. So a proposal waits while half of the ring is in use, and those under way take an eighth
//! at most, each counted as if it had a group of its own. The rest is for markers, votes, and the
//! file of the ring that is only partly free.

use std::{sync::Arc, time::Duration};

use openraft::{
    Raft,
    errors::{ClientWriteError, Fatal, ForwardToLeader, RaftError},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use walrus_metadata::{Command, Reply};
use walrus_storage::disk::ALIGN_BYTES;

use crate::{
    config::RaftConfig,
    log::{LogStore, Pressure},
    machine::Machine,
    types::{Proposal, RaftId, RaftPeer, TypeConfig},
};

/// What a record takes in the ring beside the command's bytes, at most.
const OVERHEAD_BYTES: usize = 512;

/// Why a proposal has no reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It was not proposed: larger than an entry may be. Split it.
    #[error("a command of {bytes} bytes is over the limit of {limit}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        limit: usize,
    },
    /// It was not proposed: another member leads, or none.
    #[error("this node does not lead the metadata group; {}", .leader.as_ref().map_or_else(|| "nobody is known to".to_owned(), |(_, peer)| format!("{peer} does")))]
    NotLeader {
        /// Who does, if that is known.
        leader: Option<(RaftId, RaftPeer)>,
    },
    /// It was not proposed: the log has no room until a snapshot is taken. Try again later.
    #[error("the metadata log is full for now")]
    Full,
    /// It may have been applied, or may yet be. Only the state can tell.
    #[error("no answer from the metadata group in time; the command may still be applied")]
    Unknown,
    /// The group's core is dead, and the process must stop. The command may have been applied.
    #[error("the metadata group stopped: {0}")]
    Stopped(Arc<str>),
}

/// Puts commands into the log.
#[derive(Debug)]
pub(crate) struct Proposer {
    raft: Raft<TypeConfig, Machine>,
    log: LogStore,
    /// In units of [`ALIGN_BYTES`], the least that a group takes.
    under_way: Arc<Semaphore>,
    command_bytes_max: usize,
    patience: Duration,
}

impl Proposer {
    pub(crate) fn new(raft: Raft<TypeConfig, Machine>, log: LogStore, config: &RaftConfig) -> Self {
        // The ring keeps the size it was made with, whatever is configured.
        let ring_bytes = usize::try_from(log.wal_stats().ring_bytes).unwrap_or(usize::MAX);
        let units = (ring_bytes / 8 / ALIGN_BYTES).clamp(1, Semaphore::MAX_PERMITS >> 3);
        let fits = (units * ALIGN_BYTES).saturating_sub(OVERHEAD_BYTES);
        Self {
            raft,
            log,
            under_way: Arc::new(Semaphore::new(units)),
            command_bytes_max: config.command_bytes_max.min(fits),
            patience: config.propose_timeout,
        }
    }

    pub(crate) async fn propose(&self, command: &Command) -> Result<Reply, ProposeError> {
        let bytes = command.encode();
        if bytes.len() > self.command_bytes_max {
            let (bytes, limit) = (bytes.len(), self.command_bytes_max);
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let until = Instant::now() + self.patience;
        let room = timeout_at(until, self.room(bytes.len())).await;
        let permit = room.map_err(|_elapsed| ProposeError::Full)?;
        // On its own, so that it holds its place in the ring until it is written, even if nobody
        // waits for it any more. It ends with the core at the latest.
        let raft = self.raft.clone();
        let writing = tokio::spawn(async move {
            let written = raft.client_write(Proposal(bytes.into())).await;
            drop(permit);
            written
        });
        match timeout_at(until, writing).await {
            Ok(Ok(Ok(written))) => {
                Ok(written.data.0.expect("a command is answered with its reply, by apply"))
            }
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Waits until the ring takes so many bytes more.
    async fn room(&self, bytes: usize) -> OwnedSemaphorePermit {
        let units = (bytes + OVERHEAD_BYTES).div_ceil(ALIGN_BYTES);
        let units = u32::try_from(units).expect("a command is no longer than all places together");
        let places = Arc::clone(&self.under_way).acquire_many_owned(units).await;
        let places = places.expect("nobody closes the semaphore");
        // After the places: what had them before is in the figures now.
        self.log.gauge();
        let mut pressure = self.log.pressure();
        let room = pressure.wait_for(|pressure| *pressure != Pressure::Stop).await;
        drop(room.expect("the log holds the sender"));
        places
    }
}

pub(crate) fn stopped(fatal: &Fatal<TypeConfig>) -> ProposeError {
    ProposeError::Stopped(fatal.to_string().into())
}

fn refused(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> ProposeError {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => not_leader(forward),
        RaftError::APIError(ClientWriteError::LogEntryDiscarded(_)) => ProposeError::Unknown,
        RaftError::APIError(ClientWriteError::ChangeMembershipError(error)) => {
            unreachable!("a command is no membership change: {error}")
        }
        RaftError::APIError(ClientWriteError::PreconditionFailed(error)) => {
            unreachable!("a command has no precondition: {error}")
        }
        RaftError::Fatal(fatal) => stopped(&fatal),
    }
}

fn not_leader(forward: ForwardToLeader<TypeConfig>) -> ProposeError {
    ProposeError::NotLeader { leader: forward.leader_id.zip(forward.leader_node) }
}
