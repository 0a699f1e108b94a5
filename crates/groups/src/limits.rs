//! What groups may take: the settings that Kafka has too, and the bounds that have none.

/// Groups of one coordinator, which is one partition of `__consumer_offsets`.
pub const GROUPS_MAX: usize = 20_000;

/// Partitions for which the groups of one coordinator may have committed offsets.
pub const OFFSETS_MAX: usize = 1_000_000;

/// The longest name of a group, an instance or a protocol, in bytes. Kafka's is what a string of
/// the protocol holds, 32,767.
pub const GROUP_NAME_BYTES_MAX: usize = 4096;

/// Protocols that a member may offer.
pub const PROTOCOLS_MAX: usize = 64;

/// What one member may bring: the metadata of all its protocols, in bytes.
pub const MEMBER_BYTES_MAX: usize = 1 << 20;

/// What a group's record may take, in bytes: it has to fit a batch.
pub const GROUP_BYTES_MAX: usize = 8 << 20;

/// What the records of one commit may take, in bytes: they are one batch.
pub const COMMIT_BYTES_MAX: usize = 8 << 20;

/// Members of one group that were given an id and did not come back with it (KIP-394). Past it
/// the oldest is forgotten.
pub const PENDING_MEMBERS_MAX: usize = 1_000;

/// Appends of one coordinator whose outcome is not known. Past it changes are refused.
pub const UNDER_WAY_MAX: usize = 4_096;

/// A member that is new may wait so long for the rebalance that takes it in.
pub const NEW_MEMBER_MS: u64 = 300_000;

/// The settings of all groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupLimits {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: u32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: u32,
    /// `group.initial.rebalance.delay.ms`: how long a group that was empty waits for more members.
    pub initial_delay_ms: u32,
    /// `group.max.size`. Not zero.
    pub members_max: usize,
    /// `offset.metadata.max.bytes`; counted, as Kafka does, in units of UTF-16.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`, in ms.
    pub offsets_retention_ms: u64,
    /// `offsets.commit.timeout.ms`: when a commit that is not confirmed is answered as unknown.
    pub commit_timeout_ms: u32,
}

impl Default for GroupLimits {
    fn default() -> Self {
        Self {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_delay_ms: 3_000,
            members_max: 5_000,
            offset_metadata_max: 4_096,
            offsets_retention_ms: 7 * 24 * 3_600_000,
            commit_timeout_ms: 5_000,
        }
    }
}
