//! When each ack came, partition by partition, while something is done to the brokers.
//!
//! An idempotent producer sends to every partition at a steady rate. Whoever runs this does the
//! deed, ends standard input when all that is of interest has happened, and gets the instants of
//! all acks: the gaps between them are the pauses that a client sees. What they mean (which
//! partitions the dead node led, when it died) is known outside only, so nothing is judged here.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use rdkafka::ClientContext;
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::message::Message as _;
use rdkafka::producer::{
    BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer,
};
use serde::Serialize;

use crate::client::{Acks, Cluster, Producing};
use crate::pace::{Pace, nanos};
use crate::payload::Payloads;
use crate::produce::is_queue_full;

/// What to send, and how often.
#[derive(Debug, Clone, Serialize, clap::Args)]
pub struct PausesSettings {
    /// Name of the topic; it must be there
    #[arg(long, short = 't', default_value = "load")]
    pub topic: String,
    /// Its partitions
    #[arg(long, short = 'p', default_value_t = 6)]
    pub partitions: usize,
    /// Bytes of each record's value
    #[arg(long, short = 's', default_value_t = 1024)]
    pub record_bytes: usize,
    /// Records per second to each partition
    #[arg(long, short = 'r', default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..))]
    pub rate: u64,
    /// Longest a record waits in the client for its batch to fill
    #[arg(long, default_value_t = 0.0)]
    pub linger_ms: f64,
    /// Longest that it runs, in seconds
    #[arg(long, default_value_t = 120.0)]
    pub seconds: f64,
    /// A record without an ack after this time is given up
    #[arg(long, default_value_t = 60_000)]
    pub message_timeout_ms: u32,
}

/// The instants of all acks.
#[derive(Debug, Clone, Serialize)]
pub struct PausesReport {
    pub settings: PausesSettings,
    /// The wall clock at the start, in seconds since 1970; all else is counted from it.
    pub started_unix_s: f64,
    /// When the last record was sent.
    pub ended_us: u64,
    pub sent: u64,
    pub acked: u64,
    /// Records that were given up, by reason.
    pub failed: BTreeMap<String, u64>,
    /// For each partition, when its acks came, in µs since the start.
    pub acks_us: Vec<Vec<u64>>,
}

/// Runs the workload until standard input ends. Says `going` on standard error as soon as every
/// partition had an ack.
pub fn run(cluster: &Cluster, settings: &PausesSettings) -> Result<PausesReport> {
    let config = cluster.producer(&Producing {
        acks: Acks::All,
        idempotence: true,
        linger_ms: settings.linger_ms,
        message_timeout_ms: settings.message_timeout_ms,
        ..Producing::default()
    })?;
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is set")?;
    let book = Book { acks_us: vec![Vec::new(); settings.partitions], ..Book::default() };
    let notes = Notes { start: Instant::now(), book: Mutex::new(book) };
    let producer = ThreadedProducer::from_config_and_context(&config, notes)?;
    let metadata =
        producer.client().fetch_metadata(Some(&settings.topic), Duration::from_secs(20))?;
    let there = metadata.topics().first().map_or(0, |topic| topic.partitions().len());
    if there < settings.partitions {
        bail!("topic {} has {there} partitions", settings.topic);
    }
    let ended = at_end_of_input()?;
    let sent = send_until(&producer, settings, &ended)?;
    let ended_us = micros(producer.context().start.elapsed());
    let give_up = Duration::from_millis(u64::from(settings.message_timeout_ms));
    producer.flush(give_up + Duration::from_secs(5)).context("records without an outcome")?;
    let book = std::mem::take(&mut *producer.context().book());
    Ok(PausesReport {
        settings: settings.clone(),
        started_unix_s: since_epoch.as_secs_f64(),
        ended_us,
        sent,
        acked: book.acks_us.iter().map(Vec::len).sum::<usize>().try_into()?,
        failed: book.failed,
        acks_us: book.acks_us,
    })
}

/// Set when standard input has ended.
pub(crate) fn at_end_of_input() -> Result<Arc<AtomicBool>> {
    let ended = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&ended);
    // It ends with the process, if not before.
    let reading = thread::Builder::new().name("end of input".to_owned()).spawn(move || {
        let mut input = std::io::stdin().lock();
        while input.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
        tell.store(true, Ordering::Release);
    });
    reading.context("no thread for standard input")?;
    Ok(ended)
}

/// Tells whoever runs this that the deed may be done.
pub(crate) fn say_going() -> Result<()> {
    writeln!(std::io::stderr(), "going").context("standard error")
}

fn send_until(
    producer: &ThreadedProducer<Notes>,
    settings: &PausesSettings,
    ended: &AtomicBool,
) -> Result<u64> {
    let notes = producer.context();
    let end_ns = nanos(Duration::try_from_secs_f64(settings.seconds).context("--seconds")?);
    let partitions = u64::try_from(settings.partitions)?;
    let pace = Pace::PerSecond(settings.rate * partitions);
    let mut payloads = Payloads::new(settings.record_bytes, 1);
    let mut going = false;
    let mut sent = 0;
    loop {
        let now_ns = nanos(notes.start.elapsed());
        if ended.load(Ordering::Acquire) || now_ns >= end_ns {
            return Ok(sent);
        }
        if !going && notes.book().acks_us.iter().all(|acks| !acks.is_empty()) {
            going = true;
            say_going()?;
        }
        let due_ns = pace.due_ns(sent).unwrap_or(now_ns);
        if now_ns < due_ns {
            thread::sleep(Duration::from_nanos(due_ns - now_ns));
        }
        let partition = i32::try_from(sent % partitions)?;
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&settings.topic).partition(partition).payload(payloads.next_value());
        match producer.send(record) {
            Ok(()) => sent += 1,
            // It is tried again: the timetable of an open loop is kept up with later.
            Err((error, _)) if is_queue_full(&error) => thread::sleep(Duration::from_millis(1)),
            Err((error, _)) => return Err(error).context("the client refused a record"),
        }
    }
}

fn micros(duration: Duration) -> u64 {
    nanos(duration) / 1000
}

/// Takes delivery reports, on the client's polling thread.
struct Notes {
    start: Instant,
    book: Mutex<Book>,
}

#[derive(Debug, Default)]
struct Book {
    acks_us: Vec<Vec<u64>>,
    failed: BTreeMap<String, u64>,
}

impl Notes {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().expect("nothing panics with the book in hand")
    }
}

impl ClientContext for Notes {}

impl ProducerContext for Notes {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let now_us = micros(self.start.elapsed());
        let mut book = self.book();
        match result {
            Ok(message) => {
                let partition = usize::try_from(message.partition()).expect("it was sent to one");
                book.acks_us[partition].push(now_us);
            }
            Err((error, _)) => *book.failed.entry(error.to_string()).or_default() += 1,
        }
    }
}
