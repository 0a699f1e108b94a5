//! What this node does for segments that it keeps and does not lead.
//!
//! ```text
//!  peer/server ── append.rs ──> segment.rs ──> Segment (store) ──> flush ──> answer to the leader
//!                 fence.rs  ──> fences, durable behind all that was accepted ──> votes
//!  metadata    ── end.rs    ──> cut, pull, finish: the end of a segment
//!                 copy.rs   ──> what is read for others, and what is brought from them
//!  controller  ── repair.rs ──> copies of sealed segments that this node is no member of yet
//! ```
//!
//! [`walrus_replication::ReplicaSegment`] decides; here are the locks, the bytes and the tasks.
//! A segment is opened when somebody first asks about it (`open.rs`) and let go when it is sealed
//! and whole, so that idle ones cost nothing. `table.rs` carries the producers' table from one
//! segment to the next.
//!
//! Locks, outermost first: one segment's `core`, then `fences`. The list of segments is never
//! held while another lock is taken. The WAL's thread takes `core` alone; nothing that is done
//! under these locks waits for a disk or a socket.

mod append;
mod copy;
mod end;
mod fence;
mod jobs;
pub mod messages;
mod open;
mod repair;
mod segment;
pub mod table;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::{Mutex as AsyncMutex, watch};
use walrus_metadata::{Metadata, Partition as Chain};
use walrus_replication::{Fences, Member, ProducerTable, ReplicaSegment, Writer};
use walrus_storage::{segment::Segment, store::Store};
use walrus_types::{Epoch, Incarnation, Offset, SegmentId, TopicPartition};

use self::{jobs::Jobs, open::Slot, repair::Ordered, segment::Replica};

use crate::metrics::Metrics;

pub use copy::{Linked, Sources};
pub use open::OpenError;

/// How long a member waits for its metadata before it says that it is behind.
const METADATA_PATIENCE: Duration = Duration::from_secs(5);

/// Where the life that leads on this node hears that it is fenced.
pub trait OwnLead: Send + Sync {
    /// This life is fenced: it stops leading everything, now, and appends nothing from here on.
    /// Answers what it led, as the member that it is from now on.
    fn fenced(&self) -> Vec<(TopicPartition, ReplicaSegment, Arc<Segment>)>;
}

/// What [`Replicas`] are made of.
pub struct Parts {
    /// Where bytes are kept.
    pub store: Store,
    /// The metadata, as this node applies it.
    pub metadata: watch::Receiver<Arc<Metadata>>,
    /// This node with its disk.
    pub me: Member,
    /// Its present life.
    pub incarnation: Incarnation,
    /// The way to other members.
    pub sources: Arc<dyn Sources>,
    /// The machine went down uncleanly before this life: what was not flushed is gone (L17).
    pub unclean_stop: bool,
    /// Where it is counted what was cut.
    pub metrics: Metrics,
}

/// The segments that this node keeps and does not lead.
pub struct Replicas {
    store: Store,
    metadata: watch::Receiver<Arc<Metadata>>,
    me: Member,
    incarnation: Incarnation,
    sources: Arc<dyn Sources>,
    unclean_stop: bool,
    metrics: Metrics,
    /// Held for reading while a batch is judged and stored, and for writing while a fence is
    /// made: so the record of a fence stands behind everything that was accepted before it.
    fences: RwLock<Fences>,
    /// Held while a life is fenced.
    fencing: AsyncMutex<()>,
    /// Those that somebody asked about, until they are sealed and whole.
    slots: RwLock<BTreeMap<SegmentId, Arc<Slot>>>,
    own: OnceLock<Arc<dyn OwnLead>>,
    /// The producers' tables of partitions that this node leads next, as of their open segments'
    /// bases. Of no more than there are partitions.
    handed: Mutex<BTreeMap<TopicPartition, ProducerTable>>,
    /// Copies of sealed segments that a controller asked for.
    repairs: Ordered,
    jobs: Jobs,
}

impl Replicas {
    /// Finds the fences that this disk holds, and looks for segments that were sealed while the
    /// node was away.
    ///
    /// # Panics
    /// Outside of a runtime.
    pub fn open(parts: Parts) -> Arc<Self> {
        let Parts { store, metadata, me, incarnation, sources, unclean_stop, metrics } = parts;
        let fences = RwLock::new(fence::restore(&store));
        let replicas = Arc::new(Self {
            store,
            metadata,
            me,
            incarnation,
            sources,
            unclean_stop,
            metrics,
            fences,
            fencing: AsyncMutex::default(),
            slots: RwLock::default(),
            own: OnceLock::new(),
            handed: Mutex::default(),
            repairs: Ordered::default(),
            jobs: Jobs::start(),
        });
        replicas.jobs.spawn(Arc::clone(&replicas).look_for_ends());
        replicas
    }

    /// Who is told when the life that leads on this node is fenced. Set once.
    pub fn set_own(&self, own: Arc<dyn OwnLead>) {
        // There is one who leads.
        let _there = self.own.set(own);
    }

    /// Ends what is under way. What is not finished is found again at the next start.
    pub async fn stop(&self) {
        self.jobs.stop().await;
    }

    /// This life of this node.
    fn own_life(&self) -> Writer {
        Writer { node: self.me.node, incarnation: self.incarnation }
    }

    fn state(&self) -> Arc<Metadata> {
        Arc::clone(&self.metadata.borrow())
    }

    fn chain(&self, partition: TopicPartition) -> Option<Arc<Chain>> {
        self.metadata.borrow().partition(partition).cloned()
    }

    /// The metadata, applied up to `index` at least.
    async fn applied(&self, index: u64) -> Result<Arc<Metadata>, String> {
        let mut views = self.metadata.clone();
        let there = views.wait_for(|metadata| metadata.applied() >= index);
        match tokio::time::timeout(METADATA_PATIENCE, there).await {
            Ok(Ok(metadata)) => Ok(Arc::clone(&metadata)),
            Ok(Err(_closed)) => Err("this node is stopping".into()),
            Err(_elapsed) => {
                let applied = self.metadata.borrow().applied();
                Err(format!("metadata is applied up to {applied} here, not to {index}"))
            }
        }
    }

    /// The slots of a partition.
    fn slots_of(&self, partition: TopicPartition) -> Vec<Arc<Slot>> {
        let first = SegmentId { partition, base: Offset(i64::MIN), epoch: Epoch(i32::MIN) };
        let slots = self.slots.read();
        let range = slots.range(first..).take_while(|(id, _)| id.partition == partition);
        range.map(|(_, slot)| Arc::clone(slot)).collect()
    }

    /// Those of a partition that are open.
    fn opened_of(&self, partition: TopicPartition) -> Vec<Arc<Replica>> {
        self.slots_of(partition).iter().filter_map(|slot| slot.replica()).collect()
    }

    /// The segment, if it is open.
    fn opened(&self, id: SegmentId) -> Option<Arc<Replica>> {
        self.slots.read().get(&id)?.replica()
    }

    /// Lets go of a segment: the next to ask is told by the metadata.
    fn forget(&self, replica: &Arc<Replica>) {
        replica.close();
        let mut slots = self.slots.write();
        let same =
            |slot: &Arc<Slot>| slot.replica().is_some_and(|there| Arc::ptr_eq(&there, replica));
        if slots.get(&replica.id()).is_some_and(same) {
            slots.remove(&replica.id());
        }
    }
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = self.slots.read().len();
        f.debug_struct("Replicas")
            .field("me", &self.me)
            .field("open", &open)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
