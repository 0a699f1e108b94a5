//! Proposals: into the own log where this member leads, else to who does; and how many of them
//! there may be at once.
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
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::{Instant, sleep, timeout_at},
};
use walrus_metadata::{Command, Metadata, Reply};
use walrus_storage::disk::ALIGN_BYTES;

use crate::{
    config::RaftConfig,
    log::{LogStore, Pressure},
    machine::Machine,
    message::{self, NotProposed, Proposed, Request, Response},
    transport::{CallError, Destination, Lane, Transport},
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

/// Before a member that knows of no leader, or whose leader sent it away, looks again.
pub(crate) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Puts commands into the log, wherever its leader is.
#[derive(Debug, Clone)]
pub(crate) struct Proposer {
    raft: Raft<TypeConfig, Machine>,
    log: LogStore,
    views: watch::Receiver<Arc<Metadata>>,
    transport: Arc<dyn Transport>,
    /// In units of [`ALIGN_BYTES`], the least that a group takes.
    under_way: Arc<Semaphore>,
    command_bytes_max: usize,
    patience: Duration,
}

impl Proposer {
    pub(crate) fn new(
        raft: Raft<TypeConfig, Machine>,
        log: LogStore,
        views: watch::Receiver<Arc<Metadata>>,
        transport: Arc<dyn Transport>,
        config: &RaftConfig,
    ) -> Self {
        // The ring keeps the size it was made with, whatever is configured.
        let ring_bytes = usize::try_from(log.wal_stats().ring_bytes).unwrap_or(usize::MAX);
        let units = (ring_bytes / 8 / ALIGN_BYTES).clamp(1, Semaphore::MAX_PERMITS >> 3);
        let fits = (units * ALIGN_BYTES).saturating_sub(OVERHEAD_BYTES);
        Self {
            raft,
            log,
            views,
            transport,
            under_way: Arc::new(Semaphore::new(units)),
            command_bytes_max: config.command_bytes_max.min(fits),
            patience: config.propose_timeout,
        }
    }

    pub(crate) fn state(&self) -> Arc<Metadata> {
        Arc::clone(&self.views.borrow())
    }

    /// Proposes until it is known what became of it or the time is up. The effect is in this
    /// member's own view when it returns.
    pub(crate) async fn propose(&self, command: &Command) -> Result<Reply, ProposeError> {
        let proposal = Proposal(command.encode().into());
        let until = Instant::now() + self.patience;
        let Proposed { index, reply } = loop {
            let leader = match self.propose_here(proposal.clone(), until).await {
                Err(ProposeError::NotLeader { leader }) => leader,
                known => break known?,
            };
            if let Some(to) = self.other(leader.clone())
                && let Some(known) = self.propose_there(to, proposal.clone(), until).await
            {
                break known?;
            }
            if Instant::now() + LOOK_AGAIN >= until {
                return Err(ProposeError::NotLeader { leader });
            }
            sleep(LOOK_AGAIN).await;
        };
        let mut views = self.views.clone();
        let applied = timeout_at(until, views.wait_for(|view| view.applied() >= index)).await;
        match applied {
            Ok(Ok(_view)) => Ok(reply),
            // It is decided, but who looks at this member's view would not see it.
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// Proposes to this member's own log, if it leads.
    pub(crate) async fn propose_here(
        &self,
        proposal: Proposal,
        until: Instant,
    ) -> Result<Proposed, ProposeError> {
        if proposal.0.len() > self.command_bytes_max {
            let (bytes, limit) = (proposal.0.len(), self.command_bytes_max);
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let room = timeout_at(until, self.room(proposal.0.len())).await;
        let permit = room.map_err(|_elapsed| ProposeError::Full)?;
        // On its own, so that it holds its place in the ring until it is written, even if nobody
        // waits for it any more. It ends with the core at the latest.
        let raft = self.raft.clone();
        let writing = tokio::spawn(async move {
            let written = raft.client_write(proposal).await;
            drop(permit);
            written
        });
        match timeout_at(until, writing).await {
            Ok(Ok(Ok(written))) => {
                let reply = written.data.0;
                let reply = reply.expect("a command is answered with its reply, by apply");
                Ok(Proposed { index: written.log_id.index, reply })
            }
            Ok(Ok(Err(error))) => Err(refused(error)),
            Ok(Err(_)) | Err(_) => Err(ProposeError::Unknown),
        }
    }

    /// How long a proposal may take from now on.
    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + self.patience
    }

    /// The leader, if it is another member.
    pub(crate) fn other(&self, leader: Option<(RaftId, RaftPeer)>) -> Option<Destination> {
        let (member, peer) = leader?;
        (member != *self.raft.node_id()).then_some(Destination { member, peer })
    }

    /// Has the leader propose it. `None` when it did not: it leads no more, or is out of reach.
    async fn propose_there(
        &self,
        to: Destination,
        proposal: Proposal,
        until: Instant,
    ) -> Option<Result<Proposed, ProposeError>> {
        let response = self.ask(to, &Request::Propose(proposal), until).await?;
        Some(match response {
            Ok(Response::Proposed(Ok(proposed))) => Ok(proposed),
            Ok(Response::Proposed(Err(NotProposed::NotLeader))) => return None,
            Ok(Response::Proposed(Err(NotProposed::Full))) => Err(ProposeError::Full),
            Ok(Response::Proposed(Err(NotProposed::TooLarge { bytes, limit }))) => {
                let size = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
                Err(ProposeError::TooLarge { bytes: size(bytes), limit: size(limit) })
            }
            // A member that says it cannot deal with requests has not acted on this one.
            Ok(Response::Failed(_)) => return None,
            Ok(_) | Err(_) => Err(ProposeError::Unknown),
        })
    }

    /// Asks another member. `None` when the request did not leave this node.
    pub(crate) async fn ask(
        &self,
        to: Destination,
        request: &Request,
        until: Instant,
    ) -> Option<Result<Response, String>> {
        let limit = until.saturating_duration_since(Instant::now());
        let bytes = message::encode(request);
        match self.transport.call(to, Lane::Control, bytes, limit).await {
            Ok(answer) => Some(message::decode(&answer).map_err(|why| why.to_string())),
            Err(CallError::NotSent(why)) => {
                tracing::debug!(%why, "the leader of the metadata group is out of reach");
                None
            }
            Err(CallError::NoAnswer(why)) => Some(Err(why)),
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
