"""Makes the tables of BENCHMARKS.md from the raw figures in results/, and from nothing else.

Every row is the median over the rounds with the least and the greatest beside it. The same files
give the same text, so `run 1 --check` and its like can hold BENCHMARKS.md against them.
Which rows there are is told by `rows.py`, `rows3.py` and `rows_groups.py`.
"""

import json
import pathlib
import statistics

HERE = pathlib.Path(__file__).resolve().parent
RESULTS = HERE / "results"
BENCHMARKS = HERE.parent.parent / "BENCHMARKS.md"
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


class Page:
    """One comparison: where its figures lie, and how its table is made.

    A row is (title, line, pick, unit, form, goals), a goal (kind, of, operator, value). What ours
    is held against is by kind: "ratio" the median of a peer, "own" that of our own in another
    line, both as a factor; "bound" the value itself, "worst" the same for the worst round; "more"
    the sum of the value and our own median of another (line, pick).
    """

    def __init__(self, name, title, results, rows, intro, brokers=(WALRUS, KAFKA, FLUSHED)):
        self.name, self.title = name, title
        self.results, self.rows, self.intro = results, rows, intro
        self.brokers = brokers
        self.begin = f"<!-- compare {name}: begin -->"
        self.end = f"<!-- compare {name}: end -->"


def load_results(page):
    """{line: its file} for every line that was measured."""
    return {path.stem: json.loads(path.read_text()) for path in sorted(page.results.glob("*.json"))}


def figures(results, line, broker, pick):
    """The figure of each round that gave one."""
    runs = results.get(line, {}).get("runs", [])
    found = [pick(run["report"]) for run in runs if run["broker"] == broker and "report" in run]
    return [figure for figure in found if figure is not None]


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
HEADS = {WALRUS: "Walrus", KAFKA: "Kafka", FLUSHED: "Kafka, flush.messages=1"}


def judge(results, row, goal):
    """What a goal says and whether it is met, in words; None if there is nothing to judge yet."""
    _, line, pick, unit, form, _ = row
    kind, peer, operator, value = goal
    rounds = figures(results, line, WALRUS, pick)
    if not rounds:
        return None
    ours = statistics.median(rounds)
    sign = SIGNS[operator]
    if kind == "bound":
        return f"{sign} {value} {unit}", holds(ours, operator, value), None
    if kind == "worst":
        worst = max(rounds) if operator == "<=" else min(rounds)
        return f"worst {sign} {value} {unit}", holds(worst, operator, value), None
    if kind == "more":
        beside = figures(results, peer[0], WALRUS, peer[1])
        if not beside:
            return None
        more = ours - statistics.median(beside)
        told = f"{sign} {value} {unit} more than `{peer[0]}` ({more:+,.0f})"
        return told, holds(more, operator, value), None
    theirs = figures(results, *((peer, WALRUS) if kind == "own" else (line, peer)), pick)
    name = f"`{peer}`" if kind == "own" else NAMES[peer]
    if not theirs or statistics.median(theirs) == 0:
        return None
    ratio = ours / statistics.median(theirs)
    return f"{sign} {value} × {name}", holds(ratio, operator, value), ratio


def row_text(results, row, brokers):
    title, line, pick, unit, form, goals = row
    if line not in results:
        return None
    cells = []
    for broker in brokers:
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


def table(page):
    """The text between the markers, or None when nothing was measured yet."""
    results = load_results(page)
    if not results:
        return None
    lines = sorted({about_text(about) for found in results.values() for about in abouts(found)})
    lines += [
        *state_of_machine(results),
        "",
        *page.intro,
        "",
        f"| what | unit | {' | '.join(HEADS[broker] for broker in page.brokers)} | goal for Walrus |",
        f"|---|---|{'--:|' * len(page.brokers)}---|",
    ]
    lines += [text for row in page.rows if (text := row_text(results, row, page.brokers))]
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


def abouts(found):
    """When, on what and of what a line was measured: once, or broker by broker."""
    about = found["about"]
    return [about] if "date" in about else about.values()


def about_text(about):
    return (f"- {about['date']}, {', '.join(about['versions'])}, {about['machine']}; "
            f"{about['rounds']} rounds of {about['seconds']:g} s "
            f"after {about['warmup']:g} s of warm-up.")


def state_of_machine(results):
    """How busy the machine was, where that was noted."""
    seen = [about["load_average"] for found in results.values() for about in abouts(found)
            if "load_average" in about]
    if not seen:
        return []
    return [f"- Load average of the machine when the lines began: {min(seen):.1f} to {max(seen):.1f}."]


def section(page, text):
    return f"{page.begin}\n{text}\n{page.end}"


def write(page):
    """Puts the table into BENCHMARKS.md, between its markers."""
    text = table(page)
    if text is None:
        return
    told = BENCHMARKS.read_text() if BENCHMARKS.exists() else "# Benchmarks\n"
    if page.begin in told:
        before, rest = told.split(page.begin, 1)
        told = before + section(page, text) + rest.split(page.end, 1)[1]
    else:
        told = (told.rstrip("\n") + f"\n\n## {page.title}\n\n"
                f"Made by `tests/compare/run {page.name}`; `tests/compare/run {page.name} "
                "--check` makes it again.\n\n" + section(page, text) + "\n")
    BENCHMARKS.write_text(told)


def check(page):
    """Why BENCHMARKS.md is not what the raw figures give; None if it is."""
    text = table(page)
    told = BENCHMARKS.read_text() if BENCHMARKS.exists() else ""
    found = ""
    if page.begin in told and page.end in told:
        found = told.split(page.begin, 1)[1].split(page.end, 1)[0].strip("\n")
    if found == (text or ""):
        return None
    if not text or not found:
        return "there are raw figures, but no table" if text \
            else "there is a table, but no raw figures"
    for ours, theirs in zip(text.splitlines(), found.splitlines()):
        if ours != theirs:
            return f"the raw figures give\n  {ours}\nand the table says\n  {theirs}"
    return "the table has more or fewer lines than the raw figures give"
