//! FindCoordinator, versions 0 to 6: who coordinates a group.
//!
//! That is whoever leads the group's partition of `__consumer_offsets`, which is made when somebody
//! asks for the first time. Nobody coordinates transactions or share groups yet, and each kind of
//! client is told so in the way it survives: a transactional producer that got
//! COORDINATOR_NOT_AVAILABLE would ask until it times out; a code that is final makes the Java
//! client stop at once with our words.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::{Instant, timeout_at};
use walrus_types::NodeId;
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
    protocol::StrBytes,
};

use super::{
    Head,
    codes::Refusal,
    metadata::{LOST_LATELY, SETTLED_MAX},
};
use crate::{
    broker::{Broker, Endpoint},
    groups::Unready,
    net::replies::Reply,
};

/// The first version that asks for many keys.
const BATCH_SINCE: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers who coordinates what is asked for. `reached` is the address by which the client came.
pub async fn begin(
    broker: &Arc<Broker>,
    reached: SocketAddr,
    head: Head,
    request: FindCoordinatorRequest,
) -> Reply {
    let keys =
        if head.version >= BATCH_SINCE { request.coordinator_keys } else { vec![request.key] };
    let endpoints = broker.endpoints(reached);
    let until = Instant::now() + SETTLED_MAX;
    let mut found = Vec::with_capacity(keys.len());
    for key in keys {
        let one = match refusal(request.key_type) {
            Some(refusal) => Err(refusal),
            None => group(broker, &endpoints, &key, until).await,
        };
        found.push((key, one));
    }
    head.ready(&respond(head.version, found))
}

async fn group(
    broker: &Arc<Broker>,
    endpoints: &[Endpoint],
    group: &str,
    until: Instant,
) -> Result<Endpoint, Refusal> {
    let coordinator = coordinator(broker, group, until).await;
    let coordinator = coordinator.map_err(|why| Refusal::from(&why))?;
    let known = endpoints.iter().find(|endpoint| Some(endpoint.id) == coordinator);
    known.cloned().ok_or_else(|| {
        let why = "the group's coordinator is being chosen";
        Refusal::new(ResponseError::CoordinatorNotAvailable, why)
    })
}

/// Who coordinates a group. When a coordinator's process ends its members ask at once for the next
/// one, and who is sent back to the dead one asks again only after a second: as for leaders, the
/// answer waits for a moment, and then there is none.
async fn coordinator(
    broker: &Arc<Broker>,
    group: &str,
    until: Instant,
) -> Result<Option<NodeId>, Unready> {
    let mut views = broker.raft.watch();
    loop {
        views.mark_unchanged();
        let found = broker.groups.coordinator(broker, group).await?;
        let lost = broker.leading().lost_within(LOST_LATELY);
        let found = found.filter(|node| !lost.contains(node));
        if found.is_some() || !matches!(timeout_at(until, views.changed()).await, Ok(Ok(()))) {
            return Ok(found);
        }
    }
}

/// Why nobody coordinates things of this type; `None` for groups.
fn refusal(key_type: i8) -> Option<Refusal> {
    match key_type {
        GROUP => None,
        TRANSACTION => Some(Refusal::invalid(
            "transactions are not built yet: produce without a transactional id",
        )),
        other => Some(Refusal::invalid(format!("coordinators of type {other} are not known here"))),
    }
}

fn respond(
    version: i16,
    found: Vec<(StrBytes, Result<Endpoint, Refusal>)>,
) -> FindCoordinatorResponse {
    let mut coordinators = found.into_iter().map(|(key, one)| match one {
        Ok(node) => Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(node.id.0))
            .with_host(StrBytes::from_string(node.host))
            .with_port(i32::from(node.port)),
        Err(refusal) => Coordinator::default()
            .with_key(key)
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words()),
    });
    if version >= BATCH_SINCE {
        return FindCoordinatorResponse::default().with_coordinators(coordinators.collect());
    }
    let one = coordinators.next().unwrap_or_default();
    FindCoordinatorResponse::default()
        .with_error_code(one.error_code)
        .with_error_message(one.error_message)
        .with_node_id(one.node_id)
        .with_host(one.host)
        .with_port(one.port)
}

#[cfg(test)]
mod tests {
    use walrus_wire::response;

    use super::*;

    #[test]
    fn every_version_says_who_coordinates_or_why_nobody_does() {
        let node = Endpoint { id: NodeId(2), host: "h".into(), port: 9092, rack: None };
        for version in 0..=6 {
            for (key_type, expected) in [
                (GROUP, (0, 2, 9092)),
                (TRANSACTION, (ResponseError::InvalidRequest.code(), -1, -1)),
                (2, (ResponseError::InvalidRequest.code(), -1, -1)),
            ] {
                let one = || {
                    (
                        StrBytes::from_static_str("g"),
                        refusal(key_type).map_or(Ok(node.clone()), Err),
                    )
                };
                let found = if version >= BATCH_SINCE { vec![one(), one()] } else { vec![one()] };
                let asked = found.len();
                let response = respond(version, found);
                response::encode(1, version, &response).unwrap();
                let told: Vec<_> = if version >= BATCH_SINCE {
                    let many = response.coordinators.iter();
                    many.map(|one| (one.error_code, one.node_id.0, one.port)).collect()
                } else {
                    vec![(response.error_code, response.node_id.0, response.port)]
                };
                assert_eq!(told, vec![expected; asked], "v{version} {key_type}");
            }
        }
    }
}
