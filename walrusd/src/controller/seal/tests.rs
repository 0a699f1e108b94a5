//! A seal against a cluster that answers by a script.

use walrus_metadata::Coverage;
use walrus_replication::{lag::Telling, liveness::Beat};
use walrus_types::Offset;

use super::*;
use crate::{
    clock::Clock,
    controller::{
        fake::{self, Fake, Fate},
        messages::BeatRequest,
    },
};

const LIFE: Leader = Leader { node: NodeId(1), incarnation: Incarnation(1) };

/// Node 1 was killed: it is fenced, and nobody listens there.
fn killed(nodes: i32, partitions: usize) -> Arc<Fake> {
    let cluster = Fake::of(fake::cluster(nodes, partitions));
    cluster.down(1);
    cluster.apply(&fake::fence(1, 1));
    cluster
}

fn begin(cluster: &Arc<Fake>) -> Seal<Fake> {
    let metadata = cluster.metadata();
    let orphan = |(id, chain): (_, &Arc<walrus_metadata::Partition>)| {
        rolls::orphan(id, chain, metadata.topic(fake::partition(0).topic).unwrap(), false)
    };
    let orphans = metadata.led_by(|leader| leader == LIFE).map(orphan).collect();
    let state = ControllerState::new(NodeId(2), Clock::start());
    state.begin(1, None, UptimeMs(0));
    state.review(&metadata, UptimeMs(0));
    Seal::begin(Arc::clone(cluster), state, LIFE, &metadata, orphans)
}

/// Lets everything that is under way come to its end.
async fn settle(seal: &mut Seal<Fake>) {
    while let Some(event) = seal.under_way.join_next().await {
        seal.ended(event);
        let metadata = seal.metadata();
        seal.review(&metadata);
    }
}

/// All that are up are heard.
fn hear(seal: &Seal<Fake>) {
    let (cluster, now) = (&seal.cluster, seal.cluster.uptime());
    let metadata = cluster.metadata();
    seal.state.review(&metadata, now);
    for (id, node) in metadata.nodes() {
        if !cluster.log.lock().down.contains(&id.0) {
            let beat = Beat { incarnation: node.incarnation, ..Beat::default() };
            seal.state.heard(BeatRequest { node: *id, beat, lag: Telling::default() }, now);
        }
    }
}

/// As [`settle`], after so much time.
async fn after(seal: &mut Seal<Fake>, cluster: &Fake, ms: u64) {
    cluster.pass(ms);
    hear(seal);
    seal.tick();
    settle(seal).await;
}

fn left_open(cluster: &Fake) -> usize {
    cluster.metadata().left_open().count()
}

#[tokio::test]
async fn all_that_a_killed_node_led_is_sealed_with_one_fence_request_per_node() {
    let cluster = killed(3, 40);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
    let log = cluster.log.lock();
    let mut asked: Vec<i32> = log.fences.iter().map(|(node, _)| *node).collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3]);
    assert!(log.fences.iter().all(|(_, fencing)| fencing.segments.len() == 40));
    assert!(log.fences.iter().all(|(_, fencing)| fencing.index == cluster_index_of_fence(40)));
    drop(log);
    assert_eq!(cluster.rolls().iter().map(Vec::len).collect::<Vec<_>>(), [40]);
}

/// Three registrations, one topic, one fence.
fn cluster_index_of_fence(partitions: u64) -> u64 {
    3 + u64::from(partitions > 0) + 1
}

#[tokio::test]
async fn the_successor_begins_at_the_greatest_end_on_members_that_live() {
    let cluster = killed(3, 1);
    cluster.log.lock().ends.extend([((2, 0), 3), ((3, 0), 9)]);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    let open = cluster.metadata().partition(fake::partition(0)).unwrap().open().clone();
    assert_eq!(open.key.base, Offset(9));
    assert_ne!(open.leader.node, NodeId(1));
    assert!(cluster.metadata().may_lead(open.leader));
    let copies = cluster.log.lock().copies.clone();
    assert_eq!(copies.len(), 1);
    assert_eq!((copies[0].from, copies[0].to), (Offset(3), Offset(9)));
    assert_eq!((copies[0].from_member, copies[0].to_member), (fake::member(3), fake::member(2)));
    assert_eq!(cluster.rolls()[0][0].coverage, Coverage::Quorum);
}

