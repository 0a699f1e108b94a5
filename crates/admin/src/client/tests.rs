use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;
use crate::{document::Document, operation::CancelRequest};

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
struct Answered {
    from: NodeId,
}

impl Kind for Answered {
    const KIND: &'static str = "Answered";
}

/// Answers each connection with the next of `answers`, and then is gone.
async fn node(answers: Vec<(u16, String)>) -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut asked = [0; 4096];
            assert!(stream.read(&mut asked).await.unwrap() > 0);
            let head = format!(
                "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    at.to_string().parse().unwrap()
}

fn answer() -> Answered {
    Answered { from: NodeId(1) }
}

fn done() -> (u16, String) {
    (200, serde_json::to_string(&Document::of(&answer())).unwrap())
}

fn refused(error: ApiError) -> (u16, String) {
    let status = error.code.status();
    (status, serde_json::to_string(&ErrorDocument { error, routes: vec![] }).unwrap())
}

fn client(endpoints: Vec<Endpoint>) -> Client {
    Client::new(endpoints, Duration::from_secs(20))
}

async fn nobody() -> Endpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string().parse().unwrap()
}

const REQUEST: CancelRequest = CancelRequest { actor: String::new() };

#[tokio::test]
async fn the_first_endpoint_that_answers_is_the_one() {
    let client = client(vec![nobody().await, node(vec![done()]).await]);
    assert_eq!(client.get::<Answered>("/v1/x").await, Ok(answer()));
    let gone = client.get::<Answered>("/v1/x").await.unwrap_err();
    assert!(
        matches!(&gone, ClientError::Unreachable { endpoint, .. }
        if *endpoint == client.endpoints()[0]),
        "{gone}"
    );
}

#[tokio::test]
async fn a_change_is_asked_of_the_first_endpoint_that_answers() {
    let client = client(vec![nobody().await, node(vec![done()]).await]);
    assert_eq!(client.send::<Answered>("/v1/x", &REQUEST).await, Ok(answer()));
}

#[tokio::test]
async fn what_is_no_answer_of_this_api_is_said_to_be_that() {
    for (status, body, says) in [
        (200, "<html>", "expected value"),
        (200, "{}", "apiVersion"),
        (
            200,
            r#"{"apiVersion":"walrus/v1","kind":"NodeList","items":[]}"#,
            "a NodeList of walrus/v1",
        ),
        (404, "not found", "HTTP 404"),
        (200, r#"{"apiVersion":"walrus/v1","kind":"Answered"}"#, "missing field"),
    ] {
        let client = client(vec![node(vec![(status, body.into())]).await]);
        let why = client.get::<Answered>("/v1/x").await.unwrap_err();
        assert!(matches!(why, ClientError::NotUnderstood { .. }), "{why:?}");
        assert!(why.to_string().contains(says), "{why}");
    }
}

#[tokio::test]
async fn a_node_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at: Endpoint = listener.local_addr().unwrap().to_string().parse().unwrap();
    let client = Client::new(vec![at], Duration::from_millis(20));
    let why = client.get::<Answered>("/v1/x").await.unwrap_err();
    assert!(matches!(&why, ClientError::NoAnswer { .. }) && why.is_passing(), "{why}");
    drop(listener);
}

#[tokio::test]
async fn a_refusal_that_will_pass_is_asked_of_the_next_endpoint() {
    let starting = refused(ApiError::new(Code::Starting, "reading the log"));
    let client = client(vec![node(vec![starting]).await, node(vec![done()]).await]);
    assert_eq!(client.get::<Answered>("/v1/x").await, Ok(answer()));
    let last = refused(ApiError::new(Code::LastNode, "n1 is alone"));
    let client = self::client(vec![node(vec![last]).await, nobody().await]);
    let why = client.get::<Answered>("/v1/x").await.unwrap_err();
    assert_eq!(why.refusal().map(|error| error.code), Some(Code::LastNode));
}
