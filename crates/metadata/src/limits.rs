//! The bounds of what metadata keeps, beside those of [`walrus_types::limits`]. `apply` refuses
//! what is past them, so the state stays small whatever is proposed.

/// The most members a segment may have.
pub const MEMBERS_MAX: usize = 16;

/// The most nodes a cluster may have, removed ones included.
pub const NODES_MAX: usize = 1_000;

/// The most disks of removed nodes whose node ids others took over.
pub const STORAGES_SPENT_MAX: usize = 10_000;

/// The most losses that one partition remembers; past it the oldest is forgotten.
pub const LOSSES_MAX: usize = 100;

/// How long a node waits for leases after the second fence in a row. Each further one doubles it.
pub const LEASES_WAIT_MS_MIN: u64 = 5_000;

/// The longest such wait.
pub const LEASES_WAIT_MS_MAX: u64 = 300_000;

/// A fence that none followed for so long is forgotten. Longer than the longest wait, so that a
/// node which is fenced again when its wait is over goes on waiting.
pub const FENCE_FORGOTTEN_AFTER_MS: u64 = 600_000;

/// The longest host name or rack.
pub const HOST_BYTES_MAX: usize = 255;

/// The most configs that one topic, one node or the cluster may have set.
pub const CONFIGS_MAX: usize = 200;

/// The longest name of a config.
pub const CONFIG_KEY_BYTES_MAX: usize = 255;

/// The longest value of a config.
pub const CONFIG_VALUE_BYTES_MAX: usize = 8 << 10;

/// The most operations that run at once.
pub const OPERATIONS_RUNNING_MAX: usize = 64;

/// The most operations that are kept, running ones included. Past it the oldest that has ended is
/// forgotten.
pub const OPERATIONS_MAX: usize = 256;

/// The most partitions that one operation rolls over.
pub const OPERATION_TARGETS_MAX: usize = 10_000;

/// The longest name of who asks for an operation.
pub const ACTOR_BYTES_MAX: usize = 255;

/// The longest reason for an operation, and for its end.
pub const OPERATION_REASON_BYTES_MAX: usize = 1 << 10;

/// The most names of deleted topics whose next first epoch is remembered singly. Past it they
/// share one floor.
pub const TOMBSTONES_MAX: usize = 10_000;
