//! ListOffsets, versions 1 to 7: the first offset, the next one, those of a time.
//!
//! What the marks and the chain know is answered from them; what only records know is looked up
//! in `search.rs`, on a thread that may wait for the disk.

mod search;

use std::{collections::BTreeSet, sync::Arc};

use walrus_metadata::Partition as Chain;
use walrus_types::{Offset, TimestampMs};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        ListOffsetsRequest, ListOffsetsResponse,
        list_offsets_request::ListOffsetsPartition,
        list_offsets_response::{ListOffsetsPartitionResponse, ListOffsetsTopicResponse},
    },
};

use self::search::{Found, Log};
use super::{Head, codes::Refusal};
use crate::{
    broker::{Broker, TopicView},
    net::replies::Reply,
    partition::read::{blocking, check_epoch},
};

/// Searches of records that may run at once on a node: each may hold an inflated batch.
pub const SEARCHES_MAX: usize = 4;
/// The first version that asks for the greatest timestamp.
const YOUNGEST_SINCE: i16 = 7;
/// The first version whose answer has the epoch.
const EPOCH_SINCE: i16 = 4;

/// What a timestamp in a request asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// The offset that the next record gets, once it is committed.
    Latest,
    /// The log start.
    Earliest,
    /// The record with the greatest timestamp.
    Youngest,
    /// The first record that is not older.
    At(TimestampMs),
}

/// Answers partition by partition, while the connection's next requests go on.
pub fn begin(broker: &Arc<Broker>, head: Head, request: ListOffsetsRequest) -> Reply {
    let broker = Arc::clone(broker);
    Reply::later(async move {
        let mut topics = Vec::with_capacity(request.topics.len());
        let mut seen = BTreeSet::new();
        for topic in request.topics {
            let view = broker.topic_by_name(&topic.name);
            if let Some(view) = &view {
                let indexes = topic.partitions.iter().map(|asked| asked.partition_index);
                broker.load_partitions(view, indexes).await;
            }
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for asked in &topic.partitions {
                let first = seen.insert((topic.name.clone(), asked.partition_index));
                let found = if first {
                    look_up(&broker, head.version, view.as_ref(), asked).await
                } else {
                    Err(Refusal::invalid("a partition is named twice"))
                };
                partitions.push(answer(head.version, asked.partition_index, found));
            }
            let response = ListOffsetsTopicResponse::default().with_name(topic.name);
            topics.push(response.with_partitions(partitions));
        }
        head.frames(&ListOffsetsResponse::default().with_topics(topics))
    })
}

/// An offset with its epoch, or that there is none.
type Listed = Option<(Found, i32)>;

async fn look_up(
    broker: &Arc<Broker>,
    version: i16,
    topic: Option<&TopicView>,
    partition: &ListOffsetsPartition,
) -> Result<Listed, Refusal> {
    let asked = asked(partition.timestamp, version)?;
    let topic = topic.ok_or_else(Refusal::unknown_topic)?;
    let led =
        broker.leased(topic, partition.partition_index).await.map_err(|why| Refusal::from(&why))?;
    // The marks are taken first: the chain then covers all that they say is committed.
    let marks = led.marks();
    let metadata = broker.metadata();
    let chain = metadata.partition(led.id()).ok_or_else(Refusal::unknown_topic)?;
    let current = chain.open().key.epoch;
    check_epoch(partition.current_leader_epoch, current).map_err(|why| Refusal::from(&why))?;
    let log_start = chain.log_start().max(marks.log_start);
    let found = match asked {
        Asked::Latest => {
            return Ok(Some((Found::untimed(marks.commit.max(log_start)), current.0)));
        }
        Asked::Earliest => Some(Found::untimed(log_start)),
        Asked::Youngest | Asked::At(_) if marks.commit <= log_start => None,
        Asked::Youngest | Asked::At(_) => {
            let log = Log {
                store: broker.store.clone(),
                id: led.id(),
                chain: Arc::clone(chain),
                start: log_start,
                end: marks.commit,
            };
            let search = move || match asked {
                Asked::At(at) => log.first_at(at),
                Asked::Youngest | Asked::Latest | Asked::Earliest => log.youngest(),
            };
            let _turn = broker.searches.acquire().await.expect("the semaphore is never closed");
            blocking(search).await.map_err(|why| Refusal::from(&why))?
        }
    };
    Ok(found.map(|found| (found, epoch_of(chain, found.offset))))
}

