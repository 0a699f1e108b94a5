//! Three nodes that keep segments, each with a store of its own, and the metadata they all apply.
//! The leader is the test: it says what a leader would say.

use std::{path::PathBuf, time::Instant};

use bytes::Bytes;
use futures::future::BoxFuture;
use tempfile::TempDir;
use uuid::Uuid;
use walrus_metadata::{
    Address, Addresses, Command, Coverage, Fence, Leader, NewTopic, Placement, Reason, Register,
    Reply, Roll, SealedAt,
};
use walrus_replication::{Append, Position, Refusal, UptimeMs};
use walrus_storage::{
    disk::{Backend, RealDisk},
    store::StoreConfig,
    wal::WalConfig,
};
use walrus_types::{
    ClusterId, NodeId, PartitionIndex, ProducerEpoch, ProducerId, Sequence, StorageId, TimestampMs,
    TopicId,
    batch::{self, BatchHeader},
};

use super::super::{
    messages::{FenceReply, FenceRequest, PeerAddress, Wanted},
    *,
};
use crate::peer::{
    PeerIdentity,
    append::{AppendAnswer, AppendMessage, decode_answers},
    server::Back,
};

pub(super) const SOON: Duration = Duration::from_secs(10);
pub(super) const CLUSTER: ClusterId = ClusterId(Uuid::from_u128(0xC1));
pub(super) const TOPIC: TopicId = TopicId(Uuid::from_u128(0xAB));
/// The partition of nearly all tests.
pub(super) const P: TopicPartition = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };

pub(super) fn disk(number: i32) -> StorageId {
    StorageId(Uuid::from_u128(0x50 + u128::from(number.unsigned_abs())))
}

pub(super) fn member(number: i32) -> Member {
    Member { node: NodeId(number), storage: disk(number) }
}

pub(super) fn life(number: i32, incarnation: u64) -> Writer {
    Writer { node: NodeId(number), incarnation: Incarnation(incarnation) }
}

pub(super) fn segment(base: i64, epoch: i32) -> SegmentId {
    SegmentId { partition: P, base: Offset(base), epoch: Epoch(epoch) }
}

/// Offsets `[base, base + count)`, all from producer 5, whose sequences count as offsets do.
pub(super) fn header(base: i64, count: i32, epoch: i32) -> BatchHeader {
    BatchHeader {
        base_offset: Offset(base),
        epoch: Epoch(epoch),
        producer_id: ProducerId(5),
        producer_epoch: ProducerEpoch(0),
        base_sequence: Sequence(i32::try_from(base).unwrap()),
        max_timestamp: TimestampMs(1_000 + base),
        ..batch::plain_header(count)
    }
}

pub(super) fn batch_of(base: i64, count: i32, epoch: i32) -> Bytes {
    let payload = base.to_be_bytes().repeat(20);
    Bytes::from(batch::build(&header(base, count, epoch), &payload))
}

/// A ring of 4 MiB, nothing reserved, quick checkpoints.
pub(super) fn config() -> StoreConfig {
    let wal = WalConfig { file_bytes: 1 << 20, files: 4, ..WalConfig::small() };
    StoreConfig {
        wal,
        checkpoint_bytes: 256 << 10,
        checkpoint_age_ms: 20,
        flush_age_ms: 5,
        reserve_bytes: 0,
        index_interval_bytes: 1024,
        ..StoreConfig::default()
    }
}

/// Whoever can be asked for batches, by port.
#[derive(Default)]
pub(super) struct Others(Mutex<BTreeMap<u16, Arc<Replicas>>>);

pub(super) fn port(number: i32) -> u16 {
    6000 + u16::try_from(number).unwrap()
}

/// The [`Others`], shared as [`Sources`] wants it.
pub(super) struct Reach(pub(super) Arc<Others>);

impl Sources for Reach {
    fn read(
        &self,
        (_, port): PeerAddress,
        wanted: Wanted,
    ) -> BoxFuture<'static, Result<Bytes, String>> {
        let asked = self.0.0.lock().get(&port).cloned();
        Box::pin(async move {
            let asked = asked.ok_or("nobody listens")?;
            match wanted {
                Wanted::Batches(request) => asked.read(request).await,
                Wanted::Producers(request) => asked.read_producers(request).await,
            }
        })
    }
}

