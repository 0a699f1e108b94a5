//! Copies of sealed segments that this node is no member of yet: a controller asks for one, and
//! makes this node a member once it has all of it.
//!
//! ```text
//!  order ──> from where the log here ends ──> batches, each checked ──> table, seal, flush
//!                                             read back: offsets, length, digest ──> whole
//! ```
//!
//! A copy goes on when nobody asks any more, and the next to ask finds what is there: a controller
//! may begin what another one did. What is never made a member is found by the sweep after a start.
//! Nothing of a segment that this node is a member of is touched here: `end.rs` brings that to its
//! end.
//!
//! A copy that was reported whole may become a member at any moment, so it is removed by nobody
//! from then on; and one that is being removed is not reported. [`Ordered`] knows which is which.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep, sleep_until, timeout},
};
use tracing::{debug, info, warn};
use twox_hash::XxHash3_128;
use walrus_metadata::{Digest, Sealed};
use walrus_replication::{Member, ProducerTable};
use walrus_storage::{
    segment::{AppendError, CHUNK_BYTES_MAX, CutError, Purpose, ReadError, Segment, StateError},
    wal::Done,
};
use walrus_types::{Offset, SegmentId, batch};

use super::{
    Replicas,
    copy::peer_address,
    jobs::blocking,
    messages::{ReadRequest, RepairOrder, RepairReply, Wanted},
    open::{Standing, standing},
};

/// Copies that are made at the same time, whoever asked for them.
const REPAIRS_MAX: usize = 8;
/// Who asks for a copy is told after so long that it is under way.
const TELL_AFTER: Duration = Duration::from_secs(5);
/// How long the store here may take to make room, or to flush what was copied.
const STORE_MAX: Duration = Duration::from_secs(30);
/// A store that is busy is asked again after this.
const BUSY_PAUSE: Duration = Duration::from_millis(10);
/// How often all sources are asked for the producers' table.
const TABLE_ROUNDS: u32 = 3;
/// The pause between two such rounds.
const TABLE_PAUSE: Duration = Duration::from_millis(500);

/// What a segment that was read back comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole {
    bytes: u64,
    digest: Digest,
}

/// How a copy came out, once it has.
type Outcome = Option<Result<Whole, String>>;

/// Segments that this node is no member of, and what is done with their copies here.
#[derive(Debug, Default)]
pub(super) struct Ordered(Mutex<Copies>);

#[derive(Debug, Default)]
struct Copies {
    making: BTreeMap<SegmentId, watch::Receiver<Outcome>>,
    /// Reported whole; this node may become a member of them at any moment.
    reported: BTreeSet<SegmentId>,
    /// Being removed.
    going: BTreeSet<SegmentId>,
}

impl Ordered {
    /// From now on this node is a member of it.
    pub(super) fn is_member(&self, id: SegmentId) {
        self.0.lock().reported.remove(&id);
    }
}

/// A copy that is being removed; with this gone it can be made again.
#[derive(Debug)]
pub struct Going<'a> {
    ordered: &'a Ordered,
    id: SegmentId,
}

impl Drop for Going<'_> {
    fn drop(&mut self) {
        self.ordered.0.lock().going.remove(&self.id);
    }
}

impl Replicas {
    /// A controller wants a copy of a sealed segment here. Answers when it is whole, or after a
    /// while that it is under way; asking again begins nothing anew.
    ///
    /// # Errors
    /// Why it is not copied, for people.
    pub async fn repair(self: &Arc<Self>, order: RepairOrder) -> Result<RepairReply, String> {
        self.check_storage(order.to_storage)?;
        self.applied(order.index).await?;
        let mut told = self.begin_repair(order)?;
        match timeout(TELL_AFTER, told.wait_for(Option::is_some)).await {
            Err(_elapsed) => Ok(RepairReply::UnderWay),
            Ok(Err(_dropped)) => Err("this node is stopping".into()),
            Ok(Ok(outcome)) => {
                let outcome = outcome.clone().expect("it was waited for");
                outcome.map(|Whole { bytes, digest }| RepairReply::Whole { bytes, digest })
            }
        }
    }

