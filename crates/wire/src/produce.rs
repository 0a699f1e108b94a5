//! The records of a Produce, partition by partition.

use bytes::Bytes;
use kafka_protocol::messages::{ProduceRequest, TopicName};

/// What a Produce has for one partition.
#[derive(Debug, Clone, Copy)]
pub struct Produced<'a> {
    /// Its topic. A slice of the frame: copy it before keeping it.
    pub topic: &'a TopicName,
    /// Its index, as the client says: it may be anything.
    pub index: i32,
    /// The bytes of one batch, if the client did as it should: nobody has looked at them yet.
    /// A slice of the frame; clones are cheap. Empty when the client sent null.
    pub records: &'a Bytes,
}

/// The partitions of a request, in its order. The order of the reply is by topic as well, so
/// callers that collect it need no map.
pub fn partitions(request: &ProduceRequest) -> impl Iterator<Item = Produced<'_>> {
    static NULL: Bytes = Bytes::new();
    request.topic_data.iter().flat_map(|topic| {
        topic.partition_data.iter().map(|partition| Produced {
            topic: &topic.name,
            index: partition.index,
            records: partition.records.as_ref().unwrap_or(&NULL),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};

    #[test]
    fn partitions_come_in_the_requests_order_and_null_is_empty() {
        let topic = |name: &'static str, rows: &[(i32, Option<&'static [u8]>)]| {
            let rows = rows.iter().map(|(index, records)| {
                PartitionProduceData::default()
                    .with_index(*index)
                    .with_records(records.map(Bytes::from_static))
            });
            TopicProduceData::default()
                .with_name(TopicName(name.into()))
                .with_partition_data(rows.collect())
        };
        let request = ProduceRequest::default().with_topic_data(vec![
            topic("b", &[(7, Some(b"one")), (3, None)]),
            topic("a", &[(0, Some(b"two"))]),
        ]);
        let seen: Vec<_> = partitions(&request)
            .map(|one| (one.topic.as_str().to_owned(), one.index, one.records.to_vec()))
            .collect();
        let expected = [("b", 7, &b"one"[..]), ("b", 3, b""), ("a", 0, b"two")];
        let expected = expected.map(|(topic, index, bytes)| (topic.into(), index, bytes.to_vec()));
        assert_eq!(seen, expected);
    }
}
