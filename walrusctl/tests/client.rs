//! Who is connected, as any node and the real `walrusctl` tell it.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, Node, NodeSettings, raw::RawClient, text::TextClient};

fn ctl(node: &Node, args: &[&str]) -> Result<Output> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusctl"));
    command.args(["--endpoint", &node.admin_address().to_string()]).args(args);
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {}: {error}", output.status);
    Ok(output)
}

fn list(node: &Node, more: &[&str]) -> Result<Value> {
    let output = ctl(node, &[&["client", "list", "-o", "json"], more].concat())?;
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// ApiVersions 3 of a client that says what it is.
fn hello(client_id: &str, software: &str, version: &str) -> Vec<u8> {
    let short = |text: &str| {
        let bytes = u8::try_from(text.len() + 1).expect("a short text");
        [&[bytes], text.as_bytes()].concat()
    };
    let id_bytes = i16::try_from(client_id.len()).expect("a short text").to_be_bytes();
    [
        &18_i16.to_be_bytes()[..],
        &3_i16.to_be_bytes(),
        &1_i32.to_be_bytes(),
        &id_bytes,
        client_id.as_bytes(),
        &[0],
        &short(software),
        &short(version),
        &[0],
    ]
    .concat()
}

/// Looks until it is as it should be.
fn until(what: &str, mut is_right: impl FnMut() -> Result<bool>) -> Result<()> {
    let began = Instant::now();
    while !is_right()? {
        ensure!(began.elapsed() < Duration::from_secs(30), "{what} did not come");
    }
    Ok(())
}

#[test]
fn who_is_connected_is_listed_by_any_node_and_gone_when_it_went() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let mut kafka = RawClient::connect(cluster.node(2).client_address())?;
    kafka.send_frame(&hello("billing\u{1b}[2J", "librdkafka", "2.12.1"))?;
    kafka.answer_frame()?;
    let mut text = TextClient::connect(cluster.node(3).client_address())?;
    text.ask(b"METRICS")?;

    let all = list(cluster.node(1), &[])?;
    let of = |node: i64| -> Result<Value> {
        let items = all["items"].as_array().context("a list")?;
        let mut found = items.iter().filter(|one| one["node"] == node);
        let one = found.next().with_context(|| format!("nobody on node {node}: {all}"))?;
        ensure!(found.next().is_none(), "one too many on node {node}: {all}");
        Ok(one.clone())
    };
    let (two, three) = (of(2)?, of(3)?);
    let said = (&two["client_id"], &two["software"], &two["software_version"]);
    assert_eq!(said, (&"billing\u{fffd}[2J".into(), &"librdkafka".into(), &"2.12.1".into()));
    assert!(two["address"].as_str().is_some_and(|at| at.starts_with("127.0.0.1:")), "{two}");
    assert_eq!((&two["protocol"], &two["requests"]), (&"kafka".into(), &1.into()), "{two}");
    assert_eq!((&two["last"], &two["under_way"]), (&"ApiVersions".into(), &0.into()), "{two}");
    assert!(two["bytes_in"].as_u64() > Some(30) && two["bytes_out"].as_u64() > Some(100), "{two}");
    assert_eq!((&three["protocol"], &three["mostly"]), (&"text".into(), &"other".into()));
    assert_eq!(three.get("client_id"), None, "it has not said: {three}");

    // A page at a time, and of one node.
    let only = list(cluster.node(3), &["--node", "2"])?;
    assert_eq!(only["items"].as_array().map(Vec::len), Some(1), "{only}");
    let first = list(cluster.node(1), &["--limit", "1"])?;
    assert_eq!(first["items"].as_array().map(Vec::len), Some(1), "{first}");
    assert!(first["next"].is_string(), "{first}");
    let shown = ctl(cluster.node(1), &["client", "list"])?;
    let shown = String::from_utf8(shown.stdout)?;
    assert!(shown.contains("librdkafka 2.12.1") && !shown.contains('\u{1b}'), "{shown:?}");

    drop(kafka);
    until("the end of the connection", || {
        let left = list(cluster.node(1), &["--node", "2"])?;
        Ok(left["items"].as_array().is_some_and(Vec::is_empty))
    })?;

    // A node that does not answer is named, and the rest is told.
    cluster.node(2).freeze()?;
    let told = list(cluster.node(1), &[])?;
    cluster.node(2).thaw()?;
    assert_eq!(told["missing"][0]["node"], 2, "{told}");
    let items = told["items"].as_array().context("a list")?;
    assert!(items.iter().any(|one| one["node"] == 3), "{told}");
    Ok(())
}
