"""What is measured: one function for each line of the comparison of one node with one.

A line is given a fresh broker (started, ready, empty), runs the load program against it and returns
raw figures. It knows nothing of rounds, medians or tables: `run` and `table.py` do.
"""

import json
import os
import subprocess
import tempfile
import threading
import time

KIB = 1024
#: librdkafka's default, the Java client's default, and one between for many partitions.
BATCH_BYTES, SMALL_BATCH_BYTES, STICKY_BATCH_BYTES = 1_000_000, 16_384, 131_072
WRITERS = ("kafka", "kafka-flushed", "walrus")
PEERS = ("kafka", "walrus")


class Bench:
    """What a line works with: a broker or a cluster, the load program, how long to measure."""

    def __init__(self, broker, load, seconds, warmup, quick, topic="load"):
        self.broker = broker
        self.topic = topic
        self.load_program = load
        self.seconds = seconds
        self.warmup = warmup
        self.quick = quick

    def load(self, *arguments, timeout_s=None):
        """Runs the load program and returns its report."""
        with tempfile.NamedTemporaryFile(suffix=".json") as report:
            command = [str(self.load_program), *map(str, arguments), "-b", self.broker.bootstrap,
                       "--json", report.name]
            done = subprocess.run(command, capture_output=True, text=True,
                                  timeout=timeout_s or 600, stdin=subprocess.DEVNULL)
            if done.returncode != 0:
                raise RuntimeError(f"{' '.join(command[1:])}\n{done.stderr.strip()}")
            text = report.read()
            return json.loads(text) if text else {}

    def create(self, topic, partitions):
        configs = [part for config in self.broker.topic_configs for part in ("--config", config)]
        self.load("create-topic", "-t", topic, "-p", partitions,
                  "--replication-factor", self.broker.copies, *configs)

    def meters(self):
        """Whose CPU and memory the load program is to look at."""
        return [part for pid in self.broker.pids for part in ("--broker-pid", pid)]

    def produce(self, topic, partitions, record_bytes, *more, batch_bytes=BATCH_BYTES):
        """Open-loop produce for the measured time; the broker's cost is in the report.

        Five requests are in flight, as in clients today. They are so because they are idempotent;
        here it is set by itself, for an idempotent librdkafka keeps to one request for each
        partition (it holds the *records* in flight against its limit of five), and one partition
        would be compared with six at a fifth of the requests.
        """
        return self.load(
            "produce", "-t", topic, "-p", partitions, "-s", record_bytes, "--acks", "all",
            "-X", "max.in.flight=5", "--batch-bytes", batch_bytes, "--warmup", self.warmup,
            "--seconds", self.seconds, *self.meters(), *more,
            timeout_s=self.warmup + self.seconds + 300)

    def fill(self, topic, partitions, record_bytes, records, *more):
        """Writes exactly `records` records."""
        return self.load("produce", "-t", topic, "-p", partitions, "-s", record_bytes,
                         "--acks", "all", "--records", records, *more, timeout_s=1800)

    def quicker(self, full, quick):
        return quick if self.quick else full


def throughput_1k(bench):
    """6 partitions, acks=all, 1 KiB records, as fast as possible."""
    bench.create(bench.topic, 6)
    return bench.produce(bench.topic, 6, KIB)


def throughput_100(bench):
    """The same with records of 100 bytes."""
    bench.create(bench.topic, 6)
    return bench.produce(bench.topic, 6, 100)


def roundtrip(bench):
    """One 1 KiB record in flight, acks=all."""
    bench.create(bench.topic, 1)
    return bench.load(
        "roundtrip", "-t", bench.topic, "-s", KIB, "--warmup", bench.warmup,
        "--seconds", bench.seconds, *bench.meters())


def steady_5000(bench):
    """5,000 records of 1 KiB per second over 6 partitions, acks=all, no linger."""
    bench.create(bench.topic, 6)
    return bench.produce(bench.topic, 6, KIB, "--rate", 5000, "--linger-ms", 0)


def consume_2gb(bench):
    """A topic of 2 GB is read from its start: warm, and again first thing after a restart."""
    records = bench.quicker(2_000_000, 100_000)
    bench.create("load", 6)
    bench.fill("load", 6, KIB, records)
    bench.load("consume", "-t", "load", "-p", 6)  # Once unmeasured, so that warm means warm.
    warm = bench.load("consume", "-t", "load", "-p", 6, *bench.meters())
    bench.broker.stop()
    bench.broker.start().ready("load", 6)
    restarted = bench.load("consume", "-t", "load", "-p", 6, *bench.meters())
    return {"warm": warm, "after_restart": restarted}


