//! What operators ask of the controller: a plan, and to carry one out. Any node is asked; it asks
//! the controller over the peer port, so nobody has to know who that is.
//!
//! The question and the answer are JSON: [`Question`], and a `Result` of [`Answer`].

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use tracing::info;
use walrus_admin::{
    ApiError, Code,
    plan::{Danger, PLAN_LIVES_MS, Plan, RunRequest, Wanted},
};
use walrus_metadata::{BeginOperation, Command, EndOperation, Metadata, Outcome, Reply, Work};
use walrus_types::{NodeId, OperationId, PlanId, SegmentId, TimestampMs, TopicPartition};

use super::{
    Look,
    plan::{self, Judged, Known},
    plans::Kept,
    refusal::{not_begun, not_proposed, unexpected},
};
use crate::{
    broker::Broker,
    text::elsewhere::{self, Errand, ErrandError},
    vitals,
};

/// How long the controller may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Question {
    /// What would this come to?
    Plan(Wanted),
    /// What would that plan come to?
    Planned(PlanId),
    /// Carry it out.
    Run(PlanId, RunRequest),
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// The plan.
    Plan(Box<Plan>),
    /// The operation that carries it out.
    Begun(OperationId),
}

/// Asks the controller, wherever that is.
///
/// # Errors
/// What it refuses, or that nobody answers.
pub async fn ask(broker: &Arc<Broker>, question: Question) -> Result<Answer, ApiError> {
    if broker.controller.is_controller() {
        return here(broker, question).await;
    }
    let group = broker.raft.group();
    let leader = group.leader();
    let leader = group.members().into_iter().find(|member| Some(member.id) == leader);
    let Some(node) = leader.map(|leader| leader.peer.node) else {
        let what = "nobody leads the metadata group at the moment";
        return Err(ApiError::new(Code::Unavailable, what).hint("ask again in a moment"));
    };
    let asked = serde_json::to_vec(&question).expect("plain data");
    let asked = elsewhere::ask(broker, node, &Errand::Operator, &asked, ANSWER_MAX).boxed().await;
    let (_done, told) = asked.map_err(|why| match why {
        ErrandError::NotHere(why) => ApiError::new(Code::Unavailable, why).hint("ask again"),
        ErrandError::Failed(why) => {
            ApiError::new(Code::Unknown, why).hint("ask again: nothing is done twice")
        }
    })?;
    serde_json::from_slice(&told).map_err(|why| {
        let what = format!("{node} does not know how to answer: {why}");
        ApiError::new(Code::Unavailable, what).hint("is it of an older version?")
    })?
}

/// Answers another node; with nothing if it asks for what is not known here.
pub async fn answer(broker: &Arc<Broker>, question: &[u8]) -> Bytes {
    let Ok(question) = serde_json::from_slice(question) else { return Bytes::new() };
    let told = here(broker, question).await;
    serde_json::to_vec(&told).expect("plain data").into()
}

async fn here(broker: &Arc<Broker>, question: Question) -> Result<Answer, ApiError> {
    if !broker.controller.is_controller() {
        let what = format!("{} is not the controller, or not yet", broker.identity.node);
        return Err(ApiError::new(Code::Unavailable, what).hint("ask again in a moment"));
    }
    match question {
        Question::Plan(wanted) => make(broker, wanted).await.map(|plan| Answer::Plan(plan.into())),
        Question::Planned(id) => {
            let kept = broker.operations.plans.lock().of(id, broker.clock.now()).cloned();
            kept.map(|kept| Answer::Plan(kept.plan.into())).ok_or_else(|| expired(id))
        }
        Question::Run(id, request) => run(broker, id, request).await.map(Answer::Begun),
    }
}

fn expired(id: PlanId) -> ApiError {
    let what =
        format!("there is no plan {id} any more: it expired, or another node is the controller");
    ApiError::new(Code::Expired, what).hint("plan it again, with --dry-run")
}

/// Judges what is wanted by what is known now.
async fn judge(broker: &Arc<Broker>, wanted: &Wanted) -> Result<(Look, Judged), ApiError> {
    let clients = match wanted {
        Wanted::Drain { node } | Wanted::Undrain { node } | Wanted::Remove { node } => {
            clients_of(broker, *node).await
        }
        Wanted::Rollover { .. } | Wanted::TransferRaft { .. } | Wanted::UnsafeSeal { .. } => None,
    };
    let look = Look::take(broker).await?;
    let segment = open_segment(&look.metadata, wanted);
    let unsafe_plan = segment.and_then(|segment| broker.controller.unsafe_plan(segment));
    let known = Known { facts: look.facts(), clients, unsafe_plan: unsafe_plan.as_ref() };
    let judged = plan::judge(known, wanted)?;
    Ok((look, judged))
}

async fn clients_of(broker: &Arc<Broker>, node: NodeId) -> Option<u64> {
    if node == broker.identity.node {
        return Some(broker.metrics.traffic().connections);
    }
    vitals::gather(broker).await;
    let heard = broker.vitals.of(node);
    let said = heard.said.filter(|_| heard.silent.is_none());
    said.map(|(vitals, _)| vitals.traffic.connections)
}

