//! Both ends over loopback.

use uuid::Uuid;
use walrus_raft::{CallError, Lane};
use walrus_types::{ClusterId, Incarnation, NodeId, StorageId};

use super::*;
use crate::peer::{HelloRefusal, Links};

const SOON: Duration = Duration::from_secs(10);

fn identity(node: i32) -> PeerIdentity {
    PeerIdentity {
        cluster: Some(ClusterId(Uuid::from_u128(1))),
        node: NodeId(node),
        storage: StorageId(Uuid::from_u128(node.unsigned_abs().into())),
        incarnation: Incarnation(1),
    }
}

/// Answers with what it was asked; `wait` never.
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

    fn answer(&self, _: PeerIdentity, _: Subject, body: Bytes) -> BoxFuture<'static, Bytes> {
        Box::pin(async move {
            if &body[..] == b"wait" {
                std::future::pending::<()>().await;
            }
            body
        })
    }
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
