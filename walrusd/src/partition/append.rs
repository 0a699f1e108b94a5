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
use tracing::error;
use walrus_metadata::Placement;
use walrus_replication::{
    Accepted, Acks, Advance, AppendRefusal, Limits, Member, OpenSegment, PartitionLeader, Phase,
    SequenceError, UptimeMs, lag::Laggards, liveness::PartitionLease,
};
use walrus_storage::{
    segment::{AppendError, Segment},
    wal::Done,
};
use walrus_types::{Epoch, Offset, TimestampMs, TopicPartition, batch, batch::BatchHeader};

use super::{
    leading::Leading,
    others::{self, Others, Tail},
    registry::Unavailable,
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
    /// This node does not lead the partition, or not any more. Nothing was stored.
    #[error("this node does not lead the partition")]
    NotLeader,
    /// Another node leads the partition since. The batch may be in the log, or not.
    #[error("another node leads the partition now; the append was not confirmed and may still be")]
    Overtaken,
    /// Neither the controller nor enough members were heard of late: somebody else may lead.
    /// Nothing was stored.
    #[error(
        "this node leads the partition and has no lease now: it hears neither the controller nor enough members"
    )]
    NoLease,
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
    /// `acks=all`, and the segment that took the batch along has fewer copies than
    /// `min.insync.replicas`. It is stored and will be committed.
    #[error(
        "the batch is stored, on fewer copies than min.insync.replicas; a retry is no duplicate"
    )]
    TooFewCopiesAfterAppend,
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

    /// The outcome, whenever it comes.
    ///
    /// # Errors
    /// [`AppendFailure`]; [`AppendFailure::Unknown`] when the partition is gone with those who
    /// waited.
    pub async fn outcome(self) -> Outcome {
        self.0.await.unwrap_or(Err(AppendFailure::Unknown))
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
    pub(super) core: Mutex<Core>,
    /// A copy of the decider's commit offset, for readers that need no lock.
    commit_seen: AtomicI64,
    pub(super) leading: Arc<Leading>,
}

/// What the lock holds.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) leader: PartitionLeader,
    pub(super) open: Arc<Segment>,
    /// The other members of the open segment, where there are any.
    pub(super) others: Option<Others>,
    /// What the other members and its own roll mean for this node's right to lead the segment.
    pub(super) lease: PartitionLease,
    /// `acks=1`: wait for this node's flush.
    pub(super) flushed: AckQueue,
    /// `acks=all`: wait for the commit.
    pub(super) committed: AckQueue,
    /// Appends that wait for the end of a roll, in their order.
    pub(super) parked: VecDeque<Parked>,
    /// Since when they do.
    pub(super) parks_since: Option<Instant>,
    pub(super) watchers: Watchers,
    /// Who is woken when this partition is closed.
    pub(super) until_closed: Watchers,
    /// Who waits for members to answer, and when they were last asked for that.
    pub(super) until_answered: Watchers,
    pub(super) probed_at: Option<UptimeMs>,
    /// Where the controller wants the next segment.
    pub(super) wanted: Option<Placement>,
    /// Set once; every append after it gets this.
    pub(super) closed: Option<AppendFailure>,
}

