//! A node that stops gives its leases to the other members first, so that nobody has to wait until
//! it is missed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tracing::{info, warn};
use walrus_metadata::{Leader, Metadata, Open, Placement};
use walrus_replication::RollReason;

use crate::{broker::Broker, controller::cluster::is_alone};

/// How often it is looked whether all are given.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Every node knows after this that another one is about to stop: a heartbeat to the controller,
/// one from it, and half of one for their ways. Until then leases may still come here.
const LEAVING_HEARD_OF: Duration = Duration::from_millis(250);

/// Rolls every partition that this node leads to another member that serves, those too that are
/// given to it meanwhile, until nobody gives it any; `limit` at most. Partitions that nobody else
/// stores stay.
pub async fn hand_over(broker: &Arc<Broker>, limit: Duration) {
    if is_alone(&broker.metadata()) {
        return;
    }
    let began = Instant::now();
    broker.controller.leave();
    let _held = broker.queues.hold(broker).await;
    let (mut handed, mut turn) = (0, 0);
    let left = loop {
        let (left, begun) = roll_away(broker, &mut turn);
        handed += begun;
        if (left == 0 && began.elapsed() >= LEAVING_HEARD_OF) || began.elapsed() >= limit {
            break left;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    if left == 0 {
        info!(leases = handed, "every lease was handed over");
    } else {
        warn!(leases = handed, left, "not every lease was handed over in time");
    }
}

/// Begins to roll what this node leads and another member can lead. How many leases there are of
/// those, and how many rolls were begun.
fn roll_away(broker: &Arc<Broker>, turn: &mut usize) -> (usize, usize) {
    let metadata = broker.metadata();
    let (mut left, mut begun) = (0, 0);
    for partition in broker.partitions().all() {
        let chain = metadata.partition(partition.id());
        let open = chain.map(|chain| chain.open()).filter(|open| open.leader == broker.leader());
        let Some(open) = open.filter(|_| !partition.is_closed()) else { continue };
        let Some(to) = to_another(&metadata, open, *turn) else { continue };
        left += 1;
        let why = (RollReason::Drain, to);
        if partition.begin_roll_to(open.key.epoch, why, broker.clock.uptime()) {
            *turn += 1;
            begun += 1;
        }
    }
    (left, begun)
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
