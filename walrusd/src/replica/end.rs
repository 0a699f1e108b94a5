//! The end of a segment: the Roll is applied here, and what the disk has is brought to it.
//!
//! A tail past the end is cut, what is missing is pulled from another member, and a whole segment
//! gets the producers' table beside it and is sealed. None of it is urgent and all of it is found
//! again after a restart: [`Replicas::look_for_ends`] goes through the sealed segments that this
//! disk should hold. Nothing is cut before the Roll is applied, for until then another end may be
//! decided.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tracing::{debug, error, info, warn};
use walrus_metadata::{Metadata, Partition as Chain, SegmentKey};
use walrus_replication::ReplicaSegment;
use walrus_storage::{
    segment::{CutError, ReadError, Segment, StateError},
    store::Store,
    wal::Done,
};
use walrus_types::{NodeId, Offset, SegmentId, TopicId, TopicPartition};

use super::{
    Replicas,
    jobs::blocking,
    open::{OpenError, Standing, standing},
    segment::{Replica, Step},
};

/// A store that is busy is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// The first wait after a pull that failed; it doubles with each.
const PULL_PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest wait after a pull that failed.
const PULL_PAUSE_MAX: Duration = Duration::from_secs(5);
/// What this node led is sealed by who led it. That it was is looked at after so long.
const OWN_PATIENCE: Duration = Duration::from_secs(10);
/// Sealed segments that are looked at in one go after a start.
const LOOK_AT_ONCE: usize = 64;

impl Replicas {
    /// A chain changed from `old` to `new`; with `new` missing its topic was deleted. Never waits;
    /// telling the same again does no harm.
    pub fn follow(self: &Arc<Self>, id: TopicPartition, old: Option<&Chain>, new: Option<&Chain>) {
        self.settle_partition(id);
        let Some(new) = new else { return };
        self.open_ahead(id, new);
        let base = new.open().key.base;
        self.handed.lock().retain(|of, table| *of != id || table.end() == base);
        for (key, leader) in ended_since(old, new) {
            let segment = SegmentId { partition: id, base: key.base, epoch: key.epoch };
            if new.sealed().get(&key).is_some_and(|sealed| self.holds(sealed)) {
                self.repairs.is_member(segment);
            }
            if self.opened(segment).is_none()
                && let Some(sealed) = new.sealed().get(&key)
                && self.holds(sealed)
            {
                let own = leader == self.me.node;
                // Of what this node alone kept nobody has more.
                if !own || sealed.members.len() > 1 {
                    self.jobs.spawn(Arc::clone(self).look_later(segment, own));
                }
            }
        }
    }

    /// Opens a segment before its first append when this disk has not the one before it: its
    /// producers' table must come from another node, which may be gone when it is needed.
    fn open_ahead(self: &Arc<Self>, id: TopicPartition, chain: &Chain) {
        let open = chain.open();
        let keeps = open.leader.node != self.me.node
            && open.members.iter().any(|member| member.storage == self.me.storage);
        if keeps && chain.sealed().last().is_some_and(|(_, sealed)| !self.holds(sealed)) {
            let (replicas, key) = (Arc::clone(self), open.key);
            debug!(partition = %id, epoch = %key.epoch, "opened ahead of its first append");
            self.jobs.spawn(async move {
                let segment = SegmentId { partition: id, base: key.base, epoch: key.epoch };
                if let Err(why) = replicas.replica(segment).await {
                    debug!(%segment, %why, "a replica is opened when it is needed");
                }
            });
        }
    }

    /// A topic was deleted.
    pub fn forget_topic(&self, topic: TopicId) {
        let of_topic = |id: &SegmentId| id.partition.topic == topic;
        let gone: Vec<Arc<Replica>> = {
            let mut slots = self.slots.write();
            let ids: Vec<SegmentId> = slots.keys().filter(|id| of_topic(id)).copied().collect();
            ids.iter().filter_map(|id| slots.remove(id)?.replica()).collect()
        };
        for replica in gone {
            replica.close();
        }
        self.handed.lock().retain(|id, _| id.topic != topic);
    }

