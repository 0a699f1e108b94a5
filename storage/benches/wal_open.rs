//! What opening a WAL costs: a new one, one with a full ring after a crash, and one of which
//! nearly all was released; and the memory that an idle one holds.
//!
//! `cargo bench -p walrus-storage --bench wal_open`

#![expect(clippy::unwrap_used, reason = "a benchmark may panic")]
#![expect(clippy::print_stdout, reason = "a benchmark prints its results")]

use std::{
    fs,
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use walrus_storage::{
    disk::{Backend, RealDisk},
    wal::{AppendRefused, Entry, EntryHead, Lsn, Wal, WalConfig, WalOpened},
};

fn open(dir: &Path) -> (Wal, WalOpened) {
    let disk = Arc::new(RealDisk::new(Backend::Auto));
    Wal::open(disk, &dir.join("wal"), WalConfig::default(), &mut |_| Ok(())).unwrap()
}

/// Resident memory of this process.
fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Processor time of this process, in milliseconds.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let behind_name = stat.rsplit(')').next().unwrap();
    let ticks = behind_name.split_whitespace().skip(11).take(2);
    ticks.map(|ticks| ticks.parse::<u64>().unwrap() * 10).sum()
}

/// Appends until the ring is full or holds `bytes_max`; answers the last group.
fn fill(wal: &Wal, bytes_max: u64) -> Lsn {
    let body = Bytes::from(vec![7; 16 << 10]);
    let (told, done) = mpsc::channel();
    while !wal.stats().ring_full && wal.stats().bytes < bytes_max {
        let told = told.clone();
        let tell = Box::new(move |result: Result<Lsn, _>| told.send(result).unwrap_or_default());
        let entry = Entry { kind: 16, head: EntryHead::new(&[1; 48]), body: body.clone() };
        match wal.append(entry, tell) {
            Ok(()) => {}
            Err(AppendRefused::Full) => thread::sleep(Duration::from_micros(200)),
            Err(refused) => panic!("{refused}"),
        }
    }
    thread::sleep(Duration::from_millis(300));
    drop(told);
    done.try_iter().last().unwrap().unwrap()
}

fn main() {
    let base = std::env::var("WALRUS_BENCH_DIR").map_or_else(|_| std::env::temp_dir(), Into::into);
    for _ in 0..3 {
        let dir = tempfile::tempdir_in(&base).unwrap();
        let before = resident_kib();
        let (wal, opened) = open(dir.path());
        println!("a new ring: {:?}, {} KiB resident", opened.took, resident_kib() - before);
        while wal.stats().files_ready < WalConfig::default().files {
            thread::sleep(Duration::from_millis(5));
        }
        println!("  once it is filled: {} KiB resident", resident_kib() - before);
        let last = fill(&wal, u64::MAX);
        // The log is not closed: what follows is what a new process finds after a kill.
        let before = cpu_ms();
        let (again, opened) = open(dir.path());
        let cpu = cpu_ms() - before;
        println!(
            "full after a kill: {:?} for {} MiB, {cpu} ms cpu",
            opened.took,
            opened.bytes >> 20
        );
        drop(again);
        wal.release(last);
        thread::sleep(Duration::from_millis(300));
        let (again, opened) = open(dir.path());
        println!("full and released: {:?} for {} KiB", opened.took, opened.bytes >> 10);
        drop(again);
        drop(wal);
    }
}
