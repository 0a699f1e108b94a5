//! GET's cursor: one reader for a whole topic, wherever its clients connect.
//!
//! The cursor is the committed offset of group `walrus.get.<topic>`, and that group's coordinator
//! hands out. The cursor moves when an answer is handed to the socket and is committed within
//! 100 ms, so after a crash entries may come again and none is skipped. An entry that goes out at
//! another node is lent: that node says when it is handed out, and while it does not the cursor
//! stays behind it.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex as ShortLock;
use tokio::{sync::Mutex, time::Instant};
use tracing::{debug, warn};
use walrus_groups::CURSOR_PREFIX;
use walrus_types::{Offset, PartitionIndex, TopicId, TopicPartition, batch, limits};
use walrus_wire::records::Records;

use super::{
    cursor::{self, CursorError},
    elsewhere::{self, ErrandError},
};
use crate::{
    broker::{Broker, TopicView},
    partition::Partition,
};

/// How long a cursor that moved may stay uncommitted.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// What is read of a partition at once; at least a batch.
const READ_BYTES: u32 = 256 << 10;
/// An entry that another node has and says nothing of is handed out again after this.
pub(super) const LENT_MAX: Duration = Duration::from_secs(5);
/// Entries of a topic that other nodes may have at once.
const LENT_COUNT_MAX: usize = 1024;
/// How long a cursor that goes to another node waits for entries that are lent.
const SETTLING_MAX: Duration = Duration::from_secs(1);

/// The cursors of the topics that GET was asked for.
#[derive(Debug, Default)]
pub struct Queues {
    topics: ShortLock<HashMap<TopicId, Arc<Mutex<Queue>>>>,
    /// While it is not 0, cursors are about to go to other nodes and nothing is handed out.
    held: AtomicUsize,
    /// The last commit of this life is made.
    stopped: AtomicBool,
}

/// Nothing is handed out by this node while it is there.
#[derive(Debug)]
pub struct Hold<'a>(&'a AtomicUsize);

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One topic's cursor.
#[derive(Debug, Default)]
struct Queue {
    name: String,
    /// The partition that keeps the cursor, as this node leads it.
    coordinator: Weak<Partition>,
    /// The next offset of each partition; empty until it was loaded.
    next: BTreeMap<i32, Offset>,
    /// Entries that were read and not handed out yet, of one partition at a time.
    ready: VecDeque<Entry>,
    /// Entries that other nodes hand out, by partition and offset.
    lent: BTreeMap<(i32, Offset), Lent>,
    /// The partition to look at first.
    turn: i32,
    /// Partitions whose cursor moved since the last commit.
    moved: BTreeMap<i32, Offset>,
}

/// An entry and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) partition: i32,
    pub(super) offset: Offset,
    pub(super) entry: Bytes,
}

#[derive(Debug)]
struct Lent {
    entry: Bytes,
    until: Instant,
}

/// Why there is no next entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum QueueError {
    /// Another node has the cursor, or this one not yet.
    #[error("{0}")]
    NotHere(String),
    /// Something failed.
    #[error("{0}")]
    Failed(String),
}

impl From<CursorError> for QueueError {
    fn from(why: CursorError) -> Self {
        match why {
            CursorError::NotHere(why) => Self::NotHere(why),
            CursorError::Failed(why) => Self::Failed(why),
        }
    }
}

impl From<ErrandError> for QueueError {
    fn from(why: ErrandError) -> Self {
        match why {
            ErrandError::NotHere(why) => Self::NotHere(why),
            ErrandError::Failed(why) => Self::Failed(why),
        }
    }
}

impl Queues {
    /// The topic's next entry, for a client of this node; `None` when all were handed out.
    pub(super) async fn next(
        &self,
        broker: &Arc<Broker>,
        topic: &TopicView,
    ) -> Result<Option<Bytes>, QueueError> {
        let mut queue = self.queue(topic.id()).lock_owned().await;
        self.ready(&mut queue, broker, topic).await?;
        let next = queue.take(broker, topic, Instant::now()).await?;
        Ok(next.map(|next| next.entry))
    }

