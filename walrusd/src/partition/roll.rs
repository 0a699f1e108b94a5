//! Turns drained segments, and those that an earlier life left open, into metadata commands: many
//! rolls travel as one.
//!
//! A roll is ordered once. The task here proposes it, repeats it until its outcome is known (M1:
//! an unknown outcome is neither), and hands the successor to the partition, or tells who loads
//! it that the metadata has it.

use std::{ops::Range, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};
use walrus_metadata::{Command, Coverage, Reason, Reply, Roll, RollRefusal, Rolled, SealedAt};
use walrus_raft::ProposeError;
use walrus_replication::{
    OpenSegment, Proposal, RollReason,
    placement::{self, Occasion},
};
use walrus_storage::{
    segment::{ReadError, Segment},
    wal::Done,
};
use walrus_types::{Epoch, Offset, TopicPartition, batch::BatchHeader, limits};

use super::{AppendFailure, Behind, Marks, Partition, Successor, read::segment_of};
use crate::{broker::Broker, controller::nodes};

/// Before a proposal of unknown outcome is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(50);
/// What is read at once of what a successor takes along.
const CARRIED_AT_ONCE_BYTES: usize = 1 << 20;

/// What the metadata answered to a roll.
pub(super) type Decided = Result<Rolled, RollRefusal>;

/// A roll that is to be proposed until its outcome is known.
#[derive(Debug)]
enum Order {
    /// A partition has drained, and proposes this.
    Drained { partition: Arc<Partition>, proposal: Proposal },
    /// A segment that an earlier life left open; who loads its partition waits.
    Restart { roll: Box<Roll>, decided: oneshot::Sender<Decided> },
}

/// Where partitions order their rolls.
#[derive(Debug, Clone)]
pub struct RollOrders(mpsc::Sender<Order>);

/// The other end of [`RollOrders`].
#[derive(Debug)]
pub struct OrderedRolls(mpsc::Receiver<Order>);

/// The two ends. A partition has one roll under way at most, so the queue never fills.
pub fn orders() -> (RollOrders, OrderedRolls) {
    let (sender, receiver) = mpsc::channel(limits::PARTITIONS_MAX);
    (RollOrders(sender), OrderedRolls(receiver))
}

impl RollOrders {
    pub(super) fn propose(&self, partition: &Arc<Partition>, proposal: Proposal) {
        let order = Order::Drained { partition: Arc::clone(partition), proposal };
        if self.0.try_send(order).is_err() {
            // Only when the broker is stopping: the segment stays open and is rolled at the
            // next start.
            debug!(partition = %partition.id(), "a roll was ordered while stopping");
        }
    }

    /// Has what an earlier life left open sealed; returns what the metadata answered, and `None`
    /// when the broker stops before that.
    pub(super) async fn restart(&self, roll: Roll) -> Option<Decided> {
        let (decided, decision) = oneshot::channel();
        let order = Order::Restart { roll: Box::new(roll), decided };
        self.0.send(order).await.ok()?;
        decision.await.ok()
    }
}

impl OrderedRolls {
    /// Carries out rolls until the broker stops.
    pub async fn run(mut self, broker: Arc<Broker>) {
        let mut orders = Vec::new();
        while self.0.recv_many(&mut orders, limits::CHANGES_PER_COMMAND_MAX).await > 0 {
            let mut again = Vec::new();
            let mut placed = Vec::with_capacity(orders.len());
            for order in orders.drain(..) {
                match order.roll(&broker) {
                    Ok(roll) => placed.push((order, roll)),
                    Err(why) => {
                        warn!(partition = %order.partition(), %why, "a roll waits: its next segment has no place");
                        again.extend(order.again());
                    }
                }
            }
            if !placed.is_empty() {
                let command = Command::Roll(placed.iter().map(|(_, roll)| roll.clone()).collect());
                let Some(reply) = propose(&broker, &command).await else { return };
                let Reply::Rolled(decided) = reply else {
                    error!(?reply, "rolls were answered with something else");
                    return;
                };
                for ((order, _), decided) in placed.into_iter().zip(decided) {
                    // Every outcome is read off the metadata: after a repeat the answers are
                    // refusals.
                    again.extend(order.finish(&broker, decided).await);
                }
            }
            if !again.is_empty() {
                tokio::time::sleep(REPEAT_AFTER).await;
            }
            for (partition, proposal) in again {
                broker.leading().rolls.propose(&partition, proposal);
            }
        }
    }
}

