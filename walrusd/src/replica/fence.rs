//! Fences: which lives may write here no more, and what a controller that seals is told.
//!
//! A fence counts from the moment it is known, for appends are judged under the lock that it is
//! made under. It is spoken of when its record is durable: that stands in the WAL behind
//! everything that was accepted before, so one flush serves both (M7).

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{sync::oneshot, time::Instant};
use tracing::{error, info, warn};
use walrus_metadata::{Leader, Metadata};
use walrus_replication::{FenceAnswer, Fences, NoAnswer, Writer, seal::Report};
use walrus_storage::{
    segment::Segment,
    store::{ControlError, Store},
};
use walrus_types::{SegmentId, TopicId};

use super::{
    OpenError, Replicas,
    jobs::blocking,
    messages::{FenceReply, FenceRequest},
    open::{Standing, standing},
    segment::Replica,
};

/// The key of the record in which the store keeps all fences.
const FENCES: u32 = 0x4645_4e43;
/// A WAL whose queue is full is tried again after this, ...
const BUSY_PAUSE: Duration = Duration::from_millis(2);
/// ... and for so long.
const BUSY_MAX: Duration = Duration::from_secs(5);
/// Flushes that a vote waits for, when copies go on meanwhile.
const FLUSHES_MAX: usize = 4;
/// The topic setting that says when an ack is given. See `topic_config.rs`.
const DURABILITY: &str = "walrus.durability";

/// The fences that a disk holds.
///
/// # Panics
/// When the record is damaged, which the store's checksums rule out: it is of a newer version, and
/// going on without it would forget promises.
pub(super) fn restore(store: &Store) -> Fences {
    let Some(record) = store.control(FENCES) else { return Fences::default() };
    let found: Vec<Writer> = postcard::from_bytes(&record)
        .unwrap_or_else(|why| panic!("the fences that this disk holds cannot be read: {why}"));
    Fences::restore(found)
}

impl Replicas {
    /// Fences a life for good and reports segments that it leads.
    ///
    /// # Errors
    /// Why nothing can be said, for people: the metadata here is behind, it lets that life lead, or
    /// the fence cannot be made durable.
    pub async fn fence(self: &Arc<Self>, request: FenceRequest) -> Result<FenceReply, String> {
        let FenceRequest { fenced, index, segments } = request;
        let metadata = self.applied(index).await?;
        check(&metadata, fenced)?;
        self.make_durable(fenced).await?;
        let _in_memory = self.load_all(&segments).await;
        let mut reports = Vec::with_capacity(segments.len());
        for id in segments {
            reports.push((id, self.report(id).await));
        }
        Ok(FenceReply { reports })
    }

    /// One at a time: of two requests to fence the own life the second must not look at segments
    /// before the first has stopped whoever writes them.
    async fn make_durable(self: &Arc<Self>, fenced: Writer) -> Result<(), String> {
        let _alone = self.fencing.lock().await;
        let own = self.own_life();
        let is_own = fenced.node == own.node && fenced.incarnation >= own.incarnation;
        // Before the fence is known here: with it anybody may open what the own life leads from
        // what the disk has, while that may still be written.
        let adopted = if is_own { self.adopt_own() } else { Vec::new() };
        self.fences.write().fence(fenced);
        if adopted.is_empty() {
            return self.flush_behind().await;
        }
        self.flush_adopted(&adopted).await;
        let is_durable = self.fences.read().covers_durably(fenced);
        is_durable.then_some(()).ok_or_else(|| "the fence cannot be made durable".into())
    }

    /// Has the own life stop leading; what it led is a member's from now on.
    fn adopt_own(self: &Arc<Self>) -> Vec<Arc<Replica>> {
        let Some(own) = self.own.get() else { return Vec::new() };
        let led = own.fenced();
        warn!(segments = led.len(), "this life of the node is fenced: it leads no more");
        led.into_iter()
            .filter_map(|(_, decider, segment)| self.take_over(segment.id(), decider, segment))
            .collect()
    }

