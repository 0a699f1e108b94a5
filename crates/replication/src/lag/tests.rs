use walrus_types::PartitionIndex;

use super::*;

const LIFE: Incarnation = Incarnation(1);
const LEADER: NodeId = NodeId(1);
const READER: NodeId = NodeId(3);

fn partition(index: i32) -> TopicPartition {
    TopicPartition { partition: PartitionIndex(index), ..TopicPartition::default() }
}

/// Node 2 lags in the segments of epoch 5 of these partitions.
fn behind(partitions: &[i32]) -> Vec<Laggards> {
    let one = |index: &i32| Laggards {
        partition: partition(*index),
        epoch: Epoch(5),
        members: vec![NodeId(2)],
    };
    partitions.iter().map(one).collect()
}

/// A leader, the controller, and a node that leads nothing.
struct World {
    own: OwnList,
    board: Board,
    shown: Shown,
    now: u64,
}

impl World {
    fn new() -> Self {
        let board = Board::begin(7, UptimeMs(0));
        Self { own: OwnList::default(), board, shown: Shown::default(), now: WHOLE_AFTER_MS }
    }

    fn looked(&mut self, partitions: &[i32]) {
        self.own.looked(behind(partitions), UptimeMs(self.now));
    }

    /// A heartbeat of each: whether the leader sent its list, and the other one got one.
    fn beat(&mut self) -> (bool, bool) {
        let now = UptimeMs(self.now);
        let telling = self.own.tell(&Shown::default());
        self.board.heard(LEADER, LIFE, &telling);
        self.own.had(self.board.publish((LEADER, LIFE), telling.edition, now).version);
        let published = self.board.publish((READER, LIFE), self.shown.edition, now);
        self.shown.take(&published);
        (telling.list.is_some(), published.list.is_some())
    }

    /// The partitions in which node 2 is not shown as in sync.
    fn shown(&self) -> Vec<i32> {
        let lags = |index: &i32| !self.shown.keeps_up(partition(*index), Epoch(5), NodeId(2));
        (0..10).filter(lags).collect()
    }
}

#[test]
fn what_a_leader_sees_every_node_shows_and_a_list_goes_over_a_link_once() {
    let mut world = World::new();
    assert_eq!(world.beat(), (false, true), "an edition of nobody");
    assert_eq!(world.beat(), (false, false));
    world.now += LOOK_EACH_MS;
    world.looked(&[3, 1]);
    assert_eq!((world.beat(), world.shown()), ((true, true), vec![1, 3]));
    world.looked(&[1, 3]);
    assert_eq!(world.beat(), (false, false), "the same again");
    world.now += LOOK_EACH_MS;
    world.looked(&[]);
    assert_eq!((world.beat(), world.shown()), ((true, true), vec![]));
    assert_eq!(world.beat(), (false, false));
}

#[test]
fn only_the_member_that_lags_is_shown_so_and_only_in_that_segment() {
    let mut world = World::new();
    world.looked(&[1]);
    world.beat();
    for (index, epoch, node, expected) in
        [(1, 5, 2, false), (1, 5, 3, true), (1, 6, 2, true), (2, 5, 2, true)]
    {
        let keeps_up = world.shown.keeps_up(partition(index), Epoch(epoch), NodeId(node));
        assert_eq!(keeps_up, expected, "partition {index}, epoch {epoch}, node {node}");
    }
}

#[test]
fn editions_come_out_so_often_and_not_more_often() {
    let mut world = World::new();
    world.looked(&[1]);
    world.beat();
    world.now += 10;
    world.looked(&[1, 2]);
    assert_eq!((world.beat(), world.shown()), ((true, false), vec![1]));
    world.now += LOOK_EACH_MS - 11;
    assert_eq!((world.beat(), world.shown()), ((false, false), vec![1]));
    world.now += 1;
    assert_eq!((world.beat(), world.shown()), ((false, true), vec![1, 2]));
}

#[test]
fn a_new_controller_is_told_all_again_and_publishes_when_it_knows_all() {
    let mut world = World::new();
    world.looked(&[4]);
    world.beat();
    world.beat();
    world.board = Board::begin(8, UptimeMs(world.now));
    assert_eq!(world.beat(), (false, false), "it is asked what it has");
    assert_eq!((world.beat(), world.shown()), ((true, false), vec![4]));
    world.now += WHOLE_AFTER_MS - 1;
    assert_eq!(world.beat(), (false, false));
    world.now += 1;
    assert_eq!((world.beat(), world.shown()), ((false, true), vec![4]));
}

#[test]
fn what_comes_late_changes_nothing_and_a_new_life_begins_anew() {
    let mut world = World::new();
    let telling = |version, partitions: &[i32]| Telling {
        version,
        list: Some(behind(partitions)),
        edition: Edition::default(),
    };
    for (life, version, partitions, expected) in [
        (1, 2, &[1, 2][..], &[1, 2][..]),
        (1, 1, &[1], &[1, 2]),
        (1, 2, &[], &[1, 2]),
        (2, 1, &[6], &[6]),
        (1, 9, &[7], &[6]),
    ] {
        world.board.heard(LEADER, Incarnation(life), &telling(version, partitions));
        world.now += LOOK_EACH_MS;
        world.beat();
        assert_eq!(world.shown(), expected, "version {version} of life {life}");
    }
    // A life is not told that what an earlier one said is had.
    let now = UptimeMs(world.now);
    let mut had = |life| {
        let of = (LEADER, Incarnation(life));
        world.board.publish(of, Edition::default(), now).version
    };
    assert_eq!((had(2), had(3)), (1, 0));
}

#[test]
fn of_a_life_that_is_over_nothing_is_shown() {
    let mut world = World::new();
    world.looked(&[1]);
    world.beat();
    world.board.retain(|node, life| (node, life) == (LEADER, LIFE));
    world.now += LOOK_EACH_MS;
    assert_eq!((world.beat(), world.shown()), ((false, false), vec![1]));
    world.board.retain(|_, life| life > LIFE);
    let published = world.board.publish((READER, LIFE), world.shown.edition, UptimeMs(world.now));
    world.shown.take(&published);
    assert_eq!(world.shown(), [] as [i32; 0]);
}

#[test]
fn a_list_is_no_longer_than_its_bound() {
    let mut world = World::new();
    let many = |from: i32| -> Vec<Laggards> {
        let all: Vec<i32> = (from..).take(LAGGARDS_MAX).collect();
        behind(&all)
    };
    let too_many = [many(0), many(1_000_000)].concat();
    world.own.looked(too_many.clone(), UptimeMs(0));
    let told = world.own.tell(&Shown::default());
    assert_eq!(told.list.map(|list| list.len()), Some(LAGGARDS_MAX));
    let telling = Telling { version: 1, list: Some(too_many), edition: Edition::default() };
    for node in [1, 2] {
        world.board.heard(NodeId(node), LIFE, &telling);
    }
    let published = world.board.publish((READER, LIFE), Edition::default(), UptimeMs(world.now));
    assert_eq!(published.list.map(|list| list.len()), Some(LAGGARDS_MAX));
}

#[test]
fn a_leader_looks_now_and_then() {
    let mut own = OwnList::default();
    assert!(own.is_due(UptimeMs(0)));
    own.looked(Vec::new(), UptimeMs(0));
    assert!(!own.is_due(UptimeMs(LOOK_EACH_MS - 1)));
    assert!(own.is_due(UptimeMs(LOOK_EACH_MS)));
}
