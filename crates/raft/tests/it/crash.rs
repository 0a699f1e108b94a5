//! Power cuts at any moment: what was answered is there again, and nothing is there twice.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use walrus_metadata::{Command, Reply};
use walrus_storage::disk::{SimDisk, SimFaults};

use crate::world::{IDENTITY, ids_handed_out, register, sim_dir, small, start};

/// Runs a node on `disk` with four proposals at a time. When one of its proposers was answered
/// often enough the power goes, before anything else happens; answers the disk as the next boot
/// sees it, and how many proposals had been answered by then.
fn life_and_cut(disk: &SimDisk, seed: u64, incarnation: u64) -> (SimDisk, i64) {
    let life = start(Arc::new(disk.clone()), &sim_dir(), IDENTITY, small()).unwrap();
    life.propose(&register(incarnation)).unwrap();
    disk.set_faults(SimFaults { waits_max: 8, ..SimFaults::default() });
    let answered = AtomicI64::new(0);
    let done = AtomicBool::new(false);
    let propose = || async {
        match life.node.propose(&Command::ProducerIds).await {
            Ok(Reply::ProducerIds(Ok(_))) => answered.fetch_add(1, Ordering::SeqCst) + 1,
            other => panic!("seed {seed}: {other:?}, {:?}", life.node.wal_stats()),
        }
    };
    let cut = life.runtime.block_on(async {
        let others = (0..3).map(|_| async {
            while !done.load(Ordering::SeqCst) {
                propose().await;
            }
        });
        let cutter = async {
            for _ in 0..5 + seed % 20 {
                propose().await;
            }
            let before = propose().await;
            let cut = disk.power_cut();
            done.store(true, Ordering::SeqCst);
            (cut, before)
        };
        futures::future::join(cutter, futures::future::join_all(others)).await.0
    });
    life.kill();
    cut
}

#[test]
fn what_was_answered_survives_a_power_cut() {
    for seed in 0..12 {
        let mut disk = SimDisk::new(seed);
        let mut least = 0;
        for incarnation in 1..=3 {
            let (after, answered) = life_and_cut(&disk, seed * 7 + incarnation, incarnation);
            let life = start(Arc::new(after.clone()), &sim_dir(), IDENTITY, small());
            let life = life.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
            let found = ids_handed_out(&life.state());
            least += answered;
            assert!(found >= least, "seed {seed}: {found} of {least} answered are there");
            // Four proposals were under way at most.
            assert!(found <= least + 4, "seed {seed}: {found} are there, {least} were answered");
            least = found;
            life.stop();
            disk = after;
        }
    }
}

#[test]
fn a_start_that_is_cut_short_leaves_a_folder_that_starts() {
    // Power goes after each write of a first start, until one start gets through.
    for seed in 0..30 {
        let disk = SimDisk::new(seed);
        let running = disk.clone();
        let starting = std::thread::spawn(move || {
            start(Arc::new(running), &sim_dir(), IDENTITY, small()).map(|life| life.kill())
        });
        let at = seed % 30;
        while disk.writes() + disk.syncs() < at && !starting.is_finished() {
            std::thread::yield_now();
        }
        let after = disk.power_cut();
        starting.join().unwrap().unwrap();
        let life = start(Arc::new(after), &sim_dir(), IDENTITY, small());
        let life = life.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        life.propose(&register(1)).unwrap();
        life.stop();
    }
}
