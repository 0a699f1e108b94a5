use futures::FutureExt as _;
use walrus_replication::{Append, Refusal, seal::Report};
use walrus_storage::{
    disk::SimDisk,
    store::{StoreConfig, StoreDriver},
};
use walrus_types::ProducerId;

use super::{super::*, world::*};
use crate::peer::{
    append::{AnswerMessage, AppendAnswer, AppendMessage, decode_answers},
    server::Back,
};
use crate::replica::messages::{FenceRequest, ReadRequest};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_when_it_is_durable_and_one_that_is_there_at_once() {
    let world = World::new();
    let node = world.node(2);
    // The first look at a segment may take a while: the leader comes again.
    node.push(life(1, 1), 0, append(2, 1, 0, 0), Some(batch_of(0, 4, 1)));
    assert!(matches!(
        node.answers().await[..],
        [AppendAnswer::Refused { epoch: Epoch(1), stream: 1, refusal: Refusal::Busy }]
    ));
    let answer = node.say(life(1, 1), 0, append(2, 1, 0, 0), Some(batch_of(0, 4, 1))).await;
    let AppendAnswer::Position(position) = answer else { panic!("{answer:?}") };
    assert_eq!((position.end, position.durable), (Offset(4), Offset(4)));
    assert_eq!((position.epoch, position.stream), (Epoch(1), 1));
    node.push(life(1, 1), 0, append(2, 1, 0, 4), Some(batch_of(0, 4, 1)));
    assert_eq!(node.answers().await, [AppendAnswer::Position(position)]);
    let (place, end) = node.replicas.readable(segment(0, 1)).await.unwrap();
    assert_eq!((place.end().unwrap(), end), (Offset(4), Offset(4)), "what the leader committed");
    assert_eq!(node.bases(segment(0, 1)), [0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_follow_or_is_not_what_it_says_changes_nothing() {
    let world = World::new();
    let node = world.node(2);
    node.feed((0, 4), 0).await;
    let refusal = node.refusal(life(1, 1), 0, append(2, 1, 6, 0), Some(batch_of(6, 2, 1))).await;
    assert_eq!(refusal, Refusal::Gap { end: Offset(4) });
    let mut rotten = batch_of(4, 2, 1).to_vec();
    *rotten.last_mut().unwrap() ^= 1;
    let cut = batch_of(4, 2, 1).slice(..80);
    let two = [batch_of(4, 2, 1), batch_of(6, 2, 1)].concat().into();
    let far = batch_of(4, 2, 9);
    for malformed in [rotten.into(), cut, two, far] {
        let refusal = node.refusal(life(1, 1), 0, append(2, 1, 4, 0), Some(malformed)).await;
        assert_eq!(refusal, Refusal::Malformed);
    }
    // Another node, or another life of the leader's, has no word here.
    for stranger in [life(3, 1), life(1, 2)] {
        let refusal = node.refusal(stranger, 0, append(2, 1, 4, 0), Some(batch_of(4, 2, 1))).await;
        assert_eq!(refusal, Refusal::Fenced);
    }
    let other = Append { storage: disk(3), ..append(2, 1, 4, 0) };
    let refusal = node.refusal(life(1, 1), 0, other, Some(batch_of(4, 2, 1))).await;
    assert_eq!(refusal, Refusal::OtherStorage { known: disk(2), given: disk(3) });
    assert_eq!(node.ask((0, 1), 4, 0).await.end, Offset(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_segment_is_taken_when_the_roll_that_opened_it_is_applied_and_its_table_goes_along() {
    let mut world = World::new();
    world.node(2).feed((0, 6), 4).await;
    let node = world.node(2);
    let early = node.refusal(life(1, 1), 6, append(2, 2, 6, 6), Some(batch_of(6, 2, 2))).await;
    assert_eq!(early, Refusal::NotYet { applied: world.metadata.applied() });
    world.planned(6);
    // Nobody has told the node yet; the message itself has it look.
    let node = world.node(2);
    node.push(life(1, 1), 6, append(2, 2, 6, 6), Some(batch_of(6, 2, 2)));
    let answers = node.answers().await;
    assert!(
        matches!(answers[..], [AppendAnswer::Position(position)] if position.end == Offset(8)),
        "{answers:?}"
    );
    let next = node.replicas.opened(segment(6, 2)).unwrap();
    assert_eq!(next.producers().map(|table| table.end()), Some(Offset(8)), "the table went along");
    node.until_sealed(segment(0, 1)).await;
    assert_eq!(node.table(segment(0, 1)).end(), Offset(6));
    // What is over is refused by the metadata alone.
    let late = node.refusal(life(1, 1), 0, append(2, 1, 6, 6), Some(batch_of(6, 2, 1))).await;
    assert_eq!(late, Refusal::Sealed { end: Offset(6) });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_no_member_keeps_nothing() {
    let mut world = World::new();
    world.register(4, 1);
    world.start(4);
    let node = world.node(4);
    assert_eq!(node.refusal(life(1, 1), 0, append(4, 1, 0, 0), None).await, Refusal::NotMember);
    assert!(node.replicas.slots.read().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finds_all_again_and_the_table_when_it_knows_what_is_committed() {
    let mut world = World::new();
    for number in [2, 3] {
        world.node(number).feed((0, 20), 10).await;
    }
    world.restart(2).await;
    let node = world.node(2);
    let position = node.ask((0, 1), 20, 0).await;
    assert_eq!((position.end, position.durable), (Offset(20), Offset(20)));
    node.ask((0, 1), 20, 10).await;
    let replica = node.replicas.opened(segment(0, 1)).unwrap();
    eventually("the table", || !replica.lacks_producers()).await;
    node.feed((20, 24), 20).await;
    world.node(3).feed((20, 24), 20).await;
    let old = world.metadata.clone();
    world.planned(24);
    for number in [2, 3] {
        world.tell(number, &old);
        world.node(number).until_sealed(segment(0, 1)).await;
    }
    // It is as if it had never been away.
    let tables = [2, 3].map(|number| world.node(number).table(segment(0, 1)));
    let newest = |table: &ProducerTable| {
        let all: Vec<_> = table.remembered(ProducerId(5)).copied().collect();
        all[all.len() - 5..].to_vec()
    };
    assert_eq!(newest(&tables[0]), newest(&tables[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_disk_has_no_word_about_what_the_lost_one_held() {
    let mut world = World::new();
    world.kill(2).await;
    let me = Member { storage: disk(9), ..member(2) };
    world.start_with(2, me);
    let refusal = world.node(2).refusal(life(1, 1), 0, append(2, 1, 0, 0), None).await;
    assert_eq!(refusal, Refusal::OtherStorage { known: disk(9), given: disk(2) });
    world.fence_in_metadata(life(1, 1));
    let reports = world.fence(2, &[segment(0, 1)]).await.unwrap().reports;
    let lost = Report::LostDisk { found: disk(9) };
    assert_eq!(reports, [(segment(0, 1), lost)]);
    let old = world.metadata.clone();
    world.forced(0);
    world.tell(2, &old);
    assert!(world.node(2).replicas.opened(segment(0, 1)).is_none(), "it is let go");
}

/// Node 2 whose store moves only when it is told to.
struct Slow {
    world: World,
    replicas: Arc<Replicas>,
    driver: StoreDriver,
}

impl Slow {
    async fn new(config: StoreConfig) -> Self {
        let mut world = World::new();
        world.kill(2).await;
        let disk = Arc::new(SimDisk::new(7));
        let path = std::path::Path::new("/slow");
        let (store, mut driver, _) = Store::open_inline(disk, path, config).unwrap();
        while driver.step_wal() {}
        let replicas = Replicas::open(Parts {
            store,
            metadata: world.views.subscribe(),
            me: member(2),
            incarnation: Incarnation(1),
            sources: Arc::new(Reach(Arc::clone(&world.others))),
            unclean_stop: false,
            metrics: Metrics::default(),
        });
        replicas.replica(segment(0, 1)).await.unwrap();
        Self { world, replicas, driver }
    }

    fn push(&self, at: i64, batch: bool, back: &Back) {
        let batch = batch.then(|| batch_of(at, 2, 1));
        let message =
            AppendMessage { partition: P, base: Offset(0), append: append(2, 1, at, 0), batch };
        self.replicas.appended(from(life(1, 1)), message, back);
    }

    fn flush(&mut self) {
        while self.driver.step_wal() {}
    }
}

#[tokio::test]
async fn nothing_is_answered_before_the_flush_and_then_on_the_connection_that_there_is() {
    let mut slow = Slow::new(config()).await;
    let (lost, new) = (Back::default(), Back::default());
    slow.push(0, true, &lost);
    slow.push(2, true, &lost);
    assert!(lost.take().unwrap().is_empty(), "accepted is not durable");
    slow.push(4, false, &new);
    let answers = answers_on(&new).await;
    let at = |answer: &AppendAnswer| match answer {
        AppendAnswer::Position(position) => (position.end.0, position.durable.0),
        AppendAnswer::Refused { refusal, .. } => panic!("{refusal:?}"),
    };
    assert_eq!(answers.iter().map(at).collect::<Vec<_>>(), [(4, 0)]);
    slow.flush();
    let answers = answers_on(&new).await;
    assert_eq!(at(answers.last().unwrap()), (4, 4));
    assert!(lost.take().unwrap().is_empty(), "nobody listens there");
    drop(slow.world);
}

#[tokio::test]
async fn a_vote_waits_for_the_flush_of_what_was_accepted_and_others_are_given_no_more() {
    let mut slow = Slow::new(config()).await;
    let back = Back::default();
    slow.push(0, true, &back);
    slow.flush();
    slow.push(2, true, &back);
    let wanted = ReadRequest {
        segment: segment(0, 1),
        storage: disk(2),
        from: Offset(0),
        to: Offset(10),
        bytes_max: 1 << 20,
    };
    assert_eq!(slow.replicas.read(wanted).await.unwrap(), batch_of(0, 2, 1));
    slow.world.fence_in_metadata(life(1, 1));
    let request = FenceRequest {
        fenced: life(1, 1),
        index: slow.world.metadata.applied(),
        segments: vec![segment(0, 1)],
    };
    let replicas = Arc::clone(&slow.replicas);
    let fencing = replicas.fence(request);
    tokio::pin!(fencing);
    assert!(fencing.as_mut().now_or_never().is_none(), "nothing was flushed yet");
    assert!(!slow.replicas.fences.read().covers_durably(life(1, 1)));
    drop(back.take());
    slow.push(4, true, &back);
    let refused = decode_answers(&back.take().unwrap()).unwrap();
    assert!(
        matches!(
            refused[..],
            [AnswerMessage { answer: AppendAnswer::Refused { refusal: Refusal::Fenced, .. }, .. }]
        ),
        "the fence counts at once: {refused:?}"
    );
    slow.flush();
    let reports = fencing.await.unwrap().reports;
    assert!(matches!(reports[0].1, Report::Held(held) if held.end == Offset(4)), "{reports:?}");
}

#[tokio::test]
async fn a_store_that_is_full_for_now_takes_the_batch_back_and_the_next_one_later() {
    let tail = StoreConfig { tail_bytes_max: 64 << 10, ..config() };
    let mut slow = Slow::new(tail).await;
    let back = Back::default();
    let mut at = 0;
    let refused = loop {
        slow.push(at, true, &back);
        match decode_answers(&back.take().unwrap()).unwrap()[..] {
            [] => at += 2,
            [answer] => break answer.answer,
            ref more => panic!("{more:?}"),
        }
    };
    assert!(matches!(refused, AppendAnswer::Refused { refusal: Refusal::Busy, .. }), "{refused:?}");
    let replica = slow.replicas.opened(segment(0, 1)).unwrap();
    assert_eq!(replica.marks().end, Offset(at), "what was refused was never there");
    assert_eq!(replica.producers().unwrap().end(), Offset(at));
    slow.flush();
    slow.driver.flush().unwrap();
    assert_eq!(replica.marks().durable, Offset(at));
    drop(answers_on(&back).await);
    slow.push(at, true, &back);
    slow.flush();
    let answers = answers_on(&back).await;
    assert!(
        matches!(answers[..], [AppendAnswer::Position(position)] if position.durable == Offset(at + 2)),
        "{answers:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_topics_segments_are_let_go_and_refused() {
    let mut world = World::new();
    world.node(2).feed((0, 4), 0).await;
    let old = world.metadata.clone();
    world.apply(&walrus_metadata::Command::DeleteTopics(vec![TOPIC]));
    world.tell(2, &old);
    let node = world.node(2);
    assert!(node.replicas.slots.read().is_empty());
    node.store.remove_topic(TOPIC).unwrap();
    let refusal = node.refusal(life(1, 1), 0, append(2, 1, 4, 0), Some(batch_of(4, 2, 1))).await;
    assert_eq!(refusal, Refusal::NotYet { applied: world.metadata.applied() });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_go_while_a_leader_writes_are_no_failure() {
    let mut world = World::new();
    world.node(2).feed((0, 4), 0).await;
    // The topic is deleted here a moment before this node's replicas hear of it.
    world.node(2).store.remove_topic(TOPIC).unwrap();
    world.apply(&walrus_metadata::Command::DeleteTopics(vec![TOPIC]));
    let node = world.node(2);
    let refusal = node.refusal(life(1, 1), 0, append(2, 1, 4, 0), Some(batch_of(4, 2, 1))).await;
    assert_eq!(refusal, Refusal::NotYet { applied: world.metadata.applied() });
    assert!(node.replicas.slots.read().is_empty());
}
