//! FindCoordinator: there are no coordinators yet, and each kind of client is told so in the way
//! it survives.
//!
//! librdkafka asks for its group's coordinator even under `assign()`, and goes on asking in the
//! background when it gets COORDINATOR_NOT_AVAILABLE. A transactional producer would do the same
//! until it times out; a code that is final makes the Java client stop at once with our words.

use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId, FindCoordinatorRequest, FindCoordinatorResponse,
        find_coordinator_response::Coordinator,
    },
};

use super::{Head, codes::Refusal};
use crate::net::replies::Reply;

/// The first version that asks for many keys.
const BATCH_SINCE: i16 = 4;
const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// Answers that nobody coordinates.
pub fn begin(head: Head, request: &FindCoordinatorRequest) -> Reply {
    head.ready(&respond(head.version, request))
}

fn respond(version: i16, request: &FindCoordinatorRequest) -> FindCoordinatorResponse {
    let refusal = refusal(request.key_type);
    let code = refusal.code.code();
    if version >= BATCH_SINCE {
        let coordinators = request.coordinator_keys.iter().map(|key| {
            Coordinator::default()
                .with_key(key.clone())
                .with_node_id(BrokerId(-1))
                .with_port(-1)
                .with_error_code(code)
                .with_error_message(refusal.words())
        });
        FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
    } else {
        FindCoordinatorResponse::default()
            .with_node_id(BrokerId(-1))
            .with_port(-1)
            .with_error_code(code)
            .with_error_message(refusal.words())
    }
}

fn refusal(key_type: i8) -> Refusal {
    match key_type {
        GROUP => Refusal::new(
            ResponseError::CoordinatorNotAvailable,
            "consumer groups are not built yet: assign partitions by hand",
        ),
        TRANSACTION => {
            Refusal::invalid("transactions are not built yet: produce without a transactional id")
        }
        other => Refusal::invalid(format!("coordinators of type {other} are not known here")),
    }
}

#[cfg(test)]
mod tests {
    use walrus_wire::{kafka_protocol::protocol::StrBytes, response};

    use super::*;

    #[test]
    fn every_version_says_who_is_not_there_and_why() {
        for version in 0..=4 {
            for (key_type, expected) in [
                (GROUP, ResponseError::CoordinatorNotAvailable),
                (TRANSACTION, ResponseError::InvalidRequest),
                (2, ResponseError::InvalidRequest),
            ] {
                let key = StrBytes::from_static_str("g");
                let request = FindCoordinatorRequest::default()
                    .with_key_type(key_type)
                    .with_key(key.clone())
                    .with_coordinator_keys(vec![key; 2]);
                let response = respond(version, &request);
                response::encode(1, version, &response).unwrap();
                let told: Vec<_> = if version >= BATCH_SINCE {
                    let many = response.coordinators;
                    many.into_iter().map(|one| (one.error_code, one.node_id)).collect()
                } else {
                    vec![(response.error_code, response.node_id)]
                };
                assert_eq!(told.len(), if version >= BATCH_SINCE { 2 } else { 1 });
                for (code, node) in told {
                    assert_eq!((code, node.0), (expected.code(), -1), "v{version} {key_type}");
                }
            }
        }
    }
}
