//! The storage engine: everything a node writes, made durable in a write-ahead log and kept in
//! one file per segment.
//!
//! Knows nothing of leases, epochs' meaning, quorums or the network. Where to read next:
//! [`disk`] is the seam to the machine, [`wal`] is what makes bytes durable, [`store`] is the
//! record store on top of it, [`segment`] what it hands out, and [`walrus`] the front for programs
//! that embed it.

pub mod disk;
pub mod segment;
pub mod store;
pub mod wal;
pub mod walrus;

use walrus_types::planted;
