//! Fetch: records to consumers, at once or when there are some.
//!
//! [`begin`] finds out which partitions the request is about ([`sessions`]); [`gather`] reads
//! them, waits for commits where there is too little, and builds the answer. Nothing is decoded:
//! batches go from the store to the socket as they are. Versions 4 to 16.

mod gather;
pub mod sessions;

use std::{sync::Arc, time::Instant};

use walrus_storage::segment::Whose;
use walrus_types::Offset;
use walrus_wire::{
    fetch::{FetchReply, Fetched},
    kafka_protocol::{error::ResponseError, messages::FetchRequest},
};

use self::{
    gather::Gathering,
    sessions::{Key, SessionError, TopicKey, Wanted},
};
use super::Head;
use crate::{
    broker::Broker,
    net::{
        clients::Connection,
        connection::Client,
        replies::{Frames, Reply},
    },
};

/// The first version that names topics by id.
pub(super) const TOPIC_IDS_SINCE: i16 = 13;

/// Answers when enough is there, or the time is up.
pub fn begin(broker: &Arc<Broker>, client: &Client, head: Head, request: FetchRequest) -> Reply {
    let by_id = head.version >= TOPIC_IDS_SINCE;
    let wanted = wanted(&request, by_id);
    let forgotten = forgotten(&request, by_id);
    let id_new = rand::random_range(1..i32::MAX);
    let session = (request.session_id, request.session_epoch);
    // Versions before 7 know no sessions; their request decodes to "none".
    match broker.sessions.scope(session, wanted, &forgotten, (Instant::now(), id_new)) {
        Ok(scope) => {
            let (broker, reached) = (Arc::clone(broker), client.reached);
            let whose: Whose = Arc::<Connection>::clone(&client.connection);
            Reply::later(async move {
                let gathering = Gathering::new((broker, reached, whose), head, &request, scope);
                gathering.answer().await
            })
        }
        Err(error) => {
            let code = match error {
                SessionError::NotFound => ResponseError::FetchSessionIdNotFound,
                SessionError::WrongEpoch => ResponseError::InvalidFetchSessionEpoch,
            };
            let fetched = Fetched { error_code: code.code(), ..Fetched::default() };
            match encode(head, fetched) {
                Some(frames) => Reply::Ready(frames),
                None => Reply::Close,
            }
        }
    }
}

fn wanted(request: &FetchRequest, by_id: bool) -> Vec<(Key, Wanted)> {
    let mut all = Vec::new();
    for topic in &request.topics {
        let key = topic_key(by_id, &topic.topic, topic.topic_id);
        for partition in &topic.partitions {
            let wanted = Wanted {
                from: Offset(partition.fetch_offset),
                bytes_max: usize::try_from(partition.partition_max_bytes).unwrap_or(0),
                leader_epoch: partition.current_leader_epoch,
                last_fetched_epoch: partition.last_fetched_epoch,
            };
            all.push(((key.clone(), partition.partition), wanted));
        }
    }
    all
}

fn forgotten(request: &FetchRequest, by_id: bool) -> Vec<Key> {
    let mut all = Vec::new();
    for topic in &request.forgotten_topics_data {
        let key = topic_key(by_id, &topic.topic, topic.topic_id);
        all.extend(topic.partitions.iter().map(|partition| (key.clone(), *partition)));
    }
    all
}

/// Copied out of the frame: a session outlives it.
fn topic_key(by_id: bool, name: &str, id: uuid::Uuid) -> TopicKey {
    if by_id { TopicKey::Id(id) } else { TopicKey::Name(name.into()) }
}

fn encode(head: Head, fetched: Fetched) -> Option<Frames> {
    match FetchReply::encode(head.correlation_id, head.version, &fetched) {
        Ok(reply) => Some(reply.frames.into()),
        Err(why) => {
            tracing::error!(version = head.version, %why, "a fetch answer was not encoded");
            None
        }
    }
}
