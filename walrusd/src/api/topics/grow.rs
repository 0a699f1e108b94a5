//! CreatePartitions, versions 0 to 3: a topic gets more partitions, never fewer.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use walrus_metadata::{AddPartitions, AddRefusal, Command, Metadata, Reply as Answer, Topic};
use walrus_types::limits::TOPIC_PARTITIONS_MAX;
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        CreatePartitionsRequest, CreatePartitionsResponse,
        create_partitions_request::CreatePartitionsTopic,
        create_partitions_response::CreatePartitionsTopicResult,
    },
};

use super::{
    PARTITIONS_PER_REQUEST_MAX, PLACED_ANEW_MAX,
    place::{self, Wanted},
    plan::{check_assignments, nodes_of},
};
use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    net::replies::Reply,
};

/// Adds the partitions.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: CreatePartitionsRequest) -> Reply {
    let mut times: BTreeMap<_, usize> = BTreeMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.clone()).or_default() += 1;
    }
    let mut asked = BTreeSet::new();
    let mut added = 0;
    let mut results = Vec::with_capacity(times.len());
    for topic in request.topics {
        // Those named twice have one answer, as in Kafka, and none of them is done.
        if !asked.insert(topic.name.clone()) {
            continue;
        }
        let outcome = if times.get(&topic.name).is_some_and(|times| *times > 1) {
            Err(Refusal::invalid("Duplicate topic name."))
        } else {
            grow(broker, &topic, request.validate_only, &mut added).await
        };
        let (code, message) = match outcome {
            Ok(()) => (0, None),
            Err(refusal) => (refusal.code.code(), refusal.words()),
        };
        let result = CreatePartitionsTopicResult::default();
        let result = result.with_name(topic.name).with_error_code(code);
        results.push(result.with_error_message(message));
    }
    head.ready(&CreatePartitionsResponse::default().with_results(results))
}

async fn grow(
    broker: &Broker,
    asked: &CreatePartitionsTopic,
    validate_only: bool,
    added: &mut usize,
) -> Result<(), Refusal> {
    let metadata = broker.metadata();
    let topic = metadata.topic_named(&asked.name).ok_or_else(Refusal::unknown_topic)?;
    let more = judge(&metadata, topic, asked)?;
    *added += more;
    if *added > PARTITIONS_PER_REQUEST_MAX {
        let message =
            format!("the most partitions that a request adds is {PARTITIONS_PER_REQUEST_MAX}");
        return Err(Refusal::new(ResponseError::PolicyViolation, message));
    }
    if validate_only {
        return Ok(());
    }
    let has = topic.partitions().len();
    let assigned = asked.assignments.iter().flatten();
    let assigned: Vec<_> = assigned.map(|one| nodes_of(&one.broker_ids)).collect();
    let wanted = Wanted {
        topic: topic.id,
        has,
        more,
        target: topic.replicas_target,
        min_insync: broker.view(topic).config.min_insync_replicas,
        assigned: &assigned,
    };
    let mut round = 0;
    loop {
        let add = AddPartitions {
            topic: topic.id,
            expected: u32::try_from(has).expect("few partitions"),
            partitions: place::place(&broker.nodes(), wanted)?,
            at: broker.clock.now(),
        };
        match broker.raft.propose(&Command::AddPartitions(add)).await? {
            Answer::PartitionsAdded(Err(AddRefusal::Placement { why, .. }))
                if why.is_overtaken() && round < PLACED_ANEW_MAX =>
            {
                tracing::info!(topic = %topic.name, %why, "new partitions are placed anew");
                round += 1;
            }
            Answer::PartitionsAdded(added) => return Ok(added?),
            other => return Err(Refusal::unexpected(&other)),
        }
    }
}

/// How many partitions are to be added.
fn judge(
    metadata: &Metadata,
    topic: &Topic,
    asked: &CreatePartitionsTopic,
) -> Result<usize, Refusal> {
    let refuse = |why: String| Err(Refusal::new(ResponseError::InvalidPartitions, why));
    let has = topic.partitions().len();
    let count = usize::try_from(asked.count).unwrap_or(0);
    if count == has {
        return refuse(format!("Topic already has {has} partition(s)."));
    }
    let Some(more) = count.checked_sub(has) else {
        return refuse(format!(
            "The topic {} currently has {has} partition(s); {} would not be an increase.",
            topic.name, asked.count
        ));
    };
    if asked.count > TOPIC_PARTITIONS_MAX {
        return refuse(format!("a topic may have {TOPIC_PARTITIONS_MAX} partitions"));
    }
    if let Some(assignments) = &asked.assignments {
        if assignments.len() != more {
            let message = format!(
                "Attempted to add {more} additional partition(s), but only {} assignment(s) were \
                 specified.",
                assignments.len()
            );
            return Err(Refusal::new(ResponseError::InvalidReplicaAssignment, message));
        }
        check_assignments(assignments.iter().map(|one| one.broker_ids.as_slice()), metadata)?;
    }
    Ok(more)
}

#[cfg(test)]
mod tests {
    use walrus_wire::kafka_protocol::messages::{
        BrokerId, create_partitions_request::CreatePartitionsAssignment,
    };

    use super::*;
    use crate::api::world::World;

    #[test]
    fn a_topic_only_grows_and_assignments_fit_what_is_added() {
        use ResponseError::{InvalidPartitions, InvalidReplicaAssignment};
        let World { metadata, .. } = World::with_topics(&[("t", 3)]);
        let topic = metadata.topic_named("t").unwrap();
        let none: Option<&[i32]> = None;
        for (count, brokers, expected) in [
            (4, none, Ok(1)),
            (10_000, none, Ok(9_997)),
            (3, none, Err(InvalidPartitions)),
            (2, none, Err(InvalidPartitions)),
            (0, none, Err(InvalidPartitions)),
            (-1, none, Err(InvalidPartitions)),
            (i32::MIN, none, Err(InvalidPartitions)),
            (10_001, none, Err(InvalidPartitions)),
            (i32::MAX, none, Err(InvalidPartitions)),
            (5, Some(&[1, 1][..]), Ok(2)),
            (5, Some(&[1]), Err(InvalidReplicaAssignment)),
            (5, Some(&[1, 1, 1]), Err(InvalidReplicaAssignment)),
            (5, Some(&[1, 2]), Err(InvalidReplicaAssignment)),
            (5, Some(&[]), Err(InvalidReplicaAssignment)),
        ] {
            let assignments = brokers.map(|brokers| {
                let one = |id: &i32| vec![BrokerId(*id)];
                let list = brokers.iter().map(one);
                list.map(|ids| CreatePartitionsAssignment::default().with_broker_ids(ids)).collect()
            });
            let asked = CreatePartitionsTopic::default();
            let asked = asked.with_count(count).with_assignments(assignments);
            let judged = judge(&metadata, topic, &asked).map_err(|refusal| refusal.code);
            assert_eq!(judged, expected, "{count} {brokers:?}");
        }
    }
}
