//! Segments as an operator meets them: they roll, they age, they go, and nobody notices.

use std::{
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use walrus_load::{
    topic::{self, Topics},
    verify::{History, VerifyProducer, VerifySettings, read_back},
};
use walrus_tests::{Node, NodeSettings, raw::RawClient, text::TextClient};
use walrus_wire::kafka_protocol::{
    messages::{
        BrokerId, ListOffsetsRequest, TopicName,
        list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    },
    protocol::StrBytes,
};

fn until(what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_there() {
        ensure!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Every segment file below a node's data.
fn segment_files(node: &Node) -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|kind| kind == "log") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(&node.data_dir().join("node_1").join("user_data"), &mut found);
    found
}

fn current_segment(client: &mut TextClient, topic: &str) -> Result<u64> {
    let state = String::from_utf8(client.ask(format!("STATE {topic}").as_bytes())?)?;
    let (_, rest) = state.split_once("\"current_segment\":").unwrap_or_default();
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    Ok(digits.parse()?)
}

#[test]
fn idempotent_producers_go_through_rolls_without_an_error_or_a_duplicate() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_ENTRIES", 500)
        .env("WALRUS_MONITOR_CHECK_MS", 20);
    let node = Node::start(&folder.path().join("data"), settings)?;
    let topics = Topics::one("rolls", 3);
    topic::create(&node.cluster(), &topics, 1, &[])?;
    let producing = VerifySettings {
        topic: "rolls".into(),
        partitions: 3,
        value_bytes: 100,
        rate: 8_000,
        linger_ms: 1.0,
        message_timeout_ms: 30_000,
    };
    let producer = VerifyProducer::start(&node.cluster(), producing, History::default())?;
    let mut client = TextClient::connect(node.client_address())?;
    let mut segment = 0;
    until("the twentieth segment", || {
        segment = current_segment(&mut client, "rolls").unwrap_or_default();
        segment >= 20
    })?;
    let history = producer.stop()?;
    let verdict = read_back(&node.cluster(), &topics, &history, Duration::from_secs(60))?;
    println!("{segment} segments, {} acked, {} read", verdict.acked, verdict.records_read);
    assert!(verdict.is_clean(), "{verdict:#?}");
    assert_eq!((verdict.refused, verdict.unknown), (0, 0), "a roll costs no producer an error");
    Ok(())
}

#[test]
fn retention_by_generations_frees_the_files() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_ENTRIES", 10)
        .env("WALRUS_RETENTION_GENERATIONS", 2)
        .env("WALRUS_MONITOR_CHECK_MS", 20);
    let node = Node::start(&folder.path().join("data"), settings)?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER short")?;
    for entry in 0..100 {
        assert_eq!(client.ask(format!("PUT short {entry}").as_bytes())?, b"OK");
    }
    until("eight segments", || current_segment(&mut client, "short").unwrap_or_default() >= 8)?;
    // Files are made behind the acks: that there are few proves nothing before the start has moved.
    let mut asks = RawClient::connect(node.client_address())?;
    until("the new start", || log_start(&mut asks, "short").is_ok_and(|start| start > 50))?;
    until("the old files' end", || segment_files(&node).len() <= 3)?;
    // What is left is read from its new start on.
    let answer = String::from_utf8(client.ask(b"GET short")?)?;
    let first: u64 = answer.trim_start_matches("OK ").parse()?;
    assert!(first > 50, "{answer}");
    Ok(())
}

#[test]
fn deleting_a_topic_frees_everything() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    let topics = Topics::one("gone", 4);
    topic::create(&node.cluster(), &topics, 1, &[])?;
    let mut client = TextClient::connect(node.client_address())?;
    for entry in 0..40 {
        assert_eq!(client.ask(format!("PUT gone {entry}").as_bytes())?, b"OK");
    }
    until("the files", || segment_files(&node).len() >= 4)?;
    topic::delete(&node.cluster(), &topics)?;
    until("the files' end", || segment_files(&node).is_empty())?;
    assert!(client.ask(b"PUT gone x")?.starts_with(b"ERR unknown topic"));
    Ok(())
}

#[test]
fn a_full_disk_refuses_producers_and_nobody_else() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let data = folder.path().join("data");
    let mut node = Node::start(&data, NodeSettings::default())?;
    let mut client = TextClient::connect(node.client_address())?;
    client.ask(b"REGISTER t")?;
    assert_eq!(client.ask(b"PUT t before")?, b"OK");
    assert!(node.terminate()?.success());
    drop(node);
    // The largest reserve there may be: unless a disk has more room, it counts as full.
    let file = folder.path().join("walrusd.yaml");
    std::fs::write(&file, "storage:\n  disk-reserve-bytes: 1TiB\n")?;
    let settings = NodeSettings::default().flag("--config", file.display());
    let node = Node::start(&data, settings)?;
    let mut client = TextClient::connect(node.client_address())?;
    let answer = String::from_utf8(client.ask(b"PUT t after")?)?;
    assert!(answer.starts_with("ERR ") && answer.contains("reserve"), "{answer}");
    assert_eq!(client.ask(b"GET t")?, b"OK before", "reads go on");
    assert_eq!(client.ask(b"REGISTER other")?, b"OK", "metadata goes on");
    Ok(())
}

#[test]
fn partitions_that_a_crash_left_open_are_sealed_by_a_few_commands() -> Result<()> {
    const PARTITIONS: u16 = 400;
    let folder = tempfile::tempdir()?;
    let mut node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
    topic::create(&node.cluster(), &Topics::one("many", PARTITIONS.into()), 1, &[])?;
    let mut client = TextClient::connect(node.client_address())?;
    for entry in 0..PARTITIONS {
        assert_eq!(client.ask(format!("PUT many {entry}").as_bytes())?, b"OK");
    }
    node.kill()?;
    node.restart()?;
    let before = applied(&node)?;
    let partitions = (0..i32::from(PARTITIONS))
        .map(|index| ListOffsetsPartition::default().with_partition_index(index).with_timestamp(-1))
        .collect();
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str("many")))
        .with_partitions(partitions);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = RawClient::connect(node.client_address())?.ask(5, &request)?;
    for partition in &answer.topics[0].partitions {
        assert_eq!((partition.error_code, partition.offset), (0, 1), "{partition:?}");
    }
    let commands = applied(&node)? - before;
    println!("{PARTITIONS} partitions by {commands} commands");
    assert!((1..=i64::from(PARTITIONS) / 4).contains(&commands), "{commands} commands");
    Ok(())
}

/// The first offset of a topic's partition 0.
fn log_start(client: &mut RawClient, topic: &'static str) -> Result<i64> {
    let partition = ListOffsetsPartition::default().with_timestamp(-2);
    let topic = ListOffsetsTopic::default()
        .with_name(TopicName(StrBytes::from_static_str(topic)))
        .with_partitions(vec![partition]);
    let request =
        ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = client.ask(5, &request)?;
    Ok(answer.topics.first().and_then(|topic| topic.partitions.first()).context("none")?.offset)
}

/// How many metadata commands a node has applied.
fn applied(node: &Node) -> Result<i64> {
    let (_, metrics) = node.admin_get("/metrics")?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("raft_applied_index "));
    Ok(line.context("no raft_applied_index")?.parse()?)
}
