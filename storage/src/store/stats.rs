//! What the store tells about itself.

use super::gone::GoneStats;
use crate::wal::WalStats;

/// Where the store stands.
#[derive(Debug, Clone, Default)]
pub struct StoreStats {
    /// The ring.
    pub wal: WalStats,
    /// Bytes of the hot tail.
    pub tail_bytes: u64,
    /// Those of them that are not in a segment file yet; producers are slowed by these.
    pub unwritten_bytes: u64,
    /// Segment files that are open for reading and writing.
    pub open_files: usize,
    /// Segment handles in use.
    pub handles: usize,
    /// Appends are refused because the disk is full up to its reserve.
    pub disk_full: bool,
    /// What was pruned, and what somebody holds of it.
    pub gone: GoneStats,
}
