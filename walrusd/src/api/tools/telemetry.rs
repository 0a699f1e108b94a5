//! Metrics of clients (KIP-714): none is wanted. A client that asks is given an id, no metric to
//! push, and a while until it asks again.

use uuid::Uuid;
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        GetTelemetrySubscriptionsRequest, GetTelemetrySubscriptionsResponse, PushTelemetryRequest,
        PushTelemetryResponse,
    },
};

use crate::{api::Head, net::replies::Reply};

/// How long a client waits before it asks again: Kafka's default.
const ASK_AGAIN_MS: i32 = 300_000;
/// The longest push: Kafka's default.
const PUSH_BYTES_MAX: i32 = 1 << 20;
/// The subscription to nothing.
const NOTHING: i32 = 0;
/// zstd, LZ4, gzip and snappy by their numbers in record batches, the best first. Uncompressed,
/// which is 0, goes without saying.
const CODECS: [i8; 4] = [4, 3, 1, 2];

/// Answers with the subscription to nothing.
pub(super) fn subscriptions(head: Head, request: &GetTelemetrySubscriptionsRequest) -> Reply {
    head.ready(&subscribed(request.client_instance_id, Uuid::new_v4))
}

fn subscribed(known: Uuid, new: impl FnOnce() -> Uuid) -> GetTelemetrySubscriptionsResponse {
    GetTelemetrySubscriptionsResponse::default()
        .with_client_instance_id(if known.is_nil() { new() } else { known })
        .with_subscription_id(NOTHING)
        .with_accepted_compression_types(CODECS.to_vec())
        .with_push_interval_ms(ASK_AGAIN_MS)
        .with_telemetry_max_bytes(PUSH_BYTES_MAX)
        .with_delta_temporality(true)
        .with_requested_metrics(Vec::new())
}

/// Takes what was pushed, which is nothing.
pub(super) fn push(head: Head, request: &PushTelemetryRequest) -> Reply {
    let code = judge(request).map_or(0, |code| code.code());
    head.ready(&PushTelemetryResponse::default().with_error_code(code))
}

fn judge(request: &PushTelemetryRequest) -> Option<ResponseError> {
    let bytes = i32::try_from(request.metrics.len()).unwrap_or(i32::MAX);
    if request.client_instance_id.is_nil() {
        Some(ResponseError::InvalidRequest)
    } else if request.subscription_id != NOTHING {
        Some(ResponseError::UnknownSubscriptionId)
    } else if request.compression_type != 0 && !CODECS.contains(&request.compression_type) {
        Some(ResponseError::UnsupportedCompressionType)
    } else if bytes > PUSH_BYTES_MAX {
        Some(ResponseError::TelemetryTooLarge)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use walrus_wire::response;

    use super::*;

    #[test]
    fn a_client_is_given_an_id_and_asked_for_nothing() {
        let fresh = Uuid::from_u128(7);
        for (known, given) in [(Uuid::nil(), fresh), (Uuid::max(), Uuid::max())] {
            let response = subscribed(known, || fresh);
            response::encode(1, 0, &response).unwrap();
            assert_eq!((response.client_instance_id, response.error_code), (given, 0));
            assert!(response.requested_metrics.is_empty());
        }
    }

    #[test]
    fn a_push_that_was_not_asked_for_is_refused() {
        let id = Uuid::from_u128(7);
        let too_long = Bytes::from(vec![0; (1 << 20) + 1]);
        for (id, subscription, codec, metrics, expected) in [
            (id, NOTHING, 0, Bytes::new(), None),
            (id, NOTHING, 4, Bytes::new(), None),
            (Uuid::nil(), NOTHING, 0, Bytes::new(), Some(ResponseError::InvalidRequest)),
            (id, 1, 0, Bytes::new(), Some(ResponseError::UnknownSubscriptionId)),
            (id, -1, 0, Bytes::new(), Some(ResponseError::UnknownSubscriptionId)),
            (id, NOTHING, 5, Bytes::new(), Some(ResponseError::UnsupportedCompressionType)),
            (id, NOTHING, 0, too_long, Some(ResponseError::TelemetryTooLarge)),
        ] {
            let request = PushTelemetryRequest::default()
                .with_client_instance_id(id)
                .with_subscription_id(subscription)
                .with_compression_type(codec)
                .with_metrics(metrics);
            assert_eq!(judge(&request), expected, "{subscription} {codec}");
        }
    }
}
