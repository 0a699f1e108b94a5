//! ElectLeaders, versions 0 to 2: has the preferred node of a partition, the first of its replicas,
//! lead it. A roll takes the lease there; nothing that was written moves.
//!
//! ```text
//!  judge each ──> the answer already, or where the next segment goes
//!     └─> orders to those who lead now ──> the epochs that follow, in the metadata
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, timeout_at};
use tracing::debug;
use walrus_metadata::{Metadata, Partition, Placement, Reason};
use walrus_types::{Epoch, NodeId, PartitionIndex, TopicPartition};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        ElectLeadersRequest, ElectLeadersResponse, TopicName,
        elect_leaders_response::{PartitionResult, ReplicaElectionResult},
    },
    protocol::StrBytes,
};

use crate::{
    api::{Head, codes::Refusal},
    broker::Broker,
    controller::{
        messages::{Order, Orders},
        world,
    },
    net::replies::Reply,
};

/// The first version that says which kind of election it wants.
const KIND_SINCE: i16 = 1;
const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
/// Rolls that one message orders.
const ORDERS_MAX: usize = 1_000;
/// However short a request's timeout is, a roll has this long.
const PATIENCE_MIN: Duration = Duration::from_millis(500);
/// However long a request's timeout is, its connection waits no longer.
const PATIENCE_MAX: Duration = Duration::from_secs(30);

/// A partition of the request.
#[derive(Debug)]
struct Part {
    topic: TopicName,
    index: i32,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A roll is ordered: whose segment of which epoch ends, who leads it, who is to lead the next.
    Ordered { id: TopicPartition, epoch: Epoch, now: NodeId, to: NodeId },
    /// Led as it should be, or why it is not.
    Done(Result<(), Refusal>),
}

/// Moves leases, and answers when they are moved.
pub(super) async fn begin(broker: &Arc<Broker>, head: Head, request: ElectLeadersRequest) -> Reply {
    let kind = if head.version >= KIND_SINCE { request.election_type } else { PREFERRED };
    if ![PREFERRED, UNCLEAN].contains(&kind) {
        let code = ResponseError::InvalidRequest.code();
        return head.ready(&ElectLeadersResponse::default().with_error_code(code));
    }
    let patience = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let deadline = Instant::now() + patience.clamp(PATIENCE_MIN, PATIENCE_MAX);
    let wants_all = request.topic_partitions.is_none();
    let metadata = broker.metadata();
    let place = |id, leader| broker.place_led_by(id, leader).map_err(|why| Refusal::from(&why));
    let (mut parts, orders) = judge(&metadata, wanted(&metadata, request), kind, place);
    for (node, orders) in orders {
        for some in orders.chunks(ORDERS_MAX) {
            if let Err(why) = world::order(broker, node, Orders(some.to_vec())).await {
                // Its partitions are led as before when the time is up, or by who comes after it.
                debug!(%node, why, "orders did not reach their leader");
            }
        }
    }
    settle_until(broker, &mut parts, deadline).await;
    head.ready(&respond(parts, wants_all))
}

/// The partitions asked for, each once.
fn wanted(metadata: &Metadata, request: ElectLeadersRequest) -> BTreeMap<TopicName, BTreeSet<i32>> {
    let mut wanted: BTreeMap<TopicName, BTreeSet<i32>> = BTreeMap::new();
    match request.topic_partitions {
        Some(topics) => {
            for topic in topics {
                wanted.entry(topic.topic).or_default().extend(topic.partitions);
            }
        }
        None => {
            for topic in metadata.topics() {
                let name = TopicName(StrBytes::from_string(topic.name.to_string()));
                let all = topic.partitions().iter().map(|(index, _)| index.0);
                wanted.entry(name).or_default().extend(all);
            }
        }
    }
    wanted
}

/// What is known of each already, and what is to be ordered, by leader.
fn judge(
    metadata: &Metadata,
    wanted: BTreeMap<TopicName, BTreeSet<i32>>,
    kind: i8,
    place: impl Fn(TopicPartition, NodeId) -> Result<Placement, Refusal>,
) -> (Vec<Part>, BTreeMap<NodeId, Vec<Order>>) {
    let mut parts = Vec::new();
    let mut orders: BTreeMap<NodeId, Vec<Order>> = BTreeMap::new();
    for (name, indexes) in wanted {
        let topic = metadata.topic_named(&name);
        for index in indexes {
            let found = topic.and_then(|topic| {
                let chain = topic.partition(PartitionIndex(index))?;
                Some((TopicPartition { topic: topic.id, partition: PartitionIndex(index) }, chain))
            });
            let state = match found {
                None => State::Done(Err(Refusal::unknown_topic())),
                Some((id, chain)) => match judge_one(metadata, id, chain, kind, &place) {
                    Ok((order, state)) => {
                        orders.entry(chain.open().leader.node).or_default().push(order);
                        state
                    }
                    Err(refusal) => State::Done(Err(refusal)),
                },
            };
            parts.push(Part { topic: name.clone(), index, state });
        }
    }
    (parts, orders)
}

