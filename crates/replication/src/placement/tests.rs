//! Placement as tables: nodes as words, the set before, the set after.
//!
//! A node is its number and what is special about it: `2:draining`, `3:rack=a,leases=5`,
//! `4:cut=1+2`. A set is its nodes with a star at the leader.

use walrus_types::{Epoch, Incarnation, StorageId, TopicId, TopicPartition};

use super::*;
use crate::placement::nodes::shuffle;

fn storage(id: i32, disk: u32) -> StorageId {
    StorageId(format!("{disk:016x}{id:016x}").parse().unwrap())
}

fn node(text: &str) -> Node {
    let (id, traits) = text.split_once(':').unwrap_or((text, ""));
    let id: i32 = id.parse().unwrap();
    let mut node = Node {
        id: NodeId(id),
        storage: storage(id, 1),
        incarnation: Incarnation(7),
        may_take_leases: true,
        ..Node::default()
    };
    for word in traits.split(',').filter(|word| !word.is_empty()) {
        let (word, value) = word.split_once('=').unwrap_or((word, "0"));
        match word {
            "draining" => node.standing = Standing::Draining,
            "removed" => node.standing = Standing::Removed,
            // Fenced and not heard for so many seconds.
            "fenced" => {
                node.standing = Standing::Fenced;
                node.silent_ms = Some(value.parse::<u64>().unwrap() * 1000);
            }
            // Not heard, but active: the controller has not fenced it yet.
            "silent" => node.silent_ms = Some(value.parse::<u64>().unwrap() * 1000),
            "full" => node.disk_full = true,
            "waits" => node.may_take_leases = false,
            "disk" => node.storage = storage(id, value.parse().unwrap()),
            "rack" => node.rack = Some(value.to_owned()),
            "leases" => node.leases = value.parse().unwrap(),
            "held" => node.held = value.parse().unwrap(),
            "cut" => {
                node.unreachable = value.split('+').map(|id| NodeId(id.parse().unwrap())).collect();
            }
            _ => panic!("{word}?"),
        }
    }
    node
}

fn nodes(text: &str) -> Nodes {
    text.split_whitespace().map(node).collect()
}

/// A set and its leader, all with their first disks.
fn set(text: &str) -> (Vec<Member>, NodeId) {
    let mut leader = None;
    let members = text.split_whitespace().map(|word| {
        let id: i32 = word.trim_end_matches('*').parse().unwrap();
        if word.ends_with('*') {
            leader = Some(NodeId(id));
        }
        Member { node: NodeId(id), storage: storage(id, 1) }
    });
    (members.collect(), leader.expect("a set has a leader"))
}

fn say(placed: &Result<Placed, Refusal>) -> String {
    match placed {
        Ok(placed) => {
            let said = placed.to_string().replace('n', "");
            said.split_once(':').map_or(said.clone(), |(set, _)| set.to_owned())
        }
        Err(refusal) => refusal.to_string(),
    }
}

/// Target and `min.insync.replicas`.
type Wish = (usize, usize);

fn answer(
    all: &str,
    before: &str,
    (target, min_insync): Wish,
    policy: LeaderPolicy,
    occasion: Occasion,
) -> Result<Placed, Refusal> {
    let (members, leader) = if before.is_empty() { (vec![], NodeId(0)) } else { set(before) };
    let previous = Previous { members: &members, leader, short: &[] };
    let request = Request {
        partition: PartitionIndex(0),
        target,
        min_insync,
        previous: Some(previous).filter(|_| !before.is_empty()),
        policy,
        occasion,
        salt: 1,
        assigned: &[],
    };
    let placed = place(&nodes(all), &request);
    assert_eq!(placed, place(&nodes(all), &request), "the same question has the same answer");
    placed
}

const ROLL: Occasion = Occasion::Planned(RollReason::Bytes);
const LOST: Occasion = Occasion::Planned(RollReason::QuorumLost);

