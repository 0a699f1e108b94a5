//! The text protocol: `REGISTER`, `PUT`, `GET`, `STATE`, `METRICS`.
//!
//! Its entries are ordinary records: what is PUT, Kafka clients read, and what they produce, GET
//! hands out. The form of frames is `walrus_wire::text`'s; [`queue`] has GET's cursor.

mod cursor;
pub mod elsewhere;
mod put;
mod queue;
mod state;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::Instant;
use walrus_admin::connection::Activity;
use walrus_types::{PartitionIndex, TopicPartition};
use walrus_wire::text::{self, Command};

pub use self::queue::Queues;
use self::{
    elsewhere::{ASK_MAX, Answer, Errand, ErrandError},
    put::{Put, wait_for_change},
    queue::{LENT_MAX, QueueError},
};
use crate::{
    api::topics,
    broker::{Broker, TopicView},
    controller::cluster::is_alone,
    net::{
        connection::Client,
        replies::{Frames, Reply},
    },
    topic_config::ROLLOVER_LEADER,
};

/// Every node that is well has heard of a change of the metadata after this: three heartbeats of
/// the metadata group.
const HEARD_OF: Duration = Duration::from_millis(150);
/// How long a GET may look for the node that has its cursor.
const GET_MAX: Duration = Duration::from_secs(15);

/// Serves one command up to the point where the connection's next one may begin.
pub async fn begin(broker: &Arc<Broker>, client: &Client, frame: Bytes) -> Reply {
    let command = match text::parse(&frame) {
        Ok(command) => command,
        Err(why) => return ready(text::Reply::Err(&why.to_string())),
    };
    broker.metrics.text_command(&command);
    client.connection.commanded(match command {
        Command::Put { .. } => Activity::Produce,
        Command::Get { .. } => Activity::Fetch,
        Command::Register { .. } | Command::State { .. } | Command::Metrics => Activity::Other,
    });
    match command {
        Command::Register { topic } => register(broker, topic).await,
        Command::Put { topic, payload } => put(broker, topic, frame.slice_ref(payload)).await,
        Command::Get { topic } => {
            let (broker, topic) = (Arc::clone(broker), topic.to_owned());
            Reply::later(async move { get(&broker, &topic).await })
        }
        Command::State { topic } => match topic_named(broker, topic).await {
            Some(view) => {
                let broker = Arc::clone(broker);
                Reply::later(async move { state(&broker, &view).await })
            }
            None => unknown(topic),
        },
        Command::Metrics => {
            let metrics = broker.raft.metrics().to_string();
            ready(text::Reply::Payload(metrics.as_bytes()))
        }
    }
}

/// The topic of that name. Another node may have made it a moment ago: this one hears of it.
async fn topic_named(broker: &Broker, name: &str) -> Option<TopicView> {
    let until = Instant::now() + HEARD_OF;
    loop {
        let found = broker.topic_by_name(name);
        if found.is_some() || is_alone(&broker.metadata()) || Instant::now() >= until {
            return found;
        }
        wait_for_change(broker).await;
    }
}

async fn register(broker: &Arc<Broker>, topic: &str) -> Reply {
    if broker.topic_by_name(topic).is_some() {
        return ready(text::Reply::Ok);
    }
    match topics::make_one(broker, topic, 1, &[(ROLLOVER_LEADER, "rotate")]).await {
        Ok(_made) => ready(text::Reply::Ok),
        Err(why) => ready(text::Reply::Err(&why.message)),
    }
}

async fn put(broker: &Arc<Broker>, name: &str, payload: Bytes) -> Reply {
    let Some(topic) = topic_named(broker, name).await else { return unknown(name) };
    broker.store.room().await;
    let put = Put::new(topic, payload);
    // Where this node leads, the next command of the connection need not wait for the commit.
    let begun = put::begin_here(broker, &put.topic, put.partition, &put.payload).await;
    let receipt = match begun {
        Ok(receipt) => receipt,
        Err(ErrandError::NotHere(_)) => return Reply::Ready(told(put.anywhere(broker).await)),
        Err(ErrandError::Failed(why)) => return ready(text::Reply::Err(&why)),
    };
    let broker = Arc::clone(broker);
    Reply::later(async move {
        told(match put::judge(receipt.wait(put.deadline).await) {
            Ok(()) => Ok(()),
            Err(ErrandError::NotHere(_)) => put.anywhere(&broker).await,
            Err(ErrandError::Failed(why)) => Err(why),
        })
    })
}

fn told(outcome: Result<(), String>) -> Frames {
    match outcome {
        Ok(()) => text::Reply::Ok.encode().into(),
        Err(why) => text::Reply::Err(&why).encode().into(),
    }
}

async fn get(broker: &Arc<Broker>, name: &str) -> Frames {
    let Some(topic) = topic_named(broker, name).await else {
        return text::Reply::Err(&format!("unknown topic {name}")).encode().into();
    };
    let until = Instant::now() + GET_MAX;
    loop {
        match get_once(broker, &topic).await {
            Ok(Some(entry)) => return text::Reply::Payload(&entry).encode().into(),
            Ok(None) => return text::Reply::Empty.encode().into(),
            Err(ErrandError::NotHere(_)) if Instant::now() < until => wait_for_change(broker).await,
            Err(why) => return text::Reply::Err(&why.to_string()).encode().into(),
        }
    }
}

/// The next entry, from whoever has the topic's cursor.
async fn get_once(broker: &Arc<Broker>, topic: &TopicView) -> Result<Option<Bytes>, ErrandError> {
    let coordinator = cursor::coordinator(broker, &queue::group_of(&topic.topic.name)).await;
    let coordinator = coordinator.map_err(QueueError::from)?;
    if coordinator == broker.identity.node {
        return Ok(broker.queues.next(broker, topic).await?);
    }
    let errand = Errand::Get { topic: topic.id() };
    match elsewhere::ask(broker, coordinator, &errand, &[], ASK_MAX).await? {
        (Answer::Entry { partition, offset }, entry) => {
            let settle = Errand::Settle { topic: topic.id(), partition, offset };
            let broker = Arc::clone(broker);
            tokio::spawn(async move {
                // What is not settled in time is handed out again: nothing is skipped.
                let settled = elsewhere::ask(&broker, coordinator, &settle, &[], LENT_MAX).await;
                if let Err(why) = settled {
                    tracing::debug!(%why, "an entry that was handed out may be handed out again");
                }
            });
            Ok(Some(entry))
        }
        (Answer::Nothing, _) => Ok(None),
        (other, _) => Err(ErrandError::Failed(format!("an answer to something else: {other:?}"))),
    }
}

/// How the topic stands, as the leader of its first partition has it.
async fn state(broker: &Arc<Broker>, topic: &TopicView) -> Frames {
    let id = TopicPartition { topic: topic.id(), partition: PartitionIndex(0) };
    let metadata = broker.metadata();
    let leader = metadata.partition(id).map(|chain| chain.open().leader.node);
    if let Some(leader) = leader.filter(|leader| *leader != broker.identity.node) {
        let errand = Errand::State { topic: topic.id() };
        if let Ok((_done, json)) = elsewhere::ask(broker, leader, &errand, &[], ASK_MAX).await {
            return text::Reply::Payload(&json).encode().into();
        }
    }
    // Without the end that only the leader knows.
    text::Reply::Payload(state::of(broker, topic).as_bytes()).encode().into()
}

fn unknown(topic: &str) -> Reply {
    ready(text::Reply::Err(&format!("unknown topic {topic}: REGISTER it first")))
}

fn ready(reply: text::Reply<'_>) -> Reply {
    Reply::Ready(reply.encode().into())
}
