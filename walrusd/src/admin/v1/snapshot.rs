//! The whole cluster at one moment, for consoles.

use std::sync::Arc;

use axum::{extract::State as Extract, http::Uri};
use walrus_admin::{
    cluster::Group,
    operation::{Operation, OperationState},
    snapshot::{
        Keeps, NodeEntry, NodeVitals, OPERATIONS_MAX, PartitionEntry, Snapshot, TopicEntry, Vitals,
        VitalsList,
    },
};
use walrus_metadata::{Metadata, Partition, Topic};
use walrus_replication::retention;
use walrus_types::{PartitionIndex, TimestampMs, UptimeMs};

use super::{
    answer::{Answer, Live, Told, parameter, parameters},
    changes::{self, Changed},
    nodes, raft,
};
use crate::{
    admin::routes::Sources,
    broker::Broker,
    controller::monitor,
    groups,
    operations::{census::Census, census_of, node_change::Facts, refusal::broken_off, shown},
    vitals,
};

pub(super) async fn vitals(Live(broker): Live, uri: Uri) -> Answer<Vitals> {
    parameters(&uri, &[])?;
    let look = tokio::task::spawn_blocking(move || vitals::of_self(&broker)).await;
    Ok(Told(look.map_err(|why| broken_off(&why))?))
}

pub(super) async fn snapshot(
    Extract(sources): Extract<Sources>,
    Live(broker): Live,
    uri: Uri,
) -> Answer<Snapshot> {
    let given = parameters(&uri, &["since"])?;
    let known: Option<u64> = parameter(&given, "since")?;
    vitals::gather(&broker).await;
    let look = tokio::task::spawn_blocking(move || {
        let look = Look::take(&sources, &broker, broker.metadata());
        let known = known.and_then(|version| look.known(&broker, version));
        broker.events.views.told(&look.metadata);
        look.snapshot(&broker, known.as_ref())
    });
    Ok(Told(look.await.map_err(|why| broken_off(&why))?))
}

/// A version of the metadata, with what there is to say beside it at that moment.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) metadata: Arc<Metadata>,
    /// By the node's uptime.
    pub(super) at: UptimeMs,
    pub(super) group: Group,
    at_ms: TimestampMs,
    nodes: Vec<NodeEntry>,
    census: Arc<Census>,
}

/// A version that somebody has, and the newest one that is remembered and not newer: what changed
/// since the one changed since the other.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) version: u64,
    view: Arc<Metadata>,
}

impl Look {
    /// Counts segments and asks the file system: not on a thread that serves clients.
    pub(super) fn take(sources: &Sources, broker: &Arc<Broker>, metadata: Arc<Metadata>) -> Self {
        let group = raft::group(broker);
        let census = census_of(broker, &metadata);
        let now = broker.clock.uptime();
        let entry = |node: walrus_admin::node::Node| {
            if node.node == broker.identity.node {
                let vitals = Some(vitals::of_self(broker));
                return NodeEntry { node, vitals, vitals_age_ms: Some(0), silent: None };
            }
            let heard = broker.vitals.of(node.node);
            let age = heard.said.as_ref().map(|(_, at)| now.since(*at));
            let vitals = heard.said.map(|(said, _)| Vitals::clone(&said));
            NodeEntry { node, vitals, vitals_age_ms: age, silent: heard.silent }
        };
        let nodes = nodes::all(sources, broker, &metadata, &census).into_iter().map(entry);
        Self {
            at: now,
            at_ms: broker.clock.now(),
            group: Group {
                leader: group.leader,
                term: group.term,
                voters: group.voters,
                quorum: group.quorum,
            },
            nodes: nodes.collect(),
            census,
            metadata,
        }
    }

    pub(super) fn version(&self) -> u64 {
        self.metadata.applied()
    }

    /// Whether something is carried out: how far it is changes without another version.
    pub(super) fn has_operations(&self) -> bool {
        self.metadata.operations().iter().any(|(_, known)| known.is_running())
    }

    /// What somebody knows who has that version; nothing where it is not remembered well enough.
    pub(super) fn known(&self, broker: &Broker, version: u64) -> Option<Known> {
        let view = broker.events.views.not_after(version, &self.metadata)?;
        Some(Known { version, view })
    }

