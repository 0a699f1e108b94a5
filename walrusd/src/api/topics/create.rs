//! CreateTopics, versions 2 to 7. The answer comes when the topics are there, however short the
//! timeout was: a topic that is made after its client gave up surprises more than a late answer.

use std::sync::Arc;

use walrus_wire::kafka_protocol::{
    messages::{
        CreateTopicsRequest, CreateTopicsResponse, TopicName,
        create_topics_response::{CreatableTopicConfigs, CreatableTopicResult},
    },
    protocol::StrBytes,
};

use super::make::{self, Made};
use crate::{
    api::{
        Head,
        codes::Refusal,
        configs::{self, Shown},
    },
    broker::Broker,
    net::replies::Reply,
};

/// The first version that tells how the topic turned out.
const DETAILS_SINCE: i16 = 5;

/// Makes the topics.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: CreateTopicsRequest) -> Reply {
    let made = make::make(broker, &request.topics, request.validate_only).await;
    let results = request.topics.into_iter().zip(made).map(|(topic, made)| match made {
        Ok(made) if head.version >= DETAILS_SINCE => {
            let shown = configs::of_topic(broker, &made.planned.configs);
            detailed(topic.name, &made, shown)
        }
        Ok(_made) => CreatableTopicResult::default().with_name(topic.name).with_error_message(None),
        Err(refusal) => refused(topic.name, &refusal),
    });
    head.ready(&CreateTopicsResponse::default().with_topics(results.collect()))
}

fn detailed(name: TopicName, made: &Made, shown: Vec<Shown>) -> CreatableTopicResult {
    let configs = shown.into_iter().map(|entry| {
        CreatableTopicConfigs::default()
            .with_name(StrBytes::from_static_str(entry.name))
            .with_value(entry.value.map(StrBytes::from_string))
            .with_read_only(entry.read_only)
            .with_config_source(entry.source.code())
    });
    CreatableTopicResult::default()
        .with_name(name)
        .with_topic_id(made.id.0)
        .with_error_message(None)
        .with_num_partitions(i32::try_from(made.planned.partitions).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(made.replicas).unwrap_or(i16::MAX))
        .with_configs(Some(configs.collect()))
}

fn refused(name: TopicName, refusal: &Refusal) -> CreatableTopicResult {
    CreatableTopicResult::default()
        .with_name(name)
        .with_error_code(refusal.code.code())
        .with_error_message(refusal.words())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;
    use walrus_types::TopicId;
    use walrus_wire::{kafka_protocol::error::ResponseError, response};

    use super::{super::plan::Planned, *};

    #[test]
    fn both_outcomes_can_be_told_in_every_version() {
        let planned = Planned {
            name: "t".into(),
            partitions: 4,
            replicas_target: 3,
            assigned: Vec::new(),
            configs: BTreeMap::new(),
        };
        let made = Made { id: TopicId(Uuid::max()), planned, replicas: 1 };
        let refusal = Refusal::new(ResponseError::InvalidPartitions, "no");
        for version in 2..=7 {
            let good = detailed(TopicName::default(), &made, Vec::new());
            let bad = refused(TopicName::default(), &refusal);
            assert_eq!((good.num_partitions, good.replication_factor), (4, 1));
            let response = CreateTopicsResponse::default().with_topics(vec![good, bad]);
            response::encode(1, version, &response).unwrap();
        }
    }
}
