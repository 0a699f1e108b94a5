//! Topics that come, grow and go: CreateTopics, CreatePartitions, DeleteTopics.
//!
//! A request is judged here with Kafka's rules and words, against this node's copy of the
//! metadata; the metadata judges it again when the command is applied, so what changed in between
//! is a refusal and no harm. Where to read next: `plan.rs` for what a new topic may be, `make.rs`
//! for how it is made, `place.rs` for where.

mod create;
mod delete;
mod grow;
mod make;
mod names;
mod place;
mod plan;

pub use self::{
    create::begin as create,
    delete::begin as delete,
    grow::begin as add_partitions,
    make::{make_one, make_with_defaults},
    names::{check as check_name, is_internal},
    plan::check_config,
};

/// The most partitions that one request may make, as in Kafka: their placements travel in
/// metadata commands, and each topic gets an answer that is longer than its question.
const PARTITIONS_PER_REQUEST_MAX: usize = 10_000;

/// How often new partitions are placed anew when nodes came or went between their placement and
/// its command. Once is what a node that dies takes; a cluster whose nodes come and go quicker than
/// this tells its client so.
const PLACED_ANEW_MAX: usize = 3;
