//! Feeds and members over loopback.

use std::ops::Range;

use bytes::Bytes;
use futures::future::BoxFuture;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use tokio::{
    net::{TcpListener, tcp::OwnedWriteHalf},
    sync::{Semaphore, mpsc},
    time::timeout,
};
use uuid::Uuid;
use walrus_replication::{Append, Position, UptimeMs};
use walrus_types::{
    ClusterId, Epoch, Incarnation, Offset, PartitionIndex, TopicId, TopicPartition,
};

use super::{
    queue::{QUEUED_BYTES_MAX, QUEUED_MAX},
    *,
};
use crate::peer::{
    append::AppendAnswer,
    frame::{self, INCOMING_BYTES_MAX, Outgoing},
    hello::{self, Hello, Welcome},
    server::{self, BACK_BYTES_MAX, Back, Serve},
};

const SOON: Duration = Duration::from_secs(20);
/// Long enough to see that something does not happen.
const A_WHILE: Duration = Duration::from_millis(150);
const LEADER: i32 = 1;
const MEMBER: i32 = 2;

fn identity(node: i32) -> PeerIdentity {
    PeerIdentity {
        cluster: Some(ClusterId(Uuid::from_u128(1))),
        node: NodeId(node),
        storage: storage(node),
        incarnation: Incarnation(1),
    }
}

fn storage(node: i32) -> StorageId {
    StorageId(Uuid::from_u128(node.unsigned_abs().into()))
}

fn member() -> Member {
    Member { node: NodeId(MEMBER), storage: storage(MEMBER) }
}

fn peer(port: u16) -> FeedPeer {
    let (node, storage) = (NodeId(MEMBER), storage(MEMBER));
    FeedPeer { node, storage, host: "127.0.0.1".into(), port }
}

fn message(number: i64, batch: impl Into<Bytes>) -> AppendMessage {
    AppendMessage {
        partition: TopicPartition {
            topic: TopicId(Uuid::from_u128(9)),
            partition: PartitionIndex(3),
        },
        base: Offset(0),
        append: Append {
            from: Writer { node: NodeId(LEADER), incarnation: Incarnation(1) },
            storage: storage(MEMBER),
            epoch: Epoch(1),
            prev_end: Offset(number),
            commit: Offset(0),
            stream: 1,
            sent_at: UptimeMs(0),
        },
        batch: Some(batch.into()).filter(|batch| !batch.is_empty()),
    }
}

fn answer(AppendMessage { partition, append, .. }: &AppendMessage) -> AnswerMessage {
    let Append { epoch, prev_end, stream, sent_at, .. } = *append;
    let (end, durable) = (prev_end, prev_end);
    let position = Position { epoch, end, durable, stream, sent_at };
    AnswerMessage { partition: *partition, answer: AppendAnswer::Position(position) }
}

fn number_of(answer: &AnswerMessage) -> i64 {
    match answer.answer {
        AppendAnswer::Position(position) => position.end.0,
        AppendAnswer::Refused { refusal, .. } => panic!("{refusal}"),
    }
}

/// A member that answers each push so often, and tells the test what came.
struct Keeper {
    name: PeerIdentity,
    answers: usize,
    came: mpsc::UnboundedSender<Came>,
}

#[derive(Debug, PartialEq)]
enum Came {
    Push(AppendMessage),
    Ended(PeerIdentity, Lane),
}

impl Serve for Keeper {
    fn welcome(&self, _: &Hello) -> Welcome {
        Ok(self.name)
    }

    fn answer(&self, _: PeerIdentity, _: Subject, body: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(std::future::ready(body))
    }

    fn pushed(&self, from: PeerIdentity, subject: Subject, body: Bytes, back: &Back) {
        assert_eq!(subject, Subject::Append);
        let message = AppendMessage::decode(&from, body).unwrap();
        for _ in 0..self.answers {
            back.answer(answer(&message));
        }
        // A test may have seen enough.
        drop(self.came.send(Came::Push(message)));
    }

