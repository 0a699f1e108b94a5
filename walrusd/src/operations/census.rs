//! One look at all segments: how many copies they have, and which node is needed for what.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use walrus_admin::{cluster::Segments, node::Holding};
use walrus_metadata::{Member, Metadata, Node, NodeState, Segment, SegmentKey, SetMembers, Topic};
use walrus_types::{NodeId, StorageId, TopicPartition};

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Census {
    /// How many copies there are.
    pub segments: Segments,
    /// By node. One that is not in here is not needed for anything.
    pub holdings: BTreeMap<NodeId, Holding>,
}

impl Census {
    /// What a node is needed for.
    pub fn holding(&self, node: NodeId) -> Holding {
        self.holdings.get(&node).copied().unwrap_or_default()
    }
}

/// The census of the version that was asked for last. Many ask, consoles every second, and only
/// another version comes to something else.
#[derive(Debug, Clone, Default)]
pub struct Latest(Arc<Mutex<Option<Counted>>>);

/// A version, and what it came to.
type Counted = (u64, Arc<Census>);

impl Latest {
    /// Counts, unless that was done. Whoever asks meanwhile waits: not for threads that serve
    /// clients.
    pub fn of(
        &self,
        metadata: &Metadata,
        min_insync: impl Fn(&Arc<Topic>) -> usize,
    ) -> Arc<Census> {
        let mut latest = self.0.lock();
        let known = latest.as_ref().filter(|(version, _)| *version == metadata.applied());
        if let Some((_, census)) = known {
            return Arc::clone(census);
        }
        let census = Arc::new(take(metadata, min_insync));
        *latest = Some((metadata.applied(), Arc::clone(&census)));
        census
    }
}

/// How a node stands, as far as copies go.
#[derive(Debug, Clone, Copy)]
struct Standing {
    storage: StorageId,
    serves: bool,
    active: bool,
}

/// How all nodes stand: many segments ask for the same few.
struct Standings {
    /// By node.
    of: Vec<(NodeId, Standing)>,
    active: usize,
}

impl Standings {
    fn take(metadata: &Metadata) -> Self {
        let standing = |(id, node): (&NodeId, &Arc<Node>)| {
            let (serves, active) = (node.state.serves(), node.state == NodeState::Active);
            (*id, Standing { storage: node.storage, serves, active })
        };
        let of: Vec<(NodeId, Standing)> = metadata.nodes().iter().map(standing).collect();
        let active = of.iter().filter(|(_, standing)| standing.active).count();
        Self { of, active }
    }

    fn of(&self, node: NodeId) -> Option<Standing> {
        let at = self.of.binary_search_by_key(&node, |(id, _)| *id).ok()?;
        Some(self.of[at].1)
    }

    /// A node on the disk that is meant.
    fn member(&self, member: Member) -> Option<Standing> {
        self.of(member.node).filter(|standing| standing.storage == member.storage)
    }

    fn serves(&self, member: Member) -> bool {
        self.member(member).is_some_and(|standing| standing.serves)
    }

    /// Whether a sealed segment would have fewer copies without `member` than there could be: on
    /// nodes that stay.
    fn is_needed(&self, members: &[Member], member: Member, target: usize) -> bool {
        let stays = |other: &&Member| {
            **other != member && self.member(**other).is_some_and(|standing| standing.active)
        };
        let itself = self.of(member.node).is_some_and(|standing| standing.active);
        let others = self.active - usize::from(itself);
        members.iter().filter(stays).count() < target.min(others).max(1)
    }
}

/// Counts. `min_insync` is what a topic's acks=all needs.
pub fn take(metadata: &Metadata, min_insync: impl Fn(&Arc<Topic>) -> usize) -> Census {
    let mut census = Census::default();
    let standings = Standings::take(metadata);
    census.segments.leaderless = u64::try_from(metadata.left_open().count()).unwrap_or(u64::MAX);
    for topic in metadata.topics() {
        let (target, least) = (usize::from(topic.replicas_target), min_insync(topic));
        for (_, chain) in topic.partitions() {
            census.segments.losses += u64::try_from(chain.losses().len()).unwrap_or(u64::MAX);
            for segment in chain.chain() {
                count(&mut census, &standings, segment, (target, least));
            }
        }
    }
    for (leader, leases) in metadata.leases() {
        census.holdings.entry(leader.node).or_default().leads += u64::from(leases);
    }
    census
}

fn count(
    census: &mut Census,
    standings: &Standings,
    segment: Segment<'_>,
    (target, min_insync): (usize, usize),
) {
    let (serves, active) = (|member: &Member| standings.serves(*member), standings.active);
    let members = segment.members();
    let live = members.iter().filter(|member| serves(member)).count();
    let is_open = matches!(segment, Segment::Open(_));
    for member in members {
        let holding = census.holdings.entry(member.node).or_default();
        if is_open {
            holding.open += 1;
        } else {
            holding.sealed += 1;
            holding.needed += u64::from(standings.is_needed(members, *member, target));
        }
        let others = live - usize::from(serves(member));
        holding.sole += u64::from(others == 0);
    }
    let all = &mut census.segments;
    all.total += 1;
    all.open += u64::from(is_open);
    all.below_min_insync += u64::from(is_open && live < min_insync);
    all.below_target += u64::from(live < target);
    all.repairable += u64::from(live < target.min(active));
    all.single += u64::from(live == 1 && target > 1);
    all.unreachable += u64::from(live == 0);
}

/// The bytes of the sealed segments that have to be copied before `id` can go.
pub fn needed_bytes(metadata: &Metadata, id: NodeId) -> u64 {
    let standings = Standings::take(metadata);
    let mut bytes = 0_u64;
    for (partition, chain) in metadata.partitions() {
        let target = metadata.topic(partition.topic).map_or(0, |topic| topic.replicas_target);
        for (_, sealed) in chain.sealed() {
            let own = sealed.members.iter().find(|member| member.node == id);
            if own.is_some_and(|own| standings.is_needed(&sealed.members, *own, target.into())) {
                bytes = bytes.saturating_add(sealed.bytes);
            }
        }
    }
    bytes
}

/// Takes a node off the sealed segments that do not need it, so many at most.
pub fn spare(metadata: &Metadata, id: NodeId, limit: usize) -> Vec<SetMembers> {
    let standings = Standings::take(metadata);
    let mut sets = Vec::new();
    for (partition, chain) in metadata.partitions() {
        let target = metadata.topic(partition.topic).map_or(0, |topic| topic.replicas_target);
        for (key, sealed) in chain.sealed() {
            let Some(own) = sealed.members.iter().find(|member| member.node == id) else {
                continue;
            };
            if !standings.is_needed(&sealed.members, *own, target.into()) {
                sets.push(struck_off(partition, *key, &sealed.members, *own));
            }
            if sets.len() >= limit {
                return sets;
            }
        }
    }
    sets
}

fn struck_off(
    partition: TopicPartition,
    segment: SegmentKey,
    members: &[Member],
    own: Member,
) -> SetMembers {
    SetMembers {
        partition,
        segment,
        expected: members.to_vec(),
        members: members.iter().copied().filter(|member| *member != own).collect(),
        digest: None,
    }
}
