//! The groups of one partition that this node leads: carries out what their decider says.
//!
//! A lock holds the decider and those who wait. What is to be appended is handed to the partition
//! under it, so the log has the order of the decisions; [`Shard::run`] reports the outcomes in that
//! order. When the partition is led by somebody else, or nobody can say what became of an append,
//! the shard resigns: everybody who waits is told so, and the next request begins anew from the log.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use parking_lot::Mutex;
use tokio::{
    sync::{Notify, RwLock, oneshot},
    time::{Instant, sleep},
};
use tracing::{debug, info, warn};
use walrus_groups::{
    Answer, AppendId, At, Coordinator, Effect, Loader, Outcome, Waiter, records::Record,
};
use walrus_metadata::{Command, Prune};
use walrus_replication::{Acks, RollReason};
use walrus_types::{Epoch, Offset, UptimeMs};

use super::{Unready, records};
use crate::{
    broker::Broker,
    clock::Clock,
    partition::{AppendFailure, Partition, Receipt, registry::Unavailable},
};

/// How long nothing is done where nothing is due; what comes up meanwhile ends it.
const REST_MAX: Duration = Duration::from_secs(3_600);
/// Records of the state that go into one batch.
const STATE_RECORDS_PER_BATCH: usize = 1_000;

/// The groups of one partition.
#[derive(Debug)]
pub struct Shard {
    partition: Arc<Partition>,
    clock: Clock,
    /// Held for writing while the state is written anew: nothing may come between.
    gate: RwLock<()>,
    core: Mutex<Core>,
    /// There is something to do for [`Shard::run`].
    work: Arc<Notify>,
}

/// What the lock holds.
#[derive(Debug)]
struct Core {
    /// None once the shard has resigned.
    coordinator: Option<Coordinator>,
    waiting: HashMap<Waiter, oneshot::Sender<Answer>>,
    next_waiter: u64,
    /// Appends in their order, each with the outcomes of its batches to come. As many as the decider
    /// has changes under way.
    receipts: VecDeque<(AppendId, Vec<Receipt>)>,
    /// The log's end when the state was last written anew in vain.
    tried_at: Offset,
    /// What [`Shard::run`] waits for; `None` while it is about to look by itself.
    rest: Option<Rest>,
}

/// What ends the rest of [`Shard::run`], beside the outcome that it waits for.
#[derive(Debug, Clone, Copy)]
struct Rest {
    /// It waits for no outcome, so an append does.
    with_append: bool,
    /// What is due before does.
    until: Option<UptimeMs>,
}

