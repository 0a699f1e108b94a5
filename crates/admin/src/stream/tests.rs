use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};
use walrus_types::{NodeId, TimestampMs};

use super::*;
use crate::{
    document::Document,
    error::{ApiError, Code, ErrorDocument},
};

const PATIENCE: (Duration, Duration) = (Duration::from_secs(20), Duration::from_secs(20));

/// Answers one connection with these bytes and then is gone; gives what it was asked.
async fn node(answer: String) -> (Endpoint, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut asked = vec![0; 4096];
        let length = stream.read(&mut asked).await.unwrap();
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8_lossy(&asked[..length]).into_owned()
    });
    (at.to_string().parse().unwrap(), asked)
}

fn stream(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
}

fn vitals(version: u64) -> VitalsList {
    VitalsList {
        answered_by: NodeId(1),
        metadata_version: version,
        at_ms: TimestampMs(0),
        items: vec![],
    }
}

fn data(version: u64) -> String {
    serde_json::to_string(&Document::of(&vitals(version))).unwrap()
}

#[tokio::test]
async fn news_are_read_and_the_last_id_is_where_to_go_on() {
    let body = format!(
        ": hello\nretry: 1\n\nevent: vitals\nid: 5\ndata: {}\n\nevent: weather\ndata: rain\n\n\
         event: vitals\ndata: {}\n\n:\nid: 9\n\n",
        data(1),
        data(2)
    );
    let (at, asked) = node(stream(&body)).await;
    let mut following = Following::begin(&at, "kinds=vitals", Some(3), PATIENCE).await.unwrap();
    assert_eq!(following.after(), Some(3));
    assert_eq!(following.next().await, Ok(News::Vitals(vitals(1))));
    assert_eq!(following.after(), Some(5));
    assert_eq!(following.next().await, Ok(News::Vitals(vitals(2))));
    assert_eq!(following.after(), Some(5));
    let ended = following.next().await.unwrap_err();
    assert!(ended.is_passing(), "{ended}");
    assert_eq!(following.after(), Some(9));
    let asked = asked.await.unwrap().to_lowercase();
    assert!(
        asked.starts_with("get /v1/stream?kinds=vitals ") && asked.contains("last-event-id: 3")
    );
}

#[tokio::test]
async fn a_node_that_refuses_says_why() {
    let error = ApiError::new(Code::NotFound, "there is nothing at GET /v1/stream");
    let body = serde_json::to_string(&ErrorDocument { error: error.clone(), routes: vec![] });
    let body = body.unwrap();
    let (at, _asked) =
        node(format!("HTTP/1.1 404 x\r\ncontent-length: {}\r\n\r\n{body}", body.len())).await;
    let refused = Following::begin(&at, "", None, PATIENCE).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&error));
}

#[tokio::test]
async fn what_is_no_stream_of_ours_is_not_read() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 0\r\n\r\n".to_owned(),
        stream("event: vitals\ndata: {\n\n"),
        stream("event: vitals\ndata: {\"apiVersion\":\"walrus/v1\",\"kind\":\"Other\"}\n\n"),
        stream("event: vitals\nid: x\ndata: \n\n"),
        stream(":\nid: -1\n\n"),
    ] {
        let (at, _asked) = node(answer.clone()).await;
        let error = match Following::begin(&at, "", None, PATIENCE).await {
            Ok(mut following) => following.next().await.unwrap_err(),
            Err(why) => why,
        };
        assert!(matches!(error, ClientError::NotUnderstood { .. }), "{answer:?}: {error}");
    }
}

#[tokio::test]
async fn a_node_that_is_silent_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let held = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.write_all(stream(":\n\n").as_bytes()).await.unwrap();
        // Held until the reader has gone.
        drop(socket.read_to_end(&mut Vec::new()).await);
    });
    let silent_max = Duration::from_millis(50);
    let patience = (Duration::from_secs(20), silent_max);
    let mut following = Following::begin(&at, "", None, patience).await.unwrap();
    assert!(matches!(following.next().await, Err(ClientError::NoAnswer { .. })));
    drop(following);
    held.await.unwrap();
}
