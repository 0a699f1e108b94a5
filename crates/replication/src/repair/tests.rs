use walrus_types::{Epoch, Offset, PartitionIndex, StorageId, TopicPartition};

use super::*;

/// Nodes by a word each: `3` is active, `3d` drains, `3f200` is fenced and silent for so long,
/// `3s200` only silent, `3x` was removed, `3n` has another disk than before, `3@r` is in rack r.
fn nodes(words: &str) -> Nodes {
    words.split_whitespace().map(node).collect()
}

fn node(word: &str) -> Node {
    let digits = word.chars().take_while(char::is_ascii_digit).count();
    let (id, what) = word.split_at(digits);
    let id: i32 = id.parse().unwrap();
    let mut node = Node {
        id: NodeId(id),
        storage: member(id).storage,
        standing: Standing::Active,
        may_take_leases: true,
        ..Node::default()
    };
    let ms = |what: &str| Some(what[1..].parse().unwrap());
    match what.chars().next() {
        None => {}
        Some('d') => node.standing = Standing::Draining,
        Some('f') => (node.standing, node.silent_ms) = (Standing::Fenced, ms(what)),
        Some('s') => node.silent_ms = ms(what),
        Some('x') => node.standing = Standing::Removed,
        Some('n') => node.storage = member(id + 100).storage,
        Some('@') => node.rack = Some(what[1..].to_owned()),
        Some('h') => node.held = what[1..].parse().unwrap(),
        Some(other) => panic!("{other}?"),
    }
    node
}

fn member(id: i32) -> Member {
    Member { node: NodeId(id), storage: StorageId(format!("{id:032x}").parse().unwrap()) }
}

fn members(ids: &[i32]) -> Vec<Member> {
    ids.iter().map(|id| member(*id)).collect()
}

fn segment(number: i64) -> SegmentId {
    let partition = TopicPartition { partition: PartitionIndex(0), ..TopicPartition::default() };
    SegmentId { partition, base: Offset(number), epoch: Epoch(1) }
}

const LIMITS: Limits = Limits { at_once: 2, bytes_per_second: 1_000 };

fn repairs() -> Repairs {
    Repairs::new(LIMITS)
}

/// Who gets a copy of a segment with these members, and from whom.
fn placed(
    nodes: &Nodes,
    holders: &[i32],
    beside: &[i32],
    target: usize,
) -> Option<(i32, Vec<i32>)> {
    let (holders, beside) = (members(holders), members(beside));
    let short = Short {
        segment: segment(1),
        bytes: 10,
        members: &holders,
        beside: &beside,
        target,
        is_internal: false,
        assigned: &[],
    };
    let wanted = repairs().plan(nodes, &[short], UptimeMs(5)).pop()?;
    Some((wanted.to.node.0, wanted.sources.iter().map(|source| source.node.0).collect()))
}

#[test]
fn a_segment_is_copied_as_long_as_it_has_fewer_copies_than_there_could_be() {
    for (cluster, holders, target, expected) in [
        ("1 2 3", &[1][..], 3, Some((2, vec![1]))),
        ("1 2 3", &[1, 2], 3, Some((3, vec![1, 2]))),
        ("1 2 3", &[1, 2, 3], 3, None),
        // There is nobody who could have more.
        ("1 2", &[1, 2], 3, None),
        ("1 2 3", &[1], 1, None),
        // It may be back in a moment.
        ("1 2 3f29999 4", &[1, 2, 3], 3, None),
        ("1 2 3f30000 4", &[1, 2, 3], 3, Some((4, vec![1, 2]))),
        ("1 2 3s29999 4", &[1, 2, 3], 3, None),
        // Its disk is lost: the node that is there now has nothing.
        ("1 2 3n", &[1, 2, 3], 3, Some((3, vec![1, 2]))),
        ("1 2 3x 4", &[1, 2, 3], 3, Some((4, vec![1, 2]))),
        // What drains does not count, and can be read.
        ("1d 2 3", &[1], 1, Some((2, vec![1]))),
        ("1d 2 3 4", &[1, 2, 3], 3, Some((4, vec![1, 2, 3]))),
        ("1d 2 3", &[1, 2, 3], 3, None),
        // Nobody is there who has it.
        ("1f40000 2 3", &[1], 3, None),
        ("1f10 2 3", &[1], 3, None),
        // Nobody is there who could take it.
        ("1 2s300 3d", &[1], 3, None),
    ] {
        assert_eq!(
            placed(&nodes(cluster), holders, &[], target),
            expected,
            "{cluster}, {holders:?}"
        );
    }
}

