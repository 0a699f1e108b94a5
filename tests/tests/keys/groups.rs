//! The table's rows of consumer groups. FindCoordinator stands before them: it makes the topic that
//! they need.

use walrus_wire::{
    Api,
    kafka_protocol::messages::{
        leave_group_request::MemberIdentity,
        offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
        offset_fetch_request::{
            OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
        },
        *,
    },
};

use super::{
    Ask, World,
    requests::{text, topic},
    row,
};

/// UNKNOWN_MEMBER_ID.
const UNKNOWN_MEMBER: &[i16] = &[25];
/// GROUP_ID_NOT_FOUND.
const NOT_FOUND: &[i16] = &[69];

/// A group that has committed, and no members.
fn group() -> GroupId {
    GroupId(text("table"))
}

fn absent() -> GroupId {
    GroupId(text("absent"))
}

fn commit(_: &World, _: i16) -> OffsetCommitRequest {
    let part = OffsetCommitRequestPartition::default().with_committed_offset(1);
    let named = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(vec![part]);
    let request = OffsetCommitRequest::default().with_group_id(group());
    request.with_generation_id_or_member_epoch(-1).with_topics(vec![named])
}

fn fetch(_: &World, version: i16) -> OffsetFetchRequest {
    if version < 8 {
        let named = OffsetFetchRequestTopic::default().with_name(topic());
        let named = named.with_partition_indexes(vec![0]);
        let request = OffsetFetchRequest::default().with_group_id(group());
        return request.with_topics(Some(vec![named]));
    }
    let named = OffsetFetchRequestTopics::default().with_name(topic());
    let named = named.with_partition_indexes(vec![0]);
    let one = OffsetFetchRequestGroup::default().with_group_id(group());
    OffsetFetchRequest::default().with_groups(vec![one.with_topics(Some(vec![named]))])
}

fn leave(_: &World, version: i16) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(group());
    if version < 3 {
        return request.with_member_id(text("nobody"));
    }
    request.with_members(vec![MemberIdentity::default().with_member_id(text("nobody"))])
}

fn sync(_: &World, version: i16) -> SyncGroupRequest {
    let request = SyncGroupRequest::default().with_group_id(group());
    if version < 5 {
        return request;
    }
    request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
}

fn join(_: &World, _: i16) -> JoinGroupRequest {
    JoinGroupRequest::default()
        .with_group_id(group())
        .with_member_id(text("nobody"))
        .with_session_timeout_ms(10_000)
        .with_protocol_type(text("consumer"))
}

#[expect(clippy::too_many_lines, reason = "a table: a row for each key")]
pub(super) fn of_groups() -> Vec<(Api, Ask)> {
    vec![
        row(
            Api::OffsetCommit,
            commit,
            |r| r.topics[0].partitions.iter().map(|p| p.error_code).collect(),
            &[0],
            OffsetCommitRequest::default(),
        ),
        row(
            Api::OffsetFetch,
            fetch,
            |r| match r.groups.first() {
                Some(group) => vec![group.error_code],
                None => vec![r.error_code],
            },
            &[0],
            OffsetFetchRequest::default(),
        ),
        row(Api::JoinGroup, join, |r| vec![r.error_code], &[23], JoinGroupRequest::default()),
        row(
            Api::Heartbeat,
            |_, _| HeartbeatRequest::default().with_group_id(group()),
            |r| vec![r.error_code],
            UNKNOWN_MEMBER,
            HeartbeatRequest::default(),
        ),
        row(
            Api::LeaveGroup,
            leave,
            |r| match r.members.first() {
                Some(member) => vec![member.error_code],
                None => vec![r.error_code],
            },
            UNKNOWN_MEMBER,
            LeaveGroupRequest::default(),
        ),
        row(
            Api::SyncGroup,
            sync,
            |r| vec![r.error_code],
            UNKNOWN_MEMBER,
            SyncGroupRequest::default(),
        ),
        row(
            Api::DescribeGroups,
            |_, _| DescribeGroupsRequest::default().with_groups(vec![group()]),
            |r| r.groups.iter().map(|one| one.error_code).collect(),
            &[0],
            DescribeGroupsRequest::default(),
        ),
        row(
            Api::ListGroups,
            |_, _| ListGroupsRequest::default(),
            |r| vec![r.error_code],
            &[0],
            ListGroupsRequest::default(),
        ),
        row(
            Api::DeleteGroups,
            |_, _| DeleteGroupsRequest::default().with_groups_names(vec![absent()]),
            |r| r.results.iter().map(|one| one.error_code).collect(),
            NOT_FOUND,
            DeleteGroupsRequest::default(),
        ),
        row(
            Api::OffsetDelete,
            |_, _| OffsetDeleteRequest::default().with_group_id(absent()),
            |r| vec![r.error_code],
            NOT_FOUND,
            OffsetDeleteRequest::default(),
        ),
    ]
}
