//! Lists in the stream of changes: groups and clients of all nodes, told by any of them, and never
//! in the way of anything else.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, NodeSettings, folder, stream::Stream, text::TextClient};

const PATIENCE: Duration = Duration::from_secs(60);

fn text(client: &mut TextClient, command: &str) -> Result<()> {
    let answer = client.ask(command.as_bytes())?;
    ensure!(answer.starts_with(b"OK"), "{command}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// Reads until a message of that name is as it should be.
fn until(stream: &mut Stream, wanted: &str, is_right: impl Fn(&Value) -> bool) -> Result<Value> {
    let began = Instant::now();
    loop {
        let (name, document) = stream.next()?;
        if name == wanted && is_right(&document) {
            return Ok(document);
        }
        ensure!(began.elapsed() < PATIENCE, "the last of it: {name}: {document}");
    }
}

fn find<'a>(list: &'a Value, field: &str, name: &str) -> Option<&'a Value> {
    list["items"].as_array()?.iter().find(|one| one[field] == name)
}

#[test]
fn groups_and_clients_are_told_by_a_stream_that_asks_for_them() -> Result<()> {
    let folder = folder()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    cluster.wait_until_all_vote()?;
    let mut client = TextClient::connect(cluster.node(2).client_address())?;
    for command in ["REGISTER t", "PUT t one", "PUT t two", "PUT t three", "GET t"] {
        text(&mut client, command)?;
    }
    let at = cluster.node(1).admin_address();
    let mut stream = Stream::open(at, "kinds=group,client", None)?;
    // One of three entries was handed out, and its cursor is a group's commit.
    until(&mut stream, "groups", |told| {
        let group = find(told, "group", "walrus.get.t");
        group.is_some_and(|group| group["lag_records"] == 2)
    })?;
    let told = until(&mut stream, "clients", |told| find(told, "protocol", "text").is_some())?;
    let found = find(&told, "protocol", "text").expect("it was looked for");
    assert_eq!(found["node"], 2, "{told}");
    text(&mut client, "GET t")?;
    until(&mut stream, "groups", |told| {
        let group = find(told, "group", "walrus.get.t");
        group.is_some_and(|group| group["lag_records"] == 1)
    })?;
    drop(client);
    until(&mut stream, "clients", |told| find(told, "protocol", "text").is_none())?;

    // Who asks for nothing by name is told no lists: they cost other nodes something.
    let mut stream = Stream::open(at, "every_ms=250", None)?;
    for _message in 0..12 {
        let (name, _) = stream.next()?;
        assert!(!["groups", "clients"].contains(&name.as_str()), "{name}");
    }
    Ok(())
}

#[test]
fn a_node_that_does_not_tell_its_groups_puts_nothing_else_off() -> Result<()> {
    let folder = folder()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    cluster.wait_until_all_vote()?;
    let silent = if cluster.controller()? == 3 { 2 } else { 3 };
    let mut stream =
        Stream::open(cluster.node(1).admin_address(), "kinds=vitals,client&every_ms=250", None)?;
    until(&mut stream, "clients", |told| told.get("missing").is_none())?;
    cluster.node(silent).freeze()?;
    // Between the vitals before such a list and those after it: that node is waited for two seconds.
    let (mut gaps, mut before, began) = (Vec::new(), None, Instant::now());
    let mut is_missing = false;
    while gaps.len() < 3 {
        let (name, told) = stream.next()?;
        if name == "clients" && told["missing"][0]["node"] == silent {
            is_missing = true;
        } else if name == "vitals" {
            let at = told["at_ms"].as_i64().context("a time")?;
            let before = before.replace(at).filter(|_| std::mem::take(&mut is_missing));
            // Those of one look say nothing.
            gaps.extend(before.map(|before| at - before).filter(|gap| *gap > 0));
        }
        ensure!(began.elapsed() < PATIENCE, "it is never missed: {told}");
    }
    cluster.node(silent).thaw()?;
    assert!(gaps.iter().any(|gap| *gap < 1_900), "vitals waited with the list: {gaps:?}");
    Ok(())
}
