//! Workloads that stand outside the broker, against any Kafka-compatible cluster: on librdkafka, and
//! where that would set the pace itself, on the protocol.
//!
//! | module | what it measures or shows |
//! |---|---|
//! | [`produce`] | records per second and latency at a rate, or as fast as the client can |
//! | [`roundtrip`] | latency with one record in flight |
//! | [`pauses`] | how long each partition is without an ack, through whatever is done to the brokers |
//! | [`consume`] | reading a topic from its start |
//! | [`verify`] | whether every acked record is there, once, at its offset |
//! | [`groups`] | commits, heartbeats and rebalances of consumer groups |
//! | [`topic`] | making and removing the topics of a run |
//!
//! [`client`], [`payload`], [`spread`], [`pace`], [`latency`] and [`process`] are the parts they
//! are made of. Nothing here knows Walrus: the same program drives Kafka, which is what makes a
//! comparison one. Its callers are programs and tests that print an error and stop, so errors are
//! `anyhow` throughout. The program is `main.rs`; `tests/compare` runs it.

pub mod client;
pub mod consume;
pub mod groups;
pub mod latency;
pub mod pace;
pub mod pauses;
pub mod payload;
pub mod process;
pub mod produce;
pub mod roundtrip;
pub mod spread;
pub mod topic;
pub mod verify;
