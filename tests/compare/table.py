"""Makes the table of BENCHMARKS.md from the raw figures in results/, and from nothing else.

Every row is the median over the rounds with the least and the greatest beside it. The same files
give the same text, so `run 1 --check` can hold BENCHMARKS.md against them.
"""

import json
import pathlib
import statistics

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"
BENCHMARKS = HERE.parent.parent / "BENCHMARKS.md"
BEGIN, END = "<!-- compare 1: begin -->", "<!-- compare 1: end -->"
KAFKA, FLUSHED, WALRUS = "kafka", "kafka-flushed", "walrus"


def at(*path):
    """Picks a figure out of a report by its path."""

    def pick(report):
        for key in path:
            report = report[key]
        return report

    return pick


def mib(*path):
    pick = at(*path)
    return lambda report: pick(report) / 1024


def ms(*path):
    pick = at(*path)
    return lambda report: pick(report) / 1000


def plain(digits):
    return lambda value: f"{value:,.{digits}f}"


RATE, CPU, LATENCY, SECONDS = plain(0), plain(2), plain(3), plain(3)

# A goal compares Walrus with a peer's median ("ratio") or with a fixed bound ("bound").
# (title, line, pick, unit, form, goals); a goal is (kind, peer, operator, value).
ROWS = [
    ("Throughput, 1 KiB, 6 partitions, acks=all", "throughput-1k", at("records_per_s"),
     "records/s", RATE, [("ratio", KAFKA, ">=", 2.0), ("ratio", FLUSHED, ">=", 8.0)]),
    ("… broker CPU", "throughput-1k", at("broker_cpu_s_per_million"),
     "s per million", CPU, [("ratio", KAFKA, "<=", 0.4)]),
    ("… greatest RSS under that load", "throughput-1k", mib("broker", "rss_peak_kib"),
     "MiB", RATE, [("bound", None, "<=", 150)]),
    ("Throughput, 100 B, 6 partitions, acks=all", "throughput-100", at("records_per_s"),
     "records/s", RATE, [("ratio", KAFKA, ">=", 0.95)]),
    ("… broker CPU", "throughput-100", at("broker_cpu_s_per_million"),
     "s per million", CPU, [("ratio", KAFKA, "<=", 0.5)]),
    ("One 1 KiB record in flight, acks=all, p50", "roundtrip", ms("latency", "p50_us"),
     "ms", LATENCY, [("ratio", KAFKA, "<=", 1.2)]),
    ("… p99", "roundtrip", ms("latency", "p99_us"),
     "ms", LATENCY, [("ratio", FLUSHED, "<=", 0.2)]),
    ("Steady 5,000 records/s, p50", "steady-5000", ms("latency", "p50_us"), "ms", LATENCY, []),
    ("… p99", "steady-5000", ms("latency", "p99_us"),
     "ms", LATENCY, [("ratio", KAFKA, "<=", 1.0), ("ratio", FLUSHED, "<=", 0.2)]),
    ("… p99.9", "steady-5000", ms("latency", "p99_9_us"), "ms", LATENCY, []),
    ("Consume 2 GB from the start, warm", "consume-2gb", at("warm", "mb_per_s"),
     "MB/s", RATE, [("ratio", KAFKA, ">=", 0.95)]),
    ("… broker CPU", "consume-2gb", at("warm", "broker_cpu_s_per_million"),
     "s per million", CPU, [("ratio", KAFKA, "<=", 1.2)]),
    ("… first read after a restart, time", "consume-2gb", at("after_restart", "seconds"),
     "s", SECONDS, [("ratio", KAFKA, "<=", 1.5)]),
    ("Ready, empty folder", "ready-empty", at("ready_s"),
     "s", SECONDS, [("bound", None, "<=", 0.1)]),
    ("… RSS idle", "ready-empty", mib("idle_rss_kib"),
     "MiB", RATE, [("bound", None, "<=", 30)]),
    ("Ready after kill -9 with a full WAL ring", "ready-after-kill", at("ready_s"),
     "s", SECONDS, [("bound", None, "<=", 0.6)]),
    ("Ready after kill -9, 5,000 partitions with data", "ready-5000", at("ready_s"),
     "s", SECONDS, [("bound", None, "<=", 1.0)]),
    ("… idle CPU before it", "ready-5000", at("idle_cpu_percent"),
     "%", CPU, [("bound", None, "<=", 1.0)]),
    ("… RSS idle before it", "ready-5000", mib("idle_rss_kib"),
     "MiB", RATE, [("bound", None, "<=", 100)]),
    ("Sticky batches over 1 partition", "sticky-1", at("records_per_s"), "records/s", RATE, []),
    ("… over 100", "sticky-100", at("records_per_s"),
     "records/s", RATE, [("own", "sticky-1", ">=", 0.75)]),
    ("… over 1,000", "sticky-1000", at("records_per_s"),
     "records/s", RATE, [("own", "sticky-1", ">=", 0.75)]),
    ("… over 5,000", "sticky-5000", at("records_per_s"),
     "records/s", RATE, [("own", "sticky-1", ">=", 0.75)]),
    ("… first record to each of 5,000", "sticky-5000", at("first_records_s"), "s", SECONDS, []),
    ("Every record to another partition, 1,000", "every-record-1000", at("records_per_s"),
     "records/s", RATE, [("ratio", KAFKA, ">=", 4.0)]),
    ("… of 5,000", "every-record-5000", at("records_per_s"),
     "records/s", RATE, [("bound", None, ">", 0)]),
]


