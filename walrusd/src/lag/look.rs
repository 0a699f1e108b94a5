//! One look at what groups have still to read: who leads the partitions is asked where they end,
//! who stores the segments where the next records lie, and the decider says what that comes to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use futures::{FutureExt as _, future::join_all};
use walrus_groups::Described;
use walrus_metadata::{Metadata, Partition as Chain, Segment as Link};
use walrus_replication::{
    backlog::{self, Backlog, Growth, Known, Outlook, Partition, Rate, Reader, Spot},
    retention,
};
use walrus_types::{NodeId, Offset, PartitionIndex, TimestampMs, TopicPartition};

use super::ask::{self, End, Where};
use crate::{
    broker::{Broker, TopicView},
    controller::monitor,
    groups,
    partition::read::segment_id,
};

/// How often a partition is asked for again whose leader and whose metadata here do not name the
/// same open segment.
const LOOKS_MAX: usize = 3;
/// Between two of these looks. Metadata is there long before.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A group, as its coordinator knows it.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) name: Arc<str>,
    pub(super) described: Described,
    pub(super) places: Places,
    /// So many partitions more it has, about, which a limit leaves out.
    pub(super) left_out: u64,
}

/// By topic and partition: what a group committed, and who of it reads the partition.
pub(super) type Places = BTreeMap<(String, i32), Place>;

/// A partition that a group reads.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) committed: Option<Committed>,
    pub(super) member: Option<String>,
}

/// What a group committed, without its client's words: those may be long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    pub(super) offset: Offset,
    pub(super) at: TimestampMs,
}

impl Place {
    fn offset(&self) -> Option<Offset> {
        self.committed.map(|committed| committed.offset)
    }
}

/// What was found out of a partition that groups read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) leader: NodeId,
    /// What becomes of its segments, with the marks of the log.
    pub(super) outlook: Known<Outlook>,
    pub(super) growth: Known<Growth>,
}

/// What was found out of a place.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) found: Known<Arc<Found>>,
    pub(super) reads: Known<Rate>,
    pub(super) backlog: Option<Backlog>,
}

/// Asks where partitions end and notes how fast they grow and groups read.
pub(super) async fn note(broker: &Arc<Broker>, groups: &[Group]) {
    let ids = partitions_of(&broker.metadata(), groups);
    let found = find(broker, &ids).await;
    drop(reads(broker, groups, &found));
}

/// Looks at all places of `groups`, in their order.
pub(super) async fn look(broker: &Arc<Broker>, groups: &[Group]) -> Vec<Vec<Seen>> {
    let ids = partitions_of(&broker.metadata(), groups);
    let found = find(broker, &ids).await;
    let reads = reads(broker, groups, &found);
    let spots = spots(broker, groups, &found).await;
    let (metadata, now) = (broker.metadata(), broker.clock.now());
    let look = Look { metadata, found, reads, spots, now };
    let places = |group: &Group| {
        group.places.iter().map(|(key, place)| look.see(group, key, place)).collect()
    };
    groups.iter().map(places).collect()
}

/// All that a look found out.
struct Look {
    metadata: Arc<Metadata>,
    found: HashMap<TopicPartition, Arc<Found>>,
    reads: HashMap<(Arc<str>, TopicPartition), Known<Rate>>,
    /// By the offset of the next record.
    spots: HashMap<(TopicPartition, Offset), Known<Spot>>,
    now: TimestampMs,
}

impl Look {
    fn see(&self, group: &Group, key: &(String, i32), place: &Place) -> Seen {
        let id = match id_of(&self.metadata, key) {
            Ok(id) => id,
            Err(why) => {
                return Seen { found: Err(Arc::clone(&why)), reads: Err(why), backlog: None };
            }
        };
        let found = self.found.get(&id).cloned().ok_or_else(|| "it was made just now".into());
        let reads = self.reads.get(&(Arc::clone(&group.name), id)).cloned();
        let reads = reads.unwrap_or_else(|| Err("the group has committed nothing".into()));
        let outlook = found.as_ref().ok().and_then(|found| found.outlook.as_ref().ok());
        let backlog = outlook.map(|outlook| {
            let spot = self.spots.get(&(id, next(place, outlook))).cloned();
            let spot = spot.unwrap_or_else(|| Err("nobody stores it that serves".into()));
            let reader = Reader { committed: place.offset(), spot, reads: reads.clone() };
            backlog::judge(outlook, &reader, self.now)
        });
        Seen { found, reads, backlog }
    }
}

