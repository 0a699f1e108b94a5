//! What `STATE` answers: a topic's chain as JSON, in the words that its users know.

use serde_json::{Map, Value, json};
use walrus_metadata::Segment as Link;

use crate::broker::{Broker, TopicView};

/// Partition 0 of a topic: the open segment's number and leader, the sealed ones with their ends,
/// who led each; beside it every partition's marks.
pub(super) fn of(broker: &Broker, topic: &TopicView) -> String {
    let mut partitions = Vec::new();
    for (index, chain) in topic.topic.partitions() {
        partitions.push(json!({
            "partition": index.0,
            "current_segment": chain.open().key.epoch.0,
            "leader_node": chain.open().leader.node.0,
            "log_start": chain.log_start().0,
            "segments": chain.segments(),
        }));
    }
    let Some((index, chain)) = topic.topic.partitions().iter().next() else {
        return "{}".into();
    };
    let id = walrus_types::TopicPartition { topic: topic.id(), partition: *index };
    let (mut sealed, mut leaders) = (Map::new(), Map::new());
    for link in chain.chain() {
        let epoch = link.key().epoch.to_string();
        leaders.insert(epoch.clone(), Value::from(link.leader().0));
        if let Link::Sealed(key, segment) = link {
            sealed.insert(epoch, Value::from(segment.end.since(key.base)));
        }
    }
    let end = broker.partitions().loaded(id).map(|partition| partition.commit_seen().0);
    json!({
        "topic": &*topic.topic.name,
        "current_segment": chain.open().key.epoch.0,
        "leader_node": chain.open().leader.node.0,
        "last_sealed_entry_offset": chain.open().key.base.0,
        "sealed_segments": sealed,
        "segment_leaders": leaders,
        "committed_end": end,
        "partitions": partitions,
    })
    .to_string()
}
