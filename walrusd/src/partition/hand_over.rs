//! A node that stops gives its leases to the other members first, so that nobody has to wait until
//! it is missed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};
use walrus_metadata::{Leader, Metadata, Open, Placement};
use walrus_replication::RollReason;

use super::Partition;
use crate::broker::Broker;

/// How often it is looked whether all are given.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Every node that is well has heard of a change of the metadata after this: three heartbeats of
/// the metadata group.
pub const HEARD_OF: Duration = Duration::from_millis(150);

/// Rolls every partition that this node leads to another member that serves, and waits until that
/// is done, `limit` at most. Partitions that nobody else stores stay.
pub async fn hand_over(broker: &Arc<Broker>, limit: Duration) {
    let until = Instant::now() + limit;
    let _held = broker.queues.hold(broker).await;
    let metadata = broker.metadata();
    let (mut turn, mut left) = (0, Vec::new());
    for partition in broker.partitions().all() {
        let chain = metadata.partition(partition.id());
        let open = chain.map(|chain| chain.open()).filter(|open| open.leader == broker.leader());
        let Some(open) = open else { continue };
        if let Some(to) = to_another(&metadata, open, turn) {
            turn += 1;
            let epoch = open.key.epoch;
            let why = (RollReason::Drain, to);
            if partition.begin_roll_to(epoch, why, broker.clock.uptime()) || partition.is_rolling()
            {
                left.push((partition, epoch));
            }
        }
    }
    let all = left.len();
    while !left.is_empty() && Instant::now() < until {
        tokio::time::sleep(LOOK_AGAIN).await;
        left.retain(|(partition, epoch)| leads(partition, *epoch));
    }
    if all > 0 {
        // Nodes that have not heard of it yet still ask here, and are told that it is elsewhere.
        tokio::time::sleep(HEARD_OF).await;
    }
    if left.is_empty() {
        info!(leases = all, "every lease was handed over");
    } else {
        warn!(leases = all, left = left.len(), "not every lease was handed over in time");
    }
}

fn leads(partition: &Partition, epoch: walrus_types::Epoch) -> bool {
    partition.marks().epoch == epoch && !partition.is_closed()
}

/// The open segment's place, but led by another member: the `turn`-th of those that serve.
fn to_another(metadata: &Metadata, open: &Open, turn: usize) -> Option<Placement> {
    let others: Vec<Leader> = open
        .members
        .iter()
        .filter(|member| member.node != open.leader.node)
        .filter_map(|member| {
            let node = metadata.node(member.node).filter(|node| node.storage == member.storage)?;
            Some(Leader { node: member.node, incarnation: node.incarnation })
        })
        .filter(|leader| metadata.may_lead(*leader))
        .collect();
    let leader = *others.get(turn % others.len().max(1))?;
    Some(Placement { leader, members: open.members.to_vec(), w: open.w })
}
