//! DescribeCluster: the nodes, and which cluster this is.

use std::sync::Arc;

use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, DescribeClusterRequest, DescribeClusterResponse,
        describe_cluster_response::DescribeClusterBroker,
    },
    protocol::StrBytes,
};

use super::{Head, codes::Refusal, metadata::CLUSTER_OPERATIONS};
use crate::{
    broker::Broker,
    net::{connection::Client, replies::Reply},
};

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers with the nodes and where this client finds them.
pub fn begin(
    broker: &Arc<Broker>,
    client: &Client,
    head: Head,
    request: &DescribeClusterRequest,
) -> Reply {
    if let Err(refusal) = check(request.endpoint_type) {
        return head.ready(
            &DescribeClusterResponse::default()
                .with_error_code(refusal.code.code())
                .with_error_message(refusal.words()),
        );
    }
    let brokers = broker.endpoints(client.reached).into_iter().map(|node| {
        DescribeClusterBroker::default()
            .with_broker_id(BrokerId(node.id.0))
            .with_host(StrBytes::from_string(node.host))
            .with_port(i32::from(node.port))
            .with_rack(node.rack.map(StrBytes::from_string))
    });
    let mut response = DescribeClusterResponse::default()
        .with_cluster_id(StrBytes::from_string(broker.identity.cluster.to_string()))
        .with_controller_id(BrokerId(broker.controller_id().0))
        .with_brokers(brokers.collect());
    if request.include_cluster_authorized_operations {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    head.ready(&response)
}

/// Controllers have no listener of their own that Kafka's tools could speak to.
fn check(endpoint_type: i8) -> Result<(), Refusal> {
    match endpoint_type {
        BROKERS => Ok(()),
        CONTROLLERS => Err(Refusal::new(
            ResponseError::MismatchedEndpointType,
            "this is a broker's port; every broker takes every request",
        )),
        other => Err(Refusal::new(
            ResponseError::UnsupportedEndpointType,
            format!("endpoint type {other} is not known here"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_brokers_are_described() {
        for (endpoint_type, expected) in [
            (1, None),
            (2, Some(ResponseError::MismatchedEndpointType)),
            (0, Some(ResponseError::UnsupportedEndpointType)),
            (3, Some(ResponseError::UnsupportedEndpointType)),
        ] {
            let refused = check(endpoint_type).err().map(|refusal| refusal.code);
            assert_eq!(refused, expected, "type {endpoint_type}");
        }
    }
}
