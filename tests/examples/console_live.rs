//! What a console costs the nodes that it watches, and how soon it shows a killed leader's
//! successor: three nodes under load, the console in a pseudo-terminal.
//!
//! `cargo run --release -p walrus-tests --example console_live [-- SECONDS ROUNDS PARTITIONS]`
//!
//! Answers lines of JSON: for each screen the requests and bytes that the followed node exchanged
//! with the console in a second; for each round the time from kill -9 to the next segment in the
//! terminal; and the processor time of a node with and without fifty watchers, in turn.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use walrus_load::topic::{self, Topics};
use walrus_tests::{
    Addresses, Cluster, Node, NodeSettings, folder,
    load::{Load, whole},
    program,
    terminal::Terminal,
};

const TOPIC: &str = "orders";
const SIZE: (u16, u16) = (200, 60);
const WATCHERS: usize = 50;

/// What went through a [`Proxy`].
#[derive(Debug, Default)]
struct Counted {
    requests: AtomicU64,
    asked_bytes: AtomicU64,
    told_bytes: AtomicU64,
}

impl Counted {
    fn take(&self) -> (u64, u64, u64) {
        let of = |counter: &AtomicU64| counter.swap(0, Ordering::Relaxed);
        (of(&self.requests), of(&self.asked_bytes), of(&self.told_bytes))
    }
}

/// A port that passes everything on to another and counts it, until its process ends.
fn proxy(to: SocketAddr) -> Result<(SocketAddr, Arc<Counted>)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let at = listener.local_addr()?;
    let counted = Arc::new(Counted::default());
    let counts = Arc::clone(&counted);
    thread::spawn(move || {
        for from in listener.incoming().map_while(Result::ok) {
            let Ok(onto) = TcpStream::connect(to) else { continue };
            let (Ok(back_from), Ok(back_to)) = (onto.try_clone(), from.try_clone()) else {
                continue;
            };
            let asks = Arc::clone(&counts);
            thread::spawn(move || {
                pass(from, onto, |bytes| {
                    let heads = bytes.windows(11).filter(|part| part == b" HTTP/1.1\r\n").count();
                    asks.requests.fetch_add(heads as u64, Ordering::Relaxed);
                    asks.asked_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                })
            });
            let tells = Arc::clone(&counts);
            thread::spawn(move || {
                pass(back_from, back_to, |bytes| {
                    tells.told_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                })
            });
        }
    });
    Ok((at, counted))
}

/// One way of a connection.
fn pass(mut from: TcpStream, mut to: TcpStream, count: impl Fn(&[u8])) -> io::Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            return to.shutdown(Shutdown::Write);
        }
        count(&bytes[..read]);
        to.write_all(&bytes[..read])?;
    }
}

fn say(line: &Value) -> Result<()> {
    Ok(writeln!(io::stdout(), "{line}")?)
}

fn until_shown(terminal: &Terminal, what: &str) -> Result<Duration> {
    terminal.until(what, |shows| shows.contains(what))
}

/// What each screen costs the node that is followed.
fn costs(cluster: &Cluster, seconds: u64) -> Result<()> {
    let (at, counted) = proxy(cluster.node(1).admin_address())?;
    let (console, arguments) = (program("walrus-tui")?, ["--endpoint".to_owned(), at.to_string()]);
    let began = Instant::now();
    let mut terminal = Terminal::start(&console, &arguments, SIZE)?;
    until_shown(&terminal, "3/3 nodes")?;
    let first = began.elapsed();
    say(&json!({ "what": "first_data", "ms": first.as_secs_f64() * 1e3 }))?;
    for (screen, keys) in [
        ("overview", "1"),
        ("leases", "4"),
        ("groups", ":groups\r"),
        ("clients", ":clients\r"),
        ("chain", ":orders/0\r"),
    ] {
        terminal.types(keys)?;
        // What opening it asks for is no part of what watching it costs.
        thread::sleep(Duration::from_secs(2));
        counted.take();
        let began = Instant::now();
        thread::sleep(Duration::from_secs(seconds));
        let (requests, asked, told) = counted.take();
        let per_second = |of: u64| of as f64 / began.elapsed().as_secs_f64();
        say(&json!({
            "what": "cost",
            "screen": screen,
            "requests_per_s": per_second(requests),
            "bytes_per_s": per_second(asked + told),
        }))?;
    }
    Ok(())
}

/// The rows of the chosen segment and its state, put together.
fn shows_failover(shows: &str, epoch: u64) -> bool {
    let first = epoch.to_string();
    shows.lines().any(|line| {
        let words: Vec<&str> = line.split([' ', '│']).filter(|word| !word.is_empty()).collect();
        words.contains(&first.as_str()) && words.contains(&"open") && words.contains(&"failover")
    })
}

