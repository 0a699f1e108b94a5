//! One partition as its leader runs it: the only writer of its open segment.
//!
//! A lock holds the decider, the open segment and those who wait, so the order of appends is the
//! order in which the lock was taken, in the log and in the WAL alike. Nothing under the lock
//! waits for a disk or a socket: the store queues bytes, and says later, on the WAL's thread,
//! what became durable.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, oneshot},
    time::Instant,
};
use tracing::{error, warn};
use walrus_replication::{
    Accepted, Acks, Advance, AppendRefusal, Limits, Member, OpenSegment, PartitionLeader, Phase,
    Proposal, RollReason, Rolled, SequenceError, UptimeMs,
};
use walrus_storage::{
    segment::{AppendError, Segment},
    wal::Done,
};
use walrus_types::{Epoch, Offset, TimestampMs, TopicPartition, batch, batch::BatchHeader};

use super::{
    roll::RollOrders,
    waiters::{Ack, AckQueue, Watchers},
};

/// A client's batch, checked, in bytes of its own that the leader may still write into.
#[derive(Debug)]
pub struct Prepared {
    /// Its header, as it is in `bytes`.
    pub header: BatchHeader,
    /// Exactly the batch.
    pub bytes: BytesMut,
    /// Whether the broker's clock stamped it.
    pub stamped: bool,
}

/// Where a batch stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Appended {
    /// Its first offset.
    pub base: Offset,
    /// The broker's stamp, or [`TimestampMs::NONE`] under `CreateTime`.
    pub log_append_time: TimestampMs,
    /// The partition's first offset.
    pub log_start: Offset,
}

/// Why a batch has no place in the log, or none that is known.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendFailure {
    /// This node does not lead the partition, or not any more.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// The topic was deleted.
    #[error("the topic was deleted")]
    Deleted,
    /// `acks=all` promises more copies than there can be. Nothing was stored.
    #[error("{live} copies can be made and min.insync.replicas is {min_insync}")]
    NotEnoughReplicas {
        /// Members that are alive.
        live: usize,
        /// What the topic asks for.
        min_insync: usize,
    },
    /// The producer's epoch or sequence forbids it. Nothing was stored.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// The disk's reserve is reached. Nothing was stored; writes resume when there is room.
    #[error("the disk is full up to its reserve; records are taken again when there is room")]
    DiskFull,
    /// The store takes no batch of this size. Nothing was stored.
    #[error("batch of {bytes} bytes, the log takes {bytes_max} at most")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A queue is at its limit. Nothing was stored.
    #[error("the partition has too much under way; try again")]
    Busy,
    /// The store failed for good: the batch may or may not be on disk.
    #[error("the log cannot be written any more: {0}")]
    Storage(String),
    /// The answer did not come in the time that the request gave.
    #[error("the append was not confirmed in the time given; it may still be")]
    Unknown,
}

/// Brings the outcome of an append, at once or later.
#[derive(Debug)]
pub struct Receipt(oneshot::Receiver<Outcome>);

/// What became of an append.
pub type Outcome = Result<Appended, AppendFailure>;

impl Receipt {
    /// The outcome, as far as it is known by `deadline`.
    ///
    /// # Errors
    /// [`AppendFailure`]; [`AppendFailure::Unknown`] when the time is up.
    pub async fn wait(mut self, deadline: Instant) -> Outcome {
        // An outcome that is there counts even when the time given was zero.
        if let Ok(outcome) = self.0.try_recv() {
            return outcome;
        }
        match tokio::time::timeout_at(deadline, self.0).await {
            Ok(Ok(outcome)) => outcome,
            // The partition is gone with those who waited, or the time is up.
            Ok(Err(_)) | Err(_) => Err(AppendFailure::Unknown),
        }
    }

    /// Whether the append was refused before anything was stored.
    pub fn refused(mut self) -> bool {
        matches!(self.0.try_recv(), Ok(Err(_)))
    }
}

/// A partition that this node leads.
#[derive(Debug)]
pub struct Partition {
    id: TopicPartition,
    me: Member,
    core: Mutex<Core>,
    /// A copy of the decider's commit offset, for readers that need no lock.
    commit_seen: AtomicI64,
    rolls: RollOrders,
}

