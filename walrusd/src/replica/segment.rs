//! One segment that this node keeps and does not lead.
//!
//! A lock holds the decider and whoever is to be answered, so the order of batches is the order in
//! which the lock was taken, in the decider and in the store alike. What a flush brings comes on
//! the WAL's thread and only changes numbers, queues an answer, or starts a task.

use std::sync::{Arc, Weak};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, oneshot};
use tracing::{error, warn};
use walrus_replication::{
    Append, FenceAnswer, Fences, Flushed, NoAnswer, OnDisk, Position, ProducerTable, Refusal,
    ReplicaSegment, Sealing, Taken, Writer,
};
use walrus_storage::{
    segment::{AppendError, Segment},
    wal::Done,
};
use walrus_types::{Offset, SegmentId, StorageId, TopicPartition, batch::BatchHeader};

use super::Replicas;
use crate::peer::{
    append::{AnswerMessage, AppendAnswer},
    server::Back,
};

/// A segment, open as a member keeps it.
#[derive(Debug)]
pub(super) struct Replica {
    id: SegmentId,
    segment: Arc<Segment>,
    home: Weak<Replicas>,
    core: Mutex<Core>,
    /// The segment before this one is whole now: its table can be had.
    taught: Notify,
}

/// What the lock holds.
#[derive(Debug)]
struct Core {
    decider: ReplicaSegment,
    /// The connection that the leader was last heard on. A batch may be flushed after the
    /// connection that brought it was lost: the answer goes to the one that there is now.
    back: Option<Back>,
    /// Somebody wrote to it in this life of the process.
    is_in_use: bool,
    todo: Todo,
    /// A task carries `todo` out.
    is_ending: bool,
    /// A task looks for the producers' table.
    is_learning: bool,
    /// It was let go: nothing of it is done here any more.
    is_closed: bool,
}

/// What the seal left to be done, in this order.
#[derive(Debug, Default)]
struct Todo {
    cut: Option<Offset>,
    pull: bool,
    finish: Option<Offset>,
}

/// The next thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Cut what lies past this.
    Cut(Offset),
    /// Pull what is missing.
    Pull,
    /// Write the producers' table beside it and seal the file.
    Finish(Offset),
}

/// Why a batch or a question was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotTaken {
    /// The decider or the store refused.
    Refused(Refusal),
    /// The segment was let go meanwhile.
    Closed,
}

impl From<Refusal> for NotTaken {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// How far a replica is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Marks {
    /// Where its log ends.
    pub(super) end: Offset,
    /// Everything below is on this disk.
    pub(super) durable: Offset,
    /// Everything below is committed, and on this disk.
    pub(super) readable: Offset,
    /// Where the segment ends, once that is known.
    pub(super) sealed: Option<Offset>,
}

impl Replica {
    pub(super) fn new(
        id: SegmentId,
        segment: Arc<Segment>,
        decider: ReplicaSegment,
        home: Weak<Replicas>,
    ) -> Arc<Self> {
        let core = Core {
            decider,
            back: None,
            is_in_use: false,
            todo: Todo::default(),
            is_ending: false,
            is_learning: false,
            is_closed: false,
        };
        Arc::new(Self { id, segment, home, core: Mutex::new(core), taught: Notify::new() })
    }

    pub(super) fn id(&self) -> SegmentId {
        self.id
    }

    pub(super) fn partition(&self) -> TopicPartition {
        self.id.partition
    }

    pub(super) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    pub(super) fn marks(&self) -> Marks {
        let core = self.core.lock();
        Marks {
            end: core.decider.end(),
            durable: core.decider.durable_end(),
            readable: core.decider.readable_end(),
            sealed: core.decider.sealed_end(),
        }
    }

    /// Who writes it.
    pub(super) fn writer(&self) -> Writer {
        self.core.lock().decider.writer()
    }

    /// Whether somebody wrote to it in this life of the process.
    pub(super) fn is_in_use(&self) -> bool {
        self.core.lock().is_in_use
    }

    pub(super) fn is_closed(&self) -> bool {
        self.core.lock().is_closed
    }

