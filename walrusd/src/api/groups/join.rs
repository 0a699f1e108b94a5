//! JoinGroup, versions 0 to 9: answered when the group's next generation is there.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;
use walrus_groups::{Answer, GroupError, Join, JoinRefusal, Joined, Protocol};
use walrus_types::limits::CLIENT_ID_BYTES_MAX;
use walrus_wire::kafka_protocol::{
    messages::{JoinGroupRequest, JoinGroupResponse, join_group_response::JoinGroupResponseMember},
    protocol::StrBytes,
};

use super::{kept, kept_if, text};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    groups::{Asked, Unready},
    net::{connection::Client, replies::Reply},
};

/// A new member has to come again with its id (KIP-394).
const ID_REQUIRED_SINCE: i16 = 4;
/// The protocol may be null.
const NULL_PROTOCOL_SINCE: i16 = 7;
/// A leader may be told that it need not assign (KIP-814).
const SKIPS_SINCE: i16 = 9;

/// Asks to be taken into the group.
pub async fn join(
    broker: &Arc<Broker>,
    (client, client_id): (&Client, Option<&str>),
    head: Head,
    request: JoinGroupRequest,
) -> Reply {
    let join = wanted((client, client_id), head.version, &request);
    let asked = match broker.groups.shard(broker, &join.group).await {
        Ok(shard) => {
            let ask = shard.ask(|coordinator, waiter, at, out| {
                coordinator.join(&join, waiter, at, out);
            });
            ask.await
        }
        Err(why) => Err(why),
    };
    let member = request.member_id;
    match asked {
        Ok(asked) => {
            Reply::later(
                async move { head.frames(&respond(head.version, told(asked).await, &member)) },
            )
        }
        Err(why) => head.ready(&respond(head.version, Err(why), &member)),
    }
}

fn wanted(
    (client, client_id): (&Client, Option<&str>),
    version: i16,
    request: &JoinGroupRequest,
) -> Join {
    let session_timeout_ms = request.session_timeout_ms;
    let rebalance_timeout_ms = match request.rebalance_timeout_ms {
        // Version 0 has none.
        -1 => session_timeout_ms,
        given => given,
    };
    let protocols = request.protocols.iter().map(|protocol| Protocol {
        name: kept(&protocol.name),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    let mut client_id = client_id.unwrap_or_default().to_owned();
    client_id.truncate(client_id.floor_char_boundary(CLIENT_ID_BYTES_MAX));
    Join {
        group: kept(&request.group_id),
        member: kept(&request.member_id),
        instance: kept_if(request.group_instance_id.as_ref()),
        client_id,
        client_host: format!("/{}", client.peer.ip().to_canonical()),
        session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: kept(&request.protocol_type),
        protocols: protocols.collect(),
        id_required: version >= ID_REQUIRED_SINCE,
        can_skip_assignment: version >= SKIPS_SINCE,
        random: Uuid::new_v4().to_string(),
    }
}

type Told = Result<Result<Joined, JoinRefusal>, Unready>;

async fn told(asked: Asked) -> Told {
    match asked.answer().await? {
        Answer::Join(told) => Ok(told),
        Answer::Sync(_) | Answer::Commit(_) | Answer::DeleteOffsets(_) | Answer::DeleteGroup(_) => {
            let member = String::new();
            Ok(Err(JoinRefusal { error: GroupError::NotAvailable, member }))
        }
    }
}

fn respond(version: i16, told: Told, member: &StrBytes) -> JoinGroupResponse {
    let refused = |refusal: Refusal, member: StrBytes| {
        let none = (version < NULL_PROTOCOL_SINCE).then(StrBytes::default);
        JoinGroupResponse::default()
            .with_error_code(refusal.code.code())
            .with_generation_id(-1)
            .with_protocol_name(none)
            .with_member_id(member)
    };
    let joined = match told {
        Ok(Ok(joined)) => joined,
        Ok(Err(why)) => return refused(Refusal::from(&why.error), text(why.member)),
        Err(why) => return refused(Refusal::from(&why), member.clone()),
    };
    let members = joined.members.into_iter().map(|member| {
        JoinGroupResponseMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(member.instance.map(text))
            .with_metadata(member.metadata)
    });
    JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_type(Some(text(joined.protocol_type)))
        .with_protocol_name(Some(text(joined.protocol)))
        .with_leader(text(joined.leader))
        .with_skip_assignment(joined.skip_assignment)
        .with_member_id(text(joined.member))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use walrus_groups::JoinedMember;
    use walrus_wire::response;

    use super::*;

    #[test]
    fn every_version_has_room_for_every_answer() {
        let member = JoinedMember {
            member: "m".into(),
            instance: Some("i".into()),
            metadata: Bytes::from_static(b"x"),
        };
        for version in 0..=9 {
            let joined = Joined {
                member: "m".into(),
                generation: 3,
                protocol_type: "consumer".into(),
                protocol: "range".into(),
                leader: "m".into(),
                skip_assignment: version >= SKIPS_SINCE,
                members: vec![member.clone()],
            };
            let refusal = JoinRefusal { error: GroupError::MemberIdRequired, member: "n".into() };
            for told in [Ok(Ok(joined)), Ok(Err(refusal)), Err(Unready::Loading)] {
                let answer = respond(version, told, &StrBytes::from_static_str("m"));
                response::encode(1, version, &answer).unwrap();
            }
        }
    }
}
