//! Configs of topics and of this node: DescribeConfigs, AlterConfigs, IncrementalAlterConfigs.
//!
//! What a topic config means stands in `topic_config.rs`, what a node's setting means in the
//! configuration. Where to read next: `show.rs` for what is told of them, `change.rs` for how a
//! request changes what a topic sets.

mod alter;
mod change;
mod describe;
mod show;

use std::sync::Arc;

use walrus_metadata::{Metadata, Topic};
use walrus_types::NodeId;

pub use self::{
    alter::{begin as alter, begin_incrementally as alter_incrementally},
    describe::begin as describe,
    show::{Shown, of_topic},
};
use super::{codes::Refusal, topics};

/// The number of topics among kinds of resources.
pub(super) const TOPIC: i8 = 2;
/// The number of nodes.
pub(super) const BROKER: i8 = 4;

/// What configs belong to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Resource<'a> {
    /// One topic.
    Topic(&'a str),
    /// One node; `None`: what all nodes share.
    Node(Option<NodeId>),
}

/// Reads which resource is meant; node ids as Kafka writes them, without our letter.
///
/// # Errors
/// `INVALID_REQUEST` for kinds that are not served, and for names that are no node ids.
fn resource(kind: i8, name: &str) -> Result<Resource<'_>, Refusal> {
    match (kind, name) {
        (TOPIC, name) => Ok(Resource::Topic(name)),
        (BROKER, "") => Ok(Resource::Node(None)),
        (BROKER, id) => match id.parse::<i32>() {
            Ok(id) => Ok(Resource::Node(Some(NodeId(id)))),
            Err(_) => Err(Refusal::invalid("the name of a broker must be its id, a number")),
        },
        (kind, _) => Err(Refusal::invalid(format!(
            "resources of type {kind} ({}) have no configs here",
            kind_word(kind)
        ))),
    }
}

fn kind_word(kind: i8) -> &'static str {
    match kind {
        8 => "BROKER_LOGGER",
        16 => "CLIENT_METRICS",
        32 => "GROUP",
        _ => "unknown",
    }
}

fn topic<'m>(metadata: &'m Metadata, name: &str) -> Result<&'m Arc<Topic>, Refusal> {
    topics::check_name(name)?;
    metadata.topic_named(name).ok_or_else(Refusal::unknown_topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_topics_and_nodes() {
        for (kind, name, expected) in [
            (2, "t", Some(Resource::Topic("t"))),
            (2, "", Some(Resource::Topic(""))),
            (4, "", Some(Resource::Node(None))),
            (4, "1", Some(Resource::Node(Some(NodeId(1))))),
            (4, "01", Some(Resource::Node(Some(NodeId(1))))),
            (4, "n1", None),
            (4, "one", None),
            (4, "99999999999", None),
            (0, "t", None),
            (8, "1", None),
            (16, "m", None),
            (32, "g", None),
            (-1, "", None),
        ] {
            assert_eq!(resource(kind, name).ok(), expected, "{kind} {name:?}");
        }
    }
}
