//! Has copies of sealed segments made where they are missing, and lets members go whose copies are
//! not needed any more.
//!
//! ```text
//!  look: metadata ──> what is short ──> a backlog       who leaves ──> SetMembers
//!  next: the backlog ──> `walrus-replication` decides ──> a copy each
//!  make: order to the target, until it is whole ──> SetMembers, by compare-and-set
//! ```
//!
//! Nothing is remembered from one controller to the next: what is short stands in the metadata, and
//! a target that is asked again goes on where it was.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};
use walrus_metadata::{
    Assign, Assignment, Command, Digest, Metadata, NodeState, Reply, Sealed, SegmentKey, SetMembers,
};
use walrus_replication::{
    Member, UptimeMs,
    placement::{Nodes, Standing},
    repair::{CopyWanted, Limits, Repairs, Short, anybody_leaves, counts, regroup},
};
use walrus_types::SegmentId;

use super::{
    cluster::Cluster,
    nodes::{held, members, stored},
    state::ControllerState,
};
use crate::replica::messages::{RepairOrder, RepairReply};

/// How much is copied at the same time, and how fast: producers come first.
const LIMITS: Limits = Limits { at_once: 4, bytes_per_second: 64 << 20 };
/// Segments that one look finds. Others are found when those are copied.
const BACKLOG_MAX: usize = 4_096;
/// Changes of members that one command carries.
const SETS_MAX: usize = 1_000;
/// How often a cluster that does not change is looked at.
const IDLE_MS: u64 = 5_000;
/// How long a target may take to answer once. It answers after a while that a copy is under way.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// A target that did not answer so often in a row makes no copy.
const ANSWERS_MISSED_MAX: u32 = 3;
/// How long a copy may take beside what its length takes at the rate.
const COPY_MAX: Duration = Duration::from_secs(600);
/// A target that did not answer is asked again after this.
const ASK_AGAIN: Duration = Duration::from_millis(200);

/// What is missing, and what is under way against it.
#[derive(Debug)]
pub struct Repair {
    decider: Repairs,
    backlog: Vec<SegmentId>,
    /// The nodes as they were at the last look.
    nodes: Nodes,
    /// The metadata that was looked at last, and when.
    looked: Option<(u64, UptimeMs)>,
    /// Members are being let go.
    is_setting: bool,
}

impl Default for Repair {
    fn default() -> Self {
        Self {
            decider: Repairs::new(LIMITS),
            backlog: Vec::new(),
            nodes: Nodes::default(),
            looked: None,
            is_setting: false,
        }
    }
}

impl Repair {
    /// Whether there may be something new: metadata has changed, or time has passed.
    pub fn is_due(&self, metadata: &Metadata, now: UptimeMs) -> bool {
        let idle = |(applied, at)| applied == metadata.applied() && now.since(at) < IDLE_MS;
        !self.looked.is_some_and(idle)
    }

    /// Finds what is short of copies. Answers the members that can be let go, for one command.
    /// Looks at every segment.
    pub fn look(&mut self, metadata: &Metadata, nodes: Nodes, now: UptimeMs) -> Vec<SetMembers> {
        self.looked = Some((metadata.applied(), now));
        self.nodes = nodes;
        let nodes = &self.nodes;
        let is_copy = |member: walrus_metadata::Member| {
            counts(nodes, Member { node: member.node, storage: member.storage })
        };
        let short = metadata.short_of_copies(is_copy, BACKLOG_MAX);
        let sealed = short.into_iter().filter(|short| !short.is_open);
        self.backlog = sealed.map(|short| short.segment).collect();
        let is_assigned = metadata.partitions().any(|(_, chain)| chain.assignment().is_some());
        if self.is_setting || !(is_assigned || anybody_leaves(nodes)) {
            return Vec::new();
        }
        let sets = leave(metadata, nodes);
        self.is_setting = !sets.is_empty();
        sets
    }

    /// The assignments that are carried out, for one command; told again while they are there.
    pub fn arrived(metadata: &Metadata) -> Vec<Assign> {
        let done = metadata.partitions().filter_map(|(partition, chain)| {
            let expected = chain.assignment().map(|wish| Assignment::clone(wish))?;
            // Where all of its nodes left the cluster there is nothing to wait for.
            let outstanding = metadata.outstanding(chain)?;
            let is_over = outstanding.is_done() || outstanding.to.is_empty();
            is_over.then_some(Assign { partition, expected: Some(expected), assignment: None })
        });
        done.take(SETS_MAX).collect()
    }

    /// What [`Repair::look`] answered was proposed.
    pub fn is_set(&mut self) {
        self.is_setting = false;
        self.looked = None;
    }

