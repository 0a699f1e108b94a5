//! Reigns over a cluster that answers by a script.

use walrus_raft::RaftPeer;
use walrus_replication::{
    lag::Telling,
    liveness::{Answer, Beat},
};
use walrus_types::ClusterId;

use super::*;
use crate::{
    clock::Clock,
    controller::{
        fake::{self, Fake, Fate},
        messages::BeatRequest,
    },
    peer::PeerIdentity,
};

fn reign(cluster: &Arc<Fake>) -> Reign<Fake> {
    let state = ControllerState::new(NodeId(1), Clock::start());
    reign_of(cluster, state)
}

fn reign_of(cluster: &Arc<Fake>, state: Arc<ControllerState>) -> Reign<Fake> {
    state.begin(3, None, cluster.uptime());
    let mut reign = Reign::new(Arc::clone(cluster), state);
    reign.review(&cluster.metadata());
    reign
}

/// Lets everything that is under way come to its end.
async fn settle(reign: &mut Reign<Fake>) {
    while let Some(event) = reign.under_way.join_next().await {
        reign.ended(whole(event));
        let metadata = reign.metadata();
        reign.review(&metadata);
    }
}

fn beat(reign: &Reign<Fake>, node: i32, life: u64) -> Answer {
    let beat = Beat { incarnation: Incarnation(life), applied: 1, ..Beat::default() };
    let request = BeatRequest { node: NodeId(node), beat, lag: Telling::default() };
    reign.state.heard(request, reign.cluster.uptime()).answer
}

fn identity(node: i32, life: u64) -> PeerIdentity {
    PeerIdentity {
        cluster: Some(ClusterId::default()),
        node: NodeId(node),
        storage: fake::member(node).storage,
        incarnation: Incarnation(life),
    }
}

fn voters(nodes: &[i32]) -> Vec<walrus_raft::Member> {
    let member = |node: &i32| walrus_raft::Member {
        id: RaftId::from(fake::member(*node).storage),
        peer: RaftPeer { node: NodeId(*node), host: "h".into(), port: 1 },
        votes: true,
        lag_entries: Some(0),
    };
    nodes.iter().map(member).collect()
}

fn fences(cluster: &Fake) -> Vec<i32> {
    let fenced = |command: &Command| match command {
        Command::Fence(fence) => Some(fence.node.0),
        _ => None,
    };
    cluster.log.lock().commands.iter().filter_map(fenced).collect()
}

fn state_of(cluster: &Fake, node: i32) -> NodeState {
    cluster.metadata().node(NodeId(node)).unwrap().state
}

#[tokio::test]
async fn a_killed_process_is_fenced_and_sealed_without_waiting_for_silence() {
    let cluster = Fake::of({
        let mut metadata = fake::cluster(3, 0);
        fake::add_topic(&mut metadata, fake::partition(0).topic, &[2, 1, 3], 8);
        metadata
    });
    let mut reign = reign(&cluster);
    assert_eq!(beat(&reign, 2, 1), Answer::Extended);
    cluster.down(2);
    reign.state.peer_ended(identity(2, 1));
    reign.probe();
    settle(&mut reign).await;
    assert_eq!((fences(&cluster), state_of(&cluster, 2)), (vec![2], NodeState::Fenced));
    assert_eq!(cluster.metadata().left_open().count(), 0);
    assert_eq!(reign.state.ended(), []);
    assert_eq!(beat(&reign, 2, 1), Answer::Fenced);
}

#[tokio::test]
async fn a_process_that_still_listens_is_left_alone() {
    let cluster = Fake::of(fake::cluster(3, 1));
    let mut reign = reign(&cluster);
    reign.state.peer_ended(identity(2, 1));
    reign.probe();
    settle(&mut reign).await;
    assert_eq!(cluster.log.lock().probes.len(), PROBES_MS.len());
    assert_eq!((fences(&cluster), reign.state.ended()), (vec![], vec![]));
}

#[tokio::test]
async fn what_is_fenced_or_not_there_yet_is_not_looked_for() {
    let cluster = Fake::of(fake::cluster(3, 1));
    cluster.apply(&fake::fence(2, 1));
    let mut reign = reign(&cluster);
    cluster.down(2);
    cluster.down(3);
    reign.state.peer_ended(identity(2, 1));
    reign.state.peer_ended(identity(3, 2));
    reign.probe();
    settle(&mut reign).await;
    assert_eq!(cluster.log.lock().probes, [] as [i32; 0]);
    assert_eq!(reign.state.ended(), [(NodeId(3), Incarnation(2))]);
    // It registers, and dies.
    cluster.apply(&fake::register(3, 2));
    reign.review(&cluster.metadata());
    settle(&mut reign).await;
    assert_eq!(fences(&cluster), [3]);
}

