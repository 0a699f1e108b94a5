//! What the metadata says of a segment, and how one is opened: from what the disk has of it.
//!
//! The first look at a segment may read the disk and is done on a thread for it; a leader that
//! sends meanwhile is told to come again. Whoever opens one looks at the metadata once more
//! afterwards, so that a seal which was applied meanwhile is not missed.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{sync::OnceCell, time::Instant};
use walrus_metadata::{Open, Partition as Chain, Sealed, SegmentKey};
use walrus_replication::{Member, OnDisk, OpenSegment, ReplicaSegment, Writer};
use walrus_types::{Incarnation, SegmentId};

use super::{
    Replicas,
    jobs::blocking,
    segment::{Replica, on_disk},
};
use crate::partition::roll::open_segment;

/// A segment that could not be read is not read again before so long: it may be large.
const READ_AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// The place of one segment.
#[derive(Debug, Default)]
pub(super) struct Slot {
    cell: OnceCell<Arc<Replica>>,
    unreadable: Mutex<Option<(Instant, Arc<str>)>>,
}

/// Why a segment is not open here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// By the metadata that is applied here this node keeps no copy of it.
    #[error("this node keeps no copy of it")]
    NotMember,
    /// The life that leads on this node writes it.
    #[error("this node leads it")]
    Led,
    /// What is on disk of it cannot be read. That never means "nothing".
    #[error("{0}")]
    Unreadable(Arc<str>),
}

/// What the metadata says of a segment.
#[derive(Debug, Clone, Copy)]
pub(super) enum Standing<'a> {
    /// Its partition is not there, or it is newer than what is applied here.
    Unknown,
    /// It takes appends.
    Open(&'a Open),
    /// It has ended.
    Sealed(&'a Sealed),
    /// It has ended and is in the chain no more: it was empty, or it was pruned.
    Dropped,
}

/// What the metadata says of a segment.
pub(super) fn standing(chain: Option<&Chain>, id: SegmentId) -> Standing<'_> {
    let Some(chain) = chain else { return Standing::Unknown };
    let key = SegmentKey { base: id.base, epoch: id.epoch };
    let open = chain.open();
    if open.key == key {
        Standing::Open(open)
    } else if let Some(sealed) = chain.sealed().get(&key) {
        Standing::Sealed(sealed)
    } else if key.epoch < open.key.epoch {
        Standing::Dropped
    } else {
        Standing::Unknown
    }
}

impl Slot {
    pub(super) fn replica(&self) -> Option<Arc<Replica>> {
        self.cell.get().cloned()
    }

