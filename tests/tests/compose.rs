//! `docker-compose.yml` without Docker: every service's command line and health check as they stand
//! in the file, on a machine of that name, with a folder of its own where its volume would be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use serde_yaml::Value;
use walrus_tests::{
    Node, NodeSettings, folder,
    lab::{self, Host, Lab},
    load::until,
    program,
    text::TextClient,
};

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

fn compose() -> Result<Value> {
    let text = fs::read_to_string(Path::new(ROOT).join("docker-compose.yml"))?;
    let mut compose: Value = serde_yaml::from_str(&text)?;
    compose.apply_merge()?;
    Ok(compose)
}

/// A service, as far as this needs it.
struct Service {
    name: String,
    command: Vec<String>,
    env: BTreeMap<String, String>,
    health: Vec<String>,
    /// Where its volume is.
    volume: String,
    on_demand: bool,
}

/// As compose does where no variable is set: `${NAME:-default}` is the default.
fn interpolated(text: &str) -> Result<String> {
    let Some((before, rest)) = text.split_once("${") else { return Ok(text.to_owned()) };
    let (variable, after) = rest.split_once('}').context("a variable ends")?;
    let (_, default) = variable.split_once(":-").context("every variable has a default")?;
    Ok(format!("{before}{default}{}", interpolated(after)?))
}

fn words(list: &Value) -> Result<Vec<String>> {
    let list = list.as_sequence().context("a list")?;
    list.iter().map(|word| interpolated(word.as_str().context("a word")?)).collect()
}

impl Service {
    fn read(name: &Value, service: &Value) -> Result<Self> {
        let mut env = BTreeMap::new();
        for (key, value) in service["environment"].as_mapping().into_iter().flatten() {
            let (key, value) = key.as_str().zip(value.as_str()).context("a variable")?;
            env.insert(key.to_owned(), interpolated(value)?);
        }
        let mut health = words(&service["healthcheck"]["test"])?;
        ensure!(health.remove(0) == "CMD", "a health check needs no shell");
        let volumes = words(&service["volumes"])?;
        let [volume] = volumes.as_slice() else { bail!("one volume, not {volumes:?}") };
        let (_, volume) = volume.split_once(':').context("a place")?;
        let name = name.as_str().context("a name")?.to_owned();
        ensure!(service["hostname"].as_str() == Some(name.as_str()), "{name} is called otherwise");
        Ok(Self {
            name,
            command: words(&service["command"])?,
            env,
            health,
            volume: volume.to_owned(),
            on_demand: !service["profiles"].is_null(),
        })
    }

    fn all() -> Result<Vec<Self>> {
        let compose = compose()?;
        let services = compose["services"].as_mapping().context("services")?;
        services.iter().map(|(name, service)| Self::read(name, service)).collect()
    }
}

/// A running service.
struct Container<'a> {
    service: &'a Service,
    host: &'a Host,
    programs: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl<'a> Container<'a> {
    /// Starts it as its command line says, with smaller buffers.
    fn start(service: &'a Service, lab: &'a Lab, folder: &Path) -> Result<Self> {
        let host = lab.hosts().iter().find(|host| host.name() == service.name);
        let host = host.context("a machine for each service")?;
        let programs = program("walrusd")?.parent().context("a folder")?.to_owned();
        let data = folder.join(&service.name);
        fs::create_dir(&data)?;
        let small = folder.join("small.yaml");
        fs::write(&small, "storage:\n  wal-ring-bytes: 64MiB\n  hot-tail-bytes: 32MiB\n")?;
        let log = folder.join(format!("{}.log", service.name));
        let mut container = Self { service, host, programs, log, child: None };
        let out = File::create(&container.log)?;
        // The folder is mounted where the volume would be, on an empty one that nobody else sees.
        let place = Path::new(&service.volume);
        let script = "mount -t tmpfs tmpfs \"$1\" && mkdir \"$2\" && mount --bind \"$3\" \"$2\" && \
                      shift 3 && exec \"$@\"";
        let mut command = container.command("unshare");
        command
            .args(["--mount", "--", "sh", "-c", script, "sh"])
            .arg(place.parent().context("not the root")?)
            .arg(place)
            .arg(&data)
            .args(entrypoint()?)
            .args(&service.command)
            .arg("--config")
            .arg(&small);
        let out = (out.try_clone()?, out);
        container.child = Some(command.stdin(Stdio::null()).stdout(out.0).stderr(out.1).spawn()?);
        Ok(container)
    }

    /// A command in it, which has its variables and no others.
    fn command(&self, program: &str) -> Command {
        let mut command = self.host.command(program);
        let path = format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", self.programs.display());
        command.env_clear().env("PATH", path).envs(&self.service.env).stdin(Stdio::null());
        command
    }

    /// What a program says in it, when all is well.
    fn run(&self, words: &[&str]) -> Result<String> {
        let output = self.command(words[0]).args(&words[1..]).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{words:?}: {}\n{said}{why}", output.status);
        Ok(said)
    }

    fn is_healthy(&self) -> bool {
        let words: Vec<&str> = self.service.health.iter().map(String::as_str).collect();
        self.run(&words).is_ok()
    }

    fn wait_until_healthy(&self) -> Result<()> {
        until("a health check that passes", || self.is_healthy())
            .map(drop)
            .with_context(|| fs::read_to_string(&self.log).unwrap_or_default())
    }

    /// Stops it as Docker would.
    fn stop(mut self) -> Result<()> {
        let mut child = self.child.take().context("it runs")?;
        let asked = Command::new("kill").args(["-TERM", &child.id().to_string()]).status()?;
        ensure!(asked.success());
        let began = Instant::now();
        let status = loop {
            match child.try_wait()? {
                Some(status) => break status,
                None if began.elapsed() < Duration::from_secs(30) => {}
                None => bail!("{} did not stop in time", self.service.name),
            }
            thread::sleep(Duration::from_millis(10));
        };
        ensure!(
            status.success(),
            "{} ended with {status}, signal {:?}",
            self.service.name,
            status.signal()
        );
        Ok(())
    }
}