/// Places a segment of a topic whose leaders stay where they can, as a leader rolls it.
#[track_caller]
fn check(all: &str, before: &str, wish: Wish, expected: &str) {
    let placed = answer(all, before, wish, LeaderPolicy::Keep, ROLL);
    assert_eq!(say(&placed), expected, "{all} | {before} | {placed:?}");
}

#[test]
fn a_replica_set_stays_while_nothing_forces_it_to_change() {
    // M17, and each of these nodes would be chosen if the set were made anew.
    check("1 2 3 4", "1* 2 3", (3, 2), "1* 2 3 w=2");
    check("1:held=99 2:held=99 3:held=99 4", "3 1* 2", (3, 2), "3 1* 2 w=2");
    check("1:rack=a 2:rack=a 3:rack=a 4:rack=b", "1* 2 3", (3, 2), "1* 2 3 w=2");
    // L2: away for less than ten seconds, it catches up in its place.
    check("1 2 3:fenced=9 4", "1* 2 3", (3, 2), "1* 2 3 w=2");
    check("1 2 3:silent=9 4", "1* 2 3", (3, 2), "1* 2 3 w=2");
}

#[test]
fn a_member_that_must_leave_is_replaced() {
    for left in ["3:fenced=10", "3:draining", "3:removed", "3:silent=10", ""] {
        check(&format!("1 2 4 {left}"), "1* 2 3", (3, 2), "1* 2 4 w=2");
    }
    // M2: the node is there, its disk is not. It may come in anew.
    check("1 2 3:disk=2 4:held=1", "1* 2 3", (3, 2), "1* 2 3 w=2");
    check("1 2 3:disk=2,held=1 4", "1* 2 3", (3, 2), "1* 2 4 w=2");
    let placed = answer("1 2 3:disk=2", "1* 2 3", (3, 2), LeaderPolicy::Keep, ROLL).unwrap();
    assert_eq!(placed.members[2].storage, storage(3, 2));
}

#[test]
fn a_set_is_narrow_while_nodes_are_missing_and_wider_when_they_are_back() {
    check("1 2 3:fenced=10", "1* 2 3", (3, 2), "1* 2 w=2");
    check("1 2:fenced=11 3:fenced=10", "1* 2 3", (3, 2), "1* w=1"); // M12: w is never above n
    check("1 2 3:held=1", "1*", (3, 2), "1* 2 3 w=2"); // M13: a cluster of one that has grown
    check("1 2 3", "1* 2", (3, 2), "1* 2 3 w=2");
    check("1 2 3", "1* 2 3", (1, 1), "1* w=1"); // a lowered target
    check("1 2:fenced=1 3", "1* 2 3", (2, 1), "1* 3 w=2");
}

#[test]
fn an_absent_member_goes_at_once_when_nothing_could_be_committed_with_it() {
    check("1 2:fenced=0", "1* 2", (2, 1), "1* w=1"); // M4, M5
    check("1 2 3:fenced=0", "1* 2 3", (3, 3), "1* 2 w=2");
    check("1 2:fenced=0 3:fenced=0", "1* 2 3", (3, 2), "1* w=1");
    check("1 2:fenced=0 3:fenced=0 4", "1* 2 3", (3, 2), "1* 2 4 w=2");
    check("1 2:fenced=0 3", "1* 2", (2, 1), "1* 3 w=2");
}

#[test]
fn metadata_wants_as_many_members_as_nodes_are_active() {
    // Active but silent: not fenced yet, and metadata would refuse a set without it.
    check("1 2 3:silent=12", "1* 2 3", (3, 2), "1* 2 3 w=2");
    check("1 2 3:full", "1*", (3, 2), "1* 2 3 w=2");
    check("1 2 3:full 4:held=1", "1*", (3, 2), "1* 2 4 w=2");
    check("1 2:silent=12 3:silent=11", "1*", (2, 1), "1* 3 w=2");
}

