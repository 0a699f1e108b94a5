//! The metadata group, as it stands here.

use axum::http::Uri;
use serde_json::Value;
use walrus_admin::raft::{Member, RaftStatus};
use walrus_metadata::Address;
use walrus_types::{NodeId, StorageId};

use super::answer::{Answer, Live, Told, parameters, shown};
use crate::broker::Broker;

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