def ready_empty(bench):
    """From exec to serving, on an empty folder; then ten seconds of doing nothing."""
    ready_s = bench.ready_s
    time.sleep(bench.quicker(5, 1))
    return {"ready_s": ready_s, **idle(bench, bench.quicker(10, 2))}


def idle(bench, seconds):
    """CPU and memory of a broker that nobody asks anything."""
    before = process(bench.broker.pid)
    time.sleep(seconds)
    after = process(bench.broker.pid)
    return {
        "idle_rss_kib": after["rss_kib"],
        "idle_cpu_percent": 100 * (after["cpu_s"] - before["cpu_s"]) / seconds,
    }


def ready_after_kill(bench):
    """kill -9 in the middle of a load that has gone round the whole WAL ring (1 GB and more)."""
    bench.create("load", 6)
    bench.fill("load", 6, KIB, bench.quicker(1_000_000, 100_000))
    killed = threading.Event()

    def kill_soon():
        time.sleep(bench.quicker(3, 1))
        bench.broker.kill()
        killed.set()

    killer = threading.Thread(target=kill_soon)
    killer.start()
    try:
        # It fails, of course; what was acked before does not matter here.
        bench.load("produce", "-t", "load", "-p", 6, "-s", KIB, "--warmup", 0, "--seconds", 4,
                   "--message-timeout-ms", 1000)
    except RuntimeError:
        pass
    killer.join()
    assert killed.is_set()
    ready_s = bench.broker.start().ready("load", 6)
    return {"ready_s": ready_s, "idle_rss_kib": process(bench.broker.pid)["rss_kib"]}


def ready_5000(bench):
    """5,000 partitions that hold data: kill -9, then from exec until every one answers."""
    partitions = bench.quicker(5000, 200)
    bench.create("many", partitions)
    bench.fill("many", partitions, KIB, partitions * 20, "--spread", "every-record")
    time.sleep(bench.quicker(5, 1))  # Its files are written behind the acks.
    quiet = idle(bench, bench.quicker(10, 2))
    bench.broker.kill()
    bench.broker.start()
    ready_s = bench.broker.ready("many", partitions, timeout_s=300)
    return {"ready_s": ready_s, **quiet}


def touch(bench, partitions):
    """Makes a topic and writes to every partition once; returns the seconds that this took.

    The first record of a partition makes files, and that is a figure of its own: it must not run
    on into the window, where it would look like the cost of every record.
    """
    bench.create("load", partitions)
    return bench.fill("load", partitions, KIB, partitions, "--spread", "every-record",
                      "--message-timeout-ms", 300_000)["seconds"]


def sticky(partitions):
    def line(bench):
        first_records_s = touch(bench, partitions)
        report = bench.produce("load", partitions, KIB, batch_bytes=STICKY_BATCH_BYTES)
        return {**report, "first_records_s": first_records_s}

    line.__doc__ = f"The first line's load in batches of 128 KiB over {partitions:,} partitions."
    return line


def every_record(partitions):
    """Batches fill up to 16 KiB while five requests are in flight, as in the Java client."""

    def line(bench):
        first_records_s = touch(bench, partitions)
        report = bench.produce("load", partitions, KIB, "--spread", "every-record",
                               batch_bytes=SMALL_BATCH_BYTES)
        return {**report, "first_records_s": first_records_s}

    line.__doc__ = f"Every 1 KiB record to another of {partitions:,} partitions."
    return line


#: name: (function, brokers that it is run on)
LINES = {
    "throughput-1k": (throughput_1k, WRITERS),
    "throughput-100": (throughput_100, WRITERS),
    "roundtrip": (roundtrip, WRITERS),
    "steady-5000": (steady_5000, WRITERS),
    "consume-2gb": (consume_2gb, PEERS),
    "ready-empty": (ready_empty, PEERS),
    "ready-after-kill": (ready_after_kill, PEERS),
    "ready-5000": (ready_5000, PEERS),
    "sticky-1": (sticky(1), PEERS),
    "sticky-100": (sticky(100), PEERS),
    "sticky-1000": (sticky(1000), PEERS),
    "sticky-5000": (sticky(5000), PEERS),
    "every-record-1000": (every_record(1000), PEERS),
    "every-record-5000": (every_record(5000), PEERS),
}


def process(pid):
    """CPU seconds and resident memory of a process."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    with open(f"/proc/{pid}/statm") as file:
        pages = int(file.read().split()[1])
    ticks = os.sysconf("SC_CLK_TCK")
    return {
        "cpu_s": (int(fields[11]) + int(fields[12])) / ticks,
        "rss_kib": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
    }
