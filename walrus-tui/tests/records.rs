//! Whatever a cluster does, its records tell the same.

use std::sync::Arc;

use proptest::prelude::*;
use walrus_admin::snapshot::Snapshot;
use walrus_tui::source::{
    Told,
    record::Recorder,
    simulated::{Simulated, Size},
};
use walrus_types::{Offset, PartitionIndex, UptimeMs};

/// What happens to a cluster between two snapshots.
#[derive(Debug, Clone)]
enum Happens {
    Second,
    Gone(usize),
    Made(String),
    Moved(usize, i64),
    Less(usize),
    Version(u64),
    Unsorted,
    OtherCluster(String),
    /// Whether operations are told of.
    Operations(bool),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        4 => Just(Happens::Second),
        1 => any::<usize>().prop_map(Happens::Gone),
        1 => "[a-z]{0,3}".prop_map(Happens::Made),
        2 => (any::<usize>(), any::<i64>()).prop_map(|(at, base)| Happens::Moved(at, base)),
        1 => any::<usize>().prop_map(Happens::Less),
        1 => (0_u64..50).prop_map(Happens::Version),
        1 => Just(Happens::Unsorted),
        1 => any::<bool>().prop_map(Happens::Operations),
        1 => ".{0,3}".prop_map(Happens::OtherCluster),
    ]
}

fn happen(snapshot: &mut Snapshot, simulated: &mut Simulated, what: Happens) {
    let topics = snapshot.topics.len();
    let at = |at: usize| at % topics.max(1);
    match what {
        Happens::Second => {
            simulated.step();
            *snapshot = simulated.snapshot();
        }
        Happens::Gone(topic) if topics > 0 => drop(snapshot.topics.remove(at(topic))),
        Happens::Made(name) if topics > 0 => {
            let mut made = snapshot.topics[0].clone();
            made.topic = name;
            snapshot.topics.push(made);
            snapshot.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
            snapshot.topics.dedup_by(|a, b| a.topic == b.topic);
        }
        Happens::Moved(topic, base) if topics > 0 => {
            let partitions = &mut snapshot.topics[at(topic)].partitions;
            partitions.iter_mut().step_by(2).for_each(|one| one.base = Offset(base));
        }
        Happens::Less(topic) if topics > 0 => drop(snapshot.topics[at(topic)].partitions.pop()),
        Happens::Version(version) => snapshot.metadata_version = version,
        Happens::Unsorted if topics > 0 => {
            snapshot.topics.reverse();
            snapshot.topics[0]
                .partitions
                .iter_mut()
                .for_each(|one| one.partition = PartitionIndex(1));
        }
        Happens::OtherCluster(name) => snapshot.cluster = name,
        Happens::Operations(told) => snapshot.operations = told.then(Vec::new),
        Happens::Gone(_)
        | Happens::Made(_)
        | Happens::Moved(..)
        | Happens::Less(_)
        | Happens::Unsorted => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn whatever_a_cluster_does_its_records_tell_the_same(
        all in prop::collection::vec(happens(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut simulated = Simulated::new(seed, Size { nodes: 2, partitions: 14 });
        let mut snapshot = simulated.snapshot();
        let (mut recorder, mut known) = (Recorder::default(), None);
        for (second, what) in (0..).zip(all) {
            happen(&mut snapshot, &mut simulated, what);
            let told = Arc::new(snapshot.clone());
            let record = recorder.take(&Told::Snapshot(told), UptimeMs(second * 1_000)).unwrap();
            match record.told(&mut known) {
                Ok(Told::Snapshot(read)) => prop_assert_eq!(&*read, &snapshot),
                other => prop_assert!(false, "{:?}", other),
            }
        }
    }
}
