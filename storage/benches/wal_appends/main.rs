//! Durable 1 KiB appends per second: the WAL over io_uring, the WAL over pwrite + fdatasync, and
//! a bare loop that writes groups of the same size and does nothing else.
//!
//! `cargo bench -p walrus-storage --bench wal_appends`; `WALRUS_BENCH_SECONDS` (1) is the time
//! of one run, of which each case has three, in turn. `WALRUS_BENCH_DIR` says on which disk.
//! `storage/compare` runs the same against the crate `walrus-rust`.

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

mod load;

use load::{Case, bare_loop, print, run_rounds, wal_tasks, wal_threads};
use walrus_storage::disk::Backend;

fn main() {
    let mut cases: Vec<Case> = Vec::new();
    for writers in [1, 10, 256] {
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
    print(&cases, "bare loop");
}
