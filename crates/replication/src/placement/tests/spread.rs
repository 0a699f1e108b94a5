//! New topics and the balance of leases: what holds for many topics, clusters and seeds.

use std::collections::BTreeMap;

use super::*;

/// What each node has of a list of placements: (leads, holds).
fn shares(all: &Nodes, placed: &[Placed]) -> Vec<(usize, usize)> {
    let leads = |id| placed.iter().filter(|p| p.leader.node == id).count();
    let holds = |id| placed.iter().filter(|p| p.members.iter().any(|m| m.node == id)).count();
    all.iter().map(|node| (leads(node.id), holds(node.id))).collect()
}

fn gap(shares: impl Iterator<Item = usize> + Clone) -> usize {
    shares.clone().max().unwrap() - shares.min().unwrap()
}

fn new(count: u16, target: usize, salt: u64) -> NewPartitions {
    NewPartitions { first: PartitionIndex(0), count, target, min_insync: 2, salt }
}

fn numbered(n: usize) -> String {
    (1..=n).map(|id| format!("{id} ")).collect()
}

#[test]
fn a_new_topic_is_spread_evenly_whatever_its_salt() {
    let mut firsts = BTreeMap::new();
    for (n, target) in [(1, 3), (2, 3), (3, 3), (4, 3), (5, 2), (7, 3), (9, 1), (12, 5)] {
        let all = nodes(&numbered(n));
        for salt in 0..40 {
            for count in [1, 2, 3, 5, 12, 31] {
                let placed = create(&all, new(count, target, salt)).unwrap();
                let shares = shares(&all, &placed);
                let case = format!("n={n} target={target} salt={salt} count={count}: {shares:?}");
                assert!(gap(shares.iter().map(|share| share.0)) <= 1, "leaders, {case}");
                assert!(gap(shares.iter().map(|share| share.1)) <= 1, "members, {case}");
                assert!(placed.iter().all(|p| p.members.len() == target.min(n)), "{case}");
                assert_eq!(placed, create(&all, new(count, target, salt)).unwrap(), "{case}");
                if (n, target, count) == (4, 3, 1) {
                    *firsts.entry(placed[0].leader.node).or_insert(0) += 1;
                }
            }
        }
    }
    assert_eq!(firsts.len(), 4, "each node leads the first partition of some topic: {firsts:?}");
}

#[test]
fn topics_of_one_partition_fill_up_the_nodes_with_the_fewest() {
    for salt in 0..20 {
        let mut all: Nodes = nodes("1 2 3 4 5");
        for topic in 0..40 {
            let placed = create(&all, new(1, 3, salt * 1000 + topic)).unwrap().remove(0);
            all.get_mut(placed.leader.node).unwrap().leases += 1;
            for member in &placed.members {
                all.get_mut(member.node).unwrap().held += 1;
            }
        }
        assert!(all.iter().all(|node| (7..=9).contains(&node.leases)), "salt {salt}: {all:?}");
        assert!(all.iter().all(|node| (23..=25).contains(&node.held)), "salt {salt}: {all:?}");
    }
}

#[test]
fn a_new_topic_stands_in_as_many_racks_as_it_can() {
    let all = nodes("1:rack=a 2:rack=a 3:rack=a 4:rack=b 5:rack=b 6:rack=c");
    for (target, racks) in [(2, 2), (3, 3), (5, 3)] {
        for salt in 0..20 {
            for placed in create(&all, new(12, target, salt)).unwrap() {
                let mut seen: Vec<_> =
                    placed.members.iter().map(|m| all.at(m.node).rack.clone()).collect();
                seen.sort();
                seen.dedup();
                assert_eq!(seen.len(), racks, "salt {salt}: {placed}");
            }
        }
    }
}

#[test]
fn a_new_topic_leaves_out_nodes_that_should_get_nothing() {
    let all = nodes("1 2:draining 3:full 4:fenced=1 5:removed 6:silent=1 7:waits 8");
    for placed in create(&all, new(9, 2, 0)).unwrap() {
        let ids: Vec<_> = placed.members.iter().map(|m| m.node.0).collect();
        assert!(ids.iter().all(|id| [1, 8].contains(id)), "{placed}");
    }
    assert_eq!(create(&nodes("1:fenced=1"), new(1, 1, 0)), Err(Refusal::NobodyLives));
}

