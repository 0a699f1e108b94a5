//! The console changes a cluster: three nodes under load, plans that are agreed to on the screen,
//! operations that are followed, and the recording of it all.

use std::{path::PathBuf, process::Command};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, NodeSettings, folder, load::Load, program, terminal::Terminal};

const TOPIC: &str = "orders";
/// Every column has room here.
const LARGE: (u16, u16) = (200, 60);
/// The key that chooses to go on.
const RIGHT: &str = "\x1b[C";

fn console() -> Result<PathBuf> {
    program("walrus-tui")
}

fn document(cluster: &Cluster, path: &str) -> Result<Value> {
    let (status, body) = cluster.node(1).admin_get(path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

/// The row of an operation.
fn operation<'a>(shows: &'a str, verb: &str, subject: &str) -> Option<&'a str> {
    shows.lines().find(|line| {
        let words: Vec<&str> = line.split([' ', '│']).filter(|word| !word.is_empty()).collect();
        words.get(1) == Some(&verb) && words.get(2) == Some(&subject)
    })
}

fn until_done(terminal: &Terminal, verb: &str, subject: &str) -> Result<()> {
    terminal.until(&format!("{verb} {subject} done"), |shows| {
        operation(shows, verb, subject).is_some_and(|row| row.contains("done"))
    })?;
    Ok(())
}

/// How many operations of a verb there are, and the newest of them.
fn told(cluster: &Cluster, verb: &str) -> Result<(usize, Value)> {
    let mut list = document(cluster, "/v1/operations")?;
    let items = list["items"].as_array_mut().context("a list")?;
    items.retain(|one| one["verb"] == verb);
    Ok((items.len(), items.first().cloned().unwrap_or_default()))
}

fn roll_over(terminal: &mut Terminal, cluster: &Cluster) -> Result<()> {
    let path = format!("/v1/topics/{TOPIC}/partitions/0/segments");
    let newest = || -> Result<Value> {
        let chain = document(cluster, &path)?;
        chain["items"].as_array().and_then(|items| items.last().cloned()).context("a segment")
    };
    let before = newest()?;
    terminal.types(&format!(":rollover {TOPIC}/0\r"))?;
    terminal.until("the plan of a rollover", |shows| {
        shows.contains(&format!("Plan: rollover {TOPIC}/0")) && shows.contains("[ leave ]")
    })?;
    // The way out is chosen at first.
    terminal.types("\r")?;
    terminal.until("no plan", |shows| !shows.contains("Plan: rollover"))?;
    assert_eq!(told(cluster, "rollover")?.0, 0);

    terminal.types(&format!(":rollover {TOPIC}/0\r"))?;
    terminal.until("the plan again", |shows| shows.contains("[ leave ]"))?;
    terminal.types(&format!("{RIGHT}\r"))?;
    let (_, one) = loop {
        let (number, one) = told(cluster, "rollover")?;
        if number > 0 {
            break (number, one);
        }
    };
    let subject = one["subject"].as_str().context("a subject")?.to_owned();
    terminal.until("the rollover on its screen", |shows| {
        shows.lines().any(|line| line.contains(" rollover ") && line.contains("done"))
    })?;
    ensure!(one["actor"].as_str().is_some_and(|actor| actor.contains('@')), "{subject}: {one}");
    let after = newest()?;
    ensure!(after["epoch"].as_i64() > before["epoch"].as_i64(), "{before} {after}");
    Ok(())
}

fn drain(terminal: &mut Terminal, cluster: &Cluster) -> Result<()> {
    terminal.types(":drain n2\r")?;
    terminal.until("the plan of a drain", |shows| shows.contains("Type n2 to confirm"))?;
    // Neither a paste nor another name agrees.
    terminal.types("\x1b[200~n2\x1b[201~\rn1\r")?;
    terminal.until("another name", |shows| shows.contains("Type n2 to confirm: n1"))?;
    assert_eq!(told(cluster, "drain")?.0, 0);
    terminal.types("\x7f\x7fn2\r")?;
    until_done(terminal, "drain", "n2")?;
    let nodes = document(cluster, "/v1/nodes")?;
    let two = &nodes["items"][1];
    assert_eq!((&two["state"], &two["holding"]["open"]), (&"draining".into(), &0.into()), "{two}");

    terminal.types(":undrain n2\r")?;
    terminal.until("the plan of an undrain", |shows| shows.contains("[ leave ]"))?;
    terminal.types(&format!("{RIGHT}\r"))?;
    until_done(terminal, "undrain", "n2")
}

