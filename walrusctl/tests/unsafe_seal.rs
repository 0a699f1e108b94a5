//! A partition whose quorum is gone for good: two of the three nodes that store it.

use std::{
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, NodeSettings, text::TextClient};

/// How long what must come may take.
const SOON: Duration = Duration::from_secs(30);

/// Runs `walrusctl` through node `through`.
fn ctl(cluster: &Cluster, through: i32, args: &[&str]) -> Result<Output> {
    let output = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .args(["-o", "json", "--endpoint"])
        .arg(cluster.node(through).admin_address().to_string())
        .args(args)
        .stdin(Stdio::null())
        .output()?;
    Ok(output)
}

/// The document that it shows when it does what it should.
fn shown(cluster: &Cluster, through: i32, args: &[&str]) -> Result<Value> {
    let output = ctl(cluster, through, args)?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{args:?}: {}: {error}", output.status);
    serde_json::from_slice(&output.stdout).with_context(|| format!("{args:?}"))
}

/// Its exit status and the code of its error when it does not.
fn refused(cluster: &Cluster, through: i32, args: &[&str]) -> Result<(i32, Value)> {
    let output = ctl(cluster, through, args)?;
    let error = String::from_utf8_lossy(&output.stderr);
    let error = error.get(error.find('{').context("no error")?..).context("no error")?;
    let mut document: Value = serde_json::from_str(error).with_context(|| error.to_owned())?;
    ensure!(document["error"]["hint"].is_string(), "no next step: {document}");
    Ok((output.status.code().context("a status")?, document["error"]["code"].take()))
}

fn newest(cluster: &Cluster, through: i32) -> Result<Value> {
    let chain = shown(cluster, through, &["segment", "chain", "t/0"])?;
    chain["items"].as_array().and_then(|items| items.last().cloned()).context("a segment")
}

#[test]
fn a_partition_whose_quorum_is_gone_is_sealed_when_an_operator_gives_up_what_is_missing()
-> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 5, &NodeSettings::default())?;
    shown(&cluster, 1, &["cluster", "health", "--wait", "--timeout", "1m"])?;
    // Without two of five the others still agree on metadata.
    let began = Instant::now();
    while shown(&cluster, 1, &["raft", "status"])?["voters"] != 5 {
        ensure!(began.elapsed() < SOON, "not all of them vote");
    }
    let mut client = TextClient::connect(cluster.node(1).client_address())?;
    ensure!(client.ask(b"REGISTER t")? == b"OK", "no topic");
    // It may have begun narrow, with those that were known to be there.
    let began = Instant::now();
    while newest(&cluster, 1)?["members"].as_array().is_none_or(|members| members.len() < 3) {
        ensure!(began.elapsed() < SOON, "it has no three members");
    }
    for number in 0..20 {
        ensure!(client.ask(format!("PUT t {number}").as_bytes())? == b"OK", "{number}");
    }
    let unsafe_seal = ["segment", "unsafe-seal", "t/0"];
    let healthy = refused(&cluster, 1, &unsafe_seal)?;
    assert_eq!(healthy, (6, "not_blocked".into()), "its leader lives");

    let open = newest(&cluster, 1)?;
    let leader = i32::try_from(open["leader"].as_i64().context("a leader")?)?;
    let members = open["members"].as_array().context("members")?.iter();
    let members: Vec<i64> = members.filter_map(Value::as_i64).collect();
    let other = members.iter().find(|member| **member != i64::from(leader)).context("another")?;
    // In this order: with its leader gone first it might be sealed in time.
    cluster.node_mut(i32::try_from(*other)?).kill()?;
    cluster.node_mut(leader).kill()?;
    let lives = |node: &i32| *node != leader && i64::from(*node) != *other;
    let through = (1..=5).find(lives).context("somebody lives")?;

    let dry = ["segment", "unsafe-seal", "t/0", "--dry-run"];
    let began = Instant::now();
    let plan = loop {
        let planned = ctl(&cluster, through, &dry)?;
        if planned.status.success() {
            break serde_json::from_slice::<Value>(&planned.stdout)?;
        }
        let error = String::from_utf8_lossy(&planned.stderr);
        ensure!(began.elapsed() < SOON, "it does not wait for votes: {error}");
    };
    assert_eq!(plan["effects"][1], "it is sealed with 1 of 2 votes", "{plan}");
    let warnings = plan["warnings"].as_array().context("a list")?;
    assert_eq!(warnings.len(), 3, "what is lost, and who is missing: {plan}");
    let told = plan["effects"][0].as_str().and_then(|told| told.rsplit(' ').next());
    let end: i64 = told.context("an end")?.parse()?;

    // Nobody is there to ask, and a slip of the hand is no agreement.
    for more in [&[][..], &["--confirm=t/1"], &["--confirm=t"]] {
        let args = [&unsafe_seal[..], more].concat();
        let status = ctl(&cluster, through, &args)?.status.code();
        assert_eq!(status, Some(2), "{args:?}");
    }
    let still = newest(&cluster, through)?;
    assert_eq!((&still["epoch"], &still["open"]), (&open["epoch"], &true.into()), "{still}");

    let args = [&unsafe_seal[..], &["--confirm=t/0", "--wait", "--timeout", "30s"]].concat();
    let done = shown(&cluster, through, &args)?;
    assert_eq!((&done["state"], &done["verb"]), (&"done".into(), &"unsafe_seal".into()), "{done}");
    let chain = shown(&cluster, through, &["segment", "chain", "t/0"])?;
    let items = chain["items"].as_array().context("a list")?;
    let next = items.iter().find(|segment| segment["base"] == end).context("it goes on")?;
    assert_eq!(next["reason"], "unsafe seal", "{chain}");
    let loss = &chain["losses"][0];
    assert_eq!((&loss["epoch"], &loss["from"]), (&open["epoch"], &end.into()), "{chain}");

    let mut client = TextClient::connect(cluster.node(through).client_address())?;
    // Nodes hear of the new leader one after the other.
    let began = Instant::now();
    while client.ask(b"PUT t on it goes")? != b"OK" {
        ensure!(began.elapsed() < SOON, "it takes no entries");
    }
    let again = refused(&cluster, through, &args)?;
    assert_eq!(again, (6, "not_blocked".into()), "it is led");
    Ok(())
}
