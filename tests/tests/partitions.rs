//! Three nodes on machines of their own, which cannot always reach each other. Clients reach all.
//!
//! ```text
//!  cut off      one way        bridge         flapping
//!   1   2-3    1 --> 2,3    1 - 3 - 2      any way, at random
//! ```

#![expect(clippy::print_stdout, reason = "a run tells what it did")]

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng};
use walrus_tests::{
    Cluster, NodeSettings,
    fault::{Victim, seeded},
    folder,
    lab::{self, Lab},
    load::{Load, whole},
    reach::{Reach, load_on, verify},
};

const TOPIC: &str = "parted";
const COPIES: usize = 3;
/// Leaders that are cut off until one of them had a tail to lose.
const CUTS_MORE_MAX: usize = 8;

/// A cluster under load, each node on a machine of its own.
struct World {
    random: StdRng,
    lab: Lab,
    cluster: Cluster,
    load: Load,
    since: Reach,
    _folder: tempfile::TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let random = seeded()?;
        let folder = folder()?;
        let lab = Lab::raise(&["node1", "node2", "node3"])?;
        // Segments are rolled often: what happens falls into rolls, too.
        let settings = NodeSettings::default()
            .env("WALRUS_MAX_SEGMENT_BYTES", 128 << 10)
            .env("WALRUS_MONITOR_CHECK_MS", 50);
        let cluster = Cluster::across(&lab, folder.path(), &settings)?;
        let load = load_on(&cluster, TOPIC, &[])?;
        let since = Reach::of(&cluster, TOPIC)?;
        load.goes_on("at first")?;
        Ok(Self { random, lab, cluster, load, since, _folder: folder })
    }

    fn choose(&self, victim: Victim) -> Result<i32> {
        victim.choose(&self.cluster, TOPIC)
    }

    /// Cuts the ways for which `is_cut` says so: all partitions go on meanwhile. Then heals all,
    /// and waits until every node has everything.
    fn part(&mut self, what: &str, is_cut: impl Fn(i32, i32) -> bool) -> Result<()> {
        self.parted(what, is_cut).with_context(|| self.cluster.last_words())
    }

    fn parted(&mut self, what: &str, is_cut: impl Fn(i32, i32) -> bool) -> Result<()> {
        self.lab.shape(is_cut)?;
        let first = self.load.goes_on(&format!("while {what}"))?;
        let held_max_ms = number("WALRUS_CUT_MS_MAX", 1_500)?;
        let held = Duration::from_millis(self.random.random_range(0..held_max_ms));
        thread::sleep(held);
        self.lab.heal_all()?;
        let healed = whole(&self.cluster, TOPIC, COPIES)?;
        self.load.goes_on(&format!("after {what}"))?;
        println!(
            "{what}: nothing waits after {first:?}; held {held:?} more, whole after {healed:?}"
        );
        Ok(())
    }

    fn reached(&self) -> Result<Reach> {
        Ok(Reach::of(&self.cluster, TOPIC)? - self.since)
    }

    fn verify(self) -> Result<Reach> {
        verify(self.load, &self.cluster, self.since)
    }
}

fn inside(test: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
    lab::inside(test, &["walrusd"], body)
}

#[test]
fn the_majority_goes_on_without_a_node_that_is_cut_off() -> Result<()> {
    inside("the_majority_goes_on_without_a_node_that_is_cut_off", || {
        let mut world = World::new()?;
        for victim in [Victim::Follower, Victim::Leader, Victim::Controller] {
            let id = world.choose(victim)?;
            let what = format!("{victim:?} {id} is cut off");
            world.part(&what, |from, to| from == id || to == id)?;
        }
        // Whether a leader had something that no log has is up to what was on its way just then.
        for _ in 0..CUTS_MORE_MAX {
            if world.reached()?.truncations > 0 {
                break;
            }
            let id = world.choose(Victim::Leader)?;
            world.part(&format!("leader {id} is cut off"), |from, to| from == id || to == id)?;
        }
        let reach = world.verify()?;
        let Reach { elections, seals, rolls, truncations } = reach;
        let all = elections > 0 && seals > 0 && rolls > 0 && truncations > 0;
        ensure!(all, "not everything was reached: {reach}");
        Ok(())
    })
}

#[test]
fn the_majority_goes_on_without_a_node_that_is_not_heard() -> Result<()> {
    inside("the_majority_goes_on_without_a_node_that_is_not_heard", || {
        let mut world = World::new()?;
        for victim in [Victim::Leader, Victim::Controller] {
            let id = world.choose(victim)?;
            world.part(&format!("{victim:?} {id} is not heard"), |from, _| from == id)?;
        }
        let Reach { elections, seals, rolls, .. } = world.verify()?;
        ensure!(elections > 0 && seals > 0 && rolls > 0, "nothing was reached");
        Ok(())
    })
}

#[test]
fn the_majority_goes_on_without_a_node_that_does_not_hear() -> Result<()> {
    inside("the_majority_goes_on_without_a_node_that_does_not_hear", || {
        let mut world = World::new()?;
        for victim in [Victim::Leader, Victim::Controller] {
            let id = world.choose(victim)?;
            world.part(&format!("{victim:?} {id} does not hear"), |_, to| to == id)?;
        }
        let Reach { elections, seals, rolls, .. } = world.verify()?;
        ensure!(elections > 0 && seals > 0 && rolls > 0, "nothing was reached");
        Ok(())
    })
}

#[test]
fn two_that_see_only_the_third_stop_nobody() -> Result<()> {
    inside("two_that_see_only_the_third_stop_nobody", || {
        let mut world = World::new()?;
        for bridge in [Victim::Controller, Victim::Leader, Victim::Follower] {
            let bridge_id = world.choose(bridge)?;
            let what = format!("only {bridge:?} {bridge_id} sees both others");
            world.part(&what, |from, to| from != bridge_id && to != bridge_id)?;
        }
        let Reach { rolls, .. } = world.verify()?;
        ensure!(rolls > 0, "nothing was reached");
        Ok(())
    })
}

#[test]
fn links_that_come_and_go_cost_no_record() -> Result<()> {
    inside("links_that_come_and_go_cost_no_record", || {
        let mut world = World::new()?;
        for _ in 0..number("WALRUS_FLAPS", 12)? {
            let ways = world.lab.ways();
            let (from, to) = ways[world.random.random_range(0..ways.len())];
            let both = world.random.random_bool(0.5);
            world.lab.cut(from, to)?;
            if both {
                world.lab.cut(to, from)?;
            }
            thread::sleep(Duration::from_millis(world.random.random_range(20..1_300)));
            if world.random.random_bool(0.7) {
                world.lab.heal_all()?;
                thread::sleep(Duration::from_millis(world.random.random_range(0..400)));
            }
        }
        world.part("no way is cut any more", |_, _| false)?;
        let Reach { rolls, .. } = world.verify()?;
        ensure!(rolls > 0, "nothing was reached");
        Ok(())
    })
}

/// A number that a long run sets higher.
fn number(variable: &str, usual: u64) -> Result<u64> {
    match std::env::var(variable) {
        Ok(set) => set.parse().with_context(|| format!("{variable} must be a number")),
        Err(_) => Ok(usual),
    }
}