    /// All of it, or what changed since a version that is known.
    pub(super) fn snapshot(&self, broker: &Broker, known: Option<&Known>) -> Snapshot {
        let metadata = &self.metadata;
        let changed = known.and_then(|known| changes::since(metadata, &known.view));
        let keeps = |topic: &Arc<Topic>| monitor::keep(&broker.view(topic).config);
        let topics = topics(metadata, changed.as_ref(), keeps);
        let has_news = changed.as_ref().is_none_or(|changed| changed.operations);
        let operations = operations(broker, metadata, &self.census, has_news);
        Snapshot {
            since: known.filter(|_| changed.is_some()).map(|known| known.version),
            gone: changed.map_or_else(Vec::new, |changed| changed.gone.into_iter().collect()),
            cluster: broker.identity.cluster.to_string(),
            answered_by: broker.identity.node,
            metadata_version: metadata.applied(),
            at_ms: self.at_ms,
            group: self.group.clone(),
            nodes: self.nodes.clone(),
            topics,
            operations,
        }
    }

    /// What nodes say of themselves.
    pub(super) fn vitals(&self, broker: &Broker) -> VitalsList {
        let of = |entry: &NodeEntry| NodeVitals {
            node: entry.node.node,
            vitals: entry.vitals.clone(),
            vitals_age_ms: entry.vitals_age_ms,
            silent: entry.silent.clone(),
        };
        VitalsList {
            answered_by: broker.identity.node,
            metadata_version: self.metadata.applied(),
            at_ms: self.at_ms,
            items: self.nodes.iter().map(of).collect(),
        }
    }
}

/// What runs, and what ended last; nothing where whoever asks knows it and nothing runs.
fn operations(
    broker: &Broker,
    metadata: &Metadata,
    census: &Census,
    has_news: bool,
) -> Option<Vec<Operation>> {
    let runs = metadata.operations().iter().any(|(_, known)| known.is_running());
    if !has_news && !runs {
        return None;
    }
    let group = broker.raft.group();
    let (members, leader) = (group.members(), group.leader());
    let facts = Facts { metadata, census, members: &members, leader };
    let mut told = shown::all(facts, broker.clock.now());
    let mut ended = 0;
    told.retain(|one| {
        ended += usize::from(one.state != OperationState::Running);
        one.state == OperationState::Running || ended <= OPERATIONS_MAX
    });
    Some(told)
}

/// All topics or those that changed, by name. `keeps` is what the settings of one keep.
fn topics(
    metadata: &Metadata,
    changed: Option<&Changed>,
    keeps: impl Fn(&Arc<Topic>) -> retention::Keep,
) -> Vec<Arc<TopicEntry>> {
    let keep = |topic: &Arc<Topic>| {
        // What groups need is known by their coordinators alone: retention takes nothing of it.
        let is_kept = *topic.name == *groups::TOPIC;
        if is_kept { retention::Keep::default() } else { keeps(topic) }
    };
    let mut topics: Vec<Arc<TopicEntry>> = match changed {
        None => metadata
            .topics()
            .map(|topic| topic_of(metadata, topic, topic.partitions().iter(), keep(topic)))
            .collect(),
        Some(changed) => changed
            .topics
            .iter()
            .filter_map(|(id, partitions)| {
                let topic = metadata.topic(*id)?;
                let changed = partitions
                    .iter()
                    .filter_map(|index| topic.partitions().get(index).map(|chain| (index, chain)));
                Some(topic_of(metadata, topic, changed, keep(topic)))
            })
            .collect(),
    };
    topics.sort_by(|one, other| one.topic.cmp(&other.topic));
    topics
}

