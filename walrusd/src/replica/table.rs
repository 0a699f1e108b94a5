//! The producers' table on its way from one segment to the next.
//!
//! Whoever stores a segment feeds its batches to the table and writes it beside the segment when
//! that is sealed and whole. A member that opens the successor before that has no table yet: it
//! stores all the same, and learns the table later. One that has no copy of the segment before
//! asks a node that has.

use std::{sync::Arc, time::Duration};

use tracing::{debug, warn};
use walrus_metadata::{Metadata, Partition as Chain, Sealed, SegmentKey};
use walrus_replication::{Member, ProducerTable};
use walrus_storage::segment::{ReadError, Segment};
use walrus_types::{Offset, SegmentId, TopicPartition};

use super::{
    Replicas,
    copy::peer_address,
    jobs::blocking,
    messages::{ProducersRequest, Wanted},
    segment::Replica,
};

/// Headers that are fed between two calls that let the table forget.
const FEED_STRIDE: u32 = 1_000;
/// Rounds in which a table catches up with a log that grows, before it is made to wait.
const FEED_ROUNDS: usize = 8;
/// The first wait before a table is looked for again; it doubles with each.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(20);
/// The longest wait before a table is looked for again.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(5);

impl Replicas {
    /// The producers' table at `base`, when this disk has all that it follows from: the sealed
    /// segment that ends there. `None` else. May wait for the disk.
    pub fn producers_at(&self, id: TopicPartition, base: Offset) -> Option<ProducerTable> {
        self.table_in_memory(id, base).or_else(|| {
            let chain = self.chain(id)?;
            self.table_on_disk(id, &chain, base)
        })
    }

    /// As [`Replicas::producers_at`]; when this disk does not have it, another member is asked.
    ///
    /// # Errors
    /// Why nobody has it, for people. It may be had a moment later.
    pub async fn fetch_producers(
        self: &Arc<Self>,
        id: TopicPartition,
        base: Offset,
    ) -> Result<ProducerTable, String> {
        let replicas = Arc::clone(self);
        if let Some(table) = blocking(move || replicas.producers_at(id, base)).await? {
            return Ok(table);
        }
        self.ask_for_table(id, base).await
    }

    /// The table for a segment that begins with nothing, if it can be had without the disk.
    pub(super) fn table_before(&self, id: SegmentId) -> Option<ProducerTable> {
        self.table_in_memory(id.partition, id.base).or_else(|| {
            let chain = self.chain(id.partition)?;
            is_first(&chain, id.base).then(|| ProducerTable::starting_at(id.base))
        })
    }

    fn table_in_memory(&self, id: TopicPartition, base: Offset) -> Option<ProducerTable> {
        let opened = self.opened_of(id);
        let kept = opened.iter().find_map(|replica| replica.producers_at(base));
        kept.or_else(|| self.handed.lock().get(&id).filter(|table| table.end() == base).cloned())
    }

    /// The newest table that was written at a seal, and what was sealed after it: as long as all
    /// of that is here.
    pub(super) fn table_on_disk(
        &self,
        id: TopicPartition,
        chain: &Chain,
        base: Offset,
    ) -> Option<ProducerTable> {
        let mut unread: Vec<(Arc<Segment>, Offset)> = Vec::new();
        let mut next = base;
        let mut table = loop {
            if is_first(chain, next) {
                break ProducerTable::starting_at(next);
            }
            let (key, sealed) = before(chain, next)?;
            let segment = SegmentId { partition: id, base: key.base, epoch: key.epoch };
            let segment = self.store.segment(segment);
            // Whether the file says that it is sealed does not matter: the end is decided, and what
            // is here below it is what was written.
            if !self.holds(sealed) || segment.end().ok()? < sealed.end {
                return None;
            }
            if let Some(table) = read_state(&segment, sealed.end) {
                break table;
            }
            next = key.base;
            unread.push((segment, sealed.end));
        };
        for (segment, end) in unread.iter().rev() {
            if let Err(why) = feed(&mut table, segment, (*end, *end)) {
                warn!(segment = %segment.id(), %why, "a producers' table cannot be made from it");
                return None;
            }
        }
        (table.end() == base).then_some(table)
    }

    /// The table at the end of a segment that is whole here and was never taught one.
    pub(super) async fn table_of_whole(
        self: &Arc<Self>,
        replica: &Arc<Replica>,
        end: Offset,
    ) -> Option<ProducerTable> {
        let (id, base) = (replica.partition(), replica.id().base);
        let (replicas, fed) = (Arc::clone(self), Arc::clone(replica));
        let turn = self.jobs.turn().await;
        let built = blocking(move || {
            let mut table = replicas.producers_at(id, base)?;
            feed(&mut table, fed.segment(), (end, end)).ok()?;
            (table.end() == end).then_some(table)
        });
        let built = built.await.ok().flatten();
        drop(turn);
        if built.is_some() {
            return built;
        }
        match self.ask_for_table(id, end).await {
            Ok(table) => Some(table),
            Err(why) => {
                // Who needs it asks those that have it.
                debug!(segment = %replica.id(), why, "sealed without a producers' table beside it");
                None
            }
        }
    }

    /// Starts the task that looks for the table that a segment lacks, if none does. Never waits.
    pub(super) fn start_learning(self: &Arc<Self>, replica: &Arc<Replica>) {
        if replica.begin_learning() {
            self.jobs.spawn(Arc::clone(self).learn(Arc::clone(replica)));
        }
    }

