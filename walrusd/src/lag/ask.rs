//! What nodes ask each other about lag: the coordinator of a group knows what it committed, the
//! leader of a partition where that ends, and who stores a segment where its batches lie.
//!
//! It travels as an errand beside those of the text protocol ([`elsewhere`]), for a node of an
//! earlier version answers an errand that it does not know by saying so, where a subject that it
//! does not know would end the connection.
//!
//! ```text
//!  question  postcard(Question)
//!  answer    postcard(Told)
//! ```

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use walrus_admin::group::{GroupList, GroupStatus};
use walrus_replication::backlog::{Known, Spot};
use walrus_storage::segment::Purpose;
use walrus_types::{Epoch, NodeId, Offset, SegmentId, TimestampMs, TopicPartition};

use super::board;
use crate::{
    broker::Broker,
    text::elsewhere::{self, Answer, Errand},
};

/// Partitions or places that one question names. More are asked for with more questions.
pub(super) const ITEMS_MAX: usize = 1_000;
/// How long another node may take to look at what it leads or stores.
const LOOK_MAX: Duration = Duration::from_secs(2);
/// How long another node may take to tell of its groups: it may ask others for it, and one of them may
/// not answer.
const TELL_MAX: Duration = Duration::from_secs(6);
/// Partitions that one question has looked at side by side.
const SIDE_BY_SIDE: usize = 64;

/// Where a batch is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Where {
    pub(super) segment: SegmentId,
    /// The batch has this offset.
    pub(super) offset: Offset,
    /// And lies below this end.
    pub(super) end: Offset,
}

/// How a partition stands, as its leader says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    /// The open segment's. What else is told here is of that segment.
    pub(super) epoch: Epoch,
    pub(super) log_start: Offset,
    pub(super) commit: Offset,
    pub(super) bytes: u64,
    pub(super) max_timestamp: TimestampMs,
    /// How old its first batch is.
    pub(super) age_ms: u64,
}

#[derive(Debug, Serialize, Deserialize)]
enum Question {
    Ends(Vec<TopicPartition>),
    Spots(Vec<Where>),
    /// The groups that the asked node coordinates: a page of the list, as JSON.
    List {
        after: Option<String>,
        limit: u32,
    },
    /// One of them, as JSON.
    Group(String),
}

#[derive(Debug, Serialize, Deserialize)]
enum Told {
    Ends(Vec<Result<End, String>>),
    /// Position and timestamp.
    Spots(Vec<Result<(u64, TimestampMs), String>>),
    /// `None`: there is no such group.
    Json(Option<String>),
    /// It cannot be told here, or not now.
    Not(String),
}

/// Answers another node.
pub async fn answer(broker: &Arc<Broker>, question: &[u8]) -> Bytes {
    let told = match postcard::from_bytes(question) {
        Ok(Question::Ends(of)) => Told::Ends(ends_here(broker, &of).await),
        Ok(Question::Spots(at)) => Told::Spots(spots_here(broker, at).await),
        Ok(Question::List { after, limit }) => {
            let limit = usize::try_from(limit).unwrap_or(usize::MAX);
            let list = board::list_here(broker, after.as_deref(), limit).await;
            list.map_or_else(Told::Not, |list| json(Some(&list)))
        }
        Ok(Question::Group(group)) => {
            let found = board::group_here(broker, &group).await;
            found.map_or_else(Told::Not, |found| json(found.as_ref()))
        }
        Err(why) => Told::Not(why.to_string()),
    };
    postcard::to_stdvec(&told).expect("plain data").into()
}

fn json(document: Option<&impl Serialize>) -> Told {
    let text = document.map(serde_json::to_string).transpose();
    text.map_or_else(|why| Told::Not(why.to_string()), Told::Json)
}

async fn ask(broker: &Broker, node: NodeId, question: &Question) -> Result<Told, String> {
    let patience = match question {
        Question::Ends(_) | Question::Spots(_) => LOOK_MAX,
        Question::List { .. } | Question::Group(_) => TELL_MAX,
    };
    let question = postcard::to_stdvec(question).expect("plain data");
    let asked = elsewhere::ask(broker, node, &Errand::Lag, &question, patience).await;
    match asked.map_err(|why| why.to_string())? {
        (Answer::Done, told) => match postcard::from_bytes(&told) {
            Ok(Told::Not(why)) => Err(format!("{node}: {why}")),
            Ok(told) => Ok(told),
            Err(why) => Err(format!("{node}: {why}")),
        },
        (other, _) => Err(format!("{node} answered to something else: {other:?}")),
    }
}

/// How partitions stand that `node` leads, in their order.
pub(super) async fn ends(
    broker: &Arc<Broker>,
    node: NodeId,
    of: Vec<TopicPartition>,
) -> Vec<Known<End>> {
    let mut told = Vec::with_capacity(of.len());
    for part in of.chunks(ITEMS_MAX) {
        if node == broker.identity.node {
            told.extend(ends_here(broker, part).await);
            continue;
        }
        match ask(broker, node, &Question::Ends(part.to_vec())).await {
            Ok(Told::Ends(ends)) if ends.len() == part.len() => told.extend(ends),
            other => told.resize(told.len() + part.len(), Err(misunderstood(node, other))),
        }
    }
    told.into_iter().map(|one| one.map_err(Into::into)).collect()
}

