//! The write-ahead log: one ring of files in which everything becomes durable first.
//!
//! ```text
//!  append ──> shared.rs ──> driver.rs ──> disk: one write and flush for a whole group
//!             the queue     packs, tells        │
//!                  core.rs decides which,  <────┘
//!                  where, and what is durable
//! ```
//!
//! Knows nothing of segments, partitions or Raft: an entry is a kind, a short head and a body.
//!
//! Where to read next: `core.rs` for the rules, `format.rs` for the bytes, `recover.rs` for what
//! a restart makes of them.

mod config;
mod core;
mod driver;
mod find;
mod format;
mod handle;
mod open;
mod reader;
mod recover;
mod ring;
mod salvage;
mod shared;
mod stats;
mod types;

pub use config::WalConfig;
pub use handle::{Wal, WalDriver, WalStep};
pub use stats::{LATENCY_BUCKETS, Latency, WalStats};
pub use types::{
    AppendRefused, Cut, Damage, Done, Entry, EntryHead, HEAD_BYTES_MAX, KIND_FIRST, Lsn, Replayed,
    ReplayedBody, WalFailed, WalFault, WalOpenError, WalOpened,
};
