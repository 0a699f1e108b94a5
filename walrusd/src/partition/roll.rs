//! Turns drained segments, and those that an earlier life left open, into metadata commands: many
//! rolls travel as one.
//!
//! A roll is ordered once. The task here proposes it, repeats it until its outcome is known (M1:
//! an unknown outcome is neither), and hands the successor to the partition, or tells who loads
//! it that the metadata has it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tracing::{debug, error, warn};
use walrus_metadata::{Command, Coverage, Reason, Reply, Roll, RollRefusal, Rolled, SealedAt};
use walrus_raft::ProposeError;
use walrus_replication::{OpenSegment, Proposal, RollReason};
use walrus_storage::{segment::Segment, wal::Done};
use walrus_types::{Offset, SegmentId, limits};

use super::Partition;
use crate::broker::Broker;

/// Before a proposal of unknown outcome is repeated.
const REPEAT_AFTER: Duration = Duration::from_millis(50);

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
            let command =
                Command::Roll(orders.iter().map(|order| order.command(&broker)).collect());
            let Some(reply) = propose(&broker, &command).await else { return };
            let Reply::Rolled(decided) = reply else {
                error!(?reply, "rolls were answered with something else");
                return;
            };
            // Every outcome is read off the metadata: after a repeat the answers are refusals.
            let refused: Vec<(Arc<Partition>, Proposal)> = orders
                .drain(..)
                .zip(decided)
                .filter_map(|(order, decided)| order.finish(&broker, decided))
                .collect();
            if !refused.is_empty() {
                tokio::time::sleep(REPEAT_AFTER).await;
            }
            for (partition, proposal) in refused {
                broker.rolls.propose(&partition, proposal);
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
    fn command(&self, broker: &Broker) -> Roll {
        match self {
            Self::Restart { roll, .. } => (**roll).clone(),
            Self::Drained { partition, proposal } => {
                let Proposal { expected, end, bytes, max_timestamp, reason } = *proposal;
                Roll {
                    partition: partition.id(),
                    expected,
                    sealed: SealedAt { end, bytes, max_timestamp },
                    coverage: Coverage::Quorum,
                    next: broker.placement(partition.id().topic),
                    reason: metadata_reason(reason),
                    at: broker.clock.now(),
                }
            }
        }
    }

    /// Passes on what became of the roll; gives back what is to be proposed again.
    fn finish(self, broker: &Arc<Broker>, answer: Decided) -> Option<(Arc<Partition>, Proposal)> {
        match self {
            Self::Restart { decided, .. } => {
                // Who loads the partition may wait no more.
                drop(decided.send(answer));
                None
            }
            Self::Drained { partition, proposal } => {
                hand_over(broker, partition, proposal).map(|partition| (partition, proposal))
            }
        }
    }
}

/// Reads off the metadata what became of a roll and gives the partition its successor. Gives the
/// partition back when the roll was refused for another reason than its epoch, as when its
/// placement named what is past by now.
fn hand_over(
    broker: &Arc<Broker>,
    partition: Arc<Partition>,
    proposal: Proposal,
) -> Option<Arc<Partition>> {
    let id = partition.id();
    let metadata = broker.raft.state();
    let chain = metadata.topic(id.topic).and_then(|topic| topic.partition(id.partition));
    let Some(chain) = chain else {
        partition.deleted();
        return None;
    };
    let open = chain.open();
    if open.key.epoch <= proposal.expected {
        warn!(partition = %id, "a roll was refused and is proposed again");
        return Some(partition);
    }
    let segment = SegmentId { partition: id, base: open.key.base, epoch: open.key.epoch };
    let segment = broker.store.segment(segment);
    let next = open_segment(open);
    if let Some((sealed, state)) = partition.rolled(&next, segment, broker.clock.uptime()) {
        let (epoch, base, reason) = (next.epoch, next.base, proposal.reason);
        debug!(partition = %id, %epoch, %base, %reason, "rolled");
        broker.metrics.rolled();
        // The files behind the seal are nothing that an append waits for.
        tokio::task::spawn_blocking(move || seal_files(&sealed, state, base));
    }
    None
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
        members: open
            .members
            .iter()
            .map(|member| walrus_replication::Member { node: member.node, storage: member.storage })
            .collect(),
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
