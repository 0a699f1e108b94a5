"""Starts and stops the brokers under comparison: Kafka from Maven's jars, Walrus from this tree.
Three of a kind as one cluster are `cluster.py`'s.

Each broker is one process on loopback with a data folder of its own, ended by its process id and
by nothing else. Kafka runs as its own scripts would run it: KRaft, 1 GiB heap, G1.
"""

import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time
import uuid
import base64

import probe

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CACHE = HERE / "cache"

JVM_FLAGS = [
    "-Xms1G", "-Xmx1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35", "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
]

SERVER_PROPERTIES = """\
process.roles=broker,controller
node.id={number}
{quorum}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{client},CONTROLLER://127.0.0.1:{controller}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs={data}
num.partitions=4
default.replication.factor={copies}
offsets.topic.replication.factor={copies}
transaction.state.log.replication.factor={copies}
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor={copies}
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.segment.delete.delay.ms=1000
"""


def kafka_version():
    text = (HERE / "pom.xml").read_text()
    return text.split("<kafka.version>")[1].split("<")[0]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def kafka_jars():
    """The folder with Kafka's jars; they are fetched once, by coordinates."""
    folder = CACHE / f"kafka-{kafka_version()}"
    if (folder / "complete").exists():
        return folder
    if not shutil.which("java") or not shutil.which("mvn"):
        raise RuntimeError("Kafka needs java and mvn on the PATH")
    shutil.rmtree(folder, ignore_errors=True)
    print(f"fetching Kafka {kafka_version()} from Maven Central ...", flush=True)
    subprocess.run(
        ["mvn", "-q", "-B", "-f", str(HERE / "pom.xml"), "dependency:copy-dependencies",
         "-DincludeScope=runtime", f"-DoutputDirectory={folder}"],
        check=True, stdin=subprocess.DEVNULL)
    (folder / "complete").touch()
    return folder


def kafka_cluster_id():
    text = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
    return text.replace("-", "A")  # An id may not begin with a dash.


def cargo_program(package):
    """Builds a program of this workspace in release mode and says where it is; an environment
    variable of its name (WALRUSD, WALRUS_LOAD) names another."""
    if given := os.environ.get(package.upper().replace("-", "_")):
        return pathlib.Path(given)
    subprocess.run(["cargo", "build", "--release", "-q", "-p", package], cwd=ROOT, check=True)
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version", "1"],
        cwd=ROOT, check=True, capture_output=True).stdout
    return pathlib.Path(json.loads(metadata)["target_directory"]) / "release" / package


class Broker:
    """One broker process and its data folder."""

    #: Topic configs that belong to this way of running it.
    topic_configs = ()
    #: Copies of each partition.
    copies = 1
    #: Its id.
    number = 1

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.process = None
        self.started_at = None
        self.prepare()

    def prepare(self):
        raise NotImplementedError

    def command(self):
        raise NotImplementedError

    @property
    def bootstrap(self):
        return f"127.0.0.1:{self.client_port}"

    @property
    def pid(self):
        return self.process.pid

    @property
    def pids(self):
        """Of all processes that serve."""
        return [self.pid]

    def start(self):
        log = open(self.folder / "broker.log", "ab")
        self.started_at = time.monotonic()
        self.process = subprocess.Popen(
            self.command(), stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            cwd=self.folder)
        log.close()
        return self

    def ready(self, topic=None, partitions=0, timeout_s=120.0):
        """Waits until it serves; returns the seconds since `start`."""
        try:
            probe.wait_ready(self.bootstrap, topic, partitions, timeout_s, self.running)
        except (RuntimeError, TimeoutError) as error:
            raise RuntimeError(f"{self.name}: {error}\n{self.log_tail()}") from None
        return time.monotonic() - self.started_at

    def running(self):
        return self.process is not None and self.process.poll() is None

    def stop(self, timeout_s=60.0):
        """Asks it to end, and makes it end if it does not."""
        if self.running():
            self.process.terminate()
            try:
                self.process.wait(timeout_s)
            except subprocess.TimeoutExpired:
                self.kill()
        self.process = None

    def kill(self):
        """kill -9: no goodbye, no flush."""
        if self.running():
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def log_tail(self, lines=15):
        text = (self.folder / "broker.log").read_text(errors="replace").splitlines()
        return "\n".join("    " + line for line in text[-lines:])


class Kafka(Broker):
    """Kafka as it comes: acks=all is answered out of the page cache."""

    name = "kafka"
    label = "Kafka, as it comes"

    def prepare(self):
        self.client_port, self.controller_port = free_port(), free_port()
        quorum = f"controller.quorum.bootstrap.servers=127.0.0.1:{self.controller_port}"
        self.format(kafka_cluster_id(), quorum, "--standalone")

    def format(self, cluster_id, quorum, *how):
        """Writes its settings and makes its data folder."""
        self.config = self.folder / "server.properties"
        self.config.write_text(SERVER_PROPERTIES.format(
            number=self.number, quorum=quorum, copies=self.copies, client=self.client_port,
            controller=self.controller_port, data=self.folder / "data"))
        self.jars = kafka_jars()
        subprocess.run(
            self.java("kafka.tools.StorageTool", "format", "-t", cluster_id, "-c",
                      str(self.config), *how),
            check=True, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    def java(self, main, *arguments, flags=()):
        return ["java", *flags, f"-Dlog4j2.configurationFile={HERE / 'log4j2.xml'}",
                "-cp", f"{self.jars}/*", main, *arguments]

    def command(self):
        return self.java("kafka.Kafka", str(self.config), flags=JVM_FLAGS)

    @staticmethod
    def version():
        return f"Kafka {kafka_version()}"


class KafkaFlushed(Kafka):
    """Kafka that flushes every batch before it answers, as Walrus does."""

    name = "kafka-flushed"
    label = "Kafka, flush.messages=1"
    topic_configs = ("flush.messages=1",)


class Walrus(Broker):
    """Walrus from this tree: a flush before every ack."""

    name = "walrus"
    label = "Walrus"
    program = None

    def prepare(self):
        Walrus.built()
        self.client_port, self.raft_port, self.admin_port = free_port(), free_port(), free_port()

    @staticmethod
    def built():
        """The program; it is built once."""
        if Walrus.program is None:
            Walrus.program = cargo_program("walrusd")
        return Walrus.program

    def command(self):
        return [str(Walrus.program), "--node-id", str(self.number), "--data-dir", str(self.folder / "data"),
                "--raft-port", str(self.raft_port), "--client-port", str(self.client_port),
                "--admin-port", str(self.admin_port)]

    @staticmethod
    def version():
        """The last commit that changed what is built."""
        commit = subprocess.run(
            ["git", "log", "-1", "--format=%h", "--", "*.rs", "Cargo.toml", "Cargo.lock"],
            cwd=ROOT, capture_output=True, text=True).stdout.strip()
        changed = subprocess.run(["git", "status", "--porcelain", "--", "*.rs", "Cargo.*"],
                                 cwd=ROOT, capture_output=True, text=True).stdout.strip()
        return f"Walrus {commit or 'without git'}{' (changed)' if changed else ''}"


BROKERS = {broker.name: broker for broker in (Kafka, KafkaFlushed, Walrus)}
