//! The real `walrusctl` against a real node: a cluster of one, which is what there is for sure.

use std::{
    net::SocketAddr,
    process::{Command, Output, Stdio},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;
use walrus_tests::{Node, NodeSettings, text::TextClient};

/// A node, and what asks it.
struct World {
    node: Node,
    _folder: TempDir,
}

/// Exit status, standard output, standard error.
#[derive(Debug)]
struct Ran {
    status: i32,
    out: String,
    err: String,
}

fn ctl(endpoint: SocketAddr, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_walrusctl"));
    command.env_remove("WALRUS_ENDPOINTS").env_remove("XDG_CONFIG_HOME").env_remove("HOME");
    command.args(["--endpoint", &endpoint.to_string()]).args(args);
    command.stdin(Stdio::null());
    command
}

fn ran(output: Output) -> Result<Ran> {
    let status = output.status.code().context("it was killed")?;
    let text = |bytes| String::from_utf8(bytes).context("not text");
    Ok(Ran { status, out: text(output.stdout)?, err: text(output.stderr)? })
}

impl World {
    /// A node with topics of one partition, in each of which are two entries.
    fn with_topics(topics: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let node = Node::start(&folder.path().join("data"), NodeSettings::default())?;
        let mut client = TextClient::connect(node.client_address())?;
        for topic in topics {
            for command in ["REGISTER", "PUT", "PUT"] {
                let entry = if command == "PUT" { " entry" } else { "" };
                let answer = client.ask(format!("{command} {topic}{entry}").as_bytes())?;
                ensure!(answer == b"OK", "{command} {topic}: {}", String::from_utf8_lossy(&answer));
            }
        }
        Ok(Self { node, _folder: folder })
    }

    fn ctl(&self, args: &[&str]) -> Result<Ran> {
        ran(ctl(self.node.admin_address(), args).output()?)
    }

    /// Runs it and says what came, if the status is another one.
    #[track_caller]
    fn check(&self, args: &[&str], status: i32) -> Ran {
        let ran = self.ctl(args).expect("walrusctl runs");
        assert_eq!(ran.status, status, "{args:?}: {ran:?}");
        ran
    }

    /// The document that `-o json` shows.
    #[track_caller]
    fn json(&self, args: &[&str], status: i32) -> Value {
        let ran = self.check(&[args, &["-o", "json"]].concat(), status);
        serde_json::from_str(&ran.out).unwrap_or_else(|why| panic!("{args:?}: {why}: {ran:?}"))
    }

    /// The error that it shows beside nothing.
    #[track_caller]
    fn error(&self, args: &[&str], status: i32) -> Value {
        let ran = self.check(&[args, &["-q", "-o", "json"]].concat(), status);
        let error: Value =
            serde_json::from_str(&ran.err).unwrap_or_else(|why| panic!("{why}: {ran:?}"));
        assert_eq!((&error["kind"], ran.out.as_str()), (&Value::from("Error"), ""), "{error}");
        assert_eq!(error["error"]["exit_status"], status, "{error}");
        error["error"].clone()
    }

    fn chain(&self, place: &str) -> Vec<Value> {
        let chain = self.json(&["segment", "chain", place], 0);
        chain["items"].as_array().expect("a list").clone()
    }
}

#[test]
fn the_cluster_is_told_as_it_is() -> Result<()> {
    let world = World::with_topics(&["a", "b"])?;
    let status = world.json(&["cluster", "status"], 0);
    assert_eq!(status["apiVersion"], "walrus/v1");
    assert_eq!(status["kind"], "ClusterStatus");
    assert_eq!((&status["topics"], &status["partitions"]), (&2.into(), &2.into()));
    assert_eq!(
        status["group"],
        serde_json::json!({
            "leader": 1, "term": status["group"]["term"], "voters": 1, "quorum": 1
        })
    );
    let text = world.check(&["cluster", "status"], 0).out;
    for part in ["controller  n1, term", "topics      2 with 2 partitions", "\nn1    active"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }

    assert_eq!(world.json(&["node", "ready"], 0)["state"], "ready");
    let health = world.json(&["cluster", "health"], 0);
    assert_eq!(health["verdict"], "ok");
    let findings = health["findings"].as_array().context("a list")?;
    assert!(findings.iter().any(|finding| finding["code"] == "one_node"), "{health}");
    assert_eq!(health["checks"][0]["answer"]["state"], "ready");
    let text = world.check(&["cluster", "health"], 0).out;
    assert!(text.starts_with("OK: 1 node, 2 partitions\n"), "{text}");

    let nodes = world.json(&["node", "list"], 0);
    let node = &nodes["items"][0];
    assert_eq!((&node["node"], &node["state"]), (&1.into(), &"active".into()));
    assert_eq!(node["addresses"]["admin"], world.node.admin_address().to_string());
    assert_eq!(
        node["holding"],
        serde_json::json!({ "leads": 2, "open": 2, "sealed": 0, "sole": 2, "needed": 0 })
    );

    let raft = world.json(&["raft", "status"], 0);
    assert_eq!((&raft["state"], &raft["leader"]), (&"leader".into(), &1.into()));
    assert_eq!(raft["members"][0]["votes"], true);
    assert!(raft["committed"].as_u64().context("a number")? > 0, "{raft}");
    let text = world.check(&["raft", "status"], 0).out;
    assert!(text.contains("leader     n1 in term") && text.contains("\nn1    leader"), "{text}");
    Ok(())
}

#[test]
fn partitions_are_rolled_over_once_for_each_time_it_is_asked() -> Result<()> {
    let world = World::with_topics(&["a", "b", "c"])?;
    let epochs = || {
        ["a/0", "b/0", "c/0"].map(|place| {
            let chain = world.chain(place);
            (chain.len(), chain.last().unwrap()["epoch"].as_u64().unwrap())
        })
    };
    assert_eq!(epochs(), [(1, 1); 3]);
    let dry = world.check(&["rollover", "--all", "--dry-run"], 0);
    assert!(dry.err.contains("rolls over 3 partitions (n1 leads 3)"), "{dry:?}");
    assert_eq!(epochs(), [(1, 1); 3]);

    let done = world.json(&["rollover", "--all", "--rate", "20/s", "--yes", "--wait"], 0);
    assert_eq!((&done["state"], &done["done"]), (&"done".into(), &3.into()));
    let at = |key: &str| done[key].as_i64().context("a time");
    assert!(at("ended_at_ms")? - at("began_at_ms")? >= 100, "20 a second: {done}");
    assert_eq!(epochs(), [(2, 2); 3]);
    let chain = world.chain("a/0");
    assert_eq!((&chain[0]["open"], &chain[0]["end"]), (&false.into(), &2.into()));
    assert_eq!((&chain[1]["open"], &chain[1]["base"]), (&true.into(), &2.into()));
    assert_eq!((&chain[1]["reason"], &chain[1]["end"]), (&"operator".into(), &2.into()));

    // A segment in which nothing is leaves the chain; its epoch is spent.
    world.json(&["rollover", "a/0", "--yes", "--wait"], 0);
    assert_eq!(epochs(), [(2, 3), (2, 2), (2, 2)]);
    world.json(&["rollover", "b", "c", "--yes", "--wait"], 0);
    assert_eq!(epochs(), [(2, 3); 3]);
    let begun = world.json(&["rollover", "--node", "n1", "--yes"], 0);
    assert_eq!((&begun["total"], &begun["verb"]), (&3.into(), &"rollover".into()));
    let id = begun["id"].as_u64().context("a number")?.to_string();
    assert_eq!(world.json(&["op", "wait", &id], 0)["state"], "done");
    assert_eq!(epochs(), [(2, 4); 3]);

    // What was written is there, and writing goes on.
    let mut client = TextClient::connect(world.node.client_address())?;
    assert_eq!(client.ask(b"PUT a third")?, b"OK");
    for expected in ["OK entry", "OK entry", "OK third", "EMPTY"] {
        assert_eq!(client.ask(b"GET a")?, expected.as_bytes());
    }
    Ok(())
}

#[test]
fn partitions_that_nobody_asked_for_since_the_start_are_rolled_over_too() -> Result<()> {
    let mut world = World::with_topics(&["a"])?;
    world.node.terminate()?;
    world.node.restart()?;
    let done = world.json(&["rollover", "--all", "--yes", "--wait"], 0);
    assert_eq!((&done["state"], &done["total"]), (&"done".into(), &1.into()));
    let chain = world.chain("a/0");
    assert_eq!((chain.len(), &chain[1]["epoch"]), (2, &2.into()), "once: {chain:?}");
    Ok(())
}

#[test]
fn what_the_only_node_cannot_do_is_refused_with_what_to_do() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    let drain = world.error(&["node", "drain", "1", "--yes", "--wait"], 6);
    assert_eq!(drain["code"], "last_node");
    let message = drain["message"].as_str().context("a text")?;
    assert!(message.starts_with("n1 is the only active node: its 1 open segment"), "{message}");
    assert!(drain["hint"].as_str().context("a text")?.contains("walrusd --join"), "{drain}");
    assert_eq!(
        world.error(&["node", "remove", "n1", "--confirm=1", "--wait"], 6)["code"],
        "last_node"
    );
    let told = world.check(&["node", "remove", "1", "--confirm=1"], 6).err;
    assert!(
        told.contains("walrusctl: n1 is the only node that serves") && told.contains("\n  next: "),
        "{told}"
    );

    let same = world.json(&["node", "undrain", "1", "--yes"], 0);
    assert_eq!((&same["changes"], &same["kind"]), (&false.into(), &"Plan".into()));
    let leads = world.json(&["raft", "transfer", "1", "--yes", "--wait"], 0);
    assert_eq!((&leads["changes"], &leads["wanted"]["to"]), (&false.into(), &1.into()));
    let there = world.json(&["cluster", "bootstrap", "--yes"], 0);
    assert_eq!(there["told"], false);
    assert_eq!(there["cluster"], world.json(&["cluster", "status"], 0)["cluster"]);
    assert_eq!(world.error(&["cluster", "join", "127.0.0.1:1", "--yes"], 6)["code"], "in_cluster");
    assert_eq!(world.json(&["node", "list"], 0)["items"][0]["state"], "active");
    Ok(())
}

