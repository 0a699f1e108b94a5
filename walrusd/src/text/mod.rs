//! The text protocol: `REGISTER`, `PUT`, `GET`, `STATE`, `METRICS`.
//!
//! Its entries are ordinary records: what is PUT, Kafka clients read, and what they produce, GET
//! hands out. The form of frames is `walrus_wire::text`'s; [`queue`] has GET's cursor.

mod queue;
mod state;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use tokio::time::{Duration, Instant};
use walrus_replication::Acks;
use walrus_types::batch::BatchHeader;
use walrus_wire::{
    records::{NewRecord, build_batch},
    text::{self, Command},
};

pub use self::queue::Queues;
use crate::{
    api::topics,
    broker::{Broker, TopicView},
    net::{
        connection::Client,
        replies::{Frames, Reply},
    },
    partition::{Prepared, Receipt},
};

/// How long a PUT may wait for its commit.
const PUT_MAX: Duration = Duration::from_secs(30);

/// Serves one command up to the point where the connection's next one may begin.
pub async fn begin(broker: &Arc<Broker>, _client: &Client, frame: Bytes) -> Reply {
    let command = match text::parse(&frame) {
        Ok(command) => command,
        Err(why) => return ready(text::Reply::Err(&why.to_string())),
    };
    broker.metrics.text_command(&command);
    match command {
        Command::Register { topic } => register(broker, topic).await,
        Command::Put { topic, payload } => put(broker, topic, payload).await,
        Command::Get { topic } => {
            let (broker, topic) = (Arc::clone(broker), topic.to_owned());
            Reply::later(async move { get(&broker, &topic).await })
        }
        Command::State { topic } => match broker.topic_by_name(topic) {
            Some(view) => ready(text::Reply::Payload(state::of(broker, &view).as_bytes())),
            None => unknown(topic),
        },
        Command::Metrics => {
            let metrics = broker.raft.metrics().to_string();
            ready(text::Reply::Payload(metrics.as_bytes()))
        }
    }
}

async fn register(broker: &Arc<Broker>, topic: &str) -> Reply {
    if broker.topic_by_name(topic).is_some() {
        return ready(text::Reply::Ok);
    }
    match topics::make_one(broker, topic, 1).await {
        Ok(_made) => ready(text::Reply::Ok),
        Err(why) => ready(text::Reply::Err(&why.message)),
    }
}

async fn put(broker: &Arc<Broker>, name: &str, payload: &[u8]) -> Reply {
    let Some(topic) = broker.topic_by_name(name) else { return unknown(name) };
    broker.store.room().await;
    match append(broker, &topic, payload).await {
        Ok(receipt) => {
            let deadline = Instant::now() + PUT_MAX;
            Reply::later(async move {
                match receipt.wait(deadline).await {
                    Ok(_appended) => text::Reply::Ok.encode().into(),
                    Err(why) => text::Reply::Err(&why.to_string()).encode().into(),
                }
            })
        }
        Err(why) => ready(text::Reply::Err(&why)),
    }
}

async fn append(
    broker: &Arc<Broker>,
    topic: &TopicView,
    payload: &[u8],
) -> Result<Receipt, String> {
    /// Entries go to the partitions in turn, over all connections.
    static TURN: AtomicUsize = AtomicUsize::new(0);
    let partitions = topic.topic.partitions().len().max(1);
    let index = TURN.fetch_add(1, Ordering::Relaxed) % partitions;
    let index = i32::try_from(index).expect("a topic has few partitions");
    let partition = broker.partition(topic, index).await.map_err(|why| why.to_string())?;
    let timestamp = broker.clock.now();
    let record = NewRecord { timestamp, key: None, value: Some(payload), headers: &[] };
    let bytes = build_batch(&[record]);
    let limit = topic.config.batch_bytes_max;
    if i64::try_from(bytes.len()).unwrap_or(i64::MAX) > limit {
        return Err(format!(
            "entry of {} bytes is over the topic's limit of {limit}",
            payload.len()
        ));
    }
    let header = BatchHeader::parse(&bytes).map_err(|why| why.to_string())?;
    broker.metrics.produced(1, bytes.len());
    let batch = Prepared { header, bytes: BytesMut::from(&bytes[..]), stamped: false };
    Ok(partition.append(batch, Acks::All, broker.clock.uptime()))
}

async fn get(broker: &Arc<Broker>, name: &str) -> Frames {
    let Some(topic) = broker.topic_by_name(name) else {
        return text::Reply::Err(&format!("unknown topic {name}")).encode().into();
    };
    match broker.queues.next(broker, &topic).await {
        Ok(Some(entry)) => text::Reply::Payload(&entry).encode().into(),
        Ok(None) => text::Reply::Empty.encode().into(),
        Err(why) => text::Reply::Err(&why).encode().into(),
    }
}

fn unknown(topic: &str) -> Reply {
    ready(text::Reply::Err(&format!("unknown topic {topic}: REGISTER it first")))
}

fn ready(reply: text::Reply<'_>) -> Reply {
    Reply::Ready(reply.encode().into())
}