#[test]
fn a_console_rolls_over_and_drains_by_plans_and_its_recording_shows_it() -> Result<()> {
    let folder = folder()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let load = Load::start(&cluster, TOPIC, 3)?;
    load.until_more(1_000)?;
    let file = folder.path().join("acts.rec");
    let file = file.to_str().context("a path of text")?;
    let endpoint = cluster.node(1).admin_address().to_string();
    let arguments = ["--endpoint", &endpoint, "--record", file].map(str::to_owned);
    let mut terminal = Terminal::start(&console()?, &arguments, LARGE)?;
    terminal.until("three nodes", |shows| shows.contains("LIVE") && shows.contains("3/3 nodes"))?;
    roll_over(&mut terminal, &cluster)?;
    drain(&mut terminal, &cluster)?;
    terminal.types("\x03")?;
    let (status, _) = terminal.ended()?;
    ensure!(status.success(), "it ended with {status}");

    // One screen for scripts says the same as the nodes.
    let once = |screen: &str| -> Result<Value> {
        let words = ["--endpoint", &endpoint, "--once", "--screen", screen, "-o", "json"];
        let asked = Command::new(console()?).args(words).output()?;
        let said = String::from_utf8_lossy(&asked.stderr);
        serde_json::from_slice(&asked.stdout).with_context(|| format!("{screen}: {said}"))
    };
    assert_eq!(once("operations")?, document(&cluster, "/v1/operations")?["items"]);
    assert_eq!(once("playbooks")?, serde_json::json!([]));
    let events = once("events")?;
    let is_told = |word: &str| {
        let has = |event: &Value| event["message"].as_str().is_some_and(|told| told.contains(word));
        events.as_array().is_some_and(|all| all.iter().any(has))
    };
    ensure!(is_told("drain") && is_told("undrain"), "{events:#}");

    let replay = ["replay", file, "--once", "--screen", "operations", "--size", "200x60"];
    let shown = Command::new(console()?).args(replay).output()?;
    let shown = String::from_utf8(shown.stdout)?;
    for verb in ["drain", "undrain"] {
        let row = operation(&shown, verb, "n2");
        ensure!(row.is_some_and(|row| row.contains("done")), "{verb} in the recording:\n{shown}");
    }
    load.goes_on("after all that")?;
    load.stop()?;
    Ok(())
}

#[test]
fn a_cluster_in_production_is_not_changed_before_it_is_unlocked() -> Result<()> {
    let folder = folder()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let endpoint = cluster.node(1).admin_address();
    let config = folder.path().join("config.toml");
    let written = format!(
        "current = \"prod\"\n[contexts.prod]\nendpoints = [\"{endpoint}\"]\nproduction = true\n"
    );
    std::fs::write(&config, written)?;
    let config = config.to_str().context("a path of text")?;
    let arguments = ["--config", config].map(str::to_owned);
    let mut terminal = Terminal::start(&console()?, &arguments, LARGE)?;
    terminal.until("production", |shows| shows.contains("PRODUCTION") && shows.contains("3/3"))?;
    terminal.types(":transfer n2\r")?;
    terminal.until("why not", |shows| shows.contains("this is read-only; :rw unlocks it"))?;
    assert_eq!(document(&cluster, "/v1/operations")?["items"], serde_json::json!([]));

    let leader = document(&cluster, "/v1/raft")?["leader"].as_i64().context("a leader")?;
    let to = leader % 3 + 1;
    terminal.types(&format!(":rw\r:transfer n{to}\r"))?;
    // In production that wants its name.
    terminal.until("its plan", |shows| shows.contains(&format!("Type n{to} to confirm")))?;
    terminal.types("y")?;
    terminal.types(&format!("\x7fn{to}\r"))?;
    until_done(&terminal, "transfer_raft", &format!("n{to}"))?;
    assert_eq!(document(&cluster, "/v1/raft")?["leader"], to);
    terminal.types("\x03")?;
    terminal.ended()?;
    Ok(())
}
