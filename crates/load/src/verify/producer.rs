//! An idempotent producer that remembers what it was promised.
//!
//! It runs on a thread of its own until it is stopped, through restarts of the broker: librdkafka
//! retries, and only what it gives up is *unknown*. A test can ask at any time how many records
//! are under way, to be sure that a kill hits some.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result};
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig, ThreadedProducer,
};
use walrus_types::chance::Chance;

use super::{History, Outcome, RunInfo, Sent, ValueId};
use crate::client::{Acks, Cluster, Producing};
use crate::pace::{Pace, nanos};
use crate::produce::is_queue_full;

/// What to send.
#[derive(Debug, Clone, clap::Args)]
pub struct VerifySettings {
    /// Name of the topic; it must be there, and used by nothing else
    #[arg(long, short = 't', default_value = "verify")]
    pub topic: String,
    /// Its partitions
    #[arg(long, short = 'p', default_value_t = 6)]
    pub partitions: usize,
    /// Bytes of each value, 32 at least
    #[arg(long, short = 's', default_value_t = 200)]
    pub value_bytes: usize,
    /// Records per second; 0 is as fast as possible
    #[arg(long, short = 'r', default_value_t = 5000)]
    pub rate: u64,
    /// Longest a record waits in the client for its batch to fill
    #[arg(long, default_value_t = 2.0)]
    pub linger_ms: f64,
    /// A record without an ack after this time is given up as unknown
    #[arg(long, default_value_t = 120_000)]
    pub message_timeout_ms: u32,
}

/// A running producer.
#[derive(Debug)]
pub struct VerifyProducer {
    run: u64,
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    sender: JoinHandle<Result<History>>,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    settled: AtomicU64,
    acked: AtomicU64,
}

impl VerifyProducer {
    /// Starts sending. `history` may append to a file.
    pub fn start(
        cluster: &Cluster,
        settings: VerifySettings,
        mut history: History,
    ) -> Result<Self> {
        let run = fresh_run();
        let info = RunInfo { run, topic: settings.topic.clone(), partitions: settings.partitions };
        history.open_run(info)?;
        let mut config = cluster.producer(&Producing {
            acks: Acks::All,
            idempotence: true,
            linger_ms: settings.linger_ms,
            queue_records: 20_000,
            message_timeout_ms: settings.message_timeout_ms,
            ..Producing::default()
        })?;
        if config.get("retry.backoff.ms").is_none() {
            config.set("retry.backoff.ms", "50");
        }
        let counts = Arc::new(Counts::default());
        let ledger = Ledger {
            run,
            counts: Arc::clone(&counts),
            book: Mutex::new(Book { history, broken: None }),
        };
        let producer = ThreadedProducer::from_config_and_context(&config, ledger)?;
        let stop = Arc::new(AtomicBool::new(false));
        let sender = thread::Builder::new()
            .name("verify producer".to_owned())
            .spawn({
                let stop = Arc::clone(&stop);
                move || send_until(&producer, &settings, &stop)
            })
            .context("no thread for the producer")?;
        Ok(Self { run, counts, stop, sender })
    }

    /// The number its values carry.
    pub fn run(&self) -> u64 {
        self.run
    }

    pub fn acked(&self) -> u64 {
        self.counts.acked.load(Ordering::Acquire)
    }

    /// Records that were sent and have no outcome yet.
    pub fn in_flight(&self) -> u64 {
        let settled = self.counts.settled.load(Ordering::Acquire);
        self.counts.sent.load(Ordering::Acquire).saturating_sub(settled)
    }

    /// True once the sender has given up by itself; [`Self::stop`] then says why.
    pub fn is_finished(&self) -> bool {
        self.sender.is_finished()
    }

