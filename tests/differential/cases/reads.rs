//! Fetch, ListOffsets, OffsetForLeaderEpoch, Metadata, ApiVersions, FindCoordinator.

use uuid::Uuid;
use walrus_wire::kafka_protocol::messages::{
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    metadata_request::MetadataRequestTopic,
    offset_for_leader_epoch_request::{OffsetForLeaderPartition, OffsetForLeaderTopic},
    *,
};

use super::{ALL, Case, case};
use crate::scene::{FIRST_AT, Scene, coordinator, nothing, records, session, text, topic, trimmed};

/// By id from version 13 on; no session from 7 on.
fn fetch(scene: &Scene, part: FetchPartition) -> FetchRequest {
    let part = part.with_partition_max_bytes(1 << 20);
    let named = FetchTopic::default().with_partitions(vec![part]);
    let named = match scene.version {
        13.. => named.with_topic_id(scene.topic_id),
        _ => named.with_topic(scene.topic.clone()),
    };
    let request = FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_max_wait_ms(10)
        .with_topics(vec![named]);
    if scene.version >= 7 { request.with_session_epoch(-1) } else { request }
}

fn from(offset: i64) -> FetchPartition {
    FetchPartition::default().with_fetch_offset(offset)
}

/// The next request of a session, which names nothing.
fn next(scene: &Scene, epoch: i32) -> FetchRequest {
    FetchRequest::default()
        .with_max_bytes(1 << 20)
        .with_max_wait_ms(10)
        .with_session_id(scene.session)
        .with_session_epoch(epoch)
}

fn offset(scene: &Scene, partition: i32, timestamp: i64) -> ListOffsetsRequest {
    let part =
        ListOffsetsPartition::default().with_partition_index(partition).with_timestamp(timestamp);
    asked(scene, vec![part])
}

fn asked(scene: &Scene, parts: Vec<ListOffsetsPartition>) -> ListOffsetsRequest {
    let named = ListOffsetsTopic::default().with_name(scene.topic.clone()).with_partitions(parts);
    ListOffsetsRequest::default().with_topics(vec![named])
}

fn epoch(scene: &Scene, partition: i32, current: i32, asked: i32) -> OffsetForLeaderEpochRequest {
    let part = OffsetForLeaderPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(current)
        .with_leader_epoch(asked);
    let named =
        OffsetForLeaderTopic::default().with_topic(scene.topic.clone()).with_partitions(vec![part]);
    let request = OffsetForLeaderEpochRequest::default().with_topics(vec![named]);
    if scene.version >= 3 { request.with_replica_id(BrokerId(-1)) } else { request }
}

fn metadata(scene: &Scene, name: &str) -> MetadataRequest {
    let one = MetadataRequestTopic::default().with_name(Some(TopicName(text(name))));
    let request = MetadataRequest::default().with_topics(Some(vec![one]));
    if scene.version >= 4 { request.with_allow_auto_topic_creation(false) } else { request }
}

fn keys(scene: &Scene, kind: i8, keys: &[&str]) -> FindCoordinatorRequest {
    let request = FindCoordinatorRequest::default();
    let request = if scene.version >= 1 { request.with_key_type(kind) } else { request };
    match scene.version {
        ..4 => request.with_key(text(keys[0])),
        _ => request.with_coordinator_keys(keys.iter().map(|key| text(key)).collect()),
    }
}

