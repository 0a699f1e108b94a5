//! What groups commit.

use walrus_wire::kafka_protocol::messages::{
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{
        OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    },
    *,
};

use super::{ALL, Case, case};
use crate::scene::{
    Scene, committed, coordinator, joined, left, stable, static_member, text, topic,
};

/// A topic, and a coordinator for its group.
fn both(scene: &mut Scene) -> anyhow::Result<()> {
    topic(scene)?;
    coordinator(scene)
}

fn part(offset: i64) -> OffsetCommitRequestPartition {
    OffsetCommitRequestPartition::default().with_committed_offset(offset)
}

/// A commit of the scene's member, or of nobody where there is none.
fn commit(scene: &Scene, part: OffsetCommitRequestPartition) -> OffsetCommitRequest {
    let named = OffsetCommitRequestTopic::default()
        .with_name(scene.topic.clone())
        .with_partitions(vec![part]);
    OffsetCommitRequest::default()
        .with_group_id(scene.group.clone())
        .with_generation_id_or_member_epoch(scene.generation)
        .with_member_id(scene.member.clone())
        .with_topics(vec![named])
}

/// What a group has committed for partitions of a topic, or all that it has.
fn fetch(scene: &Scene, group: &str, asked: Option<(&str, &[i32])>) -> OffsetFetchRequest {
    let group = GroupId(text(group));
    let name = |name: &str| TopicName(text(name));
    if scene.version >= 8 {
        let topics = asked.map(|(topic, parts)| {
            let named = OffsetFetchRequestTopics::default().with_name(name(topic));
            vec![named.with_partition_indexes(parts.to_vec())]
        });
        let one = OffsetFetchRequestGroup::default().with_group_id(group).with_topics(topics);
        return OffsetFetchRequest::default().with_groups(vec![one]);
    }
    let topics = asked.map(|(topic, parts)| {
        let named = OffsetFetchRequestTopic::default().with_name(name(topic));
        vec![named.with_partition_indexes(parts.to_vec())]
    });
    OffsetFetchRequest::default().with_group_id(group).with_topics(topics)
}

fn delete(scene: &Scene, topic: &str, partition: i32) -> OffsetDeleteRequest {
    let part = OffsetDeleteRequestPartition::default().with_partition_index(partition);
    let named = OffsetDeleteRequestTopic::default()
        .with_name(TopicName(text(topic)))
        .with_partitions(vec![part]);
    OffsetDeleteRequest::default().with_group_id(scene.group.clone()).with_topics(vec![named])
}

fn commits() -> Vec<Case> {
    const LAST: &[i16] = &[2, 8, 9];
    vec![
        case("commit as a member", ALL, stable, |s| commit(s, part(3))),
        case("commit for a group without members", ALL, both, |s| commit(s, part(3))),
        case("commit before the sync", LAST, joined, |s| commit(s, part(3))),
        case("commit as nobody to a group with members", LAST, stable, |s| {
            commit(s, part(3)).with_generation_id_or_member_epoch(-1).with_member_id(text(""))
        }),
        case("commit in a past generation", LAST, stable, |s| {
            commit(s, part(3)).with_generation_id_or_member_epoch(0)
        }),
        case("commit in a future generation", LAST, stable, |s| {
            commit(s, part(3)).with_generation_id_or_member_epoch(99)
        }),
        case("commit as an unknown member", LAST, stable, |s| {
            commit(s, part(3)).with_member_id(text("nobody"))
        }),
        case("commit as a member that left", LAST, left, |s| commit(s, part(3))),
        case("commit as a member of an unknown group", LAST, both, |s| {
            commit(s, part(3)).with_generation_id_or_member_epoch(1).with_member_id(text("nobody"))
        }),
        case("commit for a static member with a wrong id", &[7, 8], static_member, |s| {
            commit(s, part(3)).with_member_id(text("wrong")).with_group_instance_id(Some(text("i")))
        }),
        case("commit as an unknown static member", &[8], static_member, |s| {
            commit(s, part(3)).with_group_instance_id(Some(text("j")))
        }),
        case("commit for a group without a name", LAST, both, |s| {
            commit(s, part(3)).with_group_id(GroupId(text("")))
        }),
        case("commit for an unknown topic", LAST, coordinator, |s| commit(s, part(3))),
        case("commit for an unknown partition", LAST, both, |s| {
            commit(s, part(3).with_partition_index(7))
        }),
        case("commit for a negative partition", LAST, both, |s| {
            commit(s, part(3).with_partition_index(-1))
        }),
        case("commit for a known and an unknown topic", &[8], both, |s| {
            let mut request = commit(s, part(3));
            let other = request.topics[0].clone().with_name(TopicName(text("not-there")));
            request.topics.push(other);
            request
        }),
        case("commit for a topic that is named wrongly", &[8], both, |s| {
            let mut request = commit(s, part(3));
            request.topics[0].name = TopicName(text("no name"));
            request
        }),
        case("commit an offset past the end", &[8], both, |s| commit(s, part(1 << 40))),
        case("commit a negative offset", LAST, both, |s| commit(s, part(-5))),
        case("commit with long words", LAST, both, |s| {
            commit(s, part(3).with_committed_metadata(Some(text(&"w".repeat(5_000)))))
        }),
        case("commit with no words", LAST, both, |s| {
            commit(s, part(3).with_committed_metadata(None))
        }),
        case("commit with a retention", &[2, 4], both, |s| {
            commit(s, part(3)).with_retention_time_ms(60_000)
        }),
        case("commit nothing", LAST, both, |s| {
            let mut request = commit(s, part(3));
            request.topics.clear();
            request
        }),
        case("commit for a partition twice", &[8], both, |s| {
            let mut request = commit(s, part(3));
            request.topics[0].partitions.push(part(4));
            request
        }),
    ]
}

