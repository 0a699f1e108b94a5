//! Forced seals, what they could not reach, and who holds a segment afterwards.

use std::sync::Arc;

use walrus_metadata::{
    Command, Coverage, CoverageRefusal, Difference, Digest, Loss, Member, MembersRefusal, Metadata,
    PlacementRefusal, Reason, Reply, Roll, RollRefusal, Rolled, SegmentKey, SetMembers,
    limits::{LOSSES_MAX, MEMBERS_MAX},
};
use walrus_types::{Epoch, Incarnation, NodeId, Offset};

use crate::world::{
    apply, chain, fence, member, new_topic, on, partition, prune, register, roll, sealed,
    set_state, world,
};

fn rolled(state: &mut Metadata, roll: Roll) -> Result<Rolled, RollRefusal> {
    match apply(state, &Command::Roll(vec![roll])) {
        Reply::Rolled(mut each) => each.remove(0),
        reply => panic!("{reply:?}"),
    }
}

fn members(nodes: &[i32]) -> Vec<Member> {
    nodes.iter().map(|node| member(*node)).collect()
}

fn key(base: i64, epoch: i32) -> SegmentKey {
    SegmentKey { base: Offset(base), epoch: Epoch(epoch) }
}

/// Epoch 2 of members 1 to 5, with `w`, is open, and node 1, which leads it, is fenced.
fn five(w: u8) -> Metadata {
    let mut state = world(5);
    let mut next = roll(1, 0, &[1, 2, 3, 4, 5]);
    (next.next.w, next.sealed) = (w, sealed(0, 0));
    assert!(rolled(&mut state, next).is_ok());
    assert_eq!(chain(&state), "2:[0,) start=0");
    apply(&mut state, &fence(1, 1));
    state
}

fn narrow(holders: &[i32]) -> Coverage {
    Coverage::Narrow(members(holders))
}

fn lossy(holders: &[i32], seen: i64) -> Coverage {
    Coverage::Lossy { holders: members(holders), seen: Offset(seen) }
}

#[test]
fn a_seal_that_reached_few_is_recorded_if_it_can_be_so() {
    use Reason::{Failover, Unsafe};
    let holders = Err(RollRefusal::Coverage(CoverageRefusal::Holders));
    let odd = Err(RollRefusal::Coverage(CoverageRefusal::Loss));
    let count = |given, w| {
        let why = CoverageRefusal::Count { given, w };
        Err(RollRefusal::Coverage(why))
    };
    let of = |nodes: &[i32]| Ok(members(nodes));
    let cases = [
        (4, Failover, Coverage::Quorum, of(&[1, 2, 3, 4, 5])),
        (4, Failover, narrow(&[3, 2]), of(&[2, 3])),
        (4, Failover, narrow(&[2, 3, 4]), of(&[2, 3, 4])),
        (4, Failover, narrow(&[2, 3, 4, 5]), count(4, 4)),
        (4, Failover, narrow(&[]), count(0, 4)),
        (4, Failover, narrow(&[2, 2]), holders.clone()),
        (4, Failover, narrow(&[6]), holders.clone()),
        (4, Failover, narrow(&[2, 3, 4, 5, 1, 2]), holders.clone()),
        (4, Unsafe, Coverage::Quorum, odd.clone()),
        (4, Unsafe, narrow(&[2]), odd.clone()),
        (4, Unsafe, lossy(&[2], 9), of(&[2])),
        (4, Unsafe, lossy(&[2], 7), of(&[2])),
        (4, Unsafe, lossy(&[2], 6), odd.clone()),
        (4, Reason::Bytes, lossy(&[2], 9), odd.clone()),
        (4, Reason::QuorumLost, lossy(&[2], 9), odd),
        // Disks forgot, and all answered: who lacks something pulls it from the others.
        (4, Failover, lossy(&[3, 2, 1], 9), of(&[1, 2, 3])),
        (3, Failover, lossy(&[3, 2, 1], 9), of(&[1, 2, 3, 4, 5])),
        (3, Unsafe, lossy(&[2, 9], 9), holders),
    ];
    for (w, reason, coverage, expected) in cases {
        let mut state = five(w);
        let mut next = roll(2, 7, &[2, 3, 4, 5]);
        (next.reason, next.coverage) = (reason, coverage.clone());
        let found = rolled(&mut state, next).map(|_| {
            let chain = state.partition(partition(1, 0)).unwrap();
            chain.sealed().get(&key(0, 2)).unwrap().members.to_vec()
        });
        assert_eq!(found, expected, "{coverage:?} with {w}");
        let losses = state.partition(partition(1, 0)).unwrap().losses().iter();
        let losses: Vec<_> = losses.map(|(key, loss)| (*key, *loss)).collect();
        let expected = match coverage {
            Coverage::Lossy { seen, .. } if expected.is_ok() => {
                vec![(key(0, 2), Loss { from: Offset(7), seen })]
            }
            _ => vec![],
        };
        assert_eq!(losses, expected);
        assert_eq!(Metadata::decode(&state.encode()).as_ref(), Ok(&state));
    }
}

