//! What a member finds again after it stopped, was killed, or forgot what a snapshot has.

use std::{sync::Arc, time::Duration};

use walrus_metadata::{Command, Metadata, Reply};
use walrus_storage::disk::SimDisk;

use crate::world::{
    CLUSTER, IDENTITY, create, ids_handed_out, real_disk, register, sim_dir, small, start,
};

#[test]
fn an_empty_folder_founds_a_group_of_one_that_answers_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    assert!(life.opened.founded);
    assert_eq!(life.state().cluster(), None);
    let reply = life.propose(&register(1)).unwrap();
    assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
    assert_eq!(life.state().cluster(), Some(CLUSTER), "the answer comes after the view");
    life.stop();
}

#[test]
fn what_was_answered_is_there_again_after_a_stop_and_after_a_kill() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let mut before: Option<Arc<Metadata>> = None;
        for round in 0..4 {
            let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
            assert_eq!(life.opened.founded, round == 0);
            if let Some(before) = before {
                let index = life.state().applied();
                let mut expected = Metadata::clone(&before);
                expected.skip(index);
                assert_eq!(*life.state(), expected, "killed: {killed}");
            }
            let reply = life.propose(&register(round + 1)).unwrap();
            assert!(matches!(reply, Reply::Registered(Ok(_))), "{reply:?}");
            if round == 0 {
                for number in 0..20 {
                    life.propose(&create(number)).unwrap();
                }
            }
            before = Some(life.state());
            if killed { life.kill() } else { life.stop() }
        }
    }
}

#[test]
fn a_log_that_turned_its_ring_many_times_is_bounded_and_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let proposals: i64 = 600;
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    life.propose(&register(1)).unwrap();
    life.propose(&create(1)).unwrap();
    for _ in 0..proposals {
        life.propose(&Command::ProducerIds).unwrap();
    }
    // Each proposal takes 4 KiB of a ring of 256 KiB, so it turned nine times.
    let stats = life.node.wal_stats();
    assert!(stats.bytes > 4 * stats.ring_bytes, "{stats:?}");
    assert!(stats.ring_used_bytes <= stats.ring_bytes / 2, "{stats:?}");
    let before = life.state();
    life.kill();

    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    assert!(life.opened.entries < 200, "{:?}", life.opened);
    assert_eq!(ids_handed_out(&life.state()), proposals);
    assert_eq!(life.state().topic_named("t1"), before.topic_named("t1"));
    let names = std::fs::read_dir(folder.path()).unwrap();
    let snapshots = names.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("snapshot-")
    });
    // Two are kept; a third is there while the newest takes the place of the oldest, and stays
    // until the next snapshot when the kill came just then.
    assert!((1..=3).contains(&snapshots.count()), "only the newest snapshots are kept");
    life.stop();
}

#[test]
fn a_restart_right_after_a_snapshot_needs_no_log() {
    let folder = tempfile::tempdir().unwrap();
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    life.propose(&register(1)).unwrap();
    life.runtime.block_on(async {
        life.node.snapshot().await.unwrap();
        while life.node.metrics()["purged"].is_null() {
            tokio::task::yield_now().await;
        }
    });
    life.kill();
    for _ in 0..3 {
        let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
        assert_eq!(life.state().cluster(), Some(CLUSTER));
        life.propose(&Command::ProducerIds).unwrap();
        life.kill();
    }
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    assert_eq!(ids_handed_out(&life.state()), 3);
    life.stop();
}

#[test]
fn proposals_of_many_tasks_are_each_answered_once() {
    let life = start(Arc::new(SimDisk::new(3)), &sim_dir(), IDENTITY, small());
    let life = life.unwrap();
    let mut firsts: Vec<i64> = life.runtime.block_on(async {
        let proposals = (0..500).map(|_| async {
            match life.node.propose(&Command::ProducerIds).await {
                Ok(Reply::ProducerIds(Ok(block))) => block.first.0,
                other => panic!("{other:?}"),
            }
        });
        futures::future::join_all(proposals).await
    });
    firsts.sort_unstable();
    let expected: Vec<i64> = (0..500).map(|n| n * 1_000).collect();
    assert_eq!(firsts, expected);
    life.stop();
}

#[test]
fn a_view_never_changes_and_the_watch_wakes_for_what_comes() {
    let folder = tempfile::tempdir().unwrap();
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    let old = life.state();
    let mut watch = life.node.watch();
    watch.mark_unchanged();
    life.propose(&register(1)).unwrap();
    assert!(watch.has_changed().unwrap());
    assert!(watch.borrow_and_update().applied() > old.applied());
    assert_eq!(old.cluster(), None);
    let index = life.state().applied();
    let applied = life.runtime.block_on(life.node.applied(index)).unwrap();
    assert_eq!(applied.cluster(), Some(CLUSTER));
    life.stop();
}

#[test]
fn a_start_does_not_wait_for_an_election_timeout() {
    let folder = tempfile::tempdir().unwrap();
    for _ in 0..3 {
        let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
        // Measured at 2 to 10 ms; with openraft's timers it would be 300 at least.
        assert!(life.opened.took < Duration::from_millis(250), "{:?}", life.opened);
        life.stop();
    }
}

#[test]
fn metrics_have_the_names_that_openraft_gives_them_and_node_ids() {
    let folder = tempfile::tempdir().unwrap();
    let life = start(real_disk(), folder.path(), IDENTITY, small()).unwrap();
    let metrics = life.node.metrics();
    assert_eq!(metrics["id"], 1);
    assert_eq!(metrics["state"], "Leader");
    assert_eq!(metrics["current_leader"], 1);
    assert_eq!(metrics["current_term"], 1);
    assert!(metrics["last_log_index"].is_u64(), "{metrics}");
    let membership = &metrics["membership_config"]["membership"];
    assert_eq!(membership["configs"], serde_json::json!([[1]]));
    assert_eq!(membership["nodes"]["1"]["port"], 6001);
    life.stop();
}
