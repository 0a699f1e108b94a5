//! One `walrusd` as a child process.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    ops::Range,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use walrus_load::client::Cluster;

use crate::lab::Host;

/// How long a node may take to serve.
const READY_MAX: Duration = Duration::from_secs(30);

/// What is not the default.
#[derive(Debug, Clone, Default)]
pub struct NodeSettings {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Further flags.
    pub flags: Vec<String>,
    /// A program that becomes the node: it is given the node's command line.
    pub through: Option<PathBuf>,
}

impl NodeSettings {
    /// With an environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.env.push((name.to_owned(), value.to_string()));
        self
    }

    /// With a flag and its value.
    #[must_use]
    pub fn flag(mut self, name: &str, value: impl ToString) -> Self {
        self.flags.extend([name.to_owned(), value.to_string()]);
        self
    }
}

/// Where a node listens, the same over its restarts.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    /// For clients.
    pub client: SocketAddr,
    /// For other nodes.
    pub peer: SocketAddr,
    /// For operators.
    pub admin: SocketAddr,
}

impl Addresses {
    /// Loopback addresses for so many nodes, all free now and all different: they are taken
    /// together.
    ///
    /// # Errors
    /// When there are none left.
    pub fn free(nodes: usize) -> Result<Vec<Self>> {
        let taken: Vec<TcpListener> = (0..3 * nodes).map(|_| listener()).collect::<Result<_>>()?;
        let addresses = taken.iter().map(TcpListener::local_addr);
        let addresses: Vec<SocketAddr> = addresses.collect::<io::Result<_>>()?;
        let of_node = |three: &[SocketAddr]| match three {
            [client, peer, admin] => Self { client: *client, peer: *peer, admin: *admin },
            _ => unreachable!("three for each node"),
        };
        Ok(addresses.chunks(3).map(of_node).collect())
    }
}

/// Ports of nodes. The system gives others, from 32768 on, to whoever connects: a client of another
/// test would have one between the look at it and the node's own start, or while a node is down.
const PORTS: Range<u16> = 10_240..32_000;

/// A listener at a port that nobody else of this process was given before the others ran out.
fn listener() -> Result<TcpListener> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let count = u32::from(PORTS.end - PORTS.start);
    // Programs that run side by side begin at different places.
    let begin = std::process::id().wrapping_mul(331) % count;
    for _ in 0..count {
        let at = (begin + NEXT.fetch_add(1, Ordering::Relaxed) % count) % count;
        let port = PORTS.start + u16::try_from(at)?;
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(listener) => return Ok(listener),
            Err(why) if why.kind() == io::ErrorKind::AddrInUse => {}
            Err(why) => return Err(why.into()),
        }
    }
    bail!("no port of {PORTS:?} is free")
}

/// A node's process, its folder and its ports. The ports stay the same over restarts.
#[derive(Debug)]
pub struct Node {
    id: i32,
    data_dir: PathBuf,
    settings: NodeSettings,
    addresses: Addresses,
    /// The machine that it runs on; `None` is this one.
    host: Option<Host>,
    child: Option<Child>,
    /// Whether it was stopped where it is.
    frozen: AtomicBool,
    /// What its earlier processes had counted when they were ended.
    counted: BTreeMap<String, u64>,
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be built or started, or is not ready in time; its log is in the error.
    pub fn start(data_dir: &Path, settings: NodeSettings) -> Result<Self> {
        let addresses = Addresses::free(1)?.remove(0);
        let mut node = Self::new(1, data_dir, addresses, settings);
        node.restart()?;
        Ok(node)
    }

    /// A node that does not run yet.
    pub fn new(id: i32, data_dir: &Path, addresses: Addresses, settings: NodeSettings) -> Self {
        Self {
            id,
            data_dir: data_dir.into(),
            settings,
            addresses,
            host: None,
            child: None,
            frozen: AtomicBool::new(false),
            counted: BTreeMap::new(),
        }
    }

    /// The same on a machine of a lab.
    #[must_use]
    pub fn on(mut self, host: Host) -> Self {
        self.host = Some(host);
        self
    }

    /// Its number.
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Starts the process, the first time or again, on the same folder and ports.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    /// Starts the process and waits for nothing.
    ///
    /// # Errors
    /// When it runs, or cannot be built or started.
    pub fn spawn(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the node is running");
        }
        let Addresses { client, peer, admin } = self.addresses;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let walrusd = program("walrusd")?;
        let first = self.settings.through.as_ref().unwrap_or(&walrusd);
        let mut command = match &self.host {
            Some(host) => host.command(first),
            None => Command::new(first),
        };
        if self.settings.through.is_some() {
            command.arg(&walrusd);
        }
        let child = command
            .args(["--node-id", &self.id.to_string()])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(listening("client", client))
            .args(listening("raft", peer))
            .args(listening("admin", admin))
            .args(&self.settings.flags)
            .envs(self.settings.env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("walrusd did not start")?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// When it ends or does not serve in time; its log is in the error.
    pub fn wait_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < READY_MAX {
            if let Some(status) = self.child()?.try_wait()? {
                self.child = None;
                bail!("walrusd ended with {status}:\n{}", self.log());
            }
            if self.admin_get("/readyz").is_ok_and(|(status, _)| status == 200) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("walrusd was not ready within {READY_MAX:?}:\n{}", self.log())
    }

    fn child(&mut self) -> Result<&mut Child> {
        self.child.as_mut().context("the node is not running")
    }

    /// Its process id.
    ///
    /// # Errors
    /// When it is not running.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.child.as_ref().context("the node is not running")?.id())
    }

