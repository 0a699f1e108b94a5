//! What is unlinked, and who holds what is pruned, as a node and the real `walrusctl` tell it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use serde_json::Value;
use walrus_tests::{Node, NodeSettings, text::TextClient};

fn ctl(node: &Node, args: &[&str]) -> Result<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusctl"));
    command.args(["--endpoint", &node.admin_address().to_string()]).args(args);
    let output = command.stdin(Stdio::null()).output()?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {}: {error}", output.status);
    Ok(String::from_utf8(output.stdout)?)
}

/// What the only node says.
fn gc(node: &Node) -> Result<Value> {
    let status: Value = serde_json::from_str(&ctl(node, &["gc", "status", "-o", "json"])?)?;
    Ok(status["items"][0]["gc"].clone())
}

/// Looks until it is as it should be.
fn until(node: &Node, what: &str, is_right: impl Fn(&Value) -> bool) -> Result<Value> {
    let began = Instant::now();
    loop {
        let gc = gc(node)?;
        if is_right(&gc) {
            return Ok(gc);
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "{what} did not come: {gc:#}");
    }
}

fn post(node: &Node, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(node.admin_address())?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

/// Names of the files below a folder that end so.
fn files(folder: &Path, end: &str) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), end));
        } else if name.ends_with(end) {
            found.push(name);
        }
    }
    found
}

#[test]
fn a_reader_that_holds_a_pruned_segment_is_named_until_it_lets_go() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default()
        .env("WALRUS_MONITOR_CHECK_MS", 50)
        .env("WALRUS_RETENTION_GENERATIONS", 1);
    let settings = NodeSettings { flags: vec!["--enable-test-hooks".into()], ..settings };
    let node = Node::start(&folder.path().join("data"), settings)?;
    let mut client = TextClient::connect(node.client_address())?;
    let mut put = |commands: &[&str]| -> Result<()> {
        for command in commands {
            let answer = client.ask(command.as_bytes())?;
            ensure!(answer == b"OK", "{command}: {}", String::from_utf8_lossy(&answer));
        }
        Ok(())
    };
    put(&["REGISTER t", "PUT t one", "PUT t two"])?;
    let held = post(&node, "/test/hold/t/0/1/4000")?;
    ensure!(held.contains(" 202 "), "{held}");
    // One sealed segment is kept, and then there are two.
    ctl(&node, &["rollover", "t", "--yes", "--wait"])?;
    put(&["PUT t three"])?;
    ctl(&node, &["rollover", "t", "--yes", "--wait"])?;

    let told = until(&node, "a held segment", |gc| {
        let holders = gc["held"][0]["holders"].as_array();
        gc["freed_segments"].as_u64() >= Some(1) && holders.is_some_and(|all| all.len() == 1)
    })?;
    let held = &told["held"][0];
    assert_eq!((&held["topic"], &held["partition"]), (&"t".into(), &0.into()), "{told:#}");
    assert_eq!((&held["epoch"], &held["base"]), (&1.into(), &0.into()), "{told:#}");
    let holder = &held["holders"][0];
    let named = (&holder["purpose"], &holder["whose"]);
    assert_eq!(named, (&"read".into(), &"a test".into()), "{told:#}");
    assert!(held["bytes"].as_u64() > Some(0) && held["since_ms"].is_u64(), "{told:#}");
    let data = node.data_dir().join("node_1").join("user_data");
    assert_eq!(files(&data, ".1.log"), Vec::<String>::new(), "it is unlinked at once");
    let shown = ctl(&node, &["gc", "status"])?;
    assert!(shown.contains("t/0 epoch 1") && shown.contains("read by a test"), "{shown}");

    until(&node, "the end of it", |gc| gc.get("held").is_none())?;
    // What goes next is told before it goes.
    let told = until(&node, "what goes next", |gc| gc["look"]["next"][0].is_object())?;
    let next = &told["look"]["next"][0];
    assert_eq!((&next["topic"], &next["epoch"]), (&"t".into(), &2.into()), "{told:#}");
    assert_eq!(next["lacking_segments"], 1, "{told:#}");
    Ok(())
}
