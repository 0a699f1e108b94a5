//! What bad luck gets, row by row in an order of a seed's choosing: processes that are killed,
//! frozen and restarted under one load, and at the end everything is where it was promised.

use std::{thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use rand::{RngExt as _, rngs::StdRng, seq::SliceRandom as _};
use walrus_tests::{
    Cluster, NodeSettings,
    fault::{Victim, seeded},
    folder,
    load::{Load, whole},
    reach::{Reach, load_on, verify},
};

const TOPIC: &str = "luck";
const COPIES: usize = 3;

/// A row of the table.
#[derive(Debug, Clone, Copy)]
enum Row {
    /// kill -9 and a start.
    Kill(Victim),
    /// kill -9 of all and a start of all.
    KillAll,
    /// SIGSTOP for longer than a lease lasts, then SIGCONT.
    Freeze(Victim),
    /// SIGTERM and a start, one after the other.
    Rolling,
}

const ROWS: [Row; 7] = [
    Row::Kill(Victim::Leader),
    Row::Kill(Victim::Controller),
    Row::Kill(Victim::Follower),
    Row::KillAll,
    Row::Freeze(Victim::Leader),
    Row::Freeze(Victim::Controller),
    Row::Rolling,
];

fn some(random: &mut StdRng, ms: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.random_range(ms))
}

impl Row {
    fn happens(self, cluster: &mut Cluster, load: &Load, random: &mut StdRng) -> Result<()> {
        thread::sleep(some(random, 0..300));
        match self {
            Self::Kill(victim) => {
                let id = victim.choose(cluster, TOPIC)?;
                cluster.node_mut(id).kill()?;
                load.goes_on(&format!("without {victim:?} {id}"))?;
                cluster.node_mut(id).restart()?;
            }
            Self::KillAll => {
                for id in cluster.ids() {
                    cluster.node_mut(id).kill()?;
                }
                for id in cluster.ids() {
                    cluster.node_mut(id).spawn()?;
                }
                for id in cluster.ids() {
                    cluster.node_mut(id).wait_ready()?;
                }
            }
            Self::Freeze(victim) => {
                let id = victim.choose(cluster, TOPIC)?;
                cluster.node(id).freeze()?;
                // Longer than a lease, and the margins on both sides of it.
                thread::sleep(some(random, 1_500..2_500));
                cluster.node(id).thaw()?;
            }
            Self::Rolling => {
                for id in cluster.ids() {
                    let ended = cluster.node_mut(id).terminate()?;
                    ensure!(ended.success(), "node {id} ended with {ended}");
                    cluster.node_mut(id).restart()?;
                    whole(cluster, TOPIC, COPIES)?;
                }
            }
        }
        whole(cluster, TOPIC, COPIES)?;
        load.goes_on(&format!("after {self:?}")).map(drop)
    }
}

/// How often each row is gone through; a long run sets more.
fn rounds() -> Result<u32> {
    match std::env::var("WALRUS_CLUSTER_ROUNDS") {
        Ok(rounds) => rounds.parse().context("WALRUS_CLUSTER_ROUNDS must be a number"),
        Err(_) => Ok(1),
    }
}

#[test]
fn nothing_that_happens_to_processes_costs_a_record() -> Result<()> {
    let mut random = seeded()?;
    let folder = folder()?;
    // Segments are rolled often: what happens falls into rolls, too.
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_BYTES", 128 << 10)
        .env("WALRUS_MONITOR_CHECK_MS", 50);
    let mut cluster = Cluster::start(folder.path(), COPIES, &settings)?;
    let load = load_on(&cluster, TOPIC, &[])?;
    load.goes_on("at first")?;
    let since = Reach::of(&cluster, TOPIC)?;
    for _ in 0..rounds()? {
        let mut rows = ROWS;
        rows.shuffle(&mut random);
        for row in rows {
            let before = Reach::of(&cluster, TOPIC)?;
            row.happens(&mut cluster, &load, &mut random)?;
            println!("{row:?}: {}", Reach::of(&cluster, TOPIC)? - before);
        }
    }
    let Reach { elections, seals, rolls, .. } = verify(load, &cluster, since)?;
    ensure!(elections > 0 && seals > 0 && rolls > 0, "nothing was reached");
    Ok(())
}