impl Drop for Container<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself; either way it is gone after this.
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// The lines of the Dockerfile, comments and continuations aside.
fn dockerfile() -> Result<Vec<String>> {
    let text = fs::read_to_string(Path::new(ROOT).join("Dockerfile"))?.replace("\\\n", " ");
    Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
}

fn entrypoint() -> Result<Vec<String>> {
    let lines = dockerfile()?;
    let list = lines.iter().find_map(|line| line.strip_prefix("ENTRYPOINT "));
    Ok(serde_json::from_str(list.context("an ENTRYPOINT")?)?)
}

#[test]
fn every_service_of_the_compose_file_becomes_healthy_and_the_fourth_joins() -> Result<()> {
    let test = "every_service_of_the_compose_file_becomes_healthy_and_the_fourth_joins";
    lab::inside(test, &["walrusd", "walrusctl"], || {
        let services = Service::all()?;
        let folder = folder()?;
        let names: Vec<&str> = services.iter().map(|service| service.name.as_str()).collect();
        let lab = Lab::raise(&names)?;
        let start = |service| Container::start(service, &lab, folder.path());
        let first = services.iter().filter(|service| !service.on_demand);
        let first: Vec<Container<'_>> = first.map(start).collect::<Result<_>>()?;
        ensure!(first.len() == 3, "three nodes form the cluster");
        for container in &first {
            container.wait_until_healthy()?;
        }
        first[0].run(&["walrusctl", "cluster", "health", "--wait"])?;

        let fourth = services.iter().find(|service| service.on_demand).context("a fourth")?;
        let absent = Container {
            service: fourth,
            host: lab.host(4),
            programs: first[0].programs.clone(),
            log: first[0].log.clone(),
            child: None,
        };
        ensure!(!absent.is_healthy(), "a health check passes where nothing runs");
        let fourth = start(fourth)?;
        fourth.wait_until_healthy()?;
        first[0].run(&["walrusctl", "cluster", "health", "--wait"])?;
        let nodes = fourth.run(&["walrusctl", "node", "list", "-o", "json"])?;
        let nodes: serde_json::Value = serde_json::from_str(&nodes)?;
        let nodes = nodes["items"].as_array().context("a list")?;
        ensure!(
            nodes.len() == 4 && nodes.iter().all(|node| node["state"] == "active"),
            "{nodes:?}"
        );

        let ask = |container: &Container<'_>, words: &str| {
            let port = container.service.name.replace("node", "909").parse()?;
            TextClient::connect((container.host.ip(), port).into())?.ask(words.as_bytes())
        };
        let all: Vec<Container<'_>> = first.into_iter().chain([fourth]).collect();
        ensure!(ask(&all[1], "REGISTER kept")? == b"OK");
        let answers = |words: &str, expected: &[u8]| {
            all.iter().any(|at| ask(at, words).is_ok_and(|answer| answer == expected))
        };
        ensure!(answers("PUT kept by all", b"OK"), "nobody takes an entry");
        until("the entry", || answers("GET kept", b"OK by all"))?;
        for container in all {
            container.stop()?;
        }
        Ok(())
    })
}