    /// Writes the fences of now behind everything that was accepted, and waits for the flush.
    ///
    /// # Errors
    /// Why it never comes.
    pub(super) async fn flush_behind(&self) -> Result<(), String> {
        let until = Instant::now() + BUSY_MAX;
        loop {
            let (tell, told) = oneshot::channel();
            let written = {
                // Under the lock, so that records stand in the order in which fences were made.
                let fences = self.fences.write();
                let writers: Vec<Writer> = fences.records().collect();
                let record = postcard::to_stdvec(&writers).expect("a fence has only plain data");
                let done = Box::new(move |outcome: Result<_, walrus_storage::wal::WalFailed>| {
                    // Who waited may be gone.
                    drop(tell.send(outcome.map(drop).map_err(|why| why.to_string())));
                });
                self.store.put_control(FENCES, Bytes::from(record), done).map(|()| writers)
            };
            match written {
                Ok(writers) => {
                    told.await.map_err(|_dropped| "the store was closed")??;
                    let mut fences = self.fences.write();
                    for writer in writers {
                        fences.durable(writer);
                    }
                    return Ok(());
                }
                Err(ControlError::Busy) if Instant::now() < until => {
                    tokio::time::sleep(BUSY_PAUSE).await;
                }
                Err(why) => return Err(why.to_string()),
            }
        }
    }

    /// Finds out what is on disk of those that are not open yet, with one wait for the disk.
    async fn load_all(&self, ids: &[SegmentId]) -> Vec<Arc<Segment>> {
        let mut ids: Vec<SegmentId> = ids.to_vec();
        ids.retain(|id| self.opened(*id).is_none());
        if ids.len() < 2 {
            return Vec::new();
        }
        let store = self.store.clone();
        let loaded = blocking(move || {
            // Errors come again, and are told, when each is opened.
            let load = |id: SegmentId| {
                let segment = store.segment(id);
                segment.load().is_ok().then_some(segment)
            };
            ids.into_iter().filter_map(load).collect()
        });
        loaded.await.unwrap_or_default()
    }

    async fn report(self: &Arc<Self>, id: SegmentId) -> Report {
        let metadata = self.state();
        let chain = metadata.partition(id.partition);
        match standing(chain.map(|chain| &**chain), id) {
            Standing::Unknown => return Report::NoMember,
            Standing::Sealed(_) | Standing::Dropped => return Report::Sealed,
            Standing::Open(_) => {}
        }
        let replica = match self.replica(id).await {
            Ok(replica) => replica,
            Err(OpenError::NotMember | OpenError::Led) => return Report::NoMember,
            Err(OpenError::Unreadable(why)) => {
                error!(segment = %id, %why, "no vote for a segment that cannot be read");
                return Report::Error;
            }
        };
        for _ in 0..FLUSHES_MAX {
            match replica.answer_fence(&self.fences) {
                Ok(FenceAnswer::Held(held))
                    if self.may_have_forgotten(&metadata, id.partition.topic) =>
                {
                    return Report::Unclean(held);
                }
                Ok(answer) => {
                    info!(segment = %id, writer = ?replica.writer(), ?answer, "voted in a forced seal");
                    return answer.into();
                }
                // A copy is on its way to the disk, or more was accepted of an own life.
                Err(NoAnswer::NotDurable { .. }) => {
                    if self.flush_behind().await.is_err() {
                        return Report::Error;
                    }
                }
                Err(NoAnswer::NotFenced | NoAnswer::Failed) => return Report::Error,
            }
        }
        Report::Error
    }

    /// Whether what was acked of a topic may be gone from this disk (L17).
    fn may_have_forgotten(&self, metadata: &Metadata, topic: TopicId) -> bool {
        let topic = metadata.topic(topic);
        let durability = topic.and_then(|topic| topic.configs().get(DURABILITY));
        self.unclean_stop && durability.is_some_and(|durability| durability != "fsync")
    }
}

/// Whether metadata has fenced that life: nobody else may.
fn check(metadata: &Metadata, fenced: Writer) -> Result<(), String> {
    let Writer { node, incarnation } = fenced;
    let known = metadata.node(node).ok_or_else(|| format!("{node} is no node of this cluster"))?;
    if incarnation > known.incarnation {
        return Err(format!("{node} is in its life {}, not in {incarnation}", known.incarnation));
    }
    if metadata.may_lead(Leader { node, incarnation }) {
        return Err(format!("life {incarnation} of {node} may lead"));
    }
    Ok(())
}