#[tokio::test]
async fn an_unknown_proposal_is_repeated_until_metadata_shows_it() {
    for fate in [Fate::Dropped, Fate::AnswerLost] {
        let cluster = killed(3, 3);
        cluster.log.lock().fates.push_back(fate);
        let mut seal = begin(&cluster);
        settle(&mut seal).await;
        if fate == Fate::Dropped {
            assert_eq!(left_open(&cluster), 3);
            after(&mut seal, &cluster, 99).await;
            assert_eq!(cluster.rolls().len(), 1, "not yet");
            after(&mut seal, &cluster, 1).await;
            let rolls = cluster.rolls();
            let ends = |rolls: &[Roll]| rolls.iter().map(|roll| roll.sealed).collect::<Vec<_>>();
            assert_eq!(ends(&rolls[0]), ends(&rolls[1]), "the same ends");
        }
        assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0), "{fate:?}");
    }
}

#[tokio::test]
async fn what_was_not_proposed_is_proposed_when_there_is_a_leader() {
    let cluster = killed(3, 3);
    cluster.log.lock().fates.extend([Fate::NotLeader, Fate::NotLeader]);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    after(&mut seal, &cluster, 100).await;
    assert_eq!(left_open(&cluster), 3);
    after(&mut seal, &cluster, 100).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
}

#[tokio::test]
async fn a_refused_placement_is_placed_anew() {
    // The node that was to lead is fenced before the roll is applied.
    let cluster = killed(4, 1);
    cluster.log.lock().ends.insert((3, 0), 4);
    cluster.log.lock().fates.push_back(Fate::After("fence of 2"));
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    let rolls = cluster.rolls();
    assert_eq!((rolls.len(), rolls[0][0].next.leader.node), (1, NodeId(2)));
    assert_eq!(left_open(&cluster), 1);
    after(&mut seal, &cluster, 100).await;
    let rolls = cluster.rolls();
    assert_eq!(rolls.len(), 2);
    assert_ne!(rolls[1][0].next.leader.node, NodeId(2));
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
}

#[tokio::test]
async fn where_nobody_could_lead_it_waits_for_somebody() {
    let cluster = killed(3, 1);
    let mut seal = begin(&cluster);
    cluster.apply(&fake::fence(2, 1));
    cluster.apply(&fake::fence(3, 1));
    let metadata = cluster.metadata();
    seal.state.review(&metadata, UptimeMs(0));
    settle(&mut seal).await;
    assert_eq!((cluster.rolls().len(), left_open(&cluster)), (0, 1));
    cluster.apply(&fake::register(2, 2));
    cluster.apply(&fake::register(3, 2));
    seal.review(&cluster.metadata());
    after(&mut seal, &cluster, 100).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
}

#[tokio::test]
async fn rolls_that_are_too_long_for_one_command_go_in_several() {
    let cluster = killed(3, 40);
    cluster.log.lock().rolls_max = Some(12);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
    assert_eq!(cluster.rolls().iter().map(Vec::len).sum::<usize>(), 40);
}

#[tokio::test]
async fn what_somebody_else_has_sealed_is_over() {
    let cluster = killed(3, 2);
    cluster.down(2);
    cluster.down(3);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    assert_eq!(seal.machine.remaining(), 2);
    // An older controller's proposal comes late.
    let mut other = begin(&cluster);
    cluster.up(2);
    cluster.up(3);
    after(&mut other, &cluster, 200).await;
    assert_eq!((left_open(&cluster), other.machine.remaining()), (0, 0));
    let rolls = cluster.rolls().len();
    after(&mut seal, &cluster, 0).await;
    assert_eq!((seal.machine.remaining(), cluster.rolls().len()), (0, rolls));
}

#[tokio::test]
async fn a_new_controller_finishes_what_the_old_one_began() {
    let cluster = killed(3, 2);
    cluster.log.lock().ends.extend([((2, 0), 3), ((3, 0), 9)]);
    cluster.log.lock().fates.extend([Fate::Dropped, Fate::Dropped]);
    let mut old = begin(&cluster);
    settle(&mut old).await;
    drop(old);
    assert_eq!(left_open(&cluster), 2);
    let mut new = begin(&cluster);
    settle(&mut new).await;
    assert_eq!((left_open(&cluster), new.machine.remaining()), (0, 0));
    let base =
        |index| cluster.metadata().partition(fake::partition(index)).unwrap().open().key.base;
    assert_eq!((base(0), base(1)), (Offset(9), Offset(5)));
}

