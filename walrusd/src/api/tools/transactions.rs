//! ListTransactions (0 and 1) and DescribeTransactions: there are none (KIP-664).

use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeTransactionsRequest, DescribeTransactionsResponse, ListTransactionsRequest,
        ListTransactionsResponse, ProducerId, describe_transactions_response::TransactionState,
    },
    protocol::StrBytes,
};

use crate::{api::Head, net::replies::Reply};

/// The states that a transaction may have, by Kafka's names.
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Answers that there are none, and which states nobody knows.
pub(super) fn list(head: Head, request: &ListTransactionsRequest) -> Reply {
    head.ready(&listed(request))
}

fn listed(request: &ListTransactionsRequest) -> ListTransactionsResponse {
    let unknown: Vec<StrBytes> = request
        .state_filters
        .iter()
        .filter(|state| !STATES.contains(&&***state))
        .cloned()
        .collect();
    ListTransactionsResponse::default().with_unknown_state_filters(unknown)
}

/// Answers that none of them is there.
pub(super) fn describe(head: Head, request: DescribeTransactionsRequest) -> Reply {
    head.ready(&described(request))
}

fn described(request: DescribeTransactionsRequest) -> DescribeTransactionsResponse {
    let states = request.transactional_ids.into_iter().map(|id| {
        TransactionState::default()
            .with_error_code(ResponseError::TransactionalIdNotFound.code())
            .with_transactional_id(id)
            .with_transaction_timeout_ms(0)
            .with_transaction_start_time_ms(-1)
            .with_producer_id(ProducerId(-1))
            .with_producer_epoch(-1)
    });
    DescribeTransactionsResponse::default().with_transaction_states(states.collect())
}

#[cfg(test)]
mod tests {
    use walrus_wire::{kafka_protocol::messages::TransactionalId, response};

    use super::*;

    #[test]
    fn there_are_no_transactions_and_states_that_nobody_knows_are_named() {
        for (states, unknown) in [
            (&[][..], &[][..]),
            (&["Ongoing", "Dead"], &[]),
            (&["ongoing", "Empty", ""], &["ongoing", ""]),
        ] {
            let states = states.iter().map(|state| StrBytes::from_static_str(state)).collect();
            let request = ListTransactionsRequest::default().with_state_filters(states);
            let response = listed(&request);
            let told: Vec<&str> = response.unknown_state_filters.iter().map(|one| &**one).collect();
            assert_eq!((told.as_slice(), response.error_code), (unknown, 0));
            assert!(response.transaction_states.is_empty());
            for version in 0..=1 {
                response::encode(1, version, &response).unwrap();
            }
        }
    }

    #[test]
    fn a_transaction_that_is_asked_for_is_not_found() {
        for ids in [&[][..], &["a"], &["", "a", "a"]] {
            let named = ids.iter().map(|id| TransactionalId(StrBytes::from_static_str(id)));
            let request =
                DescribeTransactionsRequest::default().with_transactional_ids(named.collect());
            let response = described(request);
            response::encode(1, 0, &response).unwrap();
            let told = &response.transaction_states;
            assert_eq!(told.len(), ids.len());
            assert!(told.iter().all(|one| one.error_code == 105), "{told:?}");
        }
    }
}
