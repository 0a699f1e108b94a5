//! Whatever a cluster does, its records tell the same, and what is summed up of it change by change
//! is what it comes to as a whole.

use std::sync::Arc;

use proptest::prelude::*;
use walrus_admin::snapshot::Snapshot;
use walrus_tui::{
    app::lists::{Listing, Lists, RowOf},
    model::{Model, PartitionName, figures::Figures},
    source::{
        Told,
        record::{self, Kind, Recorder},
        simulated::{Simulated, Size},
    },
};
use walrus_types::{NodeId, Offset, PartitionIndex, UptimeMs};

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
            Arc::make_mut(&mut made).topic = name;
            snapshot.topics.push(made);
            snapshot.topics.sort_by(|a, b| a.topic.cmp(&b.topic));
            snapshot.topics.dedup_by(|a, b| a.topic == b.topic);
        }
        Happens::Moved(topic, base) if topics > 0 => {
            let partitions = &mut Arc::make_mut(&mut snapshot.topics[at(topic)]).partitions;
            for (at, one) in (0..).zip(partitions.iter_mut().step_by(2)) {
                (one.base, one.leader_serves) = (Offset(base), base % 2 == 0);
                one.segments = base.unsigned_abs() % 9 + at;
                one.leader = NodeId(i32::try_from(base % 4).unwrap_or(0));
                one.members.truncate(usize::from(base % 3 == 0));
            }
        }
        Happens::Less(topic) if topics > 0 => {
            drop(Arc::make_mut(&mut snapshot.topics[at(topic)]).partitions.pop());
        }
        Happens::Version(version) => snapshot.metadata_version = version,
        Happens::Unsorted if topics > 0 => {
            snapshot.topics.reverse();
            Arc::make_mut(&mut snapshot.topics[0])
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

    #[test]
    fn what_is_summed_up_by_changes_is_what_all_of_it_comes_to(
        all in prop::collection::vec((happens(), any::<bool>(), 0_usize..6), 1..30),
        reversed in any::<bool>(),
        filter in prop::sample::select(vec!["", "", "", "a", "!o", "n1", "/1"]),
        seed in any::<u64>(),
    ) {
        let mut simulated = Simulated::new(seed, Size { nodes: 2, partitions: 14 });
        let mut snapshot = simulated.snapshot();
        let (mut model, mut lists) = (Model::default(), Lists::default());
        for (second, (what, is_shared, order)) in (0..).zip(all) {
            happen(&mut snapshot, &mut simulated, what);
            let told = if is_shared { snapshot.clone() } else { apart(&snapshot) };
            model.snapshot(Arc::new(told), UptimeMs(second * 1_000));
            let seen = model.seen().expect("one was told");
            let mut anew = Model::default();
            anew.snapshot(Arc::new(apart(seen)), UptimeMs(0));
            prop_assert_eq!(sums(&model.figures, seen), sums(&anew.figures, seen));
            let whole = seen.topics.iter().flat_map(|topic| &topic.partitions);
            let leaderless = whole.filter(|one| !one.leader_serves).count();
            prop_assert_eq!(model.figures.leaderless, u64::try_from(leaderless).unwrap());
            // What is listed, in whatever order it stood before.
            let mut anew_lists = Lists::default();
            for (lists, model) in [(&mut lists, &model), (&mut anew_lists, &anew)] {
                let listed = lists.of_mut(Listing::Partitions);
                (listed.order, listed.reversed) = (order % 4, reversed);
                listed.filter = filter.to_owned();
                lists.refresh(Listing::Partitions, model);
            }
            let [is, expected] =
                [&lists, &anew_lists].map(|lists| lists.of(Listing::Partitions).rows.clone());
            prop_assert_eq!(is, expected);
        }
    }

    #[test]
    fn a_snapshot_that_shares_what_stayed_is_the_same_snapshot(
        all in prop::collection::vec(happens(), 1..30),
        seed in any::<u64>(),
    ) {
        let mut simulated = Simulated::new(seed, Size { nodes: 2, partitions: 14 });
        let mut snapshot = simulated.snapshot();
        for what in all {
            let before = snapshot.clone();
            happen(&mut snapshot, &mut simulated, what);
            let shared = apart(&snapshot).sharing(&before);
            prop_assert_eq!(&shared, &snapshot);
            if let Some(delta) = record::between(&before, &snapshot) {
                prop_assert_eq!(&delta.onto(&before).expect("they belong together"), &snapshot);
            }
        }
    }
}