#[test]
fn members_of_the_open_segment_come_first_then_other_racks_then_who_has_least() {
    for (cluster, holders, beside, expected) in [
        ("1 2 3 4", &[1][..], &[1, 4][..], 4),
        ("1@a 2@a 3@b", &[1], &[], 3),
        ("1@a 2@a 3@b", &[1], &[2], 2),
        ("1 2h5 3h4", &[1], &[], 3),
        ("1 2 3", &[1], &[1], 2),
    ] {
        let (to, _) = placed(&nodes(cluster), holders, beside, 3).unwrap();
        assert_eq!(to, expected, "{cluster}, {holders:?} beside {beside:?}");
    }
}

#[test]
fn single_copies_come_first_and_internal_topics_before_others() {
    let nodes = nodes("1 2 3 4 5 6 7 8 9");
    let held = [members(&[1, 2]), members(&[3]), members(&[4]), members(&[5, 6])];
    let short: Vec<Short<'_>> = (0..)
        .zip(&held)
        .map(|(number, members)| Short {
            segment: segment(number),
            bytes: 0,
            members,
            beside: &[],
            target: 3,
            is_internal: number >= 2,
            assigned: &[],
        })
        .collect();
    let wanted = repairs().plan(&nodes, &short, UptimeMs(0));
    let order: Vec<i64> = wanted.iter().map(|wanted| wanted.segment.base.0).collect();
    assert_eq!(order, [2, 1, 3, 0]);
}

/// Ten segments of so many bytes on node 1 alone, of three nodes.
fn ten(nodes: &Nodes, repairs: &mut Repairs, bytes: u64, now: u64) -> Vec<i64> {
    let holders = members(&[1]);
    let short: Vec<Short<'_>> = (0..10)
        .map(|number| Short {
            segment: segment(number),
            bytes,
            members: &holders,
            beside: &holders,
            target: 3,
            is_internal: false,
            assigned: &[],
        })
        .collect();
    let wanted = repairs.plan(nodes, &short, UptimeMs(now));
    wanted.iter().map(|wanted| wanted.segment.base.0).collect()
}

#[test]
fn a_node_takes_part_in_so_many_copies_at_once_and_each_is_made_once() {
    let (nodes, mut repairs) = (nodes("1 2 3"), repairs());
    assert_eq!(ten(&nodes, &mut repairs, 0, 0), [0, 1], "node 1 gives two at once");
    assert_eq!(ten(&nodes, &mut repairs, 0, 1), [] as [i64; 0]);
    repairs.ended(segment(0), true, UptimeMs(2));
    // Whoever calls has not seen the new member yet, perhaps: nothing is lost by one more.
    assert_eq!(ten(&nodes, &mut repairs, 0, 2), [0]);
    assert_eq!(repairs.under_way(), 2);
}

#[test]
fn a_node_gets_no_more_bytes_than_its_rate_has() {
    let (nodes, mut repairs) = (nodes("1 2 3"), repairs());
    // Two seconds' worth.
    assert_eq!(ten(&nodes, &mut repairs, 2_000, 0), [0]);
    repairs.ended(segment(0), true, UptimeMs(1));
    assert_eq!(ten(&nodes, &mut repairs, 2_000, 1_999), [] as [i64; 0]);
    assert_eq!(ten(&nodes, &mut repairs, 2_000, 2_000), [0]);
}

#[test]
fn what_failed_waits_longer_each_time_and_others_go_on() {
    let (nodes, mut repairs) = (nodes("1 2 3"), repairs());
    let mut now = 0;
    for wait_ms in [1_000, 2_000, 4_000] {
        assert_eq!(ten(&nodes, &mut repairs, 0, now)[0], 0);
        repairs.ended(segment(0), false, UptimeMs(now));
        let others = ten(&nodes, &mut repairs, 0, now + wait_ms - 1);
        assert!(!others.contains(&0) && !others.is_empty(), "{others:?}");
        now += wait_ms;
        for number in 1..10 {
            repairs.ended(segment(number), true, UptimeMs(now));
        }
    }
}