    /// Starts the copy, if it is not under way.
    fn begin_repair(
        self: &Arc<Self>,
        order: RepairOrder,
    ) -> Result<watch::Receiver<Outcome>, String> {
        let id = order.segment;
        let mut copies = self.repairs.0.lock();
        if let Some(there) = copies.making.get(&id) {
            return Ok(there.clone());
        }
        if copies.going.contains(&id) {
            return Err("what an earlier copy left here is being removed".into());
        }
        if copies.making.len() >= REPAIRS_MAX {
            return Err(format!("{REPAIRS_MAX} segments are being copied here already"));
        }
        let (tell, told) = watch::channel(None);
        copies.making.insert(id, told.clone());
        drop(copies);
        let replicas = Arc::clone(self);
        self.jobs.spawn(async move {
            let ordered = Leave { replicas: &replicas, id };
            let outcome = replicas.make_whole(&order).await;
            if outcome.is_ok() {
                replicas.promise(id);
            }
            drop(ordered);
            if let Err(why) = &outcome {
                warn!(segment = %id, why, "a copy of a sealed segment was not made");
            }
            tell.send_replace(Some(outcome));
        });
        Ok(told)
    }

    /// The copy is whole: whoever hears of it makes this node a member.
    fn promise(&self, id: SegmentId) {
        let mut copies = self.repairs.0.lock();
        // Who is one already is told so no more.
        if self.sealed_record(id).is_ok_and(|sealed| !self.holds(&sealed)) {
            copies.reported.insert(id);
        }
    }

