use walrus_metadata::{
    Command, Coverage, Digest, Prune, Reason, Roll, SealedAt, SegmentKey, SetMembers,
};
use walrus_types::{ProducerId, TimestampMs};

use super::{super::*, world::*};
use crate::replica::messages::{RepairOrder, RepairReply};

const FIRST: i64 = 40;

/// Node 2 alone has the sealed segment `[0, 40)`, by a seal that found nobody else.
async fn narrow(world: &mut World) {
    world.node(2).feed((0, FIRST), FIRST).await;
    let old = world.metadata.clone();
    let bytes = world.node(2).store.segment(segment(0, 1)).bytes().unwrap();
    seal_at(world, bytes);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(0, 1)).await;
    world.register(4, 1);
    world.start(4);
}

fn seal_at(world: &mut World, bytes: u64) {
    world.fence_in_metadata(life(1, 1));
    let roll = Roll {
        partition: P,
        expected: world.open_epoch(),
        sealed: SealedAt { end: Offset(FIRST), bytes, max_timestamp: TimestampMs(7) },
        coverage: Coverage::Narrow(vec![stored(2)]),
        next: placement(life(2, 1), &[1, 2, 3]),
        reason: Reason::Failover,
        at: TimestampMs(0),
    };
    let reply = world.apply(&Command::Roll(vec![roll]));
    assert!(matches!(&reply, walrus_metadata::Reply::Rolled(all) if all[0].is_ok()), "{reply:?}");
}

fn stored(number: i32) -> walrus_metadata::Member {
    walrus_metadata::Member { node: member(number).node, storage: disk(number) }
}

fn set_members(world: &mut World, expected: &[i32], members: &[i32], digest: Option<Digest>) {
    let set = SetMembers {
        partition: P,
        segment: SegmentKey { base: Offset(0), epoch: Epoch(1) },
        expected: expected.iter().map(|number| stored(*number)).collect(),
        members: members.iter().map(|number| stored(*number)).collect(),
        digest,
    };
    let reply = world.apply(&Command::SetMembers(vec![set]));
    assert_eq!(reply, walrus_metadata::Reply::MembersSet(vec![Ok(())]));
}

fn order(world: &World, to: i32, sources: &[i32]) -> RepairOrder {
    RepairOrder {
        segment: segment(0, 1),
        to_storage: disk(to),
        index: world.metadata.applied(),
        sources: sources.iter().map(|number| member(*number)).collect(),
        bytes_per_second: 1 << 30,
    }
}

async fn repair(world: &World, to: i32, sources: &[i32]) -> Result<(u64, Digest), String> {
    match world.node(to).replicas.repair(order(world, to, sources)).await? {
        RepairReply::Whole { bytes, digest } => Ok((bytes, digest)),
        RepairReply::UnderWay => panic!("it takes long"),
    }
}