/// What the lock holds.
#[derive(Debug)]
struct Core {
    leader: PartitionLeader,
    open: Arc<Segment>,
    /// `acks=1`: wait for this node's flush.
    flushed: AckQueue,
    /// `acks=all`: wait for the commit.
    committed: AckQueue,
    /// Appends that wait for the end of a roll, in their order.
    parked: VecDeque<Parked>,
    watchers: Watchers,
    /// Set once; every append after it gets this.
    closed: Option<AppendFailure>,
}

#[derive(Debug)]
struct Parked {
    batch: Prepared,
    acks: Acks,
    answer: oneshot::Sender<Outcome>,
}

/// The marks that a reader needs, of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// First offset that may be read.
    pub log_start: Offset,
    /// Everything below is committed: Kafka's high watermark.
    pub commit: Offset,
    /// The offset that the next record gets.
    pub log_end: Offset,
    /// The open segment's epoch.
    pub epoch: Epoch,
}

impl Partition {
    /// Leads `open`, an empty segment.
    pub fn new(
        (id, me): (TopicPartition, Member),
        leader: PartitionLeader,
        open: Arc<Segment>,
        rolls: RollOrders,
    ) -> Arc<Self> {
        let commit_seen = AtomicI64::new(leader.cursors().commit().0);
        let core = Core {
            leader,
            open,
            flushed: AckQueue::default(),
            committed: AckQueue::default(),
            parked: VecDeque::new(),
            watchers: Watchers::default(),
            closed: None,
        };
        Arc::new(Self { id, me, core: Mutex::new(core), commit_seen, rolls })
    }

    /// Which partition.
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    /// Gives the batch its offsets and hands it to the store. Batches of one caller keep their
    /// order.
    pub fn append(self: &Arc<Self>, batch: Prepared, acks: Acks, now: UptimeMs) -> Receipt {
        let (answer, receiver) = oneshot::channel();
        let mut core = self.core.lock();
        if let Some(closed) = &core.closed {
            tell(answer, Err(closed.clone()));
            return Receipt(receiver);
        }
        let judged = core.leader.append(&batch.header, acks, now);
        if judged == Ok(Accepted::Parked) {
            core.parked.push_back(Parked { batch, acks, answer });
        } else {
            self.carry_out(&mut core, judged, Parked { batch, acks, answer });
            self.roll_if_due(&mut core, now);
        }
        Receipt(receiver)
    }

    /// Does what the decider answered to a batch that it did not park.
    fn carry_out(
        self: &Arc<Self>,
        core: &mut Core,
        judged: Result<Accepted, AppendRefusal>,
        Parked { batch, acks, answer }: Parked,
    ) {
        let log_start = core.leader.cursors().log_start();
        let stamped = batch.stamped;
        let place = |base, timestamp| Appended {
            base,
            log_append_time: if stamped { timestamp } else { TimestampMs::NONE },
            log_start,
        };
        match judged {
            Ok(Accepted::Fresh { base, end }) => {
                let appended = place(base, batch.header.max_timestamp);
                match self.store(core, batch, base) {
                    Ok(()) => core.wait_for(end, appended, acks, answer),
                    Err(failure) => tell(answer, Err(failure)),
                }
            }
            Ok(Accepted::Duplicate { base, end, timestamp, committed }) => {
                let appended = place(base, timestamp);
                if committed {
                    tell(answer, Ok(appended));
                } else {
                    core.wait_for(end, appended, acks, answer);
                }
            }
            Ok(Accepted::Parked) => unreachable!("a parked batch is kept by the caller"),
            Err(refusal) => tell(answer, Err(refusal.into())),
        }
    }

    /// Writes the leader's fields and queues the batch for the WAL.
    fn store(
        self: &Arc<Self>,
        core: &mut Core,
        batch: Prepared,
        base: Offset,
    ) -> Result<(), AppendFailure> {
        let epoch = core.leader.epoch();
        let mut bytes = batch.bytes;
        batch::set_place(&mut bytes, base, epoch);
        let end = base.plus(i64::from(batch.header.last_offset_delta) + 1);
        let partition = Arc::clone(self);
        let done: Done = Box::new(move |outcome| match outcome {
            Ok(_lsn) => partition.flushed(epoch, end),
            Err(why) => partition.failed(&AppendFailure::Storage(why.to_string())),
        });
        match core.open.append(bytes.freeze(), done) {
            Ok(stored) => {
                assert_eq!(stored, end, "the store and the leader disagree on the end");
                Ok(())
            }
            Err(refused) => {
                core.leader.retract(base);
                Err(match refused {
                    AppendError::Full => AppendFailure::DiskFull,
                    AppendError::Busy => AppendFailure::Busy,
                    AppendError::TooLarge { bytes, bytes_max, .. } => {
                        AppendFailure::TooLarge { bytes, bytes_max }
                    }
                    AppendError::Gone(_) => AppendFailure::Deleted,
                    AppendError::Unreadable(_) | AppendError::Failed(_) => {
                        AppendFailure::Storage(refused.to_string())
                    }
                    AppendError::NotABatch { .. }
                    | AppendError::OtherEpoch { .. }
                    | AppendError::NotNext { .. }
                    | AppendError::Sealed { .. } => {
                        let why = refused.to_string();
                        error!(partition = %self.id, why, "the store and the leader disagree");
                        AppendFailure::Storage(why)
                    }
                })
            }
        }
    }