/// A cluster that carries out what it is told, `limit` rolls at a time.
struct Cluster {
    all: Nodes,
    placed: Vec<Placed>,
    target: usize,
}

impl Cluster {
    fn of(text: &str, partitions: u16, target: usize, salt: u64) -> Self {
        let all = nodes(text);
        let placed = create(&all, new(partitions, target, salt)).unwrap();
        Self { all, placed, target }
    }

    fn moves(&self, limit: usize) -> Vec<Move> {
        let segment = |(at, placed): (usize, &'_ Placed)| LedSegment {
            partition: TopicPartition {
                topic: TopicId::default(),
                partition: PartitionIndex(i32::try_from(at).unwrap()),
            },
            epoch: Epoch::FIRST,
            members: &self.placed[at].members,
            w: placed.w,
            leader: placed.leader.node,
            target: self.target,
            min_insync: 2,
            policy: LeaderPolicy::LeastLoaded,
            hotness: u64::try_from(at % 10).unwrap(),
            moving_to: None,
            assigned: &[],
        };
        let segments: Vec<_> = self.placed.iter().enumerate().map(segment).collect();
        rebalance(&self.all, &segments, limit)
    }

    /// Carries moves out until there are none; returns how many there were.
    fn settle(&mut self, limit: usize) -> usize {
        let mut done = 0;
        loop {
            let moves = self.moves(limit);
            assert!(moves.len() <= limit);
            if moves.is_empty() {
                return done;
            }
            done += moves.len();
            assert!(done < 1000, "the balance is never found");
            for Move { partition, placed, .. } in moves {
                self.placed[usize::try_from(partition.partition.0).unwrap()] = placed;
            }
        }
    }

    fn shares(&self) -> Vec<(usize, usize)> {
        shares(&self.all, &self.placed)
    }
}

#[test]
fn a_balanced_cluster_is_left_alone() {
    for salt in 0..10 {
        assert_eq!(Cluster::of("1 2 3", 31, 3, salt).moves(9), []);
        assert_eq!(Cluster::of("1 2 3 4 5", 32, 3, salt).moves(9), []);
        let mut away = Cluster::of("1 2 3 4", 32, 3, salt);
        away.all = nodes("1 2 3 4:fenced=9");
        assert_eq!(away.moves(9), [], "it may be back in a moment");
        away.all = nodes("1 2:waits 3 4:fenced=9");
        assert_eq!(away.moves(9), [], "who waits for leases keeps those that it has");
    }
}

#[test]
fn a_node_that_joined_takes_its_share_of_leases_and_of_segments() {
    for salt in 0..10 {
        for (limit, partitions) in [(1, 30), (7, 30), (100, 30), (100, 101)] {
            let mut cluster = Cluster::of("1 2 3", partitions, 3, salt);
            cluster.all = nodes("1 2 3 4");
            let total = usize::from(partitions);
            let moves = cluster.settle(limit);
            let shares = cluster.shares();
            assert!(gap(shares.iter().map(|share| share.0)) <= 1, "salt {salt}: {shares:?}");
            let slack = 1 + total * 3 / 4 / 10;
            assert!(gap(shares.iter().map(|share| share.1)) <= slack, "salt {salt}: {shares:?}");
            assert!(moves <= total * 3 / 4 + 1, "{moves} rolls of {total} partitions");
        }
    }
}

#[test]
fn leases_go_to_the_joined_node_before_anything_else_and_the_hottest_first() {
    let mut cluster = Cluster::of("1 2 3", 30, 3, 0);
    cluster.all = nodes("1 2 3 4");
    let moves = cluster.moves(5);
    assert!(moves.iter().all(|m| m.placed.leader.node == NodeId(4)), "{moves:?}");
    // Each of the first three nodes led a hottest one.
    let heat = |m: &Move| m.partition.partition.0 % 10;
    assert!(moves.iter().all(|m| heat(m) >= 8), "{moves:?}");
}

