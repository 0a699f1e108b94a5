//! Rolls partitions over that this node leads.
//!
//! Each is named with the epoch that was seen, so a request that comes again finds the successor
//! and rolls nothing. How fast they follow each other is for who asks: each request is carried
//! out at once.

use std::{sync::Arc, time::Duration};

use axum::extract::State as Extract;
use futures::{StreamExt as _, stream};
use tokio::time::{Instant, timeout_at};
use walrus_admin::{
    ApiError, Code,
    partition::{
        PAGE_MAX, ROLLOVER_WAIT_MS_MAX, RolloverAnswer, RolloverOutcome, RolloverRequest,
        RolloverState, RolloverTarget,
    },
};
use walrus_metadata::{Metadata, Partition};
use walrus_replication::RollReason;

use super::answer::{Answer, Live, Sent, Told, elsewhere};
use crate::{admin::routes::Sources, broker::Broker, partition::registry::Unavailable};

/// Partitions that are loaded for it at a time.
const BEGIN_MAX: usize = 64;

pub(super) async fn rollover(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    Sent(request): Sent<RolloverRequest>,
) -> Answer<RolloverAnswer> {
    let RolloverRequest { partitions, wait_ms } = request;
    if partitions.len() > PAGE_MAX {
        let what = format!("{} partitions are more than {PAGE_MAX}", partitions.len());
        return Err(ApiError::new(Code::BadRequest, what).hint("ask for some at a time").into());
    }
    let until = Instant::now() + Duration::from_millis(wait_ms.min(ROLLOVER_WAIT_MS_MAX));
    let targets = partitions.clone();
    let begun = stream::iter(targets).map(|target| begin(&sources, &broker, target));
    let mut items: Vec<RolloverOutcome> = begun.buffered(BEGIN_MAX).collect().await;
    let mut views = broker.raft.watch();
    loop {
        let metadata = Arc::clone(&views.borrow_and_update());
        let pairs = items.iter_mut().zip(&partitions);
        pairs.for_each(|(outcome, target)| settle(&metadata, outcome, target));
        if items.iter().all(|outcome| outcome.state != RolloverState::UnderWay) {
            break;
        }
        let changed = timeout_at(until, views.changed());
        let goes_on = tokio::select! {
            changed = changed => matches!(changed, Ok(Ok(()))),
            () = broker.draining() => false,
        };
        if !goes_on {
            break;
        }
    }
    Ok(Told(RolloverAnswer { items }))
}

async fn begin(sources: &Sources, broker: &Arc<Broker>, target: RolloverTarget) -> RolloverOutcome {
    let with = |state, message: Option<String>| RolloverOutcome {
        message,
        ..RolloverOutcome::new(&target, state)
    };
    let not_leader = |leader| {
        let error = elsewhere(sources, broker, leader, "this node does not lead the partition");
        let ask = error.ask;
        RolloverOutcome { leader, ask, ..with(RolloverState::NotLeader, Some(error.message)) }
    };
    let Some(view) = broker.topic_by_name(&target.topic) else {
        return with(RolloverState::NotFound, None);
    };
    let Some(chain) = view.topic.partition(target.partition) else {
        return with(RolloverState::NotFound, None);
    };
    let open = chain.open();
    if open.key.epoch != target.epoch {
        // Rolled already, or this node has not heard of that epoch yet: `settle` tells.
        return with(RolloverState::UnderWay, None);
    }
    if open.leader.node != broker.identity.node {
        return not_leader(Some(open.leader.node));
    }
    match broker.partition(&view, target.partition.0).await {
        Ok(partition) => {
            // One that an earlier life left open was sealed by loading it.
            if partition.marks().epoch == target.epoch {
                let _begun_or_under_way =
                    partition.begin_roll(RollReason::Operator, broker.clock.uptime());
            }
            with(RolloverState::UnderWay, None)
        }
        Err(Unavailable::Unknown | Unavailable::UnknownId) => with(RolloverState::NotFound, None),
        // It is on its way to another segment already.
        Err(Unavailable::Sealing) => with(RolloverState::UnderWay, None),
        Err(Unavailable::NotLeader | Unavailable::NoLease) => not_leader(None),
        Err(why @ Unavailable::Loading(_)) => with(RolloverState::Failed, Some(why.to_string())),
    }
}

/// Whether the successor is open.
fn settle(metadata: &Metadata, outcome: &mut RolloverOutcome, target: &RolloverTarget) {
    if outcome.state != RolloverState::UnderWay {
        return;
    }
    let Some(open) = chain(metadata, target).map(|chain| chain.open()) else {
        outcome.state = RolloverState::NotFound;
        return;
    };
    outcome.epoch = Some(open.key.epoch);
    outcome.leader = Some(open.leader.node);
    if open.key.epoch > target.epoch {
        outcome.state = RolloverState::Rolled;
    }
}

fn chain<'a>(metadata: &'a Metadata, target: &RolloverTarget) -> Option<&'a Arc<Partition>> {
    metadata.topic_named(&target.topic)?.partition(target.partition)
}
