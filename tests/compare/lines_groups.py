"""What is measured of consumer groups on three nodes: one function for each line, as in `lines3.py`.

`__consumer_offsets` has three copies on both sides. Walrus flushes two of them before it answers a
commit; Kafka as it comes flushes none.
"""

import time

import cluster as clusters
import faults
import probe
from lines3 import idle

BOTH = ("kafka", "walrus")
OFFSETS, OFFSETS_PARTITIONS = "__consumer_offsets", 50
CONSUMERS = 64
#: How long it is looked on when everybody has found the next coordinator: longer than the raw
#: members' session, so that one who was forgotten is out.
LOOK_ON_S = 7


def commits(consumers, why, groups=0, rate=0):
    def line(bench):
        bench.create("commits", CONSUMERS)
        make_offsets_topic(bench)
        return bench.load(
            "commits", "-t", "commits", "-p", CONSUMERS, "--group", bench.topic,
            "--consumers", consumers, "--groups", groups, "--rate", rate, "--warmup", bench.warmup,
            "--seconds", bench.seconds, *bench.meters())

    line.__doc__ = why
    return line


def make_offsets_topic(bench):
    """Whoever asks for a coordinator first has the topic made; that is nobody's latency here."""
    clusters.wait(lambda: coordinator(bench.broker.running[0], "any") in bench.broker.nodes, 60,
                  "nobody coordinates groups")
    bench.broker.wait_in_sync(OFFSETS, OFFSETS_PARTITIONS)


def coordinator(node, group):
    """Who coordinates a group, as one node tells it."""
    with probe.Connection(node.bootstrap) as connection:
        return connection.coordinator(group)


def idle_groups(bench):
    """1,000 groups of three members that do nothing but heartbeat every 3 s, each on a connection."""
    make_offsets_topic(bench)
    time.sleep(bench.quicker(3, 0))
    before = idle(bench.broker, bench.quicker(10, 1))
    report = bench.load(
        "idle-groups", "--groups", bench.quicker(1000, 50), "--warmup", bench.quicker(5, 1),
        "--seconds", bench.quicker(30, 3), *bench.meters(), timeout_s=600)
    without = before["idle_cpu_percent"]
    return {**report, "idle_cpu_percent": without,
            "own_cpu_percent": report["broker_cpu_percent"] - without}


def killed(choose, why):
    """kill -9 of a coordinator: a group of the raw driver and one of librdkafka go on."""

    def line(bench):
        cluster, partitions = bench.broker, 6
        bench.create(bench.topic, partitions)
        cluster.wait_in_sync(bench.topic, partitions)
        make_offsets_topic(bench)
        wait_at_rest(cluster)
        victim = choose(cluster)
        raw, client = groups_of(cluster.nodes[victim], bench.topic, 2)
        running = []
        try:
            running.append(faults.Noting(bench, "heartbeats", "--group", raw))
            running.append(faults.Noting(
                bench, "committing", "-t", bench.topic, "-p", partitions, "--group", client))
            return observe(bench, victim, (raw, client), *running)
        finally:
            for load in running:
                load.kill()
            faults.bring_back(cluster)

    line.__doc__ = why
    return line


def wait_at_rest(cluster, for_s=2.0):
    """Waits until the groups' partitions have not moved for a while: after a node came back they
    may be balanced."""
    seen, since, deadline = None, 0.0, time.monotonic() + 60
    while seen is None or time.monotonic() < since + for_s:
        places = clusters.see(cluster.running[0], [OFFSETS])[1][OFFSETS]
        now = {index: place.leader for index, place in places.items()}
        if now != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() > deadline:
            raise RuntimeError("the groups' partitions move and move")
        time.sleep(0.05)


def groups_of(node, prefix, count):
    """Names of groups that this node coordinates."""
    found = []
    for number in range(1000):
        group = f"{prefix}-{number}"
        if coordinator(node, group) == node.number:
            found.append(group)
        if len(found) == count:
            return found
    raise RuntimeError(f"node {node.number} coordinates no groups")


def observe(bench, victim, groups, heartbeats, commits):
    cluster = bench.broker
    time.sleep(faults.BEFORE_S)
    other = next(node for number, node in cluster.nodes.items() if number != victim)
    if any(coordinator(other, group) != victim for group in groups):
        raise RuntimeError("the groups moved before the kill")
    at = time.time()
    cluster.nodes[victim].kill()
    clusters.wait(lambda: all(coordinator(other, group) != victim for group in groups), 60,
                  "the coordinator did not move")
    time.sleep(LOOK_ON_S)
    heartbeats, commits = heartbeats.end(), commits.end()
    again = [first_ms(heartbeats, member["kept_us"], at) for member in heartbeats["members"]]
    committed = [first_ms(commits, member["committed_us"], at) for member in commits["members"]]
    joined = sum(member["joined_again"] for member in heartbeats["members"])
    told = sum(member["rebalances"] for member in commits["members"])
    return {
        "victim": victim, "heartbeats_ms": again, "commits_ms": committed,
        "heartbeat_ms": max(again), "commit_ms": max(committed),
        "generations": [member["generations"] for member in heartbeats["members"]],
        "joined_again": joined, "client_rebalances": told, "rebalances": joined + told,
        "missed": [member["missed"] for member in heartbeats["members"]],
        "failed_commits": [member["failed"] for member in commits["members"]],
    }


def first_ms(report, instants, at):
    """From `at` to the first answer to what was sent after it."""
    at_us = 1e6 * (at - report["started_unix_s"])
    for sent_us, answered_us in instants:
        if sent_us >= at_us:
            return (answered_us - at_us) / 1000
    raise RuntimeError("a member was not heard again")


def not_the_controller(cluster):
    """A node that coordinates groups and is not the controller."""
    controller = cluster.controller()
    return next(number for number in cluster.nodes if number != controller)


def rebalance(bench):
    """50 members of librdkafka read 100 partitions: two more come, then one goes."""
    partitions = bench.quicker(100, 20)
    bench.create(bench.topic, partitions)
    bench.broker.wait_in_sync(bench.topic, partitions)
    make_offsets_topic(bench)
    report = bench.load(
        "rebalance", "-t", bench.topic, "-p", partitions, "--members", bench.quicker(50, 6),
        "--seconds", bench.quicker(10, 3), timeout_s=400)
    longest = {phase: report[phase]["stayed"]["max_ms"] for phase in ("quiet", "join", "leave")}
    return {**report, "longest_ms": longest}


#: name: (function, clusters that it is run on)
LINES = {
    "commits-1": (commits(1, "One consumer commits again and again."), BOTH),
    "commits-64": (commits(CONSUMERS, "64 consumers, each of a group of its own."), BOTH),
    "commits-64-one": (commits(CONSUMERS, "64 consumers of one group.", groups=1), BOTH),
    "commits-steady": (
        commits(CONSUMERS, "10,000 commits a second by 64 consumers.", rate=10_000), BOTH),
    "idle-groups": (idle_groups, BOTH),
    "coordinator-kill": (
        killed(not_the_controller, "kill -9 of a coordinator that is not the controller."), BOTH),
    "coordinator-controller": (
        killed(lambda cluster: cluster.controller(),
               "kill -9 of a coordinator that is the controller too."), BOTH),
    "rebalance": (rebalance, BOTH),
}

#: Lines that share a cluster, in their order.
SITTINGS = [
    ["commits-64", "commits-64-one", "commits-1", "commits-steady"],
    ["idle-groups"],
    ["coordinator-kill", "coordinator-controller"],
    ["rebalance"],
]
