//! Makes and removes the topics of a run, and waits until they can be used.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication, TopicResult};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use serde::Serialize;

use crate::client::Cluster;

/// A broker that makes thousands of partitions takes its time.
const OPERATION_TIMEOUT: Duration = Duration::from_secs(120);
const METADATA_TIMEOUT: Duration = Duration::from_secs(20);

/// The topics of one run: `name`, or `name-0` to `name-(count-1)` when there are several.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct Topics {
    /// Name of the topic; with --topics N the names are NAME-0, NAME-1 and so on
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// How many topics
    #[arg(long, default_value_t = 1)]
    pub topics: usize,
    /// Partitions of each topic
    #[arg(long, short = 'p', default_value_t = 6)]
    pub partitions: usize,
}

impl Topics {
    pub fn one(topic: impl Into<String>, partitions: usize) -> Self {
        Self { topic: topic.into(), topics: 1, partitions }
    }

    pub fn names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            count => (0..count).map(|index| format!("{}-{index}", self.topic)).collect(),
        }
    }
}

/// Makes the topics and waits until every partition has a leader. One that is there already is
/// taken as it is, if it has as many partitions.
pub fn create(
    cluster: &Cluster,
    topics: &Topics,
    replication: i32,
    configs: &[(String, String)],
) -> Result<()> {
    let names = topics.names();
    let partitions = i32::try_from(topics.partitions).context("too many partitions")?;
    let mut wanted = Vec::with_capacity(names.len());
    for name in &names {
        let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(replication));
        for (key, value) in configs {
            topic = topic.set(key, value);
        }
        wanted.push(topic);
    }
    let admin: AdminClient<DefaultClientContext> = cluster.admin()?.create()?;
    let results = block_on(admin.create_topics(&wanted, &options()))??;
    accept(results, RDKafkaErrorCode::TopicAlreadyExists)?;
    wait_until_led(cluster, topics)
}

/// Removes the topics; one that is not there is fine.
pub fn delete(cluster: &Cluster, topics: &Topics) -> Result<()> {
    let names = topics.names();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let admin: AdminClient<DefaultClientContext> = cluster.admin()?.create()?;
    let results = block_on(admin.delete_topics(&names, &options()))??;
    accept(results, RDKafkaErrorCode::UnknownTopicOrPartition)
}

fn accept(results: Vec<TopicResult>, tolerated: RDKafkaErrorCode) -> Result<()> {
    for result in results {
        match result {
            Ok(_) => {}
            Err((_, code)) if code == tolerated => {}
            Err((name, code)) => bail!("topic {name}: {code}"),
        }
    }
    Ok(())
}

fn options() -> AdminOptions {
    // Without an operation timeout KRaft answers before it has made the topic.
    AdminOptions::new()
        .operation_timeout(Some(OPERATION_TIMEOUT))
        .request_timeout(Some(OPERATION_TIMEOUT))
}

fn block_on<T>(future: impl Future<Output = T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    Ok(runtime.block_on(future))
}

fn wait_until_led(cluster: &Cluster, topics: &Topics) -> Result<()> {
    let client: BaseConsumer = cluster.admin()?.create()?;
    let deadline = Instant::now() + OPERATION_TIMEOUT;
    for name in topics.names() {
        loop {
            let metadata = client.fetch_metadata(Some(&name), METADATA_TIMEOUT)?;
            let found =
                metadata.topics().first().context("metadata without the topic asked for")?;
            let led = found
                .partitions()
                .iter()
                .filter(|partition| partition.leader() >= 0 && partition.error().is_none())
                .count();
            let there = found.partitions().len();
            if there == topics.partitions && led == there {
                break;
            }
            if there > topics.partitions {
                bail!("topic {name} has {there} partitions, not {}", topics.partitions);
            }
            if Instant::now() > deadline {
                bail!("topic {name}: only {led} of {} partitions have a leader", topics.partitions);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    Ok(())
}