/// One node that keeps segments.
pub(super) struct Node {
    pub(super) number: i32,
    pub(super) store: Store,
    pub(super) replicas: Arc<Replicas>,
    pub(super) back: Back,
}

/// The nodes, and the metadata that they apply.
pub(super) struct World {
    pub(super) dir: TempDir,
    pub(super) metadata: Metadata,
    pub(super) views: watch::Sender<Arc<Metadata>>,
    pub(super) others: Arc<Others>,
    pub(super) nodes: BTreeMap<i32, Node>,
}

pub(super) fn placement(leader: Writer, members: &[i32]) -> Placement {
    let leader = Leader { node: leader.node, incarnation: leader.incarnation };
    let named =
        |number: &i32| walrus_metadata::Member { node: NodeId(*number), storage: disk(*number) };
    let w = u8::try_from(members.len() / 2 + 1).unwrap();
    Placement { leader, members: members.iter().map(named).collect(), w }
}

impl World {
    /// Nodes 1, 2 and 3 in their first lives; the partition is led by node 1, in epoch 1. Node 1
    /// is only there in the metadata.
    pub(super) fn new() -> Self {
        let metadata = Metadata::default();
        let views = watch::Sender::new(Arc::new(metadata.clone()));
        let dir = tempfile::tempdir().unwrap();
        let mut world =
            Self { dir, metadata, views, others: Arc::default(), nodes: BTreeMap::new() };
        for number in 1..=3 {
            world.register(number, 1);
        }
        let new = NewTopic {
            id: TOPIC,
            name: "t".into(),
            replicas_target: 3,
            partitions: vec![placement(life(1, 1), &[1, 2, 3])],
            configs: Vec::new(),
            at: TimestampMs(0),
        };
        let made = world.apply(&Command::CreateTopics(vec![new]));
        assert!(matches!(&made, Reply::TopicsCreated(all) if all[0].is_ok()), "{made:?}");
        for number in [2, 3] {
            world.start(number);
        }
        world
    }

    pub(super) fn apply(&mut self, command: &Command) -> Reply {
        let reply = self.metadata.apply(self.metadata.applied() + 1, command);
        self.views.send_replace(Arc::new(self.metadata.clone()));
        reply
    }

    pub(super) fn register(&mut self, number: i32, incarnation: u64) {
        let door = |port| Address { host: "here".into(), port };
        let reply = self.apply(&Command::Register(Register {
            node: NodeId(number),
            storage: disk(number),
            incarnation: Incarnation(incarnation),
            cluster: CLUSTER,
            rack: None,
            addresses: Addresses { client: door(1), peer: door(port(number)), admin: door(2) },
            at: TimestampMs(0),
        }));
        assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
    }

    pub(super) fn path(&self, number: i32) -> PathBuf {
        self.dir.path().join(number.to_string())
    }

    pub(super) fn start(&mut self, number: i32) {
        self.start_with(number, member(number));
    }

    pub(super) fn start_with(&mut self, number: i32, me: Member) {
        let disk = Arc::new(RealDisk::new(Backend::Auto));
        let (store, _) = Store::open(disk, &self.path(number), config()).unwrap();
        let replicas = Replicas::open(Parts {
            store: store.clone(),
            metadata: self.views.subscribe(),
            me,
            incarnation: self.metadata.node(me.node).unwrap().incarnation,
            sources: Arc::new(Reach(Arc::clone(&self.others))),
            unclean_stop: false,
            metrics: Metrics::default(),
        });
        self.others.0.lock().insert(port(number), Arc::clone(&replicas));
        let back = Back::default();
        self.nodes.insert(number, Node { number, store, replicas, back });
    }