def load_results():
    """{line: its file} for every line that was measured."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))}


def figures(results, line, broker, pick):
    """The figure of each round that gave one."""
    runs = results.get(line, {}).get("runs", [])
    return [pick(run["report"]) for run in runs if run["broker"] == broker and "report" in run]


def failed(results, line, broker):
    runs = results.get(line, {}).get("runs", [])
    return any(run["broker"] == broker and "error" in run for run in runs)


def cell(values, form):
    middle = form(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({form(min(values))}–{form(max(values))})"


def holds(value, operator, goal):
    return {"<=": value <= goal, ">=": value >= goal, ">": value > goal}[operator]


SIGNS = {"<=": "≤", ">=": "≥", ">": ">"}
NAMES = {KAFKA: "Kafka", FLUSHED: "Kafka flushed"}


def judge(results, row, goal):
    """What a goal says and whether it is met, in words; None if there is nothing to judge yet."""
    _, line, pick, unit, form, _ = row
    kind, peer, operator, value = goal
    ours = figures(results, line, WALRUS, pick)
    if not ours:
        return None
    ours = statistics.median(ours)
    sign = SIGNS[operator]
    if kind == "bound":
        return f"{sign} {value} {unit}", holds(ours, operator, value), None
    theirs = figures(results, *((peer, WALRUS) if kind == "own" else (line, peer)), pick)
    name = f"`{peer}`" if kind == "own" else NAMES[peer]
    if not theirs or statistics.median(theirs) == 0:
        return None
    ratio = ours / statistics.median(theirs)
    return f"{sign} {value} × {name}", holds(ratio, operator, value), ratio


def row_text(results, row):
    title, line, pick, unit, form, goals = row
    if line not in results:
        return None
    cells = []
    for broker in (WALRUS, KAFKA, FLUSHED):
        values = figures(results, line, broker, pick)
        if values:
            cells.append(cell(values, form))
        else:
            cells.append("no result" if failed(results, line, broker) else "")
    judged = [found for goal in goals if (found := judge(results, row, goal))]
    words = []
    for goal, met, ratio in judged:
        seen = "" if ratio is None else f" ({ratio:.2f})"
        words.append(f"{goal}{seen}: {'yes' if met else '**no**'}")
    return f"| {title} | {unit} | {' | '.join(cells)} | {'; '.join(words)} |"


def table():
    """The text between the markers, or None when nothing was measured yet."""
    results = load_results()
    if not results:
        return None
    lines = []
    for about in sorted({about_text(found) for found in results.values()}):
        lines.append(about)
    lines += [
        "",
        "Walrus flushes before every ack; Kafka as it comes does not.",
        "Medians over the rounds, least and greatest in brackets.",
        "",
        "| what | unit | Walrus | Kafka | Kafka, flush.messages=1 | goal for Walrus |",
        "|---|---|--:|--:|--:|---|",
    ]
    lines += [text for row in ROWS if (text := row_text(results, row))]
    if notes := given_up(results):
        lines += ["", *notes]
    return "\n".join(lines)


def given_up(results):
    """Records that got no ack do not count as throughput; here they are named."""
    notes = []
    for line, found in results.items():
        for broker in (WALRUS, KAFKA, FLUSHED):
            count = sum(sum(run["report"].get("failed", {}).values())
                        for run in found["runs"] if run["broker"] == broker and "report" in run)
            if count:
                notes.append(f"- `{line}`, {NAMES.get(broker, 'Walrus')}: "
                             f"{count:,} records were given up without an ack.")
    return notes


def about_text(found):
    """When, on what and of what a line was measured."""
    about = found["about"]
    return (f"- {about['date']}, {', '.join(about['versions'])}, {about['machine']}; "
            f"{about['rounds']} rounds of {about['seconds']:g} s "
            f"after {about['warmup']:g} s of warm-up.")


def section(text):
    return f"{BEGIN}\n{text}\n{END}"


def write():
    """Puts the table into BENCHMARKS.md, between its markers."""
    text = table()
    if text is None:
        return
    page = BENCHMARKS.read_text() if BENCHMARKS.exists() else "# Benchmarks\n"
    if BEGIN in page:
        before, rest = page.split(BEGIN, 1)
        page = before + section(text) + rest.split(END, 1)[1]
    else:
        page = (page.rstrip("\n") + "\n\n## One node beside Kafka\n\n"
                "Made by `tests/compare/run 1`; `tests/compare/run 1 --check` makes it again.\n\n"
                + section(text) + "\n")
    BENCHMARKS.write_text(page)


def check():
    """Why BENCHMARKS.md is not what the raw figures give; None if it is."""
    text = table()
    page = BENCHMARKS.read_text() if BENCHMARKS.exists() else ""
    if text is None:
        return "there is a table, but no raw figures" if BEGIN in page else None
    if BEGIN not in page or END not in page:
        return "there are raw figures, but no table"
    found = page.split(BEGIN, 1)[1].split(END, 1)[0].strip("\n")
    if found == text:
        return None
    for ours, theirs in zip(text.splitlines(), found.splitlines()):
        if ours != theirs:
            return f"the raw figures give\n  {ours}\nand the table says\n  {theirs}"
    return "the table has more or fewer lines than the raw figures give"
