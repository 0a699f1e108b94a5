//! The real `walrusctl` against three real nodes.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, NodeSettings, text::TextClient};

/// Runs it through node `through` and reads the document that it shows.
fn ctl(cluster: &Cluster, through: i32, args: &[&str]) -> Result<Value> {
    let output = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .args(["-o", "json", "--endpoint"])
        .arg(cluster.node(through).admin_address().to_string())
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {}: {error}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}"))
}

fn node(cluster: &Cluster, through: i32, id: i32) -> Result<Value> {
    let list = ctl(cluster, through, &["node", "list", "--all"])?;
    let items = list["items"].as_array().context("a list")?;
    let found = items.iter().find(|node| node["node"] == id).context("no such node")?;
    Ok(found.clone())
}

#[test]
fn a_node_is_emptied_brought_back_and_taken_out() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    ctl(&cluster, 1, &["cluster", "health", "--wait", "--timeout", "1m"])?;
    let mut client = TextClient::connect(cluster.node(1).client_address())?;
    for topic in ["a", "b", "c", "d", "e", "f"] {
        let answer = client.ask(format!("REGISTER {topic}").as_bytes())?;
        ensure!(answer == b"OK", "{topic}: {}", String::from_utf8_lossy(&answer));
    }

    // Node 2 hears of the last one a moment later.
    let began = Instant::now();
    while let Err(why) = ctl(&cluster, 2, &["segment", "chain", "f/0"]) {
        ensure!(began.elapsed() < Duration::from_secs(20), "{why}");
    }

    // Each partition is rolled by whoever leads it, whichever node is asked.
    let done = ctl(&cluster, 2, &["rollover", "--all", "--rate", "100/s", "--yes", "--wait"])?;
    assert_eq!((&done["state"], &done["total"]), (&"done".into(), &6.into()));

    let raft = ctl(&cluster, 3, &["raft", "status"])?;
    let leader = raft["leader"].as_i64().context("a leader")?;
    assert_eq!(raft["answered_by"], leader, "the leader was asked: only it knows who lacks what");
    let to = if leader == 3 { "1" } else { "3" };
    ctl(&cluster, 2, &["raft", "transfer", to, "--yes", "--wait"])?;
    assert_eq!(ctl(&cluster, 2, &["raft", "status"])?["leader"], to.parse::<i64>()?);

    let drained = ctl(&cluster, 1, &["node", "drain", "2", "--yes", "--wait", "--timeout", "1m"])?;
    assert_eq!(drained["state"], "done", "{drained}");
    let two = node(&cluster, 3, 2)?;
    let held = &two["holding"];
    assert_eq!((&held["leads"], &held["open"]), (&0.into(), &0.into()), "{two}");
    assert_eq!(two["state"], "draining");
    let back = ctl(&cluster, 3, &["node", "undrain", "2", "--yes"])?;
    assert_eq!(back["state"], "done", "{back}");
    assert_eq!(node(&cluster, 3, 2)?["state"], "active");

    // The controller itself goes: another one takes over and lets it go.
    let leaving = to;
    let through = if leaving == "1" { 2 } else { 1 };
    let confirm = format!("--confirm={leaving}");
    let args = ["node", "remove", leaving, &confirm, "--wait", "--timeout", "1m"];
    let gone = ctl(&cluster, through, &args)?;
    assert_eq!(gone["state"], "done", "{gone}");
    let again = ctl(&cluster, through, &args)?;
    assert_eq!(again["changes"], false);
    let raft = ctl(&cluster, through, &["raft", "status"])?;
    assert_eq!((&raft["voters"], &raft["members"].as_array().map(Vec::len)), (&2.into(), &Some(2)));
    let mut client = TextClient::connect(cluster.node(through).client_address())?;
    for topic in ["a", "b", "c", "d", "e", "f"] {
        let answer = client.ask(format!("PUT {topic} still there").as_bytes())?;
        ensure!(answer == b"OK", "{topic}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(())
}

#[test]
fn a_cursor_goes_where_its_coordinator_goes_and_comes_back_as_it_was_left() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    ctl(&cluster, 1, &["cluster", "health", "--wait", "--timeout", "1m"])?;
    let mut client = TextClient::connect(cluster.node(1).client_address())?;
    ensure!(client.ask(b"REGISTER jobs")? == b"OK");
    for entry in 0..40 {
        ensure!(client.ask(format!("PUT jobs {entry}").as_bytes())? == b"OK");
    }
    let mut next = 0;
    // Every node has the cursor more than once in one life: all others are drained in turn.
    for keeper in [1, 2, 3, 1, 2, 3] {
        let others: Vec<String> =
            (1..=3).filter(|id| *id != keeper).map(|id: i32| id.to_string()).collect();
        for other in &others {
            ctl(&cluster, keeper, &["node", "drain", other, "--yes", "--wait", "--timeout", "1m"])?;
        }
        for through in [1, 2, 3] {
            let mut client = TextClient::connect(cluster.node(through).client_address())?;
            for _ in 0..2 {
                let answer = String::from_utf8(client.ask(b"GET jobs")?)?;
                ensure!(answer == format!("OK {next}"), "{answer} in the place of {next}");
                next += 1;
            }
        }
        for other in &others {
            ctl(&cluster, keeper, &["node", "undrain", other, "--yes", "--wait"])?;
        }
    }
    Ok(())
}