/// Proposes until the outcome is known; `None` when that cannot be any more.
async fn propose(broker: &Broker, command: &Command) -> Option<Reply> {
    loop {
        let why = match broker.raft.propose(command).await {
            Ok(reply) => return Some(reply),
            Err(why) => why,
        };
        let stopped = matches!(why, ProposeError::Stopped(_) | ProposeError::TooLarge { .. });
        if stopped || broker.is_draining() {
            error!(%why, "rolls cannot be proposed any more");
            return None;
        }
        warn!(%why, %command, "rolls are proposed again");
        tokio::time::sleep(REPEAT_AFTER).await;
    }
}

impl Order {
    fn partition(&self) -> TopicPartition {
        match self {
            Self::Restart { roll, .. } => roll.partition,
            Self::Drained { partition, .. } => partition.id(),
        }
    }

    fn roll(&self, broker: &Broker) -> Result<Roll, placement::Refusal> {
        match self {
            Self::Restart { roll, .. } => Ok((**roll).clone()),
            Self::Drained { partition, proposal } => {
                let Proposal { expected, end, bytes, max_timestamp, reason } = *proposal;
                let next = match partition.take_wanted() {
                    Some(wanted) => wanted,
                    None => broker.place_next(partition.id(), Occasion::Planned(reason))?,
                };
                Ok(Roll {
                    partition: partition.id(),
                    expected,
                    sealed: SealedAt { end, bytes, max_timestamp },
                    coverage: Coverage::Quorum,
                    next,
                    reason: metadata_reason(reason),
                    at: broker.clock.now(),
                })
            }
        }
    }

    /// What is to be proposed again.
    fn again(self) -> Option<(Arc<Partition>, Proposal)> {
        match self {
            // Who loads the partition hears that nothing came of it.
            Self::Restart { .. } => None,
            Self::Drained { partition, proposal } => Some((partition, proposal)),
        }
    }

    /// Passes on what became of the roll; gives back what is to be proposed again.
    async fn finish(
        self,
        broker: &Arc<Broker>,
        answer: Decided,
    ) -> Option<(Arc<Partition>, Proposal)> {
        match self {
            Self::Restart { decided, .. } => {
                // Who loads the partition may wait no more.
                drop(decided.send(answer));
                None
            }
            Self::Drained { partition, proposal } => {
                if settle(broker, &partition, proposal.expected).await {
                    let reason = proposal.reason;
                    debug!(partition = %partition.id(), end = %proposal.end, %reason, "rolled");
                    broker.metrics.rolled();
                    return None;
                }
                let why = answer.err().map(|refusal| refusal.to_string());
                warn!(partition = %partition.id(), why, "a roll was refused and is proposed again");
                Some((partition, proposal))
            }
        }
    }
}

