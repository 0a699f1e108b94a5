//! What goes, and what stands in its way: of every node, as it said last.

use axum::http::Uri;
use walrus_admin::{
    gc::{GcStatus, NodeGc},
    snapshot::Vitals,
};
use walrus_metadata::NodeState;
use walrus_types::NodeId;

use super::answer::{Answer, Live, Told, parameters};
use crate::{broker::Broker, operations::refusal::broken_off, vitals};

pub(super) async fn status(Live(broker): Live, uri: Uri) -> Answer<GcStatus> {
    parameters(&uri, &[])?;
    vitals::gather(&broker).await;
    // The own disk is asked for its free space.
    let look = tokio::task::spawn_blocking(move || {
        let metadata = broker.metadata();
        let known = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
        GcStatus {
            answered_by: broker.identity.node,
            at_ms: broker.clock.now(),
            items: known.map(|(id, _)| of(&broker, *id)).collect(),
        }
    });
    Ok(Told(look.await.map_err(|why| broken_off(&why))?))
}

fn of(broker: &Broker, node: NodeId) -> NodeGc {
    if node == broker.identity.node {
        return said(node, Some(&vitals::of_self(broker)), Some(0), None);
    }
    let heard = broker.vitals.of(node);
    let age = heard.said.as_ref().map(|(_, at)| broker.clock.uptime().since(*at));
    said(node, heard.said.as_ref().map(|(vitals, _)| &**vitals), age, heard.silent)
}

fn said(
    node: NodeId,
    vitals: Option<&Vitals>,
    age_ms: Option<u64>,
    silent: Option<String>,
) -> NodeGc {
    NodeGc {
        node,
        gc: vitals.and_then(|vitals| vitals.gc.clone()),
        disk: vitals.and_then(|vitals| vitals.disk),
        disk_full: vitals.is_some_and(|vitals| vitals.store.disk_full),
        age_ms,
        silent,
    }
}
