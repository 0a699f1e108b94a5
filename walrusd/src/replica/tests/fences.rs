use walrus_replication::{
    Acks, Held, Limits, PartitionLeader, Refusal, RollLimits, UptimeMs, seal::Report,
};
use walrus_types::TimestampMs;

use super::{super::*, world::*};
use crate::replica::messages::{CopyOrder, FenceRequest};

fn held(report: Report) -> Held {
    match report {
        Report::Held(held) => held,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_covers_all_that_was_accepted_and_nothing_is_accepted_after_it() {
    let mut world = World::new();
    world.node(2).feed((0, 2), 0).await;
    world.fence_in_metadata(life(1, 1));
    let node = world.node(2);
    // The leader goes on pushing while the controller fences it.
    let pushing = async {
        for at in (2..400).step_by(2) {
            node.push(life(1, 1), 0, append(2, 1, at, 0), Some(batch_of(at, 2, 1)));
            tokio::task::yield_now().await;
        }
    };
    let ids = [segment(0, 1)];
    let (fenced, ()) = tokio::join!(world.fence(2, &ids), pushing);
    let voted = held(fenced.unwrap().reports[0].1);
    let replica = node.replicas.opened(segment(0, 1)).unwrap();
    let marks = replica.marks();
    assert_eq!((voted.end, voted.end), (marks.end, marks.durable), "the vote is what there is");
    assert_eq!(voted.storage, disk(2));
    let refusal = node.refusal(life(1, 1), 0, append(2, 1, marks.end.0, 0), None).await;
    assert_eq!(refusal, Refusal::Fenced);
    assert_eq!(world.fence(2, &[segment(0, 1)]).await.unwrap().reports[0].1, Report::Held(voted));
    // It holds for whatever that life writes, and for this node's next life.
    let unknown = node.refusal(life(1, 1), 7, append(2, 9, 7, 0), None).await;
    assert_eq!(unknown, Refusal::Fenced);
    world.restart(2).await;
    let node = world.node(2);
    let refusal = node.refusal(life(1, 1), 0, append(2, 1, voted.end.0, 0), None).await;
    assert_eq!(refusal, Refusal::Fenced);
    let again = held(world.fence(2, &[segment(0, 1)]).await.unwrap().reports[0].1);
    assert_eq!(
        (again.end, again.bytes, again.max_timestamp),
        (voted.end, voted.bytes, voted.max_timestamp)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_metadata_has_fenced_is_fenced() {
    let world = World::new();
    let node = world.node(2);
    node.feed((0, 2), 0).await;
    let index = world.metadata.applied();
    for (fenced, why) in [
        (life(1, 1), "life 1 of n1 may lead"),
        (life(1, 2), "n1 is in its life 1, not in 2"),
        (life(8, 1), "n8 is no node of this cluster"),
    ] {
        let request = FenceRequest { fenced, index, segments: vec![segment(0, 1)] };
        assert_eq!(node.replicas.fence(request).await, Err(why.to_owned()));
    }
    assert_eq!(node.ask((0, 1), 2, 0).await.end, Offset(2), "the leader writes on");
    assert!(node.replicas.fences.read().records().next().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_of_several_lives_are_all_found_again() {
    let mut world = World::new();
    for fenced in [1, 3] {
        world.fence_in_metadata(life(fenced, 1));
    }
    let index = world.metadata.applied();
    let request = |fenced| FenceRequest { fenced, index, segments: Vec::new() };
    let replicas = &world.node(2).replicas;
    let (one, three) =
        tokio::join!(replicas.fence(request(life(1, 1))), replicas.fence(request(life(3, 1))));
    assert!(one.is_ok() && three.is_ok());
    world.restart(2).await;
    let fences = world.node(2).replicas.fences.read();
    assert!(fences.covers_durably(life(1, 1)) && fences.covers_durably(life(3, 1)));
    assert!(!fences.covers(life(1, 2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_kept_here_and_what_is_over_is_no_vote() {
    let mut world = World::new();
    world.node(2).feed((0, 2), 2).await;
    world.planned(2);
    world.fence_in_metadata(life(1, 1));
    let ids = [segment(0, 1), segment(2, 2), segment(2, 3), segment(5, 2)];
    let reports = world.fence(2, &ids).await.unwrap().reports;
    assert_eq!(reports[0], (ids[0], Report::Sealed));
    assert_eq!(held(reports[1].1).end, Offset(2), "it never got a batch");
    assert_eq!(reports[2], (ids[2], Report::NoMember));
    assert_eq!(reports[3], (ids[3], Report::NoMember));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_controller_has_a_suffix_copied_between_fenced_members() {
    let mut world = World::new();
    world.node(2).feed((0, 40), 10).await;
    world.node(3).feed((0, 12), 10).await;
    let order = CopyOrder {
        segment: segment(0, 1),
        from_member: member(2),
        from_addr: ("here".into(), port(2)),
        to_storage: disk(3),
        from: Offset(12),
        to: Offset(40),
    };
    let early = world.node(3).replicas.copy(order.clone()).await;
    assert!(early.is_err(), "the leader may still write: {early:?}");
    world.fence_in_metadata(life(1, 1));
    for number in [2, 3] {
        world.fence(number, &[segment(0, 1)]).await.unwrap();
    }
    let copied = world.node(3).replicas.copy(order.clone()).await.unwrap().held.unwrap();
    let there = held(world.fence(2, &[segment(0, 1)]).await.unwrap().reports[0].1);
    assert_eq!((copied.end, copied.bytes), (Offset(40), there.bytes));
    assert_eq!(world.node(3).bases(segment(0, 1)), world.node(2).bases(segment(0, 1)));
    let again = world.node(3).replicas.copy(order.clone()).await.unwrap();
    assert_eq!(again.held, Some(copied));
    let other = CopyOrder { to_storage: disk(9), ..order };
    assert!(world.node(3).replicas.copy(other).await.is_err());
}

/// Leads a segment in memory and in a store, as the node's own life does.
struct Own {
    led: parking_lot::Mutex<Option<(PartitionLeader, Arc<Segment>)>>,
    replicas: std::sync::Weak<Replicas>,
}

impl OwnLead for Own {
    fn fenced(&self) -> Vec<(TopicPartition, ReplicaSegment, Arc<Segment>)> {
        let Some((mut leader, segment)) = self.led.lock().take() else { return Vec::new() };
        // Until the very end of it nobody may take the disk's word for what is there.
        let replicas = self.replicas.upgrade().unwrap();
        assert_eq!(replicas.may_open(segment.id()).map(|_| ()), Err(OpenError::Led));
        leader.fenced();
        vec![(P, leader.into_member(life(1, 1)), segment)]
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fenced_leader_votes_with_all_that_it_wrote_and_is_a_member_from_then_on() {
    let mut world = World::new();
    world.start(1);
    let node = world.node(1);
    let open = crate::partition::roll::open_segment(world.metadata.partition(P).unwrap().open());
    let roll =
        RollLimits { bytes: 1 << 30, entries: 1 << 30, age_ms: 1 << 30, interval_ms: 0, burst: 1 };
    let limits = Limits { min_insync: 1, roll };
    let table = ProducerTable::starting_at(Offset(0));
    let mut leader = PartitionLeader::open(member(1), &open, Offset(0), table, limits, UptimeMs(0));
    let stored = node.store.segment(segment(0, 1));
    for at in (0..60).step_by(2) {
        leader.append(&header(at, 2, 1), Acks::Leader, UptimeMs(0)).unwrap();
        // Nobody tells the leader of these flushes any more.
        stored.append(batch_of(at, 2, 1), Box::new(|_| {})).unwrap();
    }
    let led = parking_lot::Mutex::new(Some((leader, stored)));
    node.replicas.set_own(Arc::new(Own { led, replicas: Arc::downgrade(&node.replicas) }));
    let unfenced = node.replicas.replica(segment(0, 1)).await;
    assert_eq!(unfenced.map(|_| ()), Err(OpenError::Led), "it is led here");
    world.fence_in_metadata(life(1, 1));
    let vote = held(world.fence(1, &[segment(0, 1)]).await.unwrap().reports[0].1);
    assert_eq!((vote.end, vote.max_timestamp), (Offset(60), TimestampMs(1_058)));
    // The others had less; it cuts its tail like any other member.
    let old = world.metadata.clone();
    world.forced(40);
    world.tell(1, &old);
    let node = world.node(1);
    node.until_sealed(segment(0, 1)).await;
    assert_eq!(node.store.segment(segment(0, 1)).end().unwrap(), Offset(40));
    assert_eq!(node.table(segment(0, 1)).end(), Offset(40));
}