    /// The process goes without a word.
    pub(super) async fn kill(&mut self, number: i32) {
        self.others.0.lock().remove(&port(number));
        let Node { store, replicas, .. } = self.nodes.remove(&number).unwrap();
        replicas.stop().await;
        let began = Instant::now();
        while Arc::strong_count(&replicas) > 1 {
            assert!(began.elapsed() < SOON, "somebody holds the replicas");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        drop((store, replicas));
    }

    pub(super) async fn restart(&mut self, number: i32) {
        self.kill(number).await;
        let incarnation = self.metadata.node(NodeId(number)).unwrap().incarnation.0 + 1;
        self.register(number, incarnation);
        self.start(number);
    }

    pub(super) fn node(&self, number: i32) -> &Node {
        &self.nodes[&number]
    }

    pub(super) fn open_epoch(&self) -> Epoch {
        self.metadata.partition(P).unwrap().open().key.epoch
    }

    /// Fences the life in the metadata; nobody is told.
    pub(super) fn fence_in_metadata(&mut self, Writer { node, incarnation }: Writer) {
        let fence = Fence { node, incarnation, at: TimestampMs(0) };
        let reply = self.apply(&Command::Fence(fence));
        assert!(matches!(reply, Reply::Fenced(Ok(_))), "{reply:?}");
    }

    /// Seals the open segment at `end`, without telling anybody that it happened.
    pub(super) fn roll(&mut self, end: i64, next: Placement, reason: Reason, coverage: Coverage) {
        let open = self.metadata.partition(P).unwrap().open().key;
        let empty = open.base.0 == end;
        let sealed = SealedAt {
            end: Offset(end),
            bytes: u64::from(!empty),
            max_timestamp: if empty { TimestampMs::NONE } else { TimestampMs(7) },
        };
        let at = TimestampMs(0);
        let roll = Roll { partition: P, expected: open.epoch, sealed, coverage, next, reason, at };
        let reply = self.apply(&Command::Roll(vec![roll]));
        assert!(matches!(&reply, Reply::Rolled(all) if all[0].is_ok()), "{reply:?}");
    }

    /// A roll of the leader's, which goes on.
    pub(super) fn planned(&mut self, end: i64) {
        self.roll(end, placement(life(1, 1), &[1, 2, 3]), Reason::Bytes, Coverage::Quorum);
    }

    /// Node 1 is fenced and its segment sealed; node 2 leads.
    pub(super) fn forced(&mut self, end: i64) {
        if self.metadata.may_lead(Leader { node: NodeId(1), incarnation: Incarnation(1) }) {
            self.fence_in_metadata(life(1, 1));
        }
        let leader = Writer {
            node: NodeId(2),
            incarnation: self.metadata.node(NodeId(2)).unwrap().incarnation,
        };
        self.roll(end, placement(leader, &[1, 2, 3]), Reason::Failover, Coverage::Quorum);
    }

    /// Tells a node that the chain changed, as whoever follows the metadata does.
    pub(super) fn tell(&self, number: i32, old: &Metadata) {
        let (old, new) = (old.partition(P), self.metadata.partition(P));
        self.node(number).replicas.follow(P, old.map(|chain| &**chain), new.map(|chain| &**chain));
    }

    pub(super) async fn fence(
        &self,
        number: i32,
        segments: &[SegmentId],
    ) -> Result<FenceReply, String> {
        let request = FenceRequest {
            fenced: life(1, 1),
            index: self.metadata.applied(),
            segments: segments.to_vec(),
        };
        self.node(number).replicas.fence(request).await
    }
}

/// What the leader of node 1 says beside a batch.
pub(super) fn append(to: i32, epoch: i32, prev_end: i64, commit: i64) -> Append {
    Append {
        from: life(0, 0),
        storage: disk(to),
        epoch: Epoch(epoch),
        prev_end: Offset(prev_end),
        commit: Offset(commit),
        stream: 1,
        sent_at: UptimeMs(1),
    }
}

pub(super) fn from(writer: Writer) -> PeerIdentity {
    PeerIdentity {
        cluster: Some(CLUSTER),
        node: writer.node,
        storage: disk(writer.node.0),
        incarnation: writer.incarnation,
    }
}

impl Node {
    pub(super) fn push(&self, writer: Writer, base: i64, append: Append, batch: Option<Bytes>) {
        let message = AppendMessage { partition: P, base: Offset(base), append, batch };
        self.replicas.appended(from(writer), message, &self.back);
    }