fn sequences(table: &ProducerTable) -> Vec<i32> {
    let all: Vec<i32> = table.remembered(ProducerId(5)).map(|batch| batch.sequence.0).collect();
    all[all.len().saturating_sub(5)..].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_member_copies_a_sealed_segment_with_its_table() {
    let mut world = World::new();
    narrow(&mut world).await;
    // The first source is not there.
    let (bytes, digest) = repair(&world, 4, &[3, 2]).await.unwrap();
    let (from, to) = (world.node(2).store.segment(segment(0, 1)), world.node(4));
    assert_eq!(bytes, from.bytes().unwrap());
    assert!(to.store.segment(segment(0, 1)).is_sealed().unwrap());
    assert_eq!(to.bases(segment(0, 1)).len(), 20);
    assert_eq!(sequences(&to.table(segment(0, 1))), [30, 32, 34, 36, 38]);
    // Asked again it finds what it has, and so does the next life.
    assert_eq!(repair(&world, 4, &[2]).await, Ok((bytes, digest)));
    world.restart(4).await;
    assert_eq!(repair(&world, 4, &[]).await, Ok((bytes, digest)));
    // It becomes a member, and has nothing to pull.
    let old = world.metadata.clone();
    set_members(&mut world, &[2], &[2, 4], Some(digest));
    world.kill(2).await;
    world.tell(4, &old);
    let to = world.node(4);
    assert!(to.replicas.is_whole(segment(0, 1)).await);
    assert_eq!(to.replicas.producers_at(P, Offset(FIRST)).unwrap().end(), Offset(FIRST));
    // The next copy comes from here, and is held against the digest.
    assert_eq!(repair(&world, 3, &[4]).await, Ok((bytes, digest)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_an_earlier_copy_is_gone_on_with_and_a_tail_past_the_end_is_cut() {
    let mut world = World::new();
    // Both were members of it while it was open: one has less, the other more than was decided.
    world.node(3).feed((0, 10), 8).await;
    narrow(&mut world).await;
    let (bytes, digest) = repair(&world, 3, &[2]).await.unwrap();
    assert_eq!(repair(&world, 4, &[2]).await, Ok((bytes, digest)));

    let mut world = World::new();
    world.node(3).feed((0, 50), 8).await;
    narrow(&mut world).await;
    assert_eq!(repair(&world, 3, &[2]).await, Ok((bytes, digest)));
    assert_eq!(world.node(3).store.segment(segment(0, 1)).end().unwrap(), Offset(FIRST));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_not_what_was_sealed_is_thrown_away() {
    let mut world = World::new();
    world.node(2).feed((0, FIRST), FIRST).await;
    let old = world.metadata.clone();
    let bytes = world.node(2).store.segment(segment(0, 1)).bytes().unwrap();
    seal_at(&mut world, bytes + 1);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(0, 1)).await;
    let refused = repair(&world, 3, &[2]).await.unwrap_err();
    assert!(refused.contains("bytes where"), "{refused}");
    assert_eq!(world.node(3).store.segment(segment(0, 1)).bytes().unwrap(), 0);

    let mut world = World::new();
    narrow(&mut world).await;
    set_members(&mut world, &[2], &[2], Some(Digest::from(1)));
    let refused = repair(&world, 4, &[2]).await.unwrap_err();
    assert!(refused.contains("digest"), "{refused}");
    assert_eq!(world.node(4).store.segment(segment(0, 1)).bytes().unwrap(), 0);
    // It is the sender's own who is a member that stays.
    assert!(world.node(2).replicas.is_whole(segment(0, 1)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_open_or_pruned_or_for_another_disk_is_not_copied() {
    let mut world = World::new();
    world.node(2).feed((0, FIRST), FIRST).await;
    assert!(repair(&world, 3, &[2]).await.is_err(), "it is open");
    narrow(&mut world).await;
    let other = RepairOrder { to_storage: disk(3), ..order(&world, 4, &[2]) };
    assert!(world.node(4).replicas.repair(other).await.is_err());
    assert!(repair(&world, 4, &[3]).await.is_err(), "node 3 has none of it");
    let prune = Prune { partition: P, expected: world.open_epoch(), log_start: Offset(FIRST) };
    world.apply(&Command::Prune(vec![prune]));
    assert!(repair(&world, 4, &[2]).await.is_err());
    assert_eq!(world.node(4).store.segment(segment(0, 1)).bytes().unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_keeps_to_its_rate_and_who_asks_meanwhile_begins_no_other() {
    let mut world = World::new();
    narrow(&mut world).await;
    let bytes = world.node(2).store.segment(segment(0, 1)).bytes().unwrap();
    let slow = RepairOrder { bytes_per_second: bytes * 5, ..order(&world, 4, &[2]) };
    let began = std::time::Instant::now();
    let replicas = &world.node(4).replicas;
    let (first, second) = tokio::join!(replicas.repair(slow.clone()), replicas.repair(slow));
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
    assert_eq!(first, second);
    assert!(matches!(first, Ok(RepairReply::Whole { .. })), "{first:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_removed_can_be_made_again() {
    let mut world = World::new();
    narrow(&mut world).await;
    let whole = repair(&world, 4, &[2]).await.unwrap();
    world.node(4).store.prune(segment(0, 1)).unwrap();
    assert_eq!(repair(&world, 4, &[2]).await, Ok(whole));
    world.restart(4).await;
    assert_eq!(repair(&world, 4, &[]).await, Ok(whole));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_was_reported_is_removed_by_nobody_before_its_node_was_a_member() {
    let mut world = World::new();
    narrow(&mut world).await;
    let id = segment(0, 1);
    let whole = repair(&world, 4, &[2]).await.unwrap();
    assert!(world.node(4).replicas.let_go(id).is_none(), "it may be a member at any moment");
    let old = world.metadata.clone();
    set_members(&mut world, &[2], &[2, 4], Some(whole.1));
    world.tell(4, &old);
    assert!(world.node(4).replicas.let_go(id).is_none(), "it is a member");
    let old = world.metadata.clone();
    set_members(&mut world, &[2, 4], &[2], None);
    world.tell(4, &old);
    let replicas = &world.node(4).replicas;
    let going = replicas.let_go(id).unwrap();
    assert!(replicas.let_go(id).is_none(), "somebody removes it already");
    let refused = repair(&world, 4, &[2]).await.unwrap_err();
    assert!(refused.contains("being removed"), "{refused}");
    world.node(4).store.prune(id).unwrap();
    drop(going);
    assert_eq!(repair(&world, 4, &[2]).await, Ok(whole));
}
