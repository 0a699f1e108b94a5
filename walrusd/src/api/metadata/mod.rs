//! Metadata: the nodes, and who leads what. Makes topics that are missing, where that is allowed.
//!
//! What a topic looks like stands in `view.rs`. Versions 0 to 12. `describe.rs` tells of topics a page
//! at a time.

mod describe;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use uuid::Uuid;
use walrus_metadata::Metadata;
use walrus_types::TopicId;
use walrus_wire::kafka_protocol::{
    messages::{
        BrokerId, MetadataRequest, MetadataResponse, TopicName,
        metadata_request::MetadataRequestTopic,
        metadata_response::{MetadataResponseBroker, MetadataResponseTopic},
    },
    protocol::StrBytes,
};

pub use self::describe::begin as describe;
use self::view::{Seen, refused, show};
use super::{Head, codes::Refusal, topics};
use crate::{
    broker::Broker,
    net::{connection::Client, replies::Reply},
    partition::fed::is_cut_off,
};

/// A node whose connection ended so lately is about to be fenced, or to be back.
pub(super) const LOST_LATELY: Duration = Duration::from_secs(1);
/// How long an answer waits for the next leaders of what a node led that has just gone.
pub(super) const SETTLED_MAX: Duration = Duration::from_millis(50);
/// Versions 10 and 11 have the field, but Kafka refuses it in them: its first brokers with topic
/// ids fell over it, and no client sends it.
const BY_ID_SINCE: i16 = 12;
/// The versions that may ask what the client may do with the cluster.
const CLUSTER_OPERATIONS_IN: std::ops::RangeInclusive<i16> = 8..=10;

/// What Kafka says a client may do with the cluster while nothing is forbidden: a bit for each
/// `AclOperation` that clusters have, by its code (5 Create, 7 Alter to 12 IdempotentWrite).
pub(super) const CLUSTER_OPERATIONS: i32 = 0b1_1111_1010_0000;

/// What is asked about one topic.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Name(TopicName),
    Id(Uuid),
    /// A way of asking that the version does not have.
    Unsupported(TopicName),
}

/// Answers from this node's copy of the metadata.
pub async fn begin(
    broker: &Arc<Broker>,
    client: &Client,
    head: Head,
    request: MetadataRequest,
) -> Reply {
    if is_cut_off(broker) {
        // It would be told of leaders that are none any more, and ask here again.
        return Reply::Close;
    }
    let wanted = wanted(&request, head.version);
    let mut not_made = BTreeMap::new();
    if let Some(wanted) = &wanted
        && request.allow_auto_topic_creation
        && broker.config.topics.auto_create
    {
        not_made = make_missing(broker, wanted).await;
    }
    let seen = seen(broker, wanted.as_deref()).await;
    let mut topics = match wanted {
        None => seen.metadata.topics().map(|topic| show(&seen, topic)).collect(),
        Some(wanted) => answer(&seen, wanted, &not_made),
    };
    if request.include_topic_authorized_operations {
        view::tell_operations(&mut topics);
    }
    let brokers = broker.endpoints(client.reached).into_iter().map(|node| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node.id.0))
            .with_host(StrBytes::from_string(node.host))
            .with_port(i32::from(node.port))
            .with_rack(node.rack.map(StrBytes::from_string))
    });
    let mut response = MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(StrBytes::from_string(broker.identity.cluster.to_string())))
        .with_controller_id(BrokerId(broker.controller_id().0))
        .with_topics(topics);
    if request.include_cluster_authorized_operations
        && CLUSTER_OPERATIONS_IN.contains(&head.version)
    {
        response.cluster_authorized_operations = CLUSTER_OPERATIONS;
    }
    head.ready(&response)
}

