//! What the admin port takes, and from whom.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde_json::Value;
use walrus_tests::{Node, NodeSettings};

/// Status and body of an answer to a request that is written by hand.
fn ask(node: &Node, head: &str, body: &str) -> Result<(u16, Value)> {
    let mut stream = TcpStream::connect(node.admin_address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    // A node that refuses by the head alone may close before it has read the body.
    drop(write!(stream, "{head}\r\nhost: x\r\nconnection: close\r\n\r\n{body}"));
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let (answer, body) = text.split_once("\r\n\r\n").context("no answer")?;
    let status = answer.split(' ').nth(1).context("no status")?.parse()?;
    Ok((status, serde_json::from_str(body).with_context(|| text.clone())?))
}

fn post(node: &Node, path: &str, more: &str, body: &str) -> Result<(u16, Value)> {
    let head = format!(
        "POST {path} HTTP/1.1\r\ncontent-type: application/json\r\ncontent-length: {}{more}",
        body.len()
    );
    ask(node, &head, body)
}

#[test]
fn requests_are_taken_in_one_form_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let (plans, same) = ("/v1/plans", r#"{"verb":"undrain","node":1}"#);
    let check = |(status, body): (u16, Value), expected: u16, code: &str| {
        assert_eq!((status, &body["error"]["code"]), (expected, &code.into()), "{body}");
    };
    assert_eq!(post(&node, plans, "", same)?.0, 200);
    check(post(&node, plans, "\r\norigin: http://evil.example", same)?, 403, "forbidden");
    let plain = "POST /v1/plans HTTP/1.1\r\ncontent-type: text/plain\r\ncontent-length: 8";
    check(ask(&node, plain, r#"{"to":1}"#)?, 415, "unsupported_media_type");
    for body in [
        "",
        "{",
        "[]",
        r#"{"verb":"undrain"}"#,
        r#"{"verb":"undrain","node":"x"}"#,
        r#"{"verb":"undrain","node":1,"more":2}"#,
        r#"{"verb":"destroy","node":1}"#,
        r#"{"verb":"rollover","which":"some"}"#,
        "\u{0}",
    ] {
        check(post(&node, plans, "", body)?, 400, "bad_request");
    }
    let long = format!(r#"{{"to":1,"more":"{}"}}"#, "x".repeat(600 << 10));
    check(post(&node, plans, "", &long)?, 413, "too_large");
    let deep = "[".repeat(100_000);
    check(post(&node, plans, "", &deep)?, 400, "bad_request");

    check(ask(&node, "GET /v1/plans HTTP/1.1", "")?, 405, "method_not_allowed");
    check(ask(&node, "DELETE /v1/nodes HTTP/1.1", "")?, 405, "method_not_allowed");
    let (status, nothing) = ask(&node, "GET /v1/nothing HTTP/1.1", "")?;
    let routes = nothing["routes"].as_array().context("a list")?;
    assert!(routes.contains(&"POST /v1/plans".into()), "{nothing}");
    check((status, nothing), 404, "not_found");
    for path in [
        "/v1/partitions?what=1",
        "/v1/partitions?limit=x",
        "/v1/partitions?after=x",
        "/v1/partitions?leader=x",
        "/v1/topics/a/partitions/x/segments",
        "/v1/topics/%ff/partitions/0/segments",
    ] {
        check(ask(&node, &format!("GET {path} HTTP/1.1"), "")?, 400, "bad_request");
    }
    for path in ["/v1/plans/x", "/v1/plans/123", "/v1/operations/x", "/v1/operations/-1"] {
        check(ask(&node, &format!("GET {path} HTTP/1.1"), "")?, 400, "bad_request");
    }
    check(ask(&node, "GET /v1/plans/00000000009c HTTP/1.1", "")?, 409, "expired");
    check(post(&node, "/v1/plans/00000000009c/run", "", "{}")?, 409, "expired");
    let (status, plan) = post(&node, plans, "", r#"{"verb":"drain","node":1}"#)?;
    assert_eq!((status, &plan["danger"]), (200, &"severe".into()), "{plan}");
    let run = format!("/v1/plans/{}/run", plan["id"].as_str().context("an id")?);
    for body in ["{}", r#"{"confirm":"1"}"#, r#"{"confirm":"n2"}"#] {
        check(post(&node, &run, "", body)?, 409, "not_confirmed");
    }
    check(post(&node, &run, "", r#"{"confirm":"n1"}"#)?, 409, "last_node");
    let nowhere = r#"{"verb":"rollover","which":{"these":[{"topic":"nope"}]}}"#;
    check(post(&node, plans, "", nowhere)?, 404, "not_found");
    Ok(())
}

#[test]
fn a_list_is_read_a_page_at_a_time() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let mut client = walrus_tests::text::TextClient::connect(node.client_address())?;
    for topic in ["b", "a", "a.b", "c"] {
        assert_eq!(client.ask(format!("REGISTER {topic}").as_bytes())?, b"OK");
    }
    let mut found = Vec::new();
    let mut after = String::new();
    loop {
        let (_, page) = ask(&node, &format!("GET /v1/partitions?limit=1{after} HTTP/1.1"), "")?;
        for item in page["items"].as_array().context("a list")? {
            found.push(item["topic"].as_str().context("a name")?.to_owned());
        }
        let Some(next) = page["next"].as_str() else { break };
        after = format!("&after={next}");
    }
    assert_eq!(found, ["a", "a.b", "b", "c"]);
    let (_, one) = ask(&node, "GET /v1/partitions?topic=a.b&leader=n1 HTTP/1.1", "")?;
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
    let (_, none) = ask(&node, "GET /v1/partitions?leader=2 HTTP/1.1", "")?;
    assert_eq!(none["items"].as_array().map(Vec::len), Some(0));
    Ok(())
}
