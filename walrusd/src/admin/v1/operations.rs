//! Plans, and the operations that carry them out.

use std::{str::FromStr, sync::Arc};

use axum::{
    extract::{Path, rejection::PathRejection},
    http::Uri,
};
use walrus_admin::{
    ApiError, Code,
    operation::{CancelRequest, Operation, OperationList},
    plan::{Plan, RunRequest, Wanted},
};
use walrus_types::{OperationId, PlanId};

use super::answer::{Answer, Live, Sent, Told, parameters};
use crate::{
    broker::Broker,
    operations::{
        Look,
        asked::{self, Question, ask},
        shown,
    },
};
/// The part of a path that names one.
type Named = Result<Path<String>, PathRejection>;

fn id<T: FromStr<Err: std::fmt::Display>>(named: Named) -> Result<T, ApiError> {
    let Path(named) = named.map_err(|why| ApiError::new(Code::BadRequest, why.body_text()))?;
    named.parse().map_err(|why| ApiError::new(Code::BadRequest, format!("{why}")))
}

pub(super) async fn plan(Live(broker): Live, Sent(wanted): Sent<Wanted>) -> Answer<Plan> {
    Ok(Told(told_plan(ask(&broker, Question::Plan(wanted)).await?)?))
}

pub(super) async fn planned(Live(broker): Live, named: Named, uri: Uri) -> Answer<Plan> {
    parameters(&uri, &[])?;
    let id: PlanId = id(named)?;
    Ok(Told(told_plan(ask(&broker, Question::Planned(id)).await?)?))
}

fn told_plan(answer: asked::Answer) -> Result<Plan, ApiError> {
    match answer {
        asked::Answer::Plan(plan) => Ok(*plan),
        asked::Answer::Begun(_) => Err(other()),
    }
}

fn other() -> ApiError {
    ApiError::new(Code::Internal, "the controller answered to something else")
}

pub(super) async fn run(
    Live(broker): Live,
    named: Named,
    Sent(request): Sent<RunRequest>,
) -> Answer<Operation> {
    let id: PlanId = id(named)?;
    match ask(&broker, Question::Run(id, request)).await? {
        asked::Answer::Begun(operation) => {
            // It began at an index that this node may not have applied yet.
            let mut views = broker.raft.watch();
            let has_it = views.wait_for(|view| view.applied() >= operation.0).await;
            has_it.map_err(|_stopped| {
                ApiError::new(Code::Stopping, "the node stops").hint("ask another node")
            })?;
            Ok(Told(look(&broker, operation).await?))
        }
        asked::Answer::Plan(_) => Err(other().into()),
    }
}

pub(super) async fn list(Live(broker): Live, uri: Uri) -> Answer<OperationList> {
    parameters(&uri, &[])?;
    let look = Look::take(&broker).await?;
    let items = shown::all(look.facts(), broker.clock.now());
    Ok(Told(OperationList { metadata_version: look.metadata.applied(), items }))
}

pub(super) async fn one(Live(broker): Live, named: Named, uri: Uri) -> Answer<Operation> {
    parameters(&uri, &[])?;
    Ok(Told(look(&broker, id(named)?).await?))
}

async fn look(broker: &Arc<Broker>, id: OperationId) -> Result<Operation, ApiError> {
    let look = Look::take(broker).await?;
    let known = look.metadata.operations().get(&id).ok_or_else(|| {
        let what = format!("there is no operation {id}, or it ended long ago");
        ApiError::new(Code::NotFound, what).hint("walrusctl op list")
    })?;
    Ok(shown::shown(id, known, look.facts(), broker.clock.now()))
}

pub(super) async fn cancel(
    Live(broker): Live,
    named: Named,
    Sent(request): Sent<CancelRequest>,
) -> Answer<Operation> {
    let id = id(named)?;
    asked::cancel(&broker, id, request.actor).await?;
    Ok(Told(look(&broker, id).await?))
}
