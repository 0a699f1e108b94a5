//! What a new topic may be: the rules of CreateTopics, with Kafka's words, and of the
//! assignments in CreatePartitions. Pure; nothing here is done yet.

use std::collections::{BTreeMap, BTreeSet};

use walrus_metadata::{Metadata, NodeState};
use walrus_types::{
    NodeId,
    limits::{PARTITIONS_MAX, TOPIC_PARTITIONS_MAX},
};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        BrokerId,
        create_topics_request::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig},
    },
};

use super::{
    PARTITIONS_PER_REQUEST_MAX,
    names::{self, Collisions},
};
use crate::{api::codes::Refusal, topic_config};

/// The longest value of a topic config: a number or a list of known words, with room. It keeps
/// the commands that carry values small.
const VALUE_BYTES_MAX: usize = 64;

/// A topic as it will be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Planned {
    pub(super) name: String,
    pub(super) partitions: usize,
    /// What is kept as the topic's target, whatever is alive.
    pub(super) replicas_target: u8,
    /// The nodes of each partition, if the client chose them.
    pub(super) assigned: Vec<Vec<NodeId>>,
    pub(super) configs: BTreeMap<String, String>,
}

/// What a request is judged against: the cluster as it is, and what the request planned so far.
#[derive(Debug)]
pub(super) struct Planner<'a> {
    metadata: &'a Metadata,
    partitions_default: i32,
    replicas_default: u8,
    collisions: Collisions,
    partitions_planned: usize,
}

impl<'a> Planner<'a> {
    pub(super) fn new(
        metadata: &'a Metadata,
        partitions_default: i32,
        replicas_default: u8,
    ) -> Self {
        let collisions = Collisions::default();
        Self { metadata, partitions_default, replicas_default, collisions, partitions_planned: 0 }
    }

    /// Judges one topic of a request.
    pub(super) fn plan(&mut self, topic: &CreatableTopic) -> Result<Planned, Refusal> {
        let name = topic.name.as_str();
        names::check(name)?;
        if self.metadata.topic_named(name).is_some() {
            let message = format!("Topic '{name}' already exists.");
            return Err(Refusal::new(ResponseError::TopicAlreadyExists, message));
        }
        self.collisions.check(name, self.metadata)?;
        let configs = check_configs(&topic.configs)?;
        let (partitions, replicas_target) = if topic.assignments.is_empty() {
            (self.partitions(topic.num_partitions)?, self.replicas(topic.replication_factor)?)
        } else {
            self.assigned(topic)?
        };
        self.reserve(partitions)?;
        let mut assigned: Vec<_> = topic.assignments.iter().collect();
        assigned.sort_by_key(|one| one.partition_index);
        let assigned = assigned.into_iter().map(|one| nodes_of(&one.broker_ids)).collect();
        Ok(Planned { name: name.to_owned(), partitions, replicas_target, assigned, configs })
    }

    fn partitions(&self, given: i32) -> Result<usize, Refusal> {
        let count = if given == -1 { self.partitions_default } else { given };
        if count < 1 {
            let why = "Number of partitions was set to an invalid non-positive value.";
            return Err(Refusal::new(ResponseError::InvalidPartitions, why));
        }
        of_topic(count)
    }

    fn replicas(&self, given: i16) -> Result<u8, Refusal> {
        let refuse = |why: String| Refusal::new(ResponseError::InvalidReplicationFactor, why);
        if given == -1 {
            return Ok(self.replicas_default);
        }
        if given < 1 {
            let why = "Replication factor must be larger than 0, or -1 to use the default value.";
            return Err(refuse(why.into()));
        }
        // Those that drain are given something only when there is nobody else.
        let able = match self.metadata.active_total() {
            0 => alive(self.metadata).count(),
            active => active,
        };
        match u8::try_from(given) {
            Ok(target) if usize::from(target) <= able => Ok(target),
            _ => Err(refuse(format!(
                "The target replication factor of {given} cannot be reached because only {able} \
                 broker(s) are registered. With -1 a topic grows to the cluster's target of {} \
                 when nodes join.",
                self.replicas_default
            ))),
        }
    }

    fn assigned(&self, topic: &CreatableTopic) -> Result<(usize, u8), Refusal> {
        for (given, what) in [
            (i32::from(topic.replication_factor), "replication factor"),
            (topic.num_partitions, "numPartitions"),
        ] {
            if given != -1 {
                return Err(Refusal::invalid(format!(
                    "A manual partition assignment was specified, but {what} was not set to -1."
                )));
            }
        }
        let refuse = |why: String| Refusal::new(ResponseError::InvalidReplicaAssignment, why);
        let mut indexes = BTreeSet::new();
        for CreatableReplicaAssignment { partition_index: index, .. } in &topic.assignments {
            if !indexes.insert(*index) {
                let why =
                    format!("Found multiple manual partition assignments for partition {index}");
                return Err(refuse(why));
            }
        }
        if !consecutive(&indexes) {
            return Err(refuse(
                "partitions should be a consecutive 0-based integer sequence".into(),
            ));
        }
        let lists = topic.assignments.iter().map(|one| one.broker_ids.as_slice());
        let replicas = check_assignments(lists, self.metadata)?;
        let partitions = i32::try_from(indexes.len()).unwrap_or(i32::MAX);
        Ok((of_topic(partitions)?, replicas))
    }