#[test]
fn what_is_not_there_is_said_not_to_be() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    for args in [
        &["segment", "chain", "b/0"][..],
        &["segment", "chain", "a/7"],
        &["rollover", "b", "--yes"],
        &["rollover", "a/7", "--yes"],
        &["rollover", "--node", "7", "--yes"],
        &["op", "get", "7000000"],
        &["op", "wait", "7000000"],
        &["op", "cancel", "7000000", "--yes"],
        &["node", "drain", "7", "--yes"],
        &["node", "undrain", "7", "--yes"],
        &["node", "remove", "7", "--confirm=7"],
        &["raft", "transfer", "7", "--yes"],
    ] {
        assert_eq!(world.error(args, 3)["code"], "not_found", "{args:?}");
    }
    Ok(())
}

#[test]
fn nothing_is_changed_that_nobody_agreed_to() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    for args in [&["rollover", "--all"][..], &["rollover", "a/0", "--wait"]] {
        let error = world.error(args, 2);
        assert!(error["hint"].as_str().context("a text")?.contains("--yes"), "{error}");
    }
    assert_eq!(world.chain("a/0").len(), 1);
    for wrong in [
        &["rollover"][..],
        &["rollover", "a", "--all"],
        &["rollover", "--all", "--rate", "0/s"],
        &["segment", "chain", "a"],
        &["node", "drain", "one"],
        &["node", "list", "--wait"],
        &["cluster", "health", "--timeout", "5"],
        &["frobnicate"],
    ] {
        world.check(wrong, 2);
    }
    Ok(())
}

