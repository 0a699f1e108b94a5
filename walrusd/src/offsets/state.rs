//! The committed offsets of the groups that this node coordinates, as far as somebody asked.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::BytesMut;
use parking_lot::Mutex as ShortLock;
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, info, warn};
use walrus_metadata::{Command, Prune};
use walrus_replication::{Acks, RollReason};
use walrus_types::{NodeId, Offset, PartitionIndex, batch::BatchHeader, limits};
use walrus_wire::records::{NewRecord, Records, build_batch};

use super::format::{self, Key, Value};
use crate::{
    api::topics,
    broker::{Broker, TopicView},
    partition::{Partition, Prepared, registry::Unavailable, relay},
};

/// How long a commit may take before its outcome counts as unknown.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// Records beyond the live state after which a partition is written anew.
const SPENT_RECORDS_MAX: u64 = 100_000;
/// Records of the state that go into one batch.
const STATE_RECORDS_PER_BATCH: usize = 1_000;
/// What is read at once while loading.
const LOAD_BYTES: usize = 1 << 20;

/// Why offsets could not be read or committed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OffsetsError {
    /// Another node coordinates the group, or this one not yet. Nothing was committed.
    #[error("{}: {_0}", format::TOPIC)]
    NotHere(Unavailable),
    /// The topic of offsets is not there and could not be made, or not yet.
    #[error("{}: {_0}", format::TOPIC)]
    NoTopic(String),
    /// It failed. A commit may or may not have happened.
    #[error("{0}")]
    Failed(String),
}

impl OffsetsError {
    fn failed(why: &impl std::fmt::Display) -> Self {
        Self::Failed(why.to_string())
    }
}

/// All partitions of the topic that were asked for.
#[derive(Debug, Default)]
pub struct CommittedOffsets {
    partitions: ShortLock<HashMap<i32, Arc<Mutex<Shard>>>>,
}

/// One partition's state.
#[derive(Debug, Default)]
struct Shard {
    /// As whose state it was read: one that this node leads anew is read anew, for another node
    /// may have written meanwhile.
    loaded_from: Weak<Partition>,
    offsets: BTreeMap<Key, Value>,
}

impl CommittedOffsets {
    /// Where `group` is in `topic`, by partition.
    ///
    /// # Errors
    /// When its partition cannot be read.
    pub async fn of_group(
        &self,
        broker: &Arc<Broker>,
        group: &str,
        topic: &str,
    ) -> Result<BTreeMap<i32, Value>, OffsetsError> {
        let (shard, partition) = self.shard(broker, group).await?;
        let mut shard = shard.lock().await;
        shard.load(broker, &partition).await?;
        let mine = |key: &&Key| key.group == group && key.topic == topic;
        let keys = shard.offsets.iter().filter(|(key, _)| mine(key));
        Ok(keys.map(|(key, value)| (key.partition, value.clone())).collect())
    }

    /// Commits offsets of one group; they are durable when this returns.
    ///
    /// # Errors
    /// When the append failed or was not confirmed.
    pub async fn commit(
        &self,
        broker: &Arc<Broker>,
        group: &str,
        offsets: Vec<(Key, Value)>,
    ) -> Result<(), OffsetsError> {
        let (shard, partition) = self.shard(broker, group).await?;
        let mut shard = shard.lock().await;
        shard.load(broker, &partition).await?;
        append(broker, &partition, &offsets).await?;
        shard.offsets.extend(offsets);
        shard.write_anew_if_spent(broker, &partition).await;
        Ok(())
    }

