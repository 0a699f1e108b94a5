use std::collections::BTreeSet;

use uuid::Uuid;
use walrus_admin::event::EventKind;
use walrus_metadata::{
    Address, Addresses, Command, ConfigResource, Coverage, Fence, Member, NewTopic, Placement,
    Reason, Register, Roll, SealedAt, SetConfigs,
};
use walrus_types::{
    ClusterId, Incarnation, Offset, PartitionIndex, StorageId, TopicId, chance::Chance,
};

use super::*;

fn uuid(of: i32) -> Uuid {
    Uuid::from_u128(u128::try_from(of).unwrap())
}

fn placement(leader: i32) -> Placement {
    let member = |node| Member { node: NodeId(node), storage: StorageId(uuid(node)) };
    let leader = Leader { node: NodeId(leader), incarnation: Incarnation(1) };
    Placement { leader, members: (1..=3).map(member).collect(), w: 2 }
}

fn register(node: i32, life: u64) -> Command {
    let door = |port| Address { host: "h".into(), port };
    Command::Register(Register {
        node: NodeId(node),
        storage: StorageId(uuid(node)),
        incarnation: Incarnation(life),
        cluster: ClusterId(uuid(1)),
        rack: None,
        addresses: Addresses { client: door(1), peer: door(2), admin: door(3) },
        at: TimestampMs(0),
    })
}

fn create(id: i32, partitions: i32) -> Command {
    Command::CreateTopics(vec![NewTopic {
        id: TopicId(uuid(id)),
        name: format!("topic-{id}"),
        replicas_target: 3,
        partitions: (0..partitions).map(|_| placement(1)).collect(),
        configs: vec![],
        at: TimestampMs(0),
    }])
}

fn roll(metadata: &Metadata, topic: i32, partition: i32, leader: i32) -> Command {
    let topic = TopicId(uuid(topic));
    let id = TopicPartition { topic, partition: PartitionIndex(partition) };
    let open = metadata.partition(id).unwrap().open().key;
    let end = Offset(open.base.0 + 5);
    Command::Roll(vec![Roll {
        partition: id,
        expected: open.epoch,
        sealed: SealedAt { end, bytes: 500, max_timestamp: TimestampMs(7) },
        coverage: Coverage::Quorum,
        next: placement(leader),
        reason: Reason::Operator,
        at: TimestampMs(i64::from(open.epoch.0) * 100),
    }])
}

fn apply(metadata: &mut Metadata, command: &Command) {
    drop(metadata.apply(metadata.applied() + 1, command));
}

fn cluster() -> Metadata {
    let mut metadata = Metadata::default();
    (1..=3).for_each(|node| apply(&mut metadata, &register(node, 1)));
    apply(&mut metadata, &create(1, 2));
    metadata
}

fn told(old: &Metadata, new: &Metadata) -> Vec<Event> {
    let seen = Seen { version: new.applied(), at_ms: TimestampMs(9_999) };
    between(old, new, new.diff(old), seen)
}

fn words(events: &[Event]) -> Vec<String> {
    events.iter().map(|one| format!("{}: {}", one.subject, one.message)).collect()
}

#[test]
fn each_command_is_told_by_what_it_changed() {
    let metadata = cluster();
    let configs = |resource, value: Option<&str>| {
        let changes = vec![("retention.ms".to_owned(), value.map(str::to_owned))];
        Command::SetConfigs(vec![SetConfigs { resource, changes }])
    };
    let topic = TopicId(uuid(1));
    let fence = Fence { node: NodeId(1), incarnation: Incarnation(1), at: TimestampMs(77) };
    let cases = [
        (create(2, 1), vec!["topic-2: made, with 1 partition"]),
        (Command::DeleteTopics(vec![topic]), vec!["topic-1: deleted"]),
        (
            roll(&metadata, 1, 0, 2),
            vec!["topic-1/0: segment 2 at 5 led by n2, before n1 (operator)"],
        ),
        (
            configs(ConfigResource::Topic(topic), Some("5")),
            vec!["topic-1: retention.ms is 5, was not set"],
        ),
        (
            configs(ConfigResource::Cluster, Some("5")),
            vec!["cluster: retention.ms is 5, was not set"],
        ),
        (
            Command::Fence(fence),
            vec!["n1: is fenced, was active; 2 partitions wait for another leader"],
        ),
        (register(2, 2), vec!["n2: began life 2, active"]),
        (register(4, 1), vec!["n4: joined, active"]),
    ];
    for (command, expected) in cases {
        let mut new = metadata.clone();
        apply(&mut new, &command);
        assert_eq!(words(&told(&metadata, &new)), expected, "{command:?}");
    }
}

