//! A made-up cluster behind the admin API of three nodes, so that a console is measured alone:
//! `cargo run --profile dist -p walrus-tui --example served -- 10000`
//!
//! It writes where the first node listens, and then lives a second each second, in which partitions
//! roll and no node dies: snapshots, what changed in them, events, vitals, chains and groups are told as nodes tell them. `GET /cost` says
//! what that took of each node: requests, and bytes that were sent. It ends when its input does.

use std::{
    collections::VecDeque,
    io::{self, BufRead as _, BufReader, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use serde::Serialize;
use walrus_admin::{
    ApiError, Code, Document, ErrorDocument, Kind,
    event::{Event, EventList, derive},
    snapshot::{LONG_EVERY_MS, NodeVitals, Snapshot, VitalsList},
};
use walrus_tui::{
    model::PartitionName,
    source::{
        Also, Told, record,
        simulated::{STEP_MS, Simulated, Size},
    },
};
use walrus_types::{NodeId, PartitionIndex};

const NODES: usize = 3;
/// Versions of which a node can tell what changed since.
const REMEMBERED_MAX: usize = 64;
/// Events that a node keeps.
const EVENTS_MAX: usize = 500;

/// What one node was asked.
#[derive(Default)]
struct Cost {
    requests: AtomicU64,
    bytes: AtomicU64,
}

/// The cluster, and what of it is remembered.
struct Cluster {
    simulated: Simulated,
    /// The newest last, one for each second.
    snapshots: VecDeque<Arc<Snapshot>>,
    events: VecDeque<Event>,
    seconds: u64,
}

struct Stage {
    cluster: Mutex<Cluster>,
    goes_on: Condvar,
    admin: [SocketAddr; NODES],
    costs: [Cost; NODES],
}

impl Stage {
    fn cluster(&self) -> MutexGuard<'_, Cluster> {
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cluster as it is now, with the addresses that are served here.
    fn snapshot(&self, cluster: &Cluster) -> Arc<Snapshot> {
        let mut snapshot = cluster.simulated.snapshot();
        for (entry, admin) in snapshot.nodes.iter_mut().zip(self.admin) {
            entry.node.addresses.admin = admin.to_string();
        }
        Arc::new(snapshot)
    }

    /// A second later.
    fn step(&self) {
        let mut cluster = self.cluster();
        cluster.simulated.step();
        let now = self.snapshot(&cluster);
        if let Some(before) = cluster.snapshots.back() {
            let new = derive::between(before, &now);
            cluster.events.extend(new);
        }
        let many = cluster.events.len().saturating_sub(EVENTS_MAX);
        cluster.events.drain(..many);
        if cluster.snapshots.len() == REMEMBERED_MAX {
            cluster.snapshots.pop_front();
        }
        cluster.snapshots.push_back(now);
        cluster.seconds += 1;
        drop(cluster);
        self.goes_on.notify_all();
    }

    /// Waits for a second after `seen`: which one it is, and the cluster then.
    fn after(&self, seen: u64) -> (u64, Arc<Snapshot>) {
        let cluster = self.cluster();
        let is_old = |cluster: &mut Cluster| cluster.seconds <= seen;
        let waited = self.goes_on.wait_while(cluster, is_old);
        let cluster = waited.unwrap_or_else(PoisonError::into_inner);
        (cluster.seconds, newest(&cluster))
    }

    /// What changed since a version; all where that is not remembered.
    fn since(&self, version: Option<u64>) -> (Arc<Snapshot>, Option<Snapshot>) {
        let cluster = self.cluster();
        let now = newest(&cluster);
        let is_it = |one: &&Arc<Snapshot>| Some(one.metadata_version) == version;
        let before = cluster.snapshots.iter().rev().find(is_it).cloned();
        drop(cluster);
        let delta = before.and_then(|before| record::between(&before, &now));
        (now, delta)
    }
}

fn newest(cluster: &Cluster) -> Arc<Snapshot> {
    Arc::clone(cluster.snapshots.back().expect("there is one from the beginning on"))
}

/// A connection, whose bytes are counted.
struct Sent<'a> {
    stream: TcpStream,
    cost: &'a Cost,
}

impl Write for Sent<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.stream.write(bytes)?;
        self.cost.bytes.fetch_add(u64::try_from(sent).unwrap_or(0), Ordering::Relaxed);
        Ok(sent)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// What was asked: the path, what stands behind `?`, and the version after which to go on.
struct Asked {
    path: String,
    query: String,
    after: Option<u64>,
}

fn read(stream: &TcpStream) -> io::Result<Asked> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let target = first.split(' ').nth(1).unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut after = None;
    for line in lines {
        let line = line?.to_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(version) = line.strip_prefix("last-event-id:") {
            after = version.trim().parse().ok();
        }
    }
    Ok(Asked { path: path.to_owned(), query: query.to_owned(), after })
}

