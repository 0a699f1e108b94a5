"""The records every client writes and expects back; the same in all languages.

Record i of a topic: partition i % 3, key `k<i>` (none when i ends in 7), value `<i>:` followed by
the alphabet over and over, cut to a length that goes round through 0, 1, 10, 100, 1,000 and 20,000;
header `n` = `<i>`, in clients that have headers. Three hundred of them.

A client reports one line per case on stdout: name, `ok`, `fail` or `skip`, and why; tab-separated.
"""

import pathlib
import sys
import time
import traceback

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "compare"))
import probe  # noqa: E402

PARTITIONS = 3
COUNT = 300
LENGTHS = (0, 1, 10, 100, 1000, 20_000)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
READ_TIMEOUT_S = 30


def key(i):
    return None if i % 10 == 7 else f"k{i}".encode()


def value(i):
    length = LENGTHS[i % len(LENGTHS)]
    return (f"{i}:" + ALPHABET * (length // 26 + 1))[:length].encode()


def header(i):
    return [("n", str(i).encode())]


def partition(i):
    return i % PARTITIONS


def settled(bootstrap, topic, partitions):
    """Waits until every partition of a new topic answers for itself.

    A broker may say that a topic is made before it leads it; what is sent in between is refused and
    sent again, which reorders records without idempotence and loses them with acks 0. That is no
    fault of a client, and none of a broker.
    """
    probe.wait_ready(bootstrap, topic, partitions, timeout_s=20)


def expected(partition_index):
    return [i for i in range(COUNT) if partition(i) == partition_index]


def compare(read, headers=True):
    """`read` is {partition: [(offset, key, value, headers)]}; raises unless it is all there."""
    for index in range(PARTITIONS):
        got = sorted(read.get(index, []))
        want = expected(index)
        if len(got) != len(want):
            raise AssertionError(f"partition {index}: {len(got)} records, {len(want)} were sent")
        for offset, (i, record) in enumerate(zip(want, got)):
            wanted = (offset, key(i), value(i), header(i) if headers else [])
            if record[:3] != wanted[:3] or (headers and list(record[3]) != wanted[3]):
                raise AssertionError(
                    f"partition {index} offset {offset}: "
                    f"got {str(record)[:120]}, sent {str(wanted)[:120]}")


class Cases:
    """Runs cases and reports them."""

    def __init__(self):
        self.bootstrap, self.prefix = sys.argv[1], sys.argv[2]

    def topic(self, name):
        return f"{self.prefix}-{name}"

    def run(self, name, case):
        try:
            why = case() or ""
            self.say(name, "ok", why)
        except Exception as error:
            traceback.print_exc()
            self.say(name, "fail", f"{type(error).__name__}: {error}")

    @staticmethod
    def say(name, verdict, why=""):
        print(f"{name}\t{verdict}\t{' '.join(str(why).split())}", flush=True)


def deadline(seconds=READ_TIMEOUT_S):
    return time.monotonic() + seconds
