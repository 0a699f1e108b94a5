//! How members reach each other. So far they do not: a cluster has one voter, which asks nobody,
//! and a request to anybody else is answered with why it cannot be sent.

use bytes::Bytes;
use openraft::{
    OptionalSend, RaftNetworkFactory, RaftNetworkV2,
    errors::{RPCError, ReplicationClosed, StreamingError, Unreachable},
    network::RPCOption,
    raft::{
        AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, VoteRequest, VoteResponse,
    },
};

use crate::types::{RaftId, RaftPeer, Snapshot, TypeConfig, Vote};

/// Makes connections to members.
#[derive(Debug)]
pub(crate) struct Network;

/// The way to one member.
#[derive(Debug)]
pub(crate) struct Connection {
    to: RaftId,
    peer: RaftPeer,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Connection;

    async fn new_client(&mut self, to: RaftId, peer: &RaftPeer) -> Connection {
        Connection { to, peer: peer.clone() }
    }
}

impl Connection {
    fn unreachable(&self) -> Unreachable<TypeConfig> {
        let Self { to, peer } = self;
        Unreachable::from_string(format!("this version has no connection to {peer} (storage {to})"))
    }
}

impl RaftNetworkV2<TypeConfig> for Connection {
    type SnapshotData = Bytes;

    async fn append_entries(
        &mut self,
        _request: AppendEntriesRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    // The default grants, which would call a member that was never asked a supporter.
    async fn pre_vote(
        &mut self,
        _request: VoteRequest<TypeConfig>,
        _option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        Err(self.unreachable().into())
    }

    async fn full_snapshot(
        &mut self,
        _vote: Vote,
        _snapshot: Snapshot,
        _cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        Err(self.unreachable().into())
    }
}