fn fetches() -> Vec<Case> {
    const NAMED: &[i16] = &[12];
    vec![
        case("fetch from the start", ALL, records, |s| fetch(s, from(0))),
        case("fetch from the middle of a batch", NAMED, records, |s| fetch(s, from(1))),
        case("fetch from the end", ALL, records, |s| fetch(s, from(5))),
        case("fetch past the end", &[4, 11, 12, 16], records, |s| fetch(s, from(6))),
        case("fetch from a negative offset", &[4, 12, 16], records, |s| fetch(s, from(-1))),
        case("fetch from before the start", &[4, 12, 16], trimmed, |s| fetch(s, from(0))),
        case("fetch an unknown topic", &[4, 12], nothing, |s| fetch(s, from(0))),
        case("fetch an unknown topic id", &[13, 16], nothing, |s| {
            let mut request = fetch(s, from(0));
            request.topics[0].topic_id = Uuid::from_u128(77);
            request
        }),
        case("fetch an unknown partition", &[4, 12, 16], records, |s| {
            fetch(s, from(0).with_partition(7))
        }),
        case("fetch a negative partition", NAMED, records, |s| {
            fetch(s, from(0).with_partition(-1))
        }),
        case("fetch with a future leader epoch", &[12, 16], records, |s| {
            fetch(s, from(0).with_current_leader_epoch(99))
        }),
        case("fetch with the leader's epoch", NAMED, records, |s| {
            fetch(s, from(0).with_current_leader_epoch(s.epoch))
        }),
        case("fetch what was last fetched in a future epoch", NAMED, records, |s| {
            fetch(s, from(5).with_last_fetched_epoch(99))
        }),
        case("fetch committed records", &[4, 12, 16], records, |s| {
            fetch(s, from(0)).with_isolation_level(1)
        }),
        case("fetch at an unknown isolation level", NAMED, records, |s| {
            fetch(s, from(0)).with_isolation_level(7)
        }),
        case("fetch at most no bytes", NAMED, records, |s| fetch(s, from(0)).with_max_bytes(0)),
        case("fetch at most one byte of a partition", NAMED, records, |s| {
            let mut request = fetch(s, from(0));
            request.topics[0].partitions[0].partition_max_bytes = 1;
            request
        }),
        case("fetch with a negative wait", NAMED, records, |s| {
            fetch(s, from(5)).with_max_wait_ms(-1)
        }),
        case("fetch more than there is", NAMED, records, |s| {
            fetch(s, from(5)).with_min_bytes(1 << 20)
        }),
        case("fetch the same partition twice", NAMED, records, |s| {
            let mut request = fetch(s, from(0));
            let again = request.topics[0].partitions[0].clone();
            request.topics[0].partitions.push(again);
            request
        }),
        case("fetch nothing without a session", &[4, 12, 16], nothing, |s| {
            let mut request = fetch(s, from(0));
            request.topics.clear();
            request
        }),
        case("begin a session", &[7, 12, 16], records, |s| fetch(s, from(0)).with_session_epoch(0)),
        case("begin a session about nothing", NAMED, nothing, |s| next(s, 0)),
        case("go on with a session that has no news", &[7, 12], session, |s| next(s, 1)),
        case("go on with an unknown session", &[7, 12, 16], nothing, |s| {
            next(s, 1).with_session_id(4_711)
        }),
        case("go on with a session in a wrong epoch", &[7, 12], session, |s| next(s, 9)),
        case("go on with a session with a negative epoch", NAMED, session, |s| next(s, -7)),
        case("end a session", &[7, 12], session, |s| next(s, -1)),
        case("forget a session's topic", &[7, 12], session, |s| {
            let gone =
                ForgottenTopic::default().with_topic(s.topic.clone()).with_partitions(vec![0]);
            next(s, 1).with_forgotten_topics_data(vec![gone])
        }),
        case("add an unknown topic to a session", NAMED, session, |s| {
            let named = FetchTopic::default()
                .with_topic(TopicName(text("not-there")))
                .with_partitions(vec![from(0).with_partition_max_bytes(9)]);
            next(s, 1).with_topics(vec![named])
        }),
        case("read back a session's partition from elsewhere", NAMED, session, |s| {
            let mut request = fetch(s, from(0));
            request.session_id = s.session;
            request.session_epoch = 1;
            request
        }),
    ]
}

fn offsets() -> Vec<Case> {
    const NEW: &[i16] = &[7];
    vec![
        case("list the end", ALL, records, |s| offset(s, 0, -1)),
        case("list the start", ALL, trimmed, |s| offset(s, 0, -2)),
        case("list the greatest time", NEW, records, |s| offset(s, 0, -3)),
        case("list the greatest time of nothing", NEW, topic, |s| offset(s, 0, -3)),
        case("list the greatest time in a version before it", &[1, 6], records, |s| {
            offset(s, 0, -3)
        }),
        case("list the local start in a version before it", &[1, 7], records, |s| offset(s, 0, -4)),
        case("list the tiered end in a version before it", &[1, 7], records, |s| offset(s, 0, -5)),
        case("list a special time that there is not", &[1, 7], records, |s| offset(s, 0, -9)),
        case("list by the first record's time", &[1, 4, 7], records, |s| offset(s, 0, FIRST_AT)),
        case("list by a time within a batch", &[1, 7], records, |s| offset(s, 0, FIRST_AT + 3_500)),
        case("list by a time before all", NEW, records, |s| offset(s, 0, 1)),
        case("list by a time after all", &[1, 7], records, |s| offset(s, 0, FIRST_AT + 9_000_000)),
        case("list by a time where nothing is", NEW, topic, |s| offset(s, 0, FIRST_AT)),
        case("list an empty partition's end", NEW, topic, |s| offset(s, 0, -1)),
        case("list the end of what is committed", &[2, 7], records, |s| {
            offset(s, 0, -1).with_isolation_level(1)
        }),
        case("list at an unknown isolation level", NEW, records, |s| {
            offset(s, 0, -1).with_isolation_level(7)
        }),
        case("list an unknown topic", &[1, 7], nothing, |s| offset(s, 0, -1)),
        case("list an unknown partition", &[1, 7], topic, |s| offset(s, 7, -1)),
        case("list with a future leader epoch", &[4, 7], topic, |s| {
            let mut request = offset(s, 0, -1);
            request.topics[0].partitions[0].current_leader_epoch = 99;
            request
        }),
        case("list a partition twice", &[1, 7], records, |s| {
            let part = || ListOffsetsPartition::default().with_timestamp(-1);
            asked(s, vec![part(), part()])
        }),
        case("list as another broker", NEW, records, |s| {
            offset(s, 0, -1).with_replica_id(BrokerId(5))
        }),
        case("list nothing", &[1, 7], nothing, |_| ListOffsetsRequest::default()),
        case("where the leader's epoch ends", ALL, records, |s| epoch(s, 0, -1, s.epoch)),
        case("where a future epoch ends", ALL, records, |s| epoch(s, 0, -1, 99)),
        case("where an epoch ends, asked with a future one", ALL, records, |s| {
            epoch(s, 0, 99, s.epoch)
        }),
        case("where an epoch ends in an unknown partition", ALL, topic, |s| epoch(s, 7, -1, 0)),
        case("where an epoch ends in an unknown topic", ALL, nothing, |s| epoch(s, 0, -1, 0)),
        case("where a negative epoch ends", &[4], records, |s| epoch(s, 0, -1, -1)),
    ]
}

