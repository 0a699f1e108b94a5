//! Clients of groups that behave badly, by hand, on three nodes while a producer writes: they meet
//! named limits, the producer meets nothing, and a group that behaves goes on.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bytes::Bytes;
use walrus_tests::{
    Cluster, NodeSettings,
    load::PATIENCE,
    offsets::{VERSION, commit_request, committed},
    raw::RawClient,
    reach::{Reach, load_on, verify},
};
use walrus_wire::kafka_protocol::{
    error::ResponseError,
    messages::{
        FindCoordinatorRequest, GroupId, JoinGroupRequest, JoinGroupResponse, OffsetCommitRequest,
        join_group_request::JoinGroupRequestProtocol,
    },
    protocol::StrBytes,
};

const TOPIC: &str = "written";
const MEMBERS_MAX: usize = 20;
const CLIENTS: usize = 8;
/// Members that each client tries to be.
const JOINS: usize = 100;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

fn group(name: &str) -> GroupId {
    GroupId(text(name))
}

/// A connection to whoever coordinates the group.
fn to_coordinator(cluster: &Cluster, name: &str) -> Result<(i32, RawClient)> {
    let mut client = RawClient::connect(cluster.node(1).client_address())?;
    let until = Instant::now() + PATIENCE;
    loop {
        let answer = client.ask(2, &FindCoordinatorRequest::default().with_key(text(name)))?;
        if answer.error_code == 0 {
            let id = answer.node_id.0;
            return Ok((id, RawClient::connect(cluster.node(id).client_address())?));
        }
        ensure!(Instant::now() < until, "no coordinator: {answer:?}");
    }
}

fn join_request(name: &str, member: &StrBytes) -> JoinGroupRequest {
    let protocol = JoinGroupRequestProtocol::default()
        .with_name(text("range"))
        .with_metadata(Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"));
    JoinGroupRequest::default()
        .with_group_id(group(name))
        .with_member_id(member.clone())
        .with_protocol_type(text("consumer"))
        .with_protocols(vec![protocol])
        .with_session_timeout_ms(6_000)
        .with_rebalance_timeout_ms(6_000)
}

/// Joins until whoever coordinates answers: on a busy machine that may be another one meanwhile.
fn join(
    cluster: &Cluster,
    client: &mut RawClient,
    name: &str,
    member: &StrBytes,
) -> Result<JoinGroupResponse> {
    let elsewhere = [
        ResponseError::NotCoordinator,
        ResponseError::CoordinatorNotAvailable,
        ResponseError::CoordinatorLoadInProgress,
    ];
    let until = Instant::now() + PATIENCE;
    loop {
        let joined = client.ask(7, &join_request(name, member))?;
        if !elsewhere.map(|error| error.code()).contains(&joined.error_code) {
            return Ok(joined);
        }
        ensure!(Instant::now() < until, "nobody coordinates: {joined:?}");
        (_, *client) = to_coordinator(cluster, name)?;
    }
}

/// A client that becomes as many members as it can and says nothing more. Its joins are answered
/// when the group is ready, in their order, so they are sent all before one is read.
fn storm(cluster: &Cluster, name: &str) -> Result<BTreeMap<i16, usize>> {
    let (_, mut client) = to_coordinator(cluster, name)?;
    let mut ids = Vec::new();
    for _ in 0..JOINS {
        let given = join(cluster, &mut client, name, &StrBytes::default())?;
        let expected = [ResponseError::MemberIdRequired, ResponseError::GroupMaxSizeReached];
        ensure!(expected.map(|error| error.code()).contains(&given.error_code), "{given:?}");
        ids.push(given.member_id);
    }
    for id in &ids {
        client.send(7, &join_request(name, id))?;
    }
    let mut answers = BTreeMap::new();
    for _ in &ids {
        let answer: JoinGroupResponse = client.answer::<JoinGroupRequest>(7)?;
        *answers.entry(answer.error_code).or_insert(0) += 1;
    }
    Ok(answers)
}

/// Many storm at once; how often each answer was given to their joins.
fn all_storm(cluster: &Cluster) -> Result<BTreeMap<i16, usize>> {
    thread::scope(|scope| {
        let storming: Vec<_> =
            (0..CLIENTS).map(|_| scope.spawn(|| storm(cluster, "storm"))).collect();
        let mut stormed = BTreeMap::new();
        for storm in storming {
            for (code, count) in storm.join().expect("no panic")? {
                *stormed.entry(code).or_insert(0) += count;
            }
        }
        Ok(stormed)
    })
}

/// Commits as fast as it is answered, many at a time, until `stop`; answers the last offset that
/// was acknowledged and how many were refused.
fn flood(cluster: &Cluster, name: &str, stop: &AtomicBool) -> Result<(i64, usize)> {
    const AT_ONCE: i64 = 500;
    let (_, mut client) = to_coordinator(cluster, name)?;
    let (mut next, mut acked, mut refused) = (0, -1, 0);
    while !stop.load(Ordering::Relaxed) {
        let offsets = next..next + AT_ONCE;
        for offset in offsets.clone() {
            client.send(VERSION, &commit_request(name, TOPIC, offset, -1))?;
        }
        for offset in offsets {
            let answer = client.answer::<OffsetCommitRequest>(VERSION)?;
            match answer.topics[0].partitions[0].error_code {
                0 => acked = offset,
                _ => refused += 1,
            }
        }
        next += AT_ONCE;
    }
    Ok((acked, refused))
}

fn start(folder: &std::path::Path) -> Result<Cluster> {
    let config = folder.join("walrus.yaml");
    let small = "storage:\n  wal-ring-bytes: 128MiB\n  hot-tail-bytes: 32MiB\n";
    let groups = format!("groups:\n  offsets-partitions: 1\n  members-max: {MEMBERS_MAX}\n");
    std::fs::write(&config, format!("{small}{groups}"))?;
    Cluster::start(folder, 3, &NodeSettings::default().flag("--config", config.display()))
}

#[test]
fn a_storm_of_joins_and_a_flood_of_commits_cost_a_producer_nothing() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = start(folder.path())?;
    let load = load_on(&cluster, TOPIC, &[])?;
    load.until_more(2_000)?;
    let since = Reach::of(&cluster, TOPIC)?;
    let stop = AtomicBool::new(false);
    let (stormed, flooded) = thread::scope(|scope| -> Result<_> {
        let flooding: Vec<_> = (0..2)
            .map(|n| {
                scope.spawn({
                    let (cluster, stop) = (&cluster, &stop);
                    move || flood(cluster, &format!("flood-{n}"), stop)
                })
            })
            .collect();
        let stormed = all_storm(&cluster).and_then(|stormed| {
            load.until_more(2_000)?;
            Ok(stormed)
        });
        // Whatever came of it: those that flood go on until they are told.
        stop.store(true, Ordering::Relaxed);
        let flooded: Result<Vec<_>> =
            flooding.into_iter().map(|flood| flood.join().expect("no panic")).collect();
        Ok((stormed?, flooded?))
    })?;
    println!("joins by answer {stormed:?}; floods (last acked, refused) {flooded:?}");
    let full = ResponseError::GroupMaxSizeReached.code();
    ensure!(stormed.get(&full).is_some_and(|refused| *refused > 0), "nobody met the limit");
    for (n, (acked, _)) in flooded.iter().enumerate() {
        let name = format!("flood-{n}");
        let (_, mut client) = to_coordinator(&cluster, &name)?;
        ensure!(*acked >= 0, "{name} committed nothing");
        ensure!(
            committed(&mut client, &name, TOPIC, true)? == (0, *acked),
            "{name}: a commit is lost"
        );
    }
    // Those that joined and said no more are out when their time is over: there is room again.
    let (_, mut client) = to_coordinator(&cluster, "storm")?;
    let until = Instant::now() + PATIENCE;
    loop {
        let given = join(&cluster, &mut client, "storm", &StrBytes::default())?;
        let joined = join(&cluster, &mut client, "storm", &given.member_id)?;
        if joined.error_code == 0 {
            break;
        }
        let is_full = joined.error_code == full && Instant::now() < until;
        ensure!(is_full, "nobody may join: {joined:?}");
        thread::sleep(Duration::from_millis(100));
    }
    verify(load, &cluster, since)?;
    Ok(())
}

