//! UnregisterBroker, version 0: a node leaves the cluster for good, where the plan of a removal has
//! nothing against it. The leader of the metadata group then takes it out of that by itself.

use std::sync::Arc;

use walrus_types::NodeId;
use walrus_wire::kafka_protocol::messages::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
    operations::removal,
};

/// Removes the node, or says what keeps it.
pub(super) async fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: &UnregisterBrokerRequest,
) -> Reply {
    let removed = removal::unregister(broker, NodeId(request.broker_id.0)).await;
    let response = match removed.map_err(|why| Refusal::from(&why)) {
        Ok(()) => UnregisterBrokerResponse::default().with_error_message(None),
        Err(refusal) => UnregisterBrokerResponse::default()
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words()),
    };
    head.ready(&response)
}
