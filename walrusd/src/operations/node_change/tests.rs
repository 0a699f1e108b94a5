use uuid::Uuid;
use walrus_metadata::{
    Addresses, Command, Coverage, Fence, Leader, Member as Holder, NewTopic, NodeChange, Placement,
    Reason, Register, Reply, Roll, SealedAt, SetMembers, SetNodeState,
};
use walrus_raft::RaftPeer;
use walrus_types::{
    ClusterId, Incarnation, Offset, PartitionIndex, StorageId, TimestampMs, TopicId, TopicPartition,
};

use super::{super::census, *};

/// Nodes in their first life, all of them voters, the first leading; and topics of one partition.
pub(in super::super) struct World {
    pub(in super::super) metadata: Metadata,
    pub(in super::super) members: Vec<Member>,
    pub(in super::super) leader: Option<RaftId>,
}

pub(in super::super) fn storage(node: i32) -> StorageId {
    StorageId(Uuid::from_u128(u128::try_from(node).unwrap()))
}

impl World {
    pub(in super::super) fn of(nodes: i32) -> Self {
        let mut world = Self { metadata: Metadata::default(), members: vec![], leader: None };
        for node in 1..=nodes {
            world.register(node, node, 1);
            world.members.push(Member {
                id: RaftId::from(storage(node)),
                peer: RaftPeer { node: NodeId(node), host: "h".into(), port: 6001 },
                votes: true,
                lag_entries: None,
            });
        }
        world.leader = world.members.first().map(|member| member.id);
        world
    }

    pub(in super::super) fn apply(&mut self, command: &Command) {
        let reply = self.metadata.apply(self.metadata.applied() + 1, command);
        let refused = match &reply {
            Reply::Registered(answer) => answer.is_err(),
            Reply::TopicsCreated(answers) => answers[0].is_err(),
            Reply::Rolled(answers) => answers[0].is_err(),
            Reply::Fenced(answer) => answer.is_err(),
            Reply::NodeStateSet(answer) => answer.is_err(),
            Reply::MembersSet(answers) => answers.iter().any(Result::is_err),
            Reply::Operation(answer) => answer.is_err(),
            other => panic!("{other:?}"),
        };
        assert!(!refused, "{command}: {reply:?}");
    }

    /// A topic that wants so many copies and has these members, the first leading.
    pub(in super::super) fn topic(mut self, target: u8, members: &[i32]) -> Self {
        let id = u128::try_from(self.metadata.topics_total()).unwrap() + 1;
        self.apply(&Command::CreateTopics(vec![NewTopic {
            id: TopicId(Uuid::from_u128(id)),
            name: format!("t{id}"),
            replicas_target: target,
            partitions: vec![placement(members)],
            configs: vec![],
            at: TimestampMs(0),
        }]));
        self
    }

    /// Seals the first topic's open segment; it goes on with these members.
    pub(in super::super) fn roll(mut self, members: &[i32]) -> Self {
        let partition =
            TopicPartition { topic: TopicId(Uuid::from_u128(1)), partition: PartitionIndex(0) };
        let open = self.metadata.partition(partition).unwrap().open().key;
        self.apply(&Command::Roll(vec![Roll {
            partition,
            expected: open.epoch,
            sealed: SealedAt {
                end: Offset(open.base.0 + 5),
                bytes: 500,
                max_timestamp: TimestampMs(7),
            },
            coverage: Coverage::Quorum,
            next: placement(members),
            reason: Reason::Operator,
            at: TimestampMs(0),
        }]));
        self
    }

    pub(in super::super) fn fence(mut self, node: i32) -> Self {
        let (node, incarnation) = (NodeId(node), Incarnation(1));
        self.apply(&Command::Fence(Fence { node, incarnation, at: TimestampMs(1) }));
        self
    }

    pub(in super::super) fn set(mut self, node: i32, change: NodeChange) -> Self {
        self.apply(&Command::SetNodeState(SetNodeState {
            node: NodeId(node),
            expected: None,
            change,
        }));
        self
    }

    /// Has the first topic's sealed segments held by these.
    pub(in super::super) fn regroup(mut self, members: &[i32]) -> Self {
        let partition =
            TopicPartition { topic: TopicId(Uuid::from_u128(1)), partition: PartitionIndex(0) };
        let chain = self.metadata.partition(partition).unwrap();
        let sets = chain.sealed().iter().map(|(key, sealed)| SetMembers {
            partition,
            segment: *key,
            expected: sealed.members.to_vec(),
            members: placement(members).members,
            digest: None,
        });
        let sets = sets.collect();
        self.apply(&Command::SetMembers(sets));
        self
    }