#[test]
fn offsets_that_must_be_stable_are_told_by_a_quorum_only() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cluster = start(folder.path())?;
    walrus_load::topic::create(
        &cluster.client(),
        &walrus_load::topic::Topics::one(TOPIC, 1),
        3,
        &[],
    )?;
    let until = Instant::now() + PATIENCE;
    // The lease of the partition may move while the cluster is young: then it is tried again.
    while !is_told_by_a_quorum_only(&cluster)? {
        ensure!(Instant::now() < until, "nobody coordinates for long enough");
    }
    Ok(())
}

/// One try; false when the coordinator was another by the time that it was asked alone.
fn is_told_by_a_quorum_only(cluster: &Cluster) -> Result<bool> {
    let (coordinator, mut client) = to_coordinator(cluster, "readers")?;
    let answer = client.ask(VERSION, &commit_request("readers", TOPIC, 7, -1))?;
    if answer.topics[0].partitions[0].error_code != 0 {
        return Ok(false);
    }
    if committed(&mut client, "readers", TOPIC, true)? != (0, 7) {
        return Ok(false);
    }
    let others: Vec<_> = cluster.ids().into_iter().filter(|id| *id != coordinator).collect();
    for id in &others {
        cluster.node(*id).freeze()?;
    }
    // Its lease says that it may tell; nobody can say that it is the only one.
    let by_lease = committed(&mut client, "readers", TOPIC, false)?;
    let surely = committed(&mut client, "readers", TOPIC, true)?;
    for id in &others {
        cluster.node(*id).thaw()?;
    }
    ensure!(surely.0 == ResponseError::NotCoordinator.code(), "told without a quorum: {surely:?}");
    Ok(by_lease == (0, 7))
}
