//! Forced rolls: what a seal has decided, as commands; and what became of them, off the metadata.

use std::sync::Arc;

use walrus_metadata::{Coverage, Metadata, Partition, Placement, Reason, Roll, SealedAt, Topic};
use walrus_replication::{
    Member,
    placement::{Nodes, Occasion, Previous, Refusal, Request, place},
    seal::{Orphan, Outcome, SealDecision},
};
use walrus_types::{NodeId, Offset, SegmentId, TimestampMs, TopicPartition};

use super::{
    cluster::TopicTerms,
    nodes::{assigned, members, placement, salt, stored},
};

/// Why a decision cannot be proposed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoll {
    /// It is sealed, or the topic is gone.
    Over,
    /// There is no place for the successor.
    NoPlace(Refusal),
}

/// The open segment of `id`, with its topic, if it is still that segment.
fn still_open(metadata: &Metadata, id: SegmentId) -> Option<(&Arc<Topic>, &Arc<Partition>)> {
    let topic = metadata.topic(id.partition.topic)?;
    let partition = topic.partition(id.partition.partition)?;
    (partition.open().key.epoch == id.epoch).then_some((topic, partition))
}

/// A segment that a life which is over has left open, as the seal wants to know it.
pub fn orphan(id: TopicPartition, partition: &Partition, topic: &Topic, lax: bool) -> Orphan {
    let open = partition.open();
    Orphan {
        id: SegmentId { partition: id, base: open.key.base, epoch: open.key.epoch },
        members: members(&open.members),
        w: usize::from(open.w),
        // What the cluster itself needs comes first.
        hotness: u64::from(topic.name.starts_with("__")),
        lax,
    }
}

/// An operator had a segment sealed without enough votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ByHand {
    /// The greatest end of it that anybody is known to have seen.
    pub seen: Option<Offset>,
}

/// Places the successor of a segment whose end is decided, and counts it in `nodes`.
///
/// # Errors
/// [`NoRoll`].
pub fn forced(
    metadata: &Metadata,
    nodes: &mut Nodes,
    (decision, by_hand): (&SealDecision, Option<ByHand>),
    terms: impl Fn(&Arc<Topic>) -> TopicTerms,
    at: TimestampMs,
) -> Result<Roll, NoRoll> {
    let (topic, partition) = still_open(metadata, decision.segment).ok_or(NoRoll::Over)?;
    let open = partition.open();
    let terms = terms(topic);
    let before = members(&open.members);
    let short: Vec<NodeId> = before
        .iter()
        .filter(|member| !decision.holders.contains(member))
        .map(|member| member.node)
        .collect();
    let previous = Previous { members: &before, leader: open.leader.node, short: &short };
    let assigned = assigned(metadata, partition);
    let request = Request {
        partition: decision.segment.partition.partition,
        target: usize::from(topic.replicas_target),
        min_insync: terms.min_insync,
        previous: Some(previous),
        policy: terms.policy,
        occasion: Occasion::Forced,
        salt: salt(topic.id),
        assigned: &assigned,
    };
    let placed = place(nodes, &request).map_err(NoRoll::NoPlace)?;
    nodes.count(&placed, &before);
    Ok(roll((decision, by_hand), placement(&placed), at))
}

fn roll(
    (decision, by_hand): (&SealDecision, Option<ByHand>),
    next: Placement,
    at: TimestampMs,
) -> Roll {
    let SealDecision { segment, end, bytes, max_timestamp, .. } = *decision;
    let holders = |of: &[Member]| of.iter().map(|member| stored(*member)).collect();
    let coverage = match decision.may_lack_from {
        Some(_) => {
            let seen = by_hand.and_then(|by_hand| by_hand.seen).unwrap_or(end).max(end);
            Coverage::Lossy { holders: holders(&decision.holders), seen }
        }
        None if decision.short => Coverage::Narrow(holders(&decision.holders)),
        None => Coverage::Quorum,
    };
    // One that became safe while it was waited for is no unsafe seal.
    let by_hand = by_hand.is_some() && decision.may_lack_from.is_some();
    let reason = if by_hand { Reason::Unsafe } else { Reason::Failover };
    Roll {
        partition: segment.partition,
        expected: segment.epoch,
        sealed: SealedAt { end, bytes, max_timestamp },
        coverage,
        next,
        reason,
        at,
    }
}