/// Where batches lie in segments that `node` stores, in their order.
pub(super) async fn spots(broker: &Arc<Broker>, node: NodeId, at: Vec<Where>) -> Vec<Known<Spot>> {
    let mut told = Vec::with_capacity(at.len());
    for part in at.chunks(ITEMS_MAX) {
        if node == broker.identity.node {
            told.extend(spots_here(broker, part.to_vec()).await);
            continue;
        }
        match ask(broker, node, &Question::Spots(part.to_vec())).await {
            Ok(Told::Spots(spots)) if spots.len() == part.len() => told.extend(spots),
            other => told.resize(told.len() + part.len(), Err(misunderstood(node, other))),
        }
    }
    let spot = |(position, timestamp)| Spot { position, timestamp };
    told.into_iter().map(|one| one.map(spot).map_err(Into::into)).collect()
}

fn misunderstood(node: NodeId, told: Result<Told, String>) -> String {
    match told {
        Ok(other) => format!("{node} answered to something else: {other:?}"),
        Err(why) => why,
    }
}

/// A page of the groups that another node coordinates.
pub(super) async fn list(
    broker: &Broker,
    node: NodeId,
    after: Option<&str>,
    limit: usize,
) -> Result<GroupList, String> {
    let limit = u32::try_from(limit).unwrap_or(u32::MAX);
    let question = Question::List { after: after.map(str::to_owned), limit };
    let list = document(node, ask(broker, node, &question).await)?;
    list.ok_or_else(|| format!("{node} answered without a list"))
}

/// A group that another node coordinates; `None` when there is no such group.
pub(super) async fn group(
    broker: &Broker,
    node: NodeId,
    group: &str,
) -> Result<Option<GroupStatus>, String> {
    document(node, ask(broker, node, &Question::Group(group.to_owned())).await)
}

fn document<T: for<'a> Deserialize<'a>>(
    node: NodeId,
    told: Result<Told, String>,
) -> Result<Option<T>, String> {
    match told {
        Ok(Told::Json(text)) => {
            let read = text.map(|text| serde_json::from_str(&text)).transpose();
            read.map_err(|why| format!("{node}: {why}"))
        }
        other => Err(misunderstood(node, other)),
    }
}

/// How partitions stand that this node leads.
async fn ends_here(broker: &Arc<Broker>, of: &[TopicPartition]) -> Vec<Result<End, String>> {
    let each: Vec<_> = of.iter().take(ITEMS_MAX).map(|id| end_here(broker, *id).boxed()).collect();
    stream::iter(each).buffered(SIDE_BY_SIDE).collect().await
}

async fn end_here(broker: &Arc<Broker>, id: TopicPartition) -> Result<End, String> {
    let topic = broker.topic_by_id(id.topic).ok_or("the topic is not known to the leader")?;
    let partition = broker.leased(&topic, id.partition.0).await.map_err(|why| why.to_string())?;
    let now = broker.clock.uptime();
    Ok(partition.with_leader(|leader| {
        let (facts, cursors) = (leader.facts(), leader.cursors());
        End {
            epoch: leader.epoch(),
            log_start: cursors.log_start(),
            commit: cursors.commit(),
            bytes: facts.bytes,
            max_timestamp: facts.max_timestamp,
            age_ms: facts.first_append.map_or(0, |first| now.since(first)),
        }
    }))
}

/// Where batches lie in segments that this node stores. Looks at the index and reads one batch of
/// each, on a thread that may wait for the disk.
async fn spots_here(
    broker: &Arc<Broker>,
    at: Vec<Where>,
) -> Vec<Result<(u64, TimestampMs), String>> {
    let (store, count) = (broker.store.clone(), at.len().min(ITEMS_MAX));
    let found = tokio::task::spawn_blocking(move || {
        let find = |Where { segment, offset, end }: Where| {
            let found = store.segment_for(segment, Purpose::Lookup, None).batch_at(offset, end);
            let (position, header) = found
                .map_err(|why| why.to_string())?
                .ok_or_else(|| format!("{segment} is not here up to {offset}"))?;
            // Under LogAppendTime the first record's own time is its producer's.
            let appended = header.is_log_append_time();
            Ok((position, if appended { header.max_timestamp } else { header.base_timestamp }))
        };
        at.into_iter().take(ITEMS_MAX).map(find).collect()
    });
    found.await.unwrap_or_else(|why| vec![Err(why.to_string()); count])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_a_later_version_is_said_to_be_unknown() {
        // An enum's first byte is its variant.
        let later = [99_u8, 1, 2, 3];
        assert!(postcard::from_bytes::<Question>(&later).is_err());
        let whole = postcard::to_stdvec(&Question::List { after: Some("g".into()), limit: 9 });
        let whole = whole.unwrap();
        for cut in 0..whole.len() {
            assert!(postcard::from_bytes::<Question>(&whole[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn what_nodes_say_comes_back_as_it_went() {
        let end = End {
            epoch: Epoch(3),
            log_start: Offset(1),
            commit: Offset(9),
            bytes: 700,
            max_timestamp: TimestampMs(5),
            age_ms: 8,
        };
        let told = Told::Ends(vec![Ok(end), Err("no".into())]);
        let bytes = postcard::to_stdvec(&told).unwrap();
        let Ok(Told::Ends(back)) = postcard::from_bytes(&bytes) else { panic!("other: {bytes:?}") };
        assert_eq!(back, [Ok(end), Err("no".into())]);
    }
}