fn finding() -> Vec<Case> {
    vec![
        case("metadata of a topic", ALL, topic, |s| metadata(s, s.topic.0.as_str())),
        case("metadata of an unknown topic", &[0, 1, 4, 7, 9, 12], nothing, |s| match s.version {
            // Versions before 4 make what is not there.
            ..4 => metadata(s, "no/name"),
            _ => metadata(s, "not-there"),
        }),
        case("metadata of a name that cannot be", &[4, 9, 12], nothing, |s| metadata(s, "no name")),
        case("metadata of the empty name", &[4, 12], nothing, |s| metadata(s, "")),
        case("metadata of a topic by id", &[12], topic, |s| {
            let one = MetadataRequestTopic::default().with_topic_id(s.topic_id).with_name(None);
            MetadataRequest::default()
                .with_topics(Some(vec![one]))
                .with_allow_auto_topic_creation(false)
        }),
        case("metadata of an unknown id", &[12], nothing, |_| {
            let id = Uuid::from_u128(77);
            let one = MetadataRequestTopic::default().with_topic_id(id).with_name(None);
            MetadataRequest::default()
                .with_topics(Some(vec![one]))
                .with_allow_auto_topic_creation(false)
        }),
        case("metadata of no topic", &[1, 4, 9, 12], nothing, |_| {
            MetadataRequest::default().with_topics(Some(Vec::new()))
        }),
        case("metadata of a topic twice", &[12], topic, |s| {
            let mut request = metadata(s, s.topic.0.as_str());
            let topics = request.topics.take().unwrap_or_default();
            request.with_topics(Some([&topics[..], &topics].concat()))
        }),
        case("metadata with what one may do", &[8, 10], topic, |s| {
            metadata(s, s.topic.0.as_str())
                .with_include_topic_authorized_operations(true)
                .with_include_cluster_authorized_operations(true)
        }),
        case("metadata that makes a topic", &[1, 12], nothing, |s| {
            let request = metadata(s, s.topic.0.as_str());
            if s.version >= 4 { request.with_allow_auto_topic_creation(true) } else { request }
        }),
        case("what is served", &[0, 1, 2], nothing, |_| ApiVersionsRequest::default()),
        case("what is served", &[3, 4], nothing, |_| {
            ApiVersionsRequest::default()
                .with_client_software_name(text("differential"))
                .with_client_software_version(text("1"))
        }),
        case("what is served to a client without a name", &[3], nothing, |_| {
            ApiVersionsRequest::default()
        }),
        case("what is served to a client of a strange name", &[3], nothing, |_| {
            ApiVersionsRequest::default()
                .with_client_software_name(text("no name!"))
                .with_client_software_version(text("1"))
        }),
        case("find a group's coordinator", ALL, coordinator, |s| keys(s, 0, &["g"])),
        case("find no coordinator", &[4, 6], nothing, |s| keys(s, 0, &[])),
        case("find two coordinators", &[4, 6], coordinator, |s| keys(s, 0, &["g", "h"])),
        case("find a coordinator twice", &[4], coordinator, |s| keys(s, 0, &["g", "g"])),
        case("find the coordinator of the empty name", &[0, 1, 3, 4, 6], nothing, |s| {
            keys(s, 0, &[""])
        }),
        case("find the coordinator of an unknown kind", &[1, 3, 4, 6], nothing, |s| {
            keys(s, 9, &["k"])
        }),
        case("find the coordinator of shares by a wrong name", &[6], nothing, |s| {
            keys(s, 2, &["k"])
        }),
        case("find the coordinator of shares in a version before it", &[3, 5], nothing, |s| {
            keys(s, 2, &["k"])
        }),
    ]
}

pub(super) fn cases() -> Vec<Case> {
    [fetches(), offsets(), finding()].into_iter().flatten().collect()
}
