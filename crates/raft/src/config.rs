//! What can be set, and within which bounds.

use std::time::Duration;

use walrus_storage::wal::WalConfig;

/// The pace and the size of the metadata log.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// The ring that holds log and vote. Snapshots are taken when a quarter of it is in use, and
    /// proposals wait when half of it is, so that there is always room to forget.
    pub wal: WalConfig,
    /// A snapshot is taken after this many entries, if the ring does not ask for it sooner.
    pub snapshot_entries: u64,
    /// The largest command; an eighth of the ring if that is less.
    pub command_bytes_max: usize,
    /// How long a proposal is waited for before its outcome is called unknown.
    pub propose_timeout: Duration,
    /// How long a start may take until this node leads.
    pub start_timeout: Duration,
}

impl Default for RaftConfig {
    fn default() -> Self {
        Self {
            wal: WalConfig::small(),
            snapshot_entries: 5_000,
            command_bytes_max: 1 << 20,
            propose_timeout: Duration::from_secs(10),
            start_timeout: Duration::from_secs(30),
        }
    }
}
