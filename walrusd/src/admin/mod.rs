//! The admin port: health, readiness, metrics and the admin API (`/v1`) over HTTP.
//!
//! Plain HTTP/1.1, bound to loopback unless told otherwise: whoever reaches it may change the
//! cluster. The port opens first and closes last, so that whoever watches the node sees it start,
//! drain and fail. Owns no facts: [`Health`] is set by whoever runs the node, `metrics::Facts` are
//! asked for, and `/v1` asks the broker.
//! Read next: `health.rs`, then `routes.rs`, then `v1/mod.rs`.

mod forming;
mod health;
mod hooks;
mod listener;
mod routes;
mod server;
mod v1;

pub use forming::{Forming, Told};
pub use health::{Health, State};
pub use server::{AdminError, AdminServer};
