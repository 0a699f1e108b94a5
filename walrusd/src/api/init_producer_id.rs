//! InitProducerId: ids for idempotent producers; transactions are refused by name.
//!
//! A producer that gives the id and epoch it has (version 3 and later) gets a new id like any
//! other, as from Kafka: epochs belong to transactional ids, and an idempotent producer raises
//! its epoch by itself.

use std::sync::Arc;

use walrus_metadata::{Command, ProducerIdBlock, Reply as Answer};
use walrus_wire::kafka_protocol::messages::{
    InitProducerIdRequest, InitProducerIdResponse, ProducerId as WireProducerId,
};

use super::{Head, codes::Refusal};
use crate::{broker::Broker, net::replies::Reply};

/// What the wire carries for "no id" and "no epoch".
const NONE: (i64, i16) = (-1, -1);

/// Answers with an id that nobody else has.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: InitProducerIdRequest) -> Reply {
    let id = match check(&request) {
        Ok(()) => broker.producer_ids.next(block(broker)).await,
        Err(refusal) => Err(refusal),
    };
    head.ready(&match id {
        Ok(id) => InitProducerIdResponse::default()
            .with_producer_id(WireProducerId(id.0))
            .with_producer_epoch(0),
        Err(refusal) => InitProducerIdResponse::default()
            .with_error_code(refusal.code.code())
            .with_producer_epoch(-1),
    })
}

/// A transactional id gets a code that the Java client and franz-go take for final. librdkafka
/// asks again whatever it gets, short of a lie about permissions, and reports this one when
/// `init_transactions` times out.
fn check(request: &InitProducerIdRequest) -> Result<(), Refusal> {
    if request.transactional_id.is_some() {
        let why = "transactions are not built yet: produce without a transactional id";
        return Err(Refusal::invalid(why));
    }
    let given = (request.producer_id.0, request.producer_epoch);
    if (given.0 == NONE.0) != (given.1 == NONE.1) {
        return Err(Refusal::invalid(
            "a producer id and an epoch are given together or not at all",
        ));
    }
    Ok(())
}

async fn block(broker: &Broker) -> Result<ProducerIdBlock, Refusal> {
    match broker.raft.propose(&Command::ProducerIds).await? {
        Answer::ProducerIds(block) => Ok(block?),
        other => Err(Refusal::unexpected(&other)),
    }
}

#[cfg(test)]
mod tests {
    use walrus_wire::kafka_protocol::{messages::TransactionalId, protocol::StrBytes};

    use super::*;

    #[test]
    fn only_idempotent_producers_get_an_id() {
        let named = Some(TransactionalId(StrBytes::from_static_str("t")));
        let empty = Some(TransactionalId::default());
        for (transactional_id, id, epoch, sound) in [
            (None, -1, -1, true),
            (None, 7, 3, true),
            (None, 7, -1, false),
            (None, -1, 3, false),
            (named, -1, -1, false),
            (empty, -1, -1, false),
        ] {
            let request = InitProducerIdRequest::default()
                .with_transactional_id(transactional_id.clone())
                .with_producer_id(WireProducerId(id))
                .with_producer_epoch(epoch);
            assert_eq!(check(&request).is_ok(), sound, "{transactional_id:?} {id} {epoch}");
        }
    }
}