    /// The WAL made everything below `end` durable. Called on its thread.
    fn flushed(self: &Arc<Self>, epoch: Epoch, end: Offset) {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return;
        }
        let advance = core.leader.flushed(epoch, end);
        core.flushed.reached(end);
        self.advance(&mut core, advance);
    }

    fn advance(self: &Arc<Self>, core: &mut Core, advance: Advance) {
        if let Some(commit) = advance.commit {
            self.commit_seen.store(commit.0, Ordering::Release);
            core.committed.reached(commit);
            core.watchers.wake();
        }
        if let Some(proposal) = advance.propose {
            self.rolls.propose(self, proposal);
        }
    }

    /// Looks at the limits; a roll that is due begins. Asked on append and by the monitor.
    pub fn look_at_limits(self: &Arc<Self>, now: UptimeMs) {
        self.roll_if_due(&mut self.core.lock(), now);
    }

    fn roll_if_due(self: &Arc<Self>, core: &mut Core, now: UptimeMs) {
        if core.closed.is_none()
            && let Some(reason) = core.leader.roll_due(now)
        {
            self.begin_roll_locked(core, reason, now);
        }
    }

    /// Begins a roll for a reason of the caller's. False when there is nothing to roll, or a roll
    /// is under way.
    pub fn begin_roll(self: &Arc<Self>, reason: RollReason, now: UptimeMs) -> bool {
        let mut core = self.core.lock();
        core.closed.is_none() && self.begin_roll_locked(&mut core, reason, now)
    }

    fn begin_roll_locked(
        self: &Arc<Self>,
        core: &mut Core,
        reason: RollReason,
        now: UptimeMs,
    ) -> bool {
        match core.leader.begin_roll(reason, now) {
            Ok(Some(proposal)) => self.rolls.propose(self, proposal),
            // It drains: the last flush brings the proposal.
            Ok(None) => {}
            Err(_refusal) => return false,
        }
        true
    }

    /// The proposal under way, if there is one.
    pub fn proposal(&self) -> Option<Proposal> {
        self.core.lock().leader.proposal()
    }

    /// Metadata sealed the open segment and this node leads `next`, whose bytes go to `segment`.
    /// What was parked goes first. Answers the sealed segment and the producers' table at its end.
    pub fn rolled(
        self: &Arc<Self>,
        next: &OpenSegment,
        segment: Arc<Segment>,
        now: UptimeMs,
    ) -> Option<(Arc<Segment>, Vec<u8>)> {
        let mut core = self.core.lock();
        if core.closed.is_some() || core.leader.epoch() >= next.epoch {
            return None;
        }
        let state = core.leader.producers().encode();
        let rolled = core.leader.sealed(next.base, Some(next), now);
        match rolled {
            Rolled::Leads { carry } => {
                assert!(carry.start == carry.end, "a roll of one node drains first: {carry:?}");
            }
            Rolled::Stopped => unreachable!("a successor was given"),
        }
        let sealed = std::mem::replace(&mut core.open, segment);
        // The end is committed by the seal itself.
        self.advance(&mut core, Advance { commit: Some(next.base), propose: None });
        self.append_parked(&mut core, now);
        Some((sealed, state))
    }

    fn append_parked(self: &Arc<Self>, core: &mut Core, now: UptimeMs) {
        while core.leader.parked() > 0 {
            let parked = core.parked.pop_front().expect("the leader counts those that are there");
            let judged = core.leader.append_parked(&parked.batch.header, parked.acks, now);
            if judged == Ok(Accepted::Parked) {
                core.parked.push_front(parked);
                return;
            }
            self.carry_out(core, judged, parked);
        }
    }

    /// Fetches from `from` on are told when the commit offset moves. Answers false when it already
    /// is past `from`: then there is nothing to wait for.
    pub fn watch(&self, from: Offset, watcher: &Arc<Notify>) -> bool {
        let mut core = self.core.lock();
        if core.closed.is_some() || core.leader.cursors().commit() > from {
            return false;
        }
        core.watchers.push(watcher);
        true
    }

    /// The marks of now.
    pub fn marks(&self) -> Marks {
        let core = self.core.lock();
        let cursors = core.leader.cursors();
        Marks {
            log_start: cursors.log_start(),
            commit: cursors.commit(),
            log_end: cursors.log_end(),
            epoch: core.leader.epoch(),
        }
    }

    /// The commit offset, a moment ago at most.
    pub fn commit_seen(&self) -> Offset {
        Offset(self.commit_seen.load(Ordering::Acquire))
    }

    /// The open segment.
    pub fn open_segment(&self) -> Arc<Segment> {
        Arc::clone(&self.core.lock().open)
    }

    /// Asks the decider something.
    pub fn with_leader<T>(&self, ask: impl FnOnce(&mut PartitionLeader) -> T) -> T {
        ask(&mut self.core.lock().leader)
    }

    /// Members that are taken for alive.
    pub fn live_members(&self) -> usize {
        self.core.lock().leader.cursors().live_members()
    }

    /// The topic's settings changed.
    pub fn set_limits(&self, limits: Limits, now: UptimeMs) {
        self.core.lock().leader.set_limits(limits, now);
    }

    /// Forgets producers that were quiet for long.
    pub fn expire_producers(&self, expiration_ms: u64, now: TimestampMs) {
        self.core.lock().leader.expire_producers(expiration_ms, now);
    }

    /// Metadata moved the log start.
    pub fn move_log_start(&self, to: Offset) {
        let mut core = self.core.lock();
        if to > core.leader.cursors().log_start() {
            core.leader.move_log_start(to);
        }
    }

    /// The topic is gone: all that wait are told, and every append from now on.
    pub fn deleted(&self) {
        self.close(&AppendFailure::Deleted);
    }

    /// The store failed: nothing that waits will ever be durable here.
    fn failed(&self, failure: &AppendFailure) {
        if self.close(failure) {
            warn!(partition = %self.id, why = %failure, "partition stopped");
        }
    }

    fn close(&self, failure: &AppendFailure) -> bool {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return false;
        }
        core.closed = Some(failure.clone());
        core.leader.fenced();
        core.flushed.fail(failure);
        core.committed.fail(failure);
        for parked in core.parked.drain(..) {
            drop(parked.answer.send(Err(failure.clone())));
        }
        core.watchers.wake();
        true
    }

    /// Whether a roll is under way.
    pub fn is_rolling(&self) -> bool {
        matches!(self.core.lock().leader.phase(), Phase::Draining(_) | Phase::Proposed(_))
    }

    /// This node with its disk, as the segment's record names it.
    pub fn me(&self) -> Member {
        self.me
    }
}

