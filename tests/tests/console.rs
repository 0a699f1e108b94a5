//! The console in a terminal: on three nodes under load, and how it leaves the terminal behind.

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use walrus_tests::{
    Addresses, Cluster, NodeSettings, folder,
    load::{Load, PARTITIONS},
    program,
    terminal::{Left, Terminal},
    text::TextClient,
};

const TOPIC: &str = "orders";
/// Every column has room here.
const LARGE: (u16, u16) = (200, 60);

fn console() -> Result<PathBuf> {
    program("walrus-tui")
}

fn words(given: &[&str]) -> Vec<String> {
    given.iter().map(|word| (*word).to_owned()).collect()
}

/// What any node tells of the whole cluster.
fn snapshot(cluster: &Cluster) -> Result<Value> {
    document(cluster, "/v1/snapshot")
}

fn document(cluster: &Cluster, path: &str) -> Result<Value> {
    let running = cluster.ids().into_iter().find(|id| cluster.node(*id).is_running());
    let node = cluster.node(running.context("no node runs")?);
    let (status, body) = node.admin_get(path)?;
    ensure!(status == 200, "{path}: {status} {body}");
    Ok(serde_json::from_str(&body)?)
}

/// The words of the row of a table that begins with one.
fn row<'a>(shows: &'a str, first: &str) -> Vec<&'a str> {
    let rows = shows.lines().map(|line| line.split([' ', '│']).filter(|word| !word.is_empty()));
    let rows = rows.map(Iterator::collect::<Vec<_>>);
    rows.into_iter().find(|words| words.first() == Some(&first)).unwrap_or_default()
}

/// Waits until what is shown is what the nodes tell: both change, so both are looked at anew.
fn until_same(
    terminal: &Terminal,
    what: &str,
    cluster: &Cluster,
    is_same: impl Fn(&str, &Value) -> bool,
) -> Result<()> {
    let began = Instant::now();
    loop {
        let told = snapshot(cluster)?;
        let shows = terminal.shows();
        if is_same(&shows, &told) {
            return Ok(());
        }
        let waited = began.elapsed();
        ensure!(waited < Duration::from_secs(10), "{what} is not as told:\n{shows}\n{told:#}");
    }
}

/// Each node: its state, its part in the metadata group, its leases, its address.
fn nodes_are_as_told(shows: &str, told: &Value) -> bool {
    let leads = |node: &Value| told["group"]["leader"] == node["node"];
    told["nodes"].as_array().is_some_and(|nodes| {
        nodes.iter().all(|node| {
            let row = row(shows, &format!("n{}", node["node"]));
            let state = node["state"].as_str().unwrap_or_default();
            let raft = if leads(node) { "LEADER" } else { "follows" };
            let leases = node["holding"]["leads"].to_string();
            let address = node["addresses"]["client"].as_str().unwrap_or_default();
            [state, raft, &leases, address].iter().all(|cell| row.contains(cell))
        })
    })
}

/// Each partition of the topic: its leader, epoch, number of segments and first offset.
fn partitions_are_as_told(shows: &str, told: &Value) -> bool {
    let topics = told["topics"].as_array().into_iter().flatten();
    let of_topic: Vec<&Value> = topics
        .filter(|topic| topic["topic"] == TOPIC)
        .flat_map(|topic| topic["partitions"].as_array().into_iter().flatten())
        .collect();
    of_topic.len() == PARTITIONS
        && of_topic.iter().all(|partition| {
            let row =
                row(&together(shows), &format!("{TOPIC}/{}", partition["partition"])).join(" ");
            let leader = format!("n{}", partition["leader"]);
            let expected = format!(
                "{leader} {} {} {}",
                partition["epoch"], partition["segments"], partition["base"]
            );
            row.contains(&expected)
        })
}

/// Numbers whose thousands stand apart, in one word.
fn together(shows: &str) -> String {
    let mut out = String::with_capacity(shows.len());
    let all: Vec<char> = shows.chars().collect();
    for (at, c) in all.iter().enumerate() {
        let digit = |at: usize| all.get(at).is_some_and(char::is_ascii_digit);
        let three = (1..4).all(|more| digit(at + more)) && !digit(at + 4);
        let is_apart = *c == ' ' && at > 0 && digit(at - 1) && three;
        if !is_apart {
            out.push(*c);
        }
    }
    out
}

/// The row of a segment.
fn segment(shows: &str, epoch: &Value) -> String {
    let rows = shows.lines().map(|line| line.replace('│', " "));
    let rows = rows.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let begins = [format!("{epoch} open "), format!("{epoch} sealed ")];
    rows.into_iter().find(|row| begins.iter().any(|one| row.starts_with(one))).unwrap_or_default()
}