fn judge_one(
    metadata: &Metadata,
    id: TopicPartition,
    chain: &Partition,
    kind: i8,
    place: impl Fn(TopicPartition, NodeId) -> Result<Placement, Refusal>,
) -> Result<(Order, State), Refusal> {
    let open = chain.open();
    let is_led = metadata.may_lead(open.leader);
    if kind == UNCLEAN {
        return Err(if is_led { not_needed() } else { no_unclean() });
    }
    let assigned = metadata.assigned(chain);
    let preferred = assigned.first().or(open.members.first());
    let to = preferred.map_or(open.leader.node, |member| member.node);
    if is_led && open.leader.node == to {
        return Err(not_needed());
    }
    if !is_led {
        let why = "the partition's last segment is being sealed: ask again when it is led";
        return Err(Refusal::new(ResponseError::PreferredLeaderNotAvailable, why));
    }
    let placement = place(id, to)?;
    let (epoch, reason) = (open.key.epoch, Reason::Operator);
    let order = Order { partition: id, epoch, reason, placement };
    Ok((order, State::Ordered { id, epoch, now: open.leader.node, to }))
}

fn not_needed() -> Refusal {
    let why = "Leader election not needed for topic partition.";
    Refusal::new(ResponseError::ElectionNotNeeded, why)
}

fn no_unclean() -> Refusal {
    let why = "a copy that may lack acknowledged records is never elected: where all voters are gone \
               for good, see walrusctl segment unsafe-seal";
    Refusal::new(ResponseError::EligibleLeadersNotAvailable, why)
}

/// Waits until every partition that was ordered to roll has rolled, until the deadline.
async fn settle_until(broker: &Broker, parts: &mut [Part], deadline: Instant) {
    let mut views = broker.raft.watch();
    loop {
        let metadata = Arc::clone(&views.borrow_and_update());
        let mut waits = false;
        for part in &mut *parts {
            settle(&metadata, part);
            waits |= matches!(part.state, State::Ordered { .. });
        }
        if !waits {
            return;
        }
        let changed = tokio::select! {
            changed = timeout_at(deadline, views.changed()) => matches!(changed, Ok(Ok(()))),
            () = broker.draining() => false,
        };
        if !changed {
            return;
        }
    }
}

/// Reads off the metadata who leads what followed.
fn settle(metadata: &Metadata, part: &mut Part) {
    let State::Ordered { id, epoch, to, .. } = part.state else { return };
    let Some(chain) = metadata.partition(id) else {
        part.state = State::Done(Err(Refusal::unknown_topic()));
        return;
    };
    let open = chain.open();
    if open.key.epoch > epoch {
        part.state = State::Done(if open.leader.node == to {
            Ok(())
        } else {
            let why = format!("{} leads what followed, for another reason", open.leader.node);
            Err(Refusal::new(ResponseError::PreferredLeaderNotAvailable, why))
        });
    }
}