    fn ended(&self, from: PeerIdentity, lane: Lane) {
        drop(self.came.send(Came::Ended(from, lane)));
    }
}

/// A node that listens until it is killed.
struct Node {
    port: u16,
    tasks: Tasks,
    came: mpsc::UnboundedReceiver<Came>,
}

impl Node {
    async fn start(port: u16, answers: usize) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (sender, came) = mpsc::unbounded_channel();
        let keeper = Keeper { name: identity(MEMBER), answers, came: sender };
        let tasks = Tasks::default();
        tasks.spawn("peers", server::accept(listener, Arc::new(keeper), tasks.clone()));
        Self { port, tasks, came }
    }

    async fn pushed(&mut self) -> AppendMessage {
        loop {
            if let Came::Push(message) = soon(self.came.recv()).await.unwrap() {
                return message;
            }
        }
    }

    /// Drops its connections and listens no more. Answers what came before that.
    async fn kill(mut self) -> Vec<AppendMessage> {
        self.tasks.stop(Duration::ZERO).await;
        let mut all = Vec::new();
        while let Some(came) = soon(self.came.recv()).await {
            match came {
                Came::Push(message) => all.push(message),
                Came::Ended(..) => {}
            }
        }
        all
    }
}

/// What a leader hears.
#[derive(Debug, PartialEq)]
enum Heard {
    Connected(PeerIdentity),
    Disconnected(PeerIdentity),
    Answered(Vec<AnswerMessage>),
}

struct Ear(mpsc::UnboundedSender<Heard>);

impl Fed for Ear {
    fn connected(&self, to: PeerIdentity) {
        drop(self.0.send(Heard::Connected(to)));
    }

    fn disconnected(&self, to: PeerIdentity) {
        drop(self.0.send(Heard::Disconnected(to)));
    }

    fn answered(&self, from: PeerIdentity, answers: Vec<AnswerMessage>) {
        assert_eq!(from, identity(MEMBER));
        drop(self.0.send(Heard::Answered(answers)));
    }
}

struct Leader {
    links: Arc<Links>,
    feeds: Arc<Feeds>,
    heard: mpsc::UnboundedReceiver<Heard>,
}

impl Leader {
    fn start(peers: Vec<FeedPeer>) -> Self {
        let links = Links::new(identity(LEADER));
        let feeds = Feeds::new(Arc::clone(&links));
        let (sender, heard) = mpsc::unbounded_channel();
        feeds.start(Arc::new(Ear(sender)));
        feeds.set_peers(peers);
        Self { links, feeds, heard }
    }

    async fn hears(&mut self) -> Heard {
        soon(self.heard.recv()).await.unwrap()
    }

    /// What it hears next that is no answer.
    async fn change(&mut self) -> Heard {
        loop {
            let heard = self.hears().await;
            if !matches!(heard, Heard::Answered(_)) {
                return heard;
            }
        }
    }

    async fn is_connected(&mut self) {
        assert_eq!(self.change().await, Heard::Connected(identity(MEMBER)));
    }

    async fn is_disconnected(&mut self) {
        assert_eq!(self.change().await, Heard::Disconnected(identity(MEMBER)));
        assert!(!self.feeds.push(member(), &message(0, "")), "it is not connected");
    }

    async fn hears_nothing(&mut self) {
        let heard = timeout(A_WHILE, self.heard.recv()).await;
        assert!(heard.is_err(), "{heard:?}");
    }

    fn push_all(&self, numbers: Range<i64>) {
        for number in numbers {
            assert!(self.feeds.push(member(), &message(number, number.to_string())), "{number}");
        }
    }
}

async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(SOON, what).await.expect("it takes too long")
}

