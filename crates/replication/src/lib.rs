//! What the leader of a partition decides: which offset comes next, what is committed, which
//! batch is a repeat, when a segment ends, what retention takes. Pure: events in, answers out.

#![warn(clippy::wildcard_enum_match_arm, clippy::float_arithmetic)]

mod cursors;
mod producers;
pub use cursors::{Cursors, Member, OpenSegment, write_quorum};
pub use producers::{DecodeError, ProducerTable, Remembered, SequenceError, Verdict};