/// The segment that an unsafe seal is asked for.
fn open_segment(metadata: &Metadata, wanted: &Wanted) -> Option<SegmentId> {
    let Wanted::UnsafeSeal { topic, partition } = wanted else { return None };
    let topic = metadata.topic_named(topic)?;
    let key = topic.partition(*partition)?.open().key;
    let partition = TopicPartition { topic: topic.id, partition: *partition };
    Some(SegmentId { partition, base: key.base, epoch: key.epoch })
}

async fn make(broker: &Arc<Broker>, wanted: Wanted) -> Result<Plan, ApiError> {
    let (look, judged) = judge(broker, &wanted).await?;
    let (id, now) = (PlanId::of(rand::random()), broker.clock.now());
    let Judged { changes, effects, warnings, refusals, impact, work, segments } = judged;
    let plan = Plan {
        id,
        subject: wanted.subject(),
        danger: wanted.danger(),
        command: format!("{} --plan {id}", wanted.command()),
        wanted,
        made_by: broker.identity.node,
        metadata_version: look.metadata.applied(),
        at_ms: now,
        expires_at_ms: TimestampMs(now.0.saturating_add_unsigned(PLAN_LIVES_MS)),
        changes,
        effects,
        warnings,
        refusals,
        impact,
    };
    let kept = Kept { plan: plan.clone(), work, segments };
    broker.operations.plans.lock().keep(kept, now);
    Ok(plan)
}

async fn run(
    broker: &Arc<Broker>,
    id: PlanId,
    request: RunRequest,
) -> Result<OperationId, ApiError> {
    let metadata = broker.metadata();
    let begun = metadata.operations().iter().find(|(_, known)| known.plan == id);
    if let Some((operation, _)) = begun {
        return Ok(*operation);
    }
    let kept = broker.operations.plans.lock().of(id, broker.clock.now()).cloned();
    let kept = kept.ok_or_else(|| expired(id))?;
    let RunRequest { actor, reason, confirm } = request;
    confirmed(&kept.plan, confirm.as_deref())?;
    let (work, segments) = still_so(broker, kept).await?;
    let begin = BeginOperation {
        work,
        plan: id,
        actor: actor.clone(),
        reason: reason.clone(),
        segments,
        at: broker.clock.now(),
    };
    match broker.raft.propose(&Command::BeginOperation(begin)).await {
        Ok(Reply::Operation(Ok(operation))) => {
            info!(%operation, plan = %id, actor, reason, "an operation has begun");
            Ok(operation)
        }
        Ok(Reply::Operation(Err(refused))) => Err(not_begun(&refused)),
        Ok(other) => Err(unexpected(&other)),
        Err(why) => Err(not_proposed(&why)),
    }
}

fn confirmed(plan: &Plan, given: Option<&str>) -> Result<(), ApiError> {
    if plan.danger < Danger::Severe || given == Some(plan.subject.as_str()) {
        return Ok(());
    }
    let what = format!("{} {} is not confirmed", plan.wanted.verb(), plan.subject);
    Err(ApiError::new(Code::NotConfirmed, what).hint(format!("confirm it with {:?}", plan.subject)))
}

/// What carries a plan out, if that comes to what was told.
async fn still_so(broker: &Arc<Broker>, kept: Kept) -> Result<(Work, u64), ApiError> {
    let Kept { plan, work, segments } = kept;
    let (_look, judged) = judge(broker, &plan.wanted).await?;
    if let Some(first) = judged.refusals.into_iter().next() {
        return Err(first);
    }
    let Some(work) = work else {
        let what =
            plan.effects.into_iter().next().unwrap_or_else(|| "nothing is to be done".into());
        return Err(ApiError::new(Code::Changed, what).hint("there is nothing to carry out"));
    };
    // What is rolled over meanwhile has another epoch, and is not rolled over again.
    let is_same = matches!(work, Work::Rollover(_)) || judged.work.as_ref() == Some(&work);
    if !is_same || judged.warnings != plan.warnings {
        let now: Vec<String> = judged.effects.into_iter().chain(judged.warnings).collect();
        let what = format!("it would come to something else by now: {}", now.join("; "));
        return Err(ApiError::new(Code::Changed, what).hint("look at a new plan"));
    }
    Ok((work, segments))
}

/// Takes an operation back.
///
/// # Errors
/// It is not there, or has ended.
pub async fn cancel(broker: &Broker, id: OperationId, actor: String) -> Result<(), ApiError> {
    let outcome = Outcome::Cancelled { by: actor.clone() };
    let end = EndOperation { id, outcome, at: broker.clock.now() };
    match broker.raft.propose(&Command::EndOperation(end)).await {
        Ok(Reply::Operation(Ok(_))) => {
            info!(operation = %id, actor, "an operation is taken back");
            Ok(())
        }
        Ok(Reply::Operation(Err(refused))) => Err(not_begun(&refused)),
        Ok(other) => Err(unexpected(&other)),
        Err(why) => Err(not_proposed(&why)),
    }
}
