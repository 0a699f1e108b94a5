//! What the node counts: atomics that cost the hot path an addition and no allocation, and a
//! text for Prometheus that is put together when it asks.
//!
//! Only what nobody else knows is counted here. What other parts know anyway (the WAL, Raft, the
//! metadata) is handed in as [`NodeFacts`] at the moment of the scrape, so no fact is kept twice.
//! Read next: `metrics/scrape.rs` for the names.

mod facts;
mod lags;
mod scrape;

use std::{
    array,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

pub use facts::{ClusterFacts, Facts, LagFacts, NodeFacts, PartitionFacts, PlaceLag, RaftFacts};
use walrus_admin::snapshot::Traffic;
use walrus_storage::wal::{LATENCY_BUCKETS, Latency};
use walrus_wire::{Api, kafka_protocol::error::ResponseError, text::Command};

use crate::admin::Health;

/// Kafka's error codes that are counted apart; one past them is counted as the last.
const ERROR_CODES: usize = 160;

/// The requests whose errors are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Produce,
    Fetch,
}

/// The counters of a node. Clones share them.
#[derive(Debug, Clone)]
pub struct Metrics(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    connections: AtomicU64,
    connections_accepted: AtomicU64,
    connections_refused: AtomicU64,
    requests: [AtomicU64; Api::ALL.len()],
    took: [Times; Api::ALL.len()],
    frames_refused: AtomicU64,
    produce_refused: [AtomicU64; ERROR_CODES],
    fetch_refused: [AtomicU64; ERROR_CODES],
    text_commands: [AtomicU64; TEXT_COMMANDS.len()],
    produced_records: AtomicU64,
    produced_bytes: AtomicU64,
    fetched_bytes: AtomicU64,
    rolled: AtomicU64,
    roll_parked: Times,
    cut: AtomicU64,
}

/// The names of [`Command`], at the places that [`text_place`] gives them.
const TEXT_COMMANDS: [&str; 5] = ["REGISTER", "PUT", "GET", "STATE", "METRICS"];

fn text_place(command: &Command<'_>) -> usize {
    match command {
        Command::Register { .. } => 0,
        Command::Put { .. } => 1,
        Command::Get { .. } => 2,
        Command::State { .. } => 3,
        Command::Metrics => 4,
    }
}

/// The place of an API in tables by API. A search among sixteen.
fn api_place(api: Api) -> usize {
    Api::ALL.iter().position(|one| *one == api).expect("ALL names every one")
}

/// How long something took, in the buckets of [`Latency`].
#[derive(Debug)]
struct Times {
    buckets: [AtomicU64; LATENCY_BUCKETS],
    sum_us: AtomicU64,
}

impl Default for Times {
    fn default() -> Self {
        Self { buckets: array::from_fn(|_| AtomicU64::new(0)), sum_us: AtomicU64::new(0) }
    }
}

impl Times {
    fn record(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = usize::try_from(u64::BITS - us.leading_zeros()).expect("at most 64");
        self.buckets[bucket.min(LATENCY_BUCKETS - 1)].fetch_add(1, Relaxed);
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// The count is the buckets' sum, so that the two agree whatever is recorded meanwhile.
    fn read(&self) -> Latency {
        let buckets = array::from_fn(|at| self.buckets[at].load(Relaxed));
        let count = buckets.iter().sum();
        Latency { buckets, count, sum_us: self.sum_us.load(Relaxed), max_us: 0 }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        fn zeros<const N: usize>() -> [AtomicU64; N] {
            array::from_fn(|_| AtomicU64::new(0))
        }
        Self(Arc::new(Counters {
            connections: AtomicU64::new(0),
            connections_accepted: AtomicU64::new(0),
            connections_refused: AtomicU64::new(0),
            requests: zeros(),
            took: array::from_fn(|_| Times::default()),
            frames_refused: AtomicU64::new(0),
            produce_refused: zeros(),
            fetch_refused: zeros(),
            text_commands: zeros(),
            produced_records: AtomicU64::new(0),
            produced_bytes: AtomicU64::new(0),
            fetched_bytes: AtomicU64::new(0),
            rolled: AtomicU64::new(0),
            roll_parked: Times::default(),
            cut: AtomicU64::new(0),
        }))
    }
}

impl Metrics {
    /// A client was let in; it is counted as open until the guard is dropped.
    pub fn connected(&self) -> Connected {
        self.0.connections_accepted.fetch_add(1, Relaxed);
        self.0.connections.fetch_add(1, Relaxed);
        Connected(self.clone())
    }

