//! Reads the partitions of one fetch until there is enough, or its time is up.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit},
    time::Instant,
};
use walrus_storage::segment::Whose;
use walrus_types::{Offset, TopicPartition};
use walrus_wire::{
    fetch::{Fetched, FetchedPartition, FetchedTopic, Leader, NodeEndpoint},
    kafka_protocol::{
        error::ResponseError,
        messages::{FetchRequest, TopicName},
        protocol::StrBytes,
    },
};

use super::{
    encode,
    sessions::{Key, Scope, Session, Told, TopicKey, Wanted},
};
use crate::{
    api::{Head, codes::Refusal},
    broker::{Broker, TopicView},
    net::replies::Frames,
    partition::{
        Partition,
        read::{self, FetchFailure},
        registry::Unavailable,
        relay,
    },
};

/// The most an answer carries, whatever a client asks (Kafka's `fetch.max.bytes`): 55 MiB.
const ANSWER_BYTES_MAX: usize = 55 << 20;
/// The longest a fetch waits, whatever a client asks.
const WAIT_MAX: Duration = Duration::from_secs(300);
/// The isolation level of a client that reads what transactions have committed.
const READ_COMMITTED: i8 = 1;

/// One fetch on its way to an answer.
pub(super) struct Gathering {
    broker: Arc<Broker>,
    reached: SocketAddr,
    /// The client, as a holder of what is read for it.
    whose: Whose,
    head: Head,
    scope: Scope,
    bytes_min: usize,
    bytes_max: usize,
    /// Whether the client leaves out what aborted transactions wrote, and wants a list of them.
    committed_only: bool,
    deadline: Instant,
}

/// What a pass over the partitions found of one of them.
struct Found {
    key: Key,
    wanted: Wanted,
    topic: Option<TopicView>,
    outcome: Result<Records, FetchFailure>,
    partition: Option<Arc<Partition>>,
}

/// What a partition has for this answer.
#[derive(Default)]
struct Records {
    pieces: Vec<bytes::Bytes>,
    total: usize,
    commit: Offset,
    log_start: Offset,
}

/// One look at all partitions.
struct Pass {
    found: Vec<Found>,
    total: usize,
    failed: bool,
    /// The budget for bytes on their way to consumers, for as long as they are.
    charges: Vec<OwnedSemaphorePermit>,
}

