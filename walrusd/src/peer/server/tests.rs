//! Both ends over loopback.

use uuid::Uuid;
use walrus_raft::CallError;
use walrus_replication::Refusal;
use walrus_types::{ClusterId, Epoch, Incarnation, NodeId, StorageId, TopicPartition};

use super::*;
use crate::peer::{AppendAnswer, HelloRefusal, Links, append::decode_answers};

const SOON: Duration = Duration::from_secs(10);

fn identity(node: i32) -> PeerIdentity {
    PeerIdentity {
        cluster: Some(ClusterId(Uuid::from_u128(1))),
        node: NodeId(node),
        storage: StorageId(Uuid::from_u128(node.unsigned_abs().into())),
        incarnation: Incarnation(1),
    }
}

/// Answers with what it was asked; `wait` never, `life` with that of who asks.
struct Echo;

impl Serve for Echo {
    fn welcome(&self, hello: &Hello) -> Welcome {
        match (identity(1).cluster, hello.from.cluster) {
            (Some(ours), Some(given)) if ours != given => {
                Err(HelloRefusal::OtherCluster { ours, given })
            }
            _ => Ok(identity(1)),
        }
    }

    fn answer(&self, from: PeerIdentity, _: Subject, body: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move {
            match &body[..] {
                b"wait" => std::future::pending().await,
                b"life" => from.incarnation.to_string().into(),
                _ => body,
            }
        })
    }

    fn pushed(&self, _: PeerIdentity, _: Subject, _: Bytes, back: &Back) {
        back.end();
    }

    fn ended(&self, _: PeerIdentity, _: Lane) {}
}

async fn server() -> (u16, Tasks) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let tasks = Tasks::default();
    tasks.spawn("peers", accept(listener, Arc::new(Echo), tasks.clone()));
    (port, tasks)
}

async fn ask(links: &Links, port: u16, body: &'static str) -> Result<Bytes, CallError> {
    let how = (Lane::Control, Subject::Raft);
    let asked = links.ask(("127.0.0.1", port), None, how, body.into(), SOON).await;
    asked.map(|(_peer, answer)| answer)
}

#[tokio::test]
async fn an_answer_finds_who_asked_while_others_wait() {
    let (port, _tasks) = server().await;
    let links = Links::new(identity(2));
    let how = (Lane::Control, Subject::Raft);
    let at = ("127.0.0.1", port);
    let hangs = links.ask(at, None, how, "wait".into(), Duration::from_millis(300));
    let (hung, first, second) =
        tokio::join!(hangs, ask(&links, port, "one"), ask(&links, port, "two"));
    assert_eq!((first, second), (Ok("one".into()), Ok("two".into())));
    assert!(matches!(hung, Err(CallError::NoAnswer(_))), "{hung:?}");
    assert_eq!(ask(&links, port, "three").await, Ok("three".into()));
}

#[tokio::test]
async fn nobody_but_the_expected_disk_is_asked() {
    let (port, _tasks) = server().await;
    let links = Links::new(identity(2));
    let how = (Lane::Control, Subject::Raft);
    for (expected, sent) in [(1, true), (9, false)] {
        let expected = StorageId(Uuid::from_u128(expected));
        let at = ("127.0.0.1", port);
        let asked = links.ask(at, Some(expected), how, "x".into(), SOON).await;
        assert_eq!(asked.is_ok(), sent, "{asked:?}");
        assert!(sent || matches!(asked, Err(CallError::NotSent(_))));
    }
}

#[tokio::test]
async fn a_node_of_another_cluster_learns_both_ids() {
    let (port, _tasks) = server().await;
    let other = ClusterId(Uuid::from_u128(77));
    let links = Links::new(PeerIdentity { cluster: Some(other), ..identity(2) });
    let Err(CallError::NotSent(why)) = ask(&links, port, "x").await else {
        panic!("it was let in");
    };
    assert!(why.contains(&other.to_string()), "{why}");
    assert!(why.contains(&identity(1).cluster.unwrap().to_string()), "{why}");
}

