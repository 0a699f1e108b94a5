"""The rows of the table of three nodes beside three nodes."""

from table import CPU, FLUSHED, KAFKA, LATENCY, RATE, RESULTS, SECONDS, Page, at, mib, ms, plain

PAUSE, RATIO = plain(0), plain(2)


def sum_of(*path):
    """How many records were given up, by whatever reason."""
    pick = at(*path)
    return lambda report: sum(pick(report).values())


def fault(title, line, led, moved, others=None):
    """The rows of one fault."""
    control = ("failover-control", at("pause_others_ms"))
    return [
        (f"{title}: longest pause of what it led", line, at("pause_led_ms"), "ms", PAUSE, led),
        ("… leaders moved in Metadata", line, at("moved_ms"), "ms", PAUSE, moved),
        ("… longest pause of the other partitions", line, at("pause_others_ms"), "ms", PAUSE,
         [("more", control, "<=", others)] if others else []),
    ]


ROWS = [
    ("Throughput, 1 KiB, 6 partitions, acks=all", "throughput-1k", at("records_per_s"),
     "records/s", RATE, [("ratio", KAFKA, ">=", 3.0), ("ratio", FLUSHED, ">=", 8.0)]),
    ("… CPU of all three", "throughput-1k", at("broker_cpu_s_per_million"),
     "s per million", CPU, [("ratio", KAFKA, "<=", 0.3)]),
    ("… greatest RSS of all three together", "throughput-1k", mib("broker", "rss_peak_kib"),
     "MiB", RATE, []),
    ("Throughput, 100 B, 6 partitions, acks=all", "throughput-100", at("records_per_s"),
     "records/s", RATE, [("ratio", KAFKA, ">=", 2.0)]),
    ("… CPU of all three", "throughput-100", at("broker_cpu_s_per_million"),
     "s per million", CPU, []),
    ("One 1 KiB record in flight, acks=all, p50", "roundtrip", ms("latency", "p50_us"),
     "ms", LATENCY, [("ratio", KAFKA, "<=", 0.7)]),
    ("… p99", "roundtrip", ms("latency", "p99_us"),
     "ms", LATENCY, [("ratio", FLUSHED, "<=", 0.25)]),
    ("Steady 5,000 records/s, p50", "steady-5000", ms("latency", "p50_us"), "ms", LATENCY, []),
    ("… p99", "steady-5000", ms("latency", "p99_us"), "ms", LATENCY, [("bound", None, "<=", 10)]),
    ("Without a fault: longest pause of a partition", "failover-control", at("pause_others_ms"),
     "ms", PAUSE, []),
    *fault("kill -9 of a leader", "failover-kill",
           [("bound", None, "<=", 300), ("worst", None, "<=", 600)],
           [("bound", None, "<=", 150)], others=50),
    *fault("kill -9 of a leader that is the controller", "failover-controller",
           [("bound", None, "<=", 800), ("worst", None, "<=", 1600)], []),
    *fault("SIGTERM of a leader", "failover-term", [("bound", None, "<=", 200)], [], others=50),
    *fault("SIGSTOP of a leader, SIGCONT 2 s after others lead", "failover-stop", [],
           [("bound", None, "<=", 2000)], others=50),
    ("Rolls under 5,000 records/s, from parking to the first append after it, p50", "rollover",
     at("parked_p50_ms"), "ms", SECONDS, [("bound", None, "<=", 5)]),
    ("… p99", "rollover", at("parked_p99_ms"), "ms", SECONDS, [("bound", None, "<=", 20)]),
    ("… rolls", "rollover", at("counted"), "", RATE, [("bound", None, ">=", 1000)]),
    ("… records that a client gave up", "rollover", sum_of("failed"), "", RATE,
     [("bound", None, "<=", 0)]),
    ("… p99 that clients saw, with rolls", "rollover", ms("latency", "p99_us"), "ms", LATENCY, []),
    ("… and without", "rollover", ms("quiet", "p99_us"), "ms", LATENCY, []),
    ("A fourth node joins under 5,000 records/s: leases balanced", "join", at("balanced_s"),
     "s", SECONDS, [("bound", None, "<=", 5)]),
    ("… bytes copied for it", "join", at("copied_bytes"), "bytes", RATE,
     [("bound", None, "<=", 0)]),
    ("… p99 of producers, times its quiet value", "join", at("p99_times_quiet"), "×", RATIO,
     [("bound", None, "<=", 2)]),
    ("1,000 partitions: idle CPU of all three", "many-1000", at("idle_cpu_percent"),
     "%", CPU, []),
    ("… RSS of the greatest node", "many-1000", mib("idle_rss_kib"), "MiB", RATE, []),
    ("… kill -9 of a leader: all leaders moved in Metadata", "many-1000", at("moved_ms"),
     "ms", PAUSE, []),
    ("… all partitions acked again", "many-1000", at("all_acked_again_ms"), "ms", PAUSE,
     [("bound", None, "<=", 1000)]),
    ("Metadata commands, 32 clients", "raft", at("commands_per_s"), "per s", RATE, []),
    ("… kill -9 of who leads the metadata, to the next command", "raft", at("next_command_ms"),
     "ms", PAUSE, [("bound", None, "<=", 500)]),
]

PAGE = Page("3", "Three nodes beside three of Kafka", RESULTS / "three", ROWS, [
    "Walrus has every record on two disks before the ack (min.insync.replicas=2 for all); Kafka "
    "as it comes has it in three page caches.",
    "Medians over the rounds, least and greatest in brackets. In a fault's rows a pause is the "
    "longest time between two acks of one partition, and each round counts its worst partition.",
])