#[test]
fn racks_are_spread_where_members_are_chosen() {
    check("1:rack=a 2:rack=a 3:rack=b,held=9 4:rack=a", "1*", (2, 1), "1* 3 w=2");
    check("1:rack=a 2:rack=a 3:rack=b,held=9 4:rack=c,held=8", "1*", (3, 2), "1* 4 3 w=2");
    check("1:rack=a 2:rack=a 3:rack=b 4:rack=b,held=1", "1* 3", (3, 2), "1* 3 2 w=2");
    check("1:rack=a 2:rack=a 3:rack=b", "1* 2 3", (2, 1), "1* 3 w=2");
    check("1 2:held=1 3", "1*", (2, 1), "1* 3 w=2"); // who names no rack shares none
}

#[test]
fn full_disks_take_no_new_segments_if_others_can() {
    // L23
    check("1 2 3:full 4", "1* 2 3", (3, 2), "1* 2 4 w=2");
    check("1:full 2 3", "1* 2 3", (3, 2), "1 2* 3 w=2"); // no spare: the lease goes all the same
    check("1:full", "1*", (1, 1), "1* w=1");
}

#[test]
fn nodes_that_do_not_reach_each_other_are_kept_apart() {
    // L16: the third reaches both, so it leads and nobody leaves.
    check("1:cut=2 2 3 4", "1* 2 3", (3, 2), "1 2 3* w=2");
    // Nobody reaches 2, and 4 can take its place.
    check("1 2:cut=1+3 3 4", "1* 2 3", (3, 2), "1* 4 3 w=2");
    check("1 2:cut=1+3 3", "1* 2 3", (3, 2), "1* 2 3 w=2");
    check("1:cut=2 2 3", "1* 2", (2, 1), "1* 3 w=2");
    // A node with a broken link joins last.
    check("1 2:cut=1 3:held=9", "1*", (2, 1), "1* 3 w=2");
}

#[test]
fn a_leader_that_lost_its_quorum_succeeds_itself_or_gives_up() {
    let table = [
        ("1 2:fenced=1", "1* 2", (2, 1), "1* w=1"),
        ("1 2:fenced=1 3", "1* 2", (2, 1), "1* 3 w=2"),
        ("1:leases=9 2 3:fenced=1 4:fenced=1 5", "1* 3 4", (3, 2), "1* 3 2 w=2"),
        // What it does not reach is no member, active or not, if others are there.
        ("1:cut=2 2 3", "1* 2", (2, 1), "1* 3 w=2"),
        (
            "1:cut=2 2",
            "1* 2",
            (2, 1),
            "n1 reaches 1 of the 2 members it needs, and the others are active",
        ),
        ("1:draining 2:fenced=1", "1* 2", (2, 1), "1* w=1"),
        ("1:fenced=1 2", "1* 2", (2, 1), "n1 lost its quorum and is not in service itself"),
    ];
    for (all, before, wish, expected) in table {
        // The policy has no say: its uncommitted batches are nowhere else.
        let placed = answer(all, before, wish, LeaderPolicy::Rotate, LOST);
        let said = say(&placed);
        assert_eq!(said, expected, "{all} | {before}");
    }
}

