//! The cluster and the node that answers; telling a node what to form.

use std::sync::Arc;

use axum::extract::State as Extract;
use walrus_admin::{
    ApiError, Code,
    cluster::{
        BootstrapRequest, ClusterStatus, FormAnswer, Group, Identity, JoinRequest, SelfStatus,
    },
    health::{ClusterHealth, NodeCheck, judge},
};

use super::{
    answer::{Answer, Live, Sent, Told, admin_address, live},
    nodes, raft,
};
use crate::{
    admin::{forming, routes::Sources},
    broker::Broker,
    config::HostPort,
    operations::{census_of, refusal::broken_off},
};

pub(super) async fn myself(Extract(sources): Extract<Sources>) -> Answer<SelfStatus> {
    Ok(Told(of_self(&sources, live(&sources).ok().as_deref())))
}

fn of_self(sources: &Sources, broker: Option<&Broker>) -> SelfStatus {
    let state = sources.health.state();
    SelfStatus {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: state.name().to_owned(),
        reason: state.reason(),
        awaits_bootstrap: sources.forming.is_awaited(),
        identity: broker.map(|broker| Identity {
            node: broker.identity.node,
            storage: broker.identity.storage,
            cluster: broker.identity.cluster.to_string(),
            incarnation: broker.identity.incarnation,
        }),
        disk_full: broker.is_some_and(|broker| broker.store.stats().disk_full),
    }
}

pub(super) async fn status(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
) -> Answer<ClusterStatus> {
    Ok(Told(look(sources, broker).await?))
}

/// As this node knows it: of the others it has what the metadata says. Who wants to know how they
/// stand asks each of them, as `walrusctl cluster health` does.
pub(super) async fn health(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
) -> Answer<ClusterHealth> {
    let me = broker.identity.node;
    let myself = NodeCheck {
        node: me,
        admin: admin_address(&sources, me, &broker.metadata(), me),
        answer: Some(of_self(&sources, Some(&broker))),
        error: None,
    };
    let status = look(sources, broker).await?;
    Ok(Told(judge(&status, vec![myself])))
}

/// Counts on a thread of its own: the segments of a large cluster are many.
async fn look(sources: Sources, broker: Arc<Broker>) -> Result<ClusterStatus, ApiError> {
    let counted = tokio::task::spawn_blocking(move || of_cluster(&sources, &broker)).await;
    counted.map_err(|why| broken_off(&why))
}

fn of_cluster(sources: &Sources, broker: &Broker) -> ClusterStatus {
    let metadata = broker.metadata();
    let group = raft::group(broker);
    let census = census_of(broker, &metadata);
    let size = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    ClusterStatus {
        cluster: broker.identity.cluster.to_string(),
        answered_by: broker.identity.node,
        metadata_version: metadata.applied(),
        topics: size(metadata.topics_total()),
        partitions: size(metadata.partitions_total()),
        segments: census.segments,
        nodes: nodes::all(sources, broker, &metadata, &census),
        group: Group {
            leader: group.leader,
            term: group.term,
            voters: group.voters,
            quorum: group.quorum,
        },
    }
}

pub(super) async fn bootstrap(
    Extract(sources): Extract<Sources>,
    Sent(BootstrapRequest {}): Sent<BootstrapRequest>,
) -> Answer<FormAnswer> {
    if let Ok(broker) = live(&sources) {
        let cluster = Some(broker.identity.cluster.to_string());
        return Ok(Told(FormAnswer { told: false, cluster }));
    }
    tell(&sources, forming::Told::Found)
}

pub(super) async fn join(
    Extract(sources): Extract<Sources>,
    Sent(JoinRequest { peer }): Sent<JoinRequest>,
) -> Answer<FormAnswer> {
    let at: HostPort = peer.parse().map_err(|why| {
        ApiError::new(Code::BadRequest, format!("{peer:?}: {why}"))
            .hint("give the peer port of a node of the cluster, like node1:6001")
    })?;
    if let Ok(broker) = live(&sources) {
        let (node, cluster) = (broker.identity.node, broker.identity.cluster);
        let what = format!("{node} is in cluster {cluster} already and stays there");
        let next = format!(
            "to join another cluster start it with an empty folder: walrusd --data-dir DIR --join {at}"
        );
        return Err(ApiError::new(Code::InCluster, what).hint(next).into());
    }
    tell(&sources, forming::Told::Join(at))
}

fn tell(sources: &Sources, told: forming::Told) -> Answer<FormAnswer> {
    if sources.forming.tell(told) {
        return Ok(Told(FormAnswer { told: true, cluster: None }));
    }
    let reason = sources.health.state().reason().unwrap_or_else(|| "the node starts".into());
    let error =
        ApiError::new(Code::Starting, format!("the node does not wait to be told: {reason}"));
    Err(error
        .hint("only one that was started with --await-bootstrap does; look at GET /v1/self")
        .into())
}