    /// The leader sends a batch, or asks. `None`: the flush brings the answer.
    pub(super) fn append(
        self: &Arc<Self>,
        append: &Append,
        batch: Option<(BatchHeader, Bytes)>,
        fences: &RwLock<Fences>,
        back: &Back,
    ) -> Result<Option<Position>, NotTaken> {
        let mut core = self.core.lock();
        if core.is_closed {
            return Err(NotTaken::Closed);
        }
        // Held until the store has the batch: see `Replicas::fences`.
        let fences = fences.read();
        let Some((header, bytes)) = batch else {
            let position = core.decider.ask(append, &fences, 0)?;
            core.hear(back);
            return Ok(Some(position));
        };
        let taken = core.decider.append(append, &header, &fences, 0)?;
        core.hear(back);
        match taken {
            Taken::Known(position) => Ok(Some(position)),
            Taken::Store { end } => {
                let replica = Arc::clone(self);
                let done: Done = Box::new(move |outcome| match outcome {
                    Ok(_lsn) => replica.flushed(end),
                    Err(why) => replica.failed(&why),
                });
                self.store(&mut core, bytes, end, done)?;
                Ok(None)
            }
        }
    }

    /// A batch that another member holds. `flushed` is told when it is durable, or dropped when
    /// that never comes. Answers the log's end here.
    pub(super) fn copy(
        self: &Arc<Self>,
        storage: StorageId,
        (header, bytes): (&BatchHeader, Bytes),
        upto: Offset,
        fences: &RwLock<Fences>,
        flushed: oneshot::Sender<()>,
    ) -> Result<Offset, NotTaken> {
        let mut core = self.core.lock();
        if core.is_closed {
            return Err(NotTaken::Closed);
        }
        let fences = fences.read();
        if let Taken::Store { end } = core.decider.copy(storage, header, upto, &fences)? {
            let replica = Arc::clone(self);
            let done: Done = Box::new(move |outcome| match outcome {
                Ok(_lsn) => {
                    replica.flushed(end);
                    // Who waited may have lost patience.
                    let _heard = flushed.send(());
                }
                Err(why) => replica.failed(&why),
            });
            self.store(&mut core, bytes, end, done)?;
        } else {
            // It was there; whoever wants it durable waits for that at the end.
            let _heard = flushed.send(());
        }
        Ok(core.decider.end())
    }

    /// Hands a batch that the decider took to the store, or takes it back.
    fn store(
        &self,
        core: &mut Core,
        bytes: Bytes,
        end: Offset,
        done: Done,
    ) -> Result<(), NotTaken> {
        let refused = match self.segment.append(bytes, done) {
            Ok(stored) => {
                assert_eq!(stored, end, "the store and the decider disagree on the end");
                return Ok(());
            }
            Err(refused) => refused,
        };
        core.decider.retract();
        match refused {
            // Room comes back by itself. A batch that is too large for the ring here never goes
            // in: the leader sees a member that does not keep up.
            AppendError::Busy | AppendError::Full => Err(Refusal::Busy.into()),
            AppendError::TooLarge { .. } => {
                error!(segment = %self.id, why = %refused, "a batch of the leader's has no place here");
                Err(Refusal::Busy.into())
            }
            // Pruned, or its topic was deleted: the metadata says which.
            AppendError::Gone(_) => {
                core.close();
                Err(NotTaken::Closed)
            }
            AppendError::Unreadable(_) | AppendError::Failed(_) => {
                core.decider.failed();
                Err(Refusal::Failed.into())
            }
            AppendError::NotABatch { .. }
            | AppendError::OtherEpoch { .. }
            | AppendError::NotNext { .. }
            | AppendError::Sealed { .. } => {
                error!(segment = %self.id, why = %refused, "the store and the decider disagree");
                core.decider.failed();
                Err(Refusal::Failed.into())
            }
        }
    }

    /// The WAL made everything below `end` durable. Called on its thread.
    pub(super) fn flushed(self: &Arc<Self>, end: Offset) {
        let mut core = self.core.lock();
        if core.is_closed {
            return;
        }
        let Flushed { answer, finish } = core.decider.flushed(end);
        if let (Some(position), Some(back)) = (answer, &core.back) {
            let answer = AppendAnswer::Position(position);
            back.answer(AnswerMessage { partition: self.partition(), answer });
        }
        if finish.is_some() {
            core.todo.finish = finish;
            self.go_on(&mut core);
        }
    }

    /// The WAL failed: what was accepted may or may not be on disk.
    fn failed(&self, why: &walrus_storage::wal::WalFailed) {
        let mut core = self.core.lock();
        core.decider.failed();
        warn!(segment = %self.id, %why, "a replica cannot be written any more");
    }

    /// The Roll that sealed the segment is applied here. `is_lossy`: what was committed may be cut,
    /// for an operator had it so; then the segment is let go. Answers whether this was news about a
    /// segment that is in use.
    ///
    /// # Panics
    /// When what was served would be cut and it is not lossy.
    pub(super) fn sealed(self: &Arc<Self>, end: Offset, is_lossy: bool) -> bool {
        let mut core = self.core.lock();
        if core.is_closed || core.decider.sealed_end().is_some() {
            return false;
        }
        if is_lossy && core.decider.readable_end() > end {
            error!(
                segment = %self.id, %end, served = %core.decider.readable_end(),
                "committed records were given up by an operator's seal"
            );
            core.close();
            return core.is_in_use;
        }
        let Sealing { cut, pull, finish } = core.decider.sealed(end);
        core.todo = Todo { cut, pull: pull.is_some(), finish };
        self.go_on(&mut core);
        core.is_in_use
    }

