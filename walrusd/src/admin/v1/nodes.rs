//! Nodes, and what each is needed for.

use std::sync::Arc;

use axum::{extract::State as Extract, http::Uri};
use walrus_admin::node::{Addresses, Node, NodeList, RaftPart};
use walrus_metadata::Metadata;
use walrus_raft::RaftId;
use walrus_types::NodeId;

use super::answer::{Answer, Live, Told, admin_address, parameters, shown};
use crate::{
    admin::routes::Sources,
    broker::Broker,
    events::node_state as state,
    operations::{Look, census::Census},
};

pub(super) async fn list(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
) -> Answer<NodeList> {
    parameters(&uri, &[])?;
    let Look { metadata, census, .. } = Look::take(&broker).await?;
    let items = all(&sources, &broker, &metadata, &census);
    Ok(Told(NodeList { metadata_version: metadata.applied(), items }))
}

/// Every node, removed ones too.
pub(super) fn all(
    sources: &Sources,
    broker: &Broker,
    metadata: &Metadata,
    census: &Census,
) -> Vec<Node> {
    let group = broker.raft.group();
    let (members, leader) = (group.members(), group.leader());
    let of = |(id, node): (&NodeId, &Arc<walrus_metadata::Node>)| {
        let member = members.iter().find(|member| member.id == RaftId::from(node.storage));
        Node {
            node: *id,
            state: state(node.state),
            drains: node.drains,
            storage: node.storage,
            incarnation: node.incarnation,
            rack: node.rack.clone(),
            addresses: Addresses {
                client: shown(&node.addresses.client),
                peer: shown(&node.addresses.peer),
                admin: admin_address(sources, broker.identity.node, metadata, *id),
            },
            raft: member.map(|member| RaftPart {
                leads: leader == Some(member.id),
                votes: member.votes,
                lag_entries: member.lag_entries,
            }),
            holding: census.holding(*id),
            fences: node.fences.count,
        }
    };
    metadata.nodes().iter().map(of).collect()
}