    /// The segment of a leader that was fenced: from now on this node is a member of it. Its last
    /// appends may still be on their way to the disk.
    pub fn adopt(
        self: &Arc<Self>,
        id: TopicPartition,
        replica: ReplicaSegment,
        segment: Arc<Segment>,
    ) {
        assert_eq!(segment.id().partition, id, "a segment of another partition is adopted");
        let Some(replica) = self.take_over(segment.id(), replica, segment) else { return };
        let replicas = Arc::clone(self);
        self.jobs.spawn(async move {
            replicas.flush_adopted(std::slice::from_ref(&replica)).await;
        });
    }

    /// Waits until what adopted segments have is durable, then carries out what came meanwhile.
    pub(super) async fn flush_adopted(self: &Arc<Self>, adopted: &[Arc<Replica>]) {
        let ends: Vec<Offset> = adopted.iter().map(|replica| replica.marks().end).collect();
        match self.flush_behind().await {
            Ok(()) => {
                for (replica, end) in adopted.iter().zip(ends) {
                    replica.flushed(end);
                    self.settle(replica);
                }
            }
            Err(why) => warn!(why, "what this node led cannot be made durable"),
        }
    }

    /// Tells all open segments of a partition what the metadata says of them.
    pub(super) fn settle_partition(self: &Arc<Self>, id: TopicPartition) {
        for replica in self.opened_of(id) {
            self.settle(&replica);
        }
    }

    /// Tells a segment what the metadata says of it.
    pub(super) fn settle(self: &Arc<Self>, replica: &Arc<Replica>) {
        let chain = self.chain(replica.partition());
        let id = replica.id();
        match standing(chain.as_deref(), id) {
            // Nothing of a deleted topic is kept.
            Standing::Unknown if chain.is_none() => self.forget(replica),
            Standing::Open(_) | Standing::Unknown => {}
            Standing::Sealed(sealed) if self.holds(sealed) => {
                let key = SegmentKey { base: id.base, epoch: id.epoch };
                let is_lossy =
                    chain.as_ref().is_some_and(|chain| chain.losses().get(&key).is_some());
                if replica.sealed(sealed.end, is_lossy) {
                    self.open_next(chain.as_deref(), replica, sealed.end);
                }
                self.hand_on(chain.as_deref(), replica, sealed.end);
                if replica.is_closed() {
                    // It begins anew, from what the disk has.
                    self.forget(replica);
                    self.jobs.spawn(Arc::clone(self).look_later(id, false));
                }
            }
            // Others hold it, and what is here is of no use.
            Standing::Sealed(sealed) => {
                if replica.sealed(sealed.end, true) {
                    self.open_next(chain.as_deref(), replica, sealed.end);
                }
                self.forget(replica);
            }
            Standing::Dropped => {
                // One that was sealed empty leaves its base to another, and its table too.
                if chain.as_deref().is_some_and(|chain| begins_at(chain, id.base)) {
                    if replica.sealed(id.base, true) {
                        self.open_next(chain.as_deref(), replica, id.base);
                    }
                    self.hand_on(chain.as_deref(), replica, id.base);
                }
                self.forget(replica);
            }
        }
    }

    /// A partition that is in use goes on in its next segment, which has nothing on disk yet; the
    /// producers' table goes with it.
    fn open_next(self: &Arc<Self>, chain: Option<&Chain>, old: &Replica, end: Offset) {
        let Some(open) = chain.map(Chain::open).filter(|open| open.key.base == end) else { return };
        let id = SegmentId { base: open.key.base, epoch: open.key.epoch, ..old.id() };
        let keeps = open.members.iter().any(|member| member.node == self.me.node);
        if keeps && open.leader.node != self.me.node {
            drop(self.open_fresh(id));
        }
    }

    /// Keeps the producers' table of a segment that has ended for this node's leader, when that
    /// goes on with the partition.
    fn hand_on(&self, chain: Option<&Chain>, old: &Replica, end: Offset) {
        let next = chain.map(Chain::open).filter(|open| open.key.base == end);
        if next.is_some_and(|open| open.leader.node == self.me.node)
            && let Some(table) = old.producers_at(end)
        {
            self.handed.lock().insert(old.partition(), table);
        }
    }

    /// Starts the task that carries out what a segment's end asks for. Never waits.
    pub(super) fn start_end(self: &Arc<Self>, replica: Arc<Replica>) {
        self.jobs.spawn(Arc::clone(self).carry_out(replica));
    }