    /// The copies to begin now.
    pub fn next(&mut self, metadata: &Metadata, now: UptimeMs) -> Vec<CopyWanted> {
        if self.backlog.is_empty() || !self.decider.has_room(&self.nodes, now) {
            return Vec::new();
        }
        let lists: Vec<Lists> =
            self.backlog.iter().filter_map(|id| Lists::of(metadata, *id)).collect();
        let short: Vec<Short<'_>> = lists.iter().map(Lists::short).collect();
        self.decider.plan(&self.nodes, &short, now)
    }

    /// A copy was made and metadata knows of it, or it was not made.
    pub fn ended(&mut self, segment: SegmentId, is_made: bool, now: UptimeMs) {
        self.decider.ended(segment, is_made, now);
    }
}

/// What metadata says of a segment that may be short.
struct Lists {
    segment: SegmentId,
    bytes: u64,
    members: Vec<Member>,
    beside: Vec<Member>,
    target: usize,
    is_internal: bool,
    assigned: Vec<Member>,
}

impl Lists {
    fn of(metadata: &Metadata, segment: SegmentId) -> Option<Self> {
        let topic = metadata.topic(segment.partition.topic)?;
        let chain = topic.partition(segment.partition.partition)?;
        let sealed = chain.sealed().get(&key(segment))?;
        Some(Self {
            segment,
            bytes: sealed.bytes,
            members: members(&sealed.members),
            beside: members(&chain.open().members),
            target: usize::from(topic.replicas_target),
            is_internal: topic.name.starts_with("__"),
            assigned: members(&metadata.assigned(chain)),
        })
    }

    fn short(&self) -> Short<'_> {
        Short {
            segment: self.segment,
            bytes: self.bytes,
            members: &self.members,
            beside: &self.beside,
            target: self.target,
            is_internal: self.is_internal,
            assigned: &self.assigned,
        }
    }
}

const fn key(segment: SegmentId) -> SegmentKey {
    SegmentKey { base: segment.base, epoch: segment.epoch }
}

/// The nodes as copies go by them: one that is fenced and was to be drained drains.
pub fn view<C: Cluster>(cluster: &C, state: &ControllerState, metadata: &Metadata) -> Nodes {
    let seen = state.nodes(metadata, &held(metadata), (cluster.uptime(), cluster.now()));
    let drains: BTreeSet<_> = metadata
        .nodes()
        .iter()
        .filter(|(_, node)| node.drains && node.state == NodeState::Fenced)
        .map(|(id, _)| *id)
        .collect();
    let of_copies = |node: &walrus_replication::placement::Node| {
        let mut node = node.clone();
        if drains.contains(&node.id) {
            node.standing = Standing::Draining;
        }
        node
    };
    seen.iter().map(of_copies).collect()
}

/// Members that are not needed any more. Looks at every segment.
fn leave(metadata: &Metadata, nodes: &Nodes) -> Vec<SetMembers> {
    let mut sets = Vec::new();
    for (partition, chain) in metadata.partitions() {
        let Some(topic) = metadata.topic(partition.topic) else { continue };
        let assigned = members(&metadata.assigned(chain));
        let wish = (usize::from(topic.replicas_target), &assigned[..]);
        for (key, sealed) in chain.sealed() {
            let of = SegmentId { partition, base: key.base, epoch: key.epoch };
            let set = set_members((of, sealed), nodes, None, wish, None);
            sets.extend(set);
            if sets.len() >= SETS_MAX {
                return sets;
            }
        }
    }
    sets
}

/// The change of a segment's members, if there is one.
fn set_members(
    (of, sealed): (SegmentId, &Sealed),
    nodes: &Nodes,
    with: Option<Member>,
    wish: (usize, &[Member]),
    digest: Option<Digest>,
) -> Option<SetMembers> {
    let now = regroup(nodes, &members(&sealed.members), with, wish);
    let now: Vec<walrus_metadata::Member> = now.into_iter().map(stored).collect();
    (*now != *sealed.members).then(|| SetMembers {
        partition: of.partition,
        segment: key(of),
        expected: sealed.members.to_vec(),
        members: now,
        digest,
    })
}

/// Lets members go.
pub async fn let_go<C: Cluster>(cluster: Arc<C>, sets: Vec<SetMembers>) {
    let asked = sets.len();
    match cluster.propose(Command::SetMembers(sets)).await {
        Ok(Reply::MembersSet(each)) => {
            let gone = each.iter().filter(|set| set.is_ok()).count();
            info!(segments = gone, "copies are not needed any more where they were");
            if let Some(Err(why)) = each.iter().find(|set| set.is_err()) {
                debug!(segments = asked - gone, %why, "members stay on for now");
            }
        }
        Ok(other) => warn!(?other, "members were set and answered with something else"),
        Err(why) => debug!(%why, "members stay on for now"),
    }
}

