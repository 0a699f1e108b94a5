//! DeleteTopics, versions 1 to 6: by name, and by id since version 6.

use std::{collections::BTreeMap, sync::Arc};

use uuid::Uuid;
use walrus_metadata::{Command, Metadata, Reply as Answer};
use walrus_types::{TopicId, limits::CHANGES_PER_COMMAND_MAX};
use walrus_wire::kafka_protocol::{
    messages::{
        DeleteTopicsRequest, DeleteTopicsResponse, TopicName,
        delete_topics_response::DeletableTopicResult,
    },
    protocol::StrBytes,
};

use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// The first version that may name topics by id.
const BY_ID_SINCE: i16 = 6;

/// A topic as the request names it, and what is known or became of it.
#[derive(Debug)]
struct Target {
    name: Option<TopicName>,
    id: Uuid,
    outcome: Result<TopicId, Refusal>,
}

/// Deletes the topics; their files go in the background.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: DeleteTopicsRequest) -> Reply {
    let mut targets = targets(request, head.version, &broker.metadata());
    let mut found: Vec<&mut Target> =
        targets.iter_mut().filter(|target| target.outcome.is_ok()).collect();
    for some in found.chunks_mut(CHANGES_PER_COMMAND_MAX) {
        propose(broker, some).await;
    }
    let responses = targets.into_iter().map(|target| result(target, head.version));
    head.ready(&DeleteTopicsResponse::default().with_responses(responses.collect()))
}

fn targets(request: DeleteTopicsRequest, version: i16, metadata: &Metadata) -> Vec<Target> {
    let asked: Vec<(Option<TopicName>, Uuid)> = if version >= BY_ID_SINCE {
        request.topics.into_iter().map(|topic| (topic.name, topic.topic_id)).collect()
    } else {
        request.topic_names.into_iter().map(|name| (Some(name), Uuid::nil())).collect()
    };
    let target = |(name, id): (Option<TopicName>, Uuid)| {
        let (outcome, name) = match (name, id.is_nil()) {
            (Some(name), true) => {
                let topic = metadata.topic_named(&name);
                (topic.map(|topic| topic.id).ok_or_else(Refusal::unknown_topic), Some(name))
            }
            (None, false) => match metadata.topic(TopicId(id)) {
                Some(topic) => {
                    let name = StrBytes::from_string(topic.name.to_string());
                    (Ok(topic.id), Some(TopicName(name)))
                }
                None => (Err(Refusal::unknown_topic_id()), None),
            },
            (Some(name), false) => {
                let why = "You may not specify both topic name and topic id.";
                (Err(Refusal::invalid(why)), Some(name))
            }
            (None, true) => {
                (Err(Refusal::invalid("Neither topic name nor id were specified.")), None)
            }
        };
        Target { name, id, outcome }
    };
    let mut targets: Vec<Target> = asked.into_iter().map(target).collect();
    refuse_repeated(&mut targets);
    targets
}

/// A topic that is named more than once is not deleted: the request contradicts itself.
fn refuse_repeated(targets: &mut [Target]) {
    let mut named = BTreeMap::<TopicId, usize>::new();
    for id in targets.iter().filter_map(|target| target.outcome.as_ref().ok()) {
        *named.entry(*id).or_default() += 1;
    }
    for target in targets {
        let times = target.outcome.as_ref().ok().and_then(|id| named.get(id));
        if times.is_some_and(|times| *times > 1) {
            target.outcome = Err(Refusal::invalid("Duplicate topic name."));
        }
    }
}

async fn propose(broker: &Broker, targets: &mut [&mut Target]) {
    let ids = targets.iter().filter_map(|target| target.outcome.as_ref().ok().copied()).collect();
    let deleted = match broker.raft.propose(&Command::DeleteTopics(ids)).await {
        Ok(Answer::TopicsDeleted(deleted)) => deleted,
        Ok(other) => return all_refused(targets, &Refusal::unexpected(&other)),
        Err(why) => return all_refused(targets, &why.into()),
    };
    for (target, deleted) in targets.iter_mut().zip(deleted) {
        if deleted.is_err() {
            // Somebody else was quicker.
            let by_id = !target.id.is_nil();
            target.outcome =
                Err(if by_id { Refusal::unknown_topic_id() } else { Refusal::unknown_topic() });
        }
    }
}

fn all_refused(targets: &mut [&mut Target], refusal: &Refusal) {
    for target in targets {
        target.outcome = Err(refusal.clone());
    }
}

fn result(target: Target, version: i16) -> DeletableTopicResult {
    let Target { name, id, outcome } = target;
    // Before version 6 the name cannot be null, and it never is.
    let name = if version >= BY_ID_SINCE { name } else { Some(name.unwrap_or_default()) };
    match outcome {
        Ok(id) => DeletableTopicResult::default()
            .with_name(name)
            .with_topic_id(id.0)
            .with_error_message(None),
        Err(refusal) => DeletableTopicResult::default()
            .with_name(name)
            .with_topic_id(id)
            .with_error_code(refusal.code.code())
            .with_error_message(refusal.words()),
    }
}

#[cfg(test)]
mod tests {
    use walrus_wire::{
        kafka_protocol::{error::ResponseError, messages::delete_topics_request::DeleteTopicState},
        response,
    };

    use super::*;
    use crate::api::world::World;

    fn judged(request: DeleteTopicsRequest, version: i16) -> Vec<Option<ResponseError>> {
        let World { metadata, .. } = World::with_topics(&[("there", 1)]);
        let targets = targets(request, version, &metadata);
        let codes: Vec<_> =
            targets.iter().map(|one| one.outcome.as_ref().err().map(|why| why.code)).collect();
        let results = targets.into_iter().map(|target| result(target, version)).collect();
        let response = DeleteTopicsResponse::default().with_responses(results);
        response::encode(1, version, &response).unwrap();
        codes
    }

    #[test]
    fn a_topic_is_named_by_name_or_by_id_and_a_repeated_one_stays() {
        use ResponseError::{InvalidRequest, UnknownTopicId, UnknownTopicOrPartition};
        let name = |name| TopicName(StrBytes::from_static_str(name));
        let there = World::with_topics(&[("there", 1)]).partition("there").topic.0;
        for version in 1..BY_ID_SINCE {
            let names = vec![name("there"), name("missing"), name("there")];
            let request = DeleteTopicsRequest::default().with_topic_names(names);
            let expected =
                [Some(InvalidRequest), Some(UnknownTopicOrPartition), Some(InvalidRequest)];
            assert_eq!(judged(request, version), expected, "version {version}");
        }
        let topics = [
            (Some(name("there")), Uuid::nil(), Some(InvalidRequest)),
            (None, there, Some(InvalidRequest)), // the same again
            (Some(name("missing")), Uuid::nil(), Some(UnknownTopicOrPartition)),
            (None, Uuid::max(), Some(UnknownTopicId)),
            (Some(name("there")), there, Some(InvalidRequest)),
            (None, Uuid::nil(), Some(InvalidRequest)),
        ];
        let asked = topics.iter().map(|(name, id, _)| {
            DeleteTopicState::default().with_name(name.clone()).with_topic_id(*id)
        });
        let request = DeleteTopicsRequest::default().with_topics(asked.collect());
        assert_eq!(judged(request, 6), topics.map(|(_, _, expected)| expected));
        let once = DeleteTopicState::default().with_topic_id(there);
        let request = DeleteTopicsRequest::default().with_topics(vec![once]);
        assert_eq!(judged(request, 6), [None]);
    }
}
