//! The controller carries operations on, step by step, and says when they have ended.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::sleep;
use tracing::{info, warn};
use walrus_admin::ApiError;
use walrus_metadata::{Command, EndOperation, Operation, Outcome, Reply};
use walrus_types::{Epoch, NodeId, Offset, OperationId, SegmentId, TopicPartition, UptimeMs};

use super::{
    Look, plan,
    refusal::{membership_unchanged, not_begun, not_proposed, unexpected},
    removal,
    stand::{Next, stand},
};
use crate::broker::Broker;

/// How often operations are looked at while some run. Each look counts all segments when the
/// metadata has changed.
const TICK: Duration = Duration::from_millis(250);
/// How long a voter has to lead before it is asked again.
const ASK_AGAIN_MS: u64 = 2_000;

/// When which operation last had a voter asked to lead.
type Asked = BTreeMap<OperationId, UptimeMs>;

/// Carries on whatever runs while this node is the controller, until the broker stops.
pub async fn run(broker: Arc<Broker>) {
    tokio::select! {
        () = drive(&broker) => {}
        () = broker.draining() => {}
    }
}

async fn drive(broker: &Arc<Broker>) {
    let mut views = broker.raft.watch();
    let mut asked = Asked::new();
    loop {
        let metadata = Arc::clone(&views.borrow_and_update());
        let running = metadata.operations().iter().filter(|(_, known)| known.is_running());
        let running: Vec<(OperationId, Arc<Operation>)> =
            running.map(|(id, known)| (*id, Arc::clone(known))).collect();
        asked.retain(|id, _| running.iter().any(|(known, _)| known == id));
        if running.is_empty() {
            match views.changed().await {
                Ok(()) => continue,
                Err(_the_group_stopped) => return,
            }
        }
        if broker.controller.is_controller() {
            for (id, operation) in &running {
                if let Err(why) = carry_on(broker, (*id, operation), &mut asked).await {
                    warn!(operation = %id, %why, "an operation cannot go on yet");
                }
            }
        }
        sleep(TICK).await;
    }
}

async fn carry_on(
    broker: &Arc<Broker>,
    (id, operation): (OperationId, &Operation),
    asked: &mut Asked,
) -> Result<(), ApiError> {
    let look = Look::take(broker).await?;
    let now = stand(operation, look.facts(), broker.clock.now());
    match now.next {
        Next::Wait => Ok(()),
        Next::End(outcome) => end(broker, id, outcome).await,
        Next::Remove(node) => {
            info!(operation = %id, %node, "nothing needs the node any more: it is taken out");
            removal::remove(broker, node).await
        }
        Next::HandOver(to) => {
            let uptime = broker.clock.uptime();
            let is_due = asked.get(&id).is_none_or(|at| uptime.since(*at) >= ASK_AGAIN_MS);
            if is_due {
                asked.insert(id, uptime);
                hand_over(broker, &look, to).await?;
            }
            Ok(())
        }
        Next::SealUnsafe { partition, epoch, end } => {
            seal_unsafe(broker, id, &look, (partition, epoch, end)).await
        }
    }
}

async fn end(broker: &Broker, id: OperationId, outcome: Outcome) -> Result<(), ApiError> {
    let end = EndOperation { id, outcome: outcome.clone(), at: broker.clock.now() };
    match broker.raft.propose(&Command::EndOperation(end)).await {
        Ok(Reply::Operation(Ok(_))) => {
            info!(operation = %id, ?outcome, "an operation has ended");
            Ok(())
        }
        // Somebody was first.
        Ok(Reply::Operation(Err(walrus_metadata::OperationRefusal::Ended { .. }))) => Ok(()),
        Ok(Reply::Operation(Err(refused))) => Err(not_begun(&refused)),
        Ok(other) => Err(unexpected(&other)),
        Err(why) => Err(not_proposed(&why)),
    }
}

async fn hand_over(broker: &Broker, look: &Look, to: NodeId) -> Result<(), ApiError> {
    let member = plan::may_lead(look.facts(), to)?;
    info!(%to, "the metadata group is handed over");
    let asked = broker.raft.group().transfer(member.id).await;
    asked.map_err(|why| membership_unchanged(&why))
}

/// Only to the end that was told; with another one nobody agreed to it.
async fn seal_unsafe(
    broker: &Arc<Broker>,
    id: OperationId,
    look: &Look,
    (partition, epoch, end): (TopicPartition, Epoch, Offset),
) -> Result<(), ApiError> {
    let Some(chain) = look.metadata.partition(partition) else { return Ok(()) };
    let base = chain.open().key.base;
    let segment = SegmentId { partition, base, epoch };
    // It is being sealed, or a controller that has just begun has yet to see that it cannot be.
    let Some(known) = broker.controller.unsafe_plan(segment) else { return Ok(()) };
    let moved_to = if known.end == end {
        warn!(operation = %id, %segment, %end, "an operator seals unsafely");
        match broker.controller.seal_unsafe(known).await {
            Ok(()) => None,
            Err(walrus_replication::seal::UnsafeRefusal::Changed { end, .. }) => Some(end),
            // Who was missing has come back: it is being sealed, with nothing lost then.
            Err(_not_needed) => None,
        }
    } else {
        Some(known.end)
    };
    match moved_to {
        None => Ok(()),
        Some(now) => {
            let why = format!("it was to end at {end}, and now would at {now}: look at a new plan");
            self::end(broker, id, Outcome::Failed { why }).await
        }
    }
}