/// Reads off the metadata what became of the segment of `expected`: its partition goes on in the
/// successor, or stops where this node does not lead that. False when the segment is still open.
pub async fn settle(broker: &Arc<Broker>, partition: &Arc<Partition>, expected: Epoch) -> bool {
    let id = partition.id();
    let metadata = broker.raft.state();
    let Some(chain) = metadata.partition(id) else {
        partition.deleted();
        return true;
    };
    let (open, Marks { epoch, commit, .. }) = (chain.open(), partition.marks());
    if open.key.epoch <= expected {
        return false;
    }
    if open.key.epoch <= epoch {
        // Somebody else saw it first.
        return true;
    }
    let was = chain.sealed().last_where(|key| key.epoch <= epoch);
    // One that left the chain was empty, or is pruned already and asked for by nobody.
    let end = match was {
        Some((key, sealed)) if key.epoch == epoch => sealed.end,
        Some(_) | None => commit,
    };
    let mine = open.leader == broker.leader() && open.key.base == end;
    let next = if mine {
        let carried = match carried(partition, end).await {
            Ok(carried) => carried,
            Err(why) => {
                // Its log would end past what the successor's file has.
                error!(partition = %id, %why, "what was not committed cannot be taken along");
                partition.failed(&AppendFailure::Storage(why.to_string()));
                return true;
            }
        };
        let segment = broker.store.segment(segment_of(id, open.key));
        Some(Successor { record: open_segment(open), segment, carried })
    } else {
        broker.partitions().remove(partition);
        None
    };
    let behind = partition.sealed(end, next, broker.clock.uptime());
    if let Some(Behind { sealed, end, producers, parked }) = behind {
        if let Some(parked) = parked {
            broker.metrics.roll_parked(parked);
        }
        if !mine {
            debug!(partition = %id, %end, leader = %open.leader.node, "another node leads now");
        }
        // The files behind the seal are nothing that an append waits for; an empty segment leaves
        // the chain and has none.
        if end > sealed.id().base {
            tokio::task::spawn_blocking(move || seal_files(&sealed, producers.encode(), end));
        }
    }
    true
}

/// The batches past `end`, which the successor takes along. There are none unless the segment had
/// lost its write quorum.
async fn carried(partition: &Partition, end: Offset) -> Result<Vec<Bytes>, ReadError> {
    let (segment, Range { end: log_end, .. }) = partition.uncommitted();
    if end >= log_end {
        return Ok(Vec::new());
    }
    let gone = segment.id();
    let reading = tokio::task::spawn_blocking(move || {
        let (mut from, mut batches) = (end, Vec::new());
        while from < log_end {
            let chunk = segment.read(from, log_end, CARRIED_AT_ONCE_BYTES)?;
            if chunk.total == 0 {
                return Err(ReadError::Gone(segment.id()));
            }
            from = chunk.next;
            batches.extend(chunk.bytes.into_iter().flat_map(split_batches));
        }
        Ok(batches)
    });
    // Only a runtime that ends breaks it off.
    reading.await.unwrap_or(Err(ReadError::Gone(gone)))
}

/// The batches that lie back to back in `bytes`, as the store gives them.
pub(super) fn split_batches(mut bytes: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let header = (!bytes.is_empty())
            .then(|| BatchHeader::parse(&bytes).expect("the store gives whole batches"))?;
        Some(bytes.split_to(header.batch_bytes))
    })
}

/// Writes a sealed segment's end and its producers' table beside it. Either is made again at the
/// next load if a crash comes between.
pub(super) fn seal_files(segment: &Arc<Segment>, producers: Vec<u8>, end: Offset) {
    let done: Done = Box::new(|_durable_or_made_again| {});
    if let Err(why) = segment.write_state(Bytes::from(producers), done) {
        warn!(segment = %segment.id(), %why, "a sealed segment's state is written at the next load");
    }
    if let Err(why) = segment.seal(end) {
        warn!(segment = %segment.id(), %why, "a segment is sealed on disk at the next load");
    }
}

/// The record of an open segment, in the decider's words.
pub fn open_segment(open: &walrus_metadata::Open) -> OpenSegment {
    OpenSegment {
        epoch: open.key.epoch,
        base: open.key.base,
        members: nodes::members(&open.members),
        write_quorum: usize::from(open.w),
    }
}

const fn metadata_reason(reason: RollReason) -> Reason {
    match reason {
        RollReason::Bytes => Reason::Bytes,
        RollReason::Entries => Reason::Entries,
        RollReason::Age => Reason::Age,
        RollReason::Retention => Reason::Retention,
        RollReason::Operator => Reason::Operator,
        RollReason::Drain => Reason::Drain,
        RollReason::Balance => Reason::Balance,
        RollReason::QuorumLost => Reason::QuorumLost,
        RollReason::Reshape => Reason::Config,
    }
}
