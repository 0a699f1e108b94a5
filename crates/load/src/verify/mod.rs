//! Whether what was acked is there: once, at its offset, in order, with nothing missing between.
//!
//! A run has three parts. [`VerifyProducer`] sends values that say who they are and notes what
//! became of each ([`history`]); something happens to the broker meanwhile; [`read_back`] reads
//! the topic from its start and feeds a [`Checker`], which is pure and decides.
//!
//! ```text
//!  producer.rs --values--> broker --values--> read.rs
//!       |                                        |
//!       +--> history.rs (acked | refused | unknown) --> check.rs --> Verdict
//! ```
//!
//! A record without an ack is *unknown*: it may be there or not, and either is right. Calling it
//! failed is the commonest mistake of such checkers, and finds faults that are none.

mod check;
mod history;
mod producer;
mod read;
mod value;

pub use check::{Anomaly, Checker, Verdict};
pub use history::{History, Outcome, RunInfo, Sent};
pub use producer::{VerifyProducer, VerifySettings};
pub use read::read_back;
pub use value::ValueId;