impl Gathering {
    pub(super) fn new(
        (broker, reached, whose): (Arc<Broker>, SocketAddr, Whose),
        head: Head,
        request: &FetchRequest,
        scope: Scope,
    ) -> Self {
        let wait = Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0));
        Self {
            broker,
            reached,
            whose,
            head,
            scope,
            bytes_min: usize::try_from(request.min_bytes).unwrap_or(0),
            bytes_max: usize::try_from(request.max_bytes).unwrap_or(0).min(ANSWER_BYTES_MAX),
            committed_only: request.isolation_level == READ_COMMITTED,
            deadline: Instant::now() + wait.min(WAIT_MAX),
        }
    }

    /// The answer's frames.
    pub(super) async fn answer(self) -> Frames {
        let wanted = match &self.scope {
            Scope::Full(wanted) => wanted.clone(),
            Scope::New(session) | Scope::Incremental(session) => session.lock().wanted(),
        };
        for of_one_topic in wanted.chunk_by(|(a, _), (b, _)| a.0 == b.0) {
            if let Some(view) = self.view(&of_one_topic[0].0.0) {
                let indexes = of_one_topic.iter().map(|(key, _)| key.1);
                self.broker.load_partitions(&view, indexes).await;
            }
        }
        let mut pass = self.pass(&wanted).await;
        while !self.is_enough(&pass) && Instant::now() < self.deadline {
            let news = Arc::new(Notify::new());
            // Whoever commits between the look and here is seen by the watch itself.
            let quiet = pass.found.iter().all(|found| match &found.partition {
                Some(partition) => partition.watch(found.watch_from(), &news),
                None => true,
            });
            if quiet {
                tokio::select! {
                    () = news.notified() => {}
                    () = tokio::time::sleep_until(self.deadline) => {}
                    () = self.broker.draining() => break,
                }
            }
            drop(pass);
            pass = self.pass(&wanted).await;
        }
        self.build(pass)
    }

    fn is_enough(&self, pass: &Pass) -> bool {
        pass.failed || pass.total >= self.bytes_min || pass.found.is_empty()
    }

    async fn pass(&self, wanted: &[(Key, Wanted)]) -> Pass {
        let mut pass = Pass {
            found: Vec::with_capacity(wanted.len()),
            total: 0,
            failed: false,
            charges: vec![],
        };
        for (key, wanted) in wanted {
            let (topic, opened) = self.open(key).await;
            let left = self.bytes_max.saturating_sub(pass.total);
            let (partition, outcome) = match opened {
                Ok(partition) => {
                    let topic = topic.as_ref().expect("an open partition has a topic");
                    let first = pass.total == 0;
                    let read = self.read(topic, &partition, *wanted, (left, first)).await;
                    let read = read.map(|(records, charge)| {
                        pass.charges.extend(charge);
                        records
                    });
                    (Some(partition), read)
                }
                Err(unavailable) => (None, Err(unavailable.into())),
            };
            match &outcome {
                Ok(records) => pass.total += records.total,
                Err(_) => pass.failed = true,
            }
            pass.found.push(Found { key: key.clone(), wanted: *wanted, topic, outcome, partition });
        }
        pass
    }

    fn view(&self, topic: &TopicKey) -> Option<TopicView> {
        match topic {
            TopicKey::Name(name) => self.broker.topic_by_name(name),
            TopicKey::Id(id) => self.broker.topic_by_id(walrus_types::TopicId(*id)),
        }
    }

    async fn open(&self, key: &Key) -> (Option<TopicView>, Result<Arc<Partition>, Unavailable>) {
        let (topic, index) = key;
        match self.view(topic) {
            Some(view) => {
                let opened = self.broker.partition(&view, *index).await;
                (Some(view), opened)
            }
            None if matches!(topic, TopicKey::Id(_)) => (None, Err(Unavailable::UnknownId)),
            None => (None, Err(Unavailable::Unknown)),
        }
    }

    async fn read(
        &self,
        topic: &TopicView,
        partition: &Arc<Partition>,
        wanted: Wanted,
        (left, first): (usize, bool),
    ) -> Result<(Records, Option<OwnedSemaphorePermit>), FetchFailure> {
        let chain = topic.topic.partition(partition.id().partition).ok_or(Unavailable::Unknown)?;
        partition.check_lease()?;
        let marks = partition.marks();
        read::check_epoch(wanted.leader_epoch, marks.epoch)?;
        let mut records = Records {
            commit: marks.commit,
            log_start: marks.log_start.max(chain.log_start()),
            ..Records::default()
        };
        let Some(place) =
            read::locate(&self.broker.store, chain, partition, (wanted.from, &self.whose))?
        else {
            return Ok((records, None));
        };
        if left == 0 && !first {
            return Ok((records, None));
        }
        let bytes_max = wanted.bytes_max.min(left);
        let Some(charge) = self.broker.charge_fetch(bytes_max, first).await else {
            // Others hold the budget; this answer goes out with what it has.
            return Ok((records, None));
        };
        let mut chunk = place.read_async(wanted.from, bytes_max).await?;
        if chunk.total == 0 {
            // It is committed, and this node's copy does not have it: another's does.
            chunk = relay::read(&self.broker, &place, wanted.from, bytes_max).await?;
        }
        // A batch that is larger than what is left goes whole only if it is the answer's first.
        if first || chunk.total <= left {
            records.total = chunk.total;
            records.pieces = chunk.bytes;
        }
        Ok((records, Some(charge)))
    }

    fn build(&self, pass: Pass) -> Frames {
        let Pass { found, total, charges, .. } = pass;
        let mut fetched = Fetched::default();
        let session = match &self.scope {
            Scope::Full(_) => None,
            Scope::New(session) | Scope::Incremental(session) => Some(session),
        };
        let only_news = matches!(self.scope, Scope::Incremental(_));
        let mut session = session.map(|session| session.lock());
        if let Some(session) = &session {
            fetched.session_id = session.id();
        }
        let mut served = None;
        for found in found {
            if found.has_records() {
                served = Some(found.key.clone());
            }
            if self.is_told(session.as_deref_mut(), &found, only_news) {
                self.push(&mut fetched, found);
            }
        }
        if let (Some(session), Some(key)) = (&mut session, served) {
            session.served(&key);
        }
        drop(session);
        self.broker.metrics.fetched(total);
        encode(self.head, fetched).map_or_else(Frames::default, |frames| frames.charged(charges))
    }

    /// Whether a partition has a place in the answer.
    fn is_told(&self, session: Option<&mut Session>, found: &Found, only_news: bool) -> bool {
        let Some(session) = session else { return true };
        let told = match &found.outcome {
            Ok(records) => {
                Told { high_watermark: records.commit.0, log_start: records.log_start.0, error: 0 }
            }
            Err(failure) => Told {
                high_watermark: -1,
                log_start: -1,
                error: Refusal::from(failure).code.code(),
            },
        };
        let news = session.has_news(&found.key, told);
        news || found.has_records() || !only_news
    }

    fn push(&self, fetched: &mut Fetched, found: Found) {
        let (topic, index) = &found.key;
        let (name, id) = match topic {
            TopicKey::Name(name) => {
                (TopicName(StrBytes::from_string(name.to_string())), uuid::Uuid::nil())
            }
            TopicKey::Id(id) => (TopicName::default(), *id),
        };
        let answer = match &found.outcome {
            Ok(records) => FetchedPartition {
                index: *index,
                high_watermark: records.commit.0,
                last_stable_offset: records.commit.0,
                log_start_offset: records.log_start.0,
                aborted: self.committed_only.then(Vec::new),
                records: records.pieces.clone(),
                ..FetchedPartition::default()
            },
            Err(failure) => self.refused(fetched, *index, &found, &Refusal::from(failure)),
        };
        // Partitions of one topic stand together unless a session's turn cut through them.
        match fetched.topics.last_mut() {
            Some(last) if last.name == name && last.id == id => last.partitions.push(answer),
            _ => fetched.topics.push(FetchedTopic { name, id, partitions: vec![answer] }),
        }
    }

    fn refused(
        &self,
        fetched: &mut Fetched,
        index: i32,
        found: &Found,
        refusal: &Refusal,
    ) -> FetchedPartition {
        self.broker.metrics.fetch_refused(refusal.code);
        // Kafka's lists: an empty one of what is not there, else null.
        let is_unknown = matches!(
            refusal.code,
            ResponseError::UnknownTopicOrPartition | ResponseError::UnknownTopicId
        );
        let mut answer = FetchedPartition {
            index,
            error_code: refusal.code.code(),
            aborted: is_unknown.then(Vec::new),
            ..FetchedPartition::default()
        };
        if let Some(topic) = &found.topic
            && self.head.version >= 12
        {
            let partition = TopicPartition {
                topic: topic.id(),
                partition: walrus_types::PartitionIndex(index),
            };
            if let Some((leader, epoch)) = self.broker.leader_hint(refusal.code, partition) {
                answer.current_leader = Some(Leader { id: leader.0, epoch: epoch.0 });
                if self.head.version >= 16 && fetched.node_endpoints.is_empty() {
                    fetched.node_endpoints = endpoints_of(&self.broker, self.reached);
                }
            }
        }
        answer
    }
}

impl Found {
    fn has_records(&self) -> bool {
        self.outcome.as_ref().is_ok_and(|records| records.total > 0)
    }

    /// Where news would be: past what this look saw.
    fn watch_from(&self) -> Offset {
        match &self.outcome {
            Ok(records) => records.commit.max(self.wanted.from),
            Err(_) => self.wanted.from,
        }
    }
}

fn endpoints_of(broker: &Broker, reached: SocketAddr) -> Vec<NodeEndpoint> {
    broker
        .endpoints(reached)
        .into_iter()
        .map(|node| NodeEndpoint {
            id: node.id.0,
            host: StrBytes::from_string(node.host),
            port: i32::from(node.port),
            rack: node.rack.map(StrBytes::from_string),
        })
        .collect()
}
