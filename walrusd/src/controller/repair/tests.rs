use walrus_metadata::{NodeChange, SetNodeState};
use walrus_types::{NodeId, Offset};

use super::*;
use crate::{
    clock::Clock,
    controller::fake::{self, Fake, Fate, seal},
};

/// Three nodes and so many partitions with one sealed segment each that only node 1 has.
fn grown(partitions: usize) -> Metadata {
    let mut metadata = fake::cluster(3, partitions);
    seal(&mut metadata, &[1], &[1, 2, 3]);
    metadata
}

struct Desk {
    cluster: Arc<Fake>,
    state: Arc<ControllerState>,
    repair: Repair,
}

impl Desk {
    fn of(metadata: Metadata) -> Self {
        let cluster = Fake::of(metadata);
        let state = ControllerState::new(NodeId(1), Clock::start());
        Self { cluster, state, repair: Repair::default() }
    }

    /// One look, and all that follows from it: how many copies were wanted.
    async fn go(&mut self) -> usize {
        let metadata = self.cluster.metadata();
        let nodes = view(&*self.cluster, &self.state, &metadata);
        let sets = self.repair.look(&metadata, nodes, self.cluster.uptime());
        if !sets.is_empty() {
            let_go(Arc::clone(&self.cluster), sets).await;
            self.repair.is_set();
        }
        let wanted = self.repair.next(&self.cluster.metadata(), self.cluster.uptime());
        let count = wanted.len();
        for wanted in wanted {
            let segment = wanted.segment;
            let is_made = make(Arc::clone(&self.cluster), Arc::clone(&self.state), wanted).await;
            self.repair.ended(segment, is_made, self.cluster.uptime());
        }
        count
    }

    fn holders(&self, index: i32) -> Vec<i32> {
        let metadata = self.cluster.metadata();
        let (_, sealed) =
            metadata.partition(fake::partition(index)).unwrap().sealed().first().unwrap();
        sealed.members.iter().map(|member| member.node.0).collect()
    }

    fn change(&self, node: i32, change: NodeChange) {
        let set = SetNodeState { node: NodeId(node), expected: None, change };
        let reply = self.cluster.apply(&Command::SetNodeState(set));
        assert!(matches!(reply, Reply::NodeStateSet(Ok(_))), "{reply:?}");
    }
}

#[tokio::test]
async fn what_one_node_has_alone_is_copied_to_the_others_and_then_nothing_is() {
    let mut desk = Desk::of(grown(3));
    assert!(desk.repair.is_due(&desk.cluster.metadata(), UptimeMs(0)));
    while desk.go().await > 0 {
        desk.cluster.pass(1_000);
    }
    for index in 0..3 {
        let mut holders = desk.holders(index);
        holders.sort_unstable();
        assert_eq!(holders, [1, 2, 3]);
    }
    assert_eq!(desk.cluster.log.lock().repairs.len(), 6, "each copy once");
    let metadata = desk.cluster.metadata();
    let chain = metadata.partition(fake::partition(0)).unwrap();
    assert_eq!(chain.sealed().first().unwrap().1.digest, Some(Digest::from(7)));
    assert!(!desk.repair.is_due(&metadata, desk.cluster.uptime()));
}

#[tokio::test]
async fn a_copy_that_is_under_way_is_asked_for_again_and_one_that_fails_is_made_later() {
    let mut desk = Desk::of(grown(1));
    desk.cluster.log.lock().repair_is_under_way = true;
    assert_eq!(desk.go().await, 1);
    assert_eq!((desk.holders(0).len(), desk.cluster.log.lock().repairs.len()), (2, 2));
    let missing = if desk.holders(0).contains(&2) { 3 } else { 2 };
    desk.cluster.down(missing);
    assert_eq!((desk.go().await, desk.holders(0).len()), (1, 2));
    desk.cluster.up(missing);
    assert_eq!(desk.go().await, 0, "it waits for a while");
    desk.cluster.pass(1_000);
    assert_eq!((desk.go().await, desk.holders(0).len()), (1, 3));
}

#[tokio::test]
async fn who_proposes_for_nothing_finds_the_copy_again() {
    let mut desk = Desk::of(grown(1));
    desk.cluster.log.lock().fates.push_back(Fate::NotLeader);
    assert_eq!((desk.go().await, desk.holders(0)), (1, vec![1]));
    desk.cluster.pass(1_000);
    assert_eq!((desk.go().await, desk.holders(0).len()), (1, 2));
}

#[tokio::test]
async fn a_node_that_drains_is_let_go_when_others_have_what_it_had() {
    let mut metadata = fake::cluster(4, 1);
    seal(&mut metadata, &[1, 2, 3], &[1, 2, 3]);
    let mut desk = Desk::of(metadata);
    assert_eq!(desk.go().await, 0);
    desk.change(2, NodeChange::Drain);
    assert_eq!(desk.go().await, 1);
    assert_eq!(desk.holders(0), [1, 3, 4]);
    // Nobody is there who could take its place: it keeps what it has.
    desk.change(4, NodeChange::Drain);
    assert_eq!((desk.go().await, desk.holders(0)), (0, vec![1, 3, 4]));
}

#[tokio::test]
async fn a_segment_that_is_gone_meanwhile_is_let_be() {
    let mut desk = Desk::of(grown(1));
    let metadata = desk.cluster.metadata();
    let nodes = view(&*desk.cluster, &desk.state, &metadata);
    desk.repair.look(&metadata, nodes, UptimeMs(0));
    let prune = walrus_metadata::Prune {
        partition: fake::partition(0),
        expected: metadata.partition(fake::partition(0)).unwrap().open().key.epoch,
        log_start: Offset(10),
    };
    desk.cluster.apply(&Command::Prune(vec![prune]));
    assert_eq!(desk.repair.next(&desk.cluster.metadata(), UptimeMs(0)), []);
}