#[test]
fn a_node_that_is_gone_is_named_and_another_is_asked() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    let gone = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let there = world.node.admin_address();
    let status = ran(ctl(gone, &["--endpoint", &there.to_string(), "raft", "status"]).output()?)?;
    assert_eq!(status.status, 0, "{status:?}");
    let named = Command::new(env!("CARGO_BIN_EXE_walrusctl"))
        .env("WALRUS_ENDPOINTS", format!("{gone}, {there}"))
        .args(["cluster", "health", "--wait"])
        .output()?;
    assert_eq!(ran(named)?.status, 0);

    let nobody = ran(ctl(gone, &["cluster", "status"]).output()?)?;
    assert_eq!((nobody.status, nobody.out.as_str()), (5, ""), "{nobody:?}");
    assert!(
        nobody.err.contains(&gone.to_string()) && nobody.err.contains("--endpoint"),
        "{nobody:?}"
    );
    // A client port is no admin port, and it says so.
    let kafka = ran(ctl(world.node.client_address(), &["raft", "status"]).output()?)?;
    assert_eq!(kafka.status, 1, "{kafka:?}");
    Ok(())
}

#[test]
fn a_cluster_that_is_not_well_is_an_exit_status_of_its_own() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let settings = NodeSettings::default();
    let settings = NodeSettings { flags: vec!["--enable-test-hooks".into()], ..settings };
    let mut node = Node::start(&folder.path().join("data"), settings)?;
    let health = |args: &[&str]| {
        let all = [&["cluster", "health"], args].concat();
        ran(ctl(node.admin_address(), &all).output()?)
    };
    assert_eq!(health(&[])?.status, 0);
    // The node serves no more and is not gone yet.
    node.freeze()?;
    let frozen = health(&["--answer-timeout", "200ms", "--wait", "--timeout", "300ms"])?;
    assert_eq!(frozen.status, 5, "{frozen:?}");
    node.thaw()?;
    assert_eq!(health(&["--wait"])?.status, 0);
    node.kill()?;
    Ok(())
}

