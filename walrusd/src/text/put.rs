//! PUT: an entry becomes a batch of one record at the partition's leader, whoever that is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use tokio::time::{Instant, timeout};
use walrus_replication::Acks;
use walrus_types::{PartitionIndex, TopicPartition, batch::BatchHeader};
use walrus_wire::records::{NewRecord, build_batch};

use super::elsewhere::{self, Errand, ErrandError};
use crate::{
    broker::{Broker, TopicView},
    partition::{AppendFailure, Outcome, Prepared, Receipt, registry::Unavailable},
};

/// How long a PUT may wait for its commit.
pub(super) const PUT_MAX: Duration = Duration::from_secs(30);
/// Before a leader is looked for again, unless the metadata changes sooner.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// An entry on its way into a topic.
#[derive(Debug, Clone)]
pub(super) struct Put {
    pub(super) topic: TopicView,
    pub(super) partition: i32,
    pub(super) payload: Bytes,
    pub(super) deadline: Instant,
}

impl Put {
    /// Entries go to the partitions in turn, over all connections.
    pub(super) fn new(topic: TopicView, payload: Bytes) -> Self {
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let partitions = topic.topic.partitions().len().max(1);
        let index = TURN.fetch_add(1, Ordering::Relaxed) % partitions;
        let partition = i32::try_from(index).expect("a topic has few partitions");
        Self { topic, partition, payload, deadline: Instant::now() + PUT_MAX }
    }

    /// Has it appended by whoever leads, and waits for the commit. Asks again only as long as it is
    /// certain that nothing was stored.
    ///
    /// # Errors
    /// Words for the client; the entry may be stored all the same.
    pub(super) async fn anywhere(&self, broker: &Arc<Broker>) -> Result<(), String> {
        let (topic, partition) = (self.topic.id(), PartitionIndex(self.partition));
        loop {
            let metadata = broker.metadata();
            let chain = metadata.partition(TopicPartition { topic, partition });
            let Some(chain) = chain else { return Err("the topic was deleted".into()) };
            let leader = chain.open().leader.node;
            let tried = if leader == broker.identity.node {
                here(broker, &self.topic, self.partition, &self.payload, self.deadline).await
            } else {
                let errand = Errand::Put { topic, partition: self.partition };
                let left = self.deadline.saturating_duration_since(Instant::now());
                let asked = elsewhere::ask(broker, leader, &errand, &self.payload, left).await;
                asked.map(|(_done, _nothing)| ())
            };
            match tried {
                Ok(()) => return Ok(()),
                Err(ErrandError::NotHere(_)) if Instant::now() + LOOK_AGAIN < self.deadline => {
                    wait_for_change(broker).await;
                }
                Err(ErrandError::NotHere(why) | ErrandError::Failed(why)) => return Err(why),
            }
        }
    }
}

/// Waits until the metadata changes, or a moment.
pub(super) async fn wait_for_change(broker: &Broker) {
    let mut metadata = broker.raft.watch();
    metadata.mark_unchanged();
    // Whichever comes first.
    drop(timeout(LOOK_AGAIN, metadata.changed()).await);
}

/// Appends at this node, which leads, and waits for the commit.
///
/// # Errors
/// [`ErrandError`].
pub(super) async fn here(
    broker: &Arc<Broker>,
    topic: &TopicView,
    partition: i32,
    payload: &[u8],
    deadline: Instant,
) -> Result<(), ErrandError> {
    let receipt = begin_here(broker, topic, partition, payload).await?;
    judge(receipt.wait(deadline).await)
}

/// Begins to append at this node.
///
/// # Errors
/// [`ErrandError`]: nothing was stored.
pub(super) async fn begin_here(
    broker: &Arc<Broker>,
    topic: &TopicView,
    partition: i32,
    payload: &[u8],
) -> Result<Receipt, ErrandError> {
    let led = broker.partition(topic, partition).await.map_err(|why| match why {
        Unavailable::NotLeader | Unavailable::NoLease | Unavailable::Sealing => {
            ErrandError::NotHere(why.to_string())
        }
        Unavailable::Unknown | Unavailable::UnknownId | Unavailable::Loading(_) => {
            ErrandError::Failed(why.to_string())
        }
    })?;
    let timestamp = broker.clock.now();
    let record = NewRecord { timestamp, key: None, value: Some(payload), headers: &[] };
    let bytes = build_batch(&[record]);
    let limit = topic.config.batch_bytes_max;
    if i64::try_from(bytes.len()).unwrap_or(i64::MAX) > limit {
        let size = payload.len();
        let why = format!("entry of {size} bytes is over the topic's limit of {limit}");
        return Err(ErrandError::Failed(why));
    }
    let header = BatchHeader::parse(&bytes).map_err(|why| ErrandError::Failed(why.to_string()))?;
    broker.metrics.produced(1, bytes.len());
    let batch = Prepared { header, bytes: BytesMut::from(&bytes[..]), stamped: false };
    Ok(led.append(batch, Acks::All, broker.clock.uptime()))
}

/// Whether it was certainly not stored, and may be tried elsewhere.
pub(super) fn judge(outcome: Outcome) -> Result<(), ErrandError> {
    match outcome {
        Ok(_appended) => Ok(()),
        Err(why @ (AppendFailure::NotLeader | AppendFailure::NoLease)) => {
            Err(ErrandError::NotHere(why.to_string()))
        }
        Err(why) => Err(ErrandError::Failed(why.to_string())),
    }
}
