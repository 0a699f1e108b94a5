//! The write-ahead log: what is in it is durable.

mod config;
mod handle;
mod stats;
mod types;

pub use config::WalConfig;
pub use handle::{Wal, WalDriver};
pub use stats::{LATENCY_BUCKETS, Latency, WalStats};
pub use types::{
    AppendRefused, Cut, Damage, Done, Entry, EntryHead, HEAD_BYTES_MAX, KIND_FIRST, Lsn, Replayed,
    ReplayedBody, WalFailed, WalFault, WalOpenError, WalOpened,
};
