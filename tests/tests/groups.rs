//! Consumer groups on three nodes, by librdkafka: members share a topic, and neither a restart nor
//! the death of their coordinator costs them a commit or a rebalance.

#![expect(clippy::print_stdout, reason = "a run tells what it did")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rdkafka::{
    ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use walrus_load::topic::{self, Topics};
use walrus_tests::{
    Cluster, NodeSettings,
    offsets::{VERSION, commit_request, committed as committed_alone},
    raw::RawClient,
};
use walrus_wire::kafka_protocol::{messages::FindCoordinatorRequest, protocol::StrBytes};

const TOPIC: &str = "work";
const PARTITIONS: usize = 6;
/// Something is broken when a group needs so long.
const PATIENCE: Duration = Duration::from_secs(40);

/// Counts what librdkafka tells of rebalances.
#[derive(Default)]
struct Seen(AtomicUsize);

impl ClientContext for Seen {}

impl ConsumerContext for Seen {
    fn post_rebalance(&self, _consumer: &BaseConsumer<Self>, _rebalance: &Rebalance<'_>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

type Member = BaseConsumer<Seen>;

fn rebalances(member: &Member) -> usize {
    member.context().0.load(Ordering::Relaxed)
}

fn config(cluster: &Cluster) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.client().bootstrap)
        .set("broker.address.family", "v4")
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "500");
    config
}

fn join(cluster: &Cluster, group: &str, more: &[(&str, &str)]) -> Result<Member> {
    let mut config = config(cluster);
    config
        .set("group.id", group)
        .set("session.timeout.ms", "10000")
        .set("heartbeat.interval.ms", "500")
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "earliest");
    for (key, value) in more {
        config.set(*key, *value);
    }
    let member: Member = config.create_with_context(Seen::default())?;
    member.subscribe(&[TOPIC])?;
    Ok(member)
}

fn make(cluster: &Cluster) -> Result<()> {
    topic::create(&cluster.client(), &Topics::one(TOPIC, PARTITIONS), 3, &[])
}

fn produce(cluster: &Cluster, records: std::ops::Range<usize>) -> Result<()> {
    let producer: BaseProducer = config(cluster).create()?;
    for record in records {
        let text = record.to_string();
        let partition = i32::try_from(record % PARTITIONS)?;
        let record = BaseRecord::<(), _>::to(TOPIC).partition(partition).payload(&text);
        producer.send(record).map_err(|(why, _)| why)?;
    }
    producer.flush(PATIENCE)?;
    Ok(())
}

/// What each member has, as it believes.
fn shares(members: &[&Member]) -> Result<Vec<usize>> {
    members.iter().map(|member| Ok(member.assignment()?.count())).collect()
}

/// Polls all members until `done`; answers the records that came.
fn poll(
    members: &[&Member],
    mut done: impl FnMut(&BTreeSet<usize>) -> Result<bool>,
) -> Result<BTreeSet<usize>> {
    let until = Instant::now() + PATIENCE;
    let mut came = BTreeSet::new();
    while !done(&came)? {
        ensure!(Instant::now() < until, "{:?} and {} records", shares(members)?, came.len());
        for member in members {
            match member.poll(Duration::from_millis(20)) {
                None => {}
                Some(Ok(record)) => {
                    let text = record.payload_view::<str>().context("no payload")??;
                    ensure!(came.insert(text.parse()?), "{text} came twice");
                }
                // A broker that is gone is no news here: what matters is what comes.
                Some(Err(why)) => println!("{why}"),
            }
        }
    }
    Ok(came)
}

fn until_shared(members: &[&Member]) -> Result<()> {
    let each = PARTITIONS / members.len();
    poll(members, |_| Ok(shares(members)?.iter().all(|share| *share == each)))?;
    Ok(())
}

