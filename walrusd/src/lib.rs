//! The broker's shell: sockets, files, time and signals around deciders that know none of them.
//!
//! ```text
//!  net ── api ──┬── partition ── walrus-replication (decides), walrus-storage (keeps)
//!       └ text ─┤
//!               └── broker ───── walrus-raft ── walrus-metadata (decides)
//!  controller ── follows the metadata, looks after limits and retention
//!  forming ───── finds the cluster, through peer, which is what nodes say to each other
//!  admin ─────── health, readiness, metrics
//! ```
//!
//! Where to read next: [`server`] for start and stop, [`broker`] for what the parts share,
//! `net/connection.rs` for the way of a request.

pub mod admin;
pub mod api;
pub mod asked_in_vain;
pub mod banner;
pub mod broker;
pub mod clock;
pub mod cluster_view;
pub mod config;
pub mod controller;
pub mod data_dir;
pub mod doors;
pub mod events;
pub mod facts;
pub mod forming;
pub mod gc;
pub mod groups;
pub mod lag;
pub mod lease;
pub mod logging;
pub mod metrics;
pub mod net;
pub mod opening;
pub mod operations;
pub mod partition;
pub mod peer;
pub mod process;
pub mod producer_ids;
pub mod registration;
pub mod replica;
pub mod server;
pub mod shutdown;
pub mod text;
pub mod topic_config;
pub mod vitals;

pub use server::run;
