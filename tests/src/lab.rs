//! Machines of a test's own, as far as the network goes: a namespace each, joined by a switch.
//!
//! ```text
//!   test and its clients ── switch ──┬── node1   10.77.0.1
//!        10.77.0.254                 ├── node2   10.77.0.2
//!                                    └── node3   10.77.0.3
//! ```
//!
//! [`inside`] runs a test's body in a process of its own, which is root among user, network, mount
//! and process namespaces of its own. Nobody needs to be root for that, nothing of it is seen
//! outside, and when that process ends, however it does, the kernel ends every process in there
//! and takes everything down. It takes `unshare` and `nsenter` (util-linux) and `ip` (iproute2).
//!
//! What one machine sends another is cut by telling it a wrong hardware address: it is sent, and
//! nobody takes it. Neither side hears of an error, as when a cable is cut further away.

use std::{
    ffi::OsStr,
    fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr},
    process::{self, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::node::{Addresses, program};

/// Set where a test's body runs.
const INSIDE: &str = "WALRUS_TESTS_INSIDE";
/// The way round: these tests are left out, and counted.
const WITHOUT: &str = "WALRUS_TESTS_WITHOUT_NAMESPACES";
/// A file that is given a line for each test that was left out.
const LEFT_OUT: &str = "WALRUS_TESTS_LEFT_OUT";
/// The number of the test's own machine.
const OWN: u8 = 254;
/// A number that no machine has.
const NOBODY: u8 = 253;

/// Runs a test's body among namespaces of its own, where [`Lab::raise`] works. `programs` are
/// built before, for in there nothing else can be reached.
///
/// # Errors
/// When the body fails, and when there are no namespaces to be had.
#[expect(clippy::print_stdout, reason = "what the body tells is passed on")]
pub fn inside(test: &str, programs: &[&str], body: impl FnOnce() -> Result<()>) -> Result<()> {
    let (entered, done) = (format!("lab: {test} begins"), format!("lab: {test} is done"));
    if std::env::var_os(INSIDE).is_some() {
        println!("{entered}");
        end_with_whoever_began();
        body()?;
        println!("{done}");
        return Ok(());
    }
    if std::env::var_os(WITHOUT).is_some_and(|set| !set.is_empty()) {
        return leave_out(test);
    }
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "--net", "--mount", "--pid", "--fork", "--kill-child"])
        .arg("--")
        .arg(std::env::current_exe()?)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(INSIDE, "1");
    for name in programs {
        command.env(name.to_uppercase(), program(name)?);
    }
    let (output, from_both) = io::pipe()?;
    command.stdin(Stdio::piped()).stdout(from_both.try_clone()?).stderr(from_both);
    let mut child = command.spawn().map_err(no_namespaces)?;
    // Its ends of the pipe are to be the only ones.
    drop(command);
    let (mut has_entered, mut is_done) = (false, false);
    for line in BufReader::new(output).lines() {
        let line = line?;
        has_entered |= line.ends_with(&entered);
        is_done |= line.ends_with(&done);
        println!("  | {line}");
    }
    let status = child.wait()?;
    if !has_entered {
        return Err(no_namespaces(format!("unshare: {status}")));
    }
    ensure!(status.success() && is_done, "{test} failed inside its namespaces: {status}");
    Ok(())
}

fn no_namespaces(why: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "no network namespaces of this test's own: {why}\n  next: let this user make them (util-linux, \
         user.max_user_namespaces, no sandbox that forbids it), or set {WITHOUT}=1 to leave these \
         tests out"
    )
}

/// Ends this process, and all in its namespaces with it, when whoever began it is gone.
fn end_with_whoever_began() {
    thread::spawn(|| {
        // Nothing is sent: it ends when the other end does.
        drop(io::stdin().read_to_end(&mut Vec::new()));
        process::exit(1);
    });
}

/// Tells that a test was left out, past what captures a test's output.
fn leave_out(test: &str) -> Result<()> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed) + 1;
    let line = format!("left out: {test}, for {WITHOUT} is set\n");
    writeln!(io::stderr(), "{line}{count} left out so far in this program")?;
    if let Some(path) = std::env::var_os(LEFT_OUT).filter(|path| !path.is_empty()) {
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}

/// A machine of a lab.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Host {
    name: String,
    number: u8,
}

impl Host {
    /// What the others call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address.
    pub fn ip(&self) -> IpAddr {
        address(self.number).into()
    }

    /// The ports of a node on it.
    pub fn addresses(&self) -> Addresses {
        let at = |port| SocketAddr::new(self.ip(), port);
        Addresses { client: at(9091), peer: at(6001), admin: at(7071) }
    }

    /// A program that runs on it. Its process id is the program's own.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/run/netns/{}", self.name)).arg("--").arg(program);
        command
    }
}

/// Machines that reach each other, numbered from 1.
#[derive(Debug)]
pub struct Lab {
    hosts: Vec<Host>,
}