#[tokio::test]
async fn a_process_that_had_begun_another_life_is_missed_like_any_other() {
    let cluster = Fake::of(fake::cluster(3, 1));
    cluster.apply(&fake::register(2, 2));
    let mut reign = reign(&cluster);
    cluster.down(2);
    // The connection was made before.
    reign.state.peer_ended(identity(2, 1));
    reign.probe();
    settle(&mut reign).await;
    assert_eq!((fences(&cluster), state_of(&cluster, 2)), (vec![2], NodeState::Fenced));
}

#[tokio::test]
async fn a_new_controller_looks_at_once_for_those_whose_connections_ended_before() {
    let cluster = Fake::of(fake::cluster(3, 4));
    let state = ControllerState::new(NodeId(2), Clock::start());
    state.peer_ended(identity(1, 1));
    cluster.down(1);
    let mut reign = reign_of(&cluster, state);
    settle(&mut reign).await;
    assert_eq!((fences(&cluster), cluster.metadata().left_open().count()), (vec![1], 0));
}

#[tokio::test]
async fn a_new_controller_seals_what_lives_that_are_over_have_left() {
    let mut metadata = fake::cluster(3, 4);
    fake::apply(&mut metadata, &fake::fence(1, 1));
    let cluster = Fake::of(metadata);
    cluster.down(1);
    let mut reign = reign(&cluster);
    settle(&mut reign).await;
    assert_eq!(cluster.metadata().left_open().count(), 0);
    assert!(reign.sealing.is_empty());
}

#[tokio::test]
async fn what_an_earlier_life_of_a_node_that_is_back_led_is_sealed_too() {
    let cluster = Fake::of(fake::cluster(3, 4));
    let mut reign = reign(&cluster);
    cluster.apply(&fake::register(1, 2));
    reign.review(&cluster.metadata());
    settle(&mut reign).await;
    assert_eq!(cluster.metadata().left_open().count(), 0);
    assert_eq!(fences(&cluster), [] as [i32; 0]);
}

#[tokio::test]
async fn single_copies_are_left_to_their_node() {
    let cluster = Fake::of(fake::cluster(1, 4));
    let mut reign = reign(&cluster);
    cluster.apply(&fake::register(1, 2));
    reign.review(&cluster.metadata());
    settle(&mut reign).await;
    assert_eq!(cluster.metadata().left_open().count(), 4);
    assert_eq!(cluster.log.lock().commands, []);
}

#[tokio::test]
async fn who_is_not_heard_for_a_whole_ttl_is_fenced_and_not_before() {
    let cluster = Fake::of(fake::cluster(3, 1));
    let mut reign = reign(&cluster);
    for _ in 0..22 {
        cluster.pass(50);
        beat(&reign, 1, 1);
        beat(&reign, 2, 1);
        reign.tick();
        settle(&mut reign).await;
        assert_eq!(fences(&cluster), [] as [i32; 0]);
    }
    cluster.pass(50);
    reign.tick();
    settle(&mut reign).await;
    assert_eq!(fences(&cluster), [3]);
}

#[tokio::test]
async fn a_fence_that_was_not_applied_is_asked_for_again() {
    let cluster = Fake::of(fake::cluster(3, 1));
    cluster.log.lock().fates.extend([Fate::Dropped, Fate::NotLeader]);
    let mut reign = reign(&cluster);
    cluster.down(1);
    reign.state.peer_ended(identity(1, 1));
    reign.probe();
    settle(&mut reign).await;
    let mut waited = 0;
    while state_of(&cluster, 1) != NodeState::Fenced {
        cluster.pass(50);
        waited += 50;
        for node in [2, 3] {
            beat(&reign, node, 1);
        }
        reign.tick();
        settle(&mut reign).await;
    }
    assert_eq!((fences(&cluster), waited), (vec![1, 1, 1], 1000));
    assert_eq!(cluster.metadata().left_open().count(), 0);
}

#[tokio::test]
async fn a_controller_that_hears_no_majority_extends_nothing_until_it_does() {
    let cluster = Fake::of(fake::cluster(3, 1));
    cluster.pass(1000);
    let mut reign = reign(&cluster);
    for (age_ms, answer) in
        [(100, Answer::Extended), (201, Answer::Withheld), (100, Answer::Extended)]
    {
        cluster.log.lock().quorum_age_ms = age_ms;
        reign.tick();
        assert_eq!(beat(&reign, 2, 1), answer);
    }
}

