//! GET's cursor: one reader for a whole topic, wherever its clients connect.
//!
//! The cursor is the committed offset of group `walrus.get.<topic>`. It moves when an answer is
//! handed to the socket and is committed within 100 ms, so after a crash entries may come again
//! and none is skipped.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex as ShortLock;
use tokio::sync::Mutex;
use tracing::warn;
use walrus_types::{Offset, PartitionIndex, TopicId, batch, limits};
use walrus_wire::records::Records;

use crate::{
    broker::{Broker, TopicView},
    offsets::format::{Key, Value},
    partition::read::{self, FetchFailure},
};

/// How long a cursor that moved may stay uncommitted.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// What is read of a partition at once; at least a batch.
const READ_BYTES: usize = 256 << 10;

/// The cursors of the topics that GET was asked for.
#[derive(Debug, Default)]
pub struct Queues {
    topics: ShortLock<HashMap<TopicId, Arc<Mutex<Queue>>>>,
}

/// One topic's cursor.
#[derive(Debug, Default)]
struct Queue {
    name: String,
    /// The next offset of each partition; empty until it was loaded.
    next: BTreeMap<i32, Offset>,
    /// Entries that were read and not handed out yet, of one partition at a time.
    ready: VecDeque<(i32, Offset, Bytes)>,
    /// The partition to look at first.
    turn: i32,
    /// Partitions whose cursor moved since the last commit.
    moved: BTreeMap<i32, Offset>,
}

impl Queues {
    /// The topic's next entry; `None` when all were handed out.
    ///
    /// # Errors
    /// Words for the client.
    pub async fn next(
        &self,
        broker: &Arc<Broker>,
        topic: &TopicView,
    ) -> Result<Option<Bytes>, String> {
        let queue = Arc::clone(self.topics.lock().entry(topic.id()).or_default());
        let mut queue = queue.lock().await;
        queue.load(broker, topic).await?;
        if queue.ready.is_empty() {
            queue.fill(broker, topic).await.map_err(|why| why.to_string())?;
        }
        let Some((partition, offset, entry)) = queue.ready.pop_front() else { return Ok(None) };
        queue.next.insert(partition, offset.plus(1));
        queue.moved.insert(partition, offset.plus(1));
        Ok(Some(entry))
    }

    /// Commits cursors that moved, every 100 ms, until the broker stops; then once more.
    pub async fn run(broker: Arc<Broker>) {
        loop {
            let stopping = tokio::select! {
                () = tokio::time::sleep(COMMIT_EVERY) => false,
                () = broker.draining() => true,
            };
            broker.queues.commit(&broker).await;
            if stopping {
                return;
            }
        }
    }

    /// Commits every cursor that moved.
    pub async fn commit(&self, broker: &Arc<Broker>) {
        let queues: Vec<_> = self.topics.lock().values().cloned().collect();
        for queue in queues {
            let (name, moved) = {
                let mut queue = queue.lock().await;
                (queue.name.clone(), std::mem::take(&mut queue.moved))
            };
            if moved.is_empty() {
                continue;
            }
            let committed_at_ms = broker.clock.now().0;
            let offsets = moved.iter().map(|(partition, offset)| {
                let group = group_of(&name);
                let key = Key { group, topic: name.clone(), partition: *partition };
                let (leader_epoch, metadata) = (-1, String::new());
                (key, Value { offset: offset.0, leader_epoch, metadata, committed_at_ms })
            });
            let committed =
                broker.offsets.commit(broker, &group_of(&name), offsets.collect()).await;
            if let Err(why) = committed {
                warn!(topic = name, %why, "a GET cursor was not committed and is tried again");
                let mut queue = queue.lock().await;
                for (partition, offset) in moved {
                    // What moved on meanwhile is newer.
                    queue.moved.entry(partition).or_insert(offset);
                }
            }
        }
    }

    /// A topic is gone with its cursor.
    pub fn forget_topic(&self, topic: TopicId) {
        self.topics.lock().remove(&topic);
    }
}

impl Queue {
    async fn load(&mut self, broker: &Arc<Broker>, topic: &TopicView) -> Result<(), String> {
        let partitions = topic.topic.partitions();
        if self.next.len() == partitions.len() {
            return Ok(());
        }
        self.name = topic.topic.name.to_string();
        let group = group_of(&self.name);
        let committed = broker.offsets.of_group(broker, &group, &self.name).await;
        let committed = committed.map_err(|why| format!("the cursor cannot be read: {why}"))?;
        for (PartitionIndex(index), chain) in partitions {
            let start = chain.log_start();
            let next = committed.get(index).map_or(start, |value| Offset(value.offset));
            self.next.entry(*index).or_insert(next);
        }
        Ok(())
    }

    /// Reads entries of the first partition, from the turn on, that has some.
    async fn fill(&mut self, broker: &Arc<Broker>, topic: &TopicView) -> Result<(), FetchFailure> {
        let partitions = i32::try_from(self.next.len()).unwrap_or(i32::MAX);
        for step in 0..partitions {
            let index = (self.turn + step) % partitions;
            if self.fill_from(broker, topic, index).await? {
                self.turn = (index + 1) % partitions;
                return Ok(());
            }
        }
        Ok(())
    }

    async fn fill_from(
        &mut self,
        broker: &Arc<Broker>,
        topic: &TopicView,
        index: i32,
    ) -> Result<bool, FetchFailure> {
        let partition = broker.partition(topic, index).await?;
        let cursor = self.next.get(&index).copied().unwrap_or_default();
        let (from, chunk) = loop {
            let metadata = broker.metadata();
            let Some(chain) = metadata.partition(partition.id()) else { return Ok(false) };
            // Entries that retention took while the cursor stood before them are gone.
            let marks = partition.marks();
            let log_start = marks.log_start.max(chain.log_start());
            let from = cursor.max(log_start).min(marks.commit.max(log_start));
            let Some(place) = read::locate(&broker.store, chain, &partition, from)? else {
                return Ok(false);
            };
            let read = place.read_async(from, READ_BYTES).await;
            let moved = broker.metadata();
            let moved = moved.partition(partition.id()).map(|chain| chain.log_start());
            match read {
                // Retention took the segment in the middle of it.
                Err(_gone) if moved.is_some_and(|log_start| log_start > from) => {}
                read => break (from, read?),
            }
        };
        for bytes in &chunk.bytes {
            self.unpack(index, from, bytes)?;
        }
        Ok(!self.ready.is_empty())
    }

    fn unpack(&mut self, index: i32, from: Offset, bytes: &[u8]) -> Result<(), FetchFailure> {
        let damaged = |why: &dyn std::fmt::Display| FetchFailure::Damaged(why.to_string().into());
        for batch in batch::batches(bytes) {
            let (header, batch) = batch.map_err(|why| damaged(&why))?;
            if header.is_control() {
                continue;
            }
            let records = Records::decode(batch, limits::INFLATED_BYTES_MAX);
            let records = records.map_err(|why| damaged(&why))?;
            for record in &records {
                let record = record.map_err(|why| damaged(&why))?;
                if record.offset >= from {
                    let entry = Bytes::copy_from_slice(record.value.unwrap_or_default());
                    self.ready.push_back((index, record.offset, entry));
                }
            }
        }
        Ok(())
    }
}

/// The group whose committed offset is a topic's cursor.
fn group_of(topic: &str) -> String {
    format!("walrus.get.{topic}")
}
