//! The bounds of what metadata keeps, beside those of [`walrus_types::limits`]. `apply` refuses
//! what is past them, so the state stays small whatever is proposed.

/// The most members a segment may have.
pub const MEMBERS_MAX: usize = 16;

/// The most nodes a cluster may have, removed ones included.
pub const NODES_MAX: usize = 1_000;

/// The longest host name or rack.
pub const HOST_BYTES_MAX: usize = 255;

/// The most configs that one topic, one node or the cluster may have set.
pub const CONFIGS_MAX: usize = 200;

/// The longest name of a config.
pub const CONFIG_KEY_BYTES_MAX: usize = 255;

/// The longest value of a config.
pub const CONFIG_VALUE_BYTES_MAX: usize = 8 << 10;

/// The most names of deleted topics whose next first epoch is remembered singly. Past it they
/// share one floor.
pub const TOMBSTONES_MAX: usize = 10_000;
