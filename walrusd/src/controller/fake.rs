//! A cluster without a network: metadata that applies at once, nodes that answer by a script, a
//! clock that is turned by hand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

use parking_lot::Mutex;
use tokio::sync::watch;
use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Command, Coverage, Digest, Leader, Metadata, NewTopic, Placement, Reason,
    Register, Reply, Roll, SealedAt, SegmentKey, Topic,
};
use walrus_raft::{Leadership, ProposeError, RaftId};
use walrus_replication::{
    Held, Member, UptimeMs, lag::Published, liveness::Answer, placement::LeaderPolicy,
    seal::Report, write_quorum,
};
use walrus_types::{
    ClusterId, Incarnation, NodeId, Offset, PartitionIndex, SegmentId, StorageId, TimestampMs,
    TopicId, TopicPartition,
};

use super::{
    cluster::{Chore, Cluster, Copying, Fencing, TopicTerms},
    messages::{BeatReply, Orders},
    nodes::stored,
};
use crate::replica::messages::{RepairOrder, RepairReply};

pub(crate) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
pub(crate) const NOW: TimestampMs = TimestampMs(1_700_000_000_000);
const TOPIC: TopicId = TopicId(Uuid::from_u128(0x70));

pub(crate) fn apply(metadata: &mut Metadata, command: &Command) -> Reply {
    metadata.apply(metadata.applied() + 1, command)
}

pub(crate) fn member(node: i32) -> Member {
    let storage = StorageId(Uuid::from_u128(node.unsigned_abs().into()));
    Member { node: NodeId(node), storage }
}

pub(crate) fn register(node: i32, incarnation: u64) -> Command {
    let port = u16::try_from(node).unwrap();
    let door = || Address { host: format!("host-{node}"), port };
    Command::Register(Register {
        node: NodeId(node),
        storage: member(node).storage,
        incarnation: Incarnation(incarnation),
        cluster: CLUSTER,
        rack: None,
        addresses: Addresses { client: door(), peer: door(), admin: door() },
        at: NOW,
    })
}

pub(crate) fn fence(node: i32, incarnation: u64) -> Command {
    let (node, incarnation) = (NodeId(node), Incarnation(incarnation));
    Command::Fence(walrus_metadata::Fence { node, incarnation, at: NOW })
}

pub(crate) fn partition(index: i32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition: PartitionIndex(index) }
}

/// Nodes 1 to `nodes` in their first lives, and a topic with so many partitions on the first
/// three of them. Node 1 leads all.
pub(crate) fn cluster(nodes: i32, partitions: usize) -> Metadata {
    let mut metadata = Metadata::default();
    for node in 1..=nodes {
        let reply = apply(&mut metadata, &register(node, 1));
        assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
    }
    if partitions > 0 {
        add_topic(&mut metadata, TOPIC, &(1..=nodes.min(3)).collect::<Vec<_>>(), partitions);
    }
    metadata
}

/// One more topic; the first of `members` leads all its partitions, in its present life.
pub(crate) fn add_topic(metadata: &mut Metadata, id: TopicId, members: &[i32], partitions: usize) {
    let first = NodeId(members[0]);
    let incarnation = metadata.node(first).unwrap().incarnation;
    let placement = Placement {
        leader: Leader { node: first, incarnation },
        members: members.iter().map(|node| stored(member(*node))).collect(),
        w: u8::try_from(write_quorum(members.len(), 1)).unwrap(),
    };
    let topic = NewTopic {
        id,
        name: format!("t-{}", id.0.simple()),
        replicas_target: u8::try_from(members.len()).unwrap(),
        partitions: vec![placement; partitions],
        configs: vec![],
        at: NOW,
    };
    let reply = apply(metadata, &Command::CreateTopics(vec![topic]));
    assert!(matches!(&reply, Reply::TopicsCreated(each) if each[0].is_ok()), "{reply:?}");
}

pub(crate) fn segment(metadata: &Metadata, index: i32) -> SegmentId {
    let key = metadata.partition(partition(index)).unwrap().open().key;
    SegmentId { partition: partition(index), base: key.base, epoch: key.epoch }
}

/// Seals the open segment of each partition with ten records, all on `holders`; what follows is on
/// `next`.
pub(crate) fn seal(metadata: &mut Metadata, holders: &[i32], next: &[i32]) {
    let rolls = metadata.partitions().map(|(partition, chain)| {
        let open = chain.open();
        Roll {
            partition,
            expected: open.key.epoch,
            sealed: SealedAt {
                end: Offset(open.key.base.0 + 10),
                bytes: 100,
                max_timestamp: TimestampMs(1),
            },
            coverage: if holders.len() >= usize::from(open.w) {
                Coverage::Quorum
            } else {
                Coverage::Narrow(holders.iter().map(|node| stored(member(*node))).collect())
            },
            next: Placement {
                leader: open.leader,
                members: next.iter().map(|node| stored(member(*node))).collect(),
                w: u8::try_from(next.len() / 2 + 1).unwrap(),
            },
            reason: Reason::Bytes,
            at: NOW,
        }
    });
    let rolls: Vec<Roll> = rolls.collect();
    let reply = apply(metadata, &Command::Roll(rolls));
    let Reply::Rolled(each) = reply else { panic!("{reply:?}") };
    assert!(each.iter().all(Result::is_ok), "{each:?}");
}

