//! Makes a partition ready to be led: what the store has of it, what its producers did, and a
//! segment of this life to write to.
//!
//! A segment is written by one node in one incarnation (I1), so the open segment of an earlier
//! life is sealed at what is durable of it, and the partition goes on in a new one. That is one
//! roll, made when somebody first asks for the partition; many travel as one command.

use std::sync::Arc;

use tracing::{debug, warn};
use walrus_metadata::{Coverage, Reason, Roll, SealedAt};
use walrus_replication::{Member, PartitionLeader, ProducerTable};
use walrus_storage::{
    segment::{Extent, ReadError, Segment},
    store::Store,
};
use walrus_types::{Offset, SegmentId, TopicPartition};

use super::{Partition, read::segment_id, registry::Unavailable, roll};
use crate::broker::{Broker, TopicView};

/// Headers fed to the producers' table between two calls that let it forget.
const FEED_STRIDE: u32 = 1_000;

/// What a store has of a partition whose open segment is of an earlier life.
struct Recovered {
    sealed: SealedAt,
    producers: ProducerTable,
    segment: Arc<Segment>,
}

/// Loads a partition that this node leads.
///
/// # Errors
/// [`Unavailable`]: it is not led here, or the store cannot read it.
pub async fn load(
    broker: &Arc<Broker>,
    topic: &TopicView,
    id: TopicPartition,
) -> Result<Arc<Partition>, Unavailable> {
    let chain = Arc::clone(topic.topic.partition(id.partition).ok_or(Unavailable::Unknown)?);
    if chain.open().leader.node != broker.identity.node {
        return Err(Unavailable::NotLeader);
    }
    let store = broker.store.clone();
    let read = Arc::clone(&chain);
    let recovered = tokio::task::spawn_blocking(move || recover(&store, &read, id))
        .await
        .map_err(|stopped| Unavailable::Loading(stopped.to_string().into()))?
        .map_err(|why| {
            warn!(partition = %id, %why, "a partition cannot be opened");
            Unavailable::Loading(why.to_string().into())
        })?;
    let Recovered { sealed, producers, segment } = recovered;

    let old = chain.open();
    let same_life = old.leader.incarnation == broker.identity.incarnation;
    let (open, segment) = if same_life && sealed.end == old.key.base {
        (old.clone(), segment)
    } else {
        let open = restart(broker, id, &chain, sealed).await?;
        if sealed.end > old.key.base {
            let (state, end) = (producers.encode(), sealed.end);
            tokio::task::spawn_blocking(move || roll::seal_files(&segment, state, end));
        }
        let next = SegmentId { partition: id, base: open.key.base, epoch: open.key.epoch };
        let segment = broker.store.segment(next);
        (open, segment)
    };
    let me = Member { node: broker.identity.node, storage: broker.identity.storage };
    let leader = PartitionLeader::open(
        me,
        &roll::open_segment(&open),
        chain.log_start(),
        producers,
        broker.leader_limits(&topic.config),
        broker.clock.uptime(),
    );
    Ok(Partition::new((id, me), leader, segment, broker.rolls.clone()))
}

/// Seals the open segment of an earlier life where its durable bytes end.
async fn restart(
    broker: &Broker,
    id: TopicPartition,
    chain: &walrus_metadata::Partition,
    sealed: SealedAt,
) -> Result<walrus_metadata::Open, Unavailable> {
    let expected = chain.open().key.epoch;
    let roll = Roll {
        partition: id,
        expected,
        sealed,
        coverage: Coverage::Quorum,
        next: broker.placement(id.topic),
        reason: Reason::Restart,
        at: broker.clock.now(),
    };
    let Some(decided) = broker.rolls.restart(roll).await else {
        return Err(Unavailable::Loading("the node is stopping".into()));
    };
    let metadata = broker.raft.state();
    let after = metadata
        .topic(id.topic)
        .and_then(|topic| topic.partition(id.partition))
        .ok_or(Unavailable::Unknown)?
        .open()
        .clone();
    let mine = after.leader.node == broker.identity.node
        && after.leader.incarnation == broker.identity.incarnation;
    if after.key.epoch > expected && mine {
        debug!(partition = %id, end = %sealed.end, epoch = %after.key.epoch, "goes on in a new segment");
        return Ok(after);
    }
    let why = match decided {
        Ok(_rolled) => "another node leads what follows it".to_owned(),
        Err(refusal) => refusal.to_string(),
    };
    Err(Unavailable::Loading(format!("its open segment could not be sealed: {why}").into()))
}

/// Reads what a restart needs to know. May wait for the disk.
fn recover(
    store: &Store,
    chain: &walrus_metadata::Partition,
    id: TopicPartition,
) -> Result<Recovered, ReadError> {
    let open = chain.open();
    let open_id = SegmentId { partition: id, base: open.key.base, epoch: open.key.epoch };
    let segment = store.segment(open_id);
    let Extent { end, bytes, max_timestamp, sealed: _, digest: _ } = segment.load()?;
    let mut producers = producers_before(store, chain, id)?;
    feed(&mut producers, &segment, end)?;
    let sealed = SealedAt { end, bytes, max_timestamp };
    Ok(Recovered { sealed, producers, segment })
}

/// The producers' table at the base of the open segment: the newest state that was written at a
/// seal, and what was sealed after it.
fn producers_before(
    store: &Store,
    chain: &walrus_metadata::Partition,
    id: TopicPartition,
) -> Result<ProducerTable, ReadError> {
    let links: Vec<_> = chain.chain().collect();
    let sealed = &links[..links.len() - 1];
    let mut unread = Vec::new();
    let mut table = None;
    for link in sealed.iter().rev() {
        let segment = store.segment(segment_id(id, *link));
        if let Some(end) = link.end()
            && !segment.is_sealed()?
        {
            // A crash came between the seal in the metadata and the one on disk.
            if let Err(why) = segment.seal(end) {
                warn!(segment = %segment.id(), %why, "a segment cannot be sealed on disk");
            }
        }
        if let Some(state) = segment.read_state()? {
            match ProducerTable::decode(&state) {
                Ok(decoded) if Some(decoded.end()) == link.end() => {
                    table = Some(decoded);
                    break;
                }
                Ok(_) => warn!(segment = %segment_id(id, *link), "a state file is of another end"),
                Err(why) => {
                    warn!(segment = %segment_id(id, *link), %why, "a state file is unreadable");
                }
            }
        }
        unread.push((segment, link.end().unwrap_or(Offset::ZERO)));
    }
    let base = links[0].key().base;
    let mut table = table.unwrap_or_else(|| ProducerTable::starting_at(base));
    for (segment, end) in unread.into_iter().rev() {
        feed(&mut table, &segment, end)?;
    }
    Ok(table)
}

/// Feeds a segment's batches to the table.
fn feed(table: &mut ProducerTable, segment: &Segment, end: Offset) -> Result<(), ReadError> {
    let from = table.end();
    if end <= from {
        return Ok(());
    }
    let mut fed = 0_u32;
    segment.headers(from, end, &mut |header| {
        table.appended(header);
        fed += 1;
        if fed.is_multiple_of(FEED_STRIDE) {
            table.committed(header.end());
        }
    })?;
    table.committed(table.end());
    Ok(())
}