    /// Takes leave of what is here of a segment, before its files are removed; `None` when they
    /// must stay: this node is a member of it, or will be.
    pub fn let_go(&self, id: SegmentId) -> Option<Going<'_>> {
        let mut copies = self.repairs.0.lock();
        // By the metadata as it is now: the look that found it useless may be an old one.
        match self.sealed_record(id) {
            Ok(sealed) => {
                let is_promised = copies.making.contains_key(&id) || copies.reported.contains(&id);
                if is_promised || self.holds(&sealed) {
                    debug!(segment = %id, "a copy that was to be removed is wanted here");
                    return None;
                }
            }
            // It is in no chain any more.
            Err(_gone) => {
                copies.reported.remove(&id);
            }
        }
        copies.going.insert(id).then(|| Going { ordered: &self.repairs, id })
    }

    async fn make_whole(self: &Arc<Self>, order: &RepairOrder) -> Result<Whole, String> {
        let (id, began) = (order.segment, Instant::now());
        // Before the look at the metadata: a segment that is pruned after that look takes the
        // handle with it, and nothing is written any more.
        let segment = self.ready(id).await?;
        let _held = segment.held_for(Purpose::Repair, None);
        let sealed = self.sealed_record(id)?;
        let there = Arc::clone(&segment);
        let is_closed = blocking(move || there.is_sealed().unwrap_or(false)).await?;
        if !is_closed && self.holds(&sealed) {
            return Err("this node is a member of it already, and pulls it".into());
        }
        if !is_closed {
            self.fill(&segment, &sealed, order).await?;
        }
        let (read, record, turn) = (Arc::clone(&segment), sealed.clone(), self.jobs.turn().await);
        let found = blocking(move || read_back(&read, &record)).await?;
        drop(turn);
        match found {
            Ok(whole) => {
                info!(
                    segment = %id, sources = ?nodes(&order.sources), bytes = whole.bytes,
                    took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                    "a sealed segment was copied here"
                );
                Ok(whole)
            }
            Err(why) => {
                self.throw_away(id).await;
                Err(why)
            }
        }
    }

    /// The record of a segment that is to be copied.
    fn sealed_record(&self, id: SegmentId) -> Result<Sealed, String> {
        let chain = self.chain(id.partition);
        match standing(chain.as_deref(), id) {
            Standing::Sealed(sealed) => Ok(sealed.clone()),
            Standing::Open(_) => Err("it is not sealed".into()),
            Standing::Dropped | Standing::Unknown => Err("there is no such segment".into()),
        }
    }

    /// The segment, loaded. What an earlier copy left that cannot be gone on with is thrown away.
    async fn ready(self: &Arc<Self>, id: SegmentId) -> Result<Arc<Segment>, String> {
        let look = |segment: Arc<Segment>| blocking(move || segment.load().and(segment.end()));
        let segment = self.store.segment(id);
        match look(Arc::clone(&segment)).await? {
            Ok(_) => return Ok(segment),
            Err(ReadError::Damaged { .. }) => {}
            Err(why) => return Err(why.to_string()),
        }
        drop(segment);
        self.throw_away(id).await;
        let segment = self.store.segment(id);
        look(Arc::clone(&segment)).await?.map_err(|why| why.to_string())?;
        Ok(segment)
    }

    /// Removes what is here of a segment, unless this node is a member of it or may be soon.
    async fn throw_away(&self, id: SegmentId) {
        let is_member = self.sealed_record(id).is_ok_and(|sealed| self.holds(&sealed));
        if is_member || self.repairs.0.lock().reported.contains(&id) {
            return;
        }
        let store = self.store.clone();
        match blocking(move || store.prune(id).map_err(|why| why.to_string())).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) | Err(why) => warn!(segment = %id, why, "a bad copy was not removed"),
        }
    }

    /// Brings all that is missing, and seals it with the producers' table beside it.
    async fn fill(
        self: &Arc<Self>,
        segment: &Arc<Segment>,
        sealed: &Sealed,
        order: &RepairOrder,
    ) -> Result<(), String> {
        let mut pace = Pace::new(order.bytes_per_second);
        let mut failed = "nobody is there who has it".to_owned();
        for source in &order.sources {
            match self.bring_from(*source, segment, sealed.end, &mut pace).await {
                Ok(()) => {
                    let table = self.table_from(order, sealed.end).await;
                    return self.close(segment, sealed.end, table).await;
                }
                Err(why) => failed = format!("{}: {why}", source.node),
            }
        }
        Err(failed)
    }

    /// Copies from `source` until the log here reaches `to`.
    async fn bring_from(
        &self,
        source: Member,
        segment: &Arc<Segment>,
        to: Offset,
        pace: &mut Pace,
    ) -> Result<(), String> {
        let id = segment.id();
        loop {
            let from = segment.end().map_err(|why| why.to_string())?;
            if from >= to {
                return Ok(());
            }
            let metadata = self.state();
            let at = peer_address(&metadata, source).ok_or("it is not in the cluster")?;
            let wanted = Wanted::Batches(ReadRequest {
                segment: id,
                storage: source.storage,
                from,
                to,
                bytes_max: u32::try_from(CHUNK_BYTES_MAX).unwrap_or(u32::MAX),
            });
            let bytes = self.sources.read(at, wanted).await?;
            let taken = timeout(STORE_MAX, self.take_batches(segment, &bytes, to)).await;
            taken.map_err(|_elapsed| "the store here takes nothing for now".to_owned())??;
            if segment.end().map_err(|why| why.to_string())? <= from {
                return Err(format!("it has nothing from {from} on"));
            }
            pace.passed(bytes.len()).await;
        }
    }

    /// Stores batches that lie back to back, each checked, and waits until they are durable.
    async fn take_batches(
        &self,
        segment: &Arc<Segment>,
        bytes: &Bytes,
        to: Offset,
    ) -> Result<(), String> {
        let mut last = None;
        for item in batch::batches(bytes) {
            let (header, batch) = item.map_err(|why| why.to_string())?;
            batch::check(batch).map_err(|why| why.to_string())?;
            if header.end() > to {
                return Err(format!("a batch reaches past {to}, to {}", header.end()));
            }
            last = Some(self.take_batch(segment, bytes.slice_ref(batch)).await?);
        }
        match last {
            None => Ok(()),
            Some(flushed) => {
                flushed.await.map_err(|_dropped| "what was copied was not flushed".to_owned())
            }
        }
    }

    /// Stores one batch; the store says whether it is the next one. The receiver hears when it is
    /// durable.
    async fn take_batch(
        &self,
        segment: &Arc<Segment>,
        batch: Bytes,
    ) -> Result<oneshot::Receiver<()>, String> {
        loop {
            let (tell, flushed) = oneshot::channel();
            let done: Done = Box::new(move |outcome| {
                if outcome.is_ok() {
                    // Who waited may have lost patience.
                    let _heard = tell.send(());
                }
            });
            match segment.append(batch.clone(), done) {
                Ok(_end) => return Ok(flushed),
                Err(AppendError::Busy) => {
                    self.store.room().await;
                    sleep(BUSY_PAUSE).await;
                }
                Err(why) => return Err(why.to_string()),
            }
        }
    }

    /// The producers' table at the end of the segment. A copy without one is better than none.
    async fn table_from(&self, order: &RepairOrder, end: Offset) -> Option<ProducerTable> {
        let mut failed = String::new();
        for round in 0..TABLE_ROUNDS {
            if round > 0 {
                sleep(TABLE_PAUSE).await;
            }
            let metadata = self.state();
            for source in &order.sources {
                let asked = self.ask_member_for_table(&metadata, order.segment, (*source, end));
                match asked.await {
                    Ok(table) => return Some(table),
                    Err(why) => failed = format!("{}: {why}", source.node),
                }
            }
        }
        warn!(segment = %order.segment, why = failed, "copied without its producers' table");
        None
    }

    /// Fixes the end, with the table beside it, and waits until both are durable.
    async fn close(
        &self,
        segment: &Arc<Segment>,
        end: Offset,
        table: Option<ProducerTable>,
    ) -> Result<(), String> {
        let table = table.map(|table| Bytes::from(table.encode()));
        let until = Instant::now() + STORE_MAX;
        loop {
            let (segment, table) = (Arc::clone(segment), table.clone());
            let turn = self.jobs.turn().await;
            let closed = blocking(move || close(&segment, end, table)).await?;
            drop(turn);
            match closed {
                Ok(()) => return self.flush_behind().await,
                Err(NotClosed::Busy) if Instant::now() < until => sleep(BUSY_PAUSE).await,
                Err(NotClosed::Busy) => return Err("the store here takes nothing for now".into()),
                Err(NotClosed::Why(why)) => return Err(why),
            }
        }
    }
}