#[tokio::test]
async fn who_does_not_answer_is_shown_until_it_does() {
    let cluster = killed(3, 2);
    cluster.down(3);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    after(&mut seal, &cluster, 2_000).await;
    let blocked = seal.state.blocked();
    assert_eq!(blocked.len(), 2);
    assert_eq!(blocked[0].to_string(), "1 of 2 votes; n1: no answer; n3: no answer");
    // Its next life is asked at once.
    cluster.up(3);
    cluster.apply(&fake::register(3, 2));
    hear(&seal);
    seal.review(&cluster.metadata());
    settle(&mut seal).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
    assert!(seal.state.blocked().is_empty());
}

#[tokio::test]
async fn a_deleted_topic_needs_no_seal() {
    let cluster = killed(3, 2);
    cluster.down(3);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    cluster.apply(&Command::DeleteTopics(vec![fake::partition(0).topic]));
    after(&mut seal, &cluster, 50).await;
    assert_eq!(seal.machine.remaining(), 0);
}

#[tokio::test]
async fn fewer_than_a_quorum_of_holders_is_recorded() {
    // n=2, w=2, one dead (M4).
    let cluster = killed(2, 1);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    assert_eq!(left_open(&cluster), 1);
    after(&mut seal, &cluster, 500).await;
    assert_eq!((left_open(&cluster), seal.machine.remaining()), (0, 0));
    let narrow = Coverage::Narrow(vec![crate::controller::nodes::stored(fake::member(2))]);
    assert_eq!(cluster.rolls()[0][0].coverage, narrow);
}

/// A segment of which one member of three is left, which has 5.
async fn one_of_three() -> (Arc<Fake>, Seal<Fake>, UnsafePlan) {
    let cluster = killed(3, 1);
    cluster.down(3);
    let mut seal = begin(&cluster);
    settle(&mut seal).await;
    after(&mut seal, &cluster, 2_000).await;
    let plan = seal.state.unsafe_plan(fake::segment(&cluster.metadata(), 0)).unwrap();
    (cluster, seal, plan)
}

#[tokio::test]
async fn an_operator_may_go_on_without_members_that_are_gone_for_good() {
    let (cluster, mut seal, plan) = one_of_three().await;
    assert_eq!((plan.end, plan.seen), (Offset(5), None));
    let state = Arc::clone(&seal.state);
    let plan = UnsafePlan { seen: Some(Offset(8)), ..plan };
    let (agreed, ()) = tokio::join!(state.seal_unsafe(plan), async {
        after(&mut seal, &cluster, 50).await;
        after(&mut seal, &cluster, 500).await;
    });
    assert_eq!((agreed, left_open(&cluster)), (Ok(()), 0));
    let roll = cluster.rolls()[0][0].clone();
    assert_eq!(roll.reason, walrus_metadata::Reason::Unsafe);
    let losses: Vec<_> = {
        let metadata = cluster.metadata();
        let chain = metadata.partition(fake::partition(0)).unwrap();
        chain.losses().iter().map(|(_, loss)| (loss.from, loss.seen)).collect()
    };
    assert_eq!(losses, [(Offset(5), Offset(8))]);
    assert_eq!(state.blocked(), []);
}

#[tokio::test]
async fn a_plan_that_is_stale_is_refused_and_the_new_one_is_shown() {
    let (cluster, mut seal, plan) = one_of_three().await;
    let (state, segment) = (Arc::clone(&seal.state), plan.blocked.segment);
    let stale = UnsafePlan { end: Offset(3), ..plan.clone() };
    let (agreed, ()) = tokio::join!(state.seal_unsafe(stale), after(&mut seal, &cluster, 50));
    let end = Offset(5);
    assert_eq!(agreed, Err(walrus_replication::seal::UnsafeRefusal::Changed { segment, end }));
    assert_eq!((left_open(&cluster), state.unsafe_plan(segment)), (1, Some(plan.clone())));
    // Its members are back, and nothing is lost.
    cluster.up(3);
    cluster.apply(&fake::register(3, 2));
    hear(&seal);
    seal.review(&cluster.metadata());
    settle(&mut seal).await;
    assert_eq!(left_open(&cluster), 0);
    let gone = walrus_replication::seal::UnsafeRefusal::NotWaiting(segment);
    assert_eq!(state.seal_unsafe(plan).await, Err(gone));
}