    /// Stops sending, waits for outcomes as long as records may take, and returns them all.
    pub fn stop(self) -> Result<History> {
        self.stop.store(true, Ordering::Release);
        match self.sender.join() {
            Ok(history) => history,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// Different for every session, on one machine and across them.
fn fresh_run() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Chance::seeded(nanos(since_epoch) ^ u64::from(std::process::id()).rotate_left(40)).draw()
}

fn send_until(
    producer: &ThreadedProducer<Ledger>,
    settings: &VerifySettings,
    stop: &AtomicBool,
) -> Result<History> {
    let ledger = producer.context();
    let partitions = i32::try_from(settings.partitions).context("too many partitions")?;
    let pace = match settings.rate {
        0 => Pace::AsFastAsPossible,
        rate => Pace::PerSecond(rate),
    };
    let start = Instant::now();
    let mut next_seq = vec![0_u64; settings.partitions];
    'rounds: loop {
        for (seq, partition) in next_seq.iter_mut().zip(0..partitions) {
            let sent = ledger.counts.sent.load(Ordering::Relaxed);
            if let Some(due_ns) = pace.due_ns(sent) {
                let wait_ns = due_ns.saturating_sub(nanos(start.elapsed()));
                thread::sleep(Duration::from_nanos(wait_ns));
            }
            let value = ValueId { run: ledger.run, partition, seq: *seq };
            if !send_one(producer, settings, value, stop)? {
                break 'rounds;
            }
            *seq += 1;
        }
    }
    settle(producer, settings)?;
    let mut book = ledger.book();
    book.history.flush()?;
    if let Some(broken) = book.broken.take() {
        return Err(broken);
    }
    Ok(std::mem::take(&mut book.history))
}

/// `false`: the producer was stopped, and the value was not sent.
fn send_one(
    producer: &ThreadedProducer<Ledger>,
    settings: &VerifySettings,
    value: ValueId,
    stop: &AtomicBool,
) -> Result<bool> {
    let bytes = value.encode(settings.value_bytes);
    // Where the report finds the value's number again, without looking into its bytes.
    let seq = usize::try_from(value.seq).expect("this program is for 64-bit machines");
    let counts = &producer.context().counts;
    while !stop.load(Ordering::Acquire) {
        let record: BaseRecord<'_, [u8], [u8], usize> =
            BaseRecord::with_opaque_to(&settings.topic, seq)
                .partition(value.partition)
                .payload(&bytes);
        counts.sent.fetch_add(1, Ordering::AcqRel);
        let Err((error, _)) = producer.send(record) else { return Ok(true) };
        counts.sent.fetch_sub(1, Ordering::AcqRel);
        if !is_queue_full(&error) {
            return Err(error).context("the client refused a record");
        }
        thread::sleep(Duration::from_millis(1));
    }
    Ok(false)
}

/// Waits for what is under way; what does not come is purged, and thereby reported as unknown.
fn settle(producer: &ThreadedProducer<Ledger>, settings: &VerifySettings) -> Result<()> {
    let patience = Duration::from_millis(u64::from(settings.message_timeout_ms));
    if producer.flush(patience + Duration::from_secs(2)).is_err() {
        producer.purge(PurgeConfig::default().queue().inflight());
        producer.flush(Duration::from_secs(10)).context("purged records without an outcome")?;
    }
    Ok(())
}

/// Notes outcomes, on the client's polling thread.
struct Ledger {
    run: u64,
    counts: Arc<Counts>,
    book: Mutex<Book>,
}

struct Book {
    history: History,
    /// The first failure to write the history down.
    broken: Option<anyhow::Error>,
}

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics with the book in hand")
    }
}

impl ClientContext for Ledger {}

impl ProducerContext for Ledger {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let (partition, outcome) = match result {
            Ok(message) => (message.partition(), Outcome::Acked { offset: message.offset() }),
            Err((error, message)) => (message.partition(), outcome_of(error)),
        };
        if matches!(outcome, Outcome::Acked { .. }) {
            self.counts.acked.fetch_add(1, Ordering::AcqRel);
        }
        let seq = u64::try_from(opaque).expect("it was made of a u64");
        let value = ValueId { run: self.run, partition, seq };
        let mut book = self.book();
        if let Err(error) = book.history.push(Sent { value, outcome }) {
            book.broken.get_or_insert(error);
        }
        drop(book);
        self.counts.settled.fetch_add(1, Ordering::AcqRel);
    }
}

/// Only an answer that says for certain "not stored, and not by an earlier try either" is a
/// refusal. Everything else, time-outs first of all, leaves the outcome open.
fn outcome_of(error: &KafkaError) -> Outcome {
    let why = error.to_string();
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
            | RDKafkaErrorCode::InvalidTopic
            | RDKafkaErrorCode::InvalidRecord
            | RDKafkaErrorCode::TopicAuthorizationFailed,
        ) => Outcome::Refused { why },
        _ => Outcome::Unknown { why },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_unknown_and_never_a_refusal() {
        let cases = [
            (RDKafkaErrorCode::MessageTimedOut, false),
            (RDKafkaErrorCode::OperationTimedOut, false),
            (RDKafkaErrorCode::RequestTimedOut, false),
            (RDKafkaErrorCode::BrokerTransportFailure, false),
            (RDKafkaErrorCode::PurgeInflight, false),
            (RDKafkaErrorCode::OutOfOrderSequenceNumber, false),
            (RDKafkaErrorCode::NotEnoughReplicasAfterAppend, false),
            (RDKafkaErrorCode::MessageSizeTooLarge, true),
            (RDKafkaErrorCode::InvalidRecord, true),
        ];
        for (code, refused) in cases {
            let outcome = outcome_of(&KafkaError::MessageProduction(code));
            assert_eq!(matches!(outcome, Outcome::Refused { .. }), refused, "{code:?}");
        }
    }

    #[test]
    fn sessions_have_different_numbers() {
        assert_ne!(fresh_run(), fresh_run());
    }
}
