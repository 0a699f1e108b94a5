//! What is unlinked, and who holds what is pruned, as a node and the real `walrusctl` tell it.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
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

/// The files below a folder that end so.
fn files(folder: &Path, end: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            found.extend(files(&entry.path(), end));
        } else if name.ends_with(end) {
            found.push(entry.path());
        }
    }
    found
}

/// A node that keeps one sealed segment and looks for more of them all the time.
fn node() -> Result<(Node, tempfile::TempDir)> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default()
        .env("WALRUS_MONITOR_CHECK_MS", 50)
        .env("WALRUS_RETENTION_GENERATIONS", 1);
    let settings = NodeSettings { flags: vec!["--enable-test-hooks".into()], ..settings };
    Ok((Node::start(&folder.path().join("data"), settings)?, folder))
}

fn say(client: &mut TextClient, command: &str) -> Result<()> {
    let answer = client.ask(command.as_bytes())?;
    ensure!(answer == b"OK", "{command}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

#[test]
fn a_reader_that_holds_a_pruned_segment_is_named_until_it_lets_go() -> Result<()> {
    let (node, _folder) = node()?;
    let mut client = TextClient::connect(node.client_address())?;
    let mut put = |commands: &[&str]| commands.iter().try_for_each(|one| say(&mut client, one));
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
    assert_eq!(
        files(&node.data_dir().join("node_1"), ".1.log"),
        Vec::<PathBuf>::new(),
        "it is unlinked at once"
    );
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

#[test]
fn what_could_not_be_removed_is_told_and_removed_once_it_can_be() -> Result<()> {
    let (node, _folder) = node()?;
    let mut client = TextClient::connect(node.client_address())?;
    for command in ["REGISTER t", "PUT t one"] {
        say(&mut client, command)?;
    }
    ctl(&node, &["rollover", "t", "--yes", "--wait"])?;
    // The writer is done with it when its index says where it ends.
    let data = node.data_dir().join("node_1");
    until(&node, "the files", |_| !files(&data, ".1.index").is_empty())?;
    let log = files(&data, ".1.log").pop().context("its log")?;
    // A folder in the place of a file cannot be unlinked.
    std::fs::remove_file(&log)?;
    std::fs::create_dir(&log)?;
    say(&mut client, "PUT t two")?;
    ctl(&node, &["rollover", "t", "--yes", "--wait"])?;

    let told = until(&node, "what is left", |gc| gc["leftovers"][0].is_object())?;
    let leftover = &told["leftovers"][0];
    assert_eq!(leftover["what"], "t/0 epoch 1", "{told:#}");
    assert!(leftover["why"].as_str().is_some_and(|why| !why.is_empty()), "{told:#}");
    assert!(ctl(&node, &["gc", "status"])?.contains("not removed for"));
    std::fs::remove_dir(&log)?;
    until(&node, "the end of it", |gc| gc.get("leftovers").is_none())?;
    Ok(())
}