    /// The topic's next entry, for a client of another node, which settles it.
    pub(super) async fn lend(
        &self,
        broker: &Arc<Broker>,
        topic: &TopicView,
    ) -> Result<Option<Entry>, QueueError> {
        let mut queue = self.queue(topic.id()).lock_owned().await;
        self.ready(&mut queue, broker, topic).await?;
        if queue.lent.len() >= LENT_COUNT_MAX {
            let why = format!("other nodes have {LENT_COUNT_MAX} entries and said nothing of them");
            return Err(QueueError::NotHere(why));
        }
        let now = Instant::now();
        let Some(next) = queue.take(broker, topic, now).await? else { return Ok(None) };
        queue.lend(&next, now);
        Ok(Some(next))
    }

    /// Another node handed out what it was lent.
    pub(super) async fn settle(&self, topic: TopicId, (partition, offset): (i32, Offset)) {
        let queue = self.topics.lock().get(&topic).cloned();
        let Some(queue) = queue else { return };
        queue.lock().await.settle((partition, offset));
    }

    fn queue(&self, topic: TopicId) -> Arc<Mutex<Queue>> {
        Arc::clone(self.topics.lock().entry(topic).or_default())
    }

    /// Sees to it that `queue` is the cursor, and this node the one that has it.
    async fn ready(
        &self,
        queue: &mut Queue,
        broker: &Arc<Broker>,
        topic: &TopicView,
    ) -> Result<(), QueueError> {
        if self.held.load(Ordering::Acquire) > 0 {
            return Err(QueueError::NotHere("the cursor is on its way to another node".into()));
        }
        let group = group_of(&topic.topic.name);
        let coordinator = cursor::partition(broker, &group).await?;
        if coordinator.is_rolling() {
            return Err(QueueError::NotHere("the cursor may be on its way to another node".into()));
        }
        queue.load(broker, topic, &coordinator).await
    }

