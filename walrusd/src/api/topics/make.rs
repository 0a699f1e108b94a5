//! Makes planned topics: one metadata command for as many as fit.

use std::collections::BTreeMap;

use uuid::Uuid;
use walrus_metadata::{Command, CreateRefusal, NewTopic, Placement, Reply, TopicCreated};
use walrus_raft::ProposeError;
use walrus_replication::placement::Nodes;
use walrus_types::{TimestampMs, TopicId};
use walrus_wire::kafka_protocol::{
    messages::{
        TopicName,
        create_topics_request::{CreatableTopic, CreatableTopicConfig},
    },
    protocol::StrBytes,
};

use super::{
    PLACED_ANEW_MAX,
    place::{self, Wanted},
    plan::{Planned, Planner},
};
use crate::{
    api::codes::Refusal,
    broker::{Broker, TopicView},
    topic_config::TopicConfig,
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
    let mut making = Making::new(broker.topic_defaults().clone());
    let twice = names_given_twice(topics);
    let mut nodes = None;
    for topic in topics {
        let planned = if twice.contains_key(&topic.name) {
            Err(Refusal::invalid("Duplicate topic name."))
        } else {
            planner.plan(topic)
        };
        match planned {
            Ok(planned) => {
                let nodes = nodes.get_or_insert_with(|| broker.nodes());
                making.add(nodes, TopicId(Uuid::new_v4()), planned);
            }
            Err(refusal) => making.outcomes.push(Err(refusal)),
        }
    }
    if validate_only {
        return making.outcomes;
    }
    for round in 0..=PLACED_ANEW_MAX {
        let mut overtaken = Vec::new();
        for some in commands(std::mem::take(&mut making.placed)) {
            let (places, new) = making.topics(some, broker.clock.now());
            let reply = broker.raft.propose(&Command::CreateTopics(new)).await;
            overtaken.extend(making.answered(&places, reply));
        }
        if overtaken.is_empty() || round == PLACED_ANEW_MAX {
            break;
        }
        let topics = overtaken.len();
        tracing::info!(topics, round, "nodes came or went: new topics are placed anew");
        making.place_anew(&broker.nodes(), overtaken);
    }
    making.outcomes
}

/// The topics of a request, in its order, and what is to be proposed of them.
struct Making {
    defaults: TopicConfig,
    outcomes: Vec<Result<Made, Refusal>>,
    placed: Vec<Placed>,
}

/// A topic that is to be made: its place in the request, and where its partitions go.
struct Placed {
    at: usize,
    id: TopicId,
    partitions: Vec<Placement>,
}

/// A topic that was refused for what its nodes did since it was placed.
struct Overtaken {
    at: usize,
    id: TopicId,
    planned: Planned,
}

impl Making {
    fn new(defaults: TopicConfig) -> Self {
        Self { defaults, outcomes: Vec::new(), placed: Vec::new() }
    }

    /// The next topic of the request.
    fn add(&mut self, nodes: &Nodes, id: TopicId, planned: Planned) {
        let at = self.outcomes.len();
        let placed = self.place(nodes, Overtaken { at, id, planned });
        self.outcomes.push(placed);
    }

    fn place_anew(&mut self, nodes: &Nodes, overtaken: Vec<Overtaken>) {
        for topic in overtaken {
            let at = topic.at;
            self.outcomes[at] = self.place(nodes, topic);
        }
    }

    fn place(&mut self, nodes: &Nodes, topic: Overtaken) -> Result<Made, Refusal> {
        let Overtaken { at, id, planned } = topic;
        let wanted = Wanted {
            topic: id,
            has: 0,
            more: planned.partitions,
            target: planned.replicas_target,
            min_insync: self.defaults.with(&planned.configs).min_insync_replicas,
            assigned: &planned.assigned,
        };
        let partitions = place::place(nodes, wanted)?;
        let replicas = partitions.first().map_or(0, |first| first.members.len());
        self.placed.push(Placed { at, id, partitions });
        Ok(Made { id: TopicId(Uuid::nil()), planned, replicas })
    }

    /// What a command says of them, with their places in the request.
    fn topics(&mut self, placed: Vec<Placed>, now: TimestampMs) -> (Vec<usize>, Vec<NewTopic>) {
        let topic = |Placed { at, id, partitions }: Placed| {
            let made = self.outcomes[at].as_mut().ok()?;
            made.id = id;
            let topic = NewTopic {
                id,
                name: made.planned.name.clone(),
                replicas_target: made.planned.replicas_target,
                partitions,
                configs: made.planned.configs.clone().into_iter().collect(),
                at: now,
            };
            Some((at, topic))
        };
        placed.into_iter().filter_map(topic).unzip()
    }

