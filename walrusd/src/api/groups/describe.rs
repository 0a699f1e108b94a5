//! DescribeGroups, versions 0 to 6: groups and their members.

use std::sync::Arc;

use walrus_groups::{Described, State};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        DescribeGroupsRequest, DescribeGroupsResponse, GroupId,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
    },
    protocol::StrBytes,
};

use super::text;
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Read, delete and describe, as bits of Kafka's operations: there is nobody who may not.
const GROUP_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8;
/// A group that is not there is an error from this version on; before, it is dead.
const NOT_FOUND_SINCE: i16 = 6;

/// Describes the groups asked for.
pub async fn describe(broker: &Arc<Broker>, head: Head, request: DescribeGroupsRequest) -> Reply {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        let found = match broker.groups.shard(broker, &group).await {
            Ok(shard) => shard.ask_now(|coordinator, _, _| coordinator.describe(&group)).await,
            Err(why) => Err(why),
        };
        let mut answer = match found {
            Ok(found) => found_or_not(head.version, found),
            Err(why) => {
                let refusal = Refusal::from(&why);
                DescribedGroup::default()
                    .with_error_code(refusal.code.code())
                    .with_error_message(words(head.version, &refusal))
            }
        };
        answer.group_id = GroupId(group.0);
        if request.include_authorized_operations {
            answer.authorized_operations = GROUP_OPERATIONS;
        }
        groups.push(answer);
    }
    head.ready(&DescribeGroupsResponse::default().with_groups(groups))
}

fn words(version: i16, refusal: &Refusal) -> Option<StrBytes> {
    if version >= NOT_FOUND_SINCE { refusal.words() } else { None }
}

fn found_or_not(version: i16, found: Option<Described>) -> DescribedGroup {
    let dead = StrBytes::from_static_str(State::Dead.name());
    let Some(group) = found else {
        let answer = DescribedGroup::default().with_group_state(dead);
        if version < NOT_FOUND_SINCE {
            return answer;
        }
        let refusal = Refusal::new(ResponseError::GroupIdNotFound, "there is no such group");
        return answer
            .with_error_code(refusal.code.code())
            .with_error_message(words(version, &refusal));
    };
    let members = group.members.into_iter().map(|member| {
        DescribedGroupMember::default()
            .with_member_id(text(member.member))
            .with_group_instance_id(member.instance.map(text))
            .with_client_id(text(member.client_id))
            .with_client_host(text(member.client_host))
            .with_member_metadata(member.metadata)
            .with_member_assignment(member.assignment)
    });
    DescribedGroup::default()
        .with_group_state(StrBytes::from_static_str(group.state.name()))
        .with_protocol_type(text(group.protocol_type))
        .with_protocol_data(text(group.protocol))
        .with_members(members.collect())
}

#[cfg(test)]
mod tests {
    use walrus_groups::DescribedMember;
    use walrus_wire::response;

    use super::*;

    #[test]
    fn a_group_that_is_not_there_is_dead_and_later_an_error() {
        for version in 0..=6 {
            let answer = found_or_not(version, None);
            let expected = if version < 6 { 0 } else { ResponseError::GroupIdNotFound.code() };
            assert_eq!((answer.error_code, answer.group_state.as_str()), (expected, "Dead"));
            let answer = DescribeGroupsResponse::default().with_groups(vec![answer]);
            response::encode(1, version, &answer).unwrap();
        }
    }

    #[test]
    fn every_version_has_room_for_members() {
        let member = DescribedMember {
            member: "m".into(),
            instance: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            metadata: bytes::Bytes::new(),
            assignment: bytes::Bytes::new(),
        };
        let group = Described {
            state: State::Stable,
            protocol_type: "consumer".into(),
            protocol: "range".into(),
            generation: 1,
            leader: None,
            members: vec![member],
        };
        for version in 0..=6 {
            let answer = found_or_not(version, Some(group.clone()));
            let answer = DescribeGroupsResponse::default().with_groups(vec![answer]);
            response::encode(1, version, &answer).unwrap();
        }
    }
}