fn answer(out: &mut Sent<'_>, status: &str, document: &impl Serialize) -> io::Result<()> {
    let body = serde_json::to_vec(document)?;
    let length = body.len();
    write!(
        out,
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n"
    )?;
    out.write_all(&body)
}

fn tell<T: Kind + Serialize>(out: &mut Sent<'_>, told: Result<&T, String>) -> io::Result<()> {
    match told {
        Ok(told) => answer(out, "200 OK", &Document::of(told)),
        Err(why) => {
            let error = ApiError::new(Code::NotFound, why);
            answer(out, "404 Not Found", &ErrorDocument { error, routes: Vec::new() })
        }
    }
}

fn frame<T: Kind + Serialize>(name: &str, id: Option<u64>, told: &T) -> io::Result<Vec<u8>> {
    let id = id.map(|id| format!("\nid: {id}")).unwrap_or_default();
    let mut frame = format!("event: {name}{id}\ndata: ").into_bytes();
    serde_json::to_writer(&mut frame, &Document::of(told))?;
    frame.extend_from_slice(b"\n\n");
    Ok(frame)
}

fn vitals(snapshot: &Snapshot) -> VitalsList {
    let items = snapshot.nodes.iter().map(|entry| NodeVitals {
        node: entry.node.node,
        vitals: entry.vitals.clone(),
        vitals_age_ms: entry.vitals_age_ms,
        silent: entry.silent.clone(),
    });
    VitalsList {
        answered_by: snapshot.answered_by,
        metadata_version: snapshot.metadata_version,
        at_ms: snapshot.at_ms,
        items: items.collect(),
    }
}

fn events(snapshot: &Snapshot, items: Vec<Event>) -> EventList {
    EventList {
        answered_by: snapshot.answered_by,
        metadata_version: snapshot.metadata_version,
        truncated: false,
        items,
        next: None,
    }
}

/// A message is one piece of the answer, and sent at once.
fn piece(out: &mut Sent<'_>, bytes: &[u8]) -> io::Result<()> {
    let mut piece = format!("{:x}\r\n", bytes.len()).into_bytes();
    piece.extend_from_slice(bytes);
    piece.extend_from_slice(b"\r\n");
    out.write_all(&piece)
}

fn stream(stage: &Stage, out: &mut Sent<'_>, after: Option<u64>) -> io::Result<()> {
    out.write_all(
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    )?;
    let (now, delta) = stage.since(after);
    let mut known = now.metadata_version;
    piece(out, &frame("snapshot", Some(known), delta.as_ref().unwrap_or(&now))?)?;
    let mut before = now;
    let mut seen = stage.cluster().seconds;
    loop {
        let (second, now) = stage.after(seen);
        seen = second;
        let in_full = (second * STEP_MS).is_multiple_of(LONG_EVERY_MS);
        if now.metadata_version == known {
            let told = vitals(&now);
            let told = if in_full { told } else { told.in_short() };
            piece(out, &frame("vitals", None, &told)?)?;
        } else {
            let new = derive::between(&before, &now);
            piece(out, &frame("events", None, &events(&now, new))?)?;
            let told = record::between(&before, &now).unwrap_or_else(|| Snapshot::clone(&now));
            let told = if in_full { told } else { told.in_short() };
            known = now.metadata_version;
            piece(out, &frame("snapshot", Some(known), &told)?)?;
        }
        before = now;
    }
}