/// Who accepts one connection, says who it is, and then neither reads nor writes.
async fn mute(listener: &TcpListener) -> (PeerReader, OwnedWriteHalf) {
    let (stream, _) = listener.accept().await.unwrap();
    let (read_half, half) = stream.into_split();
    let mut reader = PeerReader::new(read_half, Arc::new(Semaphore::new(INCOMING_BYTES_MAX)));
    let greeting = reader.next().await.unwrap().unwrap();
    assert_eq!(Hello::decode(&greeting.body).unwrap().lane, Lane::Append);
    let welcome = hello::encode_welcome(&Ok(identity(MEMBER)));
    let mut frames = vec![Outgoing::new(Kind::Welcome, 0, None, welcome)];
    frame::write_frames(&half, &mut frames, |_bytes| {}).await.unwrap();
    (reader, half)
}

#[tokio::test]
async fn what_is_pushed_arrives_in_its_order_and_is_answered() {
    let mut node = Node::start(0, 1).await;
    let mut leader = Leader::start(vec![peer(node.port)]);
    leader.is_connected().await;
    leader.push_all(0..5_000);
    for number in 0..5_000 {
        assert_eq!(node.pushed().await, message(number, number.to_string()));
    }
    let mut answered = 0;
    while answered < 5_000 {
        let Heard::Answered(answers) = leader.hears().await else { panic!("it was lost") };
        for answer in &answers {
            assert_eq!(number_of(answer), answered);
            answered += 1;
        }
    }
    leader.feeds.stop().await;
    leader.is_disconnected().await;
    let ended = soon(node.came.recv()).await.unwrap();
    assert_eq!(ended, Came::Ended(identity(LEADER), Lane::Append));
}

#[tokio::test]
async fn a_killed_node_is_disconnected_and_connected_again_when_it_is_back() {
    let node = Node::start(0, 0).await;
    let port = node.port;
    let mut leader = Leader::start(vec![peer(port)]);
    leader.is_connected().await;
    leader.push_all(0..10);
    node.kill().await;
    leader.is_disconnected().await;
    leader.hears_nothing().await;
    let mut node = Node::start(port, 0).await;
    leader.is_connected().await;
    leader.push_all(10..11);
    assert_eq!(node.pushed().await, message(10, "10"), "nothing of before comes");
}

#[tokio::test]
async fn whatever_happens_a_connection_carries_a_beginning_of_what_it_took() {
    let seed = rand::random();
    println!("seed {seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    let mut node = Node::start(0, 1).await;
    let port = node.port;
    let mut leader = Leader::start(vec![peer(port)]);
    let (mut number, mut lives) = (0, 0);
    while lives < 12 {
        leader.is_connected().await;
        let (mut taken, mut lost) = (Vec::new(), false);
        for _ in 0..random.random_range(1..60) {
            let batch = vec![7; random.random_range(0..100_000)];
            let message = message(number, batch);
            if leader.feeds.push(member(), &message) {
                taken.push(message);
            } else {
                lost = true;
            }
            number += 1;
            if random.random_range(0..4) == 0 {
                tokio::time::sleep(Duration::from_millis(random.random_range(0..3))).await;
            }
        }
        assert!(!lost, "seed {seed}: the queue has room and the node is there");
        let came = node.kill().await;
        assert!(came.len() <= taken.len() && came == taken[..came.len()], "seed {seed}");
        leader.is_disconnected().await;
        node = Node::start(port, 1).await;
        leader.feeds.hurry(NodeId(MEMBER));
        lives += 1;
    }
}

#[tokio::test]
async fn a_push_is_refused_and_never_waits_when_enough_bytes_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut leader = Leader::start(vec![peer(listener.local_addr().unwrap().port())]);
    let there = mute(&listener).await;
    leader.is_connected().await;
    let batch = Bytes::from(vec![1; 1 << 20]);
    let message = message(0, batch.clone());
    let fill = || (0..1_000).take_while(|_| leader.feeds.push(member(), &message)).count();
    assert_eq!(fill(), (QUEUED_BYTES_MAX >> 20) - 1, "heads take something too");
    // What the socket takes makes room, and that ends.
    let mut more = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(50)).await;
        match fill() {
            0 => break,
            taken => more += taken,
        }
    }
    assert!((1..QUEUED_BYTES_MAX >> 20).contains(&more), "{more} MiB are nowhere");
    assert!(!batch.is_unique(), "the queue shares it");
    drop((there, message));
    leader.is_disconnected().await;
    assert!(batch.is_unique(), "the queue has given it back");
}

