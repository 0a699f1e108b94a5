//! Heartbeat, versions 0 to 4: a member is there, and hears whether the group rebalances.

use std::sync::Arc;

use walrus_groups::Identity;
use walrus_wire::kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::{code, told};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Keeps a member's session.
pub async fn heartbeat(broker: &Arc<Broker>, head: Head, request: HeartbeatRequest) -> Reply {
    let who = Identity {
        member: &request.member_id,
        instance: request.group_instance_id.as_deref(),
        generation: request.generation_id,
    };
    let heard = match broker.groups.shard(broker, &request.group_id).await {
        Ok(shard) => {
            let ask = shard.ask_now(|coordinator, at, _| {
                coordinator.heartbeat(&request.group_id, who, at.now)
            });
            told(ask.await)
        }
        Err(why) => Err(Refusal::from(&why)),
    };
    head.ready(&HeartbeatResponse::default().with_error_code(code(&heard)))
}