    async fn carry_out(self: Arc<Self>, replica: Arc<Replica>) {
        while let Some(step) = replica.next_step() {
            match step {
                Step::Cut(end) => self.cut(&replica, end).await,
                Step::Pull => self.pull_until_whole(&replica).await,
                Step::Finish(end) => self.finish(&replica, end).await,
            }
        }
    }

    async fn cut(&self, replica: &Arc<Replica>, end: Offset) {
        let segment = Arc::clone(replica.segment());
        info!(segment = %replica.id(), %end, "a tail that is in no log is cut");
        self.metrics.cut();
        self.store_until_done(replica, "cut", move || {
            segment
                .truncate(end, Box::new(|_durable_with_the_seal| {}))
                .map(drop)
                .map_err(Unstored::from)
        })
        .await;
    }

    /// Pulls what is missing until nothing is, or the segment is no longer to be kept here.
    async fn pull_until_whole(self: &Arc<Self>, replica: &Arc<Replica>) {
        let mut pause = PULL_PAUSE_MIN;
        loop {
            let marks = replica.marks();
            if replica.is_closed() || marks.sealed.is_none_or(|end| marks.end >= end) {
                return;
            }
            let pulled = {
                let _turn = self.jobs.pull_turn().await;
                self.pull(replica).await
            };
            match pulled {
                Ok(()) => pause = PULL_PAUSE_MIN,
                Err(why) => {
                    debug!(segment = %replica.id(), why, "what is missing is pulled later");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PULL_PAUSE_MAX);
                }
            }
            // It may have been pruned, or given to others.
            self.settle(replica);
        }
    }

    async fn finish(self: &Arc<Self>, replica: &Arc<Replica>, end: Offset) {
        if end > replica.id().base {
            let table = match replica.producers() {
                Some(table) => Some(table),
                None => self.table_of_whole(replica, end).await,
            };
            let (segment, state) =
                (Arc::clone(replica.segment()), table.map(|table| table.encode()));
            let state = state.map(Bytes::from);
            let done = self
                .store_until_done(replica, "finished", move || {
                    if let Some(state) = &state {
                        let made_again: Done = Box::new(|_durable_or_made_again| {});
                        segment.write_state(state.clone(), made_again)?;
                    }
                    segment.seal(end)?;
                    Ok(())
                })
                .await;
            if !done {
                return;
            }
            debug!(segment = %replica.id(), %end, "sealed and whole");
        }
        // The next one is to be there before this one goes, for it takes the table from here: who
        // told of the end may not have come so far.
        if replica.is_in_use() {
            self.open_next(self.chain(replica.partition()).as_deref(), replica, end);
        }
        for next in self.opened_of(replica.partition()) {
            if next.id().base == end {
                next.teach();
                self.start_learning(&next);
            }
        }
        self.forget(replica);
    }

    /// Does something to the store until it is done; false when it cannot be.
    async fn store_until_done(
        &self,
        replica: &Arc<Replica>,
        what: &str,
        work: impl Fn() -> Result<(), Unstored> + Send + Sync + 'static,
    ) -> bool {
        let work = Arc::new(work);
        while !replica.is_closed() {
            let turn = self.jobs.turn().await;
            let work = Arc::clone(&work);
            let outcome = blocking(move || work()).await;
            drop(turn);
            match outcome {
                Ok(Ok(())) => return true,
                Ok(Err(Unstored::Busy)) => tokio::time::sleep(BUSY_PAUSE).await,
                Ok(Err(Unstored::Gone)) => {
                    self.forget(replica);
                    return false;
                }
                Ok(Err(Unstored::Never(why))) | Err(why) => {
                    error!(segment = %replica.id(), why, "a sealed segment cannot be {what}");
                    return false;
                }
            }
        }
        false
    }

    /// Looks at a sealed segment that is not open: what a life before left undone is done.
    async fn look_later(self: Arc<Self>, id: SegmentId, own: bool) {
        if own {
            tokio::time::sleep(OWN_PATIENCE).await;
        }
        let store = self.store.clone();
        match blocking(move || is_sealed(&store, id)).await {
            Ok(true) => {}
            Ok(false) => self.bring_to_its_end(id).await,
            Err(why) => debug!(segment = %id, why, "a sealed segment is looked at later"),
        }
    }

    /// Opens a sealed segment; what its end asks for follows from that.
    async fn bring_to_its_end(self: &Arc<Self>, id: SegmentId) {
        match self.replica(id).await {
            Ok(_) | Err(OpenError::NotMember | OpenError::Led) => {}
            Err(OpenError::Unreadable(why)) => {
                error!(segment = %id, %why, "a sealed segment cannot be read here");
            }
        }
    }

    /// Goes through all sealed segments that this disk should hold.
    pub(super) async fn look_for_ends(self: Arc<Self>) {
        let ids = to_be_held(&self.state(), &self);
        for some in ids.chunks(LOOK_AT_ONCE) {
            let (store, some) = (self.store.clone(), some.to_vec());
            let open = blocking(move || {
                some.into_iter().filter(|id| !is_sealed(&store, *id)).collect::<Vec<_>>()
            });
            for id in open.await.unwrap_or_default() {
                self.bring_to_its_end(id).await;
            }
        }
    }
}

