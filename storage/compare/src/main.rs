//! Durable 1 KiB appends per second, beside the crate `walrus-rust` 0.2.0 that flushes each one.
//!
//! `WALRUS_QUIET=1 cargo run --release` in this folder. Every writer is a thread here, for both: that crate has
//! no other way to wait. Each of its writers has a topic of its own, as its own benchmark does.

#[path = "../../benches/wal_appends/load.rs"]
mod load;

use std::{path::Path, sync::Arc, time::Duration};

use load::{Case, ENTRY_BYTES, Measured, bare_loop, print, run_rounds, wal_tasks, wal_threads};
use walrus_rust::{FsyncSchedule, ReadConsistency, Walrus};
use walrus_storage::disk::Backend;

fn walrus_rust(dir: &Path, writers: usize, time: Duration) -> Measured {
    // It keeps its files in `wal_files` of the current folder.
    std::env::set_current_dir(dir).unwrap();
    let consistency = ReadConsistency::AtLeastOnce { persist_every: 1000 };
    let walrus =
        Walrus::with_consistency_and_schedule(consistency, FsyncSchedule::SyncEach).unwrap();
    let walrus = Arc::new(walrus);
    let body = vec![7; ENTRY_BYTES];
    let topics: Vec<_> = (0..writers).map(|writer| format!("topic-{writer}")).collect();
    load::threads(writers, time, move |writer| {
        walrus.append_for_topic(&topics[writer], &body).unwrap();
    })
}

fn main() {
    let mut cases: Vec<Case> = Vec::new();
    for writers in [1, 10, 256] {
        cases.push(Case::new("walrus-rust SyncEach", writers, walrus_rust));
        cases.push(Case::new("bare loop", writers, bare_loop));
        cases.push(Case::new("wal io_uring", writers, |dir, writers, time| {
            wal_threads(Backend::Auto, dir, writers, time)
        }));
        cases.push(Case::new("wal blocking", writers, |dir, writers, time| {
            wal_threads(Backend::Blocking, dir, writers, time)
        }));
        cases.push(Case::new("wal io_uring, tasks", writers, |dir, writers, time| {
            wal_tasks(Backend::Auto, dir, writers, time)
        }));
    }
    run_rounds(&mut cases);
    print(&cases, "walrus-rust SyncEach");
    print(&cases, "bare loop");
}
