//! A small cluster's metadata, for the tests of handlers.

use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Command, Coverage, Leader, Member, Metadata, NewTopic, Placement, Reason,
    Register, Reply, Roll, SealedAt,
};
use walrus_types::{
    ClusterId, Incarnation, NodeId, Offset, PartitionIndex, StorageId, TimestampMs, TopicId,
    TopicPartition,
};

/// Node 1 in its first life, and topics.
#[derive(Debug)]
pub(super) struct World {
    /// What was applied so far.
    pub(super) metadata: Metadata,
}

impl World {
    /// Topics of these names with so many partitions.
    pub(super) fn with_topics(topics: &[(&str, usize)]) -> Self {
        let mut world = Self { metadata: Metadata::default() };
        world.register(1);
        for (number, (name, partitions)) in (10..).zip(topics) {
            let new = NewTopic {
                id: TopicId(Uuid::from_u128(number)),
                name: (*name).to_owned(),
                replicas_target: 3,
                partitions: vec![placement(); *partitions],
                configs: Vec::new(),
                at: TimestampMs(0),
            };
            let reply = world.apply(&Command::CreateTopics(vec![new]));
            assert!(matches!(&reply, Reply::TopicsCreated(all) if all[0].is_ok()), "{reply:?}");
        }
        world
    }

    /// A node of this number comes, in its first life.
    pub(super) fn register(&mut self, number: u8) {
        let door = |port| Address { host: "host".into(), port };
        let reply = self.apply(&Command::Register(Register {
            node: NodeId(number.into()),
            storage: StorageId(Uuid::from_u128(number.into())),
            incarnation: Incarnation(1),
            cluster: ClusterId(Uuid::from_u128(2)),
            rack: None,
            addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
            at: TimestampMs(0),
        }));
        assert!(matches!(&reply, Reply::Registered(Ok(_))), "{reply:?}");
    }

    /// Applies a command.
    pub(super) fn apply(&mut self, command: &Command) -> Reply {
        self.metadata.apply(self.metadata.applied() + 1, command)
    }

    /// Partition 0 of a topic.
    pub(super) fn partition(&self, topic: &str) -> TopicPartition {
        let topic = self.metadata.topic_named(topic).expect("the test made it").id;
        TopicPartition { topic, partition: PartitionIndex(0) }
    }

    /// Seals the open segment of partition 0 at `end`, its records as young as `max_timestamp`.
    pub(super) fn roll(&mut self, topic: &str, end: i64, max_timestamp: i64) {
        let partition = self.partition(topic);
        let open = self.metadata.partition(partition).expect("it is there").open().key;
        let empty = open.base.0 == end;
        let reply = self.apply(&Command::Roll(vec![Roll {
            partition,
            expected: open.epoch,
            sealed: SealedAt {
                end: Offset(end),
                bytes: u64::from(!empty),
                max_timestamp: TimestampMs(if empty { -1 } else { max_timestamp }),
            },
            coverage: Coverage::Quorum,
            next: placement(),
            reason: Reason::Operator,
            at: TimestampMs(0),
        }]));
        assert!(matches!(&reply, Reply::Rolled(all) if all[0].is_ok()), "{reply:?}");
    }
}

/// On node 1, in its first life.
pub(super) fn placement() -> Placement {
    let node = NodeId(1);
    let member = Member { node, storage: StorageId(Uuid::from_u128(1)) };
    let leader = Leader { node, incarnation: Incarnation(1) };
    Placement { leader, members: vec![member], w: 1 }
}
