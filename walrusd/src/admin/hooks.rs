//! Harm on request, for tests of how the node fails and stops. There only with
//! `--enable-test-hooks`.

use std::future::pending;

use axum::{Router, http::StatusCode, routing::post};

use super::Health;
use crate::shutdown::Tasks;

pub(super) fn router<S: Clone + Send + Sync + 'static>(health: Health, tasks: Tasks) -> Router<S> {
    tracing::warn!("test hooks are open: whoever reaches the admin port can harm this node");
    let deaf = tasks.clone();
    let fail = async move || {
        health.fail("a test asked for it");
        StatusCode::ACCEPTED
    };
    let panic = async move || {
        tasks.spawn("test-panic", async { panic!("a test asked for it") });
        StatusCode::ACCEPTED
    };
    let hang = async move || {
        deaf.spawn("test-hang", pending());
        StatusCode::ACCEPTED
    };
    Router::new()
        .route("/test/fail", post(fail))
        .route("/test/panic", post(panic))
        .route("/test/hang", post(hang))
}
