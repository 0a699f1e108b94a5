//! Nodes that wait to be told what to form, and `walrusctl` that tells them.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use walrus_tests::{Addresses, Node, NodeSettings};

/// Exit status, and the document or error that is shown.
fn ctl(node: &Node, args: &[&str]) -> Result<(Option<i32>, Value)> {
    let output = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .args(["-q", "-o", "json", "--endpoint"])
        .arg(node.admin_address().to_string())
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    let shown = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    Ok((output.status.code(), serde_json::from_slice(shown)?))
}

/// Starts a node that is to wait, and waits until it does.
fn waiting(node: &mut Node) -> Result<()> {
    node.spawn()?;
    let begun = Instant::now();
    loop {
        if let Ok((200, body)) = node.admin_get("/v1/self")
            && body.contains("\"awaits_bootstrap\":true")
        {
            return Ok(());
        }
        ensure!(begun.elapsed() < Duration::from_secs(30), "it does not wait:\n{}", node.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_node_that_waits_founds_or_joins_as_it_is_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("small.yaml");
    std::fs::write(&file, "storage:\n  wal-ring-bytes: 128MiB\n  hot-tail-bytes: 32MiB\n")?;
    let settings =
        NodeSettings { flags: vec!["--await-bootstrap".into()], ..NodeSettings::default() };
    let settings = settings.flag("--config", file.display());
    let addresses = Addresses::free(2)?;
    let node =
        |id: i32, at| Node::new(id, &folder.path().join(format!("n{id}")), at, settings.clone());
    let (mut first, mut second) = (node(1, addresses[0]), node(2, addresses[1]));
    waiting(&mut first)?;
    waiting(&mut second)?;

    let (status, error) = ctl(&first, &["cluster", "status"])?;
    assert_eq!((status, &error["error"]["code"]), (Some(6), &"no_cluster".into()), "{error}");
    let (status, told) = ctl(&first, &["node", "ready"])?;
    assert_eq!((status, &told["state"]), (Some(7), &"starting".into()), "{told}");
    let (status, error) = ctl(&first, &["cluster", "bootstrap"])?;
    assert_eq!(status, Some(2), "nobody agreed: {error}");
    let (status, told) = ctl(&first, &["cluster", "bootstrap", "--yes", "--wait"])?;
    assert_eq!((status, &told["told"]), (Some(0), &true.into()), "{told}");
    let (status, again) = ctl(&first, &["cluster", "bootstrap", "--yes"])?;
    assert_eq!(
        (status, &again["told"], &again["cluster"]),
        (Some(0), &false.into(), &told["cluster"])
    );

    let peer = first.peer_address().to_string();
    let (status, joined) = ctl(&second, &["cluster", "join", &peer, "--yes", "--wait"])?;
    assert_eq!((status, &joined["cluster"]), (Some(0), &told["cluster"]), "{joined}");
    let (_, list) = ctl(&first, &["node", "list"])?;
    assert_eq!(list["items"].as_array().map(Vec::len), Some(2), "{list}");

    // A folder that belongs to a cluster waits for nobody.
    second.kill()?;
    second.restart()?;
    Ok(())
}
