//! LeaveGroup, versions 0 to 5: one member up to version 2, then many, by id or by name (KIP-345).

use std::sync::Arc;

use walrus_groups::Leaver;
use walrus_wire::kafka_protocol::messages::{
    LeaveGroupRequest, LeaveGroupResponse, leave_group_response::MemberResponse,
};

use super::{code, kept, kept_if, told};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

const MANY_SINCE: i16 = 3;

/// Takes members out.
pub async fn leave(broker: &Arc<Broker>, head: Head, request: LeaveGroupRequest) -> Reply {
    let leavers: Vec<Leaver> = if head.version >= MANY_SINCE {
        let leaver = |member: &walrus_wire::kafka_protocol::messages::leave_group_request::MemberIdentity| {
            Leaver {
                member: kept(&member.member_id),
                instance: kept_if(member.group_instance_id.as_ref()),
            }
        };
        request.members.iter().map(leaver).collect()
    } else {
        vec![Leaver { member: kept(&request.member_id), instance: None }]
    };
    let left = match broker.groups.shard(broker, &request.group_id).await {
        Ok(shard) => {
            let ask = shard.ask_now(|coordinator, at, out| {
                coordinator.leave(&request.group_id, &leavers, at, out)
            });
            told(ask.await)
        }
        Err(why) => Err(Refusal::from(&why)),
    };
    let mut each = match left {
        Ok(each) => each.into_iter().map(|one| one.map_err(|why| Refusal::from(&why))),
        Err(why) => {
            return head.ready(&LeaveGroupResponse::default().with_error_code(why.code.code()));
        }
    };
    if head.version < MANY_SINCE {
        let only = each.next().unwrap_or(Ok(()));
        return head.ready(&LeaveGroupResponse::default().with_error_code(code(&only)));
    }
    let members = each.zip(request.members).map(|(outcome, member)| {
        MemberResponse::default()
            .with_member_id(member.member_id)
            .with_group_instance_id(member.group_instance_id)
            .with_error_code(code(&outcome))
    });
    head.ready(&LeaveGroupResponse::default().with_members(members.collect()))
}