fn fetches() -> Vec<Case> {
    const LAST: &[i16] = &[1, 5, 7, 8, 9];
    vec![
        case("fetch what was committed", ALL, committed, |s| {
            fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[0])))
        }),
        case("fetch what was not committed", LAST, committed, |s| {
            fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[1])))
        }),
        case("fetch all that was committed", &[2, 5, 7, 8, 9], committed, |s| {
            fetch(s, s.group.as_str(), None)
        }),
        case("fetch an unknown group's offsets", LAST, both, |s| {
            fetch(s, "not-there", Some((s.topic.as_str(), &[0])))
        }),
        case("fetch all of an unknown group", &[2, 5, 8, 9], coordinator, |s| {
            fetch(s, "not-there", None)
        }),
        case("fetch the offsets of a group without a name", LAST, both, |s| {
            fetch(s, "", Some((s.topic.as_str(), &[0])))
        }),
        case("fetch offsets of an unknown topic", LAST, committed, |s| {
            fetch(s, s.group.as_str(), Some(("not-there", &[0])))
        }),
        case("fetch offsets of an unknown partition", LAST, committed, |s| {
            fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[7, -1])))
        }),
        case("fetch offsets of no partition", LAST, committed, |s| {
            fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[])))
        }),
        case("fetch stable offsets", &[7, 8, 9], committed, |s| {
            fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[0]))).with_require_stable(true)
        }),
        case("fetch the offsets of two groups", &[8, 9], committed, |s| {
            let mut request = fetch(s, s.group.as_str(), None);
            let other = fetch(s, "not-there", Some((s.topic.as_str(), &[0, 1])));
            request.groups.extend(other.groups);
            request
        }),
        case("fetch the offsets of no group", &[8, 9], coordinator, |_| {
            OffsetFetchRequest::default()
        }),
        case("fetch offsets as an unknown member", &[9], stable, |s| {
            let mut request = fetch(s, s.group.as_str(), Some((s.topic.as_str(), &[0])));
            request.groups[0].member_id = Some(text("nobody"));
            request.groups[0].member_epoch = 3;
            request
        }),
        case("delete an offset", ALL, committed, |s| delete(s, s.topic.as_str(), 0)),
        case("delete an offset that was not committed", ALL, committed, |s| {
            delete(s, s.topic.as_str(), 1)
        }),
        case("delete an offset of an unknown topic", ALL, committed, |s| delete(s, "not-there", 0)),
        case("delete an offset of an unknown partition", ALL, committed, |s| {
            delete(s, s.topic.as_str(), 7)
        }),
        case("delete an offset of an unknown group", ALL, both, |s| delete(s, s.topic.as_str(), 0)),
        case("delete an offset of a group without a name", ALL, both, |s| {
            delete(s, s.topic.as_str(), 0).with_group_id(GroupId(text("")))
        }),
        case("delete an offset of a topic that is read", ALL, stable, |s| {
            delete(s, s.topic.as_str(), 0)
        }),
        case("delete no offset of a group with members", ALL, stable, |s| {
            OffsetDeleteRequest::default().with_group_id(s.group.clone())
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [commits(), fetches()].into_iter().flatten().collect()
}
