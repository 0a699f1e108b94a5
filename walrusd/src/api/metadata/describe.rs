//! DescribeTopicPartitions, version 0: topics a page of partitions at a time (KIP-966). Nobody is an
//! "eligible leader" beside the replicas here: a copy that lacks committed records never leads.

use std::{collections::BTreeSet, sync::Arc};

use uuid::Uuid;
use walrus_metadata::Topic;
use walrus_wire::kafka_protocol::{
    messages::{
        DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName,
        describe_topic_partitions_response::{
            Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
        },
        metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
    },
    protocol::StrBytes,
};

use super::{
    LOST_LATELY,
    view::{self, Seen, refused, show},
};
use crate::{
    api::{Head, codes::Refusal, topics},
    broker::Broker,
    net::replies::Reply,
};

/// The most partitions on a page, whatever is asked: Kafka's default.
const PAGE_MAX: usize = 2_000;

/// Answers with a page.
pub fn begin(broker: &Arc<Broker>, head: Head, request: &DescribeTopicPartitionsRequest) -> Reply {
    let (lost, lag) = (broker.leading().lost_within(LOST_LATELY), broker.controller.lag());
    let seen = Seen { metadata: broker.metadata(), lost, lag };
    head.ready(&page(&seen, request))
}

/// A place between partitions: of the topic of that name the one of that number comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place<'r> {
    topic: &'r str,
    partition: i32,
}

fn page(seen: &Seen, request: &DescribeTopicPartitionsRequest) -> DescribeTopicPartitionsResponse {
    let from = request.cursor.as_ref().map(|cursor| Place {
        topic: cursor.topic_name.as_str(),
        partition: cursor.partition_index,
    });
    let named: BTreeSet<&TopicName> = request.topics.iter().map(|topic| &topic.name).collect();
    if let Err(refusal) = judge(from, &named) {
        let topics = named.into_iter().map(|name| absent(name.clone(), &refusal));
        return DescribeTopicPartitionsResponse::default()
            .with_topics(topics.collect())
            .with_next_cursor(None);
    }
    let limit = usize::try_from(request.response_partition_limit).unwrap_or(0).clamp(1, PAGE_MAX);
    let mut page = Page { left: limit, topics: Vec::new(), next: None };
    let is_due = |name: &str| from.is_none_or(|from| name >= from.topic);
    let first = |name: &str| {
        from.filter(|from| from.topic == name)
            .map_or(0, |from| usize::try_from(from.partition).unwrap_or(0))
    };
    if named.is_empty() {
        let due = seen.metadata.topics().filter(|topic| is_due(&topic.name));
        for topic in due {
            if !page.add(seen, topic, first(&topic.name)) {
                break;
            }
        }
    } else {
        for name in named.into_iter().filter(|name| is_due(name)) {
            let goes_on = match seen.metadata.topic_named(name) {
                Some(topic) => page.add(seen, topic, first(name)),
                None => page.add_absent(name),
            };
            if !goes_on {
                break;
            }
        }
    }
    DescribeTopicPartitionsResponse::default().with_topics(page.topics).with_next_cursor(page.next)
}

fn judge(from: Option<Place<'_>>, named: &BTreeSet<&TopicName>) -> Result<(), Refusal> {
    let Some(from) = from else { return Ok(()) };
    if from.partition < 0 {
        return Err(Refusal::invalid("the cursor's partition is negative"));
    }
    if !named.is_empty() && !named.iter().any(|name| name.as_str() == from.topic) {
        return Err(Refusal::invalid("the cursor's topic is none of those asked for"));
    }
    Ok(())
}

/// What was put on a page so far.
struct Page {
    /// Partitions that it has room for.
    left: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<Cursor>,
}

impl Page {
    /// Adds a topic from that partition on; false when the page is full.
    fn add(&mut self, seen: &Seen, topic: &Topic, first: usize) -> bool {
        if self.left == 0 {
            self.ends_before(&topic.name, 0);
            return false;
        }
        let partitions = topic.partitions().len().saturating_sub(first);
        let mut shown = vec![show(seen, topic)];
        view::tell_operations(&mut shown);
        let shown = shown.remove(0);
        let taken = partitions.min(self.left);
        self.topics.push(converted(shown, first, taken));
        self.left -= taken;
        if taken < partitions {
            self.ends_before(&topic.name, first + taken);
        }
        taken == partitions
    }

    /// Adds a topic that is not there, which takes no room.
    fn add_absent(&mut self, name: &TopicName) -> bool {
        if self.left == 0 {
            self.ends_before(name, 0);
            return false;
        }
        let refusal = topics::check_name(name).err().unwrap_or_else(Refusal::unknown_topic);
        self.topics.push(absent(name.clone(), &refusal));
        true
    }

    fn ends_before(&mut self, topic: &str, partition: usize) {
        let name = TopicName(StrBytes::from_string(topic.to_owned()));
        let partition = i32::try_from(partition).unwrap_or(i32::MAX);
        self.next = Some(Cursor::default().with_topic_name(name).with_partition_index(partition));
    }
}