    /// The node begins a life, with this disk.
    pub(in super::super) fn register(&mut self, node: i32, disk: i32, life: u64) {
        let door = |port| walrus_metadata::Address { host: "h".into(), port };
        self.apply(&Command::Register(Register {
            node: NodeId(node),
            storage: storage(disk),
            incarnation: Incarnation(life),
            cluster: ClusterId(Uuid::from_u128(99)),
            rack: None,
            addresses: Addresses { client: door(9091), peer: door(6001), admin: door(7071) },
            at: TimestampMs(0),
        }));
    }

    fn plan(&self, node: i32, change: Change) -> Result<Plan, ApiError> {
        let census = census::take(&self.metadata, |_| 1);
        let (members, leader) = (&self.members[..], self.leader);
        let facts = Facts { metadata: &self.metadata, census: &census, members, leader };
        plan(facts, NodeId(node), change)
    }

    #[track_caller]
    fn check(&self, node: i32, change: Change, changes: bool, refusals: &[Code]) -> Plan {
        let plan = self.plan(node, change).unwrap();
        let codes: Vec<Code> = plan.refusals.iter().map(|refusal| refusal.code).collect();
        assert_eq!(codes, refusals, "{plan:?}");
        assert_eq!(plan.changes, changes, "{plan:?}");
        assert!(plan.refusals.iter().all(|refusal| refusal.hint.is_some()), "{plan:?}");
        plan
    }
}

fn placement(members: &[i32]) -> Placement {
    let holder = |node: &i32| Holder { node: NodeId(*node), storage: storage(*node) };
    Placement {
        leader: Leader { node: NodeId(members[0]), incarnation: Incarnation(1) },
        members: members.iter().map(holder).collect(),
        w: u8::try_from(members.len() / 2 + 1).unwrap(),
    }
}

#[test]
fn the_only_node_is_neither_drained_nor_removed() {
    let alone = World::of(1).topic(1, &[1]);
    let plan = alone.check(1, Change::Drain, false, &[Code::LastNode]);
    assert!(plan.refusals[0].message.contains("its 1 open segment could go nowhere"), "{plan:?}");
    alone.check(1, Change::Remove, true, &[Code::LastNode]);
    alone.check(1, Change::Undrain, false, &[]);
    // The others are there by name only.
    let left = World::of(2).fence(2).topic(1, &[1]);
    left.check(1, Change::Drain, false, &[Code::LastNode]);
    left.check(1, Change::Remove, true, &[Code::LastNode]);
}

#[test]
fn a_drain_says_what_moves_and_which_topics_get_narrower() {
    let three = World::of(3).topic(3, &[1, 2, 3]).topic(2, &[2, 3]);
    let plan = three.check(2, Change::Drain, true, &[]);
    assert!(plan.effects[1].contains("its 1 lease and its place in 2 open segments"), "{plan:?}");
    assert!(
        plan.warnings[0].contains("with 2 active nodes left the next segments of 1 topic have"),
        "{plan:?}"
    );
    let draining = three.set(2, NodeChange::Drain);
    draining.check(2, Change::Drain, false, &[]);
    draining.check(2, Change::Undrain, true, &[]);
}

#[test]
fn a_node_is_removed_when_nothing_names_it() {
    let active = World::of(3);
    active.check(2, Change::Remove, true, &[Code::NotDrained]);
    let drained = World::of(3).set(2, NodeChange::Drain);
    let plan = drained.check(2, Change::Remove, true, &[]);
    assert!(plan.effects[1].contains("3 voters become 2"), "{plan:?}");
    assert!(plan.warnings[0].contains("bears no failure"), "{plan:?}");
    let needed = World::of(3).topic(2, &[1, 2]).set(2, NodeChange::Drain);
    let plan = needed.check(2, Change::Remove, true, &[Code::Needed]);
    assert!(plan.refusals[0].message.contains("1 open and 0 sealed"), "{plan:?}");
}

