//! A small cluster to try commands on.

use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Command, Coverage, Fence, Leader, Member, Metadata, NewTopic, NodeChange,
    Placement, Prune, Reason, Register, Reply, Roll, SealedAt, SetNodeState,
};
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, PartitionIndex, StorageId, TimestampMs, TopicId,
    TopicPartition,
};

pub(crate) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);

pub(crate) fn register(node: i32, incarnation: u64) -> Register {
    let door = |port| Address { host: format!("host-{node}"), port };
    Register {
        node: NodeId(node),
        storage: StorageId(Uuid::from_u128(node.unsigned_abs().into())),
        incarnation: Incarnation(incarnation),
        cluster: CLUSTER,
        rack: None,
        addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
        at: NOW,
    }
}

pub(crate) fn fence(node: i32, incarnation: u64) -> Command {
    Command::Fence(Fence { node: NodeId(node), incarnation: Incarnation(incarnation), at: NOW })
}

pub(crate) fn set_state(node: i32, change: NodeChange) -> Command {
    Command::SetNodeState(SetNodeState { node: NodeId(node), expected: None, change })
}

pub(crate) fn member(node: i32) -> Member {
    Member { node: NodeId(node), storage: StorageId(Uuid::from_u128(node.unsigned_abs().into())) }
}

/// The first of `nodes` leads, in its first life; a majority commits.
pub(crate) fn on(nodes: &[i32]) -> Placement {
    Placement {
        leader: Leader { node: NodeId(nodes[0]), incarnation: Incarnation(1) },
        members: nodes.iter().map(|node| member(*node)).collect(),
        w: u8::try_from(nodes.len() / 2 + 1).unwrap(),
    }
}

pub(crate) fn topic(number: u128) -> TopicId {
    TopicId(Uuid::from_u128(number))
}

pub(crate) fn partition(number: u128, index: i32) -> TopicPartition {
    TopicPartition { topic: topic(number), partition: PartitionIndex(index) }
}

pub(crate) fn new_topic(number: u128, name: &str, partitions: usize, nodes: &[i32]) -> NewTopic {
    NewTopic {
        id: topic(number),
        name: name.into(),
        replicas_target: 3,
        partitions: vec![on(nodes); partitions],
        configs: vec![],
        at: NOW,
    }
}

/// Partition 0 of topic 1: epoch `expected` ends at `end`.
pub(crate) fn roll(expected: i32, end: i64, nodes: &[i32]) -> Roll {
    Roll {
        partition: partition(1, 0),
        expected: Epoch(expected),
        sealed: sealed(end, 100),
        coverage: Coverage::Quorum,
        next: on(nodes),
        reason: Reason::Entries,
        at: NOW,
    }
}

pub(crate) fn sealed(end: i64, bytes: u64) -> SealedAt {
    let max_timestamp = if bytes == 0 { TimestampMs::NONE } else { TimestampMs(NOW.0 + end) };
    SealedAt { end: Offset(end), bytes, max_timestamp }
}

pub(crate) fn prune(expected: i32, log_start: i64) -> Prune {
    Prune { partition: partition(1, 0), expected: Epoch(expected), log_start: Offset(log_start) }
}

pub(crate) fn apply(state: &mut Metadata, command: &Command) -> Reply {
    state.apply(state.applied() + 1, command)
}

/// Nodes 1 to `nodes`, each in its first life, and topic 1, named `t`, with one partition on all.
pub(crate) fn world(nodes: i32) -> Metadata {
    let mut state = Metadata::default();
    for node in 1..=nodes {
        let reply = apply(&mut state, &Command::Register(register(node, 1)));
        assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
    }
    let all: Vec<i32> = (1..=nodes).collect();
    let create = Command::CreateTopics(vec![new_topic(1, "t", 1, &all)]);
    let reply = apply(&mut state, &create);
    assert!(matches!(reply, Reply::TopicsCreated(ref each) if each[0].is_ok()), "{reply:?}");
    state
}

/// The chain of partition 0 of topic 1, as `epoch:[base,end)` and the log start.
pub(crate) fn chain(state: &Metadata) -> String {
    let partition = state.partition(partition(1, 0)).unwrap();
    let link = |segment: walrus_metadata::Segment<'_>| {
        let key = segment.key();
        let end = segment.end().map_or_else(String::new, |end| end.to_string());
        format!("{}:[{},{end}) ", key.epoch, key.base)
    };
    let links: String = partition.chain().map(link).collect();
    format!("{links}start={}", partition.log_start())
}
