//! The topics in a consumer's metadata.
//!
//! ```text
//! i16 version · i32 count · count × (i16 length · UTF-8) · more, by version
//! ```
//!
//! Source: Kafka's `ConsumerProtocolSubscription`; all versions begin alike.

use std::collections::BTreeSet;

/// The protocol type of consumers.
pub(crate) const CONSUMER: &str = "consumer";

/// The topics; `None` when the bytes are no subscription. Takes no more memory than a small
/// multiple of the bytes.
pub(crate) fn topics(metadata: &[u8]) -> Option<BTreeSet<String>> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let mut topics = BTreeSet::new();
    for _ in 0..i32::from_be_bytes(*count).max(0) {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (topic, after) = after.split_at_checked(length)?;
        topics.insert(str::from_utf8(topic).ok()?.to_owned());
        rest = after;
    }
    Some(topics)
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
}
