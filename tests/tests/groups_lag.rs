//! Lag of groups on three nodes: what any node tells, by the admin API and to Prometheus, is what was
//! written and committed, in records, bytes and time; and it says what retention is about to take.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use serde_json::Value;
use walrus_load::topic::{self, Topics};
use walrus_tests::{Cluster, NodeSettings, text::TextClient};

const TOPIC: &str = "work";
const GROUP: &str = "slow/readers";
const ESCAPED: &str = "slow%2Freaders";
/// Something is broken when a figure needs so long to be true.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long ago the records say that they were made.
const AGE_MS: i64 = 50_000;

fn config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.client().bootstrap)
        .set("broker.address.family", "v4")
        .set("enable.idempotence", "true");
    config
}

fn now_ms() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}

/// Sends so many records, each in a batch of its own, to one partition.
fn produce(cluster: &Cluster, partition: i32, records: usize, at_ms: i64) -> Result<()> {
    let producer: BaseProducer = config(cluster).set("batch.num.messages", "1").create()?;
    for record in 0..records {
        let text = format!("{record:0100}");
        let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&text);
        producer.send(record.timestamp(at_ms)).map_err(|(why, _)| why)?;
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

/// A group without members commits.
fn commit(cluster: &Cluster, places: &[(i32, i64)]) -> Result<()> {
    let consumer: BaseConsumer = config(cluster).set("group.id", GROUP).create()?;
    let mut list = TopicPartitionList::new();
    for (partition, offset) in places {
        list.add_partition_offset(TOPIC, *partition, Offset::Offset(*offset))?;
    }
    let until = Instant::now() + PATIENCE;
    while let Err(why) = consumer.commit(&list, CommitMode::Sync) {
        ensure!(Instant::now() < until, "not committed: {why}");
    }
    Ok(())
}

fn get(cluster: &Cluster, id: i32, path: &str) -> Result<Value> {
    let (status, body) = cluster.node(id).admin_get(path)?;
    ensure!(status == 200, "{path} of node {id}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

/// A group's partition, as a node tells it.
fn place(group: &Value, partition: i32) -> Result<&Value> {
    let items = group["items"].as_array().context("no partitions")?;
    let found = items.iter().find(|item| item["partition"] == partition);
    found.with_context(|| format!("no partition {partition} in {group}"))
}

/// Asks until `is_so`; answers what came then.
fn until(cluster: &Cluster, id: i32, path: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
    let began = Instant::now();
    let mut last = None;
    while began.elapsed() < PATIENCE {
        let told = get(cluster, id, path);
        if let Ok(told) = &told
            && is_so(told)
        {
            return Ok(told.clone());
        }
        last = Some(told);
        std::thread::sleep(Duration::from_millis(200));
    }
    anyhow::bail!("{path} of node {id} never told it: {last:?}")
}

#[test]
fn every_node_tells_what_a_group_that_stopped_has_to_read_and_when_it_will_be_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let keeps = [("retention.ms".to_owned(), "3600000".to_owned())];
    topic::create(&cluster.client(), &Topics::one(TOPIC, 3), 3, &keeps)?;
    let made_ms = now_ms()? - AGE_MS;
    for partition in 0..3 {
        produce(&cluster, partition, 20, made_ms)?;
    }
    // One of them read half, one all, one never.
    commit(&cluster, &[(0, 10), (1, 20)])?;

    let one = format!("/v1/groups/{ESCAPED}");
    for id in cluster.ids() {
        let group = until(&cluster, id, &one, |group| group["unknown"] == 0)?;
        let behind = place(&group, 0)?;
        for (name, expected) in
            [("committed", 10), ("end", 20), ("log_start", 0), ("lag_records", 10)]
        {
            ensure!(behind[name] == expected, "{name} of {behind}");
        }
        ensure!(behind["state"] == "behind", "{behind}");
        // Each batch is alike: half of the partition's bytes are left.
        let chain = get(
            &cluster,
            i32::try_from(behind["leader"].as_i64().context("a leader")?)?,
            &format!("/v1/topics/{TOPIC}/partitions/0/segments"),
        )?;
        let bytes = chain["items"][0]["bytes"].as_u64().context("bytes")?;
        ensure!(behind["lag_bytes"] == bytes / 2, "{behind} of {bytes} bytes");
        let age_ms = behind["lag_ms"].as_i64().context("an age")?;
        let expected_ms = now_ms()? - made_ms;
        ensure!((expected_ms - age_ms).abs() < 2_000, "{age_ms} ms, not {expected_ms}");
        let read = place(&group, 1)?;
        ensure!(read["state"] == "read", "{read}");
        for name in ["lag_records", "lag_bytes", "lag_ms"] {
            ensure!(read[name] == 0, "{name} of {read}");
        }
        ensure!(group["lag_records"] == 10 && group["partitions"] == 2, "{group}");
        // It stands still: it loses what it reads next, an hour after that was made.
        let risk = &behind["risk"];
        ensure!(risk["setting"] == "retention.ms" && risk["from"] == 10, "{behind}");
        let in_ms = risk["in_ms"].as_i64().context("a forecast")?;
        let expected_ms = 3_600_000 - (now_ms()? - made_ms);
        ensure!((expected_ms - in_ms).abs() < 2_000, "in {in_ms} ms, not {expected_ms}");
        ensure!(group["risk"]["partition"] == 0, "{group}");

        let list = get(&cluster, id, "/v1/groups")?;
        let listed = &list["items"][0];
        ensure!(listed["group"] == GROUP && listed["lag_records"] == 10, "{list}");
        ensure!(listed["coordinator"] == group["coordinator"], "{list}");
        println!("node {id}: {behind}");
    }
    is_scraped(&cluster)
}

/// The coordinator tells Prometheus the same, and nobody else does.
fn is_scraped(cluster: &Cluster) -> Result<()> {
    let group = get(cluster, 1, &format!("/v1/groups/{ESCAPED}"))?;
    let coordinator = i32::try_from(group["coordinator"].as_i64().context("a node")?)?;
    for id in cluster.ids() {
        let (_, page) = cluster.node(id).admin_get("/metrics")?;
        let labels = |partition| {
            format!("{{group=\"{GROUP}\",topic=\"{TOPIC}\",partition=\"{partition}\"}} ")
        };
        let line = |name: &str, partition: i32| {
            let start = format!("walrus_group_{name}{}", labels(partition));
            page.lines().find_map(|line| line.strip_prefix(&start)).map(str::to_owned)
        };
        if id != coordinator {
            ensure!(line("lag_records", 0).is_none(), "node {id} does not coordinate");
            continue;
        }
        ensure!(line("lag_records", 0).as_deref() == Some("10"), "{page}");
        ensure!(line("lag_records", 1).as_deref() == Some("0"), "{page}");
        let bytes: u64 = line("lag_bytes", 0).context("lag_bytes")?.parse()?;
        ensure!(bytes > 1_000, "{bytes} bytes");
        let seconds: f64 = line("lag_seconds", 0).context("lag_seconds")?.parse()?;
        ensure!((50.0..120.0).contains(&seconds), "{seconds} s");
        let risk: f64 = line("retention_risk_seconds", 0).context("retention_risk")?.parse()?;
        ensure!((3_000.0..3_550.0).contains(&risk), "{risk} s");
        ensure!(line("retention_risk_seconds", 1).is_none(), "what is read is not at risk");
        ensure!(page.contains("walrus_group_partitions_left_out 0\n"), "{page}");
    }
    Ok(())
}

#[test]
fn what_retention_took_unread_is_lost_and_said_to_be() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default().env("WALRUS_MONITOR_CHECK_MS", 200);
    let cluster = Cluster::start(folder.path(), 3, &settings)?;
    let keeps = [("retention.ms".to_owned(), "20000".to_owned())];
    topic::create(&cluster.client(), &Topics::one(TOPIC, 1), 3, &keeps)?;
    produce(&cluster, 0, 20, now_ms()?)?;
    commit(&cluster, &[(0, 5)])?;
    let one = format!("/v1/groups/{ESCAPED}");
    let at_risk = until(&cluster, 2, &one, |group| group["risk"]["in_ms"].is_u64())?;
    let in_ms = at_risk["risk"]["in_ms"].as_u64().context("a forecast")?;
    let told = Instant::now();
    ensure!(at_risk["risk"]["from"] == 5, "{at_risk}");
    let lost = until(&cluster, 3, &one, |group| group["lost_records"] == 15)?;
    let took = told.elapsed();
    println!("said {in_ms} ms ahead, lost after {took:?}: {lost}");
    let early = Duration::from_millis(in_ms).saturating_sub(took);
    ensure!(early < Duration::from_millis(500), "lost {early:?} before it was forecast");
    ensure!(took < Duration::from_millis(in_ms) + Duration::from_secs(10), "late: {took:?}");
    let place = place(&lost, 0)?;
    ensure!(place["state"] == "lost" && place["lag_records"] == 0, "{place}");
    ensure!(place["risk"]["in_ms"] == 0 && place["risk"]["from"] == 5, "{place}");
    Ok(())
}

#[test]
fn the_queue_of_a_topic_is_a_group_too_and_one_that_nobody_knows_is_not_found() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let (status, body) = cluster.node(1).admin_get("/v1/groups/nobody")?;
    ensure!(status == 404, "{status} {body}");
    let mut text = TextClient::connect(cluster.node(1).client_address())?;
    ensure!(text.ask(b"REGISTER queue")? == b"OK");
    for _ in 0..3 {
        ensure!(text.ask(b"PUT queue entry")? == b"OK");
    }
    ensure!(text.ask(b"GET queue")? == b"OK entry");
    let path = "/v1/groups/walrus.get.queue";
    let group = until(&cluster, 3, path, |group| group["lag_records"] == 2)?;
    ensure!(place(&group, 0)?["committed"] == 1, "{group}");
    let (status, body) = cluster.node(2).admin_get("/v1/groups/nobody")?;
    ensure!(status == 404 && body.contains("not_found"), "{status} {body}");
    let page = get(&cluster, 2, "/v1/groups?limit=1&after=walrus%2Eget")?;
    ensure!(page["items"][0]["group"] == "walrus.get.queue", "{page}");
    let (status, body) = cluster.node(2).admin_get("/v1/groups?after=%2")?;
    ensure!(status == 400, "{status} {body}");
    Ok(())
}
