//! The storage engine: everything a node writes, made durable in a write-ahead log and kept in
//! one file per segment.
//!
//! Knows nothing of leases, epochs' meaning, quorums or the network. Where to read next:
//! [`disk`] is the seam to the machine, [`wal`] is what makes bytes durable.

pub mod disk;
mod planted;
pub mod wal;
