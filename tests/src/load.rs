//! A load whose records are all accounted for, and waiting for what must come.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use walrus_load::{
    client, topic,
    verify::{Verdict, VerifyProducer, VerifySettings, read_back},
};

pub use walrus_load::{topic::Topics, verify::History};

use crate::cluster::Cluster;

/// Partitions of the topic that is written to.
pub const PARTITIONS: usize = 6;
/// Records each second.
const RATE: u32 = 2_000;
/// The limit is only there so that a broken cluster ends the test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until something is so; answers how long that took.
///
/// # Errors
/// When it does not come.
pub fn until(what: &str, mut is_there: impl FnMut() -> bool) -> Result<Duration> {
    let began = Instant::now();
    while !is_there() {
        ensure!(began.elapsed() < PATIENCE, "{what} did not come");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(began.elapsed())
}

/// A producer whose records are all accounted for.
#[derive(Debug)]
pub struct Load {
    producer: VerifyProducer,
    topics: Topics,
}

impl Load {
    /// Writes to a new topic, each partition of which has so many copies; -1 leaves their number
    /// to the cluster.
    ///
    /// # Errors
    /// When there is no such topic to be had.
    pub fn start(cluster: &Cluster, topic: &str, copies: i32) -> Result<Self> {
        Self::start_at(&cluster.client(), topic, copies)
    }

    /// As [`Load::start`], by the addresses of `client` alone.
    ///
    /// # Errors
    /// As [`Load::start`].
    pub fn start_at(client: &client::Cluster, topic: &str, copies: i32) -> Result<Self> {
        let topics = Topics::one(topic, PARTITIONS);
        topic::create(client, &topics, copies, &[])?;
        let settings = VerifySettings {
            topic: topic.into(),
            partitions: PARTITIONS,
            value_bytes: 300,
            rate: RATE.into(),
            linger_ms: 1.0,
            message_timeout_ms: 120_000,
        };
        let producer = VerifyProducer::start(client, settings, History::default())?;
        Ok(Self { producer, topics })
    }

    /// How many records were acknowledged.
    pub fn acked(&self) -> u64 {
        self.producer.acked()
    }

    /// Waits until so many more records were acknowledged.
    ///
    /// # Errors
    /// When they do not come.
    pub fn until_more(&self, records: u64) -> Result<Duration> {
        let enough = self.acked() + records;
        until(&format!("{records} more acks"), || self.acked() > enough)
    }

    /// Waits until no partition keeps its records waiting; answers how long that took. Looks a
    /// second later at the earliest: whatever stands still is seen by then.
    ///
    /// # Errors
    /// When one does.
    pub fn goes_on(&self, when: &str) -> Result<Duration> {
        let before = self.acked();
        thread::sleep(Duration::from_secs(1));
        let waiting_max = u64::from(RATE) / 20;
        let took = until(&format!("every partition's acks {when}"), || {
            self.acked() > before && self.producer.in_flight() < waiting_max
        })?;
        Ok(took + Duration::from_secs(1))
    }

    /// Stops; what was promised, and where it is.
    ///
    /// # Errors
    /// When the producer gave up.
    pub fn stop(self) -> Result<(History, Topics)> {
        Ok((self.producer.stop()?, self.topics))
    }

    /// Stops, reads everything back from `alive`, and holds it against what was acked.
    ///
    /// # Errors
    /// When something is lost, there twice, or out of order.
    pub fn verify(self, alive: &client::Cluster) -> Result<Verdict> {
        let (history, topics) = self.stop()?;
        read(alive, &topics, &history)
    }
}

/// Reads everything back from `alive`, and holds it against what was acked.
///
/// # Errors
/// When something is lost, there twice, or out of order.
pub fn read(alive: &client::Cluster, topics: &Topics, history: &History) -> Result<Verdict> {
    let verdict = read_back(alive, topics, history, PATIENCE)?;
    ensure!(verdict.is_clean(), "{verdict:#?}");
    ensure!(verdict.acked > 0 && verdict.records_read >= verdict.acked, "{verdict:#?}");
    Ok(verdict)
}

/// Waits until every partition of a topic is shown by every node that runs with so many replicas,
/// all in sync.
///
/// # Errors
/// When that does not come.
pub fn whole(cluster: &Cluster, topic: &str, copies: usize) -> Result<Duration> {
    let whole = |id: i32, index: i32| -> Result<bool> {
        let partition = cluster.partition_shown_by(id, topic, index)?;
        Ok(partition.isr_nodes.len() == copies && partition.offline_replicas.is_empty())
    };
    until("every replica in sync", || {
        let running = cluster.ids().into_iter().filter(|id| cluster.node(*id).is_running());
        running
            .into_iter()
            .all(|id| (0..).take(PARTITIONS).all(|index| whole(id, index).unwrap_or(false)))
    })
}