fn topic_of<'a>(
    metadata: &Metadata,
    topic: &Topic,
    partitions: impl Iterator<Item = (&'a PartitionIndex, &'a Arc<Partition>)>,
    keep: retention::Keep,
) -> Arc<TopicEntry> {
    let partition = |(index, chain): (&PartitionIndex, &Arc<Partition>)| {
        let open = chain.open();
        PartitionEntry {
            partition: *index,
            epoch: open.key.epoch,
            base: open.key.base,
            leader: open.leader.node,
            leader_serves: metadata.may_lead(open.leader),
            members: open.members.iter().map(|member| member.node).collect(),
            write_quorum: open.w,
            log_start: chain.log_start(),
            segments: u64::try_from(chain.segments()).unwrap_or(u64::MAX),
            sealed_bytes: chain.sealed().iter().map(|(_, sealed)| sealed.bytes).sum(),
            oldest_ms: chain
                .sealed()
                .first()
                .map(|(_, sealed)| sealed.max_timestamp)
                .filter(|newest| *newest != TimestampMs::NONE),
            reason: open.reason.to_string(),
        }
    };
    Arc::new(TopicEntry {
        topic: topic.name.to_string(),
        replicas_target: topic.replicas_target,
        keeps: Some(Keeps {
            ms: keep.ms,
            bytes: keep.bytes,
            segments: keep.generations.map(|segments| u64::try_from(segments).unwrap_or(u64::MAX)),
        }),
        partitions: partitions.map(partition).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, time::Instant};

    use uuid::Uuid;
    use walrus_metadata::{
        Address, Addresses, Command, Coverage, Fence, Leader, Member, NewTopic, Placement, Reason,
        Register, Roll, SealedAt,
    };
    use walrus_types::{
        ClusterId, Incarnation, NodeId, Offset, StorageId, TopicId, TopicPartition,
    };

    use super::*;
    use crate::operations::census::Latest;

    fn uuid(of: i32) -> Uuid {
        Uuid::from_u128(u128::try_from(of).unwrap())
    }

    fn placement() -> Placement {
        let member = |node| Member { node: NodeId(node), storage: StorageId(uuid(node)) };
        let leader = Leader { node: NodeId(1), incarnation: Incarnation(1) };
        Placement { leader, members: (1..=3).map(member).collect(), w: 2 }
    }

    fn apply(metadata: &mut Metadata, command: &Command) {
        drop(metadata.apply(metadata.applied() + 1, command));
    }

    fn create(id: i32, name: &str, partitions: i32) -> Command {
        Command::CreateTopics(vec![NewTopic {
            id: TopicId(uuid(id)),
            name: name.to_owned(),
            replicas_target: 3,
            partitions: (0..partitions).map(|_| placement()).collect(),
            configs: vec![],
            at: TimestampMs(0),
        }])
    }

    fn roll(metadata: &Metadata, topic: i32, partitions: std::ops::Range<i32>) -> Command {
        let roll = |partition| {
            let topic = TopicId(uuid(topic));
            let id = TopicPartition { topic, partition: PartitionIndex(partition) };
            let open = metadata.partition(id).unwrap().open().key;
            let end = Offset(open.base.0 + 5);
            Roll {
                partition: id,
                expected: open.epoch,
                sealed: SealedAt { end, bytes: 500, max_timestamp: TimestampMs(7) },
                coverage: Coverage::Quorum,
                next: placement(),
                reason: Reason::Operator,
                at: TimestampMs(0),
            }
        };
        Command::Roll(partitions.map(roll).collect())
    }

    /// A cluster of three nodes with so many topics, each of so many partitions of so many sealed
    /// segments.
    fn cluster(topics: i32, partitions: i32, sealed: i32) -> Metadata {
        let mut metadata = Metadata::default();
        for node in 1..=3 {
            let door = |port| Address { host: "h".into(), port };
            apply(
                &mut metadata,
                &Command::Register(Register {
                    node: NodeId(node),
                    storage: StorageId(uuid(node)),
                    incarnation: Incarnation(1),
                    cluster: ClusterId(uuid(99)),
                    rack: None,
                    addresses: Addresses {
                        client: door(9091),
                        peer: door(6001),
                        admin: door(7071),
                    },
                    at: TimestampMs(0),
                }),
            );
        }
        for topic in 1..=topics {
            apply(&mut metadata, &create(topic, &format!("topic-{topic}"), partitions));
            for _ in 0..sealed {
                let rolls = roll(&metadata, topic, 0..partitions);
                apply(&mut metadata, &rolls);
            }
        }
        metadata
    }

    #[test]
    fn all_partitions_are_told_by_name_with_what_is_sealed() {
        let metadata = cluster(100, 100, 10);
        let began = Instant::now();
        let census = Latest::default();
        let census = census.of(&metadata, |_| 2);
        let counted = began.elapsed();
        let topics = topics(&metadata, None, |_| retention::Keep::default());
        let listed = began.elapsed();
        let bytes = serde_json::to_vec(&topics).unwrap().len();
        println!(
            "counted {counted:?}, listed {listed:?}, written {:?}: {bytes} bytes",
            began.elapsed()
        );

        assert!(topics.is_sorted_by_key(|topic| topic.topic.clone()));
        let partitions: Vec<_> = topics.iter().flat_map(|topic| &topic.partitions).collect();
        assert_eq!(partitions.len(), 10_000);
        let all = |one: &&PartitionEntry| {
            (one.segments, one.sealed_bytes, one.oldest_ms) == (11, 5_000, Some(TimestampMs(7)))
        };
        assert!(partitions.iter().all(all));
        assert_eq!((census.segments.total, census.segments.below_target), (110_000, 0));
        assert_eq!(census.holding(NodeId(2)).sealed, 100_000);
    }

    fn whole(
        metadata: &Metadata,
        changed: Option<&Changed>,
        since: Option<u64>,
        gone: BTreeSet<String>,
    ) -> Snapshot {
        Snapshot {
            cluster: "c".into(),
            answered_by: NodeId(1),
            metadata_version: metadata.applied(),
            since,
            gone: gone.into_iter().collect(),
            operations: None,
            at_ms: TimestampMs(0),
            group: Group { leader: None, term: 1, voters: 3, quorum: 2 },
            nodes: vec![],
            topics: topics(metadata, changed, |_| retention::Keep::default()),
        }
    }

    #[test]
    fn what_changed_on_top_of_what_was_known_is_all() {
        let before = cluster(4, 3, 1);
        let mut now = before.clone();
        for command in [
            roll(&now, 2, 1..3),
            create(9, "topic-25", 2),
            Command::DeleteTopics(vec![TopicId(uuid(1)), TopicId(uuid(3))]),
            create(10, "topic-3", 1),
        ] {
            apply(&mut now, &command);
        }
        let changed = changes::since(&now, &before).unwrap();
        let told = whole(&now, Some(&changed), Some(before.applied()), changed.gone.clone());
        assert_eq!(told.topics.iter().map(|topic| topic.partitions.len()).sum::<usize>(), 5);
        let known = whole(&before, None, None, BTreeSet::new());
        let all = whole(&now, None, None, BTreeSet::new());
        assert_eq!(all.topics.len(), 4);
        assert_eq!(told.clone().onto(&known), Some(all.clone()));
        assert_eq!(told.onto(&all), None, "of another version");
        let unchanged = changes::since(&now, &now).unwrap();
        assert_eq!(unchanged, Changed::default());
    }

    #[test]
    fn segments_are_counted_once_for_all_who_ask_for_a_version() {
        let (latest, mut metadata) = (Latest::default(), cluster(1, 1, 1));
        let first = latest.of(&metadata, |_| 2);
        assert!(Arc::ptr_eq(&first, &latest.of(&metadata, |_| unreachable!("it is known"))));
        let rolled = roll(&metadata, 1, 0..1);
        apply(&mut metadata, &rolled);
        let next = latest.of(&metadata, |_| 2);
        assert_eq!((first.segments.total, next.segments.total), (2, 3));
    }

    #[test]
    fn of_a_node_that_changed_what_it_leads_is_told() {
        let mut before = cluster(2, 3, 0);
        let second = Leader { node: NodeId(2), incarnation: Incarnation(1) };
        let led = Placement { leader: second, ..placement() };
        let mut command = create(9, "elsewhere", 2);
        if let Command::CreateTopics(topics) = &mut command {
            topics[0].partitions[1] = led;
        }
        apply(&mut before, &command);
        let mut now = before.clone();
        let (node, incarnation) = (second.node, second.incarnation);
        apply(&mut now, &Command::Fence(Fence { node, incarnation, at: TimestampMs(1) }));
        let changed = changes::since(&now, &before).unwrap();
        let told: Vec<_> = changed.topics.into_iter().collect();
        assert_eq!(told, [(TopicId(uuid(9)), [PartitionIndex(1)].into())]);
    }

    /// A reader of one node's stream goes on at another, which remembers other versions.
    #[test]
    fn what_changed_since_an_earlier_version_goes_on_top_of_any_later_one() {
        let versions = {
            let mut metadata = cluster(3, 2, 1);
            let mut versions = vec![metadata.clone()];
            for step in 0..7 {
                let command = match step {
                    0 => roll(&metadata, 2, 0..1),
                    1 => Command::DeleteTopics(vec![TopicId(uuid(1))]),
                    2 => create(10, "topic-1", 1),
                    3 => Command::Fence(Fence {
                        node: NodeId(1),
                        incarnation: Incarnation(1),
                        at: TimestampMs(1),
                    }),
                    4 => create(11, "topic-4", 3),
                    5 => Command::DeleteTopics(vec![TopicId(uuid(10)), TopicId(uuid(11))]),
                    _ => create(12, "topic-1", 2),
                };
                apply(&mut metadata, &command);
                versions.push(metadata.clone());
            }
            versions
        };
        let mut pairs = 0;
        for (at, now) in versions.iter().enumerate() {
            for (known_at, known) in versions[..=at].iter().enumerate() {
                for earlier in &versions[..=known_at] {
                    let changed = changes::since(now, earlier).unwrap();
                    let (since, gone) = (Some(known.applied()), changed.gone.clone());
                    let told = whole(now, Some(&changed), since, gone);
                    let all = whole(now, None, None, BTreeSet::new());
                    assert_eq!(told.onto(&whole(known, None, None, BTreeSet::new())), Some(all));
                    pairs += 1;
                }
            }
        }
        assert_eq!(pairs, 120);
    }
}
