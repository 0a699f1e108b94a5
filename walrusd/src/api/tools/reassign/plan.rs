//! What a reassignment comes to, partition by partition. Pure; nothing here is done yet.
//!
//! The number of replicas belongs to the topic: it changes when all partitions of a topic are
//! assigned to as many nodes each, in one request, and not for some of them.

use std::collections::{BTreeMap, BTreeSet};

use walrus_metadata::{
    Assign, Assignment, Metadata, NodeState, Partition, Topic, limits::MEMBERS_MAX,
};
use walrus_types::{NodeId, PartitionIndex, TopicPartition};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        AlterPartitionReassignmentsRequest, BrokerId, TopicName,
        alter_partition_reassignments_request::ReassignableTopic,
    },
};

use crate::api::codes::Refusal;

/// A partition of the request.
#[derive(Debug)]
pub(super) struct Planned {
    pub(super) topic: TopicName,
    pub(super) index: i32,
    /// The change; nothing where it is as it is to be.
    pub(super) outcome: Result<Option<Assign>, Refusal>,
}

/// Judges every partition of a request, in its order.
pub(super) fn plan(
    metadata: &Metadata,
    request: &AlterPartitionReassignmentsRequest,
    may_change_factor: bool,
) -> Vec<Planned> {
    let mut times: BTreeMap<(&TopicName, i32), usize> = BTreeMap::new();
    for topic in &request.topics {
        for one in &topic.partitions {
            *times.entry((&topic.name, one.partition_index)).or_default() += 1;
        }
    }
    let is_twice = |topic, index| times.get(&(topic, index)).is_some_and(|times| *times > 1);
    let mut planned = Vec::new();
    for topic in &request.topics {
        let before = planned.len();
        let known = metadata.topic_named(&topic.name);
        for one in &topic.partitions {
            let index = one.partition_index;
            let outcome = if is_twice(&topic.name, index) {
                Err(Refusal::invalid("a partition is assigned twice in the same request"))
            } else {
                judge(metadata, known.map(|known| &**known), index, one.replicas.as_deref())
            };
            planned.push(Planned { topic: topic.name.clone(), index, outcome });
        }
        if let Some(known) = known {
            check_factor(known, topic, &mut planned[before..], may_change_factor);
        }
    }
    planned
}

fn judge(
    metadata: &Metadata,
    topic: Option<&Topic>,
    index: i32,
    replicas: Option<&[BrokerId]>,
) -> Result<Option<Assign>, Refusal> {
    let unknown = || {
        let why = "The partition does not exist.";
        Refusal::new(ResponseError::UnknownTopicOrPartition, why)
    };
    let topic = topic.ok_or_else(unknown)?;
    let partition = PartitionIndex(index);
    let chain = topic.partition(partition).ok_or_else(unknown)?;
    let id = TopicPartition { topic: topic.id, partition };
    let known = chain.assignment().map(|known| Assignment::clone(known));
    match replicas {
        None => {
            let assignment = cancel(topic, chain, known.as_ref())?;
            Ok(Some(Assign { partition: id, expected: known, assignment }))
        }
        Some(replicas) => {
            let to = check_nodes(metadata, replicas)?;
            let here = || chain.open().members.iter().map(|member| member.node).collect();
            // What is turned elsewhere on its way goes back to where it came from.
            let from = known.as_ref().map_or_else(here, |known| known.from.clone());
            let assignment = Assignment { to, from };
            let is_as_it_is = known.as_ref() == Some(&assignment);
            let assignment = Some(assignment);
            Ok((!is_as_it_is).then_some(Assign { partition: id, expected: known, assignment }))
        }
    }
}

/// What is in force when an assignment is given up: the way back, if the topic wants as many
/// replicas as there were; else the partition stays where it has got to.
fn cancel(
    topic: &Topic,
    chain: &Partition,
    known: Option<&Assignment>,
) -> Result<Option<Assignment>, Refusal> {
    let Some(Assignment { from, .. }) = known else {
        let why = "No partition reassignment is in progress.";
        return Err(Refusal::new(ResponseError::NoReassignmentInProgress, why));
    };
    let is_back = chain.sealed().is_empty()
        && chain.open().members.iter().map(|member| &member.node).eq(from);
    let goes_back = from.len() == usize::from(topic.replicas_target) && !is_back;
    Ok(goes_back.then(|| Assignment { to: from.clone(), from: from.clone() }))
}

/// Judges the nodes that a partition is to be stored by.
fn check_nodes(metadata: &Metadata, replicas: &[BrokerId]) -> Result<Vec<NodeId>, Refusal> {
    let refuse = |why: String| {
        let message = format!("The manual partition assignment includes {why}");
        Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message))
    };
    let nodes: Vec<NodeId> = replicas.iter().map(|broker| NodeId(broker.0)).collect();
    if nodes.is_empty() {
        return refuse("an empty replica list.".into());
    }
    if nodes.len() > MEMBERS_MAX {
        return refuse(format!("more than {MEMBERS_MAX} brokers."));
    }
    let mut seen = BTreeSet::new();
    for id in &nodes {
        if !seen.insert(*id) {
            return refuse(format!("the broker {} more than once.", id.0));
        }
        match metadata.node(*id).map(|node| node.state) {
            None | Some(NodeState::Removed) => {
                return refuse(format!("broker {}, but no such broker is registered.", id.0));
            }
            Some(NodeState::Draining) => {
                return refuse(format!("broker {}, which drains: it is given nothing.", id.0));
            }
            Some(NodeState::Active | NodeState::Fenced) => {}
        }
    }
    Ok(nodes)
}

/// Refuses those that would have another number of replicas than their topic.
fn check_factor(
    topic: &Topic,
    asked: &ReassignableTopic,
    planned: &mut [Planned],
    may_change: bool,
) {
    let target = usize::from(topic.replicas_target);
    let size = |one: &Planned| match &one.outcome {
        Ok(Some(Assign { assignment: Some(assignment), .. })) => Some(assignment.to.len()),
        Ok(_) | Err(_) => None,
    };
    let others: Vec<usize> = planned.iter().filter_map(size).filter(|n| *n != target).collect();
    let Some(other) = others.first() else { return };
    let is_whole = others.len() == topic.partitions().len() && others.iter().all(|n| n == other);
    if may_change && is_whole {
        return;
    }
    for one in planned {
        let Some(given) = size(one).filter(|given| *given != target) else { continue };
        let why = if may_change {
            format!(
                "{given} replicas where the topic {} wants {target}: their number belongs to the \
                 topic, and changes when all of its partitions are assigned to as many nodes each",
                &*asked.name
            )
        } else {
            format!(
                "The replication factor is changed from {target} to {given}, which the request \
                 does not allow."
            )
        };
        one.outcome = Err(Refusal::new(ResponseError::InvalidReplicationFactor, why));
    }
}
