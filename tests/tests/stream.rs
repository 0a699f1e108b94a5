//! The stream of changes on real nodes: what it tells put together is the snapshot, another node
//! goes on where one was killed, and whoever does not read costs nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use socket2::{Domain, Socket, Type};
use walrus_admin::snapshot::Snapshot;
use walrus_load::topic::{self, Topics};
use walrus_tests::{
    Cluster, Node, NodeSettings, folder, load::Load, stream::Stream, text::TextClient,
};

const PATIENCE: Duration = Duration::from_secs(60);

fn get(node: &Node, path: &str) -> Result<Value> {
    let (status, body) = node.admin_get(path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

fn post(node: &Node, path: &str, body: &Value) -> Result<Value> {
    let body = body.to_string();
    let mut stream = TcpStream::connect(node.admin_address())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: walrus\r\nConnection: close\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
    ensure!(head.contains(" 200 "), "{path}: {answer}");
    Ok(serde_json::from_str(body)?)
}

/// Rolls a topic's partitions over, and waits until they are.
fn roll(node: &Node, topic: &str) -> Result<()> {
    let which = json!({ "these": [{ "topic": topic }] });
    let wanted = json!({ "verb": "rollover", "which": which, "per_minute": 600_000 });
    let plan = post(node, "/v1/plans", &wanted)?;
    let id = plan["id"].as_str().context("an id")?;
    let run = json!({ "actor": "a test", "confirm": plan["subject"] });
    let operation = post(node, &format!("/v1/plans/{id}/run"), &run)?;
    let began = Instant::now();
    loop {
        let now = get(node, &format!("/v1/operations/{}", operation["id"]))?;
        if now["state"] == "done" {
            return Ok(());
        }
        ensure!(now["state"] == "running" && began.elapsed() < PATIENCE, "{now}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn text(client: &mut TextClient, command: &str) -> Result<()> {
    let answer = client.ask(command.as_bytes())?;
    ensure!(answer == b"OK", "{command}: {}", String::from_utf8_lossy(&answer));
    Ok(())
}

/// What does not depend on when it was asked.
fn lasting(snapshot: &Snapshot) -> Value {
    let nodes: Vec<Value> = snapshot.nodes.iter().map(|entry| json!(entry.node)).collect();
    json!({
        "cluster": snapshot.cluster,
        "version": snapshot.metadata_version,
        "group": snapshot.group,
        "nodes": nodes,
        "topics": snapshot.topics,
    })
}

#[test]
fn deltas_put_together_are_what_a_snapshot_tells() -> Result<()> {
    let folder = folder()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let mut client = TextClient::connect(node.client_address())?;
    for at in 0..20 {
        text(&mut client, &format!("REGISTER before-{at}"))?;
    }
    let mut stream = Stream::open(node.admin_address(), "kinds=snapshot,event&every_ms=250", None)?;
    let (name, first) = stream.next()?;
    ensure!(name == "snapshot" && first["since"].is_null(), "{name}: {first}");
    let mut known: Snapshot = serde_json::from_value(first)?;
    ensure!(known.topics.len() >= 20, "all of it");

    let (mut deltas, mut told) = (0, Vec::new());
    let began = Instant::now();
    for at in 0..6 {
        text(&mut client, &format!("REGISTER during-{at}"))?;
        text(&mut client, &format!("PUT during-{at} x"))?;
        roll(&node, &format!("during-{at}"))?;
        loop {
            let truth: Snapshot = serde_json::from_value(get(&node, "/v1/snapshot")?)?;
            while known.metadata_version < truth.metadata_version {
                let (name, document) = stream.next()?;
                if name == "events" {
                    told.extend(document["items"].as_array().context("a list")?.clone());
                    continue;
                }
                let delta: Snapshot = serde_json::from_value(document)?;
                ensure!(stream.id == Some(delta.metadata_version), "{:?}", stream.id);
                deltas += usize::from(delta.since.is_some());
                ensure!(delta.topics.len() < 20, "what changed only");
                known = delta.onto(&known).context("it goes with what is known")?;
            }
            if known.metadata_version == truth.metadata_version {
                assert_eq!(lasting(&known), lasting(&truth));
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "the two are never of one version");
        }
    }
    ensure!(deltas >= 6, "{deltas} deltas");
    for at in 0..6 {
        let of = |message: &str| {
            told.iter().any(|event| {
                event["topic"] == format!("during-{at}")
                    && event["message"].as_str().is_some_and(|text| text.starts_with(message))
            })
        };
        ensure!(
            of("made, with 1 partition") && of("segment 2 at 1 led by n1 (operator)"),
            "{told:?}"
        );
    }
    // Whoever has a version that was told is told what came after it, and no more.
    let mut again = Stream::open(node.admin_address(), "kinds=snapshot", stream.id)?;
    let (_, document) = again.next()?;
    assert_eq!(document["since"], json!(stream.id), "{document}");
    // A draining node ends its streams.
    let mut node = node;
    node.terminate()?;
    let ended = Instant::now();
    while again.next().is_ok() {
        ensure!(ended.elapsed() < PATIENCE, "the stream goes on");
    }
    Ok(())
}

/// The epochs that each partition's chain has, as a node tells them.
fn chains(node: &Node, topic: &str) -> Result<BTreeMap<i64, BTreeSet<i64>>> {
    let list = get(node, &format!("/v1/partitions?topic={topic}"))?;
    let mut chains = BTreeMap::new();
    for one in list["items"].as_array().context("a list")? {
        let partition = one["partition"].as_i64().context("a number")?;
        let path = format!("/v1/topics/{topic}/partitions/{partition}/segments");
        let chain = get(node, &path)?;
        let epochs = chain["items"].as_array().context("a list")?.iter();
        chains.insert(partition, epochs.filter_map(|link| link["epoch"].as_i64()).collect());
    }
    Ok(chains)
}

/// Takes the epochs that are told of, until one of every partition is as new as it has to be.
fn take(
    stream: &mut Stream,
    told: &mut BTreeMap<i64, BTreeSet<i64>>,
    is_enough: impl Fn(&BTreeMap<i64, BTreeSet<i64>>) -> bool,
) -> Result<()> {
    let began = Instant::now();
    while !is_enough(told) {
        ensure!(began.elapsed() < PATIENCE, "only {told:?}");
        let (_, list) = stream.next()?;
        ensure!(list["truncated"] == false, "{list}");
        for event in list["items"].as_array().context("a list")? {
            if let (Some(partition), Some(epoch)) =
                (event["partition"].as_i64(), event["epoch"].as_i64())
            {
                told.entry(partition).or_default().insert(epoch);
            }
        }
    }
    Ok(())
}

#[test]
fn another_node_goes_on_where_one_was_killed_and_no_event_is_missing() -> Result<()> {
    const TOPIC: &str = "orders";
    let folder = folder()?;
    // A few rolls of each partition a second.
    let settings = NodeSettings::default().env("WALRUS_MAX_SEGMENT_ENTRIES", 150);
    let mut cluster = Cluster::start(folder.path(), 3, &settings)?;
    let load = Load::start(&cluster, TOPIC, 3)?;
    load.until_more(2_000)?;
    let asked = 2;
    let query = format!("kinds=event&every_ms=250&topics={TOPIC}");
    let mut stream = Stream::open(cluster.node(asked).admin_address(), &query, None)?;
    let mut told = BTreeMap::new();
    let of_all = |told: &BTreeMap<i64, BTreeSet<i64>>, more: usize| {
        told.len() == walrus_tests::load::PARTITIONS && told.values().all(|all| all.len() > more)
    };
    take(&mut stream, &mut told, |told| of_all(told, 5))?;
    let first: BTreeMap<i64, i64> =
        told.iter().map(|(partition, all)| (*partition, *all.first().expect("one"))).collect();
    cluster.node_mut(asked).kill()?;
    // What had come before the end is taken as well.
    while let Ok(()) = take(&mut stream, &mut told, |_| false) {}
    let last = stream.id.context("an id")?;
    // Much happens before somebody else is asked.
    load.goes_on("after the kill")?;
    load.until_more(3_000)?;
    let mut stream = Stream::open(cluster.node(3).admin_address(), &query, Some(last))?;
    let so_far: usize = told.values().map(BTreeSet::len).sum();
    take(&mut stream, &mut told, |told| {
        told.values().map(BTreeSet::len).sum::<usize>() > so_far + 30
    })?;
    load.stop()?;
    // Nothing rolls now but by a change of leaders, which ends soon.
    let began = Instant::now();
    loop {
        let truth = chains(cluster.node(3), TOPIC)?;
        take(&mut stream, &mut told, |told| {
            truth.iter().all(|(partition, epochs)| {
                told.get(partition).and_then(BTreeSet::last) >= epochs.last()
            })
        })?;
        if chains(cluster.node(3), TOPIC)? == truth {
            for (partition, epochs) in &truth {
                let missing: Vec<&i64> = epochs
                    .iter()
                    .filter(|epoch| **epoch >= first[partition] && !told[partition].contains(epoch))
                    .collect();
                ensure!(missing.is_empty(), "{TOPIC}/{partition} misses {missing:?}");
            }
            println!(
                "{} segments told, {last} was the last version",
                told.values().map(BTreeSet::len).sum::<usize>()
            );
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "leaders never rest");
    }
}

/// Takes what a stream of snapshots tells until it is as new as what the node tells itself, which
/// has to be the same then.
fn catch_up(stream: &mut Stream, node: &Node, mut known: Snapshot) -> Result<Snapshot> {
    let began = Instant::now();
    loop {
        let truth: Snapshot = serde_json::from_value(get(node, "/v1/snapshot")?)?;
        while known.metadata_version < truth.metadata_version {
            let delta: Snapshot = serde_json::from_value(stream.next()?.1)?;
            ensure!(delta.since == Some(known.metadata_version), "since {:?}", delta.since);
            known = delta.onto(&known).context("it goes with what is known")?;
        }
        if known.metadata_version == truth.metadata_version {
            assert_eq!(lasting(&known), lasting(&truth));
            return Ok(known);
        }
        ensure!(began.elapsed() < PATIENCE, "the two are never of one version");
    }
}

#[test]
fn another_node_tells_what_changed_since_the_killed_one_told_something() -> Result<()> {
    let folder = folder()?;
    let mut cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let asked = 2;
    topic::create(&cluster.client(), &Topics::one("orders", 6), 3, &[])?;
    topic::create(&cluster.client(), &Topics::one("quiet", 20), 3, &[])?;
    let query = "kinds=snapshot&every_ms=250";
    let mut stream = Stream::open(cluster.node(asked).admin_address(), query, None)?;
    let mut known: Snapshot = serde_json::from_value(stream.next()?.1)?;
    // What is told here is told by nobody else.
    for _ in 0..3 {
        roll(cluster.node(1), "orders")?;
        known = catch_up(&mut stream, cluster.node(asked), known)?;
    }
    let last = stream.id.context("an id")?;
    cluster.node_mut(asked).kill()?;
    topic::create(&cluster.client(), &Topics::one("later", 2), 2, &[])?;
    let mut stream = Stream::open(cluster.node(3).admin_address(), query, Some(last))?;
    known = catch_up(&mut stream, cluster.node(3), known)?;
    ensure!(known.topics.iter().any(|topic| topic.topic == "later"), "{known:?}");
    Ok(())
}

fn resident_bytes(node: &Node) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes << 10)
}

/// A watcher that asks and never reads: what the system takes for it is as little as can be.
fn silent(at: SocketAddr, query: &str) -> Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(at), Type::STREAM, None)?;
    socket.set_recv_buffer_size(4_096)?;
    socket.connect(&at.into())?;
    let mut stream = TcpStream::from(socket);
    write!(stream, "GET /v1/stream?{query} HTTP/1.0\r\nHost: walrus\r\n\r\n")?;
    Ok(stream)
}

