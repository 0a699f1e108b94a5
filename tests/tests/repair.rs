//! Copies of sealed segments are made where they are missing, and a cluster outlives the disk that
//! had them first.

#![expect(clippy::print_stdout, reason = "a run tells what it did")]

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use walrus_load::client;
use walrus_tests::{
    Cluster, Node, NodeSettings,
    files::{Segment, content, files, sealed},
    load::{Load, PARTITIONS, read, until, whole},
    text::TextClient,
};

/// Nodes that seal their segments often.
fn rolling() -> NodeSettings {
    NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_ENTRIES", 200)
        .env("WALRUS_MONITOR_CHECK_MS", 50)
}

/// Waits until those nodes have those segments.
fn copied(cluster: &Cluster, of: &BTreeMap<Segment, u64>, to: &[i32]) -> Result<()> {
    for id in to {
        let took = until(&format!("copies of all {} segments on node {id}", of.len()), || {
            let there = files(cluster, *id);
            of.iter().all(|(segment, bytes)| there.get(segment) == Some(bytes))
        })?;
        println!("node {id} has {} segments after {took:?}", of.len());
    }
    Ok(())
}

fn at(cluster: &Cluster, ids: &[i32]) -> client::Cluster {
    let all: Vec<String> = ids.iter().map(|id| cluster.node(*id).bootstrap()).collect();
    client::Cluster::at(all.join(","))
}

/// Waits until no segment has fewer copies than there could be, internal topics' ones included.
fn nothing_is_short(cluster: &Cluster, through: i32) -> Result<()> {
    let took = until("enough copies of everything", || {
        let answer = cluster.node(through).admin_get("/v1/cluster");
        answer.is_ok_and(|(status, body)| status == 200 && body.contains("\"repairable\":0"))
    })?;
    println!("nothing is short of copies after {took:?}");
    Ok(())
}

/// Takes the next entries of a topic, which must be these. Asks again when it is refused: the
/// partitions behind it may be on their way to another leader.
fn take(cluster: &Cluster, through: i32, entries: std::ops::Range<u32>) -> Result<()> {
    let mut client = TextClient::connect(cluster.node(through).client_address())?;
    for entry in entries {
        let mut answer = String::new();
        until(&format!("entry {entry} through node {through}"), || {
            let answered = client.ask(b"GET inbox").unwrap_or_default();
            answer = String::from_utf8_lossy(&answered).into_owned();
            answer.starts_with("OK ")
        })
        .with_context(|| answer.clone())?;
        ensure!(answer == format!("OK {entry}"), "{answer} in the place of {entry}");
    }
    Ok(())
}

#[test]
fn what_one_node_had_alone_is_copied_to_those_that_join_and_outlives_its_disk() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::of(Node::start(&folder.path().join("n1"), rolling())?);
    let mut text = TextClient::connect(cluster.node(1).client_address())?;
    ensure!(text.ask(b"REGISTER inbox")? == b"OK");
    for entry in 0..20 {
        ensure!(text.ask(format!("PUT inbox {entry}").as_bytes())? == b"OK");
    }
    // How far it was read stands in an internal topic.
    take(&cluster, 1, 0..7)?;
    // As many copies as the cluster wants, whatever is alive.
    let load = Load::start(&cluster, "grown", -1)?;
    load.until_more(4_000)?;
    let old = sealed(&cluster, 1);
    ensure!(old.len() > PARTITIONS, "{old:?}");
    cluster.join(folder.path(), 1, &rolling())?;
    cluster.join(folder.path(), 1, &rolling())?;
    // New segments have three copies at once, old ones when they are copied.
    whole(&cluster, "grown", 3)?;
    copied(&cluster, &old, &[2, 3])?;
    // What was sealed while the others joined is short of copies, too.
    copied(&cluster, &sealed(&cluster, 1), &[2, 3])?;
    for segment in old.keys() {
        let first = content(&cluster, 1, segment)?;
        for id in [2, 3] {
            ensure!(first == content(&cluster, id, segment)?, "{segment:?} differs on node {id}");
        }
    }
    nothing_is_short(&cluster, 2)?;
    cluster.node_mut(1).kill()?;
    std::fs::remove_dir_all(cluster.node(1).data_dir())?;
    load.goes_on("after the first node was lost with its disk")?;
    take(&cluster, 2, 7..20)?;
    let (history, topics) = load.stop()?;
    let verdict = read(&at(&cluster, &[2, 3]), &topics, &history)?;
    ensure!(verdict.acked > 4_000 && verdict.unknown == 0, "{verdict:#?}");
    Ok(())
}