    /// Starts the task that carries out what is to be done, if none does.
    fn go_on(self: &Arc<Self>, core: &mut Core) {
        let Todo { cut, pull, finish } = &core.todo;
        if core.is_ending || (cut.is_none() && !pull && finish.is_none()) {
            return;
        }
        if let Some(home) = self.home.upgrade() {
            core.is_ending = true;
            home.start_end(Arc::clone(self));
        }
    }

    /// The next thing to do; with `None` the task that asks has ended.
    pub(super) fn next_step(&self) -> Option<Step> {
        let mut core = self.core.lock();
        if core.is_closed {
            core.todo = Todo::default();
        }
        let todo = &mut core.todo;
        let step = if let Some(end) = todo.cut.take() {
            Some(Step::Cut(end))
        } else if std::mem::take(&mut todo.pull) {
            Some(Step::Pull)
        } else {
            todo.finish.take().map(Step::Finish)
        };
        core.is_ending = step.is_some();
        step
    }

    /// What a controller that seals is told.
    pub(super) fn answer_fence(&self, fences: &RwLock<Fences>) -> Result<FenceAnswer, NoAnswer> {
        let core = self.core.lock();
        core.decider.answer_fence(&fences.read())
    }

    /// A copy of the producers' table, and the offset that it is as of.
    pub(super) fn producers(&self) -> Option<ProducerTable> {
        self.core.lock().decider.producers().cloned()
    }

    /// The table that the successor begins with, when the segment is sealed at `end` and has all
    /// of it.
    pub(super) fn producers_at(&self, end: Offset) -> Option<ProducerTable> {
        let core = self.core.lock();
        let decider = &core.decider;
        let whole = decider.sealed_end() == Some(end) && decider.end() == end;
        decider.producers().filter(|_| whole).cloned()
    }

    /// Whether a table is missing and nobody looks for it; who asks does from now on.
    pub(super) fn begin_learning(&self) -> bool {
        let mut core = self.core.lock();
        let wants = !core.is_closed && core.decider.producers().is_none();
        wants && !std::mem::replace(&mut core.is_learning, true)
    }

    /// Whether a table is still missing.
    pub(super) fn lacks_producers(&self) -> bool {
        let core = self.core.lock();
        !core.is_closed && core.decider.producers().is_none()
    }

    /// Gives it the table, when that is as of the log's end here. Else gives it back.
    pub(super) fn learn(&self, table: ProducerTable) -> Result<(), ProducerTable> {
        let mut core = self.core.lock();
        if core.is_closed || core.decider.producers().is_some() {
            return Ok(());
        }
        if table.end() != core.decider.end() {
            return Err(table);
        }
        core.decider.learn_producers(table).map_err(|end| unreachable!("it ends at {end} too"))
    }

    /// As [`Replica::learn`], with the last batches fed while no other comes.
    pub(super) fn learn_with(
        &self,
        table: ProducerTable,
        feed: impl FnOnce(&mut ProducerTable, Offset),
    ) -> bool {
        let mut core = self.core.lock();
        if core.is_closed || core.decider.producers().is_some() {
            return true;
        }
        let mut table = table;
        feed(&mut table, core.decider.end());
        core.decider.learn_producers(table).is_ok()
    }

    /// Waits until the segment before this one is whole.
    pub(super) async fn taught(&self) {
        self.taught.notified().await;
    }

    /// The segment before this one is whole.
    pub(super) fn teach(&self) {
        self.taught.notify_one();
    }

    /// This node wrote to it, in this life of the process.
    pub(super) fn was_led(&self) {
        self.core.lock().is_in_use = true;
    }

    /// Nothing of it is done here any more.
    pub(super) fn close(&self) {
        self.core.lock().close();
        self.taught.notify_one();
    }
}

impl Core {
    fn hear(&mut self, back: &Back) {
        self.back = Some(back.clone());
        self.is_in_use = true;
    }

    fn close(&mut self) {
        self.is_closed = true;
        self.back = None;
        self.todo = Todo::default();
    }
}

/// What a disk has, in the decider's words.
pub(super) fn on_disk(extent: &walrus_storage::segment::Extent) -> OnDisk {
    OnDisk { end: extent.end, bytes: extent.bytes, max_timestamp: extent.max_timestamp }
}