/// What becomes of a proposal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is not applied, and nobody knows.
    Dropped,
    /// It is applied, and nobody knows.
    AnswerLost,
    /// It was not proposed.
    NotLeader,
    /// It is answered, but first something else is applied.
    After(&'static str),
}

/// What was asked of the world, and how it is to answer.
#[derive(Debug, Default)]
pub(crate) struct Log {
    pub(crate) fences: Vec<(i32, Fencing)>,
    pub(crate) copies: Vec<Copying>,
    pub(crate) commands: Vec<Command>,
    pub(crate) orders: Vec<(i32, Orders)>,
    pub(crate) repairs: Vec<(i32, RepairOrder)>,
    /// The next copy that is asked for is not whole at once.
    pub(crate) repair_is_under_way: bool,
    pub(crate) chores: Vec<Chore>,
    pub(crate) beats: Vec<i32>,
    /// When heartbeats that were answered had been sent, and the terms of the answers.
    pub(crate) answered: Vec<(u64, u64)>,
    pub(crate) probes: Vec<i32>,
    /// Who neither answers nor listens.
    pub(crate) down: BTreeSet<i32>,
    /// Who takes requests and never answers.
    pub(crate) hangs: BTreeSet<i32>,
    /// Who answers heartbeats as no controller.
    pub(crate) no_controller: BTreeSet<i32>,
    /// Ends that members have of a partition, where they are not 5.
    pub(crate) ends: BTreeMap<(i32, i32), i64>,
    /// What becomes of the next proposals; those after them are applied.
    pub(crate) fates: VecDeque<Fate>,
    /// Longer lists of rolls are too large.
    pub(crate) rolls_max: Option<usize>,
    pub(crate) members: Vec<walrus_raft::Member>,
    pub(crate) quorum_age_ms: u64,
    /// When elections were asked for.
    pub(crate) elections: Vec<Instant>,
}

pub(crate) struct Fake {
    views: watch::Sender<Arc<Metadata>>,
    leadership: watch::Sender<Leadership>,
    /// The term up to which this node has applied all.
    caught_up: watch::Sender<u64>,
    pub(crate) uptime: AtomicU64,
    pub(crate) log: Mutex<Log>,
}

impl Fake {
    pub(crate) fn of(metadata: Metadata) -> Arc<Self> {
        Arc::new(Self {
            views: watch::Sender::new(Arc::new(metadata)),
            leadership: watch::Sender::new(Leadership::default()),
            caught_up: watch::Sender::new(u64::MAX),
            uptime: AtomicU64::new(0),
            log: Mutex::default(),
        })
    }

    pub(crate) fn metadata(&self) -> Arc<Metadata> {
        Arc::clone(&self.views.borrow())
    }

    pub(crate) fn apply(&self, command: &Command) -> Reply {
        let mut metadata = Metadata::clone(&self.metadata());
        let reply = apply(&mut metadata, command);
        self.views.send_replace(Arc::new(metadata));
        reply
    }

    pub(crate) fn leads(&self, node: i32, term: u64) {
        let leader = Some(RaftId::from(member(node).storage));
        self.leadership.send_replace(Leadership { term, leader, here: node == 1 });
    }

    pub(crate) fn caught_up_to(&self, term: u64) {
        self.caught_up.send_replace(term);
    }

    pub(crate) fn down(&self, node: i32) {
        self.log.lock().down.insert(node);
    }

    pub(crate) fn up(&self, node: i32) {
        self.log.lock().down.remove(&node);
    }

    pub(crate) fn pass(&self, ms: u64) {
        self.uptime.fetch_add(ms, Relaxed);
    }

    /// The rolls of each command that had some.
    pub(crate) fn rolls(&self) -> Vec<Vec<Roll>> {
        let rolls = |command: &Command| match command {
            Command::Roll(rolls) => Some(rolls.clone()),
            _ => None,
        };
        self.log.lock().commands.iter().filter_map(rolls).collect()
    }

    fn held(&self, node: i32, segment: SegmentId) -> Held {
        let base = segment.base.0;
        let end = self.log.lock().ends.get(&(node, segment.partition.partition.0)).copied();
        let end = end.unwrap_or(base + 5).max(base);
        Held {
            end: Offset(end),
            bytes: u64::try_from(end - base).unwrap() * 10,
            max_timestamp: if end > base { NOW } else { TimestampMs::NONE },
            storage: member(node).storage,
            commit: segment.base,
        }
    }

    /// Waits for ever if that node hangs; an error if it is down.
    async fn reach(&self, node: i32) -> Result<(), String> {
        let hangs = self.log.lock().hangs.contains(&node);
        if hangs {
            std::future::pending::<()>().await;
        }
        if self.log.lock().down.contains(&node) { Err("refused".into()) } else { Ok(()) }
    }
}