/// What the group has committed, by partition.
fn committed(member: &Member) -> Result<Vec<i64>> {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition_range(TOPIC, 0, i32::try_from(PARTITIONS)? - 1);
    let until = Instant::now() + PATIENCE;
    let found = loop {
        // While a partition changes hands nobody coordinates its groups.
        match member.committed_offsets(wanted.clone(), PATIENCE) {
            Ok(found) => break found,
            Err(why) => ensure!(Instant::now() < until, "not told: {why}"),
        }
    };
    let offset = |index| match found.find_partition(TOPIC, index).map(|one| one.offset()) {
        Some(Offset::Offset(offset)) => offset,
        _ => -1,
    };
    Ok((0..i32::try_from(PARTITIONS)?).map(offset).collect())
}

/// Commits until it is confirmed; answers how long that took.
fn commit(member: &Member, offset: i64) -> Result<Duration> {
    let began = Instant::now();
    let mut places = TopicPartitionList::new();
    for one in member.assignment()?.elements() {
        places.add_partition_offset(TOPIC, one.partition(), Offset::Offset(offset))?;
    }
    loop {
        match member.commit(&places, CommitMode::Sync) {
            Ok(()) => return Ok(began.elapsed()),
            Err(why) => ensure!(began.elapsed() < PATIENCE, "not committed: {why}"),
        }
    }
}

fn coordinator(cluster: &Cluster, through: i32, group: &str) -> Result<i32> {
    let mut client = RawClient::connect(cluster.node(through).client_address())?;
    let until = Instant::now() + PATIENCE;
    loop {
        if let Some(node) = told_coordinator(&mut client, group)? {
            return Ok(node);
        }
        ensure!(Instant::now() < until, "{group} has no coordinator");
    }
}

/// Whom one answer names; `None` when there is no coordinator.
fn told_coordinator(client: &mut RawClient, group: &str) -> Result<Option<i32>> {
    let key = StrBytes::from_string(group.to_owned());
    let answer = client.ask(2, &FindCoordinatorRequest::default().with_key(key))?;
    Ok((answer.error_code == 0).then_some(answer.node_id.0))
}

#[test]
fn members_share_a_topic_and_the_next_ones_go_on_where_they_committed() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    make(&cluster)?;
    produce(&cluster, 0..600)?;
    let alone = join(&cluster, "readers", &[])?;
    let first = poll(&[&alone], |came| Ok(came.len() == 600))?;
    ensure!(first.len() == 600);
    commit(&alone, 100)?;
    for strategy in ["range", "cooperative-sticky"] {
        let group = format!("readers-{strategy}");
        let more = [("partition.assignment.strategy", strategy)];
        let members = [join(&cluster, &group, &more)?, join(&cluster, &group, &more)?];
        until_shared(&[&members[0], &members[1]])?;
        println!("{strategy}: two members have three each");
    }
    drop(alone);
    let next = join(&cluster, "readers", &[])?;
    produce(&cluster, 600..660)?;
    let came = poll(&[&next], |came| Ok(came.len() == 60))?;
    ensure!(came.first() == Some(&600), "what was committed came again: {:?}", came.first());
    Ok(())
}

#[test]
fn a_coordinator_that_is_killed_costs_neither_a_commit_nor_a_rebalance() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    make(&cluster)?;
    let members = [join(&cluster, "readers", &[])?, join(&cluster, "readers", &[])?];
    let members = [&members[0], &members[1]];
    until_shared(&members)?;
    let before = members.map(rebalances);
    for round in 1..=2 {
        for member in members {
            commit(member, round * 10)?;
        }
        let alive = *cluster.ids().first().context("nodes")?;
        let killed = coordinator(&cluster, alive, "readers")?;
        cluster.node_mut(killed).kill()?;
        let began = Instant::now();
        let took = commit(members[0], round * 10 + 1)?;
        ensure!(
            committed(members[1])?.iter().all(|offset| *offset >= round * 10),
            "a commit is lost"
        );
        println!("round {round}: n{killed} was killed, committed again after {took:?}");
        // Longer than a session: whoever was forgotten would be out.
        poll(&members, |_| Ok(began.elapsed() > Duration::from_secs(12)))?;
        ensure!(members.map(rebalances) == before, "the group was rebalanced");
        commit(members[1], round * 10 + 1)?;
        ensure!(
            committed(members[0])? == [round * 10 + 1; PARTITIONS],
            "{:?}",
            committed(members[0])?
        );
        cluster.node_mut(killed).restart()?;
        cluster.wait_until_all_are_shown()?;
    }
    Ok(())
}