    /// A client was sent away by a limit.
    pub fn connection_refused(&self) {
        self.0.connections_refused.fetch_add(1, Relaxed);
    }

    /// A request was understood.
    pub fn request(&self, api: Api) {
        self.0.requests[api_place(api)].fetch_add(1, Relaxed);
    }

    /// From a request's last byte to its answer. Fetches that wait for records count their wait.
    pub fn request_took(&self, api: Api, took: Duration) {
        self.0.took[api_place(api)].record(took);
    }

    /// A frame was no request that is served.
    pub fn refused_frame(&self) {
        self.0.frames_refused.fetch_add(1, Relaxed);
    }

    /// Records were taken in for appending. `records` comes from a client; below zero is none.
    pub fn produced(&self, records: i32, bytes: usize) {
        self.0.produced_records.fetch_add(u64::try_from(records).unwrap_or(0), Relaxed);
        self.0.produced_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// One partition of a Produce got an error.
    pub fn produce_refused(&self, code: ResponseError) {
        self.refused(Refused::Produce, code);
    }

    /// Bytes of records were handed to a client.
    pub fn fetched(&self, bytes: usize) {
        self.0.fetched_bytes.fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    /// One partition of a Fetch got an error.
    pub fn fetch_refused(&self, code: ResponseError) {
        self.refused(Refused::Fetch, code);
    }

    /// A segment was sealed and its successor opened.
    pub fn rolled(&self) {
        self.0.rolled.fetch_add(1, Relaxed);
    }

    /// Appends waited so long for a roll: from its beginning to the first append in the successor.
    pub fn roll_parked(&self, parked: Duration) {
        self.0.roll_parked.record(parked);
    }

    /// A copy of a segment had a tail that is in no log, which is cut.
    pub fn cut(&self) {
        self.0.cut.fetch_add(1, Relaxed);
    }

    /// The text protocol was asked something.
    pub fn text_command(&self, command: &Command<'_>) {
        self.0.text_commands[text_place(command)].fetch_add(1, Relaxed);
    }

    /// What went in and out since the node started.
    pub fn traffic(&self) -> Traffic {
        let Counters { produced_records, produced_bytes, fetched_bytes, connections, .. } =
            &*self.0;
        Traffic {
            records_in: produced_records.load(Relaxed),
            bytes_in: produced_bytes.load(Relaxed),
            bytes_out: fetched_bytes.load(Relaxed),
            requests: self.0.requests.iter().map(|count| count.load(Relaxed)).sum(),
            connections: connections.load(Relaxed),
        }
    }

    /// Everything, as Prometheus reads it (OpenMetrics).
    pub fn render(&self, facts: NodeFacts, health: &Health) -> String {
        scrape::render(self, facts, health)
    }

    fn refused(&self, request: Refused, code: ResponseError) {
        let table = match request {
            Refused::Produce => &self.0.produce_refused,
            Refused::Fetch => &self.0.fetch_refused,
        };
        // -1, the unknown error, stands at 0; every code one further up.
        let place = usize::try_from(i32::from(code.code()) + 1).unwrap_or(0);
        table[place.min(ERROR_CODES - 1)].fetch_add(1, Relaxed);
    }
}

/// A client that is connected; counted off when dropped.
#[derive(Debug)]
pub struct Connected(Metrics);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.0.connections.fetch_sub(1, Relaxed);
    }
}
