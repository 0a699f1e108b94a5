//! SyncGroup, versions 0 to 5: answered when the leader's assignments are committed.

use std::sync::Arc;

use bytes::Bytes;
use walrus_groups::{Answer, GroupError, Sync, Synced};
use walrus_wire::kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::{kept, kept_if, text, told, unexpected};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    groups::Asked,
    net::replies::Reply,
};

/// The first version in which a member says what it takes part in, and has to (KIP-559).
const PROTOCOL_SINCE: i16 = 5;

/// Asks what a member has to do; the leader says what everybody has to.
pub async fn sync(broker: &Arc<Broker>, head: Head, request: SyncGroupRequest) -> Reply {
    let says = request.protocol_type.is_some() && request.protocol_name.is_some();
    if head.version >= PROTOCOL_SINCE && !says {
        return head.ready(&respond(Err(Refusal::from(&GroupError::InconsistentProtocol))));
    }
    let assignments = request
        .assignments
        .iter()
        .map(|one| (kept(&one.member_id), Bytes::copy_from_slice(&one.assignment)));
    let sync = Sync {
        group: kept(&request.group_id),
        member: kept(&request.member_id),
        instance: kept_if(request.group_instance_id.as_ref()),
        generation: request.generation_id,
        protocol_type: kept_if(request.protocol_type.as_ref()),
        protocol: kept_if(request.protocol_name.as_ref()),
        assignments: assignments.collect(),
    };
    let asked = match broker.groups.shard(broker, &sync.group.clone()).await {
        Ok(shard) => {
            let ask = shard.ask(|coordinator, waiter, at, out| {
                coordinator.sync(sync, waiter, at, out);
            });
            ask.await
        }
        Err(why) => Err(why),
    };
    match asked {
        Ok(asked) => Reply::later(async move { head.frames(&respond(answer(asked).await)) }),
        Err(why) => head.ready(&respond(Err(Refusal::from(&why)))),
    }
}

async fn answer(asked: Asked) -> Result<Synced, Refusal> {
    match asked.answer().await {
        Ok(Answer::Sync(answer)) => told(Ok(answer)),
        Ok(_) => Err(unexpected()),
        Err(why) => Err(Refusal::from(&why)),
    }
}

fn respond(answer: Result<Synced, Refusal>) -> SyncGroupResponse {
    match answer {
        Ok(synced) => SyncGroupResponse::default()
            .with_protocol_type(Some(text(synced.protocol_type)))
            .with_protocol_name(Some(text(synced.protocol)))
            .with_assignment(synced.assignment),
        Err(refusal) => SyncGroupResponse::default().with_error_code(refusal.code.code()),
    }
}
