"""What is measured of three nodes: one function for each line, as in `lines.py`.

Lines of one sitting are measured on the same cluster, one after the other, each on a topic of its
own; a sitting begins with a fresh cluster.
"""

import concurrent.futures
import contextlib
import re
import threading
import time

import cluster as clusters
import faults
import probe
from lines import KIB, process, roundtrip, steady_5000, throughput_100, throughput_1k

ALL = ("kafka", "kafka-flushed", "walrus")
BOTH = ("kafka", "walrus")
OURS = ("walrus",)


@contextlib.contextmanager
def meanwhile(function, *arguments):
    """Runs it on a thread while the block does something; gives its future."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool.submit(function, *arguments)


#: Until a client that has just begun is as quick as it will be.
WARMUP_S = 2


def steady_load(bench, seconds, partitions):
    """5,000 idempotent records a second over all partitions in turn, as librdkafka sends them if it
    is told nothing else (a linger of 5 ms); latency counted from their due time."""
    return bench.load(
        "produce", "-t", bench.topic, "-p", partitions, "-s", KIB, "--acks", "all", "--idempotence",
        "--rate", 5000, "--linger-ms", 5, "--spread", "every-record", "--warmup", WARMUP_S,
        "--seconds", seconds, timeout_s=seconds + 120)


def rollover(bench):
    """1,000 rolls and more under 5,000 records/s: from parking to the first append after it."""
    wanted, partitions = bench.quicker(1100, 60), 6
    bench.create(bench.topic, partitions)
    bench.broker.wait_in_sync(bench.topic, partitions)
    quiet = steady_load(bench, bench.quicker(5, 2), partitions)
    before = parked(bench.broker)
    with meanwhile(steady_load, bench, bench.quicker(30, 4), partitions) as load:
        time.sleep(WARMUP_S + 1)
        began = time.monotonic()
        rolled = 0
        while rolled < wanted and not load.done():
            rolled += roll_all(bench)
        seconds = time.monotonic() - began
        under_load = not load.done()
        loaded = load.result()
    if not under_load or rolled < wanted:
        raise RuntimeError(f"the load ended after {rolled} rolls")
    counts = difference(parked(bench.broker), before)
    return {
        "rolled": rolled, "rolls_per_s": rolled / seconds, "counted": sum(counts.values()),
        "parked_p50_ms": quantile_ms(counts, 0.5), "parked_p99_ms": quantile_ms(counts, 0.99),
        "parked_buckets": {str(upper): count for upper, count in counts.items()},
        "failed": loaded["failed"], "quiet": quiet["latency"], "latency": loaded["latency"],
    }


def roll_all(bench):
    """Rolls every partition of the topic over once; how many did."""
    node = bench.broker.nodes[1]

    def epochs():
        listed = node.ask(f"/v1/partitions?topic={bench.topic}")["items"]
        return {one["partition"]: one["epoch"] for one in listed}

    before = epochs()
    plan = node.ask("/v1/plans", {"verb": "rollover", "which": {"these": [{"topic": bench.topic}]},
                                  "per_minute": 6_000_000})
    node.ask(f"/v1/plans/{plan['id']}/run", {"actor": "compare"})
    until = time.monotonic() + 10
    while time.monotonic() < until:
        now = epochs()
        if all(now[partition] > epoch for partition, epoch in before.items()):
            return len(before)
        time.sleep(0.005)
    raise RuntimeError(f"not rolled over after 10 s: {before}")


BUCKET = re.compile(r'walrus_roll_parked_seconds_bucket\{le="([^"]+)"\} (\d+)')


def parked(cluster):
    """{upper bound in seconds: rolls} of all nodes; each bucket by itself."""
    sums = {}
    for node in cluster.running:
        below = 0
        for upper, count in BUCKET.findall(node.ask("/metrics")):
            upper, count = float(upper.replace("+Inf", "inf")), int(count)
            sums[upper] = sums.get(upper, 0) + count - below
            below = count
    return dict(sorted(sums.items()))


def difference(after, before):
    return {upper: count - before.get(upper, 0) for upper, count in after.items()}


def quantile_ms(buckets, share):
    """A quantile out of buckets, as if what is in each were spread evenly over it."""
    left, lower = share * sum(buckets.values()), 0.0
    for upper, count in sorted(buckets.items()):
        if count and left <= count:
            return 1000 * (lower + (upper - lower) * left / count)
        left, lower = left - count, upper
    raise RuntimeError("no roll was counted")


def join(bench):
    """A fourth node joins under 5,000 records/s on 12 partitions."""
    cluster, partitions = bench.broker, 12
    bench.create(bench.topic, partitions)
    cluster.wait_in_sync(bench.topic, partitions)
    seconds = bench.quicker(8, 4)
    quiet = steady_load(bench, seconds, partitions)
    before = chains(cluster, bench.topic, partitions)
    with meanwhile(steady_load, bench, seconds, partitions) as load:
        time.sleep(WARMUP_S + 1)
        began = time.monotonic()
        cluster.add(4).start()
        clusters.wait(lambda: balanced(cluster, bench.topic), 30, "the leases are not balanced")
        balanced_s = time.monotonic() - began
        loaded = load.result()
    return {
        "balanced_s": balanced_s,
        "leaders": leaders(cluster, bench.topic),
        "copied_bytes": copied_bytes(cluster, bench.topic, before, partitions),
        "failed": loaded["failed"],
        "p99_times_quiet": loaded["latency"]["p99_us"] / quiet["latency"]["p99_us"],
        "quiet": quiet["latency"], "latency": loaded["latency"],
    }


def leaders(cluster, topic):
    """How many partitions each node leads, as the first node sees it."""
    counts = {number: 0 for number in cluster.nodes}
    for place in clusters.see(cluster.nodes[1], [topic])[1][topic].values():
        if place.leader in counts:
            counts[place.leader] += 1
    return counts


def balanced(cluster, topic):
    counts = leaders(cluster, topic).values()
    return min(counts) > 0 and max(counts) - min(counts) <= 1


def chains(cluster, topic, partitions):
    """{(partition, epoch): segment} of a topic."""
    segments = {}
    for index in range(partitions):
        path = f"/v1/topics/{topic}/partitions/{index}/segments"
        for segment in cluster.nodes[1].ask(path)["items"]:
            segments[index, segment["epoch"]] = segment
    return segments


def copied_bytes(cluster, topic, before, partitions):
    """What the newest node holds of segments that were there before it."""
    now = chains(cluster, topic, partitions)
    newest = max(cluster.nodes)
    return sum(segment.get("bytes", 0) for key, segment in now.items()
               if key in before and newest in segment["members"])


def many_1000(bench):
    """1,000 partitions: what they cost idle, and kill -9 of a node that leads a third of them."""
    cluster, partitions = bench.broker, bench.quicker(1000, 100)
    bench.create(bench.topic, partitions)
    cluster.wait_in_sync(bench.topic, partitions)
    bench.fill(bench.topic, partitions, 100, partitions, "--spread", "every-record")
    time.sleep(bench.quicker(5, 1))
    quiet = idle(cluster, bench.quicker(10, 2))
    acks = faults.Acks(bench, partitions, 4)
    try:
        seen = faults.observe(bench, acks, faults.kill, faults.some_leader)
    finally:
        acks.kill()
    return {**quiet, **seen}


def idle(cluster, seconds):
    """CPU of all nodes together and memory of the greatest, while nobody asks anything."""
    before = [process(pid) for pid in cluster.pids]
    time.sleep(seconds)
    after = [process(pid) for pid in cluster.pids]
    spent = sum(one["cpu_s"] for one in after) - sum(one["cpu_s"] for one in before)
    return {
        "idle_rss_kib": max(one["rss_kib"] for one in after),
        "idle_rss_sum_kib": sum(one["rss_kib"] for one in after),
        "idle_cpu_percent": 100 * spent / seconds,
    }


CHANGERS = 32


def raft(bench):
    """Changes of topic configs by 32 connections, each a command; then kill -9 of who leads the
    metadata, and the time to the next change."""
    cluster = bench.broker
    names = [f"{bench.topic}-{number}" for number in range(CHANGERS)]
    bench.load("create-topic", "-t", bench.topic, "--topics", CHANGERS, "-p", 1,
               "--replication-factor", cluster.copies)
    at = cluster.nodes[cluster.controller()]
    seconds = bench.quicker(5, 1)
    began, stop = time.monotonic(), threading.Event()
    with concurrent.futures.ThreadPoolExecutor(CHANGERS) as pool:
        changers = [pool.submit(change_until, at, name, stop) for name in names]
        time.sleep(seconds)
        stop.set()
        done = sum(changer.result() for changer in changers)
    commands_per_s = done / (time.monotonic() - began)
    victim = cluster.controller()
    other = next(node for number, node in cluster.nodes.items() if number != victim)
    with probe.Connection(other.bootstrap, timeout_s=60) as connection:
        change(connection, names[0], 0)
        killed = time.monotonic()
        cluster.nodes[victim].kill()
        refused = 0
        while change(connection, names[0], refused + 1) != 0:
            refused += 1
            time.sleep(0.005)
        next_ms = 1000 * (time.monotonic() - killed)
    return {"commands_per_s": commands_per_s, "next_command_ms": next_ms, "refused": refused}


def change(connection, topic, number):
    return probe.change_topic(connection, topic, "retention.ms", str(3_600_000 + number))


def change_until(node, topic, stop):
    """One change after the other; how many were made."""
    done = 0
    with probe.Connection(node.bootstrap, timeout_s=30) as connection:
        while not stop.is_set():
            if change(connection, topic, done) != 0:
                raise RuntimeError(f"a change of {topic} was refused")
            done += 1
    return done


def throughput_1k_warm(bench):
    """6 partitions, acks=all, 1 KiB records, as fast as possible, after the line of 100 bytes.

    That line has warmed the JVMs and fills little memory. Three copies of this one fill the page
    cache with half a gigabyte a second, and what was touched beforehand lasts for some seconds.
    """
    bench.warmup = min(bench.warmup, 3)
    return throughput_1k(bench)


control = faults.fault(None, None, "A round without a fault, to hold the others against.")
kill_leader = faults.fault(
    faults.kill, faults.some_leader, "kill -9 of a leader that is not the controller.")
kill_controller = faults.fault(
    faults.kill, faults.the_controller, "kill -9 of a leader that is the controller too.")
terminate = faults.fault(faults.terminate, faults.some_leader, "SIGTERM to a leader.")
pause = faults.fault(
    faults.pause, faults.some_leader, "SIGSTOP of a leader, and SIGCONT two seconds after others lead.",
    then=faults.go_on)

#: name: (function, clusters that it is run on)
LINES = {
    "throughput-100": (throughput_100, ALL),
    "throughput-1k": (throughput_1k_warm, ALL),
    "roundtrip": (roundtrip, ALL),
    "steady-5000": (steady_5000, ALL),
    "failover-control": (control, BOTH),
    "failover-kill": (kill_leader, BOTH),
    "failover-controller": (kill_controller, BOTH),
    "failover-term": (terminate, BOTH),
    "failover-stop": (pause, BOTH),
    "rollover": (rollover, OURS),
    "join": (join, OURS),
    "many-1000": (many_1000, BOTH),
    "raft": (raft, BOTH),
}

#: Lines that share a cluster, in their order.
SITTINGS = [
    ["throughput-100", "throughput-1k", "roundtrip", "steady-5000"],
    ["failover-control", "failover-kill", "failover-controller", "failover-term", "failover-stop"],
    ["rollover"],
    ["join"],
    ["many-1000"],
    ["raft"],
]
