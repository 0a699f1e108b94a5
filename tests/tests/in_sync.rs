//! Who is in sync: what the leader's metrics say, and what every node tells clients.

#![expect(clippy::print_stdout, reason = "a run tells how long it took")]

use anyhow::{Result, ensure};
use walrus_tests::{
    Cluster, NodeSettings, fault::Victim, load::until, store_with, text::TextClient,
};

const TOPIC: &str = "in-sync";

/// Three nodes, and a topic with one partition on all of them.
struct World {
    folder: tempfile::TempDir,
    cluster: Cluster,
    leader: i32,
    /// A member that leads nothing.
    victim: i32,
}

impl World {
    fn new() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
        let mut text = TextClient::connect(cluster.node(1).client_address())?;
        ensure!(text.ask(format!("REGISTER {TOPIC}").as_bytes())? == b"OK");
        let victim = Victim::Follower.choose(&cluster, TOPIC)?;
        let leader = cluster.leader(1, TOPIC, 0)?;
        let world = Self { folder, cluster, leader, victim };
        world.put()?;
        world.all_are_in_sync()?;
        Ok(world)
    }

    /// A record is committed.
    fn put(&self) -> Result<()> {
        let mut text = TextClient::connect(self.cluster.node(self.leader).client_address())?;
        let answer = text.ask(format!("PUT {TOPIC} record").as_bytes())?;
        ensure!(answer == b"OK", "{}", String::from_utf8_lossy(&answer));
        Ok(())
    }

    /// Replicas, those in sync, those that are offline, as that node tells clients.
    fn shown_by(&self, id: i32) -> Result<[Vec<i32>; 3]> {
        let shown = self.cluster.partition_shown_by(id, TOPIC, 0)?;
        let lists = [shown.replica_nodes, shown.isr_nodes, shown.offline_replicas];
        Ok(lists.map(|list| {
            let mut ids: Vec<i32> = list.iter().map(|id| id.0).collect();
            ids.sort_unstable();
            ids
        }))
    }

    /// Waits until every node that runs tells clients that all members are there, and these are in
    /// sync; and until the leader counts as many.
    fn in_sync(&self, expected: &[i32]) -> Result<()> {
        let running = self.cluster.ids().into_iter();
        let running = running.filter(|id| self.cluster.node(*id).is_running());
        for id in running {
            let took = until(&format!("{expected:?} in sync by node {id}"), || {
                self.shown_by(id).is_ok_and(|[replicas, in_sync, offline]| {
                    replicas == [1, 2, 3] && in_sync == expected && offline.is_empty()
                })
            })?;
            println!("node {id} shows {expected:?} in sync after {took:?}");
        }
        self.leader_counts(expected.len())
    }

    fn all_are_in_sync(&self) -> Result<()> {
        self.in_sync(&[1, 2, 3])
    }

    fn leader_counts(&self, expected: usize) -> Result<()> {
        let name = format!("partition_isr_size{{topic=\"{TOPIC}\",partition=\"0\"}}");
        let expected = u64::try_from(expected)?;
        let leader = self.cluster.node(self.leader);
        until(&format!("{name} {expected}"), || {
            leader.metric(&name).is_ok_and(|counted| counted == expected)
        })?;
        Ok(())
    }
}

#[test]
fn the_metric_of_members_in_sync_follows_one_that_is_killed_and_comes_back() -> Result<()> {
    let mut world = World::new()?;
    world.cluster.node_mut(world.victim).kill()?;
    world.leader_counts(2)?;
    world.put()?;
    world.cluster.node_mut(world.victim).restart()?;
    world.all_are_in_sync()
}

#[test]
fn a_member_that_lives_and_stores_nothing_is_in_sync_by_no_node_until_it_caught_up() -> Result<()> {
    let mut world = World::new()?;
    // Less than that is free on every disk: it is full from its next start on.
    store_with(world.folder.path(), &["disk-reserve-bytes: 1024GiB"])?;
    world.cluster.node_mut(world.victim).kill()?;
    world.cluster.node_mut(world.victim).restart()?;
    // An idle log is nothing to be behind.
    world.all_are_in_sync()?;
    world.put()?;
    let others: Vec<i32> = (1..=3).filter(|id| *id != world.victim).collect();
    world.in_sync(&others)?;
    store_with(world.folder.path(), &[])?;
    world.cluster.node_mut(world.victim).kill()?;
    world.cluster.node_mut(world.victim).restart()?;
    world.all_are_in_sync()
}
