//! The topics in a consumer's metadata, and the partitions in its assignment.
//!
//! ```text
//! i16 version · i32 count · count × topic · more, by version
//! topic                     i16 length · UTF-8
//! topic of an assignment    i16 length · UTF-8 · i32 count · count × i32 partition
//! ```
//!
//! Source: Kafka's `ConsumerProtocolSubscription` and `ConsumerProtocolAssignment`; all versions
//! begin alike.

use std::{collections::BTreeSet, sync::Arc};

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics; `None` when the bytes are no subscription. Takes no more memory than a small
/// multiple of the bytes.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (count, mut rest) = count(metadata)?;
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let (topic, after) = topic(rest)?;
        topics.insert(topic.to_owned());
        rest = after;
    }
    Some(topics)
}

/// The partitions; `None` when the bytes are no assignment. Takes no more memory than a small
/// multiple of the bytes: a topic's name is copied once for each of its partitions, so the names
/// are shared.
pub(crate) fn partitions(assignment: &[u8]) -> Option<Vec<(Arc<str>, i32)>> {
    let (topics, mut rest) = count(assignment)?;
    let mut found = Vec::new();
    for _ in 0..topics {
        let (name, after) = topic(rest)?;
        let (partitions, mut after) = after.split_first_chunk::<4>()?;
        let name: Arc<str> = name.into();
        for _ in 0..i32::from_be_bytes(*partitions).max(0) {
            let (partition, next) = after.split_first_chunk::<4>()?;
            found.push((Arc::clone(&name), i32::from_be_bytes(*partition)));
            after = next;
        }
        rest = after;
    }
    Some(found)
}

/// How many topics follow.
fn count(bytes: &[u8]) -> Option<(i32, &[u8])> {
    let (version, rest) = bytes.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, rest) = rest.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*count).max(0), rest))
}

/// One name.
fn topic(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
    let (topic, rest) = rest.split_at_checked(length)?;
    Some((str::from_utf8(topic).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_read_and_what_is_no_subscription_is_none() {
        let two = b"\0\x01\0\0\0\x02\0\x01a\0\x02bcrest";
        let expected = BTreeSet::from(["a".to_owned(), "bc".to_owned()]);
        assert_eq!(topics(two), Some(expected));
        for cut in 0..two.len() - 4 {
            assert_eq!(topics(&two[..cut]), None, "cut at {cut}");
        }
        assert_eq!(topics(b"\xff\xff\0\0\0\0"), None, "a negative version");
        assert_eq!(topics(b"\0\0\x7f\xff\xff\xff"), None, "a count that nothing follows");
        assert_eq!(topics(b"\0\0\0\0\0\0"), Some(BTreeSet::new()));
    }

    #[test]
    fn partitions_are_read_and_what_is_no_assignment_is_none() {
        let two = b"\0\0\0\0\0\x02\0\x01a\0\0\0\x02\0\0\0\x03\0\0\0\x05\0\x01b\0\0\0\0rest";
        let found = partitions(two).unwrap();
        let found: Vec<(&str, i32)> = found.iter().map(|(topic, at)| (&**topic, *at)).collect();
        assert_eq!(found, [("a", 3), ("a", 5)]);
        for cut in 0..two.len() - 4 {
            assert_eq!(partitions(&two[..cut]), None, "cut at {cut}");
        }
        assert_eq!(partitions(b"\0\0\0\0\0\x01\0\x01a\x7f\xff\xff\xff\0\0\0\0"), None);
        assert_eq!(partitions(b"\0\0\x7f\xff\xff\xff"), None, "a count that nothing follows");
    }
}
