//! One `walrusd` as a child process.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use walrus_load::client::Cluster;

/// How long a node may take to serve.
const READY_MAX: Duration = Duration::from_secs(30);

/// What is not the default.
#[derive(Debug, Clone, Default)]
pub struct NodeSettings {
    /// Environment variables.
    pub env: Vec<(String, String)>,
    /// Further flags.
    pub flags: Vec<String>,
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

/// A node's process, its folder and its ports. The ports stay the same over restarts.
#[derive(Debug)]
pub struct Node {
    data_dir: PathBuf,
    settings: NodeSettings,
    client: SocketAddr,
    peer: SocketAddr,
    admin: SocketAddr,
    child: Option<Child>,
}

impl Node {
    /// Starts a node and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot be built or started, or is not ready in time; its log is in the error.
    pub fn start(data_dir: &Path, settings: NodeSettings) -> Result<Self> {
        let [client, peer, admin] = free_addresses()?;
        let mut node =
            Self { data_dir: data_dir.into(), settings, client, peer, admin, child: None };
        node.spawn()?;
        node.wait_ready()?;
        Ok(node)
    }

    /// Starts the process again, on the same folder and ports.
    ///
    /// # Errors
    /// As [`Node::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.spawn()?;
        self.wait_ready()
    }

    fn spawn(&mut self) -> Result<()> {
        if self.child.is_some() {
            bail!("the node is running");
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = Command::new(walrusd()?)
            .args(["--node-id", "1"])
            .arg("--data-dir")
            .arg(&self.data_dir)
            .args(["--client-host", "127.0.0.1", "--client-port", &self.client.port().to_string()])
            .args(["--raft-host", "127.0.0.1", "--raft-port", &self.peer.port().to_string()])
            .args(["--admin-port", &self.admin.port().to_string()])
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

    fn wait_ready(&mut self) -> Result<()> {
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
        let pid = self.pid()?;
        let asked = Command::new("kill").args(["-TERM", &pid.to_string()]).status()?;
        if !asked.success() {
            bail!("kill -TERM {pid} failed");
        }
        self.ended()
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
        self.client.to_string()
    }

    /// For the load program.
    pub fn cluster(&self) -> Cluster {
        Cluster::at(self.bootstrap())
    }

    /// Where clients connect.
    pub fn client_address(&self) -> SocketAddr {
        self.client
    }

    /// Where operators connect.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
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
        let mut stream = TcpStream::connect_timeout(&self.admin, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: walrus\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status.context("not HTTP")?, body.to_owned()))
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

/// Three loopback addresses that are free now. They are taken together, so that they differ.
fn free_addresses() -> Result<[SocketAddr; 3]> {
    let listeners = [
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
        TcpListener::bind("127.0.0.1:0")?,
    ];
    let [first, second, third] = &listeners;
    Ok([first.local_addr()?, second.local_addr()?, third.local_addr()?])
}

/// The program: `WALRUSD`, or built once from this checkout in the profile of the test.
fn walrusd() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build().map_err(|why| format!("{why:#}")));
    built.clone().map_err(anyhow::Error::msg)
}

fn build() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("WALRUSD") {
        return Ok(path.into());
    }
    let test = std::env::current_exe()?;
    // …/<profile>/deps/<test>: the programs lie beside `deps`.
    let profile = test.parent().and_then(Path::parent).context("a test has a target folder")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked", "-p", "walrusd", "--bin", "walrusd"]);
    if profile.file_name().is_some_and(|name| name == "release") {
        cargo.arg("--release");
    }
    let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    if !status.success() {
        bail!("walrusd cannot be built");
    }
    Ok(profile.join("walrusd"))
}
