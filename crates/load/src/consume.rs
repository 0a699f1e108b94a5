//! Reading topics from their start to where they end now.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;
use serde::Serialize;

use crate::client::Cluster;
use crate::process::{self, Cost, Meter};
use crate::produce::as_f64;
use crate::topic::Topics;

/// What to read.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct ConsumeSettings {
    #[command(flatten)]
    pub topics: Topics,
    /// Stop after this many records; otherwise at the end the topics have now
    #[arg(long)]
    pub records: Option<u64>,
    /// Give up after this many seconds
    #[arg(long, default_value_t = 300)]
    pub timeout: u64,
    /// Measure CPU and memory of this process while reading; may be repeated, all are added up
    #[arg(long)]
    pub broker_pid: Vec<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub struct ConsumeReport {
    pub settings: ConsumeSettings,
    pub records: u64,
    pub bytes: u64,
    /// From assign to the last record.
    pub seconds: f64,
    /// From assign to the first record.
    pub first_record_s: f64,
    pub records_per_s: f64,
    pub mb_per_s: f64,
    pub broker: Option<Cost>,
    pub broker_cpu_s_per_million: Option<f64>,
    pub client_cpu_s: f64,
}

/// Runs the workload.
pub fn run(cluster: &Cluster, settings: &ConsumeSettings) -> Result<ConsumeReport> {
    let mut config = cluster.consumer()?;
    // Enough to keep the broker busy while the program looks at what came.
    for (key, value) in
        [("queued.max.messages.kbytes", "262144"), ("queued.min.messages", "1000000")]
    {
        if config.get(key).is_none() {
            config.set(key, value);
        }
    }
    let consumer: BaseConsumer = config.create()?;
    let wanted = match settings.records {
        Some(records) => records,
        None => records_there(&consumer, &settings.topics)?,
    };
    if wanted == 0 {
        bail!("there is nothing to read in {}", settings.topics.topic);
    }
    let meter = Meter::start(&settings.broker_pid)?;
    let own_cpu_s = process::usage(std::process::id())?.cpu_s;
    let read = read(&consumer, settings, wanted)?;
    let client_cpu_s = process::usage(std::process::id())?.cpu_s - own_cpu_s;
    let broker = meter.map(Meter::finish).transpose()?;
    let seconds = read.took.as_secs_f64();
    Ok(ConsumeReport {
        settings: settings.clone(),
        records: read.records,
        bytes: read.bytes,
        seconds,
        first_record_s: read.first.as_secs_f64(),
        records_per_s: as_f64(read.records) / seconds,
        mb_per_s: as_f64(read.bytes) / seconds / 1e6,
        broker,
        broker_cpu_s_per_million: broker.map(|cost| cost.cpu_s * 1e6 / as_f64(read.records)),
        client_cpu_s,
    })
}

fn records_there(consumer: &BaseConsumer, topics: &Topics) -> Result<u64> {
    let mut records = 0;
    for name in topics.names() {
        for partition in 0..i32::try_from(topics.partitions).context("too many partitions")? {
            let (low, high) =
                consumer.fetch_watermarks(&name, partition, Duration::from_secs(20))?;
            records += u64::try_from(high - low).context("an end before the start")?;
        }
    }
    Ok(records)
}

struct Read {
    records: u64,
    bytes: u64,
    first: Duration,
    took: Duration,
}

fn read(consumer: &BaseConsumer, settings: &ConsumeSettings, wanted: u64) -> Result<Read> {
    let mut assignment = TopicPartitionList::new();
    for name in settings.topics.names() {
        for partition in 0..i32::try_from(settings.topics.partitions)? {
            assignment.add_partition_offset(&name, partition, Offset::Beginning)?;
        }
    }
    let began = Instant::now();
    let deadline = began + Duration::from_secs(settings.timeout);
    consumer.assign(&assignment)?;
    let mut read = Read { records: 0, bytes: 0, first: Duration::ZERO, took: Duration::ZERO };
    while read.records < wanted {
        match consumer.poll(Duration::from_millis(200)) {
            Some(Ok(message)) => {
                if read.records == 0 {
                    read.first = began.elapsed();
                }
                read.records += 1;
                read.bytes += u64::try_from(message.payload_len()).expect("a length fits");
            }
            None | Some(Err(KafkaError::PartitionEOF(_))) => {
                if Instant::now() > deadline {
                    bail!("{} of {wanted} records after {} s", read.records, settings.timeout);
                }
            }
            Some(Err(error)) => return Err(error).context("reading failed"),
        }
    }
    read.took = began.elapsed();
    Ok(read)
}
