"""Three brokers of a kind as one cluster on one machine, and what can be done to each of them.

A cluster stands where a line of the comparison expects a broker: it has a bootstrap address,
process ids, topic configs. The rest is for the lines that kill, stop and pause nodes. Nodes are
numbered from 1 and are ended by their process ids and by nothing else.
"""

import concurrent.futures
import json
import os
import random
import signal
import socket
import time
import urllib.request

import probe
from brokers import Kafka, KafkaFlushed, Walrus, kafka_cluster_id, kafka_jars

#: Below what the system gives to clients: a port must still be free when its node comes back.
PORTS = range(24_100, 25_000)

#: What begins has still to be written: a ring of zeros, internal topics.
SETTLE_S = 3


class Ports:
    """Hands out ports that nobody listens on."""

    def __init__(self):
        first = random.randrange(len(PORTS))
        self.left = iter([*PORTS[first:], *PORTS[:first]])

    def take(self):
        for port in self.left:
            with socket.socket() as listener:
                try:
                    listener.bind(("127.0.0.1", port))
                    return port
                except OSError:
                    continue
        raise RuntimeError(f"no free port from {PORTS.start} to {PORTS.stop}")


class Node:
    """What a node has that a broker alone has not. The cluster gives it number and ports first."""

    copies = 3

    def __init__(self, folder, number, cluster):
        self.number = number
        self.cluster = cluster
        super().__init__(folder)

    def start(self):
        self.is_ending = False
        return super().start()

    def signal(self, what):
        os.kill(self.pid, what)

    def terminate(self):
        """Asks it to end, and does not wait for that."""
        self.is_ending = True
        self.signal(signal.SIGTERM)


class WalrusNode(Node, Walrus):
    """One `walrusd` of a cluster."""

    def prepare(self):
        Walrus.built()
        self.client_port, self.raft_port, self.admin_port = (
            self.cluster.ports.take() for _ in range(3))

    @property
    def peer(self):
        return f"127.0.0.1:{self.raft_port}"

    def command(self):
        return [*super().command(), *self.cluster.how_to_form(self)]

    def ask(self, path, body=None):
        """One request to its admin port."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.admin_port}{path}")
        if body is not None:
            request.data = json.dumps(body).encode()
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read().decode()
        return json.loads(text) if path.startswith("/v1/") else text


class KafkaNode(Node, Kafka):
    """One Kafka node, broker and controller in one."""

    def prepare(self):
        self.client_port, self.controller_port = (self.cluster.ports.take() for _ in range(2))

    def format_in(self, cluster_id):
        voters = ",".join(f"{node.number}@127.0.0.1:{node.controller_port}"
                          for node in self.cluster.nodes.values())
        self.format(cluster_id, f"controller.quorum.voters={voters}")


class Cluster:
    """Several nodes."""

    copies = 3
    topic_configs = ("min.insync.replicas=2",)
    node_class = None

    def __init__(self, folder):
        self.folder = folder
        self.ports = Ports()
        self.nodes = {}
        self.started_at = None
        for number in (1, 2, 3):
            self.add(number)
        self.prepare()

    def add(self, number):
        self.nodes[number] = self.node_class(f"{self.folder}/{number}", number, self)
        return self.nodes[number]

    def prepare(self):
        """Something to do before the first start."""

    @property
    def running(self):
        return [node for node in self.nodes.values() if node.running()]

    @property
    def bootstrap(self):
        return ",".join(node.bootstrap for node in self.nodes.values())

    @property
    def pids(self):
        return [node.pid for node in self.running]

    def start(self):
        self.started_at = time.monotonic()
        for node in self.nodes.values():
            node.start()
        return self

    def ready(self, timeout_s=120.0):
        """Waits until each node sees all that run; the seconds since the start."""
        self.wait_seen(timeout_s)
        ready_s = time.monotonic() - self.started_at
        time.sleep(SETTLE_S)
        return ready_s

    def wait_seen(self, timeout_s=120.0):
        running = self.running
        wanted = sorted(node.number for node in running)
        for node in running:
            node.ready(timeout_s=timeout_s)
            wait(lambda node=node: sorted(see(node, [])[0]) == wanted, timeout_s,
                 f"node {node.number} does not see all others")

    def wait_in_sync(self, topic, partitions, timeout_s=120.0):
        """Waits until every partition has all its copies, as every node sees it."""

        def whole(node):
            places = see(node, [topic])[1].get(topic, {})
            return len(places) == partitions and all(
                place.leader >= 0 and len(place.in_sync) == self.copies
                for place in places.values())

        for node in self.running:
            wait(lambda node=node: whole(node), timeout_s,
                 f"node {node.number} does not see all of {topic} in sync")

    def kill(self):
        for node in self.nodes.values():
            if node.running():
                node.signal(signal.SIGCONT)
            node.kill()

    def log_tail(self):
        return "\n".join(node.log_tail() for node in self.nodes.values())

    def controller(self):
        """Number of the node that leads the metadata."""
        raise NotImplementedError


def see(node, topics):
    """Brokers and places as one node tells them."""
    with probe.Connection(node.bootstrap) as connection:
        return connection.layout(topics)


def wait(holds, timeout_s, why, pause_s=0.02):
    """Until it holds; a node that does not answer is asked again."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            if holds():
                return
        except (OSError, probe.NotReady):
            pass  # It is looked at again below.
        if time.monotonic() > deadline:
            raise RuntimeError(f"after {timeout_s:.0f} s: {why}")
        time.sleep(pause_s)


class WalrusCluster(Cluster):
    """Three of ours: a flush on two disks before every ack."""

    name = "walrus"
    label = "Walrus"
    node_class = WalrusNode

    def how_to_form(self, node):
        if node.number > 3:
            return ["--join", self.nodes[1].peer]
        return ["--peers", ",".join(self.nodes[number].peer for number in (1, 2, 3))]

    def controller(self):
        """As most of the nodes have it; waits while there is none."""
        found = []

        def known():
            found[:] = {node.ask("/v1/raft")["leader"] for node in self.running}
            return len(found) == 1 and found[0] is not None

        wait(known, 30, "the nodes do not agree on who leads the metadata")
        return found[0]

    version = staticmethod(Walrus.version)


class KafkaCluster(Cluster):
    """Three KRaft nodes, as they come: acks=all is answered out of three page caches."""

    name = "kafka"
    label = Kafka.label
    node_class = KafkaNode

    def prepare(self):
        kafka_jars()
        cluster_id = kafka_cluster_id()
        with concurrent.futures.ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.format_in(cluster_id), self.nodes.values()))

    def controller(self):
        """Each node writes down whom it last voted for or followed."""

        def seen(node):
            path = node.folder / "data" / "__cluster_metadata-0" / "quorum-state"
            state = json.loads(path.read_text())
            return state["leaderEpoch"], state["leaderId"]

        newest = max(seen(node) for node in self.running)[1]
        if newest not in self.nodes:
            raise RuntimeError("there is no controller now")
        return newest

    version = staticmethod(Kafka.version)


class KafkaFlushedCluster(KafkaCluster):
    """Three KRaft nodes that flush every batch before they answer."""

    name = "kafka-flushed"
    label = KafkaFlushed.label
    topic_configs = (*Cluster.topic_configs, *KafkaFlushed.topic_configs)


CLUSTERS = {kind.name: kind for kind in (KafkaCluster, KafkaFlushedCluster, WalrusCluster)}
