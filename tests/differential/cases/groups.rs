//! Groups: who is in, and what tools ask about them.

use bytes::Bytes;
use walrus_wire::kafka_protocol::messages::{
    leave_group_request::MemberIdentity, sync_group_request::SyncGroupRequestAssignment, *,
};

use super::{ALL, Case, case};
use crate::scene::{
    Scene, committed, coordinator, joined, left, nothing, stable, static_member, text,
};

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

fn join(scene: &Scene) -> JoinGroupRequest {
    scene.join("range")
}

/// With what version 5 wants to be told.
fn sync(scene: &Scene) -> SyncGroupRequest {
    let request = scene.sync();
    if scene.version < 5 {
        return request;
    }
    request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
}

fn heartbeat(scene: &Scene) -> HeartbeatRequest {
    HeartbeatRequest::default()
        .with_group_id(scene.group.clone())
        .with_generation_id(scene.generation)
        .with_member_id(scene.member.clone())
}

fn leave(scene: &Scene, member: &str, instance: Option<&str>) -> LeaveGroupRequest {
    let request = LeaveGroupRequest::default().with_group_id(scene.group.clone());
    match scene.version {
        ..3 => request.with_member_id(text(member)),
        _ => request.with_members(vec![
            MemberIdentity::default()
                .with_member_id(text(member))
                .with_group_instance_id(instance.map(text)),
        ]),
    }
}

fn describe(name: &GroupId) -> DescribeGroupsRequest {
    DescribeGroupsRequest::default().with_groups(vec![name.clone()])
}

fn list(states: &[&str], types: &[&str]) -> ListGroupsRequest {
    ListGroupsRequest::default()
        .with_states_filter(states.iter().map(|one| text(one)).collect())
        .with_types_filter(types.iter().map(|one| text(one)).collect())
}

fn delete(names: &[&GroupId]) -> DeleteGroupsRequest {
    let names = names.iter().map(|name| (*name).clone());
    DeleteGroupsRequest::default().with_groups_names(names.collect())
}

fn joins() -> Vec<Case> {
    const LAST: &[i16] = &[5, 9];
    vec![
        case("join an empty group", &[0, 1, 2, 3], coordinator, join),
        case("join without an id", &[4, 5, 6, 8, 9], coordinator, join),
        case("join as a static member", LAST, coordinator, |s| {
            join(s).with_group_instance_id(Some(text("i")))
        }),
        case("join a group without a name", &[0, 5, 9], coordinator, |s| {
            join(s).with_group_id(group(""))
        }),
        case("join with an id that nobody gave out", &[0, 4, 9], coordinator, |s| {
            join(s).with_member_id(text("nobody"))
        }),
        case("join a stable group with an id that nobody gave out", LAST, stable, |s| {
            join(s).with_member_id(text("nobody"))
        }),
        case("join with a short session", &[0, 9], coordinator, |s| {
            join(s).with_session_timeout_ms(10)
        }),
        case("join with a long session", &[0, 9], coordinator, |s| {
            join(s).with_session_timeout_ms(i32::MAX)
        }),
        case("join with a negative session", LAST, coordinator, |s| {
            join(s).with_session_timeout_ms(-1)
        }),
        case("join without protocols", &[0, 3, 9], coordinator, |s| {
            join(s).with_protocols(Vec::new())
        }),
        case("join without a kind of protocol", &[0, 3, 9], coordinator, |s| {
            join(s).with_protocol_type(text(""))
        }),
        case("join a stable group with another protocol", &[0, 3, 9], stable, |s| {
            s.join("other").with_member_id(text(""))
        }),
        case("join a stable group with another kind of protocol", LAST, stable, |s| {
            join(s).with_member_id(text("")).with_protocol_type(text("connect"))
        }),
        case("join again unchanged, as the leader", LAST, stable, join),
        case("join a static member's place with a wrong id", LAST, static_member, |s| {
            join(s).with_member_id(text("wrong")).with_group_instance_id(Some(text("i")))
        }),
        case("a static member comes back", LAST, static_member, |s| {
            join(s).with_member_id(text("")).with_group_instance_id(Some(text("i")))
        }),
        case("join as an unknown static member with an id", LAST, static_member, |s| {
            join(s).with_group_instance_id(Some(text("j")))
        }),
        case("join with an empty static id", LAST, coordinator, |s| {
            join(s).with_group_instance_id(Some(text("")))
        }),
        case("sync as the leader", ALL, joined, sync),
        case("sync again", &[0, 3, 5], stable, sync),
        case("sync without a kind of protocol", &[5], joined, |s| sync(s).with_protocol_type(None)),
        case("sync without a protocol", &[5], joined, |s| sync(s).with_protocol_name(None)),
        case("sync with neither in an unknown group", &[5], coordinator, Scene::sync),
        case("sync in a past generation", &[0, 3], stable, |s| s.sync().with_generation_id(0)),
        case("sync in a future generation", &[0, 3], stable, |s| s.sync().with_generation_id(99)),
        case("sync as an unknown member", &[0, 3], stable, |s| {
            s.sync().with_member_id(text("nobody"))
        }),
        case("sync with an unknown group", &[0, 3, 5], coordinator, sync),
        case("sync with a group without a name", &[0, 3], coordinator, |s| {
            s.sync().with_group_id(group(""))
        }),
        case("sync for a static member with a wrong id", &[3], static_member, |s| {
            s.sync().with_member_id(text("wrong")).with_group_instance_id(Some(text("i")))
        }),
        case("sync by another kind of protocol", &[5], joined, |s| {
            s.sync()
                .with_protocol_type(Some(text("connect")))
                .with_protocol_name(Some(text("range")))
        }),
        case("sync by another protocol", &[5], joined, |s| {
            s.sync()
                .with_protocol_type(Some(text("consumer")))
                .with_protocol_name(Some(text("other")))
        }),
        case("sync with an assignment for a stranger", &[3], joined, |s| {
            let other = SyncGroupRequestAssignment::default()
                .with_member_id(text("nobody"))
                .with_assignment(Bytes::from_static(b"not an assignment"));
            s.sync().with_assignments(vec![other])
        }),
        case("sync with a malformed assignment", &[3], joined, |s| {
            let mine = SyncGroupRequestAssignment::default()
                .with_member_id(s.member.clone())
                .with_assignment(Bytes::from_static(&[0xff; 9]));
            s.sync().with_assignments(vec![mine])
        }),
    ]
}

