"""What clients see of a fault: an idempotent producer writes to every partition, something is done
to a node, and the gaps between acks are looked at, of the partitions that it led and of the others.

A control round is the same without the deed. All times are counted from the deed; the load program
notes when each ack came, a thread asks another node's Metadata every few milliseconds.
"""

import bisect
import json
import random
import signal
import subprocess
import tempfile
import threading
import time

import cluster as clusters
import probe

#: Quiet time before the deed, and as much again by chance: clients look for leaders that are down
#: once a second. Then time to look on when all leaders have moved.
BEFORE_S, AFTER_S = 1.0, 2.0
#: A cluster that has not moved its leaders by then never does.
MOVED_WITHIN_S = 60.0
LOOK_EVERY_S = 0.004


class Noting:
    """The load program with a workload that notes what becomes of everything, while it runs."""

    def __init__(self, bench, *arguments):
        self.report = tempfile.NamedTemporaryFile(suffix=".json")
        command = [bench.load_program, *arguments, "-b", bench.broker.bootstrap,
                   "--json", self.report.name]
        self.process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
        said = []
        for line in self.process.stderr:
            if line.strip() == "going":
                return
            said.append(line)
        raise RuntimeError(f"the load ended before it was going\n{''.join(said)}")

    def end(self):
        """Ends the load; its report when all has an outcome."""
        _, said = self.process.communicate(timeout=120)
        if self.process.returncode != 0:
            raise RuntimeError(f"the load failed: {said.strip()}")
        return json.load(self.report)

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Acks(Noting):
    """A steady idempotent producer; it is going when every partition had an ack."""

    def __init__(self, bench, partitions, rate):
        super().__init__(bench, "pauses", "-t", bench.topic, "-p", partitions, "-r", rate, "-s", 100)


class Watch(threading.Thread):
    """Notes when one node's Metadata names another leader for all that `victim` led."""

    def __init__(self, node, topic, victim, led):
        super().__init__(daemon=True)
        self.node, self.topic, self.victim, self.led = node, topic, victim, led
        self.moved = threading.Event()
        self.moved_at = None
        self.ended = False

    def run(self):
        while not self.ended:
            try:
                with probe.Connection(self.node.bootstrap) as connection:
                    while not self.ended:
                        began = time.monotonic()
                        self.look(connection)
                        # A look at very many partitions takes long: it is not to be the load.
                        time.sleep(max(LOOK_EVERY_S, 2 * (time.monotonic() - began)))
            except OSError:
                time.sleep(LOOK_EVERY_S)

    def look(self, connection):
        leaders = connection.metadata([self.topic])[1].get(self.topic, {})
        if all(leaders.get(index, -1) not in (-1, self.victim) for index in self.led):
            self.moved_at = time.time()
            self.ended = True
            self.moved.set()


def kill(cluster, victim):
    cluster.nodes[victim].kill()


def go_on(cluster, victim):
    cluster.nodes[victim].signal(signal.SIGCONT)


def terminate(cluster, victim):
    cluster.nodes[victim].terminate()


def pause(cluster, victim):
    cluster.nodes[victim].signal(signal.SIGSTOP)


def some_leader(leaders, controller):
    """A node that leads partitions and is not the controller."""
    return next(leader for leader in sorted(leaders.values(), key=list(leaders.values()).count,
                                            reverse=True) if leader != controller)


def the_controller(leaders, controller):
    if controller not in leaders.values():
        raise RuntimeError(f"the controller {controller} leads no partition")
    return controller


def fault(deed, choose, why, then=None, partitions=6, rate=200):
    """A line: one deed to one node, and `then` another while clients still look on."""

    def line(bench):
        cluster = bench.broker
        bench.create(bench.topic, partitions)
        cluster.wait_in_sync(bench.topic, partitions)
        acks = Acks(bench, partitions, rate)
        try:
            return observe(bench, acks, deed, choose, then)
        finally:
            acks.kill()
            bring_back(cluster)
            bench.load("delete-topic", "-t", bench.topic)

    line.__doc__ = why
    return line


def observe(bench, acks, deed, choose, then=None):
    cluster = bench.broker
    time.sleep(BEFORE_S + random.random())
    controller = cluster.controller()
    leaders = clusters.see(cluster.nodes[controller], [bench.topic])[1][bench.topic]
    leaders = {index: place.leader for index, place in leaders.items()}
    victim = choose(leaders, controller) if deed else None
    led = sorted(index for index, leader in leaders.items() if leader == victim)
    watch = None
    if deed:
        other = next(node for number, node in cluster.nodes.items() if number != victim)
        watch = Watch(other, bench.topic, victim, led)
        watch.start()
    at = time.time()
    if deed:
        deed(cluster, victim)
        if not watch.moved.wait(MOVED_WITHIN_S):
            watch.ended = True
            raise RuntimeError(f"the leaders did not move in {MOVED_WITHIN_S:.0f} s")
    time.sleep(AFTER_S)
    if then:
        then(cluster, victim)
        time.sleep(AFTER_S)
    report = acks.end()
    return {
        "controller": controller, "victim": victim,
        "moved_ms": 1000 * (watch.moved_at - at) if deed else None,
        **gaps(report, at, led),
        "sent": report["sent"], "acked": report["acked"], "failed": report["failed"],
    }


def gaps(report, at, led):
    """The longest gap of every partition since `at`; the worst of those led and of the others."""
    at_us = 1e6 * (at - report["started_unix_s"])
    longest = [longest_gap_us(acks, at_us, report["ended_us"]) / 1000
               for acks in report["acks_us"]]
    again = [first_after(report["acks_us"][index], at_us) for index in led]
    others = [gap for index, gap in enumerate(longest) if index not in led]
    kept = {"gaps_ms": [round(gap, 3) for gap in longest]} if len(longest) <= 12 else {}
    return {
        **kept, "led": len(led),
        "pause_led_ms": max((longest[index] for index in led), default=None),
        "pause_others_ms": max(others, default=None),
        "all_acked_again_ms": max(again) / 1000 if again and None not in again else None,
    }


def longest_gap_us(acks, from_us, ended_us):
    """Between two acks, of which the second came at or after `from_us`. A partition that is never
    acked again has a gap to the end of the load."""
    first = max(bisect.bisect_left(acks, from_us) - 1, 0)
    instants = acks[first:]
    if not instants or instants[-1] < ended_us:
        instants = [*instants, ended_us]
    return max((after - before for before, after in zip(instants, instants[1:])), default=0)


def first_after(acks, at_us):
    """How long after `at_us` the first ack of a record came that was acked no sooner."""
    place = bisect.bisect_right(acks, at_us)
    return acks[place] - at_us if place < len(acks) else None


def bring_back(cluster):
    """Starts what was ended and lets go on what was paused; all see each other when it returns."""
    for node in cluster.nodes.values():
        if node.running():
            node.signal(signal.SIGCONT)
            if node.is_ending:
                node.process.wait(60)
        if not node.running():
            node.start()
    cluster.wait_seen()
