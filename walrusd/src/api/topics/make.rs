//! Makes planned topics: one metadata command for as many as fit.

use std::collections::BTreeMap;

use uuid::Uuid;
use walrus_metadata::{Command, NewTopic, Placement, Reply};
use walrus_types::{PartitionIndex, TopicId};
use walrus_wire::kafka_protocol::{
    messages::{TopicName, create_topics_request::CreatableTopic},
    protocol::StrBytes,
};

use super::plan::{Planned, Planner};
use crate::controller::nodes::salt;
use crate::{
    api::codes::Refusal,
    broker::{Broker, TopicView},
};

/// Topics that travel in one command. With [`super::PARTITIONS_PER_REQUEST_MAX`] it keeps a
/// command below a megabyte.
const TOPICS_PER_COMMAND_MAX: usize = 100;

/// A topic that was made, or would have been.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Made {
    /// Nil when nothing was made.
    pub(super) id: TopicId,
    pub(super) planned: Planned,
    /// Members of its first segments.
    pub(super) replicas: usize,
}

/// Makes topics of these names with the cluster's defaults, as a client that only asks for a
/// topic wants it. Answers in order.
pub async fn make_with_defaults(
    broker: &Broker,
    names: &[TopicName],
) -> Vec<Result<TopicId, Refusal>> {
    let topics: Vec<CreatableTopic> = names
        .iter()
        .map(|name| {
            CreatableTopic::default()
                .with_name(name.clone())
                .with_num_partitions(-1)
                .with_replication_factor(-1)
        })
        .collect();
    let made = make(broker, &topics, false).await;
    made.into_iter().map(|made| made.map(|made| made.id)).collect()
}

/// Makes one topic with the cluster's defaults, or finds that another was quicker.
///
/// # Errors
/// Why it is not there.
pub async fn make_one(broker: &Broker, name: &str, partitions: i32) -> Result<TopicView, Refusal> {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(name.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(-1);
    let made = make(broker, &[topic], false).await.into_iter().next();
    if let Some(topic) = broker.topic_by_name(name) {
        return Ok(topic);
    }
    Err(match made {
        Some(Err(refusal)) => refusal,
        Some(Ok(_)) | None => Refusal::invalid("the topic was deleted at once"),
    })
}

/// Judges every topic of a request and makes those that may be. Answers in order.
pub(super) async fn make(
    broker: &Broker,
    topics: &[CreatableTopic],
    validate_only: bool,
) -> Vec<Result<Made, Refusal>> {
    let metadata = broker.metadata();
    let config = &broker.config.topics;
    let target = u8::try_from(config.replication_factor).unwrap_or(1);
    let mut planner = Planner::new(&metadata, config.partitions, target);
    let mut outcomes = Vec::with_capacity(topics.len());
    let mut placements: BTreeMap<usize, Vec<Placement>> = BTreeMap::new();
    let twice = names_given_twice(topics);
    for (at, topic) in topics.iter().enumerate() {
        let planned = if twice.contains_key(&topic.name) {
            Err(Refusal::invalid("Duplicate topic name."))
        } else {
            planner.plan(topic)
        };
        outcomes.push(planned.and_then(|planned| {
            let id = TopicId(Uuid::new_v4());
            let placed = place(broker, id, &planned)?;
            let replicas = placed.iter().map(|placement| placement.members.len()).max();
            placements.insert(at, placed);
            Ok(Made { id, planned, replicas: replicas.unwrap_or(0) })
        }));
    }
    if !validate_only {
        let all: Vec<(usize, Vec<Placement>)> = placements.into_iter().collect();
        for some in all.chunks(TOPICS_PER_COMMAND_MAX) {
            propose(broker, &mut outcomes, some).await;
        }
    }
    outcomes
}

/// Kafka makes none of those that are named alike.
fn names_given_twice(topics: &[CreatableTopic]) -> BTreeMap<&TopicName, usize> {
    let mut times = BTreeMap::new();
    for topic in topics {
        *times.entry(&topic.name).or_insert(0) += 1;
    }
    times.retain(|_, times| *times > 1);
    times
}

fn place(broker: &Broker, id: TopicId, planned: &Planned) -> Result<Vec<Placement>, Refusal> {
    let min_insync = broker.topic_defaults().with(&planned.configs).min_insync_replicas;
    let which = (PartitionIndex(0), planned.partitions);
    let wanted = (planned.replicas_target, min_insync);
    broker.place_new(which, wanted, salt(id)).map_err(|why| Refusal::from(&why))
}

/// Proposes the topics at these places of the request, and puts down what became of them.
async fn propose(
    broker: &Broker,
    outcomes: &mut [Result<Made, Refusal>],
    places: &[(usize, Vec<Placement>)],
) {
    let at = broker.clock.now();
    let mut new = Vec::with_capacity(places.len());
    for (place, placed) in places {
        let Ok(made) = &mut outcomes[*place] else { continue };
        new.push(NewTopic {
            id: made.id,
            name: made.planned.name.clone(),
            replicas_target: made.planned.replicas_target,
            partitions: placed.clone(),
            configs: made.planned.configs.clone().into_iter().collect(),
            at,
        });
    }
    let created = match broker.raft.propose(&Command::CreateTopics(new)).await {
        Ok(Reply::TopicsCreated(created)) => created,
        Ok(other) => {
            let refusal = Refusal::unexpected(&other);
            return places.iter().for_each(|(place, _)| outcomes[*place] = Err(refusal.clone()));
        }
        Err(why) => {
            let refusal = Refusal::from(why);
            return places.iter().for_each(|(place, _)| outcomes[*place] = Err(refusal.clone()));
        }
    };
    for ((place, _), created) in places.iter().zip(created) {
        if let Err(refusal) = created {
            outcomes[*place] = Err(refusal.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_given_twice_is_found_however_far_apart() {
        let topics = ["a", "b", "a", "c", "c", "c"].map(|name| {
            CreatableTopic::default().with_name(TopicName(StrBytes::from_static_str(name)))
        });
        let twice = names_given_twice(&topics);
        let names: Vec<&str> = twice.keys().map(|name| name.as_str()).collect();
        assert_eq!(names, ["a", "c"]);
    }
}