/// Each segment of a chain: its number, leader, first offset and, where it is sealed, its end.
fn chain_is_as_told(shows: &str, chain: &Value) -> bool {
    let shows = together(shows);
    let links = chain["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    !links.is_empty()
        && links.iter().all(|link| {
            let row = segment(&shows, &link["epoch"]);
            let (leader, base) = (format!("n{}", link["leader"]), &link["base"]);
            let (state, end) = match link["open"] == true {
                true => ("open", String::new()),
                false => ("sealed", format!(" {} ", link["end"])),
            };
            row.contains(state)
                && row.contains(&format!("{leader} {base}{end}"))
                && row.contains(link["reason"].as_str().unwrap_or("?"))
        })
}

/// Each connection: its node, its name, its library and what it does.
fn clients_are_as_told(shows: &str, told: &Value) -> bool {
    let clients = told["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_shown = |client: &Value| {
        let address = client["address"].as_str().unwrap_or("?");
        let Some(row) = shows.lines().find(|line| line.contains(address)) else { return false };
        let node = format!("n{}", client["node"]);
        let said = ["client_id", "software_version", "mostly"];
        let said = said.iter().filter_map(|field| client[field].as_str());
        row.contains(&node) && said.into_iter().all(|word| row.contains(word))
    };
    let by_library = |client: &Value| client["software"] == "librdkafka";
    clients.iter().all(is_shown) && clients.iter().any(by_library)
}

/// Raft, groups and the screens of what nodes say of themselves.
fn group_and_others(terminal: &mut Terminal, cluster: &Cluster) -> Result<()> {
    let mut client = TextClient::connect(cluster.node(1).client_address())?;
    for command in ["REGISTER jobs", "PUT jobs one", "PUT jobs two", "PUT jobs three", "GET jobs"] {
        let answer = client.ask(command.as_bytes())?;
        ensure!(answer.starts_with(b"OK"), "{command}: {}", String::from_utf8_lossy(&answer));
    }
    terminal.types("5")?;
    until_same(terminal, "the metadata group", cluster, |shows, told| {
        let term = told["group"]["term"].to_string();
        let leader = format!("n{}", told["group"]["leader"]);
        ["n1", "n2", "n3"].iter().all(|node| {
            let row = row(shows, node);
            row.contains(&"agrees")
                && row.contains(&term.as_str())
                && row.contains(&leader.as_str())
        })
    })?;
    terminal.types("7")?;
    terminal.until("the group as told", |shows| {
        let Ok(groups) = document(cluster, "/v1/groups") else { return false };
        let group = &groups["items"][0];
        let row = row(shows, "walrus.get.jobs");
        let [state, lag] = [&group["state"], &group["lag_records"]];
        *lag == 2 && row.contains(&state.as_str().unwrap_or("?")) && row.contains(&"2")
    })?;
    terminal.types("\r")?;
    terminal.until("its partition", |shows| {
        let row = row(shows, "jobs/0");
        // Committed, end, and what is between them.
        row.contains(&"behind") && row.join(" ").contains(" 1 3 2 ")
    })?;
    // What only nodes know is there, of all three, and of now.
    for (key, screen) in [("2", "Nodes"), ("6", "Storage"), ("D", "GC"), ("K", "Clients")] {
        terminal.types(key)?;
        terminal.until(screen, |shows| {
            shows.lines().next().is_some_and(|header| header.contains(screen))
                && ["n1", "n2", "n3"].iter().all(|node| {
                    let row = row(shows, node);
                    let age = row.len().checked_sub(2).and_then(|at| row[at].parse::<f64>().ok());
                    age.is_some_and(|seconds| seconds < 3.0)
                })
        })?;
    }
    terminal.until("the clients as told", |shows| {
        document(cluster, "/v1/clients").is_ok_and(|told| clients_are_as_told(shows, &told))
    })?;
    terminal.types("8/made\r")?;
    terminal.until("events", |shows| shows.contains("jobs") && shows.contains("with made"))?;
    terminal.types(":orders/0\r")?;
    terminal.until("a partition by its name", |shows| shows.contains("must have a batch"))?;
    Ok(())
}

#[test]
fn a_console_shows_what_three_nodes_do_and_what_becomes_of_a_leader_that_is_killed() -> Result<()> {
    let folder = folder()?;
    let addresses = Addresses::free(3)?;
    let endpoints = addresses.iter().flat_map(|at| ["--endpoint".to_owned(), at.admin.to_string()]);
    let mut terminal = Terminal::start(&console()?, &endpoints.collect::<Vec<_>>(), LARGE)?;
    terminal.until("that no node answers", |shows| shows.contains("No node answers."))?;

    let mut cluster = Cluster::start_at(folder.path(), addresses, &NodeSettings::default())?;
    let load = Load::start(&cluster, TOPIC, 3)?;
    load.until_more(1_000)?;
    terminal.until("three nodes", |shows| shows.contains("LIVE") && shows.contains("3/3 nodes"))?;
    until_same(&terminal, "the overview", &cluster, nodes_are_as_told)?;
    terminal
        .until("what comes in", |shows| shows.contains("records") && !shows.contains(" 0/s"))?;

    group_and_others(&mut terminal, &cluster)?;
    terminal.types("4")?;
    terminal.until("leases", |shows| shows.contains("Every partition"))?;
    until_same(&terminal, "leases", &cluster, partitions_are_as_told)?;
    terminal.types("3")?;
    terminal.until("topics", |shows| !shows.contains("Every partition"))?;
    until_same(&terminal, "topics", &cluster, partitions_are_as_told)?;

    // A chain, and the end of who leads it.
    terminal.types(&format!("/{TOPIC}/0\r\r"))?;
    let path = format!("/v1/topics/{TOPIC}/partitions/0/segments");
    terminal.until("a chain", |shows| shows.contains("must have a batch"))?;
    let before = document(&cluster, &path)?;
    terminal.until("the chain as told", |shows| chain_is_as_told(shows, &before))?;
    let leader = cluster.leader(1, TOPIC, 0)?;
    let began = Instant::now();
    cluster.node_mut(leader).kill()?;
    terminal.until("the next segment", |shows| {
        let next = before["segments"].as_u64().unwrap_or(0) + 1;
        segment(shows, &next.into()).contains("open") && shows.contains("failover")
    })?;
    println!("the next segment was on the screen {:?} after the kill", began.elapsed());
    let after = document(&cluster, &path)?;
    terminal.until("the chain after the kill", |shows| chain_is_as_told(shows, &after))?;

    // What the dead node said last is shown with its age.
    terminal.types("1")?;
    terminal.until("a node that is gone, with its age", |shows| {
        let row = row(shows, &format!("n{leader}"));
        let age = row.len().checked_sub(2).and_then(|at| row[at].parse::<f64>().ok());
        row.contains(&"fenced") && age.is_some_and(|seconds| seconds > 1.0)
    })?;
    until_same(&terminal, "the overview without a node", &cluster, nodes_are_as_told)?;

    for size in [(80, 24), (40, 10), (1, 1), (300, 100), (120, 40)] {
        terminal.resize(size)?;
    }
    terminal.until("itself at another size", |shows| {
        shows.lines().count() == 40 && shows.contains("quit")
    })?;
    terminal.types("\x03")?;
    let (status, _) = terminal.ended()?;
    ensure!(status.success(), "it ended with {status}");
    assert_eq!(terminal.left()?, Left::AS_BEFORE);
    load.stop()?;
    Ok(())
}

#[test]
fn however_it_ends_the_terminal_is_as_before() -> Result<()> {
    // What is asked of it, and with which status it ends.
    let cases: [(&str, &[&str], i32); 5] = [
        ("quit", &["--demo"], 0),
        ("TERM", &["--demo"], 128 + 15),
        ("HUP", &["--demo"], 128 + 1),
        ("QUIT", &["--demo"], 128 + 3),
        ("panic", &["--demo", "--test-panic"], 101),
    ];
    for (how, arguments, expected) in cases {
        let mut terminal = Terminal::start(&console()?, &words(arguments), (80, 24))?;
        if how != "panic" {
            terminal.until("a cluster", |shows| shows.contains("3/3 nodes"))?;
            terminal.types("m")?;
            terminal.until("the mouse", |shows| shows.contains("MOUSE ON"))?;
            let stands = terminal.stands()?;
            ensure!(stands.mouse_taken && stands.other_screen, "it took the terminal over");
        }
        match how {
            "quit" => terminal.types("\x03")?,
            "panic" => {}
            signal => terminal.signal(signal)?,
        }
        let (status, _) = terminal.ended()?;
        assert_eq!(status.code(), Some(expected), "{how}: {status}");
        assert_eq!(terminal.left()?, Left::AS_BEFORE, "{how}");
        if how == "panic" {
            terminal.until("why", |shows| shows.contains("as asked for"))?;
        }
    }
    Ok(())
}

/// Clicks at a cell, counted from 1, as a terminal of xterm's kind tells it.
fn click(terminal: &mut Terminal, (column, row): (usize, usize)) -> Result<()> {
    terminal.types(&format!("\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m"))
}

#[test]
fn a_mouse_that_is_taken_chooses_opens_and_orders() -> Result<()> {
    let arguments = words(&["--demo", "--screen", "topics"]);
    let mut terminal = Terminal::start(&console()?, &arguments, (120, 40))?;
    terminal.until("partitions", |shows| shows.contains("audit/3"))?;
    let place = |shows: &str, text: &str| {
        let row = shows.lines().position(|line| line.contains(text))?;
        let line = shows.lines().nth(row)?;
        Some((line.chars().count() - line[line.find(text)?..].chars().count() + 1, row + 1))
    };
    let at = place(&terminal.shows(), "audit/3").context("it is there")?;
    click(&mut terminal, at)?;
    click(&mut terminal, at)?;
    terminal.types("m")?;
    terminal.until("the mouse", |shows| shows.contains("MOUSE ON"))?;
    ensure!(!terminal.shows().contains("must have a batch"), "what is not taken does nothing");
    let title = place(&terminal.shows(), "SEGMENTS").context("it is there")?;
    click(&mut terminal, title)?;
    terminal.until("another order", |shows| shows.contains("partitions by segments"))?;
    click(&mut terminal, title)?;
    terminal.until("turned around", |shows| shows.contains("turned around"))?;
    click(&mut terminal, (8, 5))?;
    click(&mut terminal, (8, 5))?;
    terminal.until("a chain", |shows| shows.contains("must have a batch"))?;
    terminal.types("m\x03")?;
    let (status, _) = terminal.ended()?;
    ensure!(status.success(), "it ended with {status}");
    assert_eq!(terminal.left()?, Left::AS_BEFORE);
    Ok(())
}

#[test]
fn what_was_recorded_is_played_stepped_through_and_left() -> Result<()> {
    let folder = folder()?;
    let file = folder.path().join("some.rec");
    let path = file.to_str().context("a path of text")?;
    let mut terminal =
        Terminal::start(&console()?, &words(&["--demo", "--record", path]), (120, 40))?;
    terminal.until("some changes", |shows| shows.contains("12:40:05"))?;
    // Held, and stepped back: what came meanwhile is counted.
    terminal.types("[[")?;
    terminal.until("the past", |shows| shows.contains("FROZEN 12:40:0"))?;
    terminal.until("what came", |shows| shows.contains("(+2 came)"))?;
    terminal.types("L")?;
    terminal.until("now", |shows| shows.contains("LIVE"))?;
    // A killed console leaves what it wrote.
    terminal.signal("KILL")?;
    terminal.ended()?;

    let mut terminal =
        Terminal::start(&console()?, &words(&["replay", path, "--speed", "2"]), (120, 40))?;
    terminal.until("a replay", |shows| shows.contains("REPLAY ×2 12:40:0"))?;
    terminal.types(" 4t12:40:04\r")?;
    terminal.until("that moment", |shows| {
        shows.contains("FROZEN 12:40:04") && shows.contains("Every partition")
    })?;
    terminal.types("]")?;
    terminal.until("the moment after", |shows| shows.contains("FROZEN 12:40:05"))?;
    terminal.types("\x03")?;
    let (status, _) = terminal.ended()?;
    ensure!(status.success(), "it ended with {status}");
    assert_eq!(terminal.left()?, Left::AS_BEFORE);

    let arguments =
        ["replay", path, "--once", "--at", "12:40:04", "--screen", "nodes", "-o", "json"];
    let once = std::process::Command::new(console()?).args(arguments).output()?;
    let told: Value = serde_json::from_slice(&once.stdout)?;
    assert_eq!(told["cluster"], "demo", "{}", String::from_utf8_lossy(&once.stderr));
    Ok(())
}

#[test]
fn keys_that_do_two_things_end_it_before_it_begins() -> Result<()> {
    let folder = folder()?;
    let file = folder.path().join("config.toml");
    std::fs::write(&file, "[keys]\nsort = \"q\"\n")?;
    let path = file.to_str().context("a path of text")?;
    let asked =
        std::process::Command::new(console()?).args(["--demo", "--config", path]).output()?;
    assert_eq!(asked.status.code(), Some(2));
    let said = String::from_utf8(asked.stderr)?;
    ensure!(said.contains("q is the key of both back and sort"), "{said}");
    Ok(())
}

#[test]
fn it_ends_with_its_terminal() -> Result<()> {
    let mut terminal = Terminal::start(&console()?, &words(&["--demo"]), (80, 24))?;
    terminal.until("a cluster", |shows| shows.contains("3/3 nodes"))?;
    terminal.hang_up();
    let (_, took) = terminal.ended()?;
    println!("it ended {took:?} after its terminal");
    Ok(())
}

#[test]
fn without_a_terminal_it_says_what_to_do_instead() -> Result<()> {
    let asked = std::process::Command::new(console()?).arg("--demo").output()?;
    assert_eq!(asked.status.code(), Some(2));
    let said = String::from_utf8(asked.stderr)?;
    ensure!(said.contains("--once"), "{said}");
    Ok(())
}