impl Lab {
    /// Machines of these names, which all of them and the test itself know.
    ///
    /// # Errors
    /// Outside of [`inside`], and when a tool is missing or refuses.
    pub fn raise(names: &[&str]) -> Result<Self> {
        ensure!(std::env::var_os(INSIDE).is_some(), "a lab is raised inside of namespaces");
        let hosts = names.iter().zip(1..);
        let hosts = hosts.map(|(name, number)| Host { name: (*name).to_owned(), number });
        let lab = Self { hosts: hosts.collect() };
        // Process ids are those of these namespaces, and names of namespaces are nobody else's.
        run("mount", "-t proc proc /proc")?;
        run("mount", "-t tmpfs tmpfs /run")?;
        ip("link set lo up")?;
        ip(&format!("link add switch address {} type bridge", hardware(OWN)))?;
        ip(&format!("addr add {}/24 dev switch", address(OWN)))?;
        ip("link set switch up")?;
        for host in &lab.hosts {
            lab.plug_in(host)?;
        }
        let mut names = format!("127.0.0.1 localhost\n{} outside\n", address(OWN));
        for Host { name, number } in &lab.hosts {
            names += &format!("{} {name}\n", address(*number));
        }
        fs::write("/run/hosts", names)?;
        run("mount", "--bind /run/hosts /etc/hosts")?;
        Ok(lab)
    }

    fn plug_in(&self, Host { name, number }: &Host) -> Result<()> {
        let hardware_of = hardware(*number);
        ip(&format!("netns add {name}"))?;
        let end = format!("peer name eth0 address {hardware_of} netns {name}");
        ip(&format!("link add {name} type veth {end}"))?;
        ip(&format!("link set {name} master switch up"))?;
        ip(&format!("-n {name} link set lo up"))?;
        ip(&format!("-n {name} addr add {}/24 dev eth0", address(*number)))?;
        ip(&format!("-n {name} link set eth0 up"))?;
        // Nobody asks for a hardware address: all are told, so that being told wrong is a cut.
        ip(&format!("neigh replace {} dev switch {}", address(*number), permanent(*number)))?;
        let others = self.hosts.iter().map(|other| other.number).filter(|other| other != number);
        for other in others.chain([OWN]) {
            tell(name, other, other)?;
        }
        Ok(())
    }

    /// All of them.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The machine of a node.
    ///
    /// # Panics
    /// When there is none.
    pub fn host(&self, node: i32) -> &Host {
        let of_node = |host: &&Host| i32::from(host.number) == node;
        self.hosts.iter().find(of_node).expect("the test made it")
    }

    /// From now on nothing that `from` sends comes to `to`. What `to` sends does come.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn cut(&self, from: i32, to: i32) -> Result<()> {
        tell(&self.host(from).name, self.host(to).number, NOBODY)
    }

    /// What `from` sends comes to `to` again.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn heal(&self, from: i32, to: i32) -> Result<()> {
        let to = self.host(to).number;
        tell(&self.host(from).name, to, to)
    }

    /// Every pair of machines, both ways.
    pub fn ways(&self) -> Vec<(i32, i32)> {
        let all = || self.hosts.iter().map(|host| i32::from(host.number));
        let pairs = all().flat_map(|from| all().map(move |to| (from, to)));
        pairs.filter(|(from, to)| from != to).collect()
    }

    /// Cuts every way for which `is_cut` says so, and heals all others.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn shape(&self, is_cut: impl Fn(i32, i32) -> bool) -> Result<()> {
        for (from, to) in self.ways() {
            if is_cut(from, to) { self.cut(from, to) } else { self.heal(from, to) }?;
        }
        Ok(())
    }

    /// Heals everything.
    ///
    /// # Errors
    /// When a tool refuses.
    pub fn heal_all(&self) -> Result<()> {
        self.shape(|_, _| false)
    }
}

fn address(number: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 77, 0, number)
}

fn hardware(number: u8) -> String {
    format!("02:00:0a:4d:00:{number:02x}")
}

fn permanent(number: u8) -> String {
    format!("lladdr {} nud permanent", hardware(number))
}

/// Tells a machine that `number` has the hardware address of `instead`.
fn tell(name: &str, number: u8, instead: u8) -> Result<()> {
    let told = permanent(instead);
    ip(&format!("-n {name} neigh replace {} dev eth0 {told}", address(number)))
}

fn ip(words: &str) -> Result<()> {
    run("ip", words)
}

/// Runs a tool of the system, which may lie where only root looks for it.
fn run(tool: &str, words: &str) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default() + ":/usr/sbin:/sbin";
    let output = Command::new(tool).args(words.split(' ')).env("PATH", path).output();
    let output = output.with_context(|| {
        format!("{tool} is missing; it comes with iproute2 (ip) or util-linux (mount, nsenter)")
    })?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        bail!("{tool} {words}: {}, {}", output.status, why.trim());
    }
    Ok(())
}
