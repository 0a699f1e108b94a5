//! Raft as one list that everybody agrees on: proposals come late, twice or never, answers get
//! lost, and each node has applied the list so far. The judge is the real `Metadata::apply`.

use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Assignment, Command, Leader, Metadata, NewTopic, Placement, Register, Reply,
};
use walrus_replication::{Member, OpenSegment, Writer, write_quorum};
use walrus_types::{
    ClusterId, Epoch, Incarnation, NodeId, Offset, PartitionIndex, SegmentId, StorageId,
    TimestampMs, TopicId, TopicPartition,
};

pub(crate) const PARTITION: TopicPartition =
    TopicPartition { topic: TopicId(Uuid::from_u128(1)), partition: PartitionIndex(0) };

/// A segment, as the Roll that opened it wrote it, and its end.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) open: OpenSegment,
    pub(crate) writer: Writer,
    pub(crate) end: Option<Offset>,
    /// Who has to have it: its members, or those that a narrow seal names.
    pub(crate) holders: Vec<Member>,
}

impl Record {
    /// So many members have to answer a forced seal.
    pub(crate) fn fences_needed(&self) -> usize {
        self.open.members.len() - self.open.write_quorum + 1
    }

    pub(crate) fn id(&self) -> SegmentId {
        SegmentId { partition: PARTITION, base: self.open.base, epoch: self.open.epoch }
    }
}

#[derive(Debug)]
pub(crate) struct Raft {
    /// The metadata after each command, from none on.
    states: Vec<Metadata>,
    /// The segment that each command sealed.
    sealed: Vec<Option<Epoch>>,
    /// By epoch, from the first on without a gap.
    pub(crate) chain: Vec<Record>,
}

impl Raft {
    /// A cluster of these nodes, and one partition on the first of them.
    pub(crate) fn new(nodes: &[Member], target: usize, min_insync: usize) -> Self {
        let mut raft =
            Self { states: vec![Metadata::default()], sealed: Vec::new(), chain: Vec::new() };
        for node in nodes {
            let reply = raft.apply(&register(*node, Incarnation(1)));
            assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
        }
        let members: Vec<Member> = nodes.iter().copied().take(target).collect();
        let w = write_quorum(members.len(), min_insync);
        let leader = Leader { node: members[0].node, incarnation: Incarnation(1) };
        let first = NewTopic {
            id: PARTITION.topic,
            name: "t".into(),
            replicas_target: u8::try_from(target).unwrap(),
            partitions: vec![Placement {
                leader,
                members: members.iter().map(to_metadata).collect(),
                w: u8::try_from(w).unwrap(),
            }],
            configs: Vec::new(),
            at: TimestampMs(0),
        };
        let reply = raft.apply(&Command::CreateTopics(vec![first]));
        assert!(matches!(&reply, Reply::TopicsCreated(each) if each[0].is_ok()), "{reply:?}");
        raft.note_open();
        raft
    }

    /// How many commands were applied.
    pub(crate) fn len(&self) -> usize {
        self.sealed.len()
    }

    /// The metadata after so many commands.
    pub(crate) fn at(&self, applied: usize) -> &Metadata {
        &self.states[applied]
    }

    pub(crate) fn newest(&self) -> &Metadata {
        self.at(self.len())
    }

    /// The segment that the command at this place sealed.
    pub(crate) fn sealed_by(&self, at: usize) -> Option<Epoch> {
        self.sealed[at]
    }

    pub(crate) fn apply(&mut self, command: &Command) -> Reply {
        let mut next = self.newest().clone();
        let index = u64::try_from(self.len()).unwrap() + 1;
        let reply = next.apply(index, command);
        let rolled = match &reply {
            Reply::Rolled(each) => each.iter().any(Result::is_ok),
            _ => false,
        };
        self.states.push(next);
        self.sealed.push(None);
        if rolled {
            let Command::Roll(rolls) = command else { unreachable!("a Roll was answered") };
            let last = self.chain.last_mut().unwrap();
            last.end = Some(rolls[0].sealed.end);
            if let Some(holders) = rolls[0].coverage.holders() {
                last.holders = holders.iter().map(from_metadata).collect();
            }
            *self.sealed.last_mut().unwrap() = Some(last.open.epoch);
            self.note_open();
        }
        reply
    }

    fn note_open(&mut self) {
        let open = self.newest().partition(PARTITION).unwrap().open();
        let members: Vec<Member> = open.members.iter().map(from_metadata).collect();
        let record = Record {
            writer: Writer { node: open.leader.node, incarnation: open.leader.incarnation },
            end: None,
            holders: members.clone(),
            open: OpenSegment {
                epoch: open.key.epoch,
                base: open.key.base,
                members,
                write_quorum: usize::from(open.w),
            },
        };
        self.chain.push(record);
    }

    pub(crate) fn record(&self, epoch: Epoch) -> Option<&Record> {
        let first = self.chain[0].open.epoch;
        self.chain.get(usize::try_from(epoch.0 - first.0).ok()?)
    }

    /// Where the partition is to be.
    pub(crate) fn assignment(&self) -> Option<&Assignment> {
        self.newest().partition(PARTITION)?.assignment().map(|assignment| &**assignment)
    }

    pub(crate) fn open(&self) -> &Record {
        self.chain.last().unwrap()
    }

    /// How many segments a node knows that has applied so many commands.
    pub(crate) fn known(&self, applied: usize) -> usize {
        1 + self.sealed[..applied].iter().flatten().count()
    }

    pub(crate) fn may_lead(&self, applied: usize, writer: Writer) -> bool {
        let Writer { node, incarnation } = writer;
        self.at(applied).may_lead(Leader { node, incarnation })
    }
}

pub(crate) fn register(member: Member, incarnation: Incarnation) -> Command {
    let door = |port| Address { host: member.node.to_string(), port };
    Command::Register(Register {
        node: member.node,
        storage: member.storage,
        incarnation,
        cluster: ClusterId(Uuid::from_u128(7)),
        rack: None,
        addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
        at: TimestampMs(0),
    })
}

pub(crate) fn to_metadata(member: &Member) -> walrus_metadata::Member {
    walrus_metadata::Member { node: member.node, storage: member.storage }
}

pub(crate) fn from_metadata(member: &walrus_metadata::Member) -> Member {
    Member { node: member.node, storage: member.storage }
}

pub(crate) fn storage(number: u64) -> StorageId {
    StorageId(Uuid::from_u128(u128::from(number)))
}

pub(crate) fn node_id(number: usize) -> NodeId {
    NodeId(i32::try_from(number).unwrap())
}
