//! Makes a partition ready to be led: what the store has of it, what its producers did, and a
//! segment of this life to write to.
//!
//! A segment is written by one node in one incarnation (I1), so the open segment of an earlier
//! life is sealed at what is durable of it, and the partition goes on in a new one. That is one
//! roll, made when somebody first asks for the partition; many travel as one command.

use std::sync::Arc;

use tracing::{debug, error, warn};
use walrus_metadata::{Coverage, Reason, Roll, SealedAt};
use walrus_replication::{Member, PartitionLeader, ProducerTable, placement::Occasion};
use walrus_storage::{
    segment::{Extent, ReadError, Segment},
    store::Store,
};
use walrus_types::TopicPartition;

use super::{
    Partition,
    read::{segment_id, segment_of},
    registry::Unavailable,
    roll,
};
use crate::{
    broker::{Broker, TopicView},
    replica::table::feed,
};

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
    // As it is now and not as it was when the request looked at its topic: this node may have led
    // the partition since, and rolled it away. Nobody writes a segment twice (I1).
    let metadata = broker.raft.state();
    let chain = Arc::clone(metadata.partition(id).ok_or(Unavailable::Unknown)?);
    let open = chain.open();
    if open.leader.node != broker.identity.node {
        return Err(Unavailable::NotLeader);
    }
    let same_life = open.leader == broker.leader();
    if !same_life && open.members.len() > 1 {
        // The other members have to be asked: the controller does that.
        return Err(Unavailable::Sealing);
    }
    let (open, producers, segment) = if same_life {
        let table = broker.replicas.fetch_producers(id, open.key.base).await;
        let table = table.map_err(|why| {
            debug!(partition = %id, why, "the producers' table is not to be had yet");
            Unavailable::Sealing
        })?;
        let segment = broker.store.segment(segment_of(id, open.key));
        let found = Arc::clone(&segment);
        let end = tokio::task::spawn_blocking(move || found.end()).await;
        if !matches!(end, Ok(Ok(end)) if end == open.key.base) {
            error!(partition = %id, ?end, base = %open.key.base,
                "this life of the node has written its open segment already: it is not led again");
            return Err(Unavailable::Loading("its open segment was written before".into()));
        }
        (open.clone(), table, segment)
    } else {
        restarted(broker, id, &chain).await?
    };
    let me = Member { node: broker.identity.node, storage: broker.identity.storage };
    let record = roll::open_segment(&open);
    let mut leader = PartitionLeader::open(
        me,
        &record,
        chain.log_start(),
        producers,
        broker.leader_limits(&topic.config),
        broker.clock.uptime(),
    );
    for member in &record.members {
        let serves = metadata.node(member.node).is_some_and(|node| node.state.serves());
        leader.set_live(*member, serves);
    }
    let leading = Arc::clone(broker.leading());
    Ok(Partition::new((id, me), leader, (&record, segment), leading))
}

/// Goes on where an earlier life of this node, which alone stores the open segment, had stopped.
async fn restarted(
    broker: &Arc<Broker>,
    id: TopicPartition,
    chain: &Arc<walrus_metadata::Partition>,
) -> Result<(walrus_metadata::Open, ProducerTable, Arc<Segment>), Unavailable> {
    let (store, sealed) = (broker.store.clone(), Arc::clone(chain));
    // Nobody waits for it: what was sealed is read by its end in the metadata.
    tokio::task::spawn_blocking(move || seal_on_disk(&store, &sealed, id));
    let before = broker.replicas.fetch_producers(id, chain.open().key.base).await;
    let producers = before.map_err(|why| {
        let why = format!("the producers' table of what was sealed is not to be had: {why}");
        warn!(partition = %id, why, "a partition cannot be opened");
        Unavailable::Loading(why.into())
    })?;
    let segment = broker.store.segment(segment_of(id, chain.open().key));
    let recovered = tokio::task::spawn_blocking(move || recover(segment, producers))
        .await
        .map_err(|stopped| Unavailable::Loading(stopped.to_string().into()))?
        .map_err(|why| {
            warn!(partition = %id, %why, "a partition cannot be opened");
            Unavailable::Loading(why.to_string().into())
        })?;
    let Recovered { sealed, producers, segment } = recovered;
    let open = restart(broker, id, chain, sealed).await?;
    if sealed.end > chain.open().key.base {
        let (state, end) = (producers.encode(), sealed.end);
        tokio::task::spawn_blocking(move || roll::seal_files(&segment, state, end));
    }
    let segment = broker.store.segment(segment_of(id, open.key));
    Ok((open, producers, segment))
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
        next: broker
            .place_next(id, Occasion::Forced)
            .map_err(|why| Unavailable::Loading(why.to_string().into()))?,
        reason: Reason::Restart,
        at: broker.clock.now(),
    };
    let Some(decided) = broker.leading().rolls.restart(roll).await else {
        return Err(Unavailable::Loading("the node is stopping".into()));
    };
    let metadata = broker.raft.state();
    let after = metadata
        .topic(id.topic)
        .and_then(|topic| topic.partition(id.partition))
        .ok_or(Unavailable::Unknown)?
        .open()
        .clone();
    if after.key.epoch > expected && after.leader == broker.leader() {
        debug!(partition = %id, end = %sealed.end, epoch = %after.key.epoch, "goes on in a new segment");
        return Ok(after);
    }
    let why = match decided {
        Ok(_rolled) => "another node leads what follows it".to_owned(),
        Err(refusal) => refusal.to_string(),
    };
    Err(Unavailable::Loading(format!("its open segment could not be sealed: {why}").into()))
}

/// Reads what a restart needs to know: how far the open segment of an earlier life goes, and what
/// its producers did. May wait for the disk.
fn recover(segment: Arc<Segment>, mut producers: ProducerTable) -> Result<Recovered, ReadError> {
    let Extent { end, bytes, max_timestamp, sealed: _, digest: _ } = segment.load()?;
    feed(&mut producers, &segment, (end, end))?;
    Ok(Recovered { sealed: SealedAt { end, bytes, max_timestamp }, producers, segment })
}

/// Seals on disk what a crash left sealed in the metadata alone: the newest segments, up to the
/// first that is.
fn seal_on_disk(store: &Store, chain: &walrus_metadata::Partition, id: TopicPartition) {
    let links: Vec<_> = chain.chain().collect();
    for link in links.iter().rev() {
        let Some(end) = link.end() else { continue };
        let segment = store.segment(segment_id(id, *link));
        let sealed = match segment.is_sealed() {
            Ok(true) => return,
            Ok(false) => segment.seal(end).map_err(|why| why.to_string()),
            Err(why) => Err(why.to_string()),
        };
        if let Err(why) = sealed {
            warn!(segment = %segment.id(), why, "a segment cannot be sealed on disk");
        }
    }
}
