//! What one node asks of another for a client of the text protocol: the leader appends, the
//! coordinator of a topic's cursor hands out, the leader reads for that coordinator. What nodes ask
//! each other about lag goes the same way.
//!
//! A question is never passed on: a node that cannot serve it says so, and who asked looks at its
//! metadata again.
//!
//! ```text
//!  question  postcard(Errand), then the payload of a Put
//!  answer    postcard(Answer), then the entry, or the batches that were read
//! ```

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use walrus_raft::{CallError, Lane};
use walrus_storage::segment::Whose;
use walrus_types::{NodeId, Offset, PartitionIndex, TopicId, TopicPartition, limits};

use super::{
    put,
    queue::{Entry, QueueError},
    state,
};
use crate::{
    broker::Broker,
    lag, operations,
    partition::relay,
    peer::{PeerIdentity, Subject, node},
    vitals,
};

/// How long another node may take for what is no PUT.
pub(super) const ASK_MAX: Duration = Duration::from_secs(10);

/// A question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Errand {
    /// Append the payload that follows. Asked of the leader.
    Put { topic: TopicId, partition: i32 },
    /// Hand out the next entry. Asked of the coordinator of the cursor.
    Get { topic: TopicId },
    /// The entry at that offset was handed to its client. Asked of the same.
    Settle { topic: TopicId, partition: i32, offset: Offset },
    /// Committed batches from that offset on. Asked of the leader.
    Read { topic: TopicId, partition: i32, from: Offset, bytes_max: u32 },
    /// How a topic stands. Asked of the leader of its first partition.
    State { topic: TopicId },
    /// What the question that follows wants to know of lag: see [`lag::ask`](crate::lag::ask).
    Lag,
    /// What the question that follows wants to know of the node: see [`vitals`](crate::vitals).
    Vitals,
    /// What an operator asks of the controller: see [`operations::asked`].
    Operator,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Answer {
    /// It is done; what it brought follows.
    Done,
    /// The entry that follows stood at that offset.
    Entry { partition: i32, offset: Offset },
    /// Batches follow, the first of which has that offset.
    Read { from: Offset },
    /// There is nothing.
    Nothing,
    /// Nothing was done: another node may be able to, or this one a moment later.
    NotHere(String),
    /// It failed, or nobody knows.
    Failed(String),
}

/// Why a node did not do what it was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ErrandError {
    /// Nothing was done; look at the metadata and ask again.
    #[error("{0}")]
    NotHere(String),
    /// It failed, or nobody knows.
    #[error("{0}")]
    Failed(String),
}

impl From<QueueError> for ErrandError {
    fn from(why: QueueError) -> Self {
        match why {
            QueueError::NotHere(why) => Self::NotHere(why),
            QueueError::Failed(why) => Self::Failed(why),
        }
    }
}

/// Asks `node`; the answer comes with what follows it.
pub(crate) async fn ask(
    broker: &Broker,
    node: NodeId,
    errand: &Errand,
    payload: &[u8],
    limit: Duration,
) -> Result<(Answer, Bytes), ErrandError> {
    let metadata = broker.metadata();
    let known = metadata.node(node);
    let known = known.ok_or_else(|| ErrandError::NotHere(format!("there is no node {node}")))?;
    let at = (known.addresses.peer.host.as_str(), known.addresses.peer.port);
    let how = (Lane::Copy, Subject::Text);
    let asked = broker.links.ask(at, Some(known.storage), how, join(errand, payload), limit).await;
    let (_peer, bytes) = asked.map_err(|why| match why {
        CallError::NotSent(why) => ErrandError::NotHere(format!("{node}: {why}")),
        CallError::NoAnswer(why) => ErrandError::Failed(format!("{node}: {why}")),
    })?;
    if bytes.is_empty() {
        return Err(ErrandError::NotHere(format!("{node} serves no clients yet")));
    }
    match split(&bytes).map_err(|why| ErrandError::Failed(format!("{node}: {why}")))? {
        (Answer::NotHere(why), _) => Err(ErrandError::NotHere(format!("{node}: {why}"))),
        (Answer::Failed(why), _) => Err(ErrandError::Failed(format!("{node}: {why}"))),
        done => Ok(done),
    }
}

/// Serves other nodes.
#[derive(Debug)]
pub struct Serves(pub Weak<Broker>);

impl node::Texts for Serves {
    fn text(&self, _from: PeerIdentity, body: Bytes) -> BoxFuture<'static, Bytes> {
        let broker = self.0.upgrade();
        Box::pin(async move {
            let Some(broker) = broker else { return Bytes::new() };
            match split::<Errand>(&body) {
                Ok((errand, payload)) => {
                    let (answer, brought) = carry_out(&broker, errand, payload).await;
                    join(&answer, &brought)
                }
                Err(why) => join(&Answer::Failed(why), &[]),
            }
        })
    }
}