#[test]
fn nobody_is_sent_back_to_a_coordinator_that_is_known_to_be_gone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    // The next one takes longest where the controller has to be followed first.
    let controller = cluster.controller()?;
    let mut found = None;
    for number in 0..100 {
        let group = format!("readers-{number}");
        if coordinator(&cluster, controller, &group)? == controller {
            found = Some(group);
            break;
        }
    }
    let group = found.context("the controller coordinates no group")?;
    let other = *cluster.ids().iter().find(|id| **id != controller).context("another node")?;
    let mut client = RawClient::connect(cluster.node(other).client_address())?;
    ensure!(told_coordinator(&mut client, &group)? == Some(controller));
    cluster.node_mut(controller).kill()?;
    let (began, mut told) = (Instant::now(), Vec::new());
    let next = loop {
        match told_coordinator(&mut client, &group)? {
            Some(node) if node != controller => break node,
            before => told.push(before),
        }
        ensure!(began.elapsed() < PATIENCE, "nobody followed n{controller}");
    };
    println!(
        "n{next} followed n{controller} after {:?} and {} answers",
        began.elapsed(),
        told.len()
    );
    // The other node may hear of the death a moment after us, and knows from then on.
    let gone = told.iter().skip_while(|before| before.is_some());
    ensure!(
        told.last().is_none_or(Option::is_none) && gone.clone().all(Option::is_none),
        "{told:?}"
    );
    Ok(())
}

#[test]
fn a_log_of_commits_is_written_anew_and_the_next_coordinator_reads_that() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("walrus.yaml");
    let small = "storage:\n  wal-ring-bytes: 128MiB\n  hot-tail-bytes: 32MiB\n";
    let groups = "groups:\n  offsets-partitions: 1\n  spent-records-max: 100\n";
    std::fs::write(&config, format!("{small}{groups}"))?;
    let settings = NodeSettings::default().flag("--config", config.display());
    let mut cluster = Cluster::start(folder.path(), 3, &settings)?;
    make(&cluster)?;
    let member = join(&cluster, "readers", &[])?;
    until_shared(&[&member])?;
    let before = rebalances(&member);
    let bounds = || member.fetch_watermarks("__consumer_offsets", 0, PATIENCE);
    let until = Instant::now() + PATIENCE;
    let mut offset = 0;
    // Twice, so that a log which began with a state is written anew as well.
    for _ in 0..2 {
        let (start, _) = bounds()?;
        while bounds()?.0 == start {
            offset += 1;
            commit(&member, offset)?;
            ensure!(Instant::now() < until, "after {offset} commits all of the log is there");
        }
    }
    let (start, end) = bounds()?;
    ensure!(end - start < 200, "the log goes from {start} to {end}");
    println!("{offset} commits, the log goes from {start} to {end}");
    let through = *cluster.ids().first().context("nodes")?;
    let killed = coordinator(&cluster, through, "readers")?;
    cluster.node_mut(killed).kill()?;
    ensure!(committed(&member)? == [offset; PARTITIONS], "{:?}", committed(&member)?);
    commit(&member, offset + 1)?;
    ensure!(rebalances(&member) == before, "the group was rebalanced");
    Ok(())
}