#[test]
fn no_container_is_privileged_or_root() -> Result<()> {
    let compose = compose()?;
    let forbidden = ["privileged", "cap_add", "network_mode", "pid", "ipc", "user", "devices"];
    for (name, service) in compose["services"].as_mapping().context("services")? {
        for key in forbidden {
            ensure!(service[key].is_null(), "{name:?} has {key}");
        }
        ensure!(words(&service["cap_drop"])? == ["ALL"], "{name:?} keeps capabilities");
        let options = words(&service["security_opt"])?;
        ensure!(options == ["no-new-privileges:true"], "{name:?}: {options:?}");
        // What is not authenticated is not published to other machines.
        for port in words(&service["ports"])? {
            let is_for_clients = port.starts_with("909");
            ensure!(is_for_clients || port.starts_with("127.0.0.1:707"), "{name:?}: {port}");
        }
    }
    let lines = dockerfile()?;
    let stage = lines.iter().rposition(|line| line.starts_with("FROM ")).context("a FROM")?;
    let users: Vec<&str> =
        lines[stage..].iter().filter_map(|line| line.strip_prefix("USER ")).collect();
    ensure!(users == ["walrus"], "{users:?}");
    Ok(())
}

#[test]
fn the_names_that_users_know_are_there() -> Result<()> {
    let compose = compose()?;
    let services = compose["services"].as_mapping().context("services")?;
    for (number, (name, service)) in (1..).zip(services) {
        ensure!(name.as_str() == Some(format!("node{number}").as_str()));
        let container = format!("walrus-{number}");
        ensure!(service["container_name"].as_str() == Some(container.as_str()));
        ensure!(service["image"].as_str() == Some("distributed-walrus-node"));
        ensure!(words(&service["networks"])? == ["walrus-net"]);
        let port = format!("909{number}:909{number}");
        ensure!(words(&service["ports"])?.contains(&port), "{port} is not published");
    }
    ensure!(words(&compose["services"]["node4"]["profiles"])? == ["hotjoin"]);

    let makefile = fs::read_to_string(Path::new(ROOT).join("Makefile"))?;
    let targets: BTreeSet<&str> = makefile
        .lines()
        .filter(|line| !line.starts_with(['\t', '#', '.']) && !line.contains('='))
        .filter_map(|line| line.split_once(':'))
        .flat_map(|(targets, _)| targets.split_whitespace())
        .collect();
    let known = "cluster-bootstrap cluster-up cluster-down cluster-restart cluster-logs cluster-clean \
                 cluster-status cluster-hotjoin cluster-test-logs cluster-test-rollover \
                 cluster-test-resilience cluster-test-recovery cluster-test-stress \
                 cluster-test-multi-topic test";
    for target in known.split_whitespace() {
        ensure!(targets.contains(target), "the Makefile has no {target}: {targets:?}");
    }
    Ok(())
}

/// Runs a program to which io_uring is refused, as the default profile of containers does.
const REFUSE_IO_URING: &str = r#"
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>
int main(int argc, char **argv) {
    struct sock_filter rules[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = { sizeof rules / sizeof *rules, rules };
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter)) {
        perror("seccomp");
        return 1;
    }
    execv(argv[1], argv + 1);
    perror(argv[1]);
    return 1;
}
"#;

#[test]
fn a_node_whose_container_refuses_io_uring_says_so_and_writes_without_it() -> Result<()> {
    let folder = folder()?;
    let (source, refuses) = (folder.path().join("refuses.c"), folder.path().join("refuses"));
    fs::write(&source, REFUSE_IO_URING)?;
    let built = Command::new("cc").arg("-o").arg(&refuses).arg(&source).status()?;
    ensure!(built.success(), "cc: {built}");
    let settings = NodeSettings { through: Some(refuses), ..NodeSettings::default() };
    let mut node = Node::start(&folder.path().join("data"), settings)?;
    let mut client = TextClient::connect(node.client_address())?;
    ensure!(client.ask(b"REGISTER kept")? == b"OK" && client.ask(b"PUT kept it is")? == b"OK");
    node.kill()?;
    node.restart()?;
    let mut client = TextClient::connect(node.client_address())?;
    ensure!(client.ask(b"GET kept")? == b"OK it is");
    let log = node.log();
    let said = log.lines().filter(|line| line.contains("no io_uring here")).count();
    ensure!(said == 2, "it is said once at each start:\n{log}");
    ensure!(log.contains("pwrite+fdatasync"), "{log}");
    Ok(())
}
