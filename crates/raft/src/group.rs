//! A handle on a running member, and what it answers to the others. What changes the group's
//! members is in `membership.rs`.

use std::sync::Arc;

use bytes::Bytes;
use openraft::Raft;
use walrus_metadata::Metadata;

use crate::{
    machine::Machine,
    membership,
    message::{self, NotProposed, Request, Response, SnapshotRequest},
    propose::{ProposeError, Proposer},
    types::{Snapshot, TypeConfig},
};

/// A handle on a running member of the group. Cheap to clone; it does not keep the member alive.
#[derive(Debug, Clone)]
pub struct Group {
    pub(crate) raft: Raft<TypeConfig, Machine>,
    pub(crate) proposer: Proposer,
}

impl Group {
    /// The metadata as it is now. It never changes; ask again to see what came since.
    pub fn state(&self) -> Arc<Metadata> {
        self.proposer.state()
    }

    /// The answer to another member's request, which may be that it cannot be dealt with. The
    /// shell has made sure whose it is.
    pub async fn answer(&self, request: &[u8]) -> Bytes {
        let response = match message::decode(request) {
            Ok(request) => self.respond(request).await,
            Err(why) => Response::Failed(why.to_string()),
        };
        message::encode(&response)
    }

    async fn respond(&self, request: Request) -> Response {
        let failed = |error: &dyn std::fmt::Display| Response::Failed(error.to_string());
        match request {
            Request::Append(request) => match self.raft.append_entries(request).await {
                Ok(answer) => Response::Append(answer),
                Err(error) => failed(&error),
            },
            Request::Vote(request) => match self.raft.vote(request).await {
                Ok(answer) => Response::Vote(answer),
                Err(error) => failed(&error),
            },
            Request::PreVote(request) => match self.raft.pre_vote(request).await {
                Ok(answer) => Response::Vote(answer),
                Err(error) => failed(&error),
            },
            Request::Snapshot(SnapshotRequest { vote, meta, state }) => {
                let snapshot = Snapshot { meta, snapshot: state };
                match self.raft.install_full_snapshot(vote, snapshot).await {
                    Ok(answer) => Response::Snapshot(answer),
                    Err(error) => failed(&error),
                }
            }
            Request::Transfer(request) => match self.raft.handle_transfer_leader(request).await {
                Ok(answer) => Response::Transfer(answer),
                Err(error) => failed(&error),
            },
            Request::Propose(proposal) => {
                let until = self.proposer.deadline();
                let proposed = self.proposer.propose_here(proposal, until).await;
                Response::Proposed(proposed.map_err(not_proposed))
            }
            Request::Admit(member, peer) => {
                let admitted = membership::admit_here(&self.raft, member, peer).await;
                Response::Admitted(admitted)
            }
            Request::Standing => Response::Standing(self.standing_here()),
        }
    }
}

fn not_proposed(error: ProposeError) -> NotProposed {
    match error {
        ProposeError::TooLarge { bytes, limit } => {
            NotProposed::TooLarge { bytes: bytes as u64, limit: limit as u64 }
        }
        ProposeError::NotLeader { .. } => NotProposed::NotLeader,
        ProposeError::Full => NotProposed::Full,
        ProposeError::Unknown | ProposeError::Stopped(_) => NotProposed::Unknown,
    }
}