fn also(stage: &Stage, out: &mut Sent<'_>, wanted: &Also) -> io::Result<()> {
    let told = stage.cluster().simulated.tell(wanted);
    match &told {
        Told::Chain { chain, .. } => tell(out, chain.as_deref().map_err(Clone::clone)),
        Told::Groups(groups) => tell(out, groups.as_deref().map_err(Clone::clone)),
        Told::Group { group, .. } => tell(out, group.as_deref().map_err(Clone::clone)),
        _ => Ok(()),
    }
}

fn costs(stage: &Stage) -> serde_json::Value {
    let of = |cost: &Cost| {
        serde_json::json!({
            "requests": cost.requests.load(Ordering::Relaxed),
            "bytes": cost.bytes.load(Ordering::Relaxed),
        })
    };
    stage.costs.iter().map(of).collect()
}

fn serve(stage: &Stage, node: usize, stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let asked = read(&stream)?;
    let cost = &stage.costs[node];
    if asked.path == "/cost" {
        let mut out = Sent { stream, cost: &Cost::default() };
        return answer(&mut out, "200 OK", &costs(stage));
    }
    cost.requests.fetch_add(1, Ordering::Relaxed);
    let mut out = Sent { stream, cost };
    let parts: Vec<&str> = asked.path.split('/').skip(2).collect();
    match parts[..] {
        ["snapshot"] => {
            let since = asked.query.strip_prefix("since=").and_then(|since| since.parse().ok());
            let (now, delta) = stage.since(since);
            tell(&mut out, Ok(delta.as_ref().unwrap_or(&now)))
        }
        ["stream"] => self::stream(stage, &mut out, asked.after),
        ["events"] => {
            let cluster = stage.cluster();
            let kept = cluster.events.iter().cloned().collect();
            let told = events(&newest(&cluster), kept);
            drop(cluster);
            tell(&mut out, Ok(&told))
        }
        ["groups"] => also(stage, &mut out, &Also::Groups),
        ["groups", name] => also(stage, &mut out, &Also::Group(name.to_owned())),
        ["topics", topic, "partitions", partition, "segments"] => {
            let partition = PartitionIndex(partition.parse().unwrap_or(-1));
            let name = PartitionName { topic: topic.to_owned(), partition };
            also(stage, &mut out, &Also::Chain(name))
        }
        _ => tell::<Snapshot>(&mut out, Err(format!("{} is not served here", asked.path))),
    }
}

fn listen(stage: &Arc<Stage>, node: usize, listener: &TcpListener) -> io::Result<()> {
    loop {
        let (stream, _) = listener.accept()?;
        let stage = Arc::clone(stage);
        // Who asked may be gone before it was answered.
        drop(thread::Builder::new().spawn(move || drop(serve(&stage, node, stream)))?);
    }
}

fn main() -> io::Result<()> {
    let partitions = std::env::args().nth(1).and_then(|given| given.parse().ok()).unwrap_or(100);
    let listeners: Vec<TcpListener> =
        (0..NODES).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<io::Result<_>>()?;
    let admin: Vec<SocketAddr> =
        listeners.iter().map(TcpListener::local_addr).collect::<io::Result<_>>()?;
    let cluster = Cluster {
        simulated: Simulated::new(7, Size { nodes: NODES, partitions }).calm(),
        snapshots: VecDeque::new(),
        events: VecDeque::new(),
        seconds: 0,
    };
    let stage = Arc::new(Stage {
        cluster: Mutex::new(cluster),
        goes_on: Condvar::new(),
        admin: [admin[0], admin[1], admin[2]],
        costs: Default::default(),
    });
    stage.step();
    for (node, listener) in listeners.into_iter().enumerate() {
        let stage = Arc::clone(&stage);
        drop(thread::Builder::new().spawn(move || drop(listen(&stage, node, &listener)))?);
    }
    let first = NodeId(1);
    writeln!(io::stdout(), "{first} of {partitions} partitions listens on {}", admin[0])?;
    let goes_on = Arc::clone(&stage);
    drop(thread::Builder::new().spawn(move || {
        loop {
            thread::sleep(Duration::from_millis(STEP_MS));
            goes_on.step();
        }
    })?);
    io::copy(&mut io::stdin(), &mut io::sink()).map(drop)
}
