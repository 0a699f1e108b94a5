//! OffsetForLeaderEpoch, versions 2 to 4: where an epoch ended, from the partition's chain. A
//! consumer that comes back after a failover learns here whether its log was cut (KIP-320).

use std::sync::Arc;

use walrus_metadata::Partition as Chain;
use walrus_types::{Epoch, Offset};
use walrus_wire::kafka_protocol::messages::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    offset_for_leader_epoch_request::OffsetForLeaderPartition,
    offset_for_leader_epoch_response::{EpochEndOffset, OffsetForLeaderTopicResult},
};

use super::{Head, codes::Refusal};
use crate::{
    broker::{Broker, TopicView},
    net::replies::Reply,
    partition::read::check_epoch,
};

/// What the wire carries for an epoch that is not known.
const UNDEFINED: (i32, i64) = (-1, -1);

/// Answers from the chain; the open segment's end its leader knows.
pub async fn begin(
    broker: &Arc<Broker>,
    head: Head,
    request: OffsetForLeaderEpochRequest,
) -> Reply {
    let mut topics = Vec::with_capacity(request.topics.len());
    for topic in request.topics {
        let view = broker.topic_by_name(&topic.topic);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for asked in &topic.partitions {
            let answer = EpochEndOffset::default().with_partition(asked.partition);
            partitions.push(match answer_one(broker, view.as_ref(), asked).await {
                Ok((epoch, end)) => answer.with_leader_epoch(epoch).with_end_offset(end),
                Err(refusal) => answer.with_error_code(refusal.code.code()),
            });
        }
        let result = OffsetForLeaderTopicResult::default().with_topic(topic.topic);
        topics.push(result.with_partitions(partitions));
    }
    head.ready(&OffsetForLeaderEpochResponse::default().with_topics(topics))
}

async fn answer_one(
    broker: &Arc<Broker>,
    topic: Option<&TopicView>,
    asked: &OffsetForLeaderPartition,
) -> Result<(i32, i64), Refusal> {
    let topic = topic.ok_or_else(Refusal::unknown_topic)?;
    let partition =
        broker.leased(topic, asked.partition).await.map_err(|why| Refusal::from(&why))?;
    // Loading may have opened a new segment: the chain is looked at afterwards. The log end is
    // taken first, so that it never lies in a segment after the chain's last.
    let log_end = partition.marks().log_end;
    let metadata = broker.metadata();
    let chain = metadata.partition(partition.id()).ok_or_else(Refusal::unknown_topic)?;
    let current = chain.open().key.epoch;
    check_epoch(asked.current_leader_epoch, current).map_err(|why| Refusal::from(&why))?;
    Ok(end_of(chain, log_end, asked.leader_epoch))
}

/// The greatest epoch up to `asked`, and its end. As in Kafka the open epoch ends at the log end,
/// committed or not, for it is compared with what the client has read; epochs of the future and
/// none at all are undefined.
fn end_of(chain: &Chain, log_end: Offset, asked: i32) -> (i32, i64) {
    if asked < 0 || asked > chain.open().key.epoch.0 {
        return UNDEFINED;
    }
    let found = chain.epoch_end(Epoch(asked));
    let end = found.end.unwrap_or_else(|| log_end.max(chain.open().key.base));
    (found.epoch.0, end.0)
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, Prune};

    use super::*;
    use crate::api::world::World;

    #[test]
    fn an_epoch_ends_where_the_next_one_that_wrote_something_begins() {
        // Epoch 1: [0, 5), epoch 2 wrote nothing, epoch 3: [5, 9), epoch 4 is open.
        let mut world = World::with_topics(&[("t", 1)]);
        for end in [5, 5, 9] {
            world.roll("t", end, 0);
        }
        let id = world.partition("t");
        let check = |world: &World, asked: i32, expected: (i32, i64)| {
            let chain = world.metadata.partition(id).unwrap();
            assert_eq!(end_of(chain, Offset(12), asked), expected, "epoch {asked}");
        };
        for (asked, expected) in [
            (-1, UNDEFINED),
            (i32::MIN, UNDEFINED),
            (0, (0, 0)),
            (1, (1, 5)),
            (2, (1, 5)),
            (3, (3, 9)),
            (4, (4, 12)),
            (5, UNDEFINED),
            (i32::MAX, UNDEFINED),
        ] {
            check(&world, asked, expected);
        }
        let prune = Prune { partition: id, expected: Epoch(4), log_start: Offset(6) };
        world.apply(&Command::Prune(vec![prune]));
        for (asked, expected) in [(1, (1, 6)), (2, (2, 6)), (3, (3, 9)), (4, (4, 12))] {
            check(&world, asked, expected);
        }
    }

    #[test]
    fn an_open_segment_never_ends_before_it_begins() {
        // The chain may be a roll ahead of the leader's own marks.
        let mut world = World::with_topics(&[("t", 1)]);
        world.roll("t", 5, 0);
        let chain = world.metadata.partition(world.partition("t")).unwrap();
        assert_eq!(end_of(chain, Offset(4), 2), (2, 5));
    }
}