#[test]
fn nobody_seals_in_the_place_of_a_leader_that_is_not_fenced() {
    let (node, incarnation) = (NodeId(1), Incarnation(1));
    let lives = Some(RollRefusal::LeaderLives { node, incarnation });
    let restart = Command::Register(register(1, 2));
    let drain = set_state(1, walrus_metadata::NodeChange::Drain);
    let cases = [
        (Reason::Failover, None, lives.clone()),
        (Reason::Unsafe, None, lives.clone()),
        (Reason::Failover, Some(drain), lives),
        (Reason::Failover, Some(fence(1, 1)), None),
        (Reason::Unsafe, Some(fence(1, 1)), None),
        (Reason::Failover, Some(restart), None),
        // What a leader proposed before it was fenced holds.
        (Reason::Bytes, None, None),
        (Reason::QuorumLost, Some(fence(1, 1)), None),
    ];
    for (reason, step, refusal) in cases {
        let mut state = world(3);
        if let Some(step) = &step {
            apply(&mut state, step);
        }
        let mut next = roll(1, 5, &[2, 1, 3]);
        next.reason = reason;
        if reason == Reason::Unsafe {
            next.coverage = lossy(&[2], 5);
        }
        assert_eq!(rolled(&mut state, next).err(), refusal, "{reason} after {step:?}");
    }
}

#[test]
fn a_segment_that_nobody_holds_ends_where_it_can_and_leaves_its_loss() {
    let end =
        |log_start: i64| Err(RollRefusal::End { base: Offset(0), log_start: Offset(log_start) });
    let gone = Ok(Rolled { epoch: Epoch(3), stays: false });
    let cases = [
        (0, sealed(0, 0), gone.clone()),
        (0, sealed(5, 0), end(0)),
        (0, sealed(5, 50), end(0)),
        (0, sealed(0, 1), end(0)),
        (4, sealed(4, 0), gone.clone()),
        (4, sealed(4, 1), gone),
        (4, sealed(0, 0), end(4)),
        (4, sealed(5, 0), end(4)),
    ];
    for (log_start, sealed, expected) in cases {
        let mut state = five(3);
        apply(&mut state, &Command::Prune(vec![prune(2, log_start)]));
        let mut next = roll(2, 0, &[2, 3, 4, 5]);
        (next.sealed, next.reason) = (sealed, Reason::Unsafe);
        next.coverage = lossy(&[], 90);
        assert_eq!(rolled(&mut state, next), expected, "{sealed:?} from {log_start}");
        let chain = state.partition(partition(1, 0)).unwrap();
        let loss = Loss { from: sealed.end, seen: Offset(90) };
        assert_eq!(chain.losses().get(&key(0, 2)), expected.is_ok().then_some(&loss));
    }
}

#[test]
fn a_loss_is_remembered_until_it_is_pruned_and_so_many_at_most() {
    let mut state = world(2);
    let lost = |epoch: i32, life: u64, end: i64| {
        let mut next = roll(epoch, end, &[2, 1]);
        next.next.leader.incarnation = Incarnation(life);
        (next.reason, next.coverage) = (Reason::Unsafe, lossy(&[], end));
        next.sealed = sealed(end, 0);
        next
    };
    let losses = |state: &Metadata| {
        let chain = state.partition(partition(1, 0)).unwrap();
        chain.losses().iter().map(|(key, _)| key.epoch.0).collect::<Vec<_>>()
    };
    apply(&mut state, &Command::Register(register(1, 2)));
    for epoch in 1..110 {
        let life = u64::try_from(epoch).unwrap();
        assert!(rolled(&mut state, lost(epoch, life, 0)).is_ok(), "{epoch}");
        apply(&mut state, &Command::Register(register(2, life + 1)));
    }
    assert_eq!(losses(&state).len(), LOSSES_MAX);
    assert_eq!(losses(&state)[0], 10, "the oldest are forgotten");
    apply(&mut state, &Command::Prune(vec![prune(110, 0)]));
    assert_eq!(losses(&state).len(), LOSSES_MAX);
    apply(&mut state, &Command::Prune(vec![prune(110, 1)]));
    assert!(losses(&state).is_empty());
}