#[tokio::test]
async fn a_push_is_refused_when_enough_messages_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut leader = Leader::start(vec![peer(listener.local_addr().unwrap().port())]);
    let _there = mute(&listener).await;
    leader.is_connected().await;
    let taken = (0..).take_while(|number| leader.feeds.push(member(), &message(*number, "")));
    assert_eq!(taken.count(), QUEUED_MAX);
}

#[tokio::test]
async fn a_large_batch_passes_whole_and_one_that_cannot_be_read_does_not_leave() {
    let mut node = Node::start(0, 1).await;
    let mut leader = Leader::start(vec![peer(node.port)]);
    leader.is_connected().await;
    let seed = rand::random();
    println!("seed {seed}");
    let mut batch = vec![0_u8; 8 << 20];
    StdRng::seed_from_u64(seed).fill(&mut batch[..]);
    let large = message(1, batch);
    assert!(leader.feeds.push(member(), &large));
    assert!(node.pushed().await == large, "seed {seed}");
    let largest = message(2, vec![5; walrus_types::limits::BATCH_BYTES_MAX]);
    assert!(leader.feeds.push(member(), &largest));
    assert!(!leader.feeds.push(member(), &message(3, "x")), "nothing fits beside it");
    assert!(node.pushed().await == largest);
    let too_large = message(4, vec![5; frame::APPEND_FRAME_BYTES_MAX]);
    assert!(!leader.feeds.push(member(), &too_large));
    leader.push_all(5..6);
    assert_eq!(node.pushed().await, message(5, "5"), "the connection is still there");
}

#[tokio::test]
async fn answers_that_are_given_together_leave_together() {
    let mut node = Node::start(0, 1_000).await;
    let mut leader = Leader::start(vec![peer(node.port)]);
    leader.is_connected().await;
    leader.push_all(7..8);
    node.pushed().await;
    assert_eq!(leader.hears().await, Heard::Answered(vec![answer(&message(7, "")); 1_000]));
}

#[tokio::test]
async fn who_takes_no_answers_loses_the_connection() {
    let answers = BACK_BYTES_MAX / 50;
    let mut node = Node::start(0, answers).await;
    let links = Links::new(identity(LEADER));
    let at = ("127.0.0.1", node.port);
    let opened = links.open(identity(LEADER), at, Lane::Append).await.unwrap();
    let mut frames = vec![message(1, "").frame()];
    frame::write_frames(&opened.half, &mut frames, |_bytes| {}).await.unwrap();
    node.pushed().await;
    let ended = soon(node.came.recv()).await.unwrap();
    assert_eq!(ended, Came::Ended(identity(LEADER), Lane::Append));
}

#[tokio::test]
async fn nobody_but_the_expected_disk_is_fed() {
    let node = Node::start(0, 0).await;
    let other = FeedPeer { storage: storage(5), ..peer(node.port) };
    let mut leader = Leader::start(vec![other]);
    leader.hears_nothing().await;
    leader.feeds.set_peers(vec![peer(node.port)]);
    leader.is_connected().await;
    assert!(leader.feeds.push(member(), &message(1, "")));
    for to in [Member { storage: storage(5), ..member() }, Member { node: NodeId(5), ..member() }] {
        assert!(!leader.feeds.push(to, &message(1, "")), "{to:?}");
    }
}