#[test]
fn the_lease_moves_inside_the_set_by_its_policy() {
    use LeaderPolicy::{Keep, LeastLoaded, Rotate};
    let table = [
        (LeastLoaded, "1:leases=1 2 3", "1* 2 3", "1 2* 3 w=2"), // a tie goes to the next
        (LeastLoaded, "1 2 3:leases=1", "1 2 3*", "1* 2 3 w=2"), // around the corner
        (LeastLoaded, "1:leases=1 2:leases=1 3:leases=1", "1* 2 3", "1* 2 3 w=2"),
        (LeastLoaded, "1:leases=5 2:leases=3 3:leases=2", "1* 2 3", "1 2 3* w=2"),
        (LeastLoaded, "1:leases=5 2 3:leases=2 4", "1* 3 4", "1 3 4* w=2"),
        (Rotate, "1 2:leases=99 3", "1* 2 3", "1 2* 3 w=2"),
        (Rotate, "1 2:fenced=1 3", "1* 2 3", "1 2 3* w=2"),
        (Rotate, "1:fenced=1 2 3", "1 2 3*", "1 2* 3 w=2"),
        (Rotate, "1 2:fenced=99 3 4", "1 2* 3", "1 3* 4 w=2"),
        (Keep, "1:leases=99 2 3", "1* 2 3", "1* 2 3 w=2"),
        (Keep, "1:fenced=1 2:leases=2 3", "1* 2 3", "1 2 3* w=2"),
        // L1: fenced again and again, it waits; unless nobody else can.
        (LeastLoaded, "1:leases=9 2:waits 3:leases=8", "1* 2 3", "1 2 3* w=2"),
        (LeastLoaded, "1:fenced=1 2:waits 3:fenced=99", "1* 2 3", "2* w=1"),
        (LeastLoaded, "1:draining 2:leases=9 3:leases=8", "1* 2 3", "2 3* w=2"),
        // A new member has to fetch the partition's state first.
        (LeastLoaded, "1:leases=9 2:leases=8 3:fenced=99 4", "1* 2 3", "1 2* 4 w=2"),
    ];
    for (policy, all, before, expected) in table {
        let placed = answer(all, before, (3, 2), policy, ROLL);
        assert_eq!(say(&placed), expected, "{policy:?} | {all} | {before} | {placed:?}");
    }
}

#[test]
fn a_member_that_lacks_a_part_of_the_sealed_segment_leads_only_if_nobody_else_can() {
    let (members, leader) = set("1* 2 3");
    for (all, expected) in
        [("1:fenced=1 2 3:leases=9", "1 2 3* w=2"), ("1:fenced=1 2 3:fenced=99", "2* w=1")]
    {
        let request = Request {
            partition: PartitionIndex(0),
            target: 3,
            min_insync: 2,
            previous: Some(Previous { members: &members, leader, short: &[NodeId(2)] }),
            policy: LeaderPolicy::LeastLoaded,
            occasion: Occasion::Forced,
            salt: 0,
            assigned: &[],
        };
        assert_eq!(say(&place(&nodes(all), &request)), expected, "{all}");
    }
}

#[test]
fn a_restarted_node_leads_in_its_new_life() {
    // M20: a placement names the incarnation that is current.
    let mut all = nodes("1 2 3");
    all.get_mut(NodeId(1)).unwrap().incarnation = Incarnation(8);
    let (members, leader) = set("1* 2 3");
    let request = Request {
        partition: PartitionIndex(0),
        target: 3,
        min_insync: 2,
        previous: Some(Previous { members: &members, leader, short: &[] }),
        policy: LeaderPolicy::Keep,
        occasion: Occasion::Forced,
        salt: 0,
        assigned: &[],
    };
    let placed = place(&all, &request).unwrap();
    assert_eq!(placed.leader, Writer { node: NodeId(1), incarnation: Incarnation(8) });
}

#[test]
fn the_last_nodes_go_on_though_they_drain() {
    check("1:draining", "1*", (1, 1), "1* w=1");
    check("1:draining 2:draining", "2*", (3, 2), "2* w=1");
    check("1:draining 2", "1*", (1, 1), "2* w=1");
    check("1:fenced=1 2:removed", "1* 2", (2, 1), "no node is there that could lead");
    check("1:silent=1", "1*", (1, 1), "no node is there that could lead");
}

#[test]
fn a_placement_explains_itself() {
    let placed = answer(
        "1:rack=a 2:fenced=12 3:full,rack=a",
        "1* 2",
        (4, 2),
        LeaderPolicy::LeastLoaded,
        ROLL,
    );
    assert_eq!(
        placed.unwrap().to_string(),
        "n1* n3 w=2: n2 leaves: away for 12 s; n3 joins: there were too few; 2 of 4 members; \
         n3 although its disk is full; n3 in the rack of n1; n1 leads: it has 0 other leases"
    );
}

