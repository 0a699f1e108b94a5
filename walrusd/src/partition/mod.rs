//! Partitions as this node leads them: the shell around `walrus-replication`'s decider.
//!
//! [`Partition`] is the only writer of its open segment. It asks the decider, hands bytes to the
//! store, remembers who waits, and carries out what the decider answers. [`load`] builds one
//! from the store and the metadata, [`registry`] keeps those that were asked for, [`roll`]
//! turns full segments into metadata commands, [`read`] answers fetches.

mod append;
mod confirm;
mod end;
pub mod fed;
pub mod hand_over;
pub mod leading;
pub mod load;
mod others;
pub mod read;
pub mod registry;
pub mod relay;
pub mod roll;
mod waiters;

pub use append::{AppendFailure, Appended, Marks, Outcome, Partition, Prepared, Receipt};
pub use end::{Behind, Successor};
pub use walrus_replication::Acks;