#[test]
fn who_does_not_read_costs_a_node_nothing_and_too_many_are_refused() -> Result<()> {
    const WATCHERS: usize = 64;
    let folder = folder()?;
    let mut node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let at = node.admin_address();
    topic::create(&node.cluster(), &Topics::one("wide", 1_000), 1, &[])?;
    let mut reader = Stream::open(at, "every_ms=250", None)?;
    reader.next()?;
    // A roll of all partitions is a delta of all of them. Answers how much one was told who reads,
    // and by how much the node grew.
    let mut rolls = |count: usize| -> Result<(u64, i64)> {
        let before = resident_bytes(&node)?;
        let mut told = 0;
        for _ in 0..count {
            roll(&node, "wide")?;
            let known = get(&node, "/v1/self/vitals")?;
            let known = known["metadata_version"].as_u64().context("a version")?;
            let began = Instant::now();
            while reader.id.is_none_or(|id| id < known) {
                let (_, document) = reader.next()?;
                told += document.to_string().len();
                ensure!(began.elapsed() < PATIENCE, "who reads waits for who does not");
            }
        }
        let grown = i64::try_from(resident_bytes(&node)?)? - i64::try_from(before)?;
        Ok((u64::try_from(told)?, grown))
    };
    // Events fill their ring meanwhile, and versions what is remembered of them.
    rolls(11)?;
    let (_, alone) = rolls(5)?;
    // Each wants something else, so that no two are told by the same bytes.
    let all_silent: Vec<TcpStream> = (1..WATCHERS)
        .map(|one| silent(at, &format!("every_ms=250&topics=wide,x{one}")))
        .collect::<Result<_>>()?;
    // The system takes some for each of them first.
    let (_, stuck) = rolls(9)?;
    let (told, more) = rolls(5)?;
    println!("it grows by {alone} alone, {stuck} until they are stuck, {more} from then on");
    let all = i64::try_from(told * 63)?;
    ensure!(all > 96 << 20, "{told} bytes show nothing");
    ensure!(stuck < alone.max(0) + (128 << 20), "those who are stuck take {stuck} bytes");
    ensure!(more < alone.max(0) + all / 2, "it grows by {more} bytes, {all} were not read");

    let mut refused = String::new();
    Stream::ask(at, "", None)?.read_to_string(&mut refused)?;
    for part in [" 503 ", "64 streams", "hint"] {
        ensure!(refused.contains(part), "no {part:?} in {refused}");
    }
    drop(all_silent);
    // Their places are given back.
    let began = Instant::now();
    while Stream::open(at, "", None).is_err() {
        ensure!(began.elapsed() < PATIENCE, "the places are never given back");
    }
    // Nor do they keep a node that is to end.
    let stuck = silent(at, "every_ms=250")?;
    rolls(9)?;
    let began = Instant::now();
    ensure!(node.terminate()?.success() && began.elapsed() < Duration::from_secs(15));
    let log = node.log();
    ensure!(!log.contains("still under way"), "{log}");
    drop(stuck);
    Ok(())
}