    async fn learn(self: Arc<Self>, replica: Arc<Replica>) {
        let (id, base) = (replica.partition(), replica.id().base);
        let mut pause = LOOK_AGAIN_MIN;
        while replica.lacks_producers() {
            // Its topic may have been deleted.
            self.settle(&replica);
            // One that is sealed gets its table when it is finished. What a restart found cannot
            // be told to be committed before the leader says so, and a table remembers all that
            // is not.
            let marks = replica.marks();
            if marks.sealed.is_some() {
                return;
            }
            if (marks.end == base || marks.readable > base)
                && let Ok(table) = self.look_for_table(id, base, pause > LOOK_AGAIN_MIN).await
            {
                let (taught, turn) = (Arc::clone(&replica), self.jobs.turn().await);
                let is_taught = blocking(move || teach(&taught, table)).await;
                drop(turn);
                match is_taught {
                    Ok(Ok(true)) => {
                        debug!(segment = %replica.id(), "the producers' table was learned");
                        return;
                    }
                    Ok(Ok(false)) => {}
                    Ok(Err(why)) => {
                        warn!(segment = %replica.id(), %why, "its headers cannot be read");
                    }
                    Err(why) => debug!(segment = %replica.id(), why, "its table is made later"),
                }
            }
            // An early end of the wait is one look more.
            drop(tokio::time::timeout(pause, replica.taught()).await);
            pause = (pause * 2).min(LOOK_AGAIN_MAX);
        }
    }

    async fn look_for_table(
        self: &Arc<Self>,
        id: TopicPartition,
        base: Offset,
        anywhere: bool,
    ) -> Result<ProducerTable, String> {
        if anywhere {
            return self.fetch_producers(id, base).await;
        }
        let (replicas, _turn) = (Arc::clone(self), self.jobs.turn().await);
        let found = blocking(move || replicas.producers_at(id, base)).await?;
        found.ok_or_else(|| "it is not here".into())
    }

    /// Asks those who hold the segment that ends at `end`.
    async fn ask_for_table(
        self: &Arc<Self>,
        id: TopicPartition,
        end: Offset,
    ) -> Result<ProducerTable, String> {
        let metadata = self.state();
        let chain = metadata.partition(id).ok_or("there is no such partition")?;
        let Some((key, sealed)) = before(chain, end) else {
            return Err(format!("no segment ends at {end}"));
        };
        let segment = SegmentId { partition: id, base: key.base, epoch: key.epoch };
        let mut failed = "nobody else holds it".to_owned();
        for holder in sealed.members.iter().filter(|holder| holder.node != self.me.node) {
            let member = Member { node: holder.node, storage: holder.storage };
            match self.ask_member_for_table(&metadata, segment, (member, end)).await {
                Ok(table) => return Ok(table),
                Err(why) => failed = format!("{}: {why}", holder.node),
            }
        }
        Err(failed)
    }

    /// Asks `holder` for the table at the end of `segment`, which is `end`.
    pub(super) async fn ask_member_for_table(
        &self,
        metadata: &Metadata,
        segment: SegmentId,
        (holder, end): (Member, Offset),
    ) -> Result<ProducerTable, String> {
        let at = peer_address(metadata, holder).ok_or("it is not in the cluster")?;
        let wanted = Wanted::Producers(ProducersRequest { segment, storage: holder.storage });
        let found = self.sources.read(at, wanted).await?;
        let table = ProducerTable::decode(&found).map_err(|why| why.to_string())?;
        if table.end() == end {
            Ok(table)
        } else {
            Err(format!("it has one as of {}", table.end()))
        }
    }
}

/// Whether nothing is kept of what was before `base`.
fn is_first(chain: &Chain, base: Offset) -> bool {
    let first = chain.sealed().first().map_or(chain.open().key, |(key, _)| *key);
    first.base == base
}

/// The sealed segment that ends at `end`.
fn before(chain: &Chain, end: Offset) -> Option<(SegmentKey, &Sealed)> {
    let (key, sealed) = chain.sealed().last_where(|key| key.base < end)?;
    (sealed.end == end).then_some((*key, sealed))
}

/// The table beside a sealed segment, if it is of its end.
fn read_state(segment: &Segment, end: Offset) -> Option<ProducerTable> {
    let state = segment.read_state().ok()??;
    match ProducerTable::decode(&state) {
        Ok(table) if table.end() == end => Some(table),
        Ok(_) => {
            warn!(segment = %segment.id(), "a state file is of another end");
            None
        }
        Err(why) => {
            warn!(segment = %segment.id(), %why, "a state file is unreadable");
            None
        }
    }
}

/// Feeds the batches of a segment up to `end`; those below `commit` can never be cut.
///
/// # Errors
/// The disk says no.
pub fn feed(
    table: &mut ProducerTable,
    segment: &Segment,
    (end, commit): (Offset, Offset),
) -> Result<(), ReadError> {
    let from = table.end();
    if end <= from {
        return Ok(());
    }
    let mut fed = 0_u32;
    segment.headers(from, end, &mut |header| {
        table.appended(header);
        fed += 1;
        if fed.is_multiple_of(FEED_STRIDE) {
            table.committed(header.end().min(commit));
        }
    })?;
    table.committed(table.end().min(commit));
    Ok(())
}

/// Feeds what a segment has to the table of its base, and gives it that. False when the log was
/// cut meanwhile: begin anew.
fn teach(replica: &Replica, mut table: ProducerTable) -> Result<bool, ReadError> {
    for _ in 0..FEED_ROUNDS {
        let marks = replica.marks();
        feed(&mut table, replica.segment(), (marks.end, marks.readable))?;
        match replica.learn(table) {
            Ok(()) => return Ok(true),
            Err(back) => table = back,
        }
    }
    // It grows faster than it is read. What is left is little, and in memory.
    let mut failed = None;
    let is_taught = replica.learn_with(table, |table, end| {
        failed = feed(table, replica.segment(), (end, table.end())).err();
    });
    failed.map_or(Ok(is_taught), Err)
}