impl Cluster for Fake {
    fn me(&self) -> Member {
        member(1)
    }

    fn uptime(&self) -> UptimeMs {
        UptimeMs(self.uptime.load(Relaxed))
    }

    fn now(&self) -> TimestampMs {
        NOW
    }

    fn views(&self) -> watch::Receiver<Arc<Metadata>> {
        self.views.subscribe()
    }

    fn leadership(&self) -> watch::Receiver<Leadership> {
        self.leadership.subscribe()
    }

    fn terms_of(&self, _: &Arc<Topic>) -> TopicTerms {
        TopicTerms { min_insync: 1, policy: LeaderPolicy::LeastLoaded, lax: false }
    }

    async fn propose(&self, command: Command) -> Result<Reply, ProposeError> {
        let fate = {
            let mut log = self.log.lock();
            if let (Some(max), Command::Roll(rolls)) = (log.rolls_max, &command)
                && rolls.len() > max
            {
                return Err(ProposeError::TooLarge { bytes: rolls.len(), limit: max });
            }
            log.commands.push(command.clone());
            log.fates.pop_front()
        };
        match fate {
            None => Ok(self.apply(&command)),
            Some(Fate::Dropped) => Err(ProposeError::Unknown),
            Some(Fate::AnswerLost) => {
                self.apply(&command);
                Err(ProposeError::Unknown)
            }
            Some(Fate::NotLeader) => Err(ProposeError::NotLeader { leader: None }),
            Some(Fate::After("fence of 2")) => {
                self.apply(&fence(2, 1));
                Ok(self.apply(&command))
            }
            Some(Fate::After(other)) => panic!("{other}?"),
        }
    }

    async fn fence(
        &self,
        node: NodeId,
        fencing: Fencing,
    ) -> Result<Vec<(SegmentId, Report)>, String> {
        let segments = fencing.segments.clone();
        self.log.lock().fences.push((node.0, fencing));
        self.reach(node.0).await?;
        let report = |id| (id, Report::Held(self.held(node.0, id)));
        Ok(segments.into_iter().map(report).collect())
    }

    async fn copy(&self, copying: Copying) -> Result<Option<Held>, String> {
        self.log.lock().copies.push(copying);
        let to = copying.to_member.node.0;
        self.reach(copying.from_member.node.0).await?;
        self.reach(to).await?;
        let place = (to, copying.segment.partition.partition.0);
        self.log.lock().ends.insert(place, copying.to.0);
        Ok(Some(self.held(to, copying.segment)))
    }

    async fn repair(&self, node: NodeId, order: RepairOrder) -> Result<RepairReply, String> {
        let (segment, under_way) = {
            let mut log = self.log.lock();
            let segment = order.segment;
            log.repairs.push((node.0, order));
            let under_way = std::mem::take(&mut log.repair_is_under_way);
            (segment, under_way)
        };
        self.reach(node.0).await?;
        if under_way {
            return Ok(RepairReply::UnderWay);
        }
        let sealed = self.metadata();
        let key = SegmentKey { base: segment.base, epoch: segment.epoch };
        let sealed = sealed.partition(segment.partition).unwrap().sealed().get(&key);
        let bytes = sealed.ok_or("there is no such segment")?.bytes;
        Ok(RepairReply::Whole { bytes, digest: Digest::from(7) })
    }

    async fn order(&self, node: NodeId, orders: Orders) -> Result<(), String> {
        self.reach(node.0).await?;
        self.log.lock().orders.push((node.0, orders));
        Ok(())
    }

    async fn is_refused(&self, at: Address) -> bool {
        let node = i32::from(at.port);
        self.log.lock().probes.push(node);
        self.log.lock().down.contains(&node)
    }

    async fn beat(&self, leader: RaftId) -> Result<BeatReply, String> {
        let node = i32::try_from(leader.0.as_u128()).unwrap();
        self.log.lock().beats.push(node);
        self.reach(node).await?;
        let controller = !self.log.lock().no_controller.contains(&node);
        Ok(BeatReply {
            answer: Answer::Extended,
            term: self.leadership.borrow().term,
            controller: controller.then_some(NodeId(node)),
            silent: vec![],
            unreachable: vec![],
            lag: Published::default(),
        })
    }

    fn beat_answered(&self, sent: UptimeMs, reply: &BeatReply) {
        self.log.lock().answered.push((sent.0, reply.term));
    }

    fn quorum_age_ms(&self) -> Option<u64> {
        Some(self.log.lock().quorum_age_ms)
    }

    async fn caught_up(&self, term: u64) -> bool {
        self.caught_up.subscribe().wait_for(|upto| *upto >= term).await.is_ok()
    }

    async fn elect(&self) -> Result<(), String> {
        self.log.lock().elections.push(Instant::now());
        Ok(())
    }

    fn members(&self) -> Vec<walrus_raft::Member> {
        self.log.lock().members.clone()
    }

    async fn carry_out(&self, chore: Chore) -> Result<(), String> {
        self.log.lock().chores.push(chore);
        Ok(())
    }
}