/// An append and its outcome to come.
type Pending = (AppendId, BoxFuture<'static, Option<Outcome>>);

impl Core {
    fn next_append(&mut self) -> Option<Pending> {
        let (id, receipts) = self.receipts.pop_front()?;
        Some((id, outcome_of(receipts).boxed()))
    }

    fn deadline(&self) -> Option<UptimeMs> {
        self.coordinator.as_ref().and_then(Coordinator::deadline)
    }

    /// Whether what has just been carried out ends the rest of [`Shard::run`].
    fn ends_rest(&self, appended: bool) -> bool {
        let Some(rest) = self.rest else { return false };
        let is_earlier = match (self.deadline(), rest.until) {
            (Some(now), Some(before)) => now < before,
            (now, None) => now.is_some(),
            (None, Some(_)) => false,
        };
        self.coordinator.is_none() || is_earlier || (appended && rest.with_append)
    }
}

/// An answer that is to come.
#[derive(Debug)]
pub struct Asked {
    shard: Arc<Shard>,
    answer: oneshot::Receiver<Answer>,
}

impl Asked {
    /// The answer. What only this node's memory says is told while it has a lease (L6).
    ///
    /// # Errors
    /// [`Unready::NotHere`].
    pub async fn answer(self) -> Result<Answer, Unready> {
        let answer = self.answer.await;
        let answer = answer.map_err(|_gone| Unready::NotHere(Unavailable::NotLeader))?;
        match &answer {
            Answer::Join(_) | Answer::Sync(_) => {
                self.shard.partition.check_lease().map_err(Unready::NotHere)?;
            }
            // The log has it, whoever leads now.
            Answer::Commit(_) | Answer::DeleteOffsets(_) | Answer::DeleteGroup(_) => {}
        }
        Ok(answer)
    }
}

/// What became of an append, if that can be said.
fn outcome(failure: &AppendFailure) -> Option<Outcome> {
    match failure {
        // Nothing was stored.
        AppendFailure::NoLease
        | AppendFailure::NotEnoughReplicas { .. }
        | AppendFailure::Sequence(_)
        | AppendFailure::DiskFull
        | AppendFailure::Busy => Some(Outcome::Refused),
        AppendFailure::TooLarge { .. } => Some(Outcome::TooLarge),
        // It may be in the log, or somebody else coordinates: the log tells.
        AppendFailure::NotLeader
        | AppendFailure::Overtaken
        | AppendFailure::Deleted
        | AppendFailure::TooFewCopiesAfterAppend
        | AppendFailure::Storage(_)
        | AppendFailure::Unknown => None,
    }
}

/// The outcomes of an append's batches: committed when all are, unknown when they differ.
async fn outcome_of(receipts: Vec<Receipt>) -> Option<Outcome> {
    let mut all: Option<Outcome> = None;
    for receipt in receipts {
        // It comes whenever it comes: what ends the wait is another leader.
        let one = match receipt.outcome().await {
            Ok(_appended) => Outcome::Committed,
            Err(failure) => outcome(&failure)?,
        };
        if all.is_some_and(|all| all != one) {
            return None;
        }
        all = Some(one);
    }
    all
}

impl Shard {
    /// The groups that were read. Their members' sessions begin now.
    pub(super) fn begin(broker: &Broker, partition: &Arc<Partition>, loader: Loader) -> Arc<Self> {
        let at = at(broker.clock);
        let mut out = Vec::new();
        let coordinator = loader.finish(broker.config.groups.limits(), at, &mut out);
        let shard = Arc::new(Self {
            partition: Arc::clone(partition),
            clock: broker.clock,
            gate: RwLock::default(),
            core: Mutex::new(Core {
                coordinator: Some(coordinator),
                waiting: HashMap::new(),
                next_waiter: 0,
                receipts: VecDeque::new(),
                tried_at: Offset::ZERO,
                rest: None,
            }),
            work: Arc::default(),
        });
        shard.partition.watch_closing(&shard.work);
        shard.carry_out(&mut shard.core.lock(), out);
        shard
    }

    /// Asks for what is answered when it is decided, or committed. The decider has heard it when
    /// this returns, so the requests of one connection keep their order.
    ///
    /// # Errors
    /// [`Unready::NotHere`].
    pub async fn ask(
        self: &Arc<Self>,
        ask: impl FnOnce(&mut Coordinator, Waiter, At, &mut Vec<Effect>),
    ) -> Result<Asked, Unready> {
        let (tell, answer) = oneshot::channel();
        self.look(|core, at, out| {
            core.next_waiter += 1;
            let waiter = Waiter(core.next_waiter);
            core.waiting.insert(waiter, tell);
            let coordinator = core.coordinator.as_mut().expect("it was looked at");
            ask(coordinator, waiter, at, out);
        })
        .await?;
        Ok(Asked { shard: Arc::clone(self), answer })
    }

    /// Asks for what is answered at once. The lease is looked at when the answer is there (L6).
    ///
    /// # Errors
    /// [`Unready::NotHere`].
    pub async fn ask_now<T>(
        &self,
        ask: impl FnOnce(&mut Coordinator, At, &mut Vec<Effect>) -> T,
    ) -> Result<T, Unready> {
        let answer = self
            .look(|core, at, out| {
                ask(core.coordinator.as_mut().expect("it was looked at"), at, out)
            })
            .await?;
        self.partition.check_lease().map_err(Unready::NotHere)?;
        Ok(answer)
    }

    /// Ends when a quorum has shown that this node coordinated the groups after this was asked.
    ///
    /// # Errors
    /// [`Unready::NotHere`].
    pub async fn confirm(&self) -> Result<(), Unready> {
        self.partition.confirm().await.map_err(Unready::NotHere)
    }

    async fn look<T>(
        &self,
        look: impl FnOnce(&mut Core, At, &mut Vec<Effect>) -> T,
    ) -> Result<T, Unready> {
        let _open = self.gate.read().await;
        self.now(look).ok_or(Unready::NotHere(Unavailable::NotLeader))
    }

    /// One event; `None` when the shard has resigned.
    fn now<T>(&self, event: impl FnOnce(&mut Core, At, &mut Vec<Effect>) -> T) -> Option<T> {
        let mut core = self.core.lock();
        core.coordinator.as_ref()?;
        let mut out = Vec::new();
        let done = event(&mut core, at(self.clock), &mut out);
        self.carry_out(&mut core, out);
        Some(done)
    }

    fn carry_out(&self, core: &mut Core, out: Vec<Effect>) {
        let mut appended = false;
        for effect in out {
            match effect {
                Effect::Answer { waiter, answer } => {
                    if let Some(tell) = core.waiting.remove(&waiter) {
                        // A client that went asks no more.
                        drop(tell.send(answer));
                    }
                }
                Effect::Append { id, records } => {
                    appended = true;
                    core.receipts.push_back((id, self.append(&records)));
                }
            }
        }
        if core.ends_rest(appended) {
            core.rest = None;
            self.work.notify_one();
        }
    }

    fn append(&self, records: &[Record]) -> Vec<Receipt> {
        let batches = records::batches(records, self.clock.now()).into_iter();
        let append = |batch| self.partition.append(batch, Acks::All, self.clock.uptime());
        batches.map(append).collect()
    }

    /// Whether the shard is none any more.
    pub fn has_resigned(&self) -> bool {
        self.core.lock().coordinator.is_none()
    }

    /// Tells everybody who waits to ask for the coordinator, and answers nobody from here on.
    pub(super) fn resign(&self) {
        let mut core = self.core.lock();
        let Some(coordinator) = core.coordinator.take() else { return };
        core.receipts.clear();
        let mut out = Vec::new();
        coordinator.resign(&mut out);
        self.carry_out(&mut core, out);
        core.waiting.clear();
    }

    /// Forgets what has been kept long enough.
    pub(super) fn expire(&self) {
        self.sweep(Coordinator::expire);
    }

    /// Forgets what groups committed for a topic that is no more.
    pub(super) fn forget_topic(&self, name: &str) {
        self.sweep(|coordinator, at, out| {
            coordinator.forget_topics(&|topic, _leader_epoch| topic == name, at, out);
        });
    }

    /// Forgets what groups committed for topics that the metadata does not have, or has under the
    /// name of an earlier one.
    ///
    /// Whatever is committed here was committed for a topic that this node knows of: its metadata
    /// is not older than its being the coordinator, and is looked at after the last commit that it
    /// let in.
    pub(super) fn forget_unknown(&self, broker: &Broker) {
        self.sweep(|coordinator, at, out| {
            let metadata = broker.metadata();
            let is_gone = |topic: &str, leader_epoch| {
                metadata.topic_named(topic).is_none_or(|topic| {
                    // Epochs begin past all that an earlier topic of that name had. Clients that
                    // know of none say -1, and some 0.
                    (Epoch::FIRST..topic.first_epoch).contains(&Epoch(leader_epoch))
                })
            };
            coordinator.forget_topics(&is_gone, at, out);
        });
    }

    /// Has the coordinator forget something; the next time, while the state is written anew.
    fn sweep(&self, sweep: impl FnOnce(&mut Coordinator, At, &mut Vec<Effect>)) {
        let Ok(_open) = self.gate.try_read() else { return };
        self.now(|core, at, out| {
            if let Some(coordinator) = &mut core.coordinator {
                sweep(coordinator, at, out);
            }
        });
    }

    /// Keeps the groups going until the shard resigns.
    pub(super) async fn run(&self, broker: &Arc<Broker>) {
        let mut current: Option<Pending> = None;
        let mut alarm = pin!(sleep(REST_MAX));
        while let Some(rest) = self.begin_rest(&mut current) {
            if self.partition.is_closed() {
                return self.resign();
            }
            // One that rings too early does no harm.
            if alarm.is_elapsed() || alarm.deadline() > rest {
                alarm.as_mut().reset(rest);
            }
            let pending = async {
                match &mut current {
                    Some((id, outcome)) => (*id, outcome.await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                (id, outcome) = pending => {
                    current = None;
                    if !self.settle(id, outcome) {
                        return self.resign();
                    }
                }
                () = alarm.as_mut() => self.tick(),
                () = self.work.notified() => {}
            }
            if current.is_none() && self.is_spent(broker) {
                self.write_anew(broker).await;
            }
        }
    }

    /// Takes the next append where none is waited for, and says until when nothing is due. `None`
    /// when the shard has resigned.
    fn begin_rest(&self, current: &mut Option<Pending>) -> Option<Instant> {
        let mut core = self.core.lock();
        core.coordinator.as_ref()?;
        if current.is_none() {
            *current = core.next_append();
        }
        let until = core.deadline();
        core.rest = Some(Rest { with_append: current.is_none(), until });
        let now = self.clock.uptime();
        let rest = until.map_or(REST_MAX, |at| Duration::from_millis(at.since(now)));
        Some(Instant::now() + rest.min(REST_MAX))
    }

    /// Reports an outcome; false when there is none to report.
    fn settle(&self, id: AppendId, outcome: Option<Outcome>) -> bool {
        let Some(outcome) = outcome else {
            debug!(partition = %self.partition.id(), "what became of an append is for the log to say");
            return false;
        };
        let settled = self.now(|core, at, out| {
            core.rest = None;
            if let Some(coordinator) = &mut core.coordinator {
                coordinator.appended(id, outcome, at, out);
            }
        });
        settled.is_some()
    }

    fn tick(&self) {
        self.now(|core, at, out| {
            core.rest = None;
            if let Some(coordinator) = &mut core.coordinator
                && coordinator.deadline().is_some_and(|deadline| deadline <= at.now)
            {
                coordinator.tick(at, out);
            }
        });
    }

    /// Whether the log holds so much more than the state that it should be written anew.
    fn is_spent(&self, broker: &Broker) -> bool {
        let core = self.core.lock();
        let Some(coordinator) = &core.coordinator else { return false };
        let marks = self.partition.marks();
        let live = u64::try_from(coordinator.live_records()).unwrap_or(u64::MAX);
        let spent_max = u64::from(broker.config.groups.spent_records_max);
        marks.log_end.since(marks.log_start.max(core.tried_at)) > live.saturating_add(spent_max)
    }

    /// Writes the whole state to a new segment and prunes what came before. Whoever asks meanwhile
    /// waits. A failure costs nothing but room: it is tried again after as many records.
    async fn write_anew(&self, broker: &Arc<Broker>) {
        let _closed = self.gate.write().await;
        loop {
            let next = self.core.lock().next_append();
            let Some((id, outcome)) = next else { break };
            if !self.settle(id, outcome.await) {
                return self.resign();
            }
        }
        let (state, from) = {
            let mut core = self.core.lock();
            let Some(coordinator) = &core.coordinator else { return };
            if !coordinator.is_settled() {
                return;
            }
            let state: Vec<Record> = coordinator.snapshot().collect();
            core.tried_at = self.partition.marks().log_end;
            (state, core.tried_at)
        };
        match self.write(broker, &state, from).await {
            Ok(()) => {
                info!(partition = %self.partition.id(), records = state.len(), "groups were written anew");
            }
            Err(why) => {
                warn!(partition = %self.partition.id(), why, "groups were not written anew");
            }
        }
    }

    async fn write(&self, broker: &Broker, state: &[Record], from: Offset) -> Result<(), String> {
        self.partition.begin_roll(RollReason::Operator, self.clock.uptime());
        for some in state.chunks(STATE_RECORDS_PER_BATCH) {
            // Parked until the roll is through: the first append lands in the new segment.
            match outcome_of(self.append(some)).await {
                Some(Outcome::Committed) => {}
                other => return Err(format!("a part of the state was not committed: {other:?}")),
            }
        }
        let marks = self.partition.marks();
        if marks.log_end.since(from) < u64::try_from(state.len()).unwrap_or(u64::MAX) {
            return Err("the log does not have the state".into());
        }
        let expected = marks.epoch;
        let prune = Prune { partition: self.partition.id(), expected, log_start: from };
        let proposed = broker.raft.propose(&Command::Prune(vec![prune])).await;
        proposed.map(drop).map_err(|why| why.to_string())
    }
}

fn at(clock: Clock) -> At {
    At { now: clock.uptime(), wall: clock.now() }
}