    fn check_readable(&self) -> Result<(), OpenError> {
        let unreadable = self.unreadable.lock();
        match &*unreadable {
            Some((since, why)) if since.elapsed() < READ_AGAIN => {
                Err(OpenError::Unreadable(Arc::clone(why)))
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note(&self, error: &OpenError) {
        if let OpenError::Unreadable(why) = error {
            *self.unreadable.lock() = Some((Instant::now(), Arc::clone(why)));
        }
    }
}

impl Replicas {
    pub(super) fn slot(&self, id: SegmentId) -> Arc<Slot> {
        if let Some(slot) = self.slots.read().get(&id) {
            return Arc::clone(slot);
        }
        Arc::clone(self.slots.write().entry(id).or_default())
    }

    /// The segment, opened if it is not yet.
    ///
    /// # Errors
    /// [`OpenError`]; the next to ask tries again.
    pub(super) async fn replica(
        self: &Arc<Self>,
        id: SegmentId,
    ) -> Result<Arc<Replica>, OpenError> {
        // A slot is made for what the metadata knows alone, so that nobody fills the list.
        self.may_open(id)?;
        let slot = self.slot(id);
        if slot.replica().is_some_and(|replica| replica.is_closed()) {
            self.forget(&slot.replica().expect("it was just there"));
            return Err(OpenError::NotMember);
        }
        slot.check_readable()?;
        let opening = slot.cell.get_or_try_init(|| async {
            let replicas = Arc::clone(self);
            let built = blocking(move || replicas.build(id)).await;
            built.map_err(|why| OpenError::Unreadable(why.into()))?
        });
        let replica = match opening.await {
            Ok(replica) => Arc::clone(replica),
            Err(why) => {
                slot.note(&why);
                if !matches!(why, OpenError::Unreadable(_)) {
                    self.remove_empty(id);
                }
                return Err(why);
            }
        };
        self.settle(&replica);
        self.start_learning(&replica);
        if replica.is_closed() { Err(OpenError::NotMember) } else { Ok(replica) }
    }

    /// As [`Replicas::replica`], for one that was opened in this life and has nothing on disk.
    /// `None` when somebody else is opening it.
    pub(super) fn open_fresh(self: &Arc<Self>, id: SegmentId) -> Option<Arc<Replica>> {
        let slot = self.slot(id);
        if let Some(replica) = slot.replica() {
            return Some(replica);
        }
        let Ok(replica) = self.build(id) else {
            self.remove_empty(id);
            return None;
        };
        slot.cell.set(Arc::clone(&replica)).ok()?;
        self.settle(&replica);
        self.start_learning(&replica);
        Some(replica)
    }

    /// The segment of a leader that was fenced, whose last batches may not be durable yet.
    pub(super) fn take_over(
        self: &Arc<Self>,
        id: SegmentId,
        decider: ReplicaSegment,
        segment: Arc<walrus_storage::segment::Segment>,
    ) -> Option<Arc<Replica>> {
        let replica = Replica::new(id, segment, decider, Arc::downgrade(self));
        replica.was_led();
        let slot = self.slot(id);
        // Once only: what was adopted before goes on.
        slot.cell.set(Arc::clone(&replica)).ok()?;
        Some(replica)
    }

    fn remove_empty(&self, id: SegmentId) {
        let mut slots = self.slots.write();
        if slots.get(&id).is_some_and(|slot| !slot.cell.initialized()) {
            slots.remove(&id);
        }
    }

    /// The record and the writer of a segment that this node keeps.
    pub(super) fn may_open(&self, id: SegmentId) -> Result<(Writer, OpenSegment), OpenError> {
        let chain = self.chain(id.partition);
        match standing(chain.as_deref(), id) {
            Standing::Open(open) => {
                let record = open_segment(open);
                if !record.members.iter().any(|member| member.node == self.me.node) {
                    return Err(OpenError::NotMember);
                }
                let leader = open.leader;
                let writer = Writer { node: leader.node, incarnation: leader.incarnation };
                if writer == self.own_life() && !self.fences.read().covers(writer) {
                    return Err(OpenError::Led);
                }
                Ok((writer, record))
            }
            Standing::Sealed(sealed) if self.holds(sealed) => {
                // Which life wrote it matters no more: nothing is taken from it.
                let writer = Writer { node: sealed.leader, incarnation: Incarnation(0) };
                let members = sealed.members.iter();
                let members =
                    members.map(|m| Member { node: m.node, storage: m.storage }).collect();
                let (epoch, base) = (id.epoch, id.base);
                Ok((writer, OpenSegment { epoch, base, members, write_quorum: 1 }))
            }
            Standing::Sealed(_) | Standing::Dropped | Standing::Unknown => {
                Err(OpenError::NotMember)
            }
        }
    }

    /// Whether a sealed segment is to be on this disk.
    pub(super) fn holds(&self, sealed: &Sealed) -> bool {
        let me = walrus_metadata::Member { node: self.me.node, storage: self.me.storage };
        sealed.members.contains(&me)
    }

    /// Builds the replica out of what the disk has. Changes nothing. May wait for the disk, unless
    /// that has nothing.
    fn build(self: &Arc<Self>, id: SegmentId) -> Result<Arc<Replica>, OpenError> {
        let (writer, record) = self.may_open(id)?;
        let segment = self.store.segment(id);
        let has = if record.members.contains(&self.me) {
            let unreadable =
                |why: &dyn std::fmt::Display| OpenError::Unreadable(why.to_string().into());
            let extent = segment.load().map_err(|why| unreadable(&why))?;
            // Damage where the log ends: then nobody knows where that was.
            segment.end().map_err(|why| unreadable(&why))?;
            on_disk(&extent)
        } else {
            OnDisk::nothing(id.base)
        };
        // What lies between base and end is fed later, when it is known how much is committed.
        let producers = if has.end == id.base { self.table_before(id) } else { None };
        let decider = ReplicaSegment::open(self.me, writer, &record, has, producers);
        Ok(Replica::new(id, segment, decider, Arc::downgrade(self)))
    }
}