fn next(place: &Place, outlook: &Outlook) -> Offset {
    backlog::next_of(place.offset(), outlook.log_start(), outlook.commit())
}

fn id_of(metadata: &Metadata, (topic, partition): &(String, i32)) -> Known<TopicPartition> {
    let topic = metadata.topic_named(topic).ok_or("there is no such topic")?;
    let partition = PartitionIndex(*partition);
    topic.partition(partition).ok_or("the topic has no such partition")?;
    Ok(TopicPartition { topic: topic.id, partition })
}

fn partitions_of(metadata: &Metadata, groups: &[Group]) -> BTreeSet<TopicPartition> {
    let places = groups.iter().flat_map(|group| group.places.keys());
    places.filter_map(|place| id_of(metadata, place).ok()).collect()
}

/// What is to be known of each partition, from its leader and from the metadata here.
async fn find(
    broker: &Arc<Broker>,
    ids: &BTreeSet<TopicPartition>,
) -> HashMap<TopicPartition, Arc<Found>> {
    let mut found = HashMap::with_capacity(ids.len());
    let mut left: Vec<TopicPartition> = ids.iter().copied().collect();
    for look in 1..=LOOKS_MAX {
        let metadata = broker.metadata();
        let mut by_leader: BTreeMap<NodeId, Vec<TopicPartition>> = BTreeMap::new();
        for id in std::mem::take(&mut left) {
            if let Some(chain) = metadata.partition(id) {
                by_leader.entry(chain.open().leader.node).or_default().push(id);
            }
        }
        let mut asking = Vec::with_capacity(by_leader.len());
        for (node, ids) in by_leader {
            let ends = ask::ends(broker, node, ids.clone());
            asking.push(ends.map(move |ends| (node, ends, ids)).boxed());
        }
        for (leader, ends, ids) in join_all(asking).await {
            for (id, end) in ids.into_iter().zip(ends) {
                let metadata = broker.metadata();
                match judge_end(broker, &metadata, id, end) {
                    // Between a roll and its news nobody has to wait long.
                    Err(Rolls) if look < LOOKS_MAX => left.push(id),
                    Err(Rolls) => {
                        let why = || Arc::<str>::from("the partition is being rolled over");
                        let (outlook, growth) = (Err(why()), Err(why()));
                        found.insert(id, Arc::new(Found { leader, outlook, growth }));
                    }
                    Ok((outlook, growth)) => {
                        found.insert(id, Arc::new(Found { leader, outlook, growth }));
                    }
                }
            }
        }
        if left.is_empty() {
            break;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    found
}

/// The leader speaks of another open segment than the metadata here.
struct Rolls;

fn judge_end(
    broker: &Broker,
    metadata: &Metadata,
    id: TopicPartition,
    end: Known<End>,
) -> Result<(Known<Outlook>, Known<Growth>), Rolls> {
    let end = match end {
        Ok(end) => end,
        Err(why) => return Ok((Err(Arc::clone(&why)), Err(why))),
    };
    let (Some(topic), Some(chain)) = (metadata.topic(id.topic), metadata.partition(id)) else {
        let gone = || Arc::<str>::from("the topic is gone");
        return Ok((Err(gone()), Err(gone())));
    };
    if chain.open().key.epoch != end.epoch || end.commit < chain.open().key.base {
        return Err(Rolls);
    }
    let now = broker.clock.uptime();
    let growth = broker.lags.paces().appended(id, &end, chain, now);
    let view = broker.view(topic);
    let outlook = outlook(broker, &view, chain, &end, growth.clone());
    Ok((Ok(outlook), growth))
}

fn outlook(
    broker: &Broker,
    topic: &TopicView,
    chain: &Chain,
    end: &End,
    growth: Known<Growth>,
) -> Outlook {
    let key = chain.open().key;
    // Its coordinators alone prune it.
    let is_pruned = *topic.topic.name != *groups::TOPIC;
    let partition = Partition {
        sealed: &monitor::sealed_of(chain),
        open: retention::Segment {
            epoch: key.epoch,
            base: key.base,
            end: end.commit,
            bytes: end.bytes,
            max_timestamp: end.max_timestamp,
            written_at: None,
        },
        open_age_ms: end.age_ms,
        log_start: end.log_start.max(chain.log_start()),
        keep: if is_pruned { monitor::keep(&topic.config) } else { retention::Keep::default() },
        roll: broker.leader_limits(&topic.config).roll,
        growth,
    };
    Outlook::of(&partition, broker.clock.now())
}

/// Notes how far each group is that has committed anything, and answers how fast it reads.
fn reads(
    broker: &Broker,
    groups: &[Group],
    found: &HashMap<TopicPartition, Arc<Found>>,
) -> HashMap<(Arc<str>, TopicPartition), Known<Rate>> {
    let (metadata, now) = (broker.metadata(), broker.clock.uptime());
    let mut paces = broker.lags.paces();
    let mut rates = HashMap::new();
    for group in groups {
        for (key, place) in &group.places {
            let (Ok(id), Some(at)) = (id_of(&metadata, key), place.offset()) else { continue };
            if found.get(&id).is_some_and(|found| found.outlook.is_ok()) {
                let rate = paces.read(&group.name, id, at, now);
                rates.insert((Arc::clone(&group.name), id), rate);
            }
        }
    }
    rates
}

/// Where the next records lie, of groups that have anything to read.
async fn spots(
    broker: &Arc<Broker>,
    groups: &[Group],
    found: &HashMap<TopicPartition, Arc<Found>>,
) -> HashMap<(TopicPartition, Offset), Known<Spot>> {
    let metadata = broker.metadata();
    let mut asked: BTreeMap<NodeId, BTreeMap<(TopicPartition, Offset), Where>> = BTreeMap::new();
    for (key, place) in groups.iter().flat_map(|group| &group.places) {
        let Ok(id) = id_of(&metadata, key) else { continue };
        let Some(outlook) = found.get(&id).and_then(|found| found.outlook.as_ref().ok()) else {
            continue;
        };
        let next = next(place, outlook);
        if next >= outlook.commit() {
            continue;
        }
        if let Some((node, at)) = whom(broker, &metadata, id, (next, outlook.commit())) {
            asked.entry(node).or_default().insert((id, next), at);
        }
    }
    let mut asking = Vec::with_capacity(asked.len());
    for (node, places) in asked {
        let (keys, at): (Vec<_>, Vec<_>) = places.into_iter().unzip();
        let spots = ask::spots(broker, node, at);
        asking.push(spots.map(move |spots| keys.into_iter().zip(spots)).boxed());
    }
    join_all(asking).await.into_iter().flatten().collect()
}

/// Who is asked where the batch of `next` lies: of the open segment its leader, of a sealed one this
/// node where it stores it, else its leader or another that serves.
fn whom(
    broker: &Broker,
    metadata: &Metadata,
    id: TopicPartition,
    (next, commit): (Offset, Offset),
) -> Option<(NodeId, Where)> {
    let chain = metadata.partition(id)?;
    let link = chain.segment_at(next)?;
    let end = link.end().unwrap_or(commit).min(commit);
    let at = Where { segment: segment_id(id, link), offset: next, end };
    let leader = chain.open().leader.node;
    let Link::Sealed(_, sealed) = link else { return Some((leader, at)) };
    let serves = |node: NodeId| metadata.node(node).is_some_and(|node| node.state.serves());
    let stores = |node: &NodeId| sealed.members.iter().any(|member| member.node == *node);
    let others = sealed.members.iter().map(|member| member.node).filter(|node| serves(*node));
    let node = [broker.identity.node, leader].into_iter().filter(stores).chain(others).next()?;
    Some((node, at))
}
