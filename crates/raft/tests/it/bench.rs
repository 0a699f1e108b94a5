//! How fast proposals are. Run with
//! `cargo test -p walrus-raft --release -- --ignored --nocapture proposals_per_second`.

use std::time::{Duration, Instant};

use walrus_metadata::Command;
use walrus_raft::RaftConfig;

use crate::world::{IDENTITY, real_disk, register, start};

#[test]
#[ignore = "a measurement"]
fn proposals_per_second_alone_and_with_64_under_way() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let life = start(real_disk(), folder.path(), IDENTITY, RaftConfig::default()).unwrap();
    println!("first start to leader: {:?}", life.opened.took);
    life.propose(&register(1)).unwrap();
    for under_way in [1, 64] {
        let started = Instant::now();
        let mut took: Vec<Duration> = life.runtime.block_on(async {
            let proposer = || async {
                let mut took = Vec::new();
                while started.elapsed() < Duration::from_secs(3) {
                    let proposed = Instant::now();
                    life.node.propose(&Command::ProducerIds).await.unwrap();
                    took.push(proposed.elapsed());
                }
                took
            };
            let each = (0..under_way).map(|_| proposer());
            futures::future::join_all(each).await.into_iter().flatten().collect()
        });
        took.sort_unstable();
        let rate = took.len() as f64 / started.elapsed().as_secs_f64();
        let (p50, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        println!("{under_way} under way: {rate:.0}/s, p50 {p50:?}, p99 {p99:?}");
    }
    println!("{:?}", life.node.wal_stats());
    life.stop();
    let life = start(real_disk(), folder.path(), IDENTITY, RaftConfig::default()).unwrap();
    println!("restart to leader: {:?}", life.opened);
    life.stop();
}

/// Wake-ups of all threads of this process, and its resident bytes.
fn wakeups_and_rss() -> (u64, u64) {
    let field = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).unwrap_or(0_u64)
    };
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let wakeups = tasks.map(|task| {
        let status = std::fs::read_to_string(task.unwrap().path().join("status"));
        field(&status.unwrap_or_default(), "voluntary_ctxt_switches")
    });
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    (wakeups.sum(), field(&status, "VmRSS") * 1_024)
}

#[test]
#[ignore = "a measurement"]
fn proposals_none_an_idle_member_wakes_up_seldom() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (_, rss_before) = wakeups_and_rss();
    let life = start(real_disk(), folder.path(), IDENTITY, RaftConfig::default()).unwrap();
    life.propose(&register(1)).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let (before, rss) = wakeups_and_rss();
    std::thread::sleep(Duration::from_secs(5));
    let (after, _) = wakeups_and_rss();
    println!("{} wake-ups in 5 s, {} KiB more resident", after - before, (rss - rss_before) >> 10);
    life.stop();
}