#[test]
fn a_list_of_members_lets_go_of_who_is_not_needed_and_never_of_all() {
    for (cluster, holders, with, target, expected) in [
        ("1 2 3", &[1][..], Some(2), 3, &[1, 2][..]),
        ("1 2 3", &[1, 2], None, 3, &[1, 2]),
        ("1 2 3", &[1, 2], Some(2), 3, &[1, 2]),
        // What drains goes when there are as many as are wanted, and all of them can be read.
        ("1d 2 3 4", &[1, 2, 3], Some(4), 3, &[2, 3, 4]),
        ("1d 2 3 4", &[1, 2, 3, 4], None, 3, &[2, 3, 4]),
        ("1d 2 3f10 4", &[1, 2, 3, 4], None, 3, &[1, 2, 3, 4]),
        ("1d 2f10 3", &[1, 2], None, 1, &[1, 2]),
        ("1d 2 3", &[1, 2, 3], None, 3, &[1, 2, 3]),
        ("1d 2 3", &[1, 2], None, 3, &[1, 2]),
        // It is where the only copy came from: it goes with the next look.
        ("1d 2 3", &[1], Some(2), 1, &[1, 2]),
        ("1d 2 3", &[1, 2], None, 1, &[2]),
        // What is missing stays until there are as many as are wanted.
        ("1f30000 2 3", &[1, 2, 3], None, 3, &[1, 2, 3]),
        ("1f30000 2 3 4", &[1, 2, 3], Some(4), 3, &[2, 3, 4]),
        ("1f10 2 3 4", &[1, 2, 3], Some(4), 3, &[1, 2, 3, 4]),
        // What is gone goes at once, if anything stays.
        ("1n 2 3", &[1, 2], Some(3), 3, &[2, 3]),
        ("1x 2 3", &[1, 2], None, 3, &[2]),
        ("1x 2 3", &[1], None, 3, &[1]),
    ] {
        let regrouped = {
            let to = (target, &[][..]);
            regroup(&nodes(cluster), &members(holders), with.map(member), to)
        };
        assert_eq!(regrouped, members(expected), "{cluster}, {holders:?} with {with:?}");
    }
}

#[test]
fn nobody_leaves_a_cluster_in_which_all_are_well_or_just_away() {
    for (cluster, expected) in
        [("1 2 3", false), ("1 2f100 3", false), ("1 2d 3", true), ("1 2f30000 3", true)]
    {
        assert_eq!(anybody_leaves(&nodes(cluster)), expected, "{cluster}");
    }
}

#[test]
fn whoever_is_to_have_a_segment_by_name_is_given_it_and_then_alone_has_it() {
    for (cluster, holders, assigned, copied_to, regrouped) in [
        // As many copies as are wanted are elsewhere.
        ("1 2 3 4", &[1, 2, 3][..], &[2, 3, 4][..], Some(4), &[1, 2, 3][..]),
        ("1 2 3 4", &[1, 2, 3, 4], &[2, 3, 4], None, &[2, 3, 4]),
        ("1 2 3 4", &[1, 2, 3], &[3, 1, 2], None, &[3, 1, 2]),
        ("1 2 3 4 5 6", &[1, 2, 3, 4, 5], &[4, 5, 6], Some(6), &[1, 2, 3, 4, 5]),
        // Who is not there cannot be given anything, and others do not leave for it.
        ("1 2 3 4f10", &[1, 2, 3], &[2, 3, 4], None, &[1, 2, 3]),
        ("1 2 3 4f10", &[1, 2, 3, 4], &[2, 3, 4], None, &[1, 2, 3, 4]),
        // Until then the segment has as many copies as is wanted in any case.
        ("1 2 3 4f10", &[1, 2], &[2, 3, 4], Some(3), &[1, 2]),
        ("1 2 3f10 4f10 5", &[1, 2], &[2, 3, 4], Some(5), &[1, 2]),
        // One of those before stays.
        ("1 2 3 4", &[1], &[4, 2, 3], Some(2), &[1]),
    ] {
        let (nodes, holders, assigned) = (nodes(cluster), members(holders), members(assigned));
        let short = Short {
            segment: segment(1),
            bytes: 10,
            members: &holders,
            beside: &[],
            target: 3,
            is_internal: false,
            assigned: &assigned,
        };
        let wanted = repairs().plan(&nodes, &[short], UptimeMs(5));
        let to = wanted.first().map(|wanted| wanted.to.node.0);
        assert_eq!(to, copied_to, "{cluster}, {holders:?} to {assigned:?}");
        let now = regroup(&nodes, &holders, None, (3, &assigned));
        assert_eq!(now, members(regrouped), "{cluster}, {holders:?} to {assigned:?}");
    }
    let one = regroup(&nodes("1 2"), &members(&[1]), Some(member(2)), (1, &members(&[2])));
    assert_eq!(one, members(&[1, 2]), "the only copy is let go with the next look");
}