    /// Puts down what became of those in these places. Answers whom nodes overtook.
    fn answered(&mut self, places: &[usize], reply: Result<Reply, ProposeError>) -> Vec<Overtaken> {
        let refusal = match reply {
            Ok(Reply::TopicsCreated(created)) => {
                let both = places.iter().zip(created);
                return both.filter_map(|(at, created)| self.created(*at, created)).collect();
            }
            Ok(other) => Refusal::unexpected(&other),
            Err(why) => Refusal::from(why),
        };
        for at in places {
            self.outcomes[*at] = Err(refusal.clone());
        }
        Vec::new()
    }

    fn created(
        &mut self,
        at: usize,
        created: Result<TopicCreated, CreateRefusal>,
    ) -> Option<Overtaken> {
        let refusal = created.err()?;
        let overtaken =
            matches!(&refusal, CreateRefusal::Placement { why, .. } if why.is_overtaken());
        let made = std::mem::replace(&mut self.outcomes[at], Err(refusal.into())).ok()?;
        overtaken.then_some(Overtaken { at, id: made.id, planned: made.planned })
    }
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

#[cfg(test)]
mod tests {
    use walrus_metadata::Fence;
    use walrus_types::{Incarnation, NodeId};
    use walrus_wire::kafka_protocol::error::ResponseError;

    use super::*;
    use crate::{api::world::World, controller::nodes};

    fn planned(name: &str) -> Planned {
        Planned {
            name: name.into(),
            partitions: 6,
            replicas_target: 2,
            assigned: Vec::new(),
            configs: BTreeMap::new(),
        }
    }

    /// Nodes as somebody sees them who heard of all of them right now.
    fn nodes_of(world: &World) -> Nodes {
        nodes::nodes(&world.metadata, &BTreeMap::new(), TimestampMs(0))
    }

    /// Proposes what is placed, in one command.
    fn propose(making: &mut Making, world: &mut World) -> Vec<Overtaken> {
        let placed = std::mem::take(&mut making.placed);
        let (places, new) = making.topics(placed, TimestampMs(0));
        let reply = world.apply(&Command::CreateTopics(new));
        making.answered(&places, Ok(reply))
    }

    #[test]
    fn a_topic_whose_nodes_died_meanwhile_is_placed_on_those_that_live() {
        let mut world = World::with_topics(&[("taken", 1)]);
        world.register(2);
        world.register(3);
        let mut making = Making::new(TopicConfig::defaults(&crate::config::Config::default()));
        let nodes = nodes_of(&world);
        for (name, id) in [("taken", 1), ("new", 2), ("other", 3)] {
            making.add(&nodes, TopicId(Uuid::from_u128(id)), planned(name));
        }
        let (node, incarnation) = (NodeId(2), Incarnation(1));
        world.apply(&Command::Fence(Fence { node, incarnation, at: TimestampMs(0) }));

        let overtaken = propose(&mut making, &mut world);
        assert_eq!(overtaken.iter().map(|topic| topic.at).collect::<Vec<_>>(), [1, 2]);
        making.place_anew(&nodes_of(&world), overtaken);
        assert!(propose(&mut making, &mut world).is_empty());

        let codes: Vec<_> =
            making.outcomes.iter().map(|one| one.as_ref().map_err(|why| why.code)).collect();
        assert_eq!(codes[0], Err(ResponseError::TopicAlreadyExists));
        for (at, name) in [(1, "new"), (2, "other")] {
            let made = codes[at].unwrap();
            let topic = world.metadata.topic_named(name).unwrap();
            assert_eq!((made.id, made.replicas), (topic.id, 2), "{name}");
            assert_eq!(topic.partitions().len(), 6);
            for (_, partition) in topic.partitions() {
                assert_ne!(partition.open().leader.node, node, "{name}");
            }
        }
    }

    #[test]
    fn a_topic_that_nodes_overtake_again_and_again_is_refused() {
        let mut world = World::with_topics(&[]);
        world.register(2);
        let nodes = nodes_of(&world);
        let (node, incarnation) = (NodeId(2), Incarnation(1));
        world.apply(&Command::Fence(Fence { node, incarnation, at: TimestampMs(0) }));
        let mut making = Making::new(TopicConfig::defaults(&crate::config::Config::default()));
        making.add(&nodes, TopicId(Uuid::from_u128(1)), planned("new"));
        for _ in 0..2 {
            // It is not seen that the node went.
            let overtaken = propose(&mut making, &mut world);
            assert_eq!(overtaken.len(), 1);
            let refusal = making.outcomes[0].as_ref().unwrap_err();
            assert_eq!(refusal.code, ResponseError::BrokerNotAvailable);
            making.place_anew(&nodes, overtaken);
        }
    }

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
