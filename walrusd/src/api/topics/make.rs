//! Makes planned topics: one metadata command for as many as fit.

use std::collections::BTreeMap;

use uuid::Uuid;
use walrus_metadata::{Command, NewTopic, Placement, Reply};
use walrus_replication::placement::Nodes;
use walrus_types::TopicId;
use walrus_wire::kafka_protocol::{
    messages::{
        TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
    protocol::StrBytes,
};

use super::{
    place::{self, Wanted},
    plan::{Planned, Planner},
};
use crate::{
    api::codes::Refusal,
    broker::{Broker, TopicView},
};

/// Topics that travel in one command.
const TOPICS_PER_COMMAND_MAX: usize = 100;
/// Members that the partitions of the topics in one command have together, at about 20 bytes each:
/// a command stays below a megabyte. A topic alone may have more, and is refused if it is too long.
const MEMBERS_PER_COMMAND_MAX: usize = 40_000;

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
pub async fn make_one(
    broker: &Broker,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<TopicView, Refusal> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(name)))
        .with_num_partitions(partitions)
        .with_replication_factor(-1)
        .with_configs(configs.collect());
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
    let mut placed: Vec<Placed> = Vec::new();
    let twice = names_given_twice(topics);
    let mut nodes = None;
    for (at, topic) in topics.iter().enumerate() {
        let planned = if twice.contains_key(&topic.name) {
            Err(Refusal::invalid("Duplicate topic name."))
        } else {
            planner.plan(topic)
        };
        outcomes.push(planned.and_then(|planned| {
            let nodes = nodes.get_or_insert_with(|| broker.nodes());
            let id = TopicId(Uuid::new_v4());
            let partitions = place(broker, nodes, id, &planned)?;
            let replicas = partitions.first().map_or(0, |first| first.members.len());
            placed.push(Placed { at, id, partitions });
            Ok(Made { id: TopicId(Uuid::nil()), planned, replicas })
        }));
    }
    if !validate_only {
        for some in commands(placed) {
            propose(broker, &mut outcomes, some).await;
        }
    }
    outcomes
}

/// A topic that is to be made: its place in the request, and where its partitions go.
struct Placed {
    at: usize,
    id: TopicId,
    partitions: Vec<Placement>,
}

/// As many as fit into one command each.
fn commands(placed: Vec<Placed>) -> Vec<Vec<Placed>> {
    let mut commands: Vec<Vec<Placed>> = Vec::new();
    let mut members = 0;
    for topic in placed {
        let more: usize = topic.partitions.iter().map(|one| one.members.len()).sum();
        members += more;
        match commands.last_mut() {
            Some(last)
                if last.len() < TOPICS_PER_COMMAND_MAX && members <= MEMBERS_PER_COMMAND_MAX =>
            {
                last.push(topic);
            }
            _ => {
                members = more;
                commands.push(vec![topic]);
            }
        }
    }
    commands
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

fn place(
    broker: &Broker,
    nodes: &Nodes,
    topic: TopicId,
    planned: &Planned,
) -> Result<Vec<Placement>, Refusal> {
    let config = broker.topic_defaults().with(&planned.configs);
    let wanted = Wanted {
        topic,
        has: 0,
        more: planned.partitions,
        target: planned.replicas_target,
        min_insync: config.min_insync_replicas,
        assigned: &planned.assigned,
    };
    place::place(nodes, wanted)
}

/// Proposes these topics, and puts down what became of them.
async fn propose(broker: &Broker, outcomes: &mut [Result<Made, Refusal>], placed: Vec<Placed>) {
    let now = broker.clock.now();
    let mut places = Vec::with_capacity(placed.len());
    let mut new = Vec::with_capacity(placed.len());
    for Placed { at, id, partitions } in placed {
        let Ok(made) = &mut outcomes[at] else { continue };
        made.id = id;
        places.push(at);
        new.push(NewTopic {
            id,
            name: made.planned.name.clone(),
            replicas_target: made.planned.replicas_target,
            partitions,
            configs: made.planned.configs.clone().into_iter().collect(),
            at: now,
        });
    }
    let created = match broker.raft.propose(&Command::CreateTopics(new)).await {
        Ok(Reply::TopicsCreated(created)) => created,
        Ok(other) => {
            let refusal = Refusal::unexpected(&other);
            return places.iter().for_each(|place| outcomes[*place] = Err(refusal.clone()));
        }
        Err(why) => {
            let refusal = Refusal::from(why);
            return places.iter().for_each(|place| outcomes[*place] = Err(refusal.clone()));
        }
    };
    for (place, created) in places.iter().zip(created) {
        if let Err(refusal) = created {
            outcomes[*place] = Err(refusal.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_travel_together_as_far_as_a_command_carries_them() {
        let topic = |at: usize, partitions: usize, members: usize| {
            let one = crate::api::world::placement();
            let one = Placement { members: vec![one.members[0]; members], ..one };
            Placed { at, id: TopicId(Uuid::nil()), partitions: vec![one; partitions] }
        };
        let sizes = |topics: Vec<Placed>| -> Vec<usize> {
            let commands = commands(topics);
            let order: Vec<usize> = commands.iter().flatten().map(|topic| topic.at).collect();
            assert!(order.is_sorted(), "{order:?}");
            commands.iter().map(Vec::len).collect()
        };
        assert_eq!(sizes(Vec::new()), Vec::<usize>::new());
        assert_eq!(sizes((0..250).map(|at| topic(at, 1, 1)).collect()), [100, 100, 50]);
        let large = vec![topic(0, 9_000, 3), topic(1, 4_000, 3), topic(2, 400, 3), topic(3, 1, 1)];
        assert_eq!(sizes(large), [2, 2]);
        assert_eq!(sizes(vec![topic(0, 10_000, 9), topic(1, 1, 1)]), [1, 1]);
    }

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