/// What this node knows. When a leader's process ends, clients ask at once who leads now, and are
/// told by the time that the next one does; who is sent back to the dead one asks again only after
/// a second (librdkafka looks for leaders that are down so often). It waits for a moment only, for
/// other answers on the connection wait behind this one.
async fn seen(broker: &Broker, wanted: Option<&[Wanted]>) -> Seen {
    let until = Instant::now() + SETTLED_MAX;
    let mut views = broker.raft.watch();
    loop {
        let metadata = Arc::clone(&views.borrow_and_update());
        let (lost, lag) = (broker.leading().lost_within(LOST_LATELY), broker.controller.lag());
        let seen = Seen { metadata, lost, lag };
        if seen.lost.is_empty() || !is_led_by_lost(&seen, wanted) {
            return seen;
        }
        if !matches!(timeout_at(until, views.changed()).await, Ok(Ok(()))) {
            return seen;
        }
    }
}

fn is_led_by_lost(seen: &Seen, wanted: Option<&[Wanted]>) -> bool {
    let metadata = &seen.metadata;
    let Some(wanted) = wanted else {
        return metadata.topics().any(|topic| seen.is_led_by_lost(topic));
    };
    let mut topics = wanted.iter().filter_map(|one| match one {
        Wanted::Name(name) => metadata.topic_named(name),
        Wanted::Id(id) => metadata.topic(TopicId(*id)),
        Wanted::Unsupported(_) => None,
    });
    topics.any(|topic| seen.is_led_by_lost(topic))
}

/// The topics asked about, each once however often it was named, for an answer may be ten
/// thousand times longer than its question; `None`: all of them.
fn wanted(request: &MetadataRequest, version: i16) -> Option<Vec<Wanted>> {
    let topics = request.topics.as_ref()?;
    if topics.is_empty() && version == 0 {
        return None;
    }
    let mut seen = BTreeSet::new();
    let wanted = topics.iter().map(|topic| one(topic, version));
    Some(wanted.filter(|one| seen.insert(one.clone())).collect())
}

fn one(topic: &MetadataRequestTopic, version: i16) -> Wanted {
    let MetadataRequestTopic { topic_id, name, .. } = topic;
    match name {
        Some(name) if topic_id.is_nil() => Wanted::Name(name.clone()),
        Some(name) if version < BY_ID_SINCE => Wanted::Unsupported(name.clone()),
        None if version < BY_ID_SINCE => Wanted::Unsupported(TopicName::default()),
        Some(_) | None => Wanted::Id(*topic_id),
    }
}

/// Makes the topics that are named and not there; says why for those that were not made.
async fn make_missing(broker: &Arc<Broker>, wanted: &[Wanted]) -> BTreeMap<TopicName, Refusal> {
    let missing = missing(&broker.metadata(), wanted);
    if missing.is_empty() {
        return BTreeMap::new();
    }
    let made = topics::make_with_defaults(broker, &missing).await;
    missing.into_iter().zip(made).filter_map(|(name, made)| Some((name, made.err()?))).collect()
}

/// The brokers' own topics are made by brokers, who know how many partitions they need.
fn missing(metadata: &Metadata, wanted: &[Wanted]) -> Vec<TopicName> {
    let missing = wanted.iter().filter_map(|one| match one {
        Wanted::Name(name) if topics::is_internal(name) => None,
        Wanted::Name(name) if metadata.topic_named(name).is_none() => Some(name.clone()),
        Wanted::Name(_) | Wanted::Id(_) | Wanted::Unsupported(_) => None,
    });
    missing.collect()
}