#[test]
fn a_cluster_that_grew_is_widened_and_balanced() {
    // M13: everything was on one node.
    let mut cluster = Cluster::of("1", 12, 3, 0);
    cluster.all = nodes("1 2 3");
    let first = cluster.moves(3);
    assert!(first.iter().all(|m| m.cause == Cause::Widen { have: 1, next: 3 }), "{first:?}");
    assert!(first.iter().all(|m| m.placed.leader.node == NodeId(1)), "the leader is kept");
    let heat: Vec<_> = first.iter().map(|m| m.partition.partition.0).collect();
    assert_eq!(heat, [9, 8, 7], "the hottest first");
    cluster.settle(4);
    assert_eq!(cluster.shares(), [(4, 12); 3]);
}

#[test]
fn nodes_that_drain_or_are_away_end_with_nothing() {
    for gone in ["4:draining", "4:fenced=10", "4:removed"] {
        let mut cluster = Cluster::of("1 2 3 4", 24, 3, 0);
        cluster.all = nodes(&format!("1 2 3 {gone}"));
        // What an absent node leads is for the forced seal.
        let left = if gone == "4:draining" { 0 } else { cluster.shares()[3].0 };
        cluster.settle(5);
        assert_eq!(cluster.shares()[3], (left, left), "{gone}");
        let led: Vec<_> = cluster.shares()[..3].iter().map(|share| share.0).collect();
        assert!(gap(led.iter().copied()) <= 1, "{gone}: {led:?}");
    }
}

#[test]
fn racks_stay_spread_while_leases_move() {
    let mut cluster = Cluster::of("1:rack=a 2:rack=b 3:rack=c", 30, 3, 0);
    cluster.all = nodes("1:rack=a 2:rack=b 3:rack=c 4:rack=a");
    cluster.settle(10);
    for placed in &cluster.placed {
        let ids: Vec<_> = placed.members.iter().map(|m| m.node).collect();
        assert_eq!(cluster.all.rack_pairs(&ids), 0, "{placed}");
    }
    assert!(gap(cluster.shares().iter().map(|share| share.0)) <= 1, "{:?}", cluster.shares());
}

#[test]
fn what_is_on_its_way_counts_where_it_goes_and_kept_leases_move_last() {
    let (all, (members, leader)) = (nodes("1 2"), set("1* 2"));
    let segment = |at: i32, policy, moving_to| LedSegment {
        partition: TopicPartition { topic: TopicId::default(), partition: PartitionIndex(at) },
        epoch: Epoch::FIRST,
        members: &members,
        w: 2,
        leader,
        target: 2,
        min_insync: 1,
        policy,
        hotness: 100 - u64::try_from(at).unwrap(),
        moving_to,
        assigned: &[],
    };
    use LeaderPolicy::{Keep, LeastLoaded, Rotate};
    let two = Some(NodeId(2));
    // Policies and targets of rolls under way, and which partitions move.
    let table = [
        (vec![(Keep, None), (LeastLoaded, None)], vec![1]),
        (vec![(Keep, None), (Keep, None)], vec![0]),
        (vec![(Keep, None), (Rotate, None), (LeastLoaded, None)], vec![2]),
        (vec![(LeastLoaded, None), (LeastLoaded, two)], vec![]),
        (vec![(LeastLoaded, None), (LeastLoaded, two), (Rotate, None), (Keep, None)], vec![0]),
    ];
    for (segments, expected) in table {
        let segments: Vec<_> =
            (0..).zip(&segments).map(|(at, (policy, to))| segment(at, *policy, *to)).collect();
        let moved: Vec<_> =
            rebalance(&all, &segments, 9).iter().map(|m| m.partition.partition.0).collect();
        assert_eq!(moved, expected, "{segments:?}");
    }
}