/// Where all were asked for, those that were led as they should be are left out, as by Kafka.
fn respond(parts: Vec<Part>, wants_all: bool) -> ElectLeadersResponse {
    let mut topics: BTreeMap<TopicName, Vec<PartitionResult>> = BTreeMap::new();
    for Part { topic, index, state } in parts {
        let outcome = match state {
            State::Done(outcome) => outcome,
            State::Ordered { now, .. } => {
                let why = format!("{now}, which leads the partition, has not rolled it in time");
                Err(Refusal::new(ResponseError::RequestTimedOut, why))
            }
        };
        let result = PartitionResult::default().with_partition_id(index);
        let result = match outcome {
            Ok(()) => result.with_error_message(None),
            Err(refusal) if wants_all && refusal.code == ResponseError::ElectionNotNeeded => {
                continue;
            }
            Err(refusal) => {
                result.with_error_code(refusal.code.code()).with_error_message(refusal.words())
            }
        };
        topics.entry(topic).or_default().push(result);
    }
    let results = topics.into_iter().map(|(topic, partitions)| {
        ReplicaElectionResult::default().with_topic(topic).with_partition_result(partitions)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, Reply, Roll, SealedAt};
    use walrus_types::{Offset, TimestampMs};
    use walrus_wire::{kafka_protocol::messages::elect_leaders_request::TopicPartitions, response};

    use super::*;
    use crate::controller::fake;

    /// Three nodes, a topic of three partitions; node 1 leads them but for partition 1, which 2 does.
    fn cluster() -> Metadata {
        let mut metadata = fake::cluster(3, 3);
        roll(&mut metadata, 1, 2);
        metadata
    }

    fn led_by(metadata: &Metadata, index: i32, leader: i32) -> Placement {
        let open = metadata.partition(fake::partition(index)).unwrap().open();
        let mut leader_life = open.leader;
        leader_life.node = NodeId(leader);
        Placement { leader: leader_life, members: open.members.to_vec(), w: open.w }
    }

    fn roll(metadata: &mut Metadata, index: i32, leader: i32) {
        let partition = fake::partition(index);
        let next = led_by(metadata, index, leader);
        let reply = fake::apply(
            metadata,
            &Command::Roll(vec![Roll {
                partition,
                expected: metadata_epoch(metadata, index),
                sealed: SealedAt { end: Offset(0), bytes: 0, max_timestamp: TimestampMs::NONE },
                coverage: walrus_metadata::Coverage::Quorum,
                next,
                reason: Reason::Operator,
                at: fake::NOW,
            }]),
        );
        assert!(matches!(&reply, Reply::Rolled(all) if all[0].is_ok()), "{reply:?}");
    }

    fn metadata_epoch(metadata: &Metadata, index: i32) -> Epoch {
        metadata.partition(fake::partition(index)).unwrap().open().key.epoch
    }

    type Named<'a> = Option<&'a [(&'a str, &'a [i32])]>;

    /// Who is asked for, how, how many rolls that orders, and what is told at once.
    type Case<'a> = (Named<'a>, i8, usize, Vec<(i32, i16)>);

    fn ask(named: Named<'_>) -> ElectLeadersRequest {
        ElectLeadersRequest::default().with_topic_partitions(named.map(|named| {
            let topics = named.iter().map(|(topic, indexes)| {
                let name = TopicName(StrBytes::from_string((*topic).to_owned()));
                TopicPartitions::default().with_topic(name).with_partitions(indexes.to_vec())
            });
            topics.collect()
        }))
    }

    fn told(parts: Vec<Part>, wants_all: bool) -> Vec<(i32, i16)> {
        let response = respond(parts, wants_all);
        for version in 0..=2 {
            response::encode(1, version, &response).unwrap();
        }
        let topics = response.replica_election_results.iter();
        topics
            .flat_map(|topic| &topic.partition_result)
            .map(|p| (p.partition_id, p.error_code))
            .collect()
    }

    #[test]
    fn the_first_replica_is_asked_to_lead_where_it_does_not() {
        let metadata = cluster();
        let name = metadata.topic(fake::partition(0).topic).unwrap().name.to_string();
        let (not_needed, unknown, timed_out) = (84, 3, 7);
        let all = vec![(-1, unknown), (0, not_needed), (1, timed_out), (7, unknown)];
        let cases: [Case<'_>; 5] = [
            (None, PREFERRED, 1, vec![(1, timed_out)]),
            (Some(&[(&name, &[0, 1, 1, 7, -1])]), PREFERRED, 1, all),
            (Some(&[]), PREFERRED, 0, vec![]),
            (Some(&[("none", &[0])]), PREFERRED, 0, vec![(0, unknown)]),
            (Some(&[(&name, &[0, 1])]), UNCLEAN, 0, vec![(0, not_needed), (1, not_needed)]),
        ];
        for (named, kind, ordered, expected) in cases {
            let request = ask(named);
            let place = |_, leader: NodeId| Ok(led_by(&metadata, 1, leader.0));
            let (parts, orders) = judge(&metadata, wanted(&metadata, request), kind, place);
            let told_to: usize = orders.values().map(Vec::len).sum();
            assert_eq!(told_to, ordered, "{named:?}");
            assert!(orders.keys().all(|node| *node == NodeId(2)), "{orders:?}");
            assert_eq!(told(parts, named.is_none()), expected, "{named:?}");
        }
    }

    #[test]
    fn a_node_that_cannot_lead_and_a_partition_without_a_leader_are_said_so() {
        let mut metadata = cluster();
        let id = fake::partition(1);
        let refuse = |_, leader| {
            Err(Refusal::from(&walrus_replication::placement::Refusal::NotAble(leader)))
        };
        let judge_now = |metadata: &Metadata, kind| {
            let chain = metadata.partition(id).unwrap();
            judge_one(metadata, id, chain, kind, refuse).map(drop).map_err(|why| why.code)
        };
        let not_there = Err(ResponseError::PreferredLeaderNotAvailable);
        assert_eq!(judge_now(&metadata, PREFERRED), not_there);
        fake::apply(&mut metadata, &fake::fence(2, 1));
        assert_eq!(judge_now(&metadata, PREFERRED), not_there);
        let unclean = Err(ResponseError::EligibleLeadersNotAvailable);
        assert_eq!(judge_now(&metadata, UNCLEAN), unclean);
    }

    #[test]
    fn an_election_is_over_when_the_next_segment_is_open() {
        let mut metadata = cluster();
        let place = |_, leader: NodeId| Ok(led_by(&metadata, 1, leader.0));
        let elect = |metadata: &Metadata| {
            let wanted = wanted(metadata, ask(None));
            judge(metadata, wanted, PREFERRED, place).0
        };
        let (mut won, mut lost) = (elect(&metadata), elect(&metadata));
        let settle_all = |metadata: &Metadata, parts: &mut Vec<Part>| {
            for part in parts {
                settle(metadata, part);
            }
        };
        let mut other = metadata.clone();
        roll(&mut metadata, 1, 1);
        settle_all(&metadata, &mut won);
        assert_eq!(told(won, true), [(1, 0)]);
        roll(&mut other, 1, 3);
        settle_all(&other, &mut lost);
        assert_eq!(told(lost, true), [(1, 80)]);
    }
}