/// What became of the seal of a segment, by metadata: `None` while it is open.
pub fn outcome(metadata: &Metadata, id: SegmentId, decided: Option<&Roll>) -> Option<Outcome> {
    if still_open(metadata, id).is_some() {
        return None;
    }
    let sealed = metadata.partition(id.partition).is_some_and(|partition| {
        // An empty segment is not in the chain; its successor begins where it did.
        let of_chain = partition.chain().find(|segment| segment.key().epoch > id.epoch);
        of_chain.is_some_and(|next| decided.is_some_and(|roll| next.key().base == roll.sealed.end))
    });
    Some(if sealed { Outcome::Sealed } else { Outcome::OtherEpoch })
}

/// Whether that segment is left to a node that lives: it is the only member, and seals what an
/// earlier life of it left open when somebody asks for the partition.
pub fn is_left_to_its_node(metadata: &Metadata, partition: &Partition) -> bool {
    let open = partition.open();
    match open.members[..] {
        [only] => {
            only.node == open.leader.node
                && metadata.may_store(only)
                && metadata.node(only.node).is_some_and(|node| node.state.serves())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use walrus_metadata::{Command, Reply};
    use walrus_replication::placement::LeaderPolicy;
    use walrus_types::Epoch;

    use super::*;
    use crate::controller::{fake, nodes};

    fn decision(metadata: &Metadata, partition: i32, end: i64, holders: &[i32]) -> SealDecision {
        let id = fake::segment(metadata, partition);
        SealDecision {
            segment: id,
            end: Offset(end),
            bytes: u64::try_from(end).unwrap() * 10,
            max_timestamp: if end == 0 { TimestampMs::NONE } else { fake::NOW },
            holders: holders.iter().map(|node| fake::member(*node)).collect(),
            short: end > 0 && holders.len() < 2,
            may_lack_from: None,
        }
    }

    fn terms(_: &Arc<Topic>) -> TopicTerms {
        TopicTerms { min_insync: 1, policy: LeaderPolicy::LeastLoaded, lax: false }
    }

    fn fenced(nodes: i32, partitions: usize) -> Metadata {
        let mut metadata = fake::cluster(nodes, partitions);
        fake::apply(&mut metadata, &fake::fence(1, 1));
        metadata
    }

    fn propose(metadata: &mut Metadata, rolls: Vec<Roll>) -> Vec<bool> {
        match fake::apply(metadata, &Command::Roll(rolls)) {
            Reply::Rolled(each) => each.iter().map(Result::is_ok).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_proposed_is_accepted_whatever_the_coverage() {
        for (holders, coverage) in [(&[2, 3][..], "Quorum"), (&[3], "Narrow")] {
            let mut metadata = fenced(3, 1);
            let mut nodes = nodes::nodes(&metadata, &BTreeMap::new(), fake::NOW);
            let decision = decision(&metadata, 0, 7, holders);
            let roll = forced(&metadata, &mut nodes, (&decision, None), terms, fake::NOW).unwrap();
            assert!(format!("{:?}", roll.coverage).starts_with(coverage), "{roll:?}");
            assert_eq!(propose(&mut metadata, vec![roll.clone()]), [true]);
            let now = outcome(&metadata, decision.segment, Some(&roll));
            assert_eq!(now, Some(Outcome::Sealed));
            let open = metadata.partition(decision.segment.partition).unwrap().open().clone();
            assert_eq!(open.leader.node, NodeId(holders[0]), "who has all of it leads");
        }
    }

    #[test]
    fn what_may_be_lost_is_recorded() {
        let mut metadata = fenced(3, 1);
        let mut nodes = nodes::nodes(&metadata, &BTreeMap::new(), fake::NOW);
        let decision =
            SealDecision { may_lack_from: Some(Offset(7)), ..decision(&metadata, 0, 7, &[2]) };
        let roll = forced(&metadata, &mut nodes, (&decision, None), terms, fake::NOW).unwrap();
        assert_eq!(propose(&mut metadata, vec![roll]), [true]);
        let partition = metadata.partition(decision.segment.partition).unwrap();
        assert_eq!(partition.losses().len(), 1);
    }

    #[test]
    fn the_leases_of_a_fenced_node_go_to_all_that_are_left() {
        let metadata = fenced(3, 40);
        let mut nodes = nodes::nodes(&metadata, &BTreeMap::new(), fake::NOW);
        let mut led: BTreeMap<NodeId, u32> = BTreeMap::new();
        for partition in 0..40 {
            let decision = decision(&metadata, partition, 7, &[2, 3]);
            let roll = forced(&metadata, &mut nodes, (&decision, None), terms, fake::NOW).unwrap();
            *led.entry(roll.next.leader.node).or_default() += 1;
        }
        assert_eq!(led, BTreeMap::from([(NodeId(2), 20), (NodeId(3), 20)]));
    }

    #[test]
    fn an_outcome_is_read_off_the_chain() {
        let mut metadata = fenced(3, 1);
        let id = fake::segment(&metadata, 0);
        assert_eq!(outcome(&metadata, id, None), None);
        let mut nodes = nodes::nodes(&metadata, &BTreeMap::new(), fake::NOW);
        let ours = decision(&metadata, 0, 7, &[2, 3]);
        let ours = forced(&metadata, &mut nodes, (&ours, None), terms, fake::NOW).unwrap();
        let mut other = ours.clone();
        other.sealed.end = Offset(9);
        assert_eq!(propose(&mut metadata, vec![other]), [true]);
        assert_eq!(outcome(&metadata, id, Some(&ours)), Some(Outcome::OtherEpoch));
        let late = forced(&metadata, &mut nodes, (&decision_of(id), None), terms, fake::NOW);
        assert_eq!(late, Err(NoRoll::Over));
        let gone = SegmentId { partition: fake::partition(99), ..id };
        assert_eq!(outcome(&metadata, gone, None), Some(Outcome::OtherEpoch));
    }

    fn decision_of(segment: SegmentId) -> SealDecision {
        SealDecision {
            segment,
            end: Offset(0),
            bytes: 0,
            max_timestamp: TimestampMs::NONE,
            holders: vec![],
            short: false,
            may_lack_from: None,
        }
    }

    #[test]
    fn an_empty_segment_is_sealed_though_it_leaves_the_chain() {
        let mut metadata = fenced(3, 1);
        let mut nodes = nodes::nodes(&metadata, &BTreeMap::new(), fake::NOW);
        let decision = decision(&metadata, 0, 0, &[2, 3]);
        let roll = forced(&metadata, &mut nodes, (&decision, None), terms, fake::NOW).unwrap();
        assert_eq!(propose(&mut metadata, vec![roll.clone()]), [true]);
        assert_eq!(outcome(&metadata, decision.segment, Some(&roll)), Some(Outcome::Sealed));
        assert_eq!(fake::segment(&metadata, 0).epoch, Epoch(decision.segment.epoch.0 + 1));
    }

    #[test]
    fn a_single_copy_is_left_to_its_node_once_that_is_back() {
        let mut metadata = fake::cluster(1, 1);
        let is_left = |metadata: &Metadata| {
            is_left_to_its_node(metadata, metadata.partition(fake::partition(0)).unwrap())
        };
        fake::apply(&mut metadata, &fake::fence(1, 1));
        assert!(!is_left(&metadata));
        fake::apply(&mut metadata, &fake::register(1, 2));
        assert!(is_left(&metadata));
        let mut of_three = fake::cluster(3, 1);
        fake::apply(&mut of_three, &fake::register(1, 2));
        assert!(!is_left(&of_three));
    }
}
