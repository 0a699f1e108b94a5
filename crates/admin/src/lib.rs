//! What the admin API speaks: its documents and errors, what a cluster's facts come to, and a
//! client that asks nodes.
//!
//! The models are `/v1`: fields are added, never renamed or taken away. Owns no route (those are
//! in `walrusd/src/admin/v1`) and no word for a terminal (those are in `walrusctl`).
//! Read next: [`cluster`] and [`node`] for what is told, [`health`] for what it comes to,
//! [`event`] for what changed, `client.rs` for how it is asked, `stream/` for
//! how it is followed.

#[cfg(feature = "client")]
pub mod client;
pub mod cluster;
pub mod connection;
#[cfg(feature = "context")]
pub mod context;
mod document;
mod endpoint;
mod error;
mod escape;
pub mod event;
pub mod gc;
pub mod group;
pub mod health;
pub mod node;
pub mod operation;
pub mod partition;
pub mod plan;
pub mod raft;
pub mod snapshot;
#[cfg(feature = "client")]
pub mod stream;

pub use document::{API_VERSION, Document, Head, Kind};
pub use endpoint::{Endpoint, NotAnEndpoint};
pub use error::{ApiError, Code, ErrorDocument};
pub use escape::{escape, unescape};
