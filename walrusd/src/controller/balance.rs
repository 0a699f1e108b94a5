//! Orders to leaders: which of their segments are to roll, and where to, so that leases and
//! members are where they belong.
//!
//! `walrus-replication` decides; here is what was ordered and has yet to be seen, so that nothing
//! is ordered twice. Rolls for the cluster's good are few per second: producers come first.

use std::{collections::BTreeMap, sync::Arc};

use walrus_metadata::{Metadata, Partition, Reason, Topic};
use walrus_replication::{
    Member, RollReason, UptimeMs,
    placement::{Cause, LedSegment, Move, Nodes, rebalance},
};
use walrus_types::{Epoch, NodeId, TopicPartition};

use super::{
    cluster::TopicTerms,
    messages::{Order, Orders},
    nodes::{assigned, members, placement},
};

/// Rolls that are ordered in one round.
const MOVES_MAX: usize = 100;
/// A roll that was ordered and is not seen for so long was not made.
const ORDER_MAX_MS: u64 = 10_000;
/// How often a cluster that does not change is looked at.
const IDLE_MS: u64 = 5_000;

/// What was ordered, and when to look again.
#[derive(Debug, Default)]
pub struct Balance {
    ordered: BTreeMap<TopicPartition, Ordered>,
    /// The metadata that was looked at last, and when.
    looked: Option<(u64, UptimeMs)>,
}

#[derive(Debug, Clone, Copy)]
struct Ordered {
    epoch: Epoch,
    to: NodeId,
    at: UptimeMs,
}

impl Balance {
    /// Whether there may be something to order: metadata has changed, or time has passed.
    pub fn is_due(&self, metadata: &Metadata, now: UptimeMs) -> bool {
        let idle = |(applied, at)| applied == metadata.applied() && now.since(at) < IDLE_MS;
        !self.looked.is_some_and(idle)
    }

    /// The orders to give now, by leader. Looks at every partition.
    pub fn look(
        &mut self,
        metadata: &Metadata,
        nodes: &Nodes,
        terms: impl Fn(&Arc<Topic>) -> TopicTerms,
        now: UptimeMs,
    ) -> BTreeMap<NodeId, Orders> {
        self.looked = Some((metadata.applied(), now));
        self.ordered.retain(|id, ordered| {
            let chain = metadata.partition(*id);
            let waits = chain.is_some_and(|chain| chain.open().key.epoch == ordered.epoch);
            waits && now.since(ordered.at) < ORDER_MAX_MS
        });
        let set = |(id, chain): (TopicPartition, &Arc<Partition>)| {
            (id, members(&chain.open().members), assigned(metadata, chain))
        };
        let sets: Vec<(TopicPartition, Vec<Member>, Vec<NodeId>)> =
            metadata.partitions().map(set).collect();
        let mut segments = Vec::with_capacity(sets.len());
        let mut of_topic: Option<(&Arc<Topic>, TopicTerms)> = None;
        for (id, members, assigned) in &sets {
            // Partitions come topic by topic.
            let topic = match of_topic {
                Some((topic, terms)) if topic.id == id.topic => Some((topic, terms)),
                Some(_) | None => metadata.topic(id.topic).map(|topic| (topic, terms(topic))),
            };
            of_topic = topic;
            let Some((topic, terms)) = topic else { continue };
            let Some(chain) = topic.partition(id.partition) else { continue };
            segments.push(self.led(*id, (members, assigned), (topic, terms), chain));
        }
        self.order(rebalance(nodes, &segments, MOVES_MAX), metadata, now)
    }

    fn led<'a>(
        &self,
        partition: TopicPartition,
        (members, assigned): (&'a [Member], &'a [NodeId]),
        (topic, terms): (&Topic, TopicTerms),
        chain: &Partition,
    ) -> LedSegment<'a> {
        let open = chain.open();
        LedSegment {
            partition,
            epoch: open.key.epoch,
            members,
            w: usize::from(open.w),
            leader: open.leader.node,
            target: usize::from(topic.replicas_target),
            min_insync: terms.min_insync,
            policy: terms.policy,
            hotness: 0,
            moving_to: self.ordered.get(&partition).map(|ordered| ordered.to),
            assigned,
        }
    }

    fn order(
        &mut self,
        moves: Vec<Move>,
        metadata: &Metadata,
        at: UptimeMs,
    ) -> BTreeMap<NodeId, Orders> {
        let mut orders: BTreeMap<NodeId, Orders> = BTreeMap::new();
        for Move { partition, epoch, placed, cause } in moves {
            let Some(chain) = metadata.partition(partition) else { continue };
            let leader = chain.open().leader.node;
            self.ordered.insert(partition, Ordered { epoch, to: placed.leader.node, at });
            let placement = placement(&placed);
            let order = Order { partition, epoch, reason: reason(cause), placement };
            orders.entry(leader).or_default().0.push(order);
        }
        orders
    }

    /// Orders to a leader did not arrive: they may be given again.
    pub fn lost(&mut self, orders: &Orders) {
        for order in &orders.0 {
            self.ordered.remove(&order.partition);
        }
        self.looked = None;
    }
}

