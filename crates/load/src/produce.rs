//! Producing in an open loop: at a rate, or as fast as the client takes records.
//!
//! One thread sends by the timetable of [`crate::pace`], another takes delivery reports. Only
//! records whose acknowledgement arrived inside the measured window count as throughput; a
//! record's latency runs from the instant it was due to the instant its report arrived, and
//! belongs to the window if the record was due in it. As fast as possible there is no timetable:
//! latency then runs from the send and mostly shows how deep the client's own queue is.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use serde::Serialize;

use crate::client::{Cluster, Producing};
use crate::latency::{Latencies, LatencySummary};
use crate::pace::{Pace, Window, nanos};
use crate::payload::Payloads;
use crate::process::{self, Cost, Meter};
use crate::spread::{Spread, Walk};
use crate::topic::Topics;

/// What to produce.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct ProduceSettings {
    #[command(flatten)]
    pub topics: Topics,
    /// Bytes of each record's value
    #[arg(long, short = 's', default_value_t = 1024)]
    pub record_bytes: usize,
    /// Records per second; 0 is as fast as possible
    #[arg(long, short = 'r', default_value_t = 0)]
    pub rate: u64,
    /// Stop after this many records instead of after --seconds (no warm-up)
    #[arg(long)]
    pub records: Option<u64>,
    /// Seconds before the measured window
    #[arg(long, default_value_t = 10.0)]
    pub warmup: f64,
    /// Seconds of the measured window
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// How records are spread over partitions
    #[arg(long, value_enum, default_value = "sticky")]
    pub spread: Spread,
    #[command(flatten)]
    pub producing: Producing,
    /// Measure CPU and memory of this process in the window; may be repeated, all are added up
    #[arg(long)]
    pub broker_pid: Vec<u32>,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct ProduceReport {
    pub settings: ProduceSettings,
    /// Length of the measured window.
    pub seconds: f64,
    pub sent_total: u64,
    pub acked_total: u64,
    /// Acknowledgements that arrived in the window; throughput is made of these.
    pub acked: u64,
    pub records_per_s: f64,
    pub mb_per_s: f64,
    /// Records that were given up, by reason.
    pub failed: BTreeMap<String, u64>,
    pub latency: LatencySummary,
    /// Acknowledgements in each second since the start, warm-up included.
    pub acked_by_second: Vec<u64>,
    /// How far the sender fell behind its timetable at worst: the client's share of the latency.
    pub sender_late_max_us: u64,
    pub broker: Option<Cost>,
    pub broker_cpu_s_per_million: Option<f64>,
    pub client_cpu_s: f64,
}

/// Runs the workload. The topics must be there.
pub fn run(cluster: &Cluster, settings: &ProduceSettings) -> Result<ProduceReport> {
    let window = match settings.records {
        Some(_) => Window { start_ns: 0, end_ns: u64::MAX },
        None => Window::new(
            Duration::try_from_secs_f64(settings.warmup).context("--warmup")?,
            Duration::try_from_secs_f64(settings.seconds).context("--seconds")?,
        ),
    };
    let reports = Reports { start: Instant::now(), window, tally: Mutex::default() };
    let config = cluster.producer(&settings.producing)?;
    let producer = ThreadedProducer::from_config_and_context(&config, reports)?;
    warm_metadata(&producer, &settings.topics)?;

    let sent = send_all(&producer, settings, window)?;
    let give_up = Duration::from_millis(u64::from(settings.producing.message_timeout_ms));
    producer.flush(give_up + Duration::from_secs(5)).context("records without an outcome")?;
    let tally = std::mem::take(&mut *producer.context().tally());
    Ok(report(settings, window, sent, tally))
}

/// The first send of each topic would otherwise wait for metadata and look like a slow broker.
fn warm_metadata(producer: &ThreadedProducer<Reports>, topics: &Topics) -> Result<()> {
    for name in topics.names() {
        let metadata = producer.client().fetch_metadata(Some(&name), Duration::from_secs(20))?;
        let there = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
        if there < topics.partitions {
            bail!(
                "topic {name} has {there} partitions, {} are asked for; make it with \
                 `walrus-load create-topic -t {} -p {}`",
                topics.partitions,
                topics.topic,
                topics.partitions
            );
        }
    }
    Ok(())
}