fn absent(name: TopicName, refusal: &Refusal) -> DescribeTopicPartitionsResponseTopic {
    converted(refused(Some(name), Uuid::nil(), refusal), 0, 0)
}

/// A topic as Metadata shows it, some of its partitions.
fn converted(
    topic: MetadataResponseTopic,
    first: usize,
    count: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.partitions.into_iter().skip(first).take(count).map(partition);
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(topic.error_code)
        .with_name(topic.name)
        .with_topic_id(topic.topic_id)
        .with_is_internal(topic.is_internal)
        .with_topic_authorized_operations(topic.topic_authorized_operations)
        .with_partitions(partitions.collect())
}

fn partition(shown: MetadataResponsePartition) -> DescribeTopicPartitionsResponsePartition {
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(shown.error_code)
        .with_partition_index(shown.partition_index)
        .with_leader_id(shown.leader_id)
        .with_leader_epoch(shown.leader_epoch)
        .with_replica_nodes(shown.replica_nodes)
        .with_isr_nodes(shown.isr_nodes)
        .with_eligible_leader_replicas(Some(Vec::new()))
        .with_last_known_elr(Some(Vec::new()))
        .with_offline_replicas(shown.offline_replicas)
}

#[cfg(test)]
mod tests {
    use walrus_replication::lag::Shown;
    use walrus_wire::{
        kafka_protocol::messages::describe_topic_partitions_request::{
            Cursor as AskedCursor, TopicRequest,
        },
        response,
    };

    use super::*;
    use crate::api::world::World;

    type Cut<'a> = Option<(&'a str, i32)>;

    /// Topics `a` of 3 partitions, `b` of 1 and `c` of 2. Answers partitions or codes by topic, and
    /// where the next page begins.
    fn ask(names: &[&str], limit: i32, from: Cut<'_>) -> (String, Option<(String, i32)>) {
        let World { metadata, .. } = World::with_topics(&[("a", 3), ("b", 1), ("c", 2)]);
        let seen = Seen { metadata: Arc::new(metadata), lost: Vec::new(), lag: Shown::default() };
        let name = |name: &str| TopicName(StrBytes::from_string(name.to_owned()));
        let topics = names.iter().map(|one| TopicRequest::default().with_name(name(one)));
        let cursor = from.map(|(topic, partition)| {
            AskedCursor::default().with_topic_name(name(topic)).with_partition_index(partition)
        });
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(topics.collect())
            .with_response_partition_limit(limit)
            .with_cursor(cursor);
        let response = page(&seen, &request);
        response::encode(1, 0, &response).unwrap();
        let shown = response.topics.iter().map(|topic| {
            let name = topic.name.as_ref().map_or("", |name| name.as_str());
            let partitions: Vec<String> =
                topic.partitions.iter().map(|one| one.partition_index.to_string()).collect();
            match topic.error_code {
                0 => format!("{name}:{}", partitions.join(",")),
                code => format!("{name}!{code}"),
            }
        });
        let next = response.next_cursor.as_ref();
        let next = next.map(|next| (next.topic_name.to_string(), next.partition_index));
        (shown.collect::<Vec<_>>().join(" "), next)
    }

    #[test]
    fn a_page_ends_where_it_is_full_and_the_next_one_begins_there() {
        for (names, limit, from, shown, next) in [
            (&[][..], 100, None, "a:0,1,2 b:0 c:0,1", None),
            (&[], 2, None, "a:0,1", Some(("a", 2))),
            (&[], 2, Some(("a", 2)), "a:2 b:0", Some(("c", 0))),
            (&[], 2, Some(("c", 0)), "c:0,1", None),
            (&[], 3, None, "a:0,1,2", Some(("b", 0))),
            (&[], 0, None, "a:0", Some(("a", 1))),
            (&[], -5, None, "a:0", Some(("a", 1))),
            // The topic was deleted meanwhile: the one after it comes whole.
            (&[], 9, Some(("aa", 2)), "b:0 c:0,1", None),
            (&[], 9, Some(("z", 0)), "", None),
            (&[], 9, Some(("a", 7)), "a: b:0 c:0,1", None),
            (&["c", "a", "c"], 4, None, "a:0,1,2 c:0", Some(("c", 1))),
            (&["c", "a"], 4, Some(("c", 1)), "c:1", None),
        ] {
            let next = next.map(|(topic, partition)| (topic.to_owned(), partition));
            assert_eq!(ask(names, limit, from), (shown.to_owned(), next), "{names:?} {from:?}");
        }
    }

    #[test]
    fn topics_that_are_not_there_and_cursors_that_lead_nowhere_are_refused() {
        for (names, from, shown) in [
            (&["none", "b", "no/name"][..], None, "b:0 no/name!17 none!3"),
            (&["b"], Some(("a", 0)), "b!42"),
            (&["a", "b"], Some(("a", -1)), "a!42 b!42"),
            (&[], Some(("a", -1)), ""),
        ] {
            assert_eq!(ask(names, 100, from), (shown.to_owned(), None), "{names:?}");
        }
    }
}
