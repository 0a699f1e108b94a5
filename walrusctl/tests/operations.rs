//! Plans and operations on three nodes: what was told is what is done, whoever is the controller.

use std::{
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{Cluster, NodeSettings, text::TextClient};

const SOON: Duration = Duration::from_secs(30);

/// Exit status, and the document or error that is shown.
fn ctl(cluster: &Cluster, through: i32, args: &[&str]) -> Result<(i32, Value)> {
    let output = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .args(["-q", "-o", "json", "--endpoint"])
        .arg(cluster.node(through).admin_address().to_string())
        .args(args)
        .env("USER", "ann")
        .stdin(Stdio::null())
        .output()?;
    let shown = if output.stdout.is_empty() { &output.stderr } else { &output.stdout };
    let shown = serde_json::from_slice(shown).with_context(|| format!("{args:?}"))?;
    Ok((output.status.code().context("a status")?, shown))
}

fn done(cluster: &Cluster, through: i32, args: &[&str]) -> Result<Value> {
    let (status, shown) = ctl(cluster, through, args)?;
    ensure!(status == 0, "{args:?} ends with {status}: {shown}");
    Ok(shown)
}

fn started(topics: usize) -> Result<(tempfile::TempDir, Cluster)> {
    let folder = tempfile::tempdir()?;
    let cluster = Cluster::start(folder.path(), 3, &NodeSettings::default())?;
    done(&cluster, 1, &["cluster", "health", "--wait", "--timeout", "1m"])?;
    let mut client = TextClient::connect(cluster.node(1).client_address())?;
    for topic in 0..topics {
        ensure!(client.ask(format!("REGISTER t{topic}").as_bytes())? == b"OK");
    }
    Ok((folder, cluster))
}

fn controller(cluster: &Cluster, through: i32) -> Result<i32> {
    let raft = done(cluster, through, &["raft", "status"])?;
    Ok(i32::try_from(raft["leader"].as_i64().context("a leader")?)?)
}

fn id_of(operation: &Value) -> Result<String> {
    Ok(operation["id"].as_u64().with_context(|| operation.to_string())?.to_string())
}

#[test]
fn an_operation_goes_on_when_its_controller_is_killed() -> Result<()> {
    let (_folder, mut cluster) = started(10)?;
    let leader = controller(&cluster, 1)?;
    let through = leader % 3 + 1;
    let plan = done(&cluster, through, &["rollover", "--all", "--rate", "2/s", "--dry-run"])?;
    assert_eq!((&plan["made_by"], &plan["changes"]), (&leader.into(), &true.into()), "{plan}");
    let order = ["rollover", "--all", "--rate", "2/s", "--yes", "--reason", "a trial"];
    let begun = done(&cluster, through, &order)?;
    let id = id_of(&begun)?;
    cluster.node_mut(leader).kill()?;
    let ended = done(&cluster, through, &["op", "wait", &id, "--timeout", "2m"])?;
    assert_eq!((&ended["state"], &ended["done"]), (&"done".into(), &10.into()), "{ended}");
    assert_eq!(ended["reason"], "a trial");
    assert!(ended["actor"].as_str().is_some_and(|actor| actor.starts_with("ann@")), "{ended}");
    for topic in 0..10 {
        let chain = done(&cluster, through, &["segment", "chain", &format!("t{topic}/0")])?;
        let epoch = chain["items"].as_array().and_then(|all| all.last()?["epoch"].as_i64());
        assert!(epoch.context("an epoch")? > 1, "{chain}");
    }
    // What the dead one had told is not guessed at.
    let stale = plan["id"].as_str().context("an id")?;
    let args = ["rollover", "--all", "--rate", "2/s", "--plan", stale, "--yes"];
    let (status, error) = ctl(&cluster, through, &args)?;
    assert_eq!((status, &error["error"]["code"]), (6, &"expired".into()), "{error}");
    Ok(())
}

/// The node that is asked ends itself when it is removed; somebody else tells how that ended.
#[test]
fn a_removal_is_followed_to_its_end_through_the_node_that_goes() -> Result<()> {
    let (_folder, mut cluster) = started(4)?;
    let gone = done(&cluster, 1, &["node", "remove", "1", "--confirm=1", "--wait"])?;
    assert_eq!(gone["state"], "done", "{gone}");
    let status = cluster.node_mut(1).ended()?;
    let log = cluster.node(1).log();
    ensure!(!status.success() && log.contains("n1 was removed from the cluster"), "{log}");
    ensure!(!log.contains("it begins another"), "{log}");
    let nodes = done(&cluster, 2, &["node", "list"])?;
    assert_eq!(nodes["items"].as_array().map(Vec::len), Some(2), "{nodes}");
    Ok(())
}

#[test]
fn a_plan_that_was_looked_at_is_carried_out_once_and_only_as_it_was() -> Result<()> {
    let (_folder, cluster) = started(3)?;
    let plan = done(&cluster, 1, &["node", "drain", "2", "--dry-run"])?;
    let id = plan["id"].as_str().context("an id")?.to_owned();
    assert_eq!((&plan["subject"], &plan["danger"]), (&"n2".into(), &"severe".into()));
    assert_eq!((&plan["impact"]["bytes_copy"], &plan["impact"]["voters"]), (&0.into(), &3.into()));
    let other = ctl(&cluster, 1, &["node", "drain", "3", "--plan", &id, "--yes"])?;
    assert_eq!(other.0, 2, "it is of another node: {}", other.1);
    let first = done(&cluster, 3, &["node", "drain", "2", "--plan", &id, "--yes", "--wait"])?;
    assert_eq!((&first["state"], &first["plan"]), (&"done".into(), &id.as_str().into()));
    let again = done(&cluster, 1, &["node", "drain", "2", "--plan", &id, "--yes", "--wait"])?;
    assert_eq!(again["id"], first["id"], "not another one");

    // When it is done by then, it would come to something else.
    let plan = done(&cluster, 1, &["node", "undrain", "2", "--dry-run"])?;
    done(&cluster, 1, &["node", "undrain", "2", "--yes"])?;
    let id = plan["id"].as_str().context("an id")?;
    let (status, error) = ctl(&cluster, 1, &["node", "undrain", "2", "--plan", id, "--yes"])?;
    assert_eq!((status, &error["error"]["code"]), (6, &"changed".into()), "{error}");
    Ok(())
}

#[test]
fn what_is_cancelled_stops_and_says_by_whom() -> Result<()> {
    let (_folder, cluster) = started(2)?;
    // The second is due in a minute.
    let begun = done(&cluster, 2, &["rollover", "--all", "--rate", "1/m", "--yes"])?;
    let id = id_of(&begun)?;
    let rolled = || -> Result<usize> {
        let mut rolled = 0;
        for topic in ["t0/0", "t1/0"] {
            let chain = done(&cluster, 3, &["segment", "chain", topic])?;
            let last = chain["items"].as_array().and_then(|all| all.last()?["epoch"].as_i64());
            rolled += usize::from(last.context("an epoch")? > 1);
        }
        Ok(rolled)
    };
    let began = Instant::now();
    while rolled()? == 0 {
        ensure!(began.elapsed() < SOON, "nothing is rolled over");
    }
    let running = done(&cluster, 3, &["op", "list"])?;
    let one = &running["items"][0];
    assert_eq!(
        (&one["state"], &one["done"], &one["total"]),
        (&"running".into(), &1.into(), &2.into())
    );
    let (status, error) = ctl(&cluster, 3, &["op", "wait", &id, "--timeout", "500ms"])?;
    assert_eq!((status, &error["error"]["code"]), (8, &"under_way".into()), "{error}");

    let taken = done(&cluster, 1, &["op", "cancel", &id, "--yes"])?;
    assert_eq!(taken["state"], "cancelled", "{taken}");
    assert!(taken["now"].as_str().is_some_and(|now| now.contains("by ann@")), "{taken}");
    let (status, error) = ctl(&cluster, 1, &["op", "wait", &id])?;
    assert_eq!((status, &error["error"]["code"]), (1, &"failed".into()), "{error}");
    let (status, error) = ctl(&cluster, 1, &["op", "cancel", &id, "--yes"])?;
    assert_eq!((status, &error["error"]["code"]), (6, &"ended".into()), "{error}");
    assert_eq!(rolled()?, 1);
    assert_eq!(done(&cluster, 3, &["op", "list"])?["items"], serde_json::json!([]));
    assert_eq!(done(&cluster, 3, &["op", "list", "--all"])?["items"][0]["state"], "cancelled");
    Ok(())
}