const fn reason(cause: Cause) -> Reason {
    match cause {
        Cause::Reshape => Reason::Config,
        Cause::Widen { .. } => Reason::Widen,
        Cause::Lease { .. } | Cause::Spread { .. } => Reason::Balance,
    }
}

/// The reason of an order, as leaders name it. What is no reason for an order is taken for
/// balance.
pub const fn roll_reason(reason: Reason) -> RollReason {
    match reason {
        Reason::Config | Reason::Widen | Reason::Narrow => RollReason::Reshape,
        Reason::Drain => RollReason::Drain,
        Reason::Operator => RollReason::Operator,
        Reason::Created
        | Reason::Entries
        | Reason::Bytes
        | Reason::Age
        | Reason::Restart
        | Reason::Retention
        | Reason::Failover
        | Reason::QuorumLost
        | Reason::Balance
        | Reason::Unsafe => RollReason::Balance,
    }
}

#[cfg(test)]
mod tests {
    use walrus_metadata::{Command, Coverage, Reply, Roll, SealedAt};
    use walrus_replication::placement::LeaderPolicy;
    use walrus_types::{Offset, TimestampMs};

    use super::*;
    use crate::controller::{fake, nodes};

    fn look(balance: &mut Balance, metadata: &Metadata, now: u64) -> BTreeMap<NodeId, Orders> {
        if !balance.is_due(metadata, UptimeMs(now)) {
            return BTreeMap::new();
        }
        let nodes = nodes::nodes(metadata, &BTreeMap::new(), fake::NOW);
        let terms = |_: &Arc<Topic>| TopicTerms {
            min_insync: 1,
            policy: LeaderPolicy::LeastLoaded,
            lax: false,
        };
        balance.look(metadata, &nodes, terms, UptimeMs(now))
    }

    /// What a leader does with orders: it rolls.
    fn obey(metadata: &mut Metadata, orders: &Orders) {
        let roll = |order: &Order| Roll {
            partition: order.partition,
            expected: order.epoch,
            sealed: SealedAt { end: Offset(0), bytes: 0, max_timestamp: TimestampMs::NONE },
            coverage: Coverage::Quorum,
            next: order.placement.clone(),
            reason: order.reason,
            at: fake::NOW,
        };
        let rolls = Command::Roll(orders.0.iter().map(roll).collect());
        let reply = fake::apply(metadata, &rolls);
        let Reply::Rolled(each) = reply else { panic!("{reply:?}") };
        assert!(each.iter().all(Result::is_ok), "{each:?}");
    }

    #[test]
    fn leases_are_shared_by_orders_to_who_has_too_many() {
        let mut metadata = fake::cluster(3, 9);
        let mut balance = Balance::default();
        let orders = look(&mut balance, &metadata, 0);
        assert_eq!(orders.keys().collect::<Vec<_>>(), [&NodeId(1)]);
        let orders = &orders[&NodeId(1)];
        assert_eq!(orders.0.len(), 6);
        obey(&mut metadata, orders);
        let leases: Vec<u32> = (1..=3).map(|node| metadata.leases_of(NodeId(node))).collect();
        assert_eq!(leases, [3, 3, 3]);
        assert_eq!(look(&mut balance, &metadata, 1000), BTreeMap::new());
    }

    #[test]
    fn nothing_is_ordered_twice_until_it_was_lost_or_is_long_ago() {
        let metadata = fake::cluster(3, 9);
        let mut balance = Balance::default();
        let first = look(&mut balance, &metadata, 0);
        for now in [1000, 6000] {
            assert_eq!(look(&mut balance, &metadata, now), BTreeMap::new());
        }
        balance.lost(&first[&NodeId(1)]);
        assert_eq!(look(&mut balance, &metadata, 6001), first);
        assert_eq!(look(&mut balance, &metadata, 17_000), first);
    }

    #[test]
    fn a_reason_of_an_order_is_one_that_leaders_know() {
        assert_eq!(roll_reason(reason(Cause::Widen { have: 1, next: 3 })), RollReason::Reshape);
        let (from, to) = (NodeId(1), NodeId(2));
        assert_eq!(roll_reason(reason(Cause::Lease { from, to })), RollReason::Balance);
    }
}
