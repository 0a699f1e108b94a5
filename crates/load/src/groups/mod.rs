//! Workloads of consumer groups.
//!
//! | module | what it measures or shows |
//! |---|---|
//! | [`commits`] | commits per second and their latency, and that each is there afterwards |
//! | [`idle`] | very many groups that do nothing but heartbeat |
//! | [`heartbeats`] | when a group's heartbeats are answered while something is done to its coordinator |
//! | [`committing`] | the same of librdkafka's commits |
//! | [`rebalance`] | how long partitions that stay where they are stop while members come and go |
//!
//! Where a client library's own pace would be measured, [`link`] speaks the protocol by itself and
//! [`member`] does what a client does in a group.

pub mod commits;
pub mod committing;
mod crew;
pub mod heartbeats;
pub mod idle;
pub mod link;
pub mod member;
pub mod rebalance;

use std::collections::BTreeMap;

use kafka_protocol::ResponseError;

/// How often something went wrong, by its reason.
pub type Reasons = BTreeMap<String, u64>;

fn count(reasons: &mut Reasons, why: impl Into<String>) {
    *reasons.entry(why.into()).or_default() += 1;
}

/// The name of an error code.
fn name_of(code: i16) -> String {
    ResponseError::try_from_code(code).map_or_else(|| format!("error {code}"), |e| format!("{e:?}"))
}