fn assigned(all: &str, before: &str, to: &[i32], occasion: Occasion) -> Result<Placed, Refusal> {
    let (members, leader) = set(before);
    let to: Vec<NodeId> = to.iter().map(|id| NodeId(*id)).collect();
    let request = Request {
        partition: PartitionIndex(0),
        target: to.len(),
        min_insync: 1,
        previous: Some(Previous { members: &members, leader, short: &[] }),
        policy: LeaderPolicy::Keep,
        occasion,
        salt: 1,
        assigned: &to,
    };
    place(&nodes(all), &request)
}

#[test]
fn a_partition_goes_to_the_nodes_that_it_is_assigned_to_in_their_order() {
    for (all, before, to, expected) in [
        ("1 2 3 4", "1* 2 3", &[3, 2, 4][..], "3* 2 4 w=2"),
        ("1 2 3 4", "1* 2 3", &[3, 2, 1], "3 2 1* w=2"),
        ("1 2 3 4 5 6", "1* 2 3", &[4, 5, 6], "4* 5 6 w=2"),
        ("1 2 3", "1* 2 3", &[2], "2* w=1"),
        ("1 2 3", "1*", &[3, 1], "3 1* w=2"),
        // Who was a member fills the place of who is not there, before others do.
        ("1:leases=9 2 3:held=99 4:fenced=1 5", "1* 2 3", &[2, 1, 4], "2 1* 3 w=2"),
        ("1 2 3:held=99 4:draining 5", "1* 2 3", &[1, 2, 4], "1* 2 3 w=2"),
        // What was a member and is away for a moment stays.
        ("1 2 3:silent=9 4", "1* 2 3", &[1, 3, 4], "1* 3 4 w=2"),
        ("1 2 3:silent=10 4", "1* 2 3", &[1, 3, 4], "1* 4 2 w=2"),
        // A node that is not in the cluster is nobody.
        ("1 2 3", "1* 2 3", &[1, 2, 9], "1* 2 3 w=2"),
    ] {
        let placed = assigned(all, before, to, ROLL);
        assert_eq!(say(&placed), expected, "{all} | {before} | {to:?} | {placed:?}");
    }
    let lost = assigned("1 2 3 4", "1* 2 3", &[2, 3, 4], LOST);
    assert_eq!(say(&lost), "1* 2 3 w=2", "a leader that lost its quorum succeeds itself");
}

#[test]
fn a_node_leads_by_name_when_it_is_a_member_and_could_commit() {
    let (members, leader) = set("1* 2 3");
    let previous = Previous { members: &members, leader, short: &[] };
    let request = Request {
        partition: PartitionIndex(0),
        target: 3,
        min_insync: 2,
        previous: Some(previous),
        policy: LeaderPolicy::LeastLoaded,
        occasion: ROLL,
        salt: 1,
        assigned: &[],
    };
    let refused = |id: i32| format!("n{id} cannot lead the partition now");
    for (all, id, expected) in [
        ("1 2 3:leases=9 4", 3, "1 2 3* w=2".to_owned()),
        ("1 2 3 4", 1, "1* 2 3 w=2".to_owned()),
        ("1 2 3 4", 4, refused(4)),
        ("1 2 3", 9, refused(9)),
        ("1 2 3:silent=1 4", 3, refused(3)),
        ("1 2 3:draining", 3, refused(3)),
        ("1 2 3:full", 3, refused(3)),
        ("1:silent=1 2:silent=1 3", 3, refused(3)),
        ("1:fenced=1 2:fenced=1 3", 3, "3* w=1".to_owned()),
    ] {
        let placed = place_led_by(&nodes(all), &request, NodeId(id));
        assert_eq!(say(&placed), expected, "{all} | {placed:?}");
    }
}

mod spread;
