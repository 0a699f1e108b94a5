//! Committed offsets: what `__consumer_offsets` says, kept in Kafka's own record formats.
//!
//! A group's offsets live in one partition of that topic, found by the hash that Kafka uses. A
//! partition is read once, when somebody asks for one of its groups; after that the state here
//! and the records there move together. When many records say little, the whole state is written
//! to a new segment and those before it are pruned, so that loading stays short.
//!
//! Today the text protocol's cursors are the only groups. Owns no membership: see `format` for
//! the bytes, `state` for the rules.

pub mod format;
mod state;

pub use state::{CommittedOffsets, OffsetsError};