/// Epoch 1 is sealed at 5, epoch 2 at 9, both of members 1, 2 and 3; nodes 4 and 5 are there.
fn sealed_twice() -> Metadata {
    let mut state = world(3);
    for node in [4, 5] {
        apply(&mut state, &Command::Register(register(node, 1)));
    }
    for (epoch, end) in [(1, 5), (2, 9)] {
        assert!(rolled(&mut state, roll(epoch, end, &[1, 2, 3])).is_ok());
    }
    state
}

fn set(base: i64, epoch: i32, nodes: &[i32]) -> SetMembers {
    SetMembers {
        partition: partition(1, 0),
        segment: key(base, epoch),
        expected: members(&[1, 2, 3]),
        members: members(nodes),
        digest: None,
    }
}

fn apply_sets(state: &mut Metadata, sets: Vec<SetMembers>) -> Vec<Result<(), MembersRefusal>> {
    match apply(state, &Command::SetMembers(sets)) {
        Reply::MembersSet(each) => each,
        reply => panic!("{reply:?}"),
    }
}

#[test]
fn members_of_sealed_segments_change_by_compare_and_set() {
    use MembersRefusal::{NoneStays, Open, OtherMembers, UnknownPartition, UnknownSegment};
    let expecting = |nodes: &[i32]| SetMembers { expected: members(nodes), ..set(0, 1, &[1]) };
    let unknown = |node, disk| {
        let storage = member(disk).storage;
        Err(PlacementRefusal::UnknownMember { node: NodeId(node), storage }.into())
    };
    let with_disk = |node, disk: i32| Member { storage: member(disk).storage, node: NodeId(node) };
    let none = Err(PlacementRefusal::Members { limit: MEMBERS_MAX as u64 }.into());
    let elsewhere = SetMembers { partition: partition(1, 7), ..set(0, 1, &[1]) };
    let other_disk = SetMembers { members: vec![member(1), with_disk(4, 9)], ..set(0, 1, &[1]) };
    let cases = [
        (set(0, 1, &[1, 2, 4]), Ok(())),
        (set(5, 2, &[4, 5, 3]), Ok(())),
        (set(0, 1, &[1]), Ok(())),
        (set(0, 1, &[1, 2, 3]), Ok(())),
        (set(0, 1, &[3, 2, 1]), Ok(())),
        (set(0, 1, &[4, 5]), Err(NoneStays)),
        (set(0, 1, &[]), none.clone()),
        (set(0, 1, &[1, 4, 4]), none),
        (set(0, 1, &[1, 6]), unknown(6, 6)),
        (other_disk, unknown(4, 9)),
        (expecting(&[1, 2]), Err(OtherMembers)),
        (expecting(&[1, 3, 2]), Err(OtherMembers)),
        (set(9, 3, &[1, 2, 4]), Err(Open)),
        (set(5, 1, &[1, 2, 4]), Err(UnknownSegment)),
        (set(0, 2, &[1, 2, 4]), Err(UnknownSegment)),
        (elsewhere, Err(UnknownPartition)),
    ];
    for (set, expected) in cases {
        let mut state = sealed_twice();
        let before = state.clone();
        let found = apply_sets(&mut state, vec![set.clone(), set.clone()]);
        assert_eq!(found[0], expected, "{set:?}");
        let now = state.partition(partition(1, 0)).unwrap();
        let was = before.partition(partition(1, 0)).unwrap();
        let differs = expected.is_ok() && set.members != set.expected;
        // What comes again is refused, and nobody is told of what did not change.
        assert_eq!(found[1], if differs { Err(OtherMembers) } else { expected }, "{set:?}");
        let told = if differs { vec![Difference::Partition(partition(1, 0))] } else { vec![] };
        assert_eq!(state.diff(&before), told);
        let regrouped = if differs { vec![set.segment] } else { vec![] };
        assert_eq!(now.regrouped_since(was), regrouped);
        assert_eq!(now.dropped_since(was), []);
        if differs {
            assert_eq!(*now.sealed().get(&set.segment).unwrap().members, *set.members);
        }
        assert_eq!(Metadata::decode(&state.encode()), Ok(state));
    }
}

