"""kcat: librdkafka of 2.0, driven as from a shell. The records are those of python/records.py.

It creates topics as people do with it, by writing to one that is not there, and stays on partition
0. Its formats are lines, so keys and values here hold neither tabs nor ends of line, and a record
without a key is written with an empty one (-Z makes it none).
"""

import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "python"))
import records  # noqa: E402
from records import Cases  # noqa: E402

cases = Cases()
KCAT = sys.argv[3]
TIMEOUT_S = 40


def kcat(*arguments, stdin=None):
    done = subprocess.run(
        [KCAT, "-b", cases.bootstrap, "-q", "-X", "broker.address.family=v4", *arguments],
        input=stdin, capture_output=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise AssertionError(f"kcat {' '.join(arguments)}: {done.stderr.decode().strip()}")
    return done.stdout


def round_trip(name, *settings):
    def case():
        topic = cases.topic(name)
        sent = [i for i in range(records.COUNT) if records.value(i)]
        lines = b"".join(
            (records.key(i) or b"") + b"\t" + records.value(i) + b"\n" for i in sent)
        # kcat has no admin client: it writes, and the broker makes the topic.
        kcat("-P", "-t", topic, "-p", "0", "-K", "\t", "-Z", *settings, stdin=lines)
        got = kcat("-C", "-t", topic, "-p", "0", "-o", "beginning", "-e", "-Z",
                   "-X", "check.crcs=true", "-f", "%o\t%k\t%s\n").decode().splitlines()
        want = [
            f"{offset}\t{(records.key(i) or b'NULL').decode()}\t{records.value(i).decode()}"
            for offset, i in enumerate(sent)
        ]
        if got != want:
            wrong = next((pair for pair in zip(got, want) if pair[0] != pair[1]), ("", ""))
            raise AssertionError(
                f"{len(got)} records of {len(want)}, first difference: "
                f"got {wrong[0][:80]!r}, sent {wrong[1][:80]!r}")

    cases.run(name, case)


def listing():
    text = kcat("-L").decode()
    if cases.topic("acks-all") not in text or "broker" not in text:
        raise AssertionError(f"-L gives {text[:200]!r}")


def query():
    """Offsets by timestamp."""
    topic = cases.topic("acks-all")
    text = kcat("-Q", "-t", f"{topic}:0:0").decode()
    if "offset 0" not in text:
        raise AssertionError(f"-Q gives {text!r}")


for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    round_trip(f"codec-{codec}", "-X", f"compression.codec={codec}")
for acks in ("0", "1", "all"):
    round_trip(f"acks-{acks}", "-X", f"acks={acks}")
round_trip("idempotent", "-X", "enable.idempotence=true", "-X", "acks=all")
cases.run("list", listing)
cases.run("query", query)