#[test]
fn commits_outlive_the_death_of_all_nodes() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    make(&cluster)?;
    let member = join(&cluster, "readers", &[])?;
    until_shared(&[&member])?;
    commit(&member, 42)?;
    for id in cluster.ids() {
        cluster.node_mut(id).kill()?;
    }
    for id in cluster.ids() {
        cluster.node_mut(id).spawn()?;
    }
    for id in cluster.ids() {
        cluster.node_mut(id).wait_ready()?;
    }
    ensure!(committed(&member)? == [42; PARTITIONS], "{:?}", committed(&member)?);
    Ok(())
}

#[test]
fn commits_outlive_a_node_that_is_alone() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 1, &NodeSettings::default())?;
    topic::create(&cluster.client(), &Topics::one(TOPIC, PARTITIONS), 1, &[])?;
    let member = join(&cluster, "readers", &[])?;
    until_shared(&[&member])?;
    commit(&member, 42)?;
    cluster.node_mut(1).kill()?;
    cluster.node_mut(1).restart()?;
    let before = rebalances(&member);
    commit(&member, 43)?;
    ensure!(committed(&member)? == [43; PARTITIONS], "{:?}", committed(&member)?);
    ensure!(rebalances(&member) == before, "the group was rebalanced");
    Ok(())
}

#[test]
fn a_topic_that_is_deleted_while_nobody_coordinates_takes_its_offsets_along() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut cluster = Cluster::start(folder.path(), 1, &NodeSettings::default())?;
    let (work, other) = (Topics::one(TOPIC, 1), Topics::one("other", 1));
    // Of its first segment, and of no epoch that the client knows.
    let groups = [("asked-after-it-is-made-again", 1), ("asked-before", -1)];
    for topics in [&work, &other] {
        topic::create(&cluster.client(), topics, 1, &[])?;
    }
    for (group, leader_epoch) in groups {
        coordinator(&cluster, 1, group)?;
        for topic in [TOPIC, "other"] {
            until_committed(&cluster, group, topic, leader_epoch)?;
        }
    }
    // Whoever coordinates after a start has read nothing until somebody asks.
    cluster.node_mut(1).kill()?;
    cluster.node_mut(1).restart()?;
    topic::delete(&cluster.client(), &work)?;
    let (late, early) = (groups[0].0, groups[1].0);
    until_told(&cluster, early, TOPIC, -1)?;
    topic::create(&cluster.client(), &work, 1, &[])?;
    for group in [late, early] {
        until_told(&cluster, group, TOPIC, -1)?;
        until_told(&cluster, group, "other", 42)?;
    }
    Ok(())
}

/// Commits 42 by hand.
fn until_committed(cluster: &Cluster, group: &str, topic: &str, leader_epoch: i32) -> Result<()> {
    let mut client = RawClient::connect(cluster.node(1).client_address())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.ask(VERSION, &commit_request(group, topic, 42, leader_epoch))?;
        if answer.topics[0].partitions[0].error_code == 0 {
            return Ok(());
        }
        ensure!(Instant::now() < until, "not committed: {answer:?}");
    }
}

/// Waits until `expected` is told: the group's state has to be read first, and what is forgotten
/// shows until that is durable.
fn until_told(cluster: &Cluster, group: &str, topic: &str, expected: i64) -> Result<()> {
    let mut client = RawClient::connect(cluster.node(1).client_address())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let told = committed_alone(&mut client, group, topic, false)?;
        if told == (0, expected) {
            return Ok(());
        }
        ensure!(Instant::now() < until, "{group} has {told:?} of {topic}, not {expected}");
    }
}

#[test]
fn a_static_member_that_comes_back_disturbs_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    make(&cluster)?;
    let stays = join(&cluster, "readers", &[("group.instance.id", "one")])?;
    let goes = join(&cluster, "readers", &[("group.instance.id", "two")])?;
    until_shared(&[&stays, &goes])?;
    let before = rebalances(&stays);
    // A static member says no goodbye.
    drop(goes);
    let back = join(&cluster, "readers", &[("group.instance.id", "two")])?;
    until_shared(&[&stays, &back])?;
    ensure!(rebalances(&stays) == before, "the member that stayed was disturbed");
    Ok(())
}
