//! What other parts know, as a scrape asks for it.

use walrus_storage::wal::WalStats;
use walrus_types::{NodeId, PartitionIndex};

/// Whoever can tell how the node stands. Called once for each scrape, off the hot path; it must
/// not block on I/O for longer than a file system takes to tell its free space.
pub trait Facts: Send + Sync + 'static {
    /// How the node stands now.
    fn read(&self) -> NodeFacts;
}

impl<F: Fn() -> NodeFacts + Send + Sync + 'static> Facts for F {
    fn read(&self) -> NodeFacts {
        self()
    }
}

/// How a node stands. What is `None` is not told at all.
#[derive(Debug, Clone, Default)]
pub struct NodeFacts {
    /// The WAL of records.
    pub records_wal: Option<WalStats>,
    /// The WAL of Raft's log.
    pub raft_wal: Option<WalStats>,
    /// Batches in memory that their segment files do not have yet.
    pub hot_tail_bytes: Option<u64>,
    /// The bound of that.
    pub hot_tail_bytes_max: Option<u64>,
    /// Free on the disk of the data folder.
    pub disk_free_bytes: Option<u64>,
    /// What of it producers never get.
    pub disk_reserve_bytes: Option<u64>,
    /// Whether producers are refused for that.
    pub disk_full: Option<bool>,
    /// Memory of requests under way.
    pub request_bytes: Option<u64>,
    /// Topics in the metadata.
    pub topics: Option<u64>,
    /// Partitions in the metadata.
    pub partitions: Option<u64>,
    /// Segments in all chains.
    pub segments: Option<u64>,
    /// Segment files that are open.
    pub open_segment_files: Option<u64>,
    /// Raft.
    pub raft: Option<RaftFacts>,
    /// The cluster.
    pub cluster: Option<ClusterFacts>,
    /// Each partition that this node leads.
    pub led: Vec<PartitionFacts>,
    /// The groups that this node coordinates.
    pub lags: Option<LagFacts>,
}

/// What groups have to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LagFacts {
    /// How many groups there are.
    pub groups: u64,
    /// Where they stand, as many as a scrape tells.
    pub places: Vec<PlaceLag>,
    /// Partitions of groups that are not among those.
    pub left_out: u64,
    /// Partitions of groups of which not everything is known.
    pub unknown: u64,
}

/// What a group has to read of a partition. What is `None` is not known, or not so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlaceLag {
    /// The group.
    pub group: String,
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: PartitionIndex,
    /// Records to be read.
    pub records: Option<u64>,
    /// Bytes of their batches.
    pub bytes: Option<u64>,
    /// Age of the next one, in milliseconds.
    pub age_ms: Option<u64>,
    /// Records that were deleted unread.
    pub lost_records: u64,
    /// When the first unread record will be deleted, in milliseconds, where it is not read before.
    pub risk_ms: Option<u64>,
}

/// How Raft stands, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RaftFacts {
    /// Who leads, where that is known.
    pub leader: Option<NodeId>,
    /// Whether this node does.
    pub is_leader: bool,
    /// The term.
    pub term: u64,
    /// The last committed entry; 0 for none.
    pub commit_index: u64,
    /// The last applied entry; 0 for none.
    pub applied_index: u64,
}

/// How large the cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterFacts {
    /// Nodes that were not removed.
    pub size: u64,
    /// Voters that must agree.
    pub quorum: u64,
}

/// One partition that this node leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionFacts {
    /// Its topic's name.
    pub topic: String,
    /// Its number.
    pub partition: PartitionIndex,
    /// Replicas that are in sync.
    pub in_sync: u64,
    /// Whether that is enough for acks=all.
    pub has_min_in_sync: bool,
}
