//! Which names topics may have, by Kafka's rules.

use std::{collections::BTreeMap, sync::Arc};

use walrus_metadata::Metadata;
use walrus_types::limits::TOPIC_NAME_BYTES_MAX;
use walrus_wire::kafka_protocol::error::ResponseError;

use crate::api::codes::Refusal;

/// The topics that belong to brokers.
const INTERNAL: [&str; 3] = ["__consumer_offsets", "__share_group_state", "__transaction_state"];

/// Whether the topic belongs to the brokers.
pub fn is_internal(name: &str) -> bool {
    INTERNAL.contains(&name)
}

/// Judges a name by itself.
///
/// # Errors
/// `INVALID_TOPIC_EXCEPTION`.
pub fn check(name: &str) -> Result<(), Refusal> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let why = match name {
        "" => "the empty string is not allowed".to_owned(),
        "." | ".." => format!("'{name}' is not allowed"),
        long if long.len() > TOPIC_NAME_BYTES_MAX => {
            format!("it has {} bytes, the most is {TOPIC_NAME_BYTES_MAX}", long.len())
        }
        name if !name.bytes().all(legal) => {
            "it contains characters other than ASCII alphanumerics, '.', '_' and '-'".to_owned()
        }
        _ => return Ok(()),
    };
    let message = format!("Topic name is invalid: {why}");
    Err(Refusal::new(ResponseError::InvalidTopicException, message))
}

/// Names that would be the same in metrics, where '.' becomes '_'. Filled when the first name
/// that could collide is asked for.
#[derive(Debug, Default)]
pub(super) struct Collisions {
    by_metric: Option<BTreeMap<String, Arc<str>>>,
}

impl Collisions {
    /// Judges a new name beside those that are there and those that were judged before it.
    pub(super) fn check(&mut self, name: &str, metadata: &Metadata) -> Result<(), Refusal> {
        if !can_collide(name) {
            return Ok(());
        }
        let taken = self.by_metric.get_or_insert_with(|| {
            let names = metadata.topics().map(|topic| &topic.name);
            let names = names.filter(|name| can_collide(name));
            names.map(|name| (in_metrics(name), Arc::clone(name))).collect()
        });
        let other = taken.entry(in_metrics(name)).or_insert_with(|| name.into());
        if **other == *name {
            return Ok(());
        }
        let message = format!("Topic '{name}' collides with existing topic: {other}");
        Err(Refusal::new(ResponseError::InvalidTopicException, message))
    }
}

fn can_collide(name: &str) -> bool {
    name.contains(['.', '_'])
}

fn in_metrics(name: &str) -> String {
    name.replace('.', "_")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::world::World;

    #[test]
    fn names_are_legal_as_in_kafka() {
        let longest = "x".repeat(TOPIC_NAME_BYTES_MAX);
        let too_long = format!("{longest}x");
        for (name, legal) in [
            ("a", true),
            ("Az09._-", true),
            ("...", true),
            (longest.as_str(), true),
            (too_long.as_str(), false),
            ("", false),
            (".", false),
            ("..", false),
            ("a b", false),
            ("a/b", false),
            ("ä", false),
            ("a\0", false),
        ] {
            let refused = check(name).err().map(|refusal| refusal.code);
            let expected = (!legal).then_some(ResponseError::InvalidTopicException);
            assert_eq!(refused, expected, "{name:?}");
        }
    }

    #[test]
    fn names_that_metrics_cannot_tell_apart_collide() {
        let World { metadata, .. } = World::with_topics(&[("a.b", 1), ("plain", 1)]);
        let mut collisions = Collisions::default();
        for (name, free) in [
            ("a_b", false),
            ("a.b", true), // that it exists is for others to say
            ("plain", true),
            ("c_d", true),
            ("c.d", false), // with the one before it in the same request
            ("c_d", true),
        ] {
            assert_eq!(collisions.check(name, &metadata).is_ok(), free, "{name}");
        }
    }

    #[test]
    fn only_the_brokers_own_topics_are_internal() {
        for (name, internal) in
            [("__consumer_offsets", true), ("__consumer_offsets2", false), ("t", false)]
        {
            assert_eq!(is_internal(name), internal, "{name}");
        }
    }
}