/// The sealed segments that this disk should hold and others hold as well, newest first: those
/// are the ones that may have been missed.
fn to_be_held(metadata: &Metadata, replicas: &Replicas) -> Vec<SegmentId> {
    let mut ids: Vec<SegmentId> = Vec::new();
    for (partition, chain) in metadata.partitions() {
        for (key, sealed) in chain.sealed() {
            let alone = sealed.members.len() == 1 && sealed.leader == replicas.me.node;
            if replicas.holds(sealed) && !alone {
                ids.push(SegmentId { partition, base: key.base, epoch: key.epoch });
            }
        }
    }
    ids.reverse();
    ids
}

/// The segments of `new` that were not sealed in `old`, or had other members, with who led them.
fn ended_since(old: Option<&Chain>, new: &Chain) -> Vec<(SegmentKey, NodeId)> {
    let mut ended: Vec<(SegmentKey, NodeId)> = Vec::new();
    let of = |key: SegmentKey| new.sealed().get(&key).map(|sealed| (key, sealed.leader));
    let Some(old) = old else {
        return new.sealed().iter().map(|(key, sealed)| (*key, sealed.leader)).collect();
    };
    ended.extend(new.regrouped_since(old).into_iter().filter_map(of));
    let mut before = new.open().key;
    while let Some((key, sealed)) = new.sealed().last_where(|key| *key < before) {
        if key.epoch < old.open().key.epoch {
            break;
        }
        if !ended.iter().any(|(there, _)| there == key) {
            ended.push((*key, sealed.leader));
        }
        before = *key;
    }
    ended
}

/// Whether a segment of the chain begins there.
fn begins_at(chain: &Chain, base: Offset) -> bool {
    let last = chain.sealed().last_where(|key| key.base <= base);
    chain.open().key.base == base || last.is_some_and(|(key, _)| key.base == base)
}

/// Whether the file says that it is sealed. May wait for the disk.
fn is_sealed(store: &Store, id: SegmentId) -> bool {
    // One that cannot be read is opened next, and that says what is wrong.
    store.segment(id).is_sealed().unwrap_or(false)
}

/// Why the store did not do something.
#[derive(Debug)]
enum Unstored {
    /// Its queue is full.
    Busy,
    /// The segment was pruned.
    Gone,
    /// It never will.
    Never(String),
}

impl From<ReadError> for Unstored {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Gone(_) => Self::Gone,
            ReadError::Damaged { .. } | ReadError::Below { .. } | ReadError::Io { .. } => {
                Self::Never(error.to_string())
            }
        }
    }
}

impl From<CutError> for Unstored {
    fn from(error: CutError) -> Self {
        match error {
            CutError::Busy => Self::Busy,
            CutError::Unreadable(error) => error.into(),
            CutError::Short { .. }
            | CutError::Sealed { .. }
            | CutError::InsideBatch { .. }
            | CutError::Failed(_) => Self::Never(error.to_string()),
        }
    }
}

impl From<StateError> for Unstored {
    fn from(error: StateError) -> Self {
        match error {
            StateError::Busy => Self::Busy,
            StateError::Gone(_) => Self::Gone,
            StateError::Unreadable(error) => error.into(),
            // Whoever needs the table builds it from the batches.
            StateError::TooLarge { .. } | StateError::Failed(_) => Self::Never(error.to_string()),
        }
    }
}