/// What the sending side knows at its end.
#[derive(Debug, Default)]
struct Sent {
    records: u64,
    late_max_ns: u64,
    broker: Option<Cost>,
    client_cpu_s: f64,
}

fn send_all(
    producer: &ThreadedProducer<Reports>,
    settings: &ProduceSettings,
    window: Window,
) -> Result<Sent> {
    let start = producer.context().start;
    let pace = match settings.rate {
        0 => Pace::AsFastAsPossible,
        rate => Pace::PerSecond(rate),
    };
    let names = settings.topics.names();
    let mut payloads = Payloads::new(settings.record_bytes, 1);
    let mut walk = Walk::new(
        settings.spread,
        settings.topics.topics,
        settings.topics.partitions,
        settings.record_bytes,
        usize::try_from(settings.producing.batch_bytes).context("--batch-bytes")?,
    );
    let records_max = settings.records.unwrap_or(u64::MAX);
    let mut sent = Sent::default();
    let mut measuring: Option<Measuring> = None;
    while sent.records < records_max {
        let mut now_ns = nanos(start.elapsed());
        let due_ns = pace.due_ns(sent.records).unwrap_or(now_ns);
        if now_ns < due_ns {
            thread::sleep(Duration::from_nanos(due_ns - now_ns));
            now_ns = nanos(start.elapsed());
        }
        if now_ns >= window.end_ns {
            break;
        }
        if measuring.is_none() && now_ns >= window.start_ns {
            measuring = Some(Measuring::start(&settings.broker_pid)?);
        }
        let place = walk.next_place();
        let record = BaseRecord::with_opaque_to(&names[place.topic], opaque(due_ns))
            .partition(place.partition)
            .payload(payloads.next_value());
        if !send_one(producer, record, start, window)? {
            break;
        }
        if window.contains(due_ns) {
            let late_ns = nanos(start.elapsed()).saturating_sub(due_ns);
            sent.late_max_ns = sent.late_max_ns.max(late_ns);
        }
        sent.records += 1;
    }
    if settings.records.is_some() {
        producer.flush(Duration::from_secs(600)).context("records without an outcome")?;
    }
    if let Some(measuring) = measuring {
        (sent.broker, sent.client_cpu_s) = measuring.finish()?;
    }
    Ok(sent)
}

/// Hands one record to the client, waiting while its queue is full. `false`: the run ended first.
fn send_one(
    producer: &ThreadedProducer<Reports>,
    mut record: Record<'_>,
    start: Instant,
    window: Window,
) -> Result<bool> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(true),
            Err((error, back)) if is_queue_full(&error) => {
                if nanos(start.elapsed()) >= window.end_ns {
                    return Ok(false);
                }
                thread::sleep(Duration::from_micros(500));
                record = back;
            }
            Err((error, _)) => return Err(error).context("the client refused a record"),
        }
    }
}

type Record<'a> = BaseRecord<'a, [u8], [u8], usize>;

/// A record's due time rides along as librdkafka's opaque pointer.
fn opaque(due_ns: u64) -> usize {
    usize::try_from(due_ns).expect("this program is for 64-bit machines")
}

pub(crate) fn is_queue_full(error: &KafkaError) -> bool {
    error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull)
}

/// The meters of the window: the broker's if its pid is known, and our own.
struct Measuring {
    broker: Option<Meter>,
    client_cpu_s: f64,
}

impl Measuring {
    fn start(broker_pids: &[u32]) -> Result<Self> {
        let broker = Meter::start(broker_pids)?;
        Ok(Self { broker, client_cpu_s: process::usage(std::process::id())?.cpu_s })
    }

    fn finish(self) -> Result<(Option<Cost>, f64)> {
        let client = process::usage(std::process::id())?.cpu_s - self.client_cpu_s;
        Ok((self.broker.map(Meter::finish).transpose()?, client))
    }
}

/// Takes delivery reports, on the client's polling thread.
struct Reports {
    start: Instant,
    window: Window,
    tally: Mutex<Tally>,
}