fn members() -> Vec<Case> {
    vec![
        case("heartbeat", ALL, stable, heartbeat),
        case("heartbeat before the sync", &[0, 4], joined, heartbeat),
        case("heartbeat in a past generation", &[0, 4], stable, |s| {
            heartbeat(s).with_generation_id(0)
        }),
        case("heartbeat in a future generation", &[4], stable, |s| {
            heartbeat(s).with_generation_id(99)
        }),
        case("heartbeat as an unknown member", &[0, 4], stable, |s| {
            heartbeat(s).with_member_id(text("nobody"))
        }),
        case("heartbeat to an unknown group", &[0, 4], coordinator, heartbeat),
        case("heartbeat to a group without members", &[4], left, heartbeat),
        case("heartbeat to a group without a name", &[0, 4], coordinator, |s| {
            heartbeat(s).with_group_id(group(""))
        }),
        case("heartbeat for a static member with a wrong id", &[4], static_member, |s| {
            heartbeat(s).with_member_id(text("wrong")).with_group_instance_id(Some(text("i")))
        }),
        case("heartbeat as an unknown static member", &[4], static_member, |s| {
            heartbeat(s).with_group_instance_id(Some(text("j")))
        }),
        case("leave", ALL, stable, |s| leave(s, s.member.as_str(), None)),
        case("leave as an unknown member", &[0, 2, 3, 5], stable, |s| leave(s, "nobody", None)),
        case("leave an unknown group", &[0, 2, 3, 5], coordinator, |s| leave(s, "nobody", None)),
        case("leave a group without a name", &[0, 3, 5], coordinator, |s| {
            leave(s, "nobody", None).with_group_id(group(""))
        }),
        case("leave by a static id", &[3, 5], static_member, |s| leave(s, "", Some("i"))),
        case("leave by a static id with a wrong member id", &[3, 5], static_member, |s| {
            leave(s, "wrong", Some("i"))
        }),
        case("leave by an unknown static id", &[3, 5], static_member, |s| leave(s, "", Some("j"))),
        case("leave as nobody at all", &[3, 5], stable, |s| {
            LeaveGroupRequest::default().with_group_id(s.group.clone())
        }),
    ]
}

fn tools() -> Vec<Case> {
    vec![
        case("describe a stable group", ALL, stable, |s| describe(&s.group)),
        case("describe a group of a static member", &[4, 5, 6], static_member, |s| {
            describe(&s.group)
        }),
        case("describe a group that waits for its leader", &[5, 6], joined, |s| describe(&s.group)),
        case("describe a group that its members left", &[0, 5, 6], left, |s| describe(&s.group)),
        case("describe a group that only committed", &[0, 5, 6], committed, |s| describe(&s.group)),
        case("describe an unknown group", &[0, 4, 5, 6], coordinator, |s| describe(&s.group)),
        case("describe a group without a name", &[0, 5, 6], coordinator, |_| describe(&group(""))),
        case("describe no group", &[0, 5, 6], nothing, |_| DescribeGroupsRequest::default()),
        case("describe a group twice", &[5], stable, |s| {
            DescribeGroupsRequest::default().with_groups(vec![s.group.clone(), s.group.clone()])
        }),
        case("describe a group with what one may do", &[3, 5], stable, |s| {
            describe(&s.group).with_include_authorized_operations(true)
        }),
        case("list groups of a state that there is not", &[4, 5], coordinator, |_| {
            list(&["NoSuchState"], &[])
        }),
        case("list dead groups", &[4, 5], coordinator, |_| list(&["Dead"], &[])),
        case("list groups of a type that there is not", &[5], coordinator, |_| {
            list(&[], &["nosuchtype"])
        }),
        case("list groups of another type", &[5], coordinator, |_| list(&[], &["consumer"])),
        case("delete an unknown group", ALL, coordinator, |s| delete(&[&s.group])),
        case("delete a group with members", &[0, 2], stable, |s| delete(&[&s.group])),
        case("delete a group that its members left", &[2], left, |s| delete(&[&s.group])),
        case("delete a group that only committed", &[0, 2], committed, |s| delete(&[&s.group])),
        case("delete a group without a name", &[0, 2], coordinator, |_| delete(&[&group("")])),
        case("delete no group", &[0, 2], nothing, |_| delete(&[])),
        case("delete a group twice", &[2], committed, |s| delete(&[&s.group, &s.group])),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [joins(), members(), tools()].into_iter().flatten().collect()
}