#[test]
fn a_digest_is_set_once() {
    let digest = |hash: u128| Some(Digest::from(hash));
    let other = |known: u128, given: u128| {
        let (known, given) = (Digest::from(known), Digest::from(given));
        Err(MembersRefusal::OtherDigest { known, given })
    };
    let great = u128::MAX - 1;
    let steps = [
        (None, Ok(()), None),
        (digest(0), Ok(()), digest(0)),
        (None, Ok(()), digest(0)),
        (digest(0), Ok(()), digest(0)),
        (digest(great), other(0, great), digest(0)),
    ];
    let mut state = sealed_twice();
    for (digest, expected, then) in steps {
        let set = SetMembers { digest, ..set(0, 1, &[1, 2, 3]) };
        assert_eq!(apply_sets(&mut state, vec![set]), [expected]);
        let chain = state.partition(partition(1, 0)).unwrap();
        assert_eq!(chain.sealed().get(&key(0, 1)).unwrap().digest, then);
        assert_eq!(Metadata::decode(&state.encode()).as_ref(), Ok(&state));
    }
    assert_eq!(u128::from(Digest::from(great)), great);
    assert_eq!(Digest::from(0xAB).to_string(), "000000000000000000000000000000ab");
}

#[test]
fn segments_that_are_repaired_alike_share_one_list() {
    let mut state = sealed_twice();
    let sets = vec![set(0, 1, &[1, 2, 4]), set(5, 2, &[1, 2, 4])];
    assert_eq!(apply_sets(&mut state, sets), [Ok(()), Ok(())]);
    let back = SetMembers { expected: members(&[1, 2, 4]), ..set(0, 1, &[1, 2, 3]) };
    let now = state.partition(partition(1, 0)).unwrap();
    let lists: Vec<_> = now.sealed().iter().map(|(_, sealed)| &sealed.members).collect();
    assert!(Arc::ptr_eq(lists[0], lists[1]));
    // With those of other partitions in the same command.
    apply(&mut state, &Command::CreateTopics(vec![new_topic(2, "u", 2, &[1, 2, 3])]));
    let places = [0, 1].map(|index| partition(2, index));
    let rolls = places.map(|partition| Roll { partition, ..roll(1, 5, &[1, 2, 3]) });
    apply(&mut state, &Command::Roll(rolls.into()));
    let sets = places.map(|partition| SetMembers { partition, ..set(0, 1, &[2, 1, 4]) });
    assert_eq!(apply_sets(&mut state, sets.into()), [Ok(()), Ok(())]);
    let lists = places.map(|place| {
        let (_, sealed) = state.partition(place).unwrap().sealed().first().unwrap();
        Arc::clone(&sealed.members)
    });
    assert!(Arc::ptr_eq(&lists[0], &lists[1]));
    // With the open segment's, too, which is the neighbour that most share.
    assert_eq!(apply_sets(&mut state, vec![back]), [Ok(())]);
    let now = state.partition(partition(1, 0)).unwrap();
    let (_, first) = now.sealed().first().unwrap();
    assert!(Arc::ptr_eq(&first.members, &now.open().members));
}

#[test]
fn a_narrow_seal_is_told_to_the_members_that_it_left_out() {
    let mut state = five(3);
    let before = state.clone();
    let mut next = roll(2, 7, &[2, 3, 4, 5]);
    (next.reason, next.coverage) = (Reason::Failover, narrow(&[4]));
    assert!(rolled(&mut state, next).is_ok());
    let now = state.partition(partition(1, 0)).unwrap();
    let was = before.partition(partition(1, 0)).unwrap();
    assert_eq!(now.regrouped_since(was), [key(0, 2)]);
    assert_eq!(on(&[2, 3, 4, 5]).members, *now.open().members);
}