    /// Hands out nothing until what it answers is dropped, and commits what was handed out: the
    /// node that has the cursors next goes on exactly there.
    pub async fn hold(&self, broker: &Arc<Broker>) -> Hold<'_> {
        self.held.fetch_add(1, Ordering::AcqRel);
        let hold = Hold(&self.held);
        let until = Instant::now() + SETTLING_MAX;
        while self.any_lent().await && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        self.commit(broker).await;
        hold
    }

    async fn any_lent(&self) -> bool {
        let queues: Vec<_> = self.topics.lock().values().cloned().collect();
        for queue in queues {
            if !queue.lock().await.lent.is_empty() {
                return true;
            }
        }
        false
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
                broker.queues.stopped.store(true, Ordering::Release);
                return;
            }
        }
    }

    /// Whether the last commit of this life is made.
    pub fn has_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
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
            let committed = cursor::keep(broker, &group_of(&name), &name, &moved).await;
            let mut queue = queue.lock().await;
            match committed {
                Ok(()) => {}
                // Whoever has the cursor now goes on where it was committed last.
                Err(CursorError::NotHere(why)) => {
                    debug!(topic = name, why, "a GET cursor is another node's now");
                    queue.coordinator = Weak::new();
                }
                Err(CursorError::Failed(why)) => {
                    warn!(topic = name, why, "a GET cursor was not committed and is tried again");
                    for (partition, offset) in moved {
                        // What moved on meanwhile is newer.
                        queue.moved.entry(partition).or_insert(offset);
                    }
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
    /// `entry` goes out at another node.
    fn lend(&mut self, next: &Entry, now: Instant) {
        let Entry { partition, offset, entry } = next;
        let lent = Lent { entry: entry.clone(), until: now + LENT_MAX };
        self.lent.insert((*partition, *offset), lent);
        self.pass(*partition);
    }

    fn settle(&mut self, at: (i32, Offset)) {
        if self.lent.remove(&at).is_some() {
            self.pass(at.0);
        }
    }

    /// Makes it the queue of `coordinator`, the partition that keeps its cursor: begins anew where
    /// another node may have handed out meanwhile.
    async fn load(
        &mut self,
        broker: &Arc<Broker>,
        topic: &TopicView,
        coordinator: &Arc<Partition>,
    ) -> Result<(), QueueError> {
        if !self.is_of(coordinator) {
            *self = Self::default();
        }
        let partitions = topic.topic.partitions();
        if self.next.len() == partitions.len() {
            return Ok(());
        }
        self.name = topic.topic.name.to_string();
        let committed = cursor::read(broker, &group_of(&self.name), &self.name).await?;
        for (PartitionIndex(index), chain) in partitions {
            let start = chain.log_start();
            let next = committed.get(index).copied().unwrap_or(start);
            self.next.entry(*index).or_insert(next);
        }
        self.coordinator = Arc::downgrade(coordinator);
        Ok(())
    }

    fn is_of(&self, coordinator: &Arc<Partition>) -> bool {
        self.coordinator.upgrade().is_some_and(|known| Arc::ptr_eq(&known, coordinator))
    }

    /// The next entry, which the cursor passes now. What was lent and never settled comes first.
    async fn take(
        &mut self,
        broker: &Arc<Broker>,
        topic: &TopicView,
        now: Instant,
    ) -> Result<Option<Entry>, QueueError> {
        let late = self.lent.iter().find(|(_, lent)| lent.until <= now);
        if let Some(at) = late.map(|(at, _)| *at) {
            let lent = self.lent.remove(&at).expect("it was just found");
            self.pass(at.0);
            return Ok(Some(Entry { partition: at.0, offset: at.1, entry: lent.entry }));
        }
        if self.ready.is_empty() {
            self.fill(broker, topic).await?;
        }
        let Some(next) = self.ready.pop_front() else { return Ok(None) };
        self.next.insert(next.partition, next.offset.plus(1));
        self.pass(next.partition);
        Ok(Some(next))
    }

    /// The cursor of `partition` moved: up to what is lent.
    fn pass(&mut self, partition: i32) {
        let first = self.lent.range((partition, Offset(i64::MIN))..).next();
        let first = first.filter(|((of, _), _)| *of == partition).map(|((_, offset), _)| *offset);
        let to = first.or_else(|| self.next.get(&partition).copied());
        if let Some(to) = to {
            self.moved.insert(partition, to);
        }
    }

    /// Reads entries of the first partition, from the turn on, that has some.
    async fn fill(&mut self, broker: &Arc<Broker>, topic: &TopicView) -> Result<(), QueueError> {
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
    ) -> Result<bool, QueueError> {
        let id = TopicPartition { topic: topic.id(), partition: PartitionIndex(index) };
        let cursor = self.next.get(&index).copied().unwrap_or_default();
        let read = elsewhere::read_anywhere(broker, id, cursor, READ_BYTES).await?;
        // Entries that retention took while the cursor stood before them are gone.
        let Some((from, pieces)) = read else { return Ok(false) };
        for bytes in &pieces {
            self.unpack(index, from, bytes)?;
        }
        Ok(!self.ready.is_empty())
    }

    fn unpack(&mut self, partition: i32, from: Offset, bytes: &[u8]) -> Result<(), QueueError> {
        let damaged = |why: &dyn std::fmt::Display| QueueError::Failed(why.to_string());
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
                    self.ready.push_back(Entry { partition, offset: record.offset, entry });
                }
            }
        }
        Ok(())
    }
}

/// The group whose committed offset is a topic's cursor.
pub(super) fn group_of(topic: &str) -> String {
    format!("{CURSOR_PREFIX}{topic}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(partition: i32, offset: i64) -> Entry {
        Entry { partition, offset: Offset(offset), entry: Bytes::from_static(b"x") }
    }

    /// A queue that has handed out up to `next` of partition 0.
    fn at(next: i64) -> Queue {
        Queue { next: BTreeMap::from([(0, Offset(next))]), ..Queue::default() }
    }

    #[test]
    fn the_cursor_stays_behind_what_is_lent_until_it_is_settled() {
        let (mut queue, now) = (at(5), Instant::now());
        for offset in [2, 3, 4] {
            queue.lend(&entry(0, offset), now);
        }
        queue.lend(&entry(1, 0), now);
        for (settled, cursor) in [(3, 2), (2, 4), (4, 5), (4, 5)] {
            queue.settle((0, Offset(settled)));
            assert_eq!(queue.moved[&0], Offset(cursor), "after {settled}");
        }
    }
}