/// Takes a copy off the list however its task ends.
struct Leave<'a> {
    replicas: &'a Replicas,
    id: SegmentId,
}

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.replicas.repairs.0.lock().making.remove(&self.id);
        debug!(segment = %self.id, "a copy is under way no more");
    }
}

/// Why a copy was not sealed.
enum NotClosed {
    Busy,
    Why(String),
}

fn close(segment: &Arc<Segment>, end: Offset, table: Option<Bytes>) -> Result<(), NotClosed> {
    if let Some(table) = table {
        let flushed_with_the_seal: Done = Box::new(|_outcome| {});
        segment.write_state(table, flushed_with_the_seal).map_err(|why| match why {
            StateError::Busy => NotClosed::Busy,
            why => NotClosed::Why(why.to_string()),
        })?;
    }
    match segment.seal(end) {
        Ok(_extent) => Ok(()),
        Err(CutError::Busy) => Err(NotClosed::Busy),
        Err(why) => Err(NotClosed::Why(why.to_string())),
    }
}

/// Reads all of a sealed segment, each batch checked on the way, and holds it against the record.
/// Waits for the disk.
fn read_back(segment: &Segment, sealed: &Sealed) -> Result<Whole, String> {
    let (mut next, mut bytes, mut hash) = (segment.id().base, 0_u64, XxHash3_128::new());
    while next < sealed.end {
        let chunk =
            segment.read(next, sealed.end, CHUNK_BYTES_MAX).map_err(|why| why.to_string())?;
        if chunk.total == 0 {
            return Err(format!("it ends at {next}, not at {}", sealed.end));
        }
        for piece in &chunk.bytes {
            hash.write(piece);
        }
        bytes += u64::try_from(chunk.total).expect("a length fits");
        next = chunk.next;
    }
    let digest = Digest::from(hash.finish_128());
    if bytes != sealed.bytes {
        return Err(format!("it has {bytes} bytes where {} were sealed", sealed.bytes));
    }
    match sealed.digest {
        Some(known) if known != digest => Err(format!("its digest is {digest}, not {known}")),
        Some(_) | None => Ok(Whole { bytes, digest }),
    }
}

fn nodes(members: &[Member]) -> Vec<i32> {
    members.iter().map(|member| member.node.0).collect()
}

/// Holds a copy back to its rate.
struct Pace {
    bytes_per_second: u64,
    /// When what has passed so far takes its time until.
    due: Instant,
}

impl Pace {
    fn new(bytes_per_second: u64) -> Self {
        Self { bytes_per_second: bytes_per_second.max(1), due: Instant::now() }
    }

    /// So many bytes have passed: waits until the next may.
    async fn passed(&mut self, bytes: usize) {
        let bytes = u64::try_from(bytes).expect("a length fits");
        let takes = Duration::from_micros(bytes.saturating_mul(1_000_000) / self.bytes_per_second);
        self.due += takes;
        sleep_until(self.due).await;
    }
}
