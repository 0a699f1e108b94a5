//! The words that every other crate speaks: ids, offsets, epochs, the view of a record batch,
//! and the limits in force.
//!
//! Owns no I/O, no clock and no state. Where to read next: [`batch`] draws the one byte format
//! that crosses all layers, [`limits`] names every bound,
//! [`planted`] the bugs that tests plant, [`chance`] is what their seeds draw from.

pub mod batch;
pub mod chance;
mod ids;
pub mod limits;
mod offset;
pub mod planted;

pub use ids::{
    ClusterId, Incarnation, NodeId, OperationId, ParseIdError, PartitionIndex, PlanId, SegmentId,
    StorageId, TopicId, TopicPartition,
};
pub use offset::{Epoch, Offset, ProducerEpoch, ProducerId, Sequence, TimestampMs, UptimeMs};