/// What a timestamp stands for; a negative one that the version does not have gets the code that
/// Kafka gives, so that a client may ask in another way.
fn asked(timestamp: i64, version: i16) -> Result<Asked, Refusal> {
    match timestamp {
        -1 => Ok(Asked::Latest),
        -2 => Ok(Asked::Earliest),
        -3 if version >= YOUNGEST_SINCE => Ok(Asked::Youngest),
        at if at >= 0 => Ok(Asked::At(TimestampMs(at))),
        other => Err(Refusal::new(
            ResponseError::UnsupportedVersion,
            format!("timestamp {other} means nothing in version {version}"),
        )),
    }
}

/// The epoch that an offset was, or will be, written in.
fn epoch_of(chain: &Chain, offset: Offset) -> i32 {
    chain.segment_at(offset).map_or(-1, |link| link.key().epoch.0)
}

fn answer(
    version: i16,
    index: i32,
    found: Result<Listed, Refusal>,
) -> ListOffsetsPartitionResponse {
    let answer = ListOffsetsPartitionResponse::default().with_partition_index(index);
    match found {
        Ok(Some((found, epoch))) => answer
            .with_offset(found.offset.0)
            .with_timestamp(found.timestamp.0)
            .with_leader_epoch(if version >= EPOCH_SINCE { epoch } else { -1 }),
        // No offset, no timestamp, no epoch, no error: there is no such record.
        Ok(None) => answer,
        Err(refusal) => answer.with_error_code(refusal.code.code()),
    }
}

#[cfg(test)]
mod tests {
    use walrus_wire::response;

    use super::*;
    use crate::api::world::World;

    #[test]
    fn negative_timestamps_mean_what_their_version_says() {
        let at = |ms| Some(Asked::At(TimestampMs(ms)));
        for (timestamp, version, expected) in [
            (-1, 1, Some(Asked::Latest)),
            (-2, 1, Some(Asked::Earliest)),
            (-3, 6, None),
            (-3, 7, Some(Asked::Youngest)),
            (-4, 7, None),
            (-5, 7, None),
            (i64::MIN, 7, None),
            (0, 1, at(0)),
            (i64::MAX, 7, at(i64::MAX)),
        ] {
            let judged = asked(timestamp, version);
            let code = judged.as_ref().err().map(|refusal| refusal.code);
            assert_eq!(judged.ok(), expected, "{timestamp} in version {version}");
            if expected.is_none() {
                assert_eq!(code, Some(ResponseError::UnsupportedVersion));
            }
        }
    }

    #[test]
    fn every_outcome_can_be_told_in_every_version() {
        let found = Found { offset: Offset(7), timestamp: TimestampMs(9) };
        let refusal = Refusal::unknown_topic();
        for version in 1..=7 {
            let outcomes = [Ok(Some((found, 3))), Ok(None), Err(refusal.clone())];
            let told: Vec<_> =
                outcomes.into_iter().map(|outcome| answer(version, 0, outcome)).collect();
            assert_eq!((told[0].offset, told[0].timestamp), (7, 9));
            assert_eq!((told[1].offset, told[1].timestamp, told[1].error_code), (-1, -1, 0));
            assert_eq!((told[2].offset, told[2].error_code), (-1, 3));
            let topic = ListOffsetsTopicResponse::default().with_partitions(told);
            let response = ListOffsetsResponse::default().with_topics(vec![topic]);
            response::encode(1, version, &response).unwrap();
        }
    }

    #[test]
    fn an_offset_has_the_epoch_of_its_segment() {
        let mut world = World::with_topics(&[("t", 1)]);
        world.roll("t", 5, 0);
        world.roll("t", 9, 0);
        let chain = world.metadata.partition(world.partition("t")).unwrap();
        for (offset, epoch) in [(0, 1), (4, 1), (5, 2), (8, 2), (9, 3), (1_000, 3)] {
            assert_eq!(epoch_of(chain, Offset(offset)), epoch, "offset {offset}");
        }
    }
}