fn chain(cluster: &Cluster) -> Result<u64> {
    let running = cluster.ids().into_iter().find(|id| cluster.node(*id).is_running());
    let path = format!("/v1/topics/{TOPIC}/partitions/0/segments");
    let (status, body) = cluster.node(running.context("a node")?).admin_get(&path)?;
    ensure!(status == 200, "{status} {body}");
    let chain: Value = serde_json::from_str(&body)?;
    let open = chain["items"].as_array().and_then(|items| items.last()).context("a segment")?;
    open["epoch"].as_u64().context("an epoch")
}

/// From kill -9 of a leader to the next segment in the terminal, again and again.
fn failovers(cluster: &mut Cluster, load: &Load, rounds: usize) -> Result<()> {
    let endpoints = cluster
        .ids()
        .into_iter()
        .flat_map(|id| ["--endpoint".to_owned(), cluster.node(id).admin_address().to_string()]);
    let mut terminal =
        Terminal::start(&program("walrus-tui")?, &endpoints.collect::<Vec<_>>(), SIZE)?;
    until_shown(&terminal, "3/3 nodes")?;
    terminal.types(":orders/0\r")?;
    until_shown(&terminal, "must have a batch")?;
    for round in 0..rounds {
        whole(cluster, TOPIC, 3)?;
        cluster.wait_until_all_vote()?;
        until_shown(&terminal, "3/3 nodes")?;
        let (before, leader) = (chain(cluster)?, cluster.leader(1, TOPIC, 0)?);
        let began = Instant::now();
        cluster.node_mut(leader).kill()?;
        terminal.until("the next segment", |shows| {
            (before + 1..before + 4).any(|epoch| shows_failover(shows, epoch))
        })?;
        let took = began.elapsed();
        say(&json!({
            "what": "failover",
            "round": round,
            "killed": leader,
            "was_followed": leader == 1,
            "ms": took.as_secs_f64() * 1e3,
        }))?;
        load.goes_on("after the kill")?;
        cluster.node_mut(leader).restart()?;
    }
    Ok(())
}

/// Seconds that a process has computed.
fn computed(node: &Node) -> Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", node.pid()?))?;
    let after_name = stat.rsplit_once(") ").context("a name")?.1;
    let ticks = after_name.split(' ').skip(11).take(2).map(str::parse::<u64>);
    let ticks: u64 = ticks.sum::<Result<_, _>>()?;
    // USER_HZ is 100 on every Linux that this runs on.
    Ok(ticks as f64 / 100.0)
}

/// A watcher that reads what it is told.
fn watch(at: SocketAddr, ends: &Arc<AtomicBool>) -> Result<()> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    write!(stream, "GET /v1/stream?every_ms=1000 HTTP/1.0\r\nHost: walrus\r\n\r\n")?;
    let ends = Arc::clone(ends);
    thread::spawn(move || {
        let mut bytes = vec![0; 64 << 10];
        while !ends.load(Ordering::Relaxed) {
            if !matches!(stream.read(&mut bytes), Ok(1..)) {
                return;
            }
        }
    });
    Ok(())
}

/// A node that nobody writes to, with and without watchers, in turn.
fn watched(cluster: &Cluster, seconds: u64) -> Result<()> {
    let node = cluster.node(2);
    for round in 0..6 {
        let watchers = if round % 2 == 0 { 0 } else { WATCHERS };
        let ends = Arc::new(AtomicBool::new(false));
        for _ in 0..watchers {
            watch(node.admin_address(), &ends)?;
        }
        thread::sleep(Duration::from_secs(3));
        let (before, began) = (computed(node)?, Instant::now());
        thread::sleep(Duration::from_secs(seconds));
        let used = (computed(node)? - before) / began.elapsed().as_secs_f64();
        ends.store(true, Ordering::Relaxed);
        say(&json!({ "what": "watched", "watchers": watchers, "core_percent": used * 100.0 }))?;
        thread::sleep(Duration::from_secs(3));
    }
    Ok(())
}

fn main() -> Result<()> {
    let mut given = std::env::args().skip(1).map(|number| number.parse::<u64>());
    let mut next = |otherwise: u64| given.next().unwrap_or(Ok(otherwise));
    let (seconds, rounds, partitions) = (next(20)?, next(10)?, next(100)?);
    let folder = folder()?;
    let addresses = Addresses::free(3)?;
    let mut cluster = Cluster::start_at(folder.path(), addresses, &NodeSettings::default())?;
    let wide = Topics::one("wide", usize::try_from(partitions)?);
    topic::create(&cluster.client(), &wide, 3, &[])?;
    whole(&cluster, "wide", 3)?;
    watched(&cluster, seconds)?;
    let load = Load::start(&cluster, TOPIC, 3)?;
    load.until_more(2_000)?;
    costs(&cluster, seconds)?;
    failovers(&mut cluster, &load, usize::try_from(rounds)?)?;
    load.stop()?;
    Ok(())
}
