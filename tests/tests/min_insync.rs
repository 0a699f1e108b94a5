//! `min.insync.replicas` as large as the cluster: what a producer with `acks=all` is told when a
//! member goes, before and after the append.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use walrus_load::topic::{self, Topics};
use walrus_tests::{Cluster, NodeSettings, raw::RawClient};
use walrus_types::TimestampMs;
use walrus_wire::{
    kafka_protocol::{
        error::ResponseError,
        messages::{
            BrokerId, FetchRequest, ProduceRequest, TopicName,
            fetch_request::{FetchPartition, FetchTopic},
            produce_request::{PartitionProduceData, TopicProduceData},
        },
        protocol::StrBytes,
    },
    records::{NewRecord, Records, build_batch},
};

const TOPIC: &str = "strict";
/// Something is broken when it takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

fn name() -> TopicName {
    TopicName(StrBytes::from_static_str(TOPIC))
}

fn produce(value: &str) -> Result<ProduceRequest> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let timestamp = TimestampMs(i64::try_from(now.as_millis())?);
    let record = NewRecord { timestamp, key: None, value: Some(value.as_bytes()), headers: &[] };
    let batch = build_batch(&[record]).into();
    let data = PartitionProduceData::default().with_index(0).with_records(Some(batch));
    let topic = TopicProduceData::default().with_name(name()).with_partition_data(vec![data]);
    Ok(ProduceRequest::default().with_acks(-1).with_timeout_ms(20_000).with_topic_data(vec![topic]))
}

/// The error of the one partition; `None` where it was taken.
fn told(client: &mut RawClient) -> Result<Option<ResponseError>> {
    let answer = client.answer::<ProduceRequest>(9)?;
    let partition = &answer.responses[0].partition_responses[0];
    Ok(ResponseError::try_from_code(partition.error_code))
}

/// All values that a consumer sees.
fn values(client: &mut RawClient) -> Result<Vec<String>> {
    let (mut from, mut values) = (0, Vec::new());
    loop {
        let partition = FetchPartition::default()
            .with_fetch_offset(from)
            .with_current_leader_epoch(-1)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_topic(name()).with_partitions(vec![partition]);
        let request = FetchRequest::default()
            .with_replica_id(BrokerId(-1))
            .with_max_bytes(1 << 20)
            .with_session_epoch(-1)
            .with_topics(vec![topic]);
        let mut answer = client.ask(11, &request)?;
        let mut topic = answer.responses.pop().context("no topic in the answer")?;
        let found = topic.partitions.pop().context("no partition in the answer")?;
        ensure!(found.error_code == 0, "{found:?}");
        let bytes = found.records.unwrap_or_default();
        if bytes.is_empty() {
            return Ok(values);
        }
        for batch in walrus_types::batch::batches(&bytes) {
            let (header, batch) = batch?;
            from = header.end().0;
            for record in &Records::decode(batch, 1 << 20)? {
                let value = record?.value.unwrap_or_default();
                values.push(String::from_utf8(value.to_vec())?);
            }
        }
    }
}

#[test]
fn a_batch_that_is_stored_on_too_few_copies_is_told_apart_from_one_that_is_not_stored() -> Result<()>
{
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    let topics = Topics::one(TOPIC, 1);
    let strict = [("min.insync.replicas".to_owned(), "3".to_owned())];
    topic::create(&cluster.client(), &topics, 3, &strict)?;
    let leader = cluster.leader(1, TOPIC, 0)?;
    let controller = cluster.controller()?;
    let victim = (1..=3).find(|id| ![leader, controller].contains(id)).context("nobody is left")?;
    let mut client = RawClient::connect(cluster.node(leader).client_address())?;

    client.send(9, &produce("on three")?)?;
    ensure!(told(&mut client)?.is_none(), "three live and it is refused");

    // The third copy cannot be made: the leader waits until that node is fenced, and goes on in a
    // segment of two.
    cluster.node(victim).freeze()?;
    client.send(9, &produce("on two")?)?;
    let after = told(&mut client)?;
    ensure!(
        after == Some(ResponseError::NotEnoughReplicasAfterAppend),
        "the batch that was taken along is answered {after:?}"
    );
    client.send(9, &produce("refused")?)?;
    let before = told(&mut client)?;
    ensure!(before == Some(ResponseError::NotEnoughReplicas), "a new one is answered {before:?}");

    cluster.node(victim).thaw()?;
    let until = Instant::now() + PATIENCE;
    loop {
        let leader = cluster.leader(controller, TOPIC, 0)?;
        client = RawClient::connect(cluster.node(leader).client_address())?;
        client.send(9, &produce("on three again")?)?;
        match told(&mut client)? {
            None => break,
            Some(why) => ensure!(Instant::now() < until, "still {why:?} when all are back"),
        }
        thread::sleep(Duration::from_millis(50));
    }
    let seen = values(&mut client)?;
    ensure!(seen == ["on three", "on two", "on three again"], "a consumer sees {seen:?}");
    Ok(())
}