/// The same, of which nothing is shared.
fn apart(snapshot: &Snapshot) -> Snapshot {
    let topics = snapshot.topics.iter().map(|topic| Arc::new((**topic).clone()));
    Snapshot { topics: topics.collect(), ..snapshot.clone() }
}

/// All that is summed up.
fn sums(figures: &Figures, snapshot: &Snapshot) -> (u64, u64, u64, Vec<(NodeId, u64)>) {
    let Figures { partitions, leaderless, narrow, .. } = *figures;
    let led = snapshot.topics.iter().flat_map(|topic| &topic.partitions).map(|one| one.leader);
    let leads = led.map(|node| (node, figures.leads(node))).collect();
    (partitions, leaderless, narrow, leads)
}

#[test]
fn what_is_large_beside_its_changes_is_kept_whole_more_seldom() {
    // Whole snapshots of a quarter of an hour in which nothing but vitals is another.
    let whole_of = |partitions: usize| {
        let simulated = Simulated::new(7, Size { nodes: 3, partitions });
        let mut snapshot = simulated.snapshot();
        let mut recorder = Recorder::default();
        let mut whole = 0;
        for second in 0..900 {
            snapshot.at_ms.0 += 1_000;
            for entry in &mut snapshot.nodes {
                entry.vitals.as_mut().unwrap().uptime_ms = second * 1_000;
            }
            let told = Told::Snapshot(Arc::new(snapshot.clone()));
            let record = recorder.take(&told, UptimeMs(second * 1_000)).unwrap();
            whole += u32::from(record.kind == Kind::Whole);
        }
        whole
    };
    let (small, large) = (whole_of(10), whole_of(40_000));
    println!("{small} whole ones of 10 partitions, {large} of 40 000");
    assert!(small >= 15, "one each minute");
    assert!((2..=small / 2).contains(&large), "{large} whole ones, {small} of what is small");
}

#[test]
fn the_chosen_partition_stays_chosen_wherever_it_stands() {
    let mut simulated = Simulated::new(7, Size { nodes: 3, partitions: 60 });
    let (mut model, mut lists) = (Model::default(), Lists::default());
    model.snapshot(simulated.shared(), UptimeMs(0));
    lists.refresh(Listing::Partitions, &model);
    lists.step(Listing::Partitions, &model, |_, _| 17);
    let chosen = lists.of(Listing::Partitions).chosen.clone();
    let Some(RowOf::Partition(PartitionName { topic, partition })) = &chosen else {
        panic!("a partition is chosen, not {chosen:?}");
    };
    for second in 1..200 {
        simulated.step();
        model.snapshot(simulated.shared(), UptimeMs(second * 1_000));
        let listed = lists.of_mut(Listing::Partitions);
        listed.order = usize::try_from(second).unwrap() / 10 % 4;
        listed.reversed = second % 7 == 0;
        lists.refresh(Listing::Partitions, &model);
        let listed = lists.of(Listing::Partitions);
        assert_eq!(listed.chosen, chosen, "at {second}");
        let (topic_at, at) = listed.rows[listed.window.chosen];
        let shown = &model.seen().unwrap().topics[topic_at];
        assert_eq!((&shown.topic, shown.partitions[at].partition), (topic, *partition));
    }
}

/// A stream tells what nodes say of their files once in a while, and a record once while it stays.
#[test]
fn what_nodes_say_of_their_files_stays_until_they_say_something_else() {
    let mut simulated = Simulated::new(3, Size { nodes: 3, partitions: 9 });
    let before = simulated.snapshot();
    simulated.step();
    let full = simulated.snapshot();
    let gc = |snapshot: &Snapshot| {
        let told = snapshot.nodes.iter().map(|entry| entry.vitals.as_ref().unwrap().gc.clone());
        told.collect::<Vec<_>>()
    };
    assert!(gc(&before).iter().all(Option::is_some) && gc(&before) != gc(&full));
    let delta = record::between(&before, &full).unwrap();
    assert_eq!(gc(&delta.clone().onto(&before).unwrap()), gc(&full));
    let short = delta.in_short().onto(&before).unwrap();
    assert_eq!(gc(&short), gc(&before), "nothing new was said");
    assert!(gc(&record::between(&before, &short).unwrap()).iter().all(Option::is_none));

    // Of another life nothing was said yet.
    let mut anew = short.clone();
    for entry in &mut anew.nodes {
        let vitals = entry.vitals.as_mut().unwrap();
        (vitals.uptime_ms, vitals.gc) = (0, None);
    }
    let anew = record::between(&short, &anew).unwrap().onto(&short).unwrap();
    assert!(gc(&anew).iter().all(Option::is_none));
}