impl Core {
    fn wait_for(
        &mut self,
        end: Offset,
        appended: Appended,
        acks: Acks,
        answer: oneshot::Sender<Outcome>,
    ) {
        match acks {
            Acks::None => tell(answer, Ok(appended)),
            Acks::Leader => self.flushed.push(Ack { end, appended, answer }),
            Acks::All => self.committed.push(Ack { end, appended, answer }),
        }
    }
}

/// A client that went no longer waits for its answer; what was appended stays.
fn tell(answer: oneshot::Sender<Outcome>, outcome: Outcome) {
    drop(answer.send(outcome));
}

impl From<AppendRefusal> for AppendFailure {
    fn from(refusal: AppendRefusal) -> Self {
        match refusal {
            AppendRefusal::Fenced(_) => Self::NotLeader,
            AppendRefusal::NotEnoughReplicas { live, min_insync } => {
                Self::NotEnoughReplicas { live, min_insync }
            }
            AppendRefusal::TooFarAhead | AppendRefusal::TooManyParked => Self::Busy,
            AppendRefusal::Sequence(error) => Self::Sequence(error),
        }
    }
}

impl Appended {
    /// A place, for tests.
    #[cfg(test)]
    pub(super) fn at(base: Offset) -> Self {
        Self { base, log_append_time: TimestampMs::NONE, log_start: Offset::ZERO }
    }
}