/// Says that partitions are where they were to be.
pub async fn note_arrived<C: Cluster>(cluster: Arc<C>, arrived: Vec<Assign>) {
    let partitions = arrived.len();
    match cluster.propose(Command::Assign(arrived)).await {
        Ok(Reply::Assigned(each)) => {
            if let Some(Err(why)) = each.iter().find(|one| one.is_err()) {
                debug!(%why, "a partition was assigned elsewhere meanwhile");
            }
            info!(partitions, "partitions are where they were assigned to");
        }
        Ok(other) => warn!(?other, "an assignment was ended and answered with something else"),
        Err(why) => debug!(%why, "assignments that are carried out are ended later"),
    }
}

/// Has a copy made and tells metadata of it. Answers whether both were done.
pub async fn make<C: Cluster>(
    cluster: Arc<C>,
    state: Arc<ControllerState>,
    wanted: CopyWanted,
) -> bool {
    let (segment, to) = (wanted.segment, wanted.to.node);
    let begun = cluster.uptime();
    let outcome = match copied(&*cluster, &wanted).await {
        Ok((_bytes, digest)) => add(&*cluster, &state, &wanted, digest).await,
        Err(why) => Err(why),
    };
    match &outcome {
        Ok(()) => info!(
            %segment, from = ?wanted.sources.first().map(|source| source.node.0), %to,
            bytes = wanted.bytes, took_ms = cluster.uptime().since(begun),
            "a sealed segment has one copy more"
        ),
        Err(why) => warn!(%segment, %to, why, "a copy of a sealed segment was not made"),
    }
    outcome.is_ok()
}

/// Asks the target until it has all of the segment.
async fn copied<C: Cluster>(cluster: &C, wanted: &CopyWanted) -> Result<(u64, Digest), String> {
    let order = RepairOrder {
        segment: wanted.segment,
        to_storage: wanted.to.storage,
        index: cluster.views().borrow().applied(),
        sources: wanted.sources.clone(),
        bytes_per_second: LIMITS.bytes_per_second,
    };
    let at_rate = Duration::from_secs(wanted.bytes / LIMITS.bytes_per_second);
    let asking = async {
        let mut missed = 0;
        loop {
            let asked = timeout(ANSWER_MAX, cluster.repair(wanted.to.node, order.clone())).await;
            match asked {
                Ok(Ok(RepairReply::Whole { bytes, digest })) => return Ok((bytes, digest)),
                Ok(Ok(RepairReply::UnderWay)) => missed = 0,
                Ok(Err(why)) => return Err(why),
                Err(_elapsed) => {
                    missed += 1;
                    if missed >= ANSWERS_MISSED_MAX {
                        return Err("no answer in time".into());
                    }
                }
            }
            sleep(ASK_AGAIN).await;
        }
    };
    let made = timeout(COPY_MAX + 4 * at_rate, asking).await;
    made.unwrap_or_else(|_elapsed| Err("it takes too long".into()))
}

/// Makes the target a member, by compare-and-set.
async fn add<C: Cluster>(
    cluster: &C,
    state: &ControllerState,
    wanted: &CopyWanted,
    digest: Digest,
) -> Result<(), String> {
    let metadata = Arc::clone(&cluster.views().borrow());
    let of = wanted.segment;
    let topic = metadata.topic(of.partition.topic).ok_or("its topic was deleted")?;
    let chain = topic.partition(of.partition.partition).ok_or("its partition is gone")?;
    let sealed = chain.sealed().get(&key(of)).ok_or("it was pruned meanwhile")?;
    let nodes = view(cluster, state, &metadata);
    let assigned = members(&metadata.assigned(chain));
    let (with, wish) = (Some(wanted.to), (usize::from(topic.replicas_target), &assigned[..]));
    let Some(set) = set_members((of, sealed), &nodes, with, wish, Some(digest)) else {
        return Ok(());
    };
    match cluster.propose(Command::SetMembers(vec![set])).await {
        Ok(Reply::MembersSet(each)) => match each.into_iter().next() {
            Some(set) => set.map_err(|why| why.to_string()),
            None => Err("there was no answer in the answer".into()),
        },
        Ok(other) => Err(format!("answered with something else: {other:?}")),
        Err(why) => Err(why.to_string()),
    }
}

#[cfg(test)]
mod tests;