fn answer(
    seen: &Seen,
    wanted: Vec<Wanted>,
    not_made: &BTreeMap<TopicName, Refusal>,
) -> Vec<MetadataResponseTopic> {
    let metadata = &seen.metadata;
    let answers = wanted.into_iter().map(|one| match one {
        Wanted::Name(name) => match metadata.topic_named(&name) {
            Some(topic) => show(seen, topic),
            None => {
                let refusal = not_made.get(&name).cloned().unwrap_or_else(|| {
                    topics::check_name(&name).err().unwrap_or_else(Refusal::unknown_topic)
                });
                refused(Some(name), Uuid::nil(), &refusal)
            }
        },
        Wanted::Id(id) => match metadata.topic(TopicId(id)) {
            Some(topic) => show(seen, topic),
            None => refused(None, id, &Refusal::unknown_topic_id()),
        },
        Wanted::Unsupported(name) => {
            let refusal = Refusal::invalid("topics are asked for by id since version 12");
            refused(Some(name), Uuid::nil(), &refusal)
        }
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use walrus_replication::lag::Shown;
    use walrus_wire::{kafka_protocol::error::ResponseError, response};

    use super::*;
    use crate::api::world::World;

    fn ask(names: &[&'static str], ids: &[Uuid]) -> MetadataRequest {
        let named = names.iter().map(|name| {
            let name = TopicName(StrBytes::from_static_str(name));
            MetadataRequestTopic::default().with_name(Some(name))
        });
        let by_id =
            ids.iter().map(|id| MetadataRequestTopic::default().with_name(None).with_topic_id(*id));
        MetadataRequest::default().with_topics(Some(named.chain(by_id).collect()))
    }

    #[test]
    fn no_list_means_all_topics_and_in_version_0_an_empty_one_too() {
        let none = MetadataRequest::default().with_topics(None);
        for (request, version, all) in [
            (none.clone(), 1, true),
            (none, 12, true),
            (ask(&[], &[]), 0, true),
            (ask(&[], &[]), 1, false),
            (ask(&["a"], &[]), 0, false),
        ] {
            assert_eq!(wanted(&request, version).is_none(), all, "version {version}");
        }
    }

    #[test]
    fn a_topic_that_is_named_often_is_answered_once() {
        let wanted = wanted(&ask(&["a", "b", "a", "a"], &[Uuid::max(), Uuid::max()]), 12).unwrap();
        assert_eq!(wanted.len(), 3, "{wanted:?}");
    }

    #[test]
    fn what_is_missing_is_made_unless_it_belongs_to_the_brokers() {
        let World { metadata, .. } = World::with_topics(&[("there", 2)]);
        let request = ask(&["there", "b", "__consumer_offsets", "a"], &[Uuid::max()]);
        let missing = missing(&metadata, &wanted(&request, 12).unwrap());
        assert_eq!(missing.iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn every_way_of_asking_gets_its_answer() {
        let World { metadata, .. } = World::with_topics(&[("there", 2)]);
        let there = metadata.topic_named("there").unwrap().id.0;
        let seen = Seen { metadata: Arc::new(metadata), lost: Vec::new(), lag: Shown::default() };
        for version in 0..=12 {
            let request = ask(&["there", "missing", "no/name"], &[there, Uuid::max()]);
            let topics = answer(&seen, wanted(&request, version).unwrap(), &BTreeMap::new());
            let code = |code: ResponseError| code.code();
            let by_id = version >= BY_ID_SINCE;
            let expected = [
                0,
                code(ResponseError::UnknownTopicOrPartition),
                code(ResponseError::InvalidTopicException),
                if by_id { 0 } else { code(ResponseError::InvalidRequest) },
                code(ResponseError::UnknownTopicId),
            ];
            let codes: Vec<i16> = topics.iter().map(|topic| topic.error_code).collect();
            // Both ids are one way of asking that versions before 12 do not have.
            assert_eq!(codes, expected[..if by_id { 5 } else { 4 }], "version {version}");
            assert_eq!(topics[0].partitions.len(), 2);
            let response = MetadataResponse::default().with_topics(topics);
            response::encode(1, version, &response).unwrap();
        }
    }

    #[test]
    fn operations_are_those_that_kafka_tells_without_an_authorizer() {
        // What kafka 4 answers: Create, Alter, Describe, ClusterAction, DescribeConfigs,
        // AlterConfigs, IdempotentWrite.
        let expected: i32 = [5, 7, 8, 9, 10, 11, 12].map(|bit| 1 << bit).iter().sum();
        assert_eq!(CLUSTER_OPERATIONS, expected);
        let mut topics = vec![MetadataResponseTopic::default()];
        view::tell_operations(&mut topics);
        let expected: i32 = [3, 4, 5, 6, 7, 8, 10, 11].map(|bit| 1 << bit).iter().sum();
        assert_eq!(topics[0].topic_authorized_operations, expected);
    }
}
