//! Latency with one record in flight: the next is sent from the report of the one before.
//!
//! No other thread stands between, so what is measured is the broker and librdkafka, and not how
//! long this program's threads take to wake each other.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext};
use serde::Serialize;

use crate::client::{Acks, Cluster, Compression, Producing};
use crate::latency::{Latencies, LatencySummary};
use crate::payload::Payloads;
use crate::process::{Cost, Meter};
use crate::produce::as_f64;

/// What to send, one at a time, to partition 0.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct RoundtripSettings {
    /// Name of the topic; partition 0 is written
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// Bytes of each record's value
    #[arg(long, short = 's', default_value_t = 1024)]
    pub record_bytes: usize,
    /// Acknowledgement to wait for
    #[arg(long, value_enum, default_value = "all")]
    pub acks: Acks,
    /// Seconds before the measured window
    #[arg(long, default_value_t = 10.0)]
    pub warmup: f64,
    /// Seconds of the measured window
    #[arg(long, default_value_t = 30.0)]
    pub seconds: f64,
    /// Measure CPU and memory of this process in the window; may be repeated, all are added up
    #[arg(long)]
    pub broker_pid: Vec<u32>,
}

#[derive(Debug, Clone, Serialize)]
pub struct RoundtripReport {
    pub settings: RoundtripSettings,
    pub records_per_s: f64,
    pub latency: LatencySummary,
    pub broker: Option<Cost>,
    pub broker_cpu_s_per_million: Option<f64>,
}

/// Runs the workload. The topic must be there.
pub fn run(cluster: &Cluster, settings: &RoundtripSettings) -> Result<RoundtripReport> {
    let warmup = Duration::try_from_secs_f64(settings.warmup).context("--warmup")?;
    let measured = Duration::try_from_secs_f64(settings.seconds).context("--seconds")?;
    let config = cluster.producer(&Producing {
        acks: settings.acks,
        linger_ms: 0.0,
        compression: Compression::None,
        ..Producing::default()
    })?;
    let chain = Chain {
        topic: settings.topic.clone(),
        producer: OnceLock::new(),
        state: Mutex::new(State {
            payloads: Payloads::new(settings.record_bytes, 1),
            sent_at: Instant::now(),
            phase: Phase::WarmUp,
            latencies: Latencies::default(),
            stopped: None,
        }),
    };
    let producer = Arc::new(BaseProducer::from_config_and_context(&config, chain)?);
    producer.client().fetch_metadata(Some(&settings.topic), Duration::from_secs(20))?;
    let chain = producer.context();
    assert!(chain.producer.set(Arc::downgrade(&producer)).is_ok(), "it is set once, here");

    chain.send_next();
    poll_for(&producer, warmup)?;
    chain.state().phase = Phase::Measure;
    let meter = Meter::start(&settings.broker_pid)?;
    let began = Instant::now();
    poll_for(&producer, measured)?;
    let seconds = began.elapsed().as_secs_f64();
    let broker = meter.map(Meter::finish).transpose()?;
    chain.state().phase = Phase::Done;
    producer.flush(Duration::from_secs(60)).context("the last record has no outcome")?;

    let latency = std::mem::take(&mut chain.state().latencies).summary();
    Ok(RoundtripReport {
        settings: settings.clone(),
        records_per_s: as_f64(latency.count) / seconds,
        broker_cpu_s_per_million: broker
            .filter(|_| latency.count > 0)
            .map(|cost| cost.cpu_s * 1e6 / as_f64(latency.count)),
        latency,
        broker,
    })
}

fn poll_for(producer: &BaseProducer<Chain>, time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        producer
            .poll(Duration::from_millis(100).min(end.saturating_duration_since(Instant::now())));
        if let Some(why) = &producer.context().state().stopped {
            bail!("the chain of records broke: {why}");
        }
    }
    Ok(())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WarmUp,
    Measure,
    Done,
}

/// The chain of records, each sent when the one before was acked.
struct Chain {
    topic: String,
    /// Weak, because the producer owns this context.
    producer: OnceLock<Weak<BaseProducer<Self>>>,
    state: Mutex<State>,
}

struct State {
    payloads: Payloads,
    sent_at: Instant,
    phase: Phase,
    latencies: Latencies,
    stopped: Option<String>,
}

impl Chain {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the state in hand")
    }

    fn send_next(&self) {
        let Some(producer) = self.producer.get().and_then(Weak::upgrade) else {
            return; // The run is over and the producer is being dropped.
        };
        let mut guard = self.state();
        let state = &mut *guard;
        if state.phase == Phase::Done {
            return;
        }
        state.sent_at = Instant::now();
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).partition(0).payload(state.payloads.next_value());
        if let Err((error, _)) = producer.send(record) {
            state.stopped = Some(error.to_string());
        }
    }
}

impl ClientContext for Chain {}

impl ProducerContext for Chain {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        {
            let mut state = self.state();
            if let Err((error, _)) = result {
                state.stopped = Some(error.to_string());
                return;
            }
            let took = state.sent_at.elapsed();
            if state.phase == Phase::Measure {
                state.latencies.record(took);
            }
        }
        self.send_next();
    }
}