    /// Counts what the request makes against what a request and the cluster may have, before
    /// anything is allocated for it.
    fn reserve(&mut self, partitions: usize) -> Result<(), Refusal> {
        let planned = self.partitions_planned + partitions;
        let refuse = |why: String| Err(Refusal::new(ResponseError::PolicyViolation, why));
        if planned > PARTITIONS_PER_REQUEST_MAX {
            return refuse(format!(
                "Excessively large number of partitions per request: the most is \
                 {PARTITIONS_PER_REQUEST_MAX}."
            ));
        }
        if self.metadata.partitions_total() + planned > PARTITIONS_MAX {
            return refuse(format!("the cluster may have {PARTITIONS_MAX} partitions"));
        }
        self.partitions_planned = planned;
        Ok(())
    }
}

fn consecutive(indexes: &BTreeSet<i32>) -> bool {
    indexes.iter().copied().zip(0..).all(|(index, expected)| index == expected)
}

fn of_topic(count: i32) -> Result<usize, Refusal> {
    match usize::try_from(count) {
        Ok(partitions) if count <= TOPIC_PARTITIONS_MAX => Ok(partitions),
        _ => Err(Refusal::new(
            ResponseError::InvalidPartitions,
            format!("a topic may have {TOPIC_PARTITIONS_MAX} partitions"),
        )),
    }
}

/// The nodes that can be given something.
pub(super) fn alive(metadata: &Metadata) -> impl Iterator<Item = NodeId> {
    metadata
        .nodes()
        .iter()
        .filter(|(_, node)| match node.state {
            NodeState::Active | NodeState::Draining => true,
            NodeState::Fenced | NodeState::Removed => false,
        })
        .map(|(id, _)| *id)
}

/// The nodes that a request names for one partition.
pub(super) fn nodes_of(brokers: &[BrokerId]) -> Vec<NodeId> {
    brokers.iter().map(|broker| NodeId(broker.0)).collect()
}

/// Judges the brokers that a request names for each partition; answers how many each has.
pub(super) fn check_assignments<'r>(
    lists: impl Iterator<Item = &'r [BrokerId]>,
    metadata: &Metadata,
) -> Result<u8, Refusal> {
    let refuse = |why: String| {
        let message = format!("The manual partition assignment includes {why}");
        Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message))
    };
    let known: BTreeSet<i32> = alive(metadata).map(|node| node.0).collect();
    let mut before = None;
    for brokers in lists {
        let mut seen = BTreeSet::new();
        for BrokerId(broker) in brokers {
            if !known.contains(broker) {
                return refuse(format!("broker {broker}, but no such broker is registered."));
            }
            if !seen.insert(*broker) {
                return refuse(format!("the broker {broker} more than once."));
            }
        }
        let replicas = seen.len();
        match before {
            _ if replicas == 0 => return refuse("an empty replica list.".into()),
            Some(before) if before != replicas => {
                return refuse(format!(
                    "a partition with {replicas} replica(s), but this is not consistent with \
                     previous partitions, which have {before} replica(s)."
                ));
            }
            _ => before = Some(replicas),
        }
    }
    u8::try_from(before.unwrap_or(0)).or_else(|_many| refuse("too many brokers.".into()))
}

/// Judges the configs of a new topic. Of two with one name the later counts.
fn check_configs(given: &[CreatableTopicConfig]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut configs = BTreeMap::new();
    for CreatableTopicConfig { name, value, .. } in given {
        let Some(value) = value else {
            let message = format!("Null value not supported for topic configs: {name}");
            return Err(Refusal::new(ResponseError::InvalidConfig, message));
        };
        check_config(name, value)?;
        configs.insert(name.to_string(), value.trim().to_owned());
    }
    Ok(configs)
}

/// Judges one config's name and value.
pub fn check_config(name: &str, value: &str) -> Result<(), Refusal> {
    if value.len() > VALUE_BYTES_MAX {
        let message = format!("{name} has a value of more than {VALUE_BYTES_MAX} bytes");
        return Err(Refusal::new(ResponseError::InvalidConfig, message));
    }
    topic_config::check(name, value).map_err(|refusal| Refusal::from(&refusal))
}

#[cfg(test)]
mod tests;
