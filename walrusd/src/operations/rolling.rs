//! Every node rolls over what it leads of the rollovers that run. The pace is in the operation: the
//! first targets are due when it begins, the others one after the other, by each node's own clock.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream};
use tokio::time::sleep;
use tracing::debug;
use walrus_metadata::{Metadata, Operation, Target, Work};
use walrus_replication::RollReason;
use walrus_types::TimestampMs;

use crate::broker::Broker;

/// How often what is due is looked for while rollovers run.
const TICK: Duration = Duration::from_millis(50);
/// Partitions that are loaded and begun at a time.
const BEGIN_MAX: usize = 64;

/// Rolls over what is due, until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    tokio::select! {
        () = roll(&broker) => {}
        () = broker.draining() => {}
    }
}

async fn roll(broker: &Arc<Broker>) {
    let mut views = broker.raft.watch();
    loop {
        let metadata = Arc::clone(&views.borrow_and_update());
        let due = due(&metadata, broker.identity.node, broker.clock.now());
        let begun = stream::iter(due).map(|target| begin(broker, target));
        begun.buffer_unordered(BEGIN_MAX).collect::<()>().await;
        if metadata.operations().iter().any(|(_, known)| running(known).is_some()) {
            // What is due next is so by the clock alone.
            sleep(TICK).await;
        } else if views.changed().await.is_err() {
            return;
        }
    }
}

fn running(operation: &Operation) -> Option<&walrus_metadata::Rollover> {
    match &operation.work {
        Work::Rollover(rollover) if operation.is_running() => Some(rollover),
        Work::Rollover(_)
        | Work::Drain(_)
        | Work::Undrain(_)
        | Work::Remove { .. }
        | Work::TransferRaft { .. }
        | Work::UnsafeSeal { .. } => None,
    }
}

/// The targets that are due and open still, of those that `node` leads.
fn due(metadata: &Metadata, node: walrus_types::NodeId, now: TimestampMs) -> Vec<Target> {
    let mut found = Vec::new();
    for (_, operation) in metadata.operations() {
        let Some(rollover) = running(operation) else { continue };
        let since = u64::try_from(now.0.saturating_sub(operation.began_at.0)).unwrap_or(0);
        let is_open_here = |target: &&Target| {
            let chain = metadata.partition(target.partition);
            chain.is_some_and(|chain| {
                let open = chain.open();
                open.key.epoch == target.epoch && open.leader.node == node
            })
        };
        found.extend(rollover.targets[..rollover.due(since)].iter().filter(is_open_here).copied());
    }
    found
}

async fn begin(broker: &Arc<Broker>, target: Target) {
    let id = target.partition;
    let Some(topic) = broker.topic_by_id(id.topic) else { return };
    match broker.partition(&topic, id.partition.0).await {
        Ok(partition) if partition.marks().epoch == target.epoch && !partition.is_rolling() => {
            // It is asked again as long as the epoch is open.
            let _begun = partition.begin_roll(RollReason::Operator, broker.clock.uptime());
        }
        Ok(_under_way_or_past) => {}
        Err(why) => debug!(partition = %id, %why, "cannot be rolled over yet"),
    }
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{BeginOperation, Command, Rollover};
    use walrus_types::{Epoch, NodeId, PartitionIndex, PlanId};

    use super::{super::node_change::tests::World, *};

    #[test]
    fn a_node_rolls_what_it_leads_when_it_is_due_and_nothing_twice() {
        let mut world = World::of(3).topic(3, &[1, 2, 3]).topic(3, &[2, 1, 3]).topic(3, &[1, 2, 3]);
        let target = |topic: u128| Target {
            partition: walrus_types::TopicPartition {
                topic: walrus_types::TopicId(uuid::Uuid::from_u128(topic)),
                partition: PartitionIndex(0),
            },
            epoch: Epoch(1),
        };
        let targets = vec![target(1), target(2), target(3)];
        world.apply(&Command::BeginOperation(BeginOperation {
            work: Work::Rollover(Rollover { targets, total: 3, per_minute: 60 }),
            plan: PlanId::of(1),
            actor: "ann".into(),
            reason: String::new(),
            segments: 3,
            at: TimestampMs(10_000),
        }));
        let at = |world: &World, node, ms| {
            let due = due(&world.metadata, NodeId(node), TimestampMs(ms));
            due.iter().map(|one| one.partition.topic.0.as_u128()).collect::<Vec<_>>()
        };
        // One a second, the first at once; a clock that is behind begins no sooner.
        for (node, ms, expected) in [
            (1, 10_000, &[1][..]),
            (1, 0, &[1]),
            (2, 10_000, &[]),
            (2, 11_000, &[2]),
            (1, 12_000, &[1, 3]),
            (3, 99_000, &[]),
        ] {
            assert_eq!(at(&world, node, ms), expected, "{node} at {ms}");
        }
        let rolled = world.roll(&[1, 2, 3]);
        assert_eq!(at(&rolled, 1, 99_000), [3], "the first has another epoch");
    }
}