    /// The node that coordinates `group`: the one that leads its partition.
    ///
    /// # Errors
    /// When the topic of offsets cannot be made.
    pub async fn coordinator(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<NodeId, OffsetsError> {
        let (topic, index) = Self::place(broker, group).await?;
        let chain = topic.topic.partition(PartitionIndex(index));
        let chain = chain.ok_or(OffsetsError::NotHere(Unavailable::Unknown))?;
        Ok(chain.open().leader.node)
    }

    /// The partition of `group`, which this node leads, and has a lease for.
    ///
    /// # Errors
    /// [`OffsetsError::NotHere`].
    pub async fn partition(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<Arc<Partition>, OffsetsError> {
        let (topic, index) = Self::place(broker, group).await?;
        broker.leased(&topic, index).await.map_err(OffsetsError::NotHere)
    }

    async fn place(broker: &Arc<Broker>, group: &str) -> Result<(TopicView, i32), OffsetsError> {
        let topic = match broker.topic_by_name(format::TOPIC) {
            Some(topic) => topic,
            None => {
                let made = topics::make_one(broker, format::TOPIC, format::PARTITIONS, &[]).await;
                made.map_err(|why| OffsetsError::NoTopic(why.message))?
            }
        };
        let partitions = i32::try_from(topic.topic.partitions().len()).unwrap_or(i32::MAX);
        let index = format::partition_of(group, partitions);
        Ok((topic, index))
    }

    async fn shard(
        &self,
        broker: &Arc<Broker>,
        group: &str,
    ) -> Result<(Arc<Mutex<Shard>>, Arc<Partition>), OffsetsError> {
        let partition = self.partition(broker, group).await?;
        let PartitionIndex(index) = partition.id().partition;
        let shard = Arc::clone(self.partitions.lock().entry(index).or_default());
        Ok((shard, partition))
    }
}

impl Shard {
    /// Reads the partition from its log start, once.
    async fn load(
        &mut self,
        broker: &Arc<Broker>,
        partition: &Arc<Partition>,
    ) -> Result<(), OffsetsError> {
        if self.loaded_from.upgrade().is_some_and(|known| Arc::ptr_eq(&known, partition)) {
            return Ok(());
        }
        self.offsets.clear();
        let began = Instant::now();
        let marks = partition.marks();
        let mut from = marks.log_start;
        let mut records = 0_usize;
        while from < marks.commit {
            let read = relay::read_committed(broker, partition, from, LOAD_BYTES).await;
            let Some((at, chunk)) = read.map_err(|why| OffsetsError::failed(&why))? else { break };
            for bytes in &chunk.bytes {
                records += self.read(bytes)?;
            }
            if chunk.next <= at {
                return Err(OffsetsError::Failed(format!("reading offsets stopped at {at}")));
            }
            from = chunk.next;
        }
        self.loaded_from = Arc::downgrade(partition);
        let (live, took) = (self.offsets.len(), began.elapsed());
        debug!(partition = %partition.id(), records, live, ?took, "committed offsets loaded");
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) -> Result<usize, OffsetsError> {
        let mut count = 0;
        for batch in walrus_types::batch::batches(bytes) {
            let (_, batch) = batch.map_err(|why| OffsetsError::failed(&why))?;
            let records = Records::decode(batch, limits::INFLATED_BYTES_MAX)
                .map_err(|why| OffsetsError::failed(&why))?;
            for record in &records {
                let record = record.map_err(|why| OffsetsError::failed(&why))?;
                count += 1;
                let Some(key) = record.key.and_then(Key::decode) else { continue };
                match record.value.and_then(Value::decode) {
                    Some(value) => drop(self.offsets.insert(key, value)),
                    None => drop(self.offsets.remove(&key)),
                }
            }
        }
        Ok(count)
    }

    /// Writes the whole state to a new segment and prunes what came before, when most of the log
    /// is spent. A failure costs nothing but room: the next commit tries again.
    async fn write_anew_if_spent(&self, broker: &Arc<Broker>, partition: &Arc<Partition>) {
        let marks = partition.marks();
        let live = u64::try_from(self.offsets.len()).unwrap_or(u64::MAX);
        if marks.log_end.since(marks.log_start) < live.saturating_add(SPENT_RECORDS_MAX) {
            return;
        }
        match self.write_anew(broker, partition).await {
            Ok(log_start) => {
                info!(partition = %partition.id(), %log_start, live, "committed offsets were written anew");
            }
            Err(why) => {
                warn!(partition = %partition.id(), %why, "committed offsets were not written anew");
            }
        }
    }

    async fn write_anew(
        &self,
        broker: &Arc<Broker>,
        partition: &Arc<Partition>,
    ) -> Result<Offset, OffsetsError> {
        partition.begin_roll(RollReason::Operator, broker.clock.uptime());
        let from = partition.marks().log_end;
        let state: Vec<_> =
            self.offsets.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        for some in state.chunks(STATE_RECORDS_PER_BATCH) {
            // Parked until the roll is through: the first append lands in the new segment.
            append(broker, partition, some).await?;
        }
        let expected = partition.marks().epoch;
        let prune = Prune { partition: partition.id(), expected, log_start: from };
        let proposed = broker.raft.propose(&Command::Prune(vec![prune])).await;
        proposed.map_err(|why| OffsetsError::failed(&why))?;
        Ok(from)
    }
}

/// Appends one batch and waits until it is committed.
async fn append(
    broker: &Broker,
    partition: &Arc<Partition>,
    offsets: &[(Key, Value)],
) -> Result<(), OffsetsError> {
    let timestamp = broker.clock.now();
    let encoded: Vec<(Vec<u8>, Vec<u8>)> =
        offsets.iter().map(|(key, value)| (key.encode(), value.encode())).collect();
    let records: Vec<NewRecord<'_>> = encoded
        .iter()
        .map(|(key, value)| NewRecord {
            timestamp,
            key: Some(key),
            value: Some(value),
            headers: &[],
        })
        .collect();
    if records.is_empty() {
        return Ok(());
    }
    let bytes = build_batch(&records);
    let header = BatchHeader::parse(&bytes).map_err(|why| OffsetsError::failed(&why))?;
    let batch = Prepared { header, bytes: BytesMut::from(&bytes[..]), stamped: false };
    let receipt = partition.append(batch, Acks::All, broker.clock.uptime());
    let outcome = receipt.wait(Instant::now() + COMMIT_MAX).await;
    outcome.map(drop).map_err(|why| OffsetsError::failed(&why))
}
