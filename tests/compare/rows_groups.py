"""The rows of the table of consumer groups."""

from table import CPU, KAFKA, LATENCY, RATE, RESULTS, SECONDS, WALRUS, Page, at, ms, plain

MS, PERCENT = plain(0), plain(1)


def commits(title, line):
    """The rows of commits as fast as they are answered."""
    return [
        (title, line, at("commits_per_s"), "per s", RATE, [("ratio", KAFKA, ">=", 2.0)]),
        ("… p99", line, ms("latency", "p99_us"), "ms", LATENCY, []),
        ("… CPU of all three", line, at("broker_cpu_s_per_million"), "s per million", CPU, []),
    ]


def killed(title, line):
    """The rows of one death."""
    return [
        (f"{title}: raw members heartbeat again", line, at("heartbeat_ms"), "ms", MS,
         [("bound", None, "<=", 1000), ("worst", None, "<=", 1000)]),
        ("… librdkafka's members commit again", line, at("commit_ms"), "ms", MS,
         [("bound", None, "<=", 2000), ("worst", None, "<=", 2000)]),
        ("… members that joined again or heard of a rebalance", line, at("rebalances"), "", RATE,
         [("worst", None, "<=", 0)]),
    ]


def gap(title, phase):
    """The rows of one change among the members."""
    quiet = ("rebalance", at("quiet", "stayed", "max_ms"))
    return [
        (f"{title}: longest gap of a partition that stays", "rebalance",
         at(phase, "stayed", "max_ms"), "ms", MS, [("more", quiet, "<=", 50)]),
        ("… partitions that stay", "rebalance", at(phase, "stayed", "partitions"), "", RATE, []),
        ("… until all have their share", "rebalance", at(phase, "seconds"), "s", SECONDS, []),
    ]


ROWS = [
    *commits("Commits, one consumer", "commits-1"),
    *commits("Commits, 64 consumers of 64 groups", "commits-64"),
    *commits("Commits, 64 consumers of one group", "commits-64-one"),
    ("10,000 commits/s of 64 consumers, p50", "commits-steady", ms("latency", "p50_us"), "ms",
     LATENCY, []),
    ("… p99", "commits-steady", ms("latency", "p99_us"), "ms", LATENCY,
     [("bound", None, "<=", 10)]),
    ("… CPU of all three", "commits-steady", at("broker_cpu_s_per_million"), "s per million", CPU,
     []),
    ("1,000 idle groups of 3 members: heartbeats", "idle-groups", at("heartbeats_per_s"), "per s",
     RATE, []),
    ("… answered with an error", "idle-groups", at("errors_in_window"), "", RATE,
     [("bound", None, "<=", 0)]),
    ("… CPU of all three", "idle-groups", at("broker_cpu_percent"), "% of a core", PERCENT, []),
    ("… more than without the groups", "idle-groups", at("own_cpu_percent"), "% of a core", PERCENT,
     [("bound", None, "<=", 5)]),
    *killed("kill -9 of a coordinator", "coordinator-kill"),
    *killed("kill -9 of a coordinator that is the controller", "coordinator-controller"),
    ("50 cooperative members, nobody comes or goes: longest gap of a partition", "rebalance",
     at("quiet", "stayed", "max_ms"), "ms", MS, []),
    *gap("Two more come", "join"),
    *gap("One goes", "leave"),
]

PAGE = Page("groups", "Consumer groups beside Kafka's", RESULTS / "groups", ROWS, [
    "Walrus has every commit on two disks before it answers; Kafka has it in three page caches.",
    "Medians over the rounds, least and greatest in brackets. In the rows of a death each round "
    "counts its slowest of three members, from the kill to the answer to what was sent after it.",
], brokers=(WALRUS, KAFKA))
