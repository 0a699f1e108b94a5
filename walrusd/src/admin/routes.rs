//! What the admin port answers.

use std::sync::{Arc, OnceLock};

use axum::{
    Json, Router,
    extract::{Request, State as Extract},
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;

use super::{Health, State, hooks};
use crate::{
    metrics::{Facts, Metrics, NodeFacts},
    shutdown::Tasks,
};

/// What there is, for whoever asks for something else.
const ROUTES: [&str; 3] = ["GET /healthz", "GET /readyz", "GET /metrics"];

/// What the routes read.
#[derive(Clone)]
pub(super) struct Sources {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    /// Plugged in once the node knows something.
    pub(super) facts: Arc<OnceLock<Arc<dyn Facts>>>,
}

/// `hooks`: the node's tasks, where tests may do harm to them.
pub(super) fn router(sources: Sources, hooks: Option<Tasks>) -> Router {
    let harm = hooks.map_or_else(Router::new, |tasks| hooks::router(sources.health.clone(), tasks));
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
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
    let page = tokio::task::spawn_blocking(move || {
        let facts = sources.facts.get().map_or_else(NodeFacts::default, |facts| facts.read());
        sources.metrics.render(facts, &sources.health)
    });
    match page.await {
        Ok(page) => {
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            ([(header::CONTENT_TYPE, kind)], page).into_response()
        }
        Err(error) => {
            let why = format!("the metrics could not be put together: {error}");
            refused(StatusCode::INTERNAL_SERVER_ERROR, "internal", &why)
        }
    }
}

async fn elsewhere(request: Request) -> Response {
    let why = format!("there is nothing at {} {}", request.method(), request.uri().path());
    refused(StatusCode::NOT_FOUND, "not_found", &why)
}

async fn other_method(request: Request) -> Response {
    let why = format!("{} is not answered at {}", request.method(), request.uri().path());
    refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", &why)
}

fn refused(status: StatusCode, code: &str, message: &str) -> Response {
    let hint = "this version answers health, readiness and metrics; the rest of the admin API \
                (/v1/...) is not built yet, and Kafka clients belong on the client port";
    let body =
        json!({ "error": { "code": code, "message": message, "hint": hint }, "routes": ROUTES });
    (status, Json(body)).into_response()
}