#[test]
fn a_node_keeps_its_copies_until_as_many_others_have_them_as_could() {
    let sets = |world: &World, node| census::spare(&world.metadata, NodeId(node), 10);
    // Two of three remain, and have it.
    let three = World::of(3).topic(3, &[1, 2, 3]).set(3, NodeChange::Drain).roll(&[1, 2]);
    let plan = three.check(3, Change::Remove, true, &[]);
    assert!(plan.effects[1].contains("1 sealed segments are given up"), "{plan:?}");
    let left: Vec<i32> = sets(&three, 3)[0].members.iter().map(|member| member.node.0).collect();
    assert_eq!(left, [1, 2]);
    // A fourth could have it, and has not.
    let four = World::of(4).topic(3, &[1, 2, 3]).roll(&[1, 2, 4]).set(3, NodeChange::Drain);
    let plan = four.check(3, Change::Remove, true, &[Code::Needed]);
    assert!(plan.refusals[0].message.contains("1 sealed ones; of 1 of these"), "{plan:?}");
    assert_eq!(sets(&four, 3), []);
    // Who drains as well does not stay.
    let two_leave = four.set(2, NodeChange::Drain);
    two_leave.check(3, Change::Remove, true, &[Code::Needed]);
    // It is on one node only, and that one leaves.
    let alone = World::of(2).topic(1, &[2]).roll(&[1]).set(2, NodeChange::Drain);
    alone.check(2, Change::Remove, true, &[Code::Needed]);
    assert_eq!(sets(&alone, 2), []);
}

#[test]
fn a_fenced_node_with_the_last_copy_is_kept() {
    // Its segment was written by it alone, and goes on elsewhere.
    let last = World::of(3).topic(1, &[3]).roll(&[1]).fence(3);
    let plan = last.check(3, Change::Remove, true, &[Code::LastCopy, Code::Needed]);
    assert!(plan.refusals[0].message.contains("of 1 segments no other node"), "{plan:?}");
    let copied = World::of(3).topic(2, &[3, 1]).roll(&[1, 2]).fence(3);
    copied.check(3, Change::Remove, true, &[Code::Needed]);
}

#[test]
fn a_removal_that_would_lose_the_quorum_is_refused() {
    // Of three one is gone; without another of them one of two would be there.
    let one_gone = World::of(3).set(2, NodeChange::Drain).fence(3);
    one_gone.check(2, Change::Remove, true, &[Code::Quorum]);
    // The one that is gone may be taken out, and then two of two are there.
    one_gone.check(3, Change::Remove, true, &[]);
    let two = World::of(2).set(2, NodeChange::Drain);
    two.check(2, Change::Remove, true, &[]);
    let mut learners = World::of(3).set(2, NodeChange::Drain);
    for learner in [0, 2] {
        learners.members[learner].votes = false;
    }
    learners.check(2, Change::Remove, true, &[Code::Quorum]);
}

#[test]
fn the_leader_of_the_group_hands_it_over_first() {
    let leads = World::of(3).set(1, NodeChange::Drain);
    leads.check(1, Change::Remove, true, &[Code::LeadsRaft]);
}

#[test]
fn a_removed_node_is_asked_for_nothing_but_its_vote() {
    let mut removed = World::of(4).set(2, NodeChange::Drain).set(2, NodeChange::Remove);
    removed.check(2, Change::Drain, false, &[Code::Changed]);
    removed.check(2, Change::Undrain, false, &[Code::Changed]);
    removed.check(2, Change::Remove, true, &[]);
    removed.members.remove(1);
    removed.check(2, Change::Remove, false, &[]);
    assert_eq!(removed.plan(7, Change::Drain).unwrap_err().code, Code::NotFound);
}

#[test]
fn copies_are_counted_on_nodes_that_serve() {
    let world = World::of(3).topic(3, &[1, 2, 3]).roll(&[1, 2, 3]).topic(3, &[1, 2, 3]);
    let segments = |world: &World| census::take(&world.metadata, |_| 2).segments;
    let all = segments(&world);
    assert_eq!((all.total, all.open, all.below_target), (3, 2, 0));
    let one_gone = segments(&world.fence(3));
    assert_eq!((one_gone.below_target, one_gone.repairable, one_gone.single), (3, 0, 0));
    assert_eq!((one_gone.below_min_insync, one_gone.leaderless), (0, 0));
    let narrow = World::of(3).topic(3, &[1, 2, 3]).topic(1, &[1]).fence(1).fence(2);
    let two_gone = segments(&narrow);
    assert_eq!((two_gone.single, two_gone.below_min_insync), (1, 2));
    assert_eq!((two_gone.unreachable, two_gone.leaderless), (1, 2));
    let needed = census::take(&narrow.metadata, |_| 1);
    assert_eq!(needed.holding(NodeId(1)).leads, 2);
    assert_eq!(needed.holding(NodeId(3)), Holding { open: 1, sole: 1, ..Holding::default() });
    assert_eq!(needed.holding(NodeId(1)).sole, 1, "its own topic");
}
