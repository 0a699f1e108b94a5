//! openraft's requests, over the shell's [`Transport`].

use std::{sync::Arc, time::Duration};

use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
        TransferLeaderResponse, VoteRequest, VoteResponse,
    },
};

use crate::{
    message::{self, Request, Response, SnapshotRequest},
    transport::{CallError, Destination, Lane, Transport},
    types::{RaftId, RaftPeer, Snapshot, TypeConfig, Vote},
};

/// Makes connections to members.
#[derive(Debug)]
pub(crate) struct Network(pub(crate) Arc<dyn Transport>);

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Connection {
    to: Destination,
    transport: Arc<dyn Transport>,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, to: RaftId, peer: &RaftPeer) -> Connection {
        let to = Destination { member: to, peer: peer.clone() };
        Connection { to, transport: Arc::clone(&self.0) }
    }
}

/// What another member answered instead of what was asked.
#[derive(Debug, thiserror::Error)]
#[error("{to} answered: {said}")]
struct Odd {
    to: Destination,
    said: String,
}

impl Connection {
    async fn ask(
        &self,
        request: &Request,
        lane: Lane,
        limit: Duration,
    ) -> Result<Response, RPCError<TypeConfig>> {
        let bytes = message::encode(request);
        match self.transport.call(self.to.clone(), lane, bytes, limit).await {
            Ok(answer) => message::decode(&answer).map_err(|why| self.odd(why.to_string())),
            // There is nothing at the other end for now: openraft waits before it tries again.
            Err(why @ CallError::NotSent(_)) => Err(Unreachable::new(&why).into()),
            Err(why @ CallError::NoAnswer(_)) => Err(NetworkError::new(&why).into()),
        }
    }

    /// An answer that is none. It comes from a member that is starting, stopping or of another
    /// version, and asking again at once would not help.
    fn odd(&self, said: String) -> RPCError<TypeConfig> {
        Unreachable::new(&Odd { to: self.to.clone(), said }).into()
    }

    fn other(&self, response: Response) -> RPCError<TypeConfig> {
        match response {
            Response::Failed(why) => self.odd(why),
            other => self.odd(format!("{other:?}")),
        }
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = bytes::Bytes;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(&Request::Append(request), Lane::Control, option.soft_ttl()).await? {
            Response::Append(answer) => Ok(answer),
            other => Err(self.other(other)),
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(&Request::Vote(request), Lane::Control, option.soft_ttl()).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(self.other(other)),
        }
    }

    // The default grants, which would call a member that was never asked a supporter.
    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(&Request::PreVote(request), Lane::Control, option.soft_ttl()).await? {
            Response::Vote(answer) => Ok(answer),
            other => Err(self.other(other)),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let Snapshot { meta, snapshot: state } = snapshot;
        let request = Request::Snapshot(SnapshotRequest { vote, meta, state });
        let asked = tokio::select! {
            asked = self.ask(&request, Lane::Bulk, option.soft_ttl()) => asked,
            closed = cancel => return Err(closed.into()),
        };
        match asked {
            Ok(Response::Snapshot(answer)) => Ok(answer),
            Ok(other) => Err(streaming(self.other(other))),
            Err(error) => Err(streaming(error)),
        }
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.ask(&Request::Transfer(request), Lane::Control, option.soft_ttl()).await? {
            Response::Transfer(answer) => Ok(answer),
            other => Err(self.other(other)),
        }
    }
}

fn streaming(error: RPCError<TypeConfig>) -> StreamingError<TypeConfig> {
    match error {
        RPCError::Timeout(error) => error.into(),
        RPCError::Unreachable(error) => error.into(),
        RPCError::Network(error) => error.into(),
        RPCError::RemoteError(error) => match error.source {},
    }
}