    /// The next answers; waits for one.
    pub(super) async fn answers(&self) -> Vec<AppendAnswer> {
        answers_on(&self.back).await
    }

    /// Says it again while the node is busy opening, and answers what it says then.
    pub(super) async fn say(
        &self,
        writer: Writer,
        base: i64,
        append: Append,
        batch: Option<Bytes>,
    ) -> AppendAnswer {
        let began = Instant::now();
        loop {
            self.push(writer, base, append, batch.clone());
            let answer = *self.answers().await.last().unwrap();
            let busy = matches!(answer, AppendAnswer::Refused { refusal: Refusal::Busy, .. });
            if !busy {
                return answer;
            }
            assert!(began.elapsed() < SOON, "it stays busy");
        }
    }

    /// Sends batches of `count` from `from` on up to `to`, in epoch 1 from base 0, and waits until
    /// all of it is durable.
    pub(super) async fn feed(&self, (from, to): (i64, i64), commit: i64) {
        self.feed_in((0, 1), (from, to), commit).await;
    }

    pub(super) async fn feed_in(
        &self,
        (base, epoch): (i64, i32),
        (from, to): (i64, i64),
        commit: i64,
    ) {
        let mut at = from;
        while at < to {
            let said = append(self.number, epoch, at, commit);
            let answer = self.say(life(1, 1), base, said, Some(batch_of(at, 2, epoch))).await;
            let AppendAnswer::Position(position) = answer else { panic!("{answer:?}") };
            at = position.end.0;
        }
        self.until_durable((base, epoch), to, commit).await;
    }

    /// Asks until the log is durable up to `end`.
    pub(super) async fn until_durable(&self, (base, epoch): (i64, i32), end: i64, commit: i64) {
        let began = Instant::now();
        loop {
            let position = self.ask((base, epoch), end, commit).await;
            if position.durable == Offset(end) && position.end == Offset(end) {
                return;
            }
            assert!(began.elapsed() < SOON, "{position:?}");
        }
    }

    pub(super) async fn ask(&self, (base, epoch): (i64, i32), end: i64, commit: i64) -> Position {
        let said = append(self.number, epoch, end, commit);
        let answer = self.say(life(1, 1), base, said, None).await;
        let AppendAnswer::Position(position) = answer else { panic!("{answer:?}") };
        position
    }

    pub(super) async fn refusal(
        &self,
        writer: Writer,
        base: i64,
        append: Append,
        batch: Option<Bytes>,
    ) -> Refusal {
        match self.say(writer, base, append, batch).await {
            AppendAnswer::Refused { refusal, .. } => refusal,
            AppendAnswer::Position(position) => panic!("{position:?}"),
        }
    }

    /// Waits until a segment's file is sealed and nothing is left to do for it.
    pub(super) async fn until_sealed(&self, id: SegmentId) {
        eventually("the seal", || {
            self.store.segment(id).is_sealed().unwrap() && self.replicas.opened(id).is_none()
        })
        .await;
    }

    /// The table beside a sealed segment.
    pub(super) fn table(&self, id: SegmentId) -> ProducerTable {
        let state = self.store.segment(id).read_state().unwrap().expect("a state file");
        ProducerTable::decode(&state).unwrap()
    }

    /// The bases of what the log has from `from` on.
    pub(super) fn bases(&self, id: SegmentId) -> Vec<i64> {
        let mut bases = Vec::new();
        let segment = self.store.segment(id);
        let end = segment.end().unwrap();
        segment.headers(id.base, end, &mut |header| bases.push(header.base_offset.0)).unwrap();
        bases
    }
}

pub(super) async fn answers_on(back: &Back) -> Vec<AppendAnswer> {
    let began = Instant::now();
    loop {
        let answers = decode_answers(&back.take().expect("the way back is open")).unwrap();
        if !answers.is_empty() {
            return answers.into_iter().map(|message| message.answer).collect();
        }
        assert!(began.elapsed() < SOON, "no answer came");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) async fn eventually(what: &str, mut is_there: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_there() {
        assert!(began.elapsed() < SOON, "{what} did not come");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}