    /// Ends the process as a crash would.
    ///
    /// # Errors
    /// When it was not running.
    pub fn kill(&mut self) -> Result<()> {
        self.keep_counts();
        let child = self.child()?;
        child.kill()?;
        child.wait()?;
        self.child = None;
        Ok(())
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn terminate(&mut self) -> Result<ExitStatus> {
        self.keep_counts();
        self.signal("TERM")?;
        self.ended()
    }

    /// Stops the process where it is (SIGSTOP): it does nothing, and nobody is told.
    ///
    /// # Errors
    /// When it is not running.
    pub fn freeze(&self) -> Result<()> {
        self.frozen.store(true, Ordering::Relaxed);
        self.signal("STOP")
    }

    /// Lets a frozen process go on (SIGCONT).
    ///
    /// # Errors
    /// When it is not running.
    pub fn thaw(&self) -> Result<()> {
        self.signal("CONT")?;
        self.frozen.store(false, Ordering::Relaxed);
        Ok(())
    }

    fn signal(&self, signal: &str) -> Result<()> {
        let pid = self.pid()?;
        let asked = Command::new("kill").arg(format!("-{signal}")).arg(pid.to_string()).status()?;
        if !asked.success() {
            bail!("kill -{signal} {pid} failed");
        }
        Ok(())
    }

    /// Whether the process was started and has not been ended by the test.
    pub fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// Waits until the process has ended by itself.
    ///
    /// # Errors
    /// When it does not end within half a minute.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < READY_MAX {
            if let Some(status) = self.child()?.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!("walrusd did not end:\n{}", self.log())
    }

    /// For Kafka clients: host:port.
    pub fn bootstrap(&self) -> String {
        self.addresses.client.to_string()
    }

    /// For the load program.
    pub fn cluster(&self) -> Cluster {
        Cluster::at(self.bootstrap())
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.addresses.client
    }

    /// Where other nodes connect.
    pub fn peer_address(&self) -> SocketAddr {
        self.addresses.peer
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.addresses.admin
    }

    /// Its folder.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// A GET on the admin port: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn admin_get(&self, path: &str) -> Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.addresses.admin, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: walrus\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status.context("not HTTP")?, body.to_owned()))
    }

    /// One of the numbers that it tells to Prometheus, without labels.
    ///
    /// # Errors
    /// When it does not answer, or has no such number.
    pub fn metric(&self, name: &str) -> Result<u64> {
        let (_, page) = self.admin_get("/metrics")?;
        let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let number = line.with_context(|| format!("node {} tells no {name}", self.id))?;
        number.trim().parse().with_context(|| format!("{name} {number}"))
    }

    /// A counter, with what its earlier processes had counted.
    ///
    /// # Errors
    /// As [`Node::metric`].
    pub fn counted(&self, name: &str) -> Result<u64> {
        Ok(self.metric(name)? + self.counted.get(name).copied().unwrap_or(0))
    }

    /// Keeps what a process has counted that is about to end.
    fn keep_counts(&mut self) {
        if self.frozen.swap(false, Ordering::Relaxed) {
            return;
        }
        let Ok((_, page)) = self.admin_get("/metrics") else { return };
        for line in page.lines() {
            if let Some((name, number)) = line.split_once(' ')
                && name.ends_with("_total")
                && let Ok(number) = number.trim().parse::<u64>()
            {
                *self.counted.entry(name.to_owned()).or_default() += number;
            }
        }
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.data_dir.with_extension("log")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is gone after this.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The flags of a port.
fn listening(port: &str, at: SocketAddr) -> [String; 4] {
    let (host, number) = (at.ip().to_string(), at.port().to_string());
    [format!("--{port}-host"), host, format!("--{port}-port"), number]
}

/// A program of this checkout: where its name in capitals says (`WALRUSD`), or built once in the
/// profile of the test.
///
/// # Errors
/// When it cannot be built.
pub fn program(name: &str) -> Result<PathBuf> {
    static BUILT: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());
    // Whoever panicked has put in nothing.
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = built.get(name) {
        return Ok(path.clone());
    }
    let path = build(name)?;
    built.insert(name.to_owned(), path.clone());
    Ok(path)
}

fn build(name: &str) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(name.to_uppercase()) {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    // …/<profile>/deps/<test>: the programs lie beside `deps`.
    let profile = test.parent().and_then(Path::parent).context("a test has a target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "-p", name, "--bin", name]);
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if !status.success() {
        bail!("{name} cannot be built");
    }
    Ok(profile.join(name))
}