#[test]
fn several_rolls_between_two_looks_are_one_event_each() {
    let old = cluster();
    let mut new = old.clone();
    for leader in [2, 3, 1] {
        let rolls = roll(&new, 1, 0, leader);
        apply(&mut new, &rolls);
    }
    let events = told(&old, &new);
    assert_eq!(
        words(&events),
        [
            "topic-1/0: segment 2 at 5 led by n2, before n1 (operator)",
            "topic-1/0: segment 3 at 10 led by n3, before n2 (operator)",
            "topic-1/0: segment 4 at 15 led by n1, before n3 (operator)",
        ]
    );
    // When the open one was opened is recorded.
    let times: Vec<i64> = events.iter().map(|event| event.at_ms.0).collect();
    assert_eq!(times, [9_999, 9_999, 300]);
}

#[test]
fn a_first_view_tells_when_the_newest_segments_were_opened_and_who_is_fenced() {
    let mut metadata = cluster();
    for _ in 0..3 {
        let rolls = roll(&metadata, 1, 1, 2);
        apply(&mut metadata, &rolls);
    }
    let fence = Fence { node: NodeId(3), incarnation: Incarnation(1), at: TimestampMs(77) };
    apply(&mut metadata, &Command::Fence(fence));
    let events = past(&metadata, TimestampMs(9_999));
    let found: Vec<_> = events.iter().map(|one| (one.id.as_str(), one.at_ms.0)).collect();
    let id = TopicId(uuid(1));
    let expected = [(format!("lease/{id}/0/1"), 0), ("node/n3/fenced/1".to_owned(), 77)];
    let newest = (format!("lease/{id}/1/4"), 300);
    let expected: Vec<_> =
        expected.iter().chain([&newest]).map(|(id, at)| (id.as_str(), *at)).collect();
    assert_eq!(found, expected);
}

#[test]
fn who_goes_on_at_a_node_that_took_other_batches_is_spared_nothing() {
    for seed in 0..200 {
        let mut chance = Chance::seeded(seed);
        let mut views = vec![cluster()];
        for _ in 0..30 {
            let mut next = views.last().unwrap().clone();
            let number = |most: u64| i32::try_from(most).unwrap();
            let command = match chance.between(0, 9) {
                0 => create(number(next.applied()), 1),
                1 => register(3, next.applied()),
                n => roll(&next, 1, number(n % 2), number(1 + n % 3)),
            };
            apply(&mut next, &command);
            views.push(next);
        }
        let mut node = |batch_max: u64| {
            let (mut events, mut looks) = (Vec::new(), vec![views[0].applied()]);
            let mut at = 0;
            while at + 1 < views.len() {
                let next = at + usize::try_from(chance.between(1, batch_max)).unwrap();
                let next = next.min(views.len() - 1);
                events.extend(told(&views[at], &views[next]));
                looks.push(views[next].applied());
                at = next;
            }
            (events, looks)
        };
        let (truth, _) = node(1);
        let ((one, looks), (other, _)) = (node(4), node(4));
        let numbered = |event: &&Event| {
            // What began and ended in one batch is not told: two lives of a node.
            matches!(event.kind, EventKind::Lease | EventKind::Topic)
        };
        let all: BTreeSet<&str> =
            truth.iter().filter(numbered).map(|event| event.id.as_str()).collect();
        assert!(all.len() > 10, "seed {seed}");
        for after in looks {
            let first = one.iter().filter(|event| event.version <= after);
            let then = other.iter().filter(|event| event.version > after);
            let told: BTreeSet<&str> =
                first.chain(then).filter(numbered).map(|event| event.id.as_str()).collect();
            assert_eq!(told, all, "seed {seed}, after {after}");
        }
    }
}
