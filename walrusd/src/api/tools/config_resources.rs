//! ListConfigResources, versions 0 and 1: what has configs (KIP-1142). Version 0 asks for what
//! tells clients which metrics to push, and there is none of that.

use std::{collections::BTreeSet, sync::Arc};

use walrus_metadata::{Metadata, NodeState};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        ListConfigResourcesRequest, ListConfigResourcesResponse,
        list_config_resources_response::ConfigResource,
    },
    protocol::StrBytes,
};

use crate::{
    api::{
        Head,
        configs::{BROKER, TOPIC},
    },
    broker::Broker,
    net::replies::Reply,
};

/// The first version that asks for other kinds.
const KINDS_SINCE: i16 = 1;
/// Kinds that Kafka lists and that have no configs here: loggers of nodes, metrics of clients,
/// groups.
const EMPTY: [i8; 3] = [8, 16, 32];

/// Answers with the names.
pub(super) fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: &ListConfigResourcesRequest,
) -> Reply {
    head.ready(&listed(&broker.metadata(), head.version, request))
}

fn listed(
    metadata: &Metadata,
    version: i16,
    request: &ListConfigResourcesRequest,
) -> ListConfigResourcesResponse {
    let response = ListConfigResourcesResponse::default();
    if version < KINDS_SINCE {
        return response;
    }
    let asked: BTreeSet<i8> = request.resource_types.iter().copied().collect();
    let known = |kind: &i8| *kind == TOPIC || *kind == BROKER || EMPTY.contains(kind);
    if !asked.iter().all(known) {
        return response.with_error_code(ResponseError::UnsupportedVersion.code());
    }
    let wants = |kind: i8| asked.is_empty() || asked.contains(&kind);
    let mut resources = Vec::new();
    let resource = |kind: i8, name: String| {
        ConfigResource::default()
            .with_resource_type(kind)
            .with_resource_name(StrBytes::from_string(name))
    };
    if wants(TOPIC) {
        resources.extend(metadata.topics().map(|topic| resource(TOPIC, topic.name.to_string())));
    }
    if wants(BROKER) {
        let here = metadata.nodes().iter().filter(|(_, node)| node.state != NodeState::Removed);
        resources.extend(here.map(|(id, _)| resource(BROKER, id.0.to_string())));
    }
    response.with_config_resources(resources)
}

#[cfg(test)]
mod tests {
    use walrus_wire::response;

    use super::*;
    use crate::api::world::World;

    #[test]
    fn topics_and_nodes_have_configs_and_other_kinds_have_none() {
        let World { metadata, .. } = World::with_topics(&[("a", 1), ("b", 1)]);
        let all = &[(2, "a"), (2, "b"), (4, "1")][..];
        for (version, kinds, code, expected) in [
            (0, &[][..], 0, &[][..]),
            (1, &[], 0, all),
            (1, &[2], 0, &all[..2]),
            (1, &[4, 4, 2], 0, all),
            (1, &[8, 16, 32], 0, &[]),
            (1, &[2, 3], 35, &[]),
            (1, &[-1], 35, &[]),
        ] {
            let request = ListConfigResourcesRequest::default().with_resource_types(kinds.to_vec());
            let response = listed(&metadata, version, &request);
            response::encode(1, version, &response).unwrap();
            let told: Vec<_> = response
                .config_resources
                .iter()
                .map(|one| (one.resource_type, &*one.resource_name))
                .collect();
            assert_eq!((response.error_code, told.as_slice()), (code, expected), "{kinds:?}");
        }
    }
}