#[tokio::test]
async fn the_heirs_of_a_controller_whose_process_is_gone_ask_for_an_election_in_turn() {
    for (of_group, turn) in [([1, 3, 4], 0), ([2, 3, 1], 1)] {
        let cluster = Fake::of(fake::cluster(4, 0));
        cluster.leads(3, 7);
        cluster.log.lock().members = voters(&of_group);
        let state = ControllerState::new(NodeId(1), Clock::start());
        // A connection of somebody else, and one of a process that is there.
        state.peer_ended(identity(2, 1));
        succeed(&*cluster, &state).await;
        assert_eq!(cluster.log.lock().elections, []);
        cluster.down(3);
        let began = Instant::now();
        state.peer_ended(identity(3, 1));
        succeed(&*cluster, &state).await;
        let waited = cluster.log.lock().elections[0].duration_since(began.into_std());
        assert!(waited >= HEIR_FIRST + HEIR_EACH * turn, "{waited:?}");
        assert_eq!(state.ended().len(), 2, "whoever leads looks again");
    }
}

#[tokio::test]
async fn a_learner_that_is_heard_is_given_a_vote_one_at_a_time() {
    let cluster = Fake::of(fake::cluster(3, 0));
    let mut members = voters(&[1, 2, 3]);
    members[1..].iter_mut().for_each(|member| member.votes = false);
    cluster.log.lock().members = members;
    let mut reign = reign(&cluster);
    reign.tick();
    settle(&mut reign).await;
    assert_eq!(cluster.log.lock().chores, [], "nobody was heard yet");
    beat(&reign, 2, 1);
    beat(&reign, 3, 1);
    cluster.pass(CHORE_EACH_MS);
    reign.tick();
    reign.tick();
    settle(&mut reign).await;
    let promoted = Chore::Promote(RaftId::from(fake::member(2).storage));
    assert_eq!(cluster.log.lock().chores, [promoted]);
}

#[tokio::test]
async fn a_reign_begins_with_the_lead_and_ends_with_it() {
    let cluster = Fake::of(fake::cluster(3, 0));
    let state = ControllerState::new(NodeId(1), Clock::start());
    let running = tokio::spawn(run(Arc::clone(&cluster), Arc::clone(&state)));
    for (leader, here) in [(2, false), (1, true), (3, false), (1, true)] {
        cluster.leads(leader, 4);
        while state.is_controller() != here {
            tokio::task::yield_now().await;
        }
    }
    running.abort();
    drop(running.await);
    assert!(!state.is_controller());
}

#[tokio::test]
async fn nobody_is_answered_before_all_that_was_committed_is_applied() {
    let cluster = Fake::of(fake::cluster(3, 1));
    let state = ControllerState::new(NodeId(1), Clock::start());
    let running = tokio::spawn(run(Arc::clone(&cluster), Arc::clone(&state)));
    let beat = || {
        let beat = Beat { incarnation: Incarnation(1), applied: 1, ..Beat::default() };
        state
            .heard(BeatRequest { node: NodeId(2), beat, lag: Telling::default() }, cluster.uptime())
    };
    cluster.caught_up_to(3);
    // It leads, leads no more, and leads again, all of it behind.
    for (leader, term) in [(1, 4), (3, 5), (1, 6)] {
        cluster.leads(leader, term);
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert!(!state.is_controller() && beat().controller.is_none(), "in term {term}");
    }
    // What it did not know of.
    cluster.apply(&fake::fence(2, 1));
    cluster.caught_up_to(6);
    while !state.is_controller() {
        tokio::task::yield_now().await;
    }
    assert_eq!((beat().answer, beat().term), (Answer::Fenced, 6));
    running.abort();
}

#[tokio::test]
async fn a_controller_knows_whom_it_follows() {
    let cluster = Fake::of(fake::cluster(3, 1));
    let state = ControllerState::new(NodeId(1), Clock::start());
    let (mut leadership, mut before) = (cluster.leadership(), None);
    for (leader, term) in [(2, 4), (3, 5), (1, 6)] {
        cluster.leads(leader, term);
        let elected = elected(&*cluster, &state, (&mut leadership, &mut before));
        tokio::select! {
            biased;
            leads = elected => assert_eq!((leader, leads), (1, Some(6))),
            () = tokio::task::yield_now() => assert_ne!(leader, 1),
        }
    }
    assert_eq!(before, Some(RaftId::from(fake::member(3).storage)));
}

#[tokio::test]
async fn a_node_that_has_too_many_leases_is_asked_to_give_some_away() {
    let cluster = Fake::of(fake::cluster(3, 9));
    let mut reign = reign(&cluster);
    for _ in 0..25 {
        cluster.pass(50);
        for node in 1..=3 {
            beat(&reign, node, 1);
        }
        reign.tick();
        settle(&mut reign).await;
    }
    let log = cluster.log.lock();
    let orders: Vec<_> = log.orders.iter().map(|(node, orders)| (*node, orders.0.len())).collect();
    assert_eq!(orders, [(1, 6)]);
}
