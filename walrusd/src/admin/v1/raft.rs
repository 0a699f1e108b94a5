//! The metadata group: how it stands here, and handing its lead over.

use axum::{extract::State as Extract, http::Uri};
use serde_json::Value;
use walrus_admin::{
    ApiError, Code,
    raft::{Member, RaftStatus, TransferAnswer, TransferRequest},
};
use walrus_metadata::Address;
use walrus_types::{NodeId, StorageId};

use super::answer::{Answer, Live, Sent, Told, elsewhere, membership_unchanged, parameters, shown};
use crate::{admin::routes::Sources, broker::Broker};

/// A voter that lacks more of the log is not asked to lead.
const LAG_MAX: u64 = 1_000;

pub(super) async fn status(Live(broker): Live, uri: Uri) -> Answer<RaftStatus> {
    parameters(&uri, &[])?;
    Ok(Told(group(&broker)))
}

/// Who leads, as far as this node knows.
pub(super) fn leader(group: &walrus_raft::Group) -> Option<NodeId> {
    let leader = group.leader()?;
    group.members().into_iter().find(|member| member.id == leader).map(|member| member.peer.node)
}

/// The group as this node sees it.
pub(super) fn group(broker: &Broker) -> RaftStatus {
    let metrics = broker.raft.metrics();
    let group = broker.raft.group();
    let members: Vec<Member> = group
        .members()
        .into_iter()
        .map(|member| Member {
            node: member.peer.node,
            storage: StorageId::from(member.id),
            peer: shown(&Address { host: member.peer.host, port: member.peer.port }),
            votes: member.votes,
            lag_entries: member.lag_entries,
        })
        .collect();
    let voters = members.iter().filter(|member| member.votes).count();
    let voters = u64::try_from(voters).unwrap_or(u64::MAX);
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    RaftStatus {
        answered_by: broker.identity.node,
        state: metrics["state"].as_str().unwrap_or("unknown").to_lowercase(),
        term: number(&metrics["current_term"]),
        leader: leader(&group),
        committed: number(&metrics["cluster_committed"]["index"]),
        last_log: number(&metrics["last_log_index"]),
        applied: broker.metadata().applied(),
        snapshot: number(&metrics["snapshot"]["index"]),
        purged: number(&metrics["purged"]["index"]),
        voters,
        quorum: voters / 2 + 1,
        members,
    }
}

pub(super) async fn transfer(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    Sent(request): Sent<TransferRequest>,
) -> Answer<TransferAnswer> {
    let (group, to) = (broker.raft.group(), request.to);
    let now = self::group(&broker);
    let (from, term) = (now.leader.unwrap_or(broker.identity.node), now.term);
    if now.leader == Some(to) {
        return Ok(Told(TransferAnswer { from, to, term, asked: false }));
    }
    if !group.leads() {
        let what = "this node does not lead the metadata group and cannot hand it over";
        return Err(elsewhere(&sources, &broker, now.leader, what).into());
    }
    let member = judge(&broker, &now, to)?;
    if !request.dry_run {
        tracing::info!(%from, %to, "an operator hands the metadata group over");
        let asked = group.transfer(member.storage.into()).await;
        asked.map_err(|why| membership_unchanged(&why))?;
    }
    Ok(Told(TransferAnswer { from, to, term, asked: !request.dry_run }))
}

/// The member that would lead, if it can.
fn judge<'a>(broker: &Broker, now: &'a RaftStatus, to: NodeId) -> Result<&'a Member, ApiError> {
    let metadata = broker.metadata();
    let node = metadata.node(to);
    let member = now
        .members
        .iter()
        .find(|member| member.node == to && node.is_none_or(|node| node.storage == member.storage));
    let Some(member) = member else {
        let what = format!("{to} is not in the metadata group");
        return Err(ApiError::new(Code::NotFound, what).hint("walrusctl raft status"));
    };
    if !member.votes {
        let what = format!("{to} has no vote in the metadata group");
        let error = ApiError::new(Code::NotAVoter, what);
        return Err(error.hint("it is given one when it has caught up: walrusctl raft status"));
    }
    if node.is_none_or(|node| !node.state.serves()) {
        let error = ApiError::new(Code::Lags, format!("{to} is fenced: it would not lead"));
        return Err(error.hint(format!("start walrusd of {to} again")));
    }
    if let Some(lag) = member.lag_entries.filter(|lag| *lag > LAG_MAX) {
        let what = format!("{to} lacks {lag} entries of the metadata log");
        return Err(ApiError::new(Code::Lags, what).hint("wait until it has caught up"));
    }
    Ok(member)
}
