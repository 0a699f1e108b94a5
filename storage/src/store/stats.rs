//! What the store tells about itself.

use walrus_types::SegmentId;

use crate::wal::WalStats;

/// Where the store stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
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
    /// Pruned segments that somebody still holds, and how many holders they have.
    pub pruned_held: Vec<(SegmentId, usize)>,
}