#[derive(Debug, Default)]
struct Tally {
    acked_total: u64,
    acked: u64,
    bytes: u64,
    last_ack_ns: u64,
    failed: BTreeMap<String, u64>,
    latencies: Latencies,
    acked_by_second: Vec<u64>,
}

impl Reports {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().expect("nothing panics with the tally in hand")
    }
}

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let now_ns = nanos(self.start.elapsed());
        let due_ns = u64::try_from(opaque).expect("it was made of a u64");
        let mut tally = self.tally();
        match result {
            Ok(message) => {
                let bytes = u64::try_from(message.payload_len()).expect("a length fits");
                tally.acked(self.window, now_ns, due_ns, bytes);
            }
            Err((error, _)) => *tally.failed.entry(error.to_string()).or_default() += 1,
        }
    }
}

impl Tally {
    fn acked(&mut self, window: Window, now_ns: u64, due_ns: u64, bytes: u64) {
        self.acked_total += 1;
        self.last_ack_ns = now_ns;
        let second = usize::try_from(now_ns / 1_000_000_000).expect("seconds fit");
        if self.acked_by_second.len() <= second {
            self.acked_by_second.resize(second + 1, 0);
        }
        self.acked_by_second[second] += 1;
        if window.contains(now_ns) {
            self.acked += 1;
            self.bytes += bytes;
        }
        if window.contains(due_ns) {
            self.latencies.record(Duration::from_nanos(now_ns.saturating_sub(due_ns)));
        }
    }
}

fn report(settings: &ProduceSettings, window: Window, sent: Sent, tally: Tally) -> ProduceReport {
    let seconds = match settings.records {
        Some(_) => Duration::from_nanos(tally.last_ack_ns).as_secs_f64(),
        None => window.seconds(),
    };
    let per_million =
        sent.broker.filter(|_| tally.acked > 0).map(|cost| cost.cpu_s * 1e6 / as_f64(tally.acked));
    ProduceReport {
        settings: settings.clone(),
        seconds,
        sent_total: sent.records,
        acked_total: tally.acked_total,
        acked: tally.acked,
        records_per_s: as_f64(tally.acked) / seconds,
        mb_per_s: as_f64(tally.bytes) / seconds / 1e6,
        failed: tally.failed,
        latency: tally.latencies.summary(),
        acked_by_second: tally.acked_by_second,
        sender_late_max_us: sent.late_max_ns / 1000,
        broker: sent.broker,
        broker_cpu_s_per_million: per_million,
        client_cpu_s: sent.client_cpu_s,
    }
}

/// Counts of a run stay far below 2^53.
#[expect(clippy::cast_precision_loss, reason = "counts of a run stay far below 2^53")]
pub(crate) fn as_f64(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    #[test]
    fn throughput_counts_acks_of_the_window_and_latency_records_of_the_window() {
        let window = Window { start_ns: 1000 * MS, end_ns: 2000 * MS };
        // (acked at, due at, counts as throughput, counts as latency)
        let cases = [
            (900, 899, 0, 0),
            (1001, 999, 1, 0),
            (1500, 1400, 1, 1),
            (2001, 1999, 0, 1),
            (2100, 2050, 0, 0),
        ];
        for (acked, due, throughput, latencies) in cases {
            let mut tally = Tally::default();
            tally.acked(window, acked * MS, due * MS, 10);
            let got = (tally.acked, tally.bytes, tally.latencies.summary().count);
            assert_eq!(got, (throughput, throughput * 10, latencies), "acked {acked} due {due}");
            assert_eq!(tally.acked_total, 1);
        }
    }

    #[test]
    fn a_stall_is_charged_to_every_record_that_was_due_in_it() {
        // 1000 records per second; nothing is acked for a second, then everything at once.
        let window = Window { start_ns: 0, end_ns: 1000 * MS };
        let mut tally = Tally::default();
        for index in 0..1000 {
            let due = Pace::PerSecond(1000).due_ns(index).expect("a rate has due times");
            tally.acked(window, 1000 * MS, due, 1);
        }
        let p50 = tally.latencies.summary().p50_us;
        assert!((499_000..=501_500).contains(&p50), "p50 {p50} us");
    }
}
