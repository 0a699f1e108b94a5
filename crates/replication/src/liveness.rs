//! Who is alive: leases as a leader counts them, and nodes as the controller watches them.
//!
//! ```text
//!   leader    sent ........................ stops
//!                |<------- ttl - margin ------>|
//!   controller        heard ..................................... fences
//!                       |<-------- ttl + margin --------------------->|
//! ```
//!
//! The rules (design §5; part F of the notes on sealing):
//!
//! - The answer to a heartbeat extends all leases of a node, from the time it was sent
//!   ([`NodeLease`]). A leader stops a margin before the end.
//! - While no controller answers, `w` members' answers to appends extend one partition's lease
//!   ([`PartitionLease`]): that many were not fenced when the appends were sent, so no seal had
//!   finished then. Writes outlive an election this way (M6). A fence that is heard ends all at
//!   once.
//! - Who proposes the roll of a segment may be followed by another before it knows. What it hears
//!   after that extends none of its reads there, so they end a lease later unless metadata shows
//!   who leads ([`PartitionLease::proposed`]).
//! - The controller ([`Watch`]) fences a life that was silent for the TTL and a margin, whose
//!   flush hangs (L15), or whose process is known to be gone. Who has just become controller
//!   waits a whole TTL first (M6); for its predecessor the silence that made voters look for
//!   another one counts as well ([`Watch::after`]).
//! - A node that is fenced again and again waits for leases, longer each time (L1).
//!
//! Safety never rests on this: replicas refuse what a fenced life sends. Leases allow local reads
//! and keep stale leaders quiet.
//!
//! All times are of a clock that counts the time a machine is suspended (`CLOCK_BOOTTIME`): one
//! that stands still would let a lease outlive a nap. Wall clocks do not come in.

mod lease;
mod watch;

pub use lease::{NodeLease, PartitionLease};
pub use watch::{Answer, Beat, Fence, FenceWhy, Watch};

/// The times that leaders and controller agree on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// How long a lease lasts.
    pub ttl_ms: u64,
    /// What the clocks of two nodes may drift apart in that time, with some to spare. A leader
    /// stops so long before the end, the controller fences so long after it.
    pub margin_ms: u64,
    /// A flush that takes longer means a dead disk.
    pub flush_max_ms: u64,
}

impl Default for Terms {
    fn default() -> Self {
        Self { ttl_ms: 1_000, margin_ms: 100, flush_max_ms: 2_000 }
    }
}

/// The first wait for leases of a node that is fenced repeatedly; it doubles each time.
pub const LEASE_WAIT_MS: u64 = 5_000;

/// The longest such wait.
pub const LEASE_WAIT_MAX_MS: u64 = 300_000;

/// A node that was not fenced for so long has a clean record again.
pub const FORGIVEN_AFTER_MS: u64 = 600_000;

/// A fence that was not seen applied is asked for again after this.
pub const FENCE_AGAIN_MS: u64 = 500;
