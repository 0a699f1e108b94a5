//! The admin port: health, readiness and metrics over HTTP. The admin API grows here.
//!
//! Plain HTTP/1.1, read only, bound to loopback unless told otherwise. The port opens first and
//! closes last, so that whoever watches the node sees it start, drain and fail. Owns no facts:
//! [`Health`] is set by whoever runs the node, and `metrics::Facts` are asked for.
//! Read next: `health.rs`, then `routes.rs`.

mod health;
mod hooks;
mod listener;
mod routes;
mod server;

pub use health::{Health, State};
pub use server::{AdminError, AdminServer};