#[test]
fn a_changed_write_quorum_asks_for_a_roll() {
    // M11: it takes effect with the next segment.
    let mut cluster = Cluster::of("1 2 3", 2, 3, 0);
    cluster.placed[1].w = 3;
    let moves = cluster.moves(9);
    assert_eq!(moves.len(), 1);
    assert_eq!((moves[0].cause, moves[0].placed.w), (Cause::Reshape, 2));
}

/// Any cluster, any set before: what must hold whatever comes out.
#[test]
fn no_placement_breaks_what_metadata_checks() {
    let mut narrow = 0;
    for seed in 0..4000_u64 {
        let roll = |what: i32, sides: u64| shuffle(seed, PartitionIndex(what), NodeId(0)) % sides;
        let n = i32::try_from(1 + roll(0, 6)).unwrap();
        let kind = |id: i32| match roll(10 + id, 12) {
            0 => ":draining",
            1 => ":fenced=3",
            2 => ":fenced=30",
            3 => ":full",
            4 => ":silent=2",
            5 => ":waits,leases=3",
            6 => ":cut=1+2",
            7 => ":disk=2",
            _ => ":rack=a,leases=1",
        };
        let text: String = (1..=n).map(|id| format!("{id}{} ", kind(id))).collect();
        let size = i32::try_from(1 + roll(1, 4)).unwrap().min(n);
        let before: String =
            (1..=size).map(|id| format!("{id}{} ", if id == 1 { "*" } else { "" })).collect();
        let target = usize::try_from(1 + roll(2, 4)).unwrap();
        let occasion = if roll(3, 2) == 0 { LOST } else { ROLL };
        let all = nodes(&text);
        let Ok(placed) = answer(&text, &before, (target, 2), LeaderPolicy::default(), occasion)
        else {
            continue;
        };
        // `placed` asserts what its doc says; these are apply's other rules, and stickiness.
        let case = format!("seed {seed}: {text}| {before}| {placed}");
        for member in &placed.members {
            assert_eq!(all.at(member.node).storage, member.storage, "{case}");
            assert_ne!(all.at(member.node).standing, Standing::Removed, "{case}");
        }
        assert!(all.lives(placed.leader.node), "{case}");
        assert!(placed.members.len() <= target.max(1), "{case}");
        narrow += usize::from(placed.members.len() < target);
        let (old, _) = set(&before);
        for member in &old {
            let node = all.at(member.node);
            let well = node.takes_segments() && node.unreachable.is_empty();
            let linked = all.iter().all(|other| all.linked(other.id, node.id));
            let disk = node.storage == member.storage;
            if well && linked && disk && old.len() <= target {
                assert!(placed.members.contains(member), "needless change, {case}");
            }
        }
    }
    assert!(narrow > 100, "too few narrow sets were seen: {narrow}");
}

#[test]
fn a_partition_that_is_assigned_elsewhere_rolls_there_and_is_not_moved_for_balance() {
    let (all, (members, leader)) = (nodes("1 2 3"), set("1* 2"));
    let one = |at: i32, assigned| LedSegment {
        partition: TopicPartition { topic: TopicId::default(), partition: PartitionIndex(at) },
        epoch: Epoch::FIRST,
        members: &members,
        w: 2,
        leader,
        target: 2,
        min_insync: 1,
        policy: LeaderPolicy::LeastLoaded,
        hotness: 0,
        moving_to: None,
        assigned,
    };
    let (there, turned, other) =
        ([NodeId(1), NodeId(2)], [NodeId(2), NodeId(1)], [NodeId(3), NodeId(1)]);
    let segments = [one(0, &there[..]), one(1, &turned), one(2, &other), one(3, &there)];
    let moves = rebalance(&all, &segments, 9);
    let told: Vec<_> = moves
        .iter()
        .map(|one| (one.partition.partition.0, one.placed.members.iter().map(|m| m.node.0)))
        .map(|(partition, members)| (partition, members.collect::<Vec<_>>()))
        .collect();
    assert_eq!(told, [(1, vec![2, 1]), (2, vec![3, 1])]);
    assert!(
        moves.iter().all(|one| one.placed.leader.node == leader && one.cause == Cause::Reshape)
    );
}
