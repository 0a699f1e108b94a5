"""What every member of a group in Python has: orders on standard input, news on standard output.
groups.py says which."""

import collections
import sys
import threading

Given = collections.namedtuple("Given", "bootstrap topic group assignor instance")

#: The same for every member, in milliseconds.
SESSION_MS, HEARTBEAT_MS, MAX_POLL_MS = 6_000, 500, 7_000
COOPERATIVE = "cooperative-sticky"


def given():
    bootstrap, topic, group, assignor, instance = sys.argv[1:]
    return Given(bootstrap, topic, group, assignor, None if instance == "-" else instance)


def say(word, *more):
    print(word, *more, flush=True)


class Owned:
    """The partitions that a member has, told whenever they change."""

    def __init__(self):
        self.partitions = set()

    def now(self, partitions):
        self.partitions = set(partitions)
        say("owns", *sorted(self.partitions))

    def more(self, partitions):
        self.now(self.partitions | set(partitions))

    def fewer(self, partitions):
        self.now(self.partitions - set(partitions))


class Orders:
    """What the test wants of this member, read in a thread of its own."""

    def __init__(self):
        self.paused = False
        self.leaving = False
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in sys.stdin:
            self.paused = line.strip() == "pause"
            if line.strip() == "leave":
                break
        self.leaving = True