#[test]
fn help_and_man_pages_come_from_the_code() -> Result<()> {
    let run =
        |args: &[&str]| ran(Command::new(env!("CARGO_BIN_EXE_walrusctl")).args(args).output()?);
    let help = run(&["--help"])?;
    for part in
        ["Examples:", "rollover --all --rate 20/s --yes --wait", "Exit status:", "WALRUS_ENDPOINTS"]
    {
        assert!(help.out.contains(part), "no {part:?} in {}", help.out);
    }
    for (args, part) in [
        (&["rollover", "--help"][..], "walrusctl rollover --node 2 --rate 5/s --yes --wait"),
        (&["node", "remove", "--help"], "walrusctl node remove 1 --confirm=1 --wait"),
    ] {
        let help = run(args)?;
        assert!(help.out.contains(part), "no {part:?} in {}", help.out);
    }
    assert!(run(&["man"])?.out.starts_with(".ie"), "a page of roff");
    let pages = tempfile::tempdir()?;
    let dir = pages.path().join("man1");
    assert_eq!(run(&["man", "--dir", dir.to_str().context("a path")?])?.status, 0);
    for page in ["walrusctl.1", "walrusctl-node-remove.1", "walrusctl-cluster-health.1"] {
        ensure!(dir.join(page).try_exists()?, "no {page}");
    }
    Ok(())
}

#[test]
fn a_reader_that_closes_the_pipe_has_seen_enough() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    let mut child = ctl(world.node.admin_address(), &["cluster", "status"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    drop(child.stdout.take());
    let ended = ran(child.wait_with_output()?)?;
    assert_eq!((ended.status, ended.err.as_str()), (141, ""), "{ended:?}");
    Ok(())
}

#[test]
fn a_queue_is_a_group_whose_lag_is_told() -> Result<()> {
    let world = World::with_topics(&["a"])?;
    let empty = world.json(&["group", "list"], 0);
    assert_eq!((&empty["kind"], &empty["items"]), (&"GroupList".into(), &serde_json::json!([])));
    let mut client = TextClient::connect(world.node.client_address())?;
    ensure!(client.ask(b"GET a")? == b"OK entry");
    // The cursor is kept within 100 ms.
    let until = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let group = loop {
        let ran = world.ctl(&["group", "get", "walrus.get.a", "-o", "json"])?;
        if let Ok(group) = serde_json::from_str::<Value>(&ran.out)
            && group["lag_records"] == 1
        {
            break group;
        }
        ensure!(std::time::Instant::now() < until, "{ran:?}");
    };
    assert_eq!((&group["kind"], &group["coordinator"]), (&"Group".into(), &1.into()));
    let place = &group["items"][0];
    assert_eq!((&place["committed"], &place["end"]), (&1.into(), &2.into()), "{place}");
    let text = world.check(&["group", "get", "walrus.get.a"], 0).out;
    for part in ["group        walrus.get.a, Empty, 0 members", "TOPIC/P", "a/0      behind"] {
        assert!(text.contains(part), "no {part:?} in {text}");
    }
    // A list may be two seconds old.
    let listed = loop {
        let text = world.check(&["group", "list"], 0).out;
        if text.contains("walrus.get.a") {
            break text;
        }
        ensure!(std::time::Instant::now() < until, "{text}");
    };
    assert!(listed.starts_with("GROUP         STATE"), "{listed}");
    assert!(listed.contains("\nwalrus.get.a  Empty"), "{listed}");
    let error = world.error(&["group", "get", "nobody/at all"], 3);
    assert_eq!(error["code"], "not_found");
    assert!(error["message"].as_str().is_some_and(|why| why.contains("nobody/at all")), "{error}");
    Ok(())
}