#[test]
fn what_is_long_of_vitals_is_told_at_once_and_not_each_time() -> Result<()> {
    let folder = folder()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    for kinds in ["vitals", "snapshot,vitals"] {
        let query = format!("kinds={kinds}&every_ms=250");
        let mut stream = Stream::open(node.admin_address(), &query, None)?;
        // As soon as one tells otherwise than before it, the next turn begins.
        for (turn, expected) in [true, false, true, false].into_iter().enumerate() {
            let began = Instant::now();
            loop {
                let (_, told) = stream.next()?;
                let all = told["nodes"].as_array().or(told["items"].as_array());
                let vitals = &all.and_then(|all| all.first()).context("a node")?["vitals"];
                ensure!(vitals["uptime_ms"].is_u64(), "{told}");
                if vitals["busiest"].is_array() == expected {
                    ensure!(vitals["gc"].is_object() == expected, "{told}");
                    break;
                }
                let is_patient = turn > 0 && began.elapsed() < PATIENCE;
                ensure!(is_patient, "{kinds}: turn {turn} is not {expected}: {told}");
            }
        }
    }
    Ok(())
}

#[test]
fn what_is_wrong_is_refused_by_its_name() -> Result<()> {
    let folder = folder()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    for (path, name) in [
        ("/v1/stream?kinds=all", "kinds"),
        ("/v1/stream?every_ms=1", "every_ms"),
        ("/v1/stream?nodes=x", "node id"),
        ("/v1/stream?after=-1", "after"),
        ("/v1/stream?rate=1", "rate"),
        ("/v1/events?after=x", "after"),
        ("/v1/events?limit=x", "limit"),
        ("/v1/events?kind=x", "kind"),
    ] {
        let (status, body) = node.admin_get(path)?;
        let error: Value = serde_json::from_str(&body)?;
        let error = &error["error"];
        ensure!(status == 400 && error["code"] == "bad_request", "{path}: {status} {body}");
        ensure!(error["message"].as_str().is_some_and(|why| why.contains(name)), "{path}: {body}");
    }
    // A page at a time comes to the same as all at once.
    let mut client = TextClient::connect(node.client_address())?;
    for at in 0..30 {
        text(&mut client, &format!("REGISTER topic-{at}"))?;
    }
    let all = get(&node, "/v1/events")?;
    let (mut after, mut paged) = (0, Vec::new());
    loop {
        let page = get(&node, &format!("/v1/events?after={after}&limit=7"))?;
        paged.extend(page["items"].as_array().context("a list")?.clone());
        let Some(next) = page["next"].as_u64() else { break };
        if next <= after {
            bail!("page {page} ends before it begins");
        }
        after = next;
    }
    assert_eq!(json!(paged), all["items"]);
    ensure!(paged.len() >= 30, "{all}");
    Ok(())
}
