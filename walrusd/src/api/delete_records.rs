//! DeleteRecords, versions 0 to 2: a client raises the log start of partitions.
//!
//! The leader says up to where that may go, and its metadata command names the epoch in which
//! that was true: after a roll it is asked again.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use walrus_metadata::{Command, Prune, PruneRefusal, Reply as Answer};
use walrus_types::{Offset, limits::CHANGES_PER_COMMAND_MAX};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        DeleteRecordsRequest, DeleteRecordsResponse, TopicName,
        delete_records_response::{DeleteRecordsPartitionResult, DeleteRecordsTopicResult},
    },
};

use super::{Head, codes::Refusal};
use crate::{
    broker::{Broker, TopicView},
    net::replies::Reply,
    partition::Partition,
};

/// Between two looks at a partition whose roll is being applied.
const RETRY_AFTER: Duration = Duration::from_millis(5);
/// However short a request's timeout is, a roll has this long.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// However long a request's timeout is, its connection waits no longer.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// One partition of the request.
#[derive(Debug)]
struct Part {
    topic: usize,
    index: i32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// To be deleted up to the offset, which -1 leaves to the leader.
    Asked(Arc<Partition>, Offset),
    /// The partition's log start, or why it was not moved.
    Done(Result<Offset, Refusal>),
}

/// Deletes what lies below the offsets given.
pub async fn begin(broker: &Arc<Broker>, head: Head, request: DeleteRecordsRequest) -> Reply {
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + patience.clamp(PATIENCE_MIN, PATIENCE_MAX);
    let mut names = Vec::with_capacity(request.topics.len());
    let mut parts = Vec::new();
    for (at, topic) in request.topics.into_iter().enumerate() {
        let view = broker.topic_by_name(&topic.name);
        names.push(topic.name);
        for asked in topic.partitions {
            let index = asked.partition_index;
            let state = match find(broker, view.as_ref(), index).await {
                Ok(partition) => State::Asked(partition, Offset(asked.offset)),
                Err(refusal) => State::Done(Err(refusal)),
            };
            parts.push(Part { topic: at, index, state });
        }
    }
    while propose_all(broker, &mut parts).await && Instant::now() < deadline {
        tokio::time::sleep(RETRY_AFTER).await;
    }
    head.ready(&respond(names, parts))
}

async fn find(
    broker: &Arc<Broker>,
    topic: Option<&TopicView>,
    index: i32,
) -> Result<Arc<Partition>, Refusal> {
    let topic = topic.ok_or_else(Refusal::unknown_topic)?;
    broker.leased(topic, index).await.map_err(|why| Refusal::from(&why))
}

/// Proposes every partition that is not done; true when some have to be asked again.
async fn propose_all(broker: &Broker, parts: &mut [Part]) -> bool {
    let mut open: Vec<&mut Part> =
        parts.iter_mut().filter(|part| matches!(part.state, State::Asked(..))).collect();
    let mut again = false;
    for some in open.chunks_mut(CHANGES_PER_COMMAND_MAX) {
        again |= propose(broker, some).await;
    }
    again
}

async fn propose(broker: &Broker, parts: &mut [&mut Part]) -> bool {
    let mut prunes = Vec::with_capacity(parts.len());
    let mut proposed = Vec::with_capacity(parts.len());
    for part in parts.iter_mut() {
        match part.judge() {
            Ok(prune) => {
                prunes.push(prune);
                proposed.push(&mut **part);
            }
            Err(refusal) => part.state = State::Done(Err(refusal)),
        }
    }
    if prunes.is_empty() {
        return false;
    }
    let pruned = match broker.raft.propose(&Command::Prune(prunes)).await {
        Ok(Answer::Pruned(pruned)) => pruned,
        Ok(other) => return all_refused(&mut proposed, &Refusal::unexpected(&other)),
        Err(why) => return all_refused(&mut proposed, &why.into()),
    };
    let mut again = false;
    for (part, pruned) in proposed.into_iter().zip(pruned) {
        let State::Asked(partition, _) = &part.state else { continue };
        match pruned {
            Ok(pruned) => {
                partition.move_log_start(pruned.log_start);
                part.state = State::Done(Ok(pruned.log_start));
            }
            // The partition rolled, or this node has not yet seen that it did.
            Err(PruneRefusal::OtherEpoch { .. }) => again = true,
            Err(refusal) => part.state = State::Done(Err(refusal.into())),
        }
    }
    again
}

fn all_refused(parts: &mut [&mut Part], refusal: &Refusal) -> bool {
    for part in parts {
        part.state = State::Done(Err(refusal.clone()));
    }
    false
}

impl Part {
    /// Asks the leader how far it may go. "All there is" is fixed the first time.
    fn judge(&mut self) -> Result<Prune, Refusal> {
        let State::Asked(partition, to) = &mut self.state else {
            unreachable!("only what is asked is judged");
        };
        let judged = partition.with_leader(|leader| (leader.epoch(), leader.check_delete(*to)));
        let (expected, log_start) = judged;
        *to = log_start?;
        Ok(Prune { partition: partition.id(), expected, log_start: *to })
    }

    fn outcome(self) -> Result<Offset, Refusal> {
        match self.state {
            State::Done(outcome) => outcome,
            State::Asked(..) => Err(Refusal::new(
                ResponseError::RequestTimedOut,
                "the partition was rolling all the time",
            )),
        }
    }
}

fn respond(names: Vec<TopicName>, parts: Vec<Part>) -> DeleteRecordsResponse {
    let mut topics: Vec<DeleteRecordsTopicResult> =
        names.into_iter().map(|name| DeleteRecordsTopicResult::default().with_name(name)).collect();
    for part in parts {
        let (topic, index) = (part.topic, part.index);
        let (low_watermark, code) = match part.outcome() {
            Ok(log_start) => (log_start.0, 0),
            Err(refusal) => (-1, refusal.code.code()),
        };
        topics[topic].partitions.push(
            DeleteRecordsPartitionResult::default()
                .with_partition_index(index)
                .with_low_watermark(low_watermark)
                .with_error_code(code),
        );
    }
    DeleteRecordsResponse::default().with_topics(topics)
}

#[cfg(test)]
mod tests {
    use walrus_wire::response;

    use super::*;

    #[test]
    fn a_partition_answers_its_log_start_or_a_code() {
        let outcomes =
            [Ok(Offset(7)), Err(Refusal::new(ResponseError::OffsetOutOfRange, "too far"))];
        for version in 0..=2 {
            let parts = (0..).zip(&outcomes).map(|(index, outcome)| {
                let topic = usize::try_from(index).unwrap();
                Part { topic, index, state: State::Done(outcome.clone()) }
            });
            let response = respond(vec![TopicName::default(); 2], parts.collect());
            let told: Vec<_> = response.topics.iter().map(|topic| &topic.partitions[0]).collect();
            assert_eq!((told[0].low_watermark, told[0].error_code), (7, 0));
            assert_eq!((told[1].low_watermark, told[1].error_code), (-1, 1));
            response::encode(1, version, &response).unwrap();
        }
    }
}