async fn carry_out(broker: &Arc<Broker>, errand: Errand, payload: Bytes) -> (Answer, Bytes) {
    let topic = match errand {
        Errand::Lag => {
            return (Answer::Done, lag::ask::answer(broker, &payload).await);
        }
        Errand::Vitals => return (Answer::Done, vitals::answer(broker, &payload).await),
        Errand::Operator => {
            return (Answer::Done, operations::asked::answer(broker, &payload).await);
        }
        Errand::Put { topic, .. }
        | Errand::Get { topic }
        | Errand::Settle { topic, .. }
        | Errand::Read { topic, .. }
        | Errand::State { topic } => topic,
    };
    if broker.is_draining() {
        return (Answer::NotHere("the node is stopping".into()), Bytes::new());
    }
    let Some(view) = broker.topic_by_id(topic) else {
        // It may have been made a moment ago.
        return (Answer::NotHere("the topic is not known here".into()), Bytes::new());
    };
    let done = match errand {
        Errand::Put { partition, .. } => {
            let deadline = Instant::now() + put::PUT_MAX;
            put::here(broker, &view, partition, &payload, deadline)
                .await
                .map(|()| (Answer::Done, Bytes::new()))
        }
        Errand::Get { .. } => match broker.queues.lend(broker, &view).await {
            Ok(Some(Entry { partition, offset, entry })) => {
                Ok((Answer::Entry { partition, offset }, entry))
            }
            Ok(None) => Ok((Answer::Nothing, Bytes::new())),
            Err(why) => Err(ErrandError::from(why)),
        },
        Errand::Settle { partition, offset, .. } => {
            broker.queues.settle(topic, (partition, offset)).await;
            Ok((Answer::Done, Bytes::new()))
        }
        Errand::Read { partition, from, bytes_max, .. } => {
            read(broker, topic, partition, (from, bytes_max)).await
        }
        Errand::Lag | Errand::Vitals | Errand::Operator => unreachable!("they were answered above"),
        Errand::State { .. } => Ok((Answer::Done, state::of(broker, &view).into_bytes().into())),
    };
    done.unwrap_or_else(|why| {
        let answer = match why {
            ErrandError::NotHere(why) => Answer::NotHere(why),
            ErrandError::Failed(why) => Answer::Failed(why),
        };
        (answer, Bytes::new())
    })
}

async fn read(
    broker: &Arc<Broker>,
    topic: TopicId,
    partition: i32,
    (from, bytes_max): (Offset, u32),
) -> Result<(Answer, Bytes), ErrandError> {
    let Some(view) = broker.topic_by_id(topic) else {
        return Err(ErrandError::NotHere("the topic is gone".into()));
    };
    let led = broker.leased(&view, partition).await;
    let led = led.map_err(|why| ErrandError::NotHere(why.to_string()))?;
    let bytes_max = usize::try_from(bytes_max).unwrap_or(limits::BATCH_BYTES_MAX);
    let whose: Whose = Arc::new("a GET of the text protocol");
    match relay::read_committed(broker, &led, (from, bytes_max), &whose).await {
        Ok(Some((from, chunk))) => Ok((Answer::Read { from }, chunk.bytes.concat().into())),
        Ok(None) => Ok((Answer::Nothing, Bytes::new())),
        Err(why) => Err(ErrandError::Failed(why.to_string())),
    }
}

/// Committed batches of a partition that this node or another leads, and the offset that the
/// first is read from; `None` when there is nothing to read yet.
pub(super) async fn read_anywhere(
    broker: &Arc<Broker>,
    id: TopicPartition,
    from: Offset,
    bytes_max: u32,
) -> Result<Option<(Offset, Vec<Bytes>)>, ErrandError> {
    let metadata = broker.metadata();
    let chain = metadata.partition(id);
    let chain = chain.ok_or_else(|| ErrandError::Failed("the topic is gone".into()))?;
    let leader = chain.open().leader.node;
    let PartitionIndex(partition) = id.partition;
    let (answer, bytes) = if leader == broker.identity.node {
        read(broker, id.topic, partition, (from, bytes_max)).await?
    } else {
        let errand = Errand::Read { topic: id.topic, partition, from, bytes_max };
        ask(broker, leader, &errand, &[], ASK_MAX).await?
    };
    match answer {
        Answer::Read { from } => Ok(Some((from, vec![bytes]))),
        Answer::Nothing => Ok(None),
        other => Err(ErrandError::Failed(format!("an answer to something else: {other:?}"))),
    }
}

fn join(head: &impl Serialize, rest: &[u8]) -> Bytes {
    let mut bytes = postcard::to_stdvec(head).expect("plain data");
    bytes.extend_from_slice(rest);
    bytes.into()
}

fn split<T: DeserializeOwned>(bytes: &Bytes) -> Result<(T, Bytes), String> {
    let (head, rest) = postcard::take_from_bytes(bytes).map_err(|why| why.to_string())?;
    Ok((head, bytes.slice_ref(rest)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_errand_of_a_later_version_is_answered_and_not_carried_out() {
        assert!(split::<Errand>(&Bytes::from_static(b"\x63payload")).is_err());
    }

    #[test]
    fn a_question_and_its_payload_come_back_as_they_went() {
        let topic = TopicId::default();
        for errand in [
            Errand::Put { topic, partition: 3 },
            Errand::Get { topic },
            Errand::Settle { topic, partition: 0, offset: Offset(9) },
            Errand::Read { topic, partition: 1, from: Offset(7), bytes_max: 1 },
            Errand::State { topic },
            Errand::Lag,
            Errand::Vitals,
            Errand::Operator,
        ] {
            for payload in [&b""[..], b"payload\0\xff"] {
                let joined = join(&errand, payload);
                assert_eq!(split(&joined), Ok((errand.clone(), Bytes::copy_from_slice(payload))));
            }
            let head = join(&errand, b"");
            for cut in 0..head.len() {
                assert!(split::<Errand>(&head.slice(..cut)).is_err(), "cut at {cut}");
            }
        }
    }
}
