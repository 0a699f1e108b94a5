use walrus_metadata::{Command, Coverage, Prune, Reason};
use walrus_replication::Refusal;
use walrus_types::ProducerId;

use super::{super::*, world::*};
use crate::replica::messages::ReadRequest;

/// The last five, which every table must remember; it may remember more.
fn sequences(table: &ProducerTable) -> Vec<i32> {
    let all: Vec<i32> = table.remembered(ProducerId(5)).map(|batch| batch.sequence.0).collect();
    all[all.len().saturating_sub(5)..].to_vec()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_past_the_end_is_cut_and_what_is_missing_is_pulled() {
    let mut world = World::new();
    // Nodes 2 and 3 stand on either side of the end.
    world.node(2).feed((0, 50), 20).await;
    world.node(3).feed((0, 24), 20).await;
    world.fence_in_metadata(life(1, 1));
    for number in [2, 3] {
        world.fence(number, &[segment(0, 1)]).await.unwrap();
    }
    assert_eq!(world.node(2).bases(segment(0, 1)).len(), 25, "nothing is cut before the roll");
    let old = world.metadata.clone();
    world.forced(30);
    // The one that is short hears of it first, when nobody is sealed yet.
    world.tell(3, &old);
    world.tell(2, &old);
    for number in [2, 3] {
        let node = world.node(number);
        node.until_sealed(segment(0, 1)).await;
        assert_eq!(node.store.segment(segment(0, 1)).end().unwrap(), Offset(30), "node {number}");
        assert_eq!(node.bases(segment(0, 1)).last(), Some(&28), "node {number}");
        assert_eq!(sequences(&node.table(segment(0, 1))), [20, 22, 24, 26, 28], "node {number}");
        assert!(node.replicas.is_whole(segment(0, 1)).await);
        let table = node.replicas.producers_at(P, Offset(30)).unwrap();
        assert_eq!(table.end(), Offset(30));
    }
    let bytes =
        [2, 3].map(|number| world.node(number).store.segment(segment(0, 1)).bytes().unwrap());
    assert_eq!(bytes[0], bytes[1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_happened_while_a_node_was_away_is_made_up_for_after_its_start() {
    let mut world = World::new();
    world.node(2).feed((0, 40), 20).await;
    world.node(3).feed((0, 26), 20).await;
    world.kill(3).await;
    let old = world.metadata.clone();
    world.planned(40);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(0, 1)).await;
    world.node(2).feed_in((40, 2), (40, 44), 44).await;
    let old = world.metadata.clone();
    world.planned(44);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(40, 2)).await;
    world.register(3, 2);
    world.start(3);
    let node = world.node(3);
    for id in [segment(0, 1), segment(40, 2)] {
        node.until_sealed(id).await;
    }
    assert_eq!(node.bases(segment(40, 2)), [40, 42]);
    assert_eq!(sequences(&node.table(segment(40, 2))), [34, 36, 38, 40, 42]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pull_goes_on_until_somebody_has_it_and_the_next_segment_does_not_wait() {
    let mut world = World::new();
    world.node(2).feed((0, 40), 20).await;
    world.node(3).feed((0, 10), 8).await;
    world.kill(2).await;
    let old = world.metadata.clone();
    world.planned(40);
    world.tell(3, &old);
    // The leader goes on at once; the table comes when the segment before is whole.
    let node = world.node(3);
    node.feed_in((40, 2), (40, 46), 42).await;
    let next = node.replicas.opened(segment(40, 2)).unwrap();
    assert!(next.lacks_producers());
    assert!(node.replicas.producers_at(P, Offset(40)).is_none());
    world.start(2);
    let node = world.node(3);
    node.until_sealed(segment(0, 1)).await;
    eventually("the table", || !next.lacks_producers()).await;
    assert_eq!(next.producers().unwrap().end(), Offset(46));
    let old = world.metadata.clone();
    world.planned(46);
    world.tell(3, &old);
    let node = world.node(3);
    node.until_sealed(segment(40, 2)).await;
    assert_eq!(sequences(&node.table(segment(40, 2))), [36, 38, 40, 42, 44]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_segment_leaves_its_table_to_the_next_and_nothing_else() {
    let mut world = World::new();
    world.node(2).feed((0, 4), 4).await;
    let mut old = world.metadata.clone();
    world.planned(4);
    world.tell(2, &old);
    assert_eq!(world.node(2).ask((4, 2), 4, 4).await.end, Offset(4));
    old = world.metadata.clone();
    world.planned(4);
    world.tell(2, &old);
    let node = world.node(2);
    // The task that looks for a table may be the one that sees the end first.
    eventually("the next segment is open", || {
        let (old, next) = (segment(4, 2), segment(4, 3));
        node.replicas.opened(old).is_none() && node.replicas.opened(next).is_some()
    })
    .await;
    let next = node.replicas.opened(segment(4, 3)).unwrap();
    assert_eq!(sequences(&next.producers().unwrap()), [0, 2]);
    let refusal = node.refusal(life(1, 1), 4, append(2, 2, 4, 4), None).await;
    assert_eq!(refusal, Refusal::Sealed { end: Offset(4) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_segment_leaves_its_table_to_the_leader_on_this_node() {
    let mut world = World::new();
    world.node(2).feed((0, 4), 4).await;
    let mut old = world.metadata.clone();
    world.planned(4);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(0, 1)).await;
    // Nothing was written to it, so that it leaves the chain with nothing on disk.
    world.node(2).replicas.replica(segment(4, 2)).await.unwrap();
    world.fence_in_metadata(life(1, 1));
    world.fence(2, &[segment(4, 2)]).await.unwrap();
    old = world.metadata.clone();
    world.forced(4);
    world.tell(2, &old);
    let kept = |world: &World| world.node(2).replicas.handed.lock().get(&P).cloned();
    assert_eq!(sequences(&kept(&world).expect("node 2 leads next")), [0, 2]);
    let table = world.node(2).replicas.producers_at(P, Offset(4)).unwrap();
    assert_eq!(table.end(), Offset(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_is_pruned_while_it_is_pulled_is_let_go() {
    let mut world = World::new();
    world.node(3).feed((0, 10), 8).await;
    world.kill(2).await;
    let old = world.metadata.clone();
    world.planned(40);
    world.tell(3, &old);
    assert!(world.node(3).replicas.opened(segment(0, 1)).is_some(), "nobody has the rest");
    let prune = Prune { partition: P, expected: world.open_epoch(), log_start: Offset(40) };
    world.apply(&Command::Prune(vec![prune]));
    world.node(3).store.prune(segment(0, 1)).unwrap();
    // Nobody tells it: the pull looks by itself.
    let node = world.node(3);
    eventually("its end", || node.replicas.opened(segment(0, 1)).is_none()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_left_out_by_a_narrow_seal_lets_the_segment_go() {
    let mut world = World::new();
    world.node(2).feed((0, 10), 8).await;
    world.node(3).feed((0, 6), 4).await;
    let old = world.metadata.clone();
    world.fence_in_metadata(life(1, 1));
    let holder = walrus_metadata::Member { node: member(2).node, storage: disk(2) };
    let next = placement(life(2, 1), &[1, 2, 3]);
    world.roll(10, next, Reason::Failover, Coverage::Narrow(vec![holder]));
    for number in [2, 3] {
        world.tell(number, &old);
    }
    world.node(2).until_sealed(segment(0, 1)).await;
    let node = world.node(3);
    assert!(node.replicas.opened(segment(0, 1)).is_none());
    assert!(!node.store.segment(segment(0, 1)).is_sealed().unwrap());
    // A repair names it again: then it copies all of it.
    let old = world.metadata.clone();
    let all = [2, 3]
        .map(|number| walrus_metadata::Member { node: member(number).node, storage: disk(number) });
    world.apply(&Command::SetMembers(vec![walrus_metadata::SetMembers {
        partition: P,
        segment: walrus_metadata::SegmentKey { base: Offset(0), epoch: Epoch(1) },
        expected: vec![holder],
        members: all.to_vec(),
        digest: None,
    }]));
    world.tell(3, &old);
    let node = world.node(3);
    node.until_sealed(segment(0, 1)).await;
    assert_eq!(node.bases(segment(0, 1)).last(), Some(&8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn others_are_given_what_is_decided_or_durable_and_only_from_the_disk_they_name() {
    let mut world = World::new();
    world.node(2).feed((0, 20), 6).await;
    let request = ReadRequest {
        segment: segment(0, 1),
        storage: disk(2),
        from: Offset(0),
        to: Offset(100),
        bytes_max: 1,
    };
    let read = |from: i64, to: i64, bytes_max: u32| {
        let request =
            ReadRequest { from: Offset(from), to: Offset(to), bytes_max, ..request.clone() };
        let replicas = Arc::clone(&world.nodes[&2].replicas);
        async move { replicas.read(request).await.unwrap() }
    };
    assert_eq!(read(0, 100, 1).await, batch_of(0, 2, 1), "one batch at least");
    let all: Vec<u8> = (0..10).flat_map(|at| batch_of(at * 2, 2, 1)).collect();
    assert_eq!(read(0, 100, 1 << 20).await, all);
    assert_eq!(read(3, 6, 1 << 20).await, [batch_of(2, 2, 1), batch_of(4, 2, 1)].concat());
    assert!(read(20, 100, 1 << 20).await.is_empty());
    let replicas = &world.node(2).replicas;
    assert!(replicas.read(ReadRequest { storage: disk(3), ..request.clone() }).await.is_err());
    assert!(
        replicas.read(ReadRequest { segment: segment(7, 7), ..request.clone() }).await.is_err()
    );
    // The end is decided: nothing past it is told, whether it is cut already or not.
    world.forced(10);
    let replicas = &world.node(2).replicas;
    let request = ReadRequest { bytes_max: 1 << 20, ..request };
    let told = replicas.read(request).await.unwrap();
    assert_eq!(told, all[..told.len()]);
    assert_eq!(told.len(), all.len() / 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_that_has_its_end_gives_a_table_whether_its_file_is_sealed_or_not() {
    let mut world = World::new();
    world.node(2).feed((0, 12), 12).await;
    world.kill(2).await;
    // Nobody was told of the end, and what follows is led here.
    world.forced(10);
    world.start(2);
    let replicas = &world.node(2).replicas;
    let chain = replicas.chain(P).unwrap();
    assert_eq!(sequences(&replicas.table_on_disk(P, &chain, Offset(10)).unwrap()), [0, 2, 4, 6, 8]);
    let other = &world.node(3).replicas;
    assert!(other.table_on_disk(P, &chain, Offset(10)).is_none(), "it has none of it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_that_is_not_here_is_asked_of_those_who_have_it() {
    let mut world = World::new();
    world.node(2).feed((0, 8), 8).await;
    let old = world.metadata.clone();
    world.roll(8, placement(life(1, 1), &[1, 2, 3]), Reason::Bytes, Coverage::Quorum);
    world.tell(2, &old);
    world.node(2).until_sealed(segment(0, 1)).await;
    world.register(4, 1);
    world.start(4);
    let newcomer = &world.node(4).replicas;
    assert!(newcomer.producers_at(P, Offset(8)).is_none());
    let table = newcomer.fetch_producers(P, Offset(8)).await.unwrap();
    assert_eq!(sequences(&table), [0, 2, 4, 6]);
    assert!(newcomer.fetch_producers(P, Offset(6)).await.is_err());
}
