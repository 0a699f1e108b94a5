//! What the admin port answers.

use std::{
    net::SocketAddr,
    sync::{Arc, OnceLock, Weak},
};

use axum::{
    Json, Router,
    extract::{Request, State as Extract},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;
use walrus_admin::{ApiError, Code};

use super::{Forming, Health, State, hooks, v1};
use crate::{
    broker::Broker,
    lag,
    metrics::{Facts, Metrics, NodeFacts},
    shutdown::Tasks,
};

/// What there is beside `/v1`, for whoever asks for something else.
const ROUTES: [&str; 3] = ["GET /healthz", "GET /readyz", "GET /metrics"];

/// What the routes read.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    /// Plugged in once the node knows something.
    pub(super) facts: Arc<OnceLock<Arc<dyn Facts>>>,
    /// Plugged in once the node serves.
    pub(super) broker: Arc<OnceLock<Weak<Broker>>>,
    /// Where a node waits to be told what to form.
    pub(super) forming: Forming,
    /// Who follows the cluster.
    pub(super) hub: v1::Hub,
    /// Where this port is, with the port that was chosen.
    pub(super) address: SocketAddr,
}

/// `hooks`: the node's tasks, where tests may do harm to them.
pub(super) fn router(sources: Sources, hooks: Option<Tasks>) -> Router {
    let harm = hooks.map_or_else(Router::new, hooks::router(&sources));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .merge(v1::router())
        .merge(harm)
        .fallback(elsewhere)
        .method_not_allowed_fallback(other_method)
        .with_state(sources)
}

/// Whether to leave the process alone: 503 only when it cannot recover by itself.
async fn healthz(Extract(sources): Extract<Sources>) -> Response {
    let state = sources.health.state();
    let code = match &state {
        State::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
        State::Starting(_) | State::Ready | State::Draining => StatusCode::OK,
    };
    told(code, &state)
}

/// Whether to send clients here.
async fn readyz(Extract(sources): Extract<Sources>) -> Response {
    let state = sources.health.state();
    let code = match &state {
        State::Ready => StatusCode::OK,
        State::Starting(_) | State::Draining | State::Failed(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    told(code, &state)
}

fn told(code: StatusCode, state: &State) -> Response {
    let mut body = json!({ "state": state.name() });
    if let Some(reason) = state.reason() {
        body["reason"] = json!(reason);
    }
    (code, Json(body)).into_response()
}

async fn metrics(Extract(sources): Extract<Sources>) -> Response {
    // Reading facts may ask the file system; the threads that serve clients must not wait for it.
    let broker = sources.broker.get().and_then(Weak::upgrade);
    let lags = match broker.filter(|broker| !broker.is_draining()) {
        Some(broker) => lag::scraped(&broker).await,
        None => None,
    };
    let page = tokio::task::spawn_blocking(move || {
        let facts = sources.facts.get().map_or_else(NodeFacts::default, |facts| facts.read());
        let facts = NodeFacts { lags, ..facts };
        sources.metrics.render(facts, &sources.health)
    });
    match page.await {
        Ok(page) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], page).into_response()
        }
        Err(error) => {
            let why = format!("the metrics could not be put together: {error}");
            v1::refusal(ApiError::new(Code::Internal, why), Vec::new())
        }
    }
}

async fn elsewhere(request: Request) -> Response {
    let why = format!("there is nothing at {} {}", request.method(), request.uri().path());
    refused(Code::NotFound, &why)
}

async fn other_method(request: Request) -> Response {
    let why = format!("{} is not answered at {}", request.method(), request.uri().path());
    refused(Code::MethodNotAllowed, &why)
}

fn refused(code: Code, message: &str) -> Response {
    let hint = "this is the admin port; Kafka clients belong on the client port";
    let routes = ROUTES.iter().chain(&v1::ROUTES).map(|route| (*route).to_owned()).collect();
    v1::refusal(ApiError::new(code, message).hint(hint), routes)
}
