//! Where the first segments of new partitions go: where the client says, else where they spread
//! best.

use walrus_metadata::{Leader, Member, Placement};
use walrus_replication::{
    placement::{self, NewPartitions, Node, Nodes, Standing},
    write_quorum,
};
use walrus_types::{NodeId, PartitionIndex, TopicId};
use walrus_wire::kafka_protocol::error::ResponseError;

use crate::{api::codes::Refusal, controller::nodes};

/// Partitions of one topic that are to be placed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The topic.
    pub(super) topic: TopicId,
    /// How many partitions it has already.
    pub(super) has: usize,
    /// How many more there are to be.
    pub(super) more: usize,
    /// Members that each is to have, as far as there are nodes.
    pub(super) target: u8,
    /// `min.insync.replicas`.
    pub(super) min_insync: i64,
    /// The nodes of each, if the client chose.
    pub(super) assigned: &'a [Vec<NodeId>],
}

/// Places each of them.
pub(super) fn place(nodes: &Nodes, wanted: Wanted<'_>) -> Result<Vec<Placement>, Refusal> {
    let Wanted { topic, has, more, target, min_insync, assigned } = wanted;
    let min_insync = usize::try_from(min_insync).unwrap_or(1);
    if !assigned.is_empty() {
        return assigned.iter().map(|chosen| as_chosen(nodes, chosen, min_insync)).collect();
    }
    let new = NewPartitions {
        first: PartitionIndex(i32::try_from(has).expect("a topic has few partitions")),
        count: u16::try_from(more).expect("a topic has few partitions"),
        target: target.into(),
        min_insync,
        salt: nodes::salt(topic),
    };
    let placed = placement::create(nodes, new).map_err(|why| Refusal::from(&why))?;
    Ok(placed.iter().map(nodes::placement).collect())
}

/// Led by the first that can, as in Kafka.
fn as_chosen(nodes: &Nodes, chosen: &[NodeId], min_insync: usize) -> Result<Placement, Refusal> {
    let known = |id: &NodeId| {
        nodes.get(*id).ok_or_else(|| {
            let why = format!("the broker {id} went meanwhile");
            Refusal::new(ResponseError::BrokerNotAvailable, why)
        })
    };
    let chosen: Vec<&Node> = chosen.iter().map(known).collect::<Result<_, _>>()?;
    let leads = |node: &&&Node| node.standing == Standing::Active && node.silent_ms.is_none();
    let leader = chosen.iter().find(leads).or(chosen.first());
    let leader = leader.ok_or_else(|| Refusal::invalid("a partition without replicas"))?;
    let w = write_quorum(chosen.len(), min_insync);
    Ok(Placement {
        leader: Leader { node: leader.id, incarnation: leader.incarnation },
        members: chosen
            .iter()
            .map(|node| Member { node: node.id, storage: node.storage })
            .collect(),
        w: u8::try_from(w).expect("no more than there are members"),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use uuid::Uuid;
    use walrus_types::{Incarnation, StorageId};

    use super::*;

    fn nodes(count: i32, away: &[i32]) -> Nodes {
        let node = |number: i32| Node {
            id: NodeId(number),
            storage: StorageId(Uuid::from_u128(number.unsigned_abs().into())),
            incarnation: Incarnation(7),
            may_take_leases: true,
            silent_ms: away.contains(&number).then_some(500),
            ..Node::default()
        };
        (1..=count).map(node).collect()
    }

    fn wanted(more: usize, target: u8, assigned: &[Vec<NodeId>]) -> Wanted<'_> {
        let topic = TopicId(Uuid::from_u128(5));
        Wanted { topic, has: 0, more, target, min_insync: 1, assigned }
    }

    fn ids(placement: &Placement) -> Vec<i32> {
        placement.members.iter().map(|member| member.node.0).collect()
    }

    #[test]
    fn partitions_have_as_many_members_as_there_are_nodes_and_the_target_allows() {
        for (count, target, members, w) in [(1, 3, 1, 1), (2, 3, 2, 2), (3, 3, 3, 2), (5, 3, 3, 2)]
        {
            let placed = place(&nodes(count, &[]), wanted(30, target, &[])).unwrap();
            assert_eq!(placed.len(), 30);
            let mut led: BTreeMap<NodeId, usize> = BTreeMap::new();
            for one in &placed {
                assert_eq!((one.members.len(), one.w), (members, w), "{count} nodes");
                assert!(ids(one).contains(&one.leader.node.0));
                *led.entry(one.leader.node).or_default() += 1;
            }
            let each = 30 / usize::try_from(count).unwrap();
            assert!(led.values().all(|led| *led == each), "{count} nodes: {led:?}");
        }
    }

    #[test]
    fn what_the_client_chose_is_kept_and_the_first_that_is_there_leads() {
        let chosen = [vec![NodeId(3), NodeId(1)], vec![NodeId(1), NodeId(2)]];
        let placed = place(&nodes(3, &[1]), wanted(2, 2, &chosen)).unwrap();
        let seen: Vec<_> = placed.iter().map(|one| (ids(one), one.leader.node.0, one.w)).collect();
        assert_eq!(seen, [(vec![3, 1], 3, 2), (vec![1, 2], 2, 2)]);
        assert_eq!(placed[0].leader.incarnation, Incarnation(7));
        let gone = place(&nodes(1, &[]), wanted(1, 1, &[vec![NodeId(2)]])).unwrap_err();
        assert_eq!(gone.code, ResponseError::BrokerNotAvailable);
    }

    #[test]
    fn where_nobody_lives_nothing_is_placed() {
        let refused = place(&nodes(0, &[]), wanted(1, 3, &[])).unwrap_err();
        assert_eq!(refused.code, ResponseError::BrokerNotAvailable);
    }
}
