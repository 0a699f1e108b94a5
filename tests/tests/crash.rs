//! kill -9 under load: what was acked is there, once, at its offset, with no gap.

use std::{
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use walrus_load::{
    topic::{self, Topics},
    verify::{History, VerifyProducer, VerifySettings, read_back},
};
use walrus_tests::{Node, NodeSettings};

/// The number of rounds; the long run sets more.
fn rounds() -> Result<u32> {
    match std::env::var("WALRUS_CRASH_ROUNDS") {
        Ok(rounds) => rounds.parse().context("WALRUS_CRASH_ROUNDS must be a number"),
        Err(_) => Ok(20),
    }
}

fn seed() -> Result<u64> {
    match std::env::var("WALRUS_CRASH_SEED") {
        Ok(seed) => seed.parse().context("WALRUS_CRASH_SEED must be a number"),
        Err(_) => Ok(rand::random()),
    }
}

/// Waits for what must come; the limit is only there so that a broken broker ends the test.
fn until(what: &str, mut is_there: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !is_there() {
        anyhow::ensure!(began.elapsed() < Duration::from_secs(60), "{what} did not come");
        thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

#[test]
fn what_was_acked_survives_kill_9_at_any_point() -> Result<()> {
    let (rounds, seed) = (rounds()?, seed()?);
    println!(
        "seed {seed} (WALRUS_CRASH_SEED={seed} repeats the pattern of kills), {rounds} rounds"
    );
    let mut random = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir()?;
    // Small segments: kills fall into rolls, too.
    let settings = NodeSettings::default()
        .env("WALRUS_MAX_SEGMENT_BYTES", 256 << 10)
        .env("WALRUS_MONITOR_CHECK_MS", 50);
    let mut node = Node::start(&folder.path().join("data"), settings)?;
    let topics = Topics::one("crash", 6);
    topic::create(&node.cluster(), &topics, 1, &[])?;

    let producing = VerifySettings {
        topic: "crash".into(),
        partitions: 6,
        value_bytes: 300,
        rate: 4_000,
        linger_ms: 1.0,
        message_timeout_ms: 120_000,
    };
    let producer = VerifyProducer::start(&node.cluster(), producing, History::default())?;
    let (mut counted, mut in_flight_least, mut killed) = (0, u64::MAX, 0_u32);
    while counted < rounds {
        let before = producer.acked();
        until("an ack after the restart", || producer.acked() > before)?;
        thread::sleep(Duration::from_millis(random.random_range(20..400)));
        until("a request in flight", || producer.in_flight() > 0)?;
        let in_flight = producer.in_flight();
        node.kill()?;
        killed += 1;
        // Only a kill that may have torn something counts.
        if in_flight > 0 {
            counted += 1;
            in_flight_least = in_flight_least.min(in_flight);
        }
        node.restart()?;
    }
    let before = producer.acked();
    until("an ack after the last restart", || producer.acked() > before)?;
    let history = producer.stop()?;
    let verdict = read_back(&node.cluster(), &topics, &history, Duration::from_secs(60))?;
    println!(
        "{killed} kills, {counted} counted, at least {in_flight_least} requests in flight; {} acked, \
         {} unknown, {} read",
        verdict.acked, verdict.unknown, verdict.records_read
    );
    assert!(verdict.is_clean(), "seed {seed}: {verdict:#?}");
    assert!(verdict.acked > 0 && verdict.records_read >= verdict.acked);
    Ok(())
}
