//! AlterPartitionReassignments (0 and 1) and ListPartitionReassignments (0): which nodes are to store
//! a partition.
//!
//! What is asked for is written into the metadata, and the controller does the rest: it has the
//! open segment rolled to a successor on those nodes, has them copy the older segments, lets the
//! others go, and strikes the assignment when all of it is there. How far that is can be read off
//! the chain at any time. Where to read next: `reassign/plan.rs` for what is refused.

mod plan;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use walrus_metadata::{Assign, Command, Metadata, Outstanding, Partition, Reply as Answer, Topic};
use walrus_types::{NodeId, PartitionIndex, limits::CHANGES_PER_COMMAND_MAX};
use walrus_wire::kafka_protocol::{
    messages::{
        AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, BrokerId,
        ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, TopicName,
        alter_partition_reassignments_response::{
            ReassignablePartitionResponse, ReassignableTopicResponse,
        },
        list_partition_reassignments_response::{
            OngoingPartitionReassignment, OngoingTopicReassignment,
        },
    },
    protocol::StrBytes,
};

use self::plan::{Planned, plan};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// The first version that says whether a topic may get another number of replicas (KIP-860).
const FACTOR_SINCE: i16 = 1;

/// Assigns partitions; what that brings about is not waited for, as by Kafka.
pub(super) async fn alter(
    broker: &Arc<Broker>,
    head: Head,
    request: &AlterPartitionReassignmentsRequest,
) -> Reply {
    let may_change = head.version < FACTOR_SINCE || request.allow_replication_factor_change;
    let mut planned = plan(&broker.metadata(), request, may_change);
    let mut sound: Vec<&mut Planned> =
        planned.iter_mut().filter(|one| matches!(one.outcome, Ok(Some(_)))).collect();
    for some in sound.chunks_mut(CHANGES_PER_COMMAND_MAX) {
        propose(broker, some).await;
    }
    let response = altered(planned);
    head.ready(&response.with_allow_replication_factor_change(
        head.version < FACTOR_SINCE || request.allow_replication_factor_change,
    ))
}

async fn propose(broker: &Broker, planned: &mut [&mut Planned]) {
    let assigns: Vec<Assign> =
        planned.iter().filter_map(|one| one.outcome.as_ref().ok().cloned().flatten()).collect();
    let outcomes = match broker.raft.propose(&Command::Assign(assigns)).await {
        Ok(Answer::Assigned(outcomes)) => outcomes,
        Ok(other) => return all_refused(planned, &Refusal::unexpected(&other)),
        Err(why) => return all_refused(planned, &why.into()),
    };
    for (one, outcome) in planned.iter_mut().zip(outcomes) {
        if let Err(refusal) = outcome {
            one.outcome = Err(refusal.into());
        }
    }
}

fn all_refused(planned: &mut [&mut Planned], refusal: &Refusal) {
    for one in planned {
        one.outcome = Err(refusal.clone());
    }
}

fn altered(planned: Vec<Planned>) -> AlterPartitionReassignmentsResponse {
    let mut topics: Vec<ReassignableTopicResponse> = Vec::new();
    for Planned { topic, index, outcome } in planned {
        let answer = ReassignablePartitionResponse::default().with_partition_index(index);
        let answer = match outcome {
            Ok(_) => answer.with_error_message(None),
            Err(refusal) => {
                answer.with_error_code(refusal.code.code()).with_error_message(refusal.words())
            }
        };
        match topics.last_mut() {
            Some(last) if last.name == topic => last.partitions.push(answer),
            _ => {
                let new = ReassignableTopicResponse::default().with_name(topic);
                topics.push(new.with_partitions(vec![answer]));
            }
        }
    }
    let response = AlterPartitionReassignmentsResponse::default().with_error_message(None);
    response.with_responses(topics)
}

/// Answers with what is not done yet.
pub(super) fn list(
    broker: &Arc<Broker>,
    head: Head,
    request: &ListPartitionReassignmentsRequest,
) -> Reply {
    head.ready(&listed(&broker.metadata(), request))
}

fn listed(
    metadata: &Metadata,
    request: &ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let mut topics = Vec::new();
    match &request.topics {
        None => {
            for topic in metadata.topics() {
                topics.extend(of_topic(metadata, topic, topic.partitions().iter()));
            }
        }
        Some(asked) => {
            let mut wanted: BTreeMap<&TopicName, BTreeSet<i32>> = BTreeMap::new();
            for one in asked {
                wanted.entry(&one.name).or_default().extend(&one.partition_indexes);
            }
            for (name, indexes) in wanted {
                let Some(topic) = metadata.topic_named(name) else { continue };
                let all = topic.partitions().iter();
                let asked = all.filter(|(index, _)| indexes.contains(&index.0));
                topics.extend(of_topic(metadata, topic, asked));
            }
        }
    }
    ListPartitionReassignmentsResponse::default().with_error_message(None).with_topics(topics)
}

/// What is under way of these partitions, if anything is.
fn of_topic<'m>(
    metadata: &Metadata,
    topic: &Topic,
    partitions: impl Iterator<Item = (&'m PartitionIndex, &'m Arc<Partition>)>,
) -> Option<OngoingTopicReassignment> {
    let under_way: Vec<OngoingPartitionReassignment> = partitions
        .filter_map(|(index, chain)| {
            let outstanding = metadata.outstanding(chain)?;
            (!outstanding.is_done()).then(|| shown(*index, outstanding))
        })
        .collect();
    (!under_way.is_empty()).then(|| {
        let name = TopicName(StrBytes::from_string(topic.name.to_string()));
        OngoingTopicReassignment::default().with_name(name).with_partitions(under_way)
    })
}

/// Kafka's replicas are all that store something of it, or are to.
fn shown(index: PartitionIndex, outstanding: Outstanding) -> OngoingPartitionReassignment {
    let Outstanding { to, adding, removing, is_open_there: _ } = outstanding;
    let ids = |nodes: &[NodeId]| nodes.iter().map(|node| BrokerId(node.0)).collect::<Vec<_>>();
    let replicas: Vec<NodeId> = to.into_iter().chain(removing.iter().copied()).collect();
    OngoingPartitionReassignment::default()
        .with_partition_index(index.0)
        .with_replicas(ids(&replicas))
        .with_adding_replicas(ids(&adding))
        .with_removing_replicas(ids(&removing))
}

#[cfg(test)]
mod tests;
