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