#[derive(Debug)]
pub(super) struct Parked {
    pub(super) batch: Prepared,
    pub(super) acks: Acks,
    pub(super) answer: oneshot::Sender<Outcome>,
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
    /// Leads `record`, an empty segment whose bytes go to `open`.
    pub fn new(
        (id, me): (TopicPartition, Member),
        leader: PartitionLeader,
        (record, open): (&OpenSegment, Arc<Segment>),
        leading: Arc<Leading>,
    ) -> Arc<Self> {
        let commit_seen = AtomicI64::new(leader.cursors().commit().0);
        let others = Others::open(me, record, leader.cursors().log_end(), &leading);
        let lease = others::lease(me, record);
        let core = Core {
            leader,
            open,
            others,
            lease,
            flushed: AckQueue::default(),
            committed: AckQueue::default(),
            parked: VecDeque::new(),
            parks_since: None,
            watchers: Watchers::default(),
            until_closed: Watchers::default(),
            until_answered: Watchers::default(),
            probed_at: None,
            wanted: None,
            closed: None,
        };
        let partition = Arc::new(Self { id, me, core: Mutex::new(core), commit_seen, leading });
        partition.begin_feeding(&mut partition.core.lock());
        partition
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
        if !self.may_append(&core, now) {
            tell(answer, Err(AppendFailure::NoLease));
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

    /// Whether this life of the node may take appends now.
    pub(super) fn may_append(&self, core: &Core, now: UptimeMs) -> bool {
        match &core.others {
            // Nobody else could seal it but this node's next life.
            None => !self.leading.lease.is_fenced(),
            Some(_) => self.leading.lease.may_append(&core.lease, now),
        }
    }

    /// Whether what this node knows of the partition is no older than a lease, so that it may answer
    /// for it by itself.
    ///
    /// # Errors
    /// [`Unavailable::NoLease`]; [`Unavailable::NotLeader`] when it leads no more.
    pub fn check_lease(&self) -> Result<(), Unavailable> {
        let core = self.core.lock();
        if core.closed.is_some() {
            return Err(Unavailable::NotLeader);
        }
        let may = self.leading.lease.may_read(&core.lease, self.leading.clock.uptime());
        if may { Ok(()) } else { Err(Unavailable::NoLease) }
    }

    /// Does what the decider answered to a batch that it did not park.
    pub(super) fn carry_out(
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
        let done = self.done(epoch, end);
        let bytes = bytes.freeze();
        let tail =
            core.others.is_some().then(|| Tail { prev_end: base, end, batch: bytes.clone() });
        match core.open.append(bytes, done) {
            Ok(stored) => {
                assert_eq!(stored, end, "the store and the leader disagree on the end");
                if let Some(tail) = tail {
                    self.feed(core, &tail);
                }
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

    /// What is to be done when a batch of the segment of `epoch` that ends at `end` is durable.
    pub(super) fn done(self: &Arc<Self>, epoch: Epoch, end: Offset) -> Done {
        let partition = Arc::clone(self);
        Box::new(move |outcome| match outcome {
            Ok(_lsn) => partition.flushed(epoch, end),
            Err(why) => partition.failed(&AppendFailure::Storage(why.to_string())),
        })
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

    pub(super) fn advance(self: &Arc<Self>, core: &mut Core, advance: Advance) {
        if let Some(commit) = advance.commit {
            self.commit_seen.store(commit.0, Ordering::Release);
            if let Some(others) = &mut core.others {
                others.committed(commit);
                self.order_tick(others);
            }
            core.committed.reached(commit);
            core.watchers.wake();
        }
        if let Some(proposal) = advance.propose {
            core.lease.proposed(self.leading.clock.uptime());
            self.leading.rolls.propose(self, proposal);
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

    /// Whether a member is alive, as metadata has it. False when those that live could not commit
    /// anything any more.
    pub fn set_live(&self, member: Member, live: bool) -> bool {
        let mut core = self.core.lock();
        core.leader.set_live(member, live);
        core.leader.has_quorum()
    }

    /// The members of the open segment that are in sync, this node among them.
    pub fn in_sync(&self) -> Vec<Member> {
        let core = self.core.lock();
        let others = core.others.as_ref();
        let now = self.leading.clock.uptime();
        let others = others.map(|others| others.in_sync(now)).unwrap_or_default();
        [self.me].into_iter().chain(others).collect()
    }

    /// The members of the open segment that are not, if there are any.
    pub fn laggards(&self) -> Option<Laggards> {
        let core = self.core.lock();
        let others = core.others.as_ref().filter(|_| core.closed.is_none())?;
        let members = others.behind(self.leading.clock.uptime());
        let (partition, epoch) = (self.id(), core.leader.epoch());
        (!members.is_empty()).then_some(Laggards { partition, epoch, members })
    }

    /// Whether a roll is under way.
    pub fn is_rolling(&self) -> bool {
        matches!(self.core.lock().leader.phase(), Phase::Draining(_) | Phase::Proposed(_))
    }

    /// Whether it leads no more, or cannot.
    pub fn is_closed(&self) -> bool {
        self.core.lock().closed.is_some()
    }

    /// Has `watcher` woken when [`Self::is_closed`] becomes true, or at once where it is.
    pub fn watch_closing(&self, watcher: &Arc<Notify>) {
        let mut core = self.core.lock();
        if core.closed.is_some() {
            return watcher.notify_one();
        }
        core.until_closed.push(watcher);
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