#[tokio::test]
async fn a_node_is_fed_for_as_long_as_it_is_a_peer_and_where_it_is() {
    let node = Node::start(0, 0).await;
    let mut leader = Leader::start(vec![]);
    leader.hears_nothing().await;
    let me = FeedPeer { node: NodeId(LEADER), ..peer(node.port) };
    for _ in 0..3 {
        leader.feeds.set_peers(vec![me.clone(), peer(node.port)]);
    }
    leader.is_connected().await;
    leader.hears_nothing().await;
    let mut moved = Node::start(0, 0).await;
    leader.feeds.set_peers(vec![peer(moved.port)]);
    leader.is_disconnected().await;
    leader.is_connected().await;
    leader.push_all(1..2);
    moved.pushed().await;
    leader.feeds.set_peers(vec![]);
    leader.is_disconnected().await;
    leader.feeds.set_peers(vec![peer(moved.port)]);
    leader.is_connected().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_and_goes_at_once_is_told_in_turn_and_not_forgotten() {
    let node = Node::start(0, 0).await;
    let mut leader = Leader::start(vec![]);
    let seed = rand::random();
    println!("seed {seed}");
    let random = &mut StdRng::seed_from_u64(seed);
    for _ in 0..1_000 {
        let peers = if random.random() { vec![peer(node.port)] } else { vec![] };
        leader.feeds.set_peers(peers);
        for _ in 0..random.random_range(0..20) {
            tokio::task::yield_now().await;
        }
    }
    leader.feeds.set_peers(vec![peer(node.port)]);
    soon(async {
        while !leader.feeds.push(member(), &message(1, "")) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    leader.feeds.stop().await;
    let mut connected = false;
    while let Ok(heard) = leader.heard.try_recv() {
        let connects = heard == Heard::Connected(identity(MEMBER));
        assert!(connects || heard == Heard::Disconnected(identity(MEMBER)));
        assert_ne!(connects, connected, "seed {seed}");
        connected = connects;
    }
    assert!(!connected, "seed {seed}: the end is told too");
}

#[tokio::test]
async fn another_life_of_this_node_connects_anew_and_no_life_pushes_for_another() {
    let mut node = Node::start(0, 0).await;
    let mut leader = Leader::start(vec![peer(node.port)]);
    leader.is_connected().await;
    let mut next = message(1, "");
    next.append.from.incarnation = Incarnation(2);
    assert!(!leader.feeds.push(member(), &next), "it did not connect as that");
    leader.links.reborn(Incarnation(2));
    leader.is_disconnected().await;
    leader.is_connected().await;
    assert!(!leader.feeds.push(member(), &message(1, "")), "that life is over");
    assert!(leader.feeds.push(member(), &next));
    assert_eq!(node.pushed().await, next);
}

#[tokio::test]
async fn a_node_that_is_heard_of_is_tried_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut leader = Leader::start(vec![peer(port)]);
    // By now it waits for a whole second after each attempt.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let _node = Node::start(port, 0).await;
    let begun = Instant::now();
    leader.feeds.hurry(NodeId(MEMBER));
    leader.is_connected().await;
    assert!(begun.elapsed() < PAUSE_MAX / 4, "{:?}", begun.elapsed());
}

#[tokio::test]
async fn an_answer_that_makes_no_sense_ends_the_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut leader = Leader::start(vec![peer(listener.local_addr().unwrap().port())]);
    for frame in [
        Outgoing::push(Subject::Position, b"nonsense", Bytes::new()),
        Outgoing::push(Subject::Append, &[], Bytes::new()),
        Outgoing::new(Kind::Request, 1, Some(Subject::Position), Bytes::new()),
    ] {
        let (_reader, half) = mute(&listener).await;
        leader.is_connected().await;
        frame::write_frames(&half, &mut vec![frame], |_bytes| {}).await.unwrap();
        leader.is_disconnected().await;
    }
}