#[tokio::test]
async fn a_lost_connection_is_no_answer_and_the_next_request_makes_another() {
    let (port, tasks) = server().await;
    let links = Links::new(identity(2));
    assert_eq!(ask(&links, port, "x").await, Ok("x".into()));
    let (lost, _stopped) = tokio::join!(ask(&links, port, "wait"), async {
        tasks.stop(Duration::from_millis(50)).await;
    });
    assert!(matches!(lost, Err(CallError::NoAnswer(_) | CallError::NotSent(_))), "{lost:?}");
    let refused = ask(&links, port, "x").await;
    assert!(matches!(refused, Err(CallError::NotSent(_))), "nobody listens any more: {refused:?}");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let again = Tasks::default();
    again.spawn("peers", accept(listener, Arc::new(Echo), again.clone()));
    assert_eq!(ask(&links, port, "x").await, Ok("x".into()));
}

#[tokio::test]
async fn nobody_sends_much_before_a_hello() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (port, _tasks) = server().await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    // A length that a snapshot may have, and nothing behind it: it is not waited for.
    stream.write_all(&(1_u32 << 20).to_be_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(HELLO_MAX / 2, stream.read_to_end(&mut answer)).await;
    assert!(read.expect("it is let go at once").is_err() || answer.is_empty());
}

#[tokio::test]
async fn what_is_no_peer_is_let_go_without_an_answer() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let (port, _tasks) = server().await;
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0, 0, 0, 10, 3, 0, 0, 0, 0, 0, 0, 0, 1, 1]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await.unwrap();
        assert!(read.is_err() || answer.is_empty(), "{answer:?}");
    }
}

#[tokio::test]
async fn a_push_that_makes_no_sense_ends_the_connection() {
    let (port, _tasks) = server().await;
    let links = Links::new(identity(2));
    let at = ("127.0.0.1", port);
    let mut opened = links.open(identity(2), at, Lane::Append).await.unwrap();
    let mut frames = vec![Outgoing::push(Subject::Append, b"nonsense", Bytes::new())];
    frame::write_frames(&opened.half, &mut frames, |_bytes| {}).await.unwrap();
    let next = tokio::time::timeout(SOON, opened.reader.next()).await.unwrap();
    assert!(matches!(next, Ok(None) | Err(_)), "{next:?}");
}

#[tokio::test]
async fn another_life_asks_on_another_connection() {
    let (port, _tasks) = server().await;
    let links = Links::new(identity(2));
    assert_eq!(ask(&links, port, "life").await, Ok("1".into()));
    let (at, how) = (("127.0.0.1", port), (Lane::Control, Subject::Raft));
    let hangs = links.ask(at, None, how, "wait".into(), Duration::from_millis(300));
    let (hung, asked) = tokio::join!(hangs, async {
        tokio::task::yield_now().await;
        links.reborn(Incarnation(2));
        ask(&links, port, "life").await
    });
    assert_eq!(asked, Ok("2".into()));
    let Err(CallError::NoAnswer(why)) = hung else { panic!("{hung:?}") };
    assert!(why.contains("within"), "what is under way stays so: {why}");
}

#[tokio::test]
async fn a_port_where_nobody_listens_is_told_from_one_that_cannot_be_reached() {
    let (port, tasks) = server().await;
    let links = Links::new(identity(2));
    assert!(!links.is_refused("127.0.0.1", port).await);
    tasks.stop(Duration::ZERO).await;
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {}
    assert!(links.is_refused("127.0.0.1", port).await);
    assert!(!links.is_refused("no.such.host.invalid", port).await);
}

#[tokio::test]
async fn answers_wait_for_each_other_up_to_a_bound() {
    let (epoch, refusal) = (Epoch(1), Refusal::Busy);
    let answer = AnswerMessage {
        partition: TopicPartition::default(),
        answer: AppendAnswer::Refused { epoch, stream: 1, refusal },
    };
    let back = Back::default();
    let give = || {
        for _ in 0..100 {
            back.answer(answer);
        }
    };
    let mut bytes = 0;
    for _ in 0..3 {
        give();
        tokio::time::timeout(SOON, back.filled()).await.unwrap();
        let taken = back.take().unwrap();
        assert_eq!(decode_answers(&taken), Ok(vec![answer; 100]));
        assert_eq!(back.take(), Some(Bytes::new()));
        bytes = taken.len();
    }
    for _ in 0..BACK_BYTES_MAX / bytes {
        give();
    }
    assert!(back.take().is_some_and(|taken| taken.len() <= BACK_BYTES_MAX));
    for _ in 0..=BACK_BYTES_MAX / bytes {
        give();
    }
    tokio::time::timeout(SOON, back.filled()).await.unwrap();
    assert_eq!(back.take(), None, "the connection ends");
    give();
    assert_eq!(back.take(), None);
}
