"""Groups of real clients: they join, share, leave, crash, pause, come back, and mix languages.

Each member is a process of its own. It is given bootstrap, topic, group, assignor and static id
(or `-`); it obeys `pause`, `resume` and `leave` on its standard input; it tells `owns 0 1 2`
whenever that changes, `got PARTITION OFFSET` for each record, and `left` at its end. It commits
what it got at once.

  groups.py BOOTSTRAP PREFIX COMMANDS      COMMANDS is JSON: the command of each language's member
"""

import concurrent.futures
import json
import os
import signal
import subprocess
import sys
import threading
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

import records

PARTITIONS = 6
#: Something is broken when a group needs so long: several session timeouts.
PATIENCE_S = 60
#: A member that says good-bye is not missed for a session timeout (6 s).
LEAVE_S = 5
#: Between two records that are written while a group changes.
WRITE_EVERY_S = 0.02
#: Stories that are told at the same time; most of each is waiting.
AT_ONCE = 5

bootstrap, prefix, commands = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
BASE = {"bootstrap.servers": bootstrap, "broker.address.family": "v4"}
admin = AdminClient(BASE)

#: What the libraries have. Go and JavaScript know no longest time between two polls.
ASSIGNORS = {
    "confluent-kafka": ("range", "roundrobin", "cooperative-sticky"),
    "kafka-python": ("range", "roundrobin", "cooperative-sticky"),
    "aiokafka": ("range", "roundrobin"),
    "franz-go": ("range", "roundrobin", "cooperative-sticky"),
    "java": ("range", "roundrobin", "cooperative-sticky"),
    "kafkajs": ("its own",),
}
PAUSES = ("confluent-kafka", "kafka-python", "aiokafka", "java")
STATIC = ("confluent-kafka", "kafka-python", "aiokafka", "franz-go", "java")
MIXED = (
    ("java", "confluent-kafka", "range"),
    ("java", "kafka-python", "roundrobin"),
    ("kafka-python", "aiokafka", "range"),
    ("java", "franz-go", "cooperative-sticky"),
    ("confluent-kafka", "franz-go", "cooperative-sticky"),
    ("confluent-kafka", "kafka-python", "cooperative-sticky"),
)


class Member:
    """A process that takes part."""

    def __init__(self, story, language, instance="-"):
        self.story, self.name = story, language
        self.owned, self.history = set(), []
        self.is_ending, self.has_left = False, False
        self.process = subprocess.Popen(
            [*commands[language], bootstrap, story.topic, story.group, story.assignor, instance],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.errors = []
        threading.Thread(target=self._hear, daemon=True).start()
        threading.Thread(target=self._complaints, daemon=True).start()

    def _hear(self):
        for line in self.process.stdout:
            word, *more = line.split()
            if word == "owns":
                self.owned = {int(index) for index in more}
                self.history.append(self.owned)
            elif word == "got":
                self.story.got.add((int(more[0]), int(more[1])))
            elif word == "left":
                self.has_left = True

    def _complaints(self):
        for line in self.process.stderr:
            self.errors.append(line.rstrip())

    def ended_by_itself(self):
        return not self.is_ending and self.process.poll() is not None

    def order(self, word):
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()

    def leave(self):
        self.is_ending = True
        self.order("leave")
        self.process.wait(PATIENCE_S)
        assert self.has_left, f"{self.name} ended badly: {self.errors[-3:]}"
        self.owned = set()

    def kill(self):
        """No good-bye: it is missed when its session times out."""
        self.is_ending = True
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.owned = set()


class Story:
    """A topic that is written to all the while, and a group that reads it."""

    def __init__(self, name, assignor):
        self.assignor = assignor
        self.topic = self.group = f"{prefix}-{name}"
        self.got, self.ends, self.members = set(), [0] * PARTITIONS, []
        new = NewTopic(self.topic, PARTITIONS, 1)
        for future in admin.create_topics([new], operation_timeout=20).values():
            future.result(30)
        records.settled(bootstrap, self.topic, PARTITIONS)
        self.producer = Producer({**BASE, "linger.ms": 0})
        self.writes = True
        self.writer = threading.Thread(target=self._write, daemon=True)
        self.writer.start()

    def _write(self):
        count = 0
        while self.writes:
            self.write(count % PARTITIONS)
            count += 1
            time.sleep(WRITE_EVERY_S)

    def write(self, partition):
        self.producer.produce(self.topic, value=b"x", partition=partition)
        self.producer.poll(0)
        self.ends[partition] += 1

    def join(self, language, instance="-"):
        self.members.append(Member(self, language, instance))
        return self.members[-1]

    def until(self, holds, what, patience_s=PATIENCE_S):
        began = time.monotonic()
        while not holds():
            ended = [one for one in self.members if one.ended_by_itself()]
            assert not ended, f"{what}: {ended[0].name} ended: {ended[0].errors[-3:]}"
            if time.monotonic() - began > patience_s:
                raise AssertionError(f"{what}: not after {patience_s} s; {self.told()}")
            time.sleep(0.02)
        return time.monotonic() - began

    def told(self):
        ends = [(one.name, sorted(one.owned), one.errors[-2:]) for one in self.members]
        return f"members {ends}"

    def shared(self, *members, what, patience_s=PATIENCE_S):
        """Every partition has one owner, and everybody has some."""
        def holds():
            owned = [one.owned for one in members]
            everything = sorted(index for each in owned for index in each)
            return all(owned) and everything == list(range(PARTITIONS))

        return self.until(holds, what, patience_s)

    def all_read(self):
        """Everything that was written was read at least once. Nothing is written after this."""
        self.writes = False
        self.writer.join()
        left = self.producer.flush(20)
        assert left == 0, f"{left} records without an ack"
        wanted = {(part, at) for part, end in enumerate(self.ends) for at in range(end)}
        self.until(lambda: wanted <= self.got, f"all {len(wanted)} records are read")
        return len(wanted)

    def all_committed(self):
        """As librdkafka reads it back."""
        reader = Consumer({**BASE, "group.id": self.group})
        places = [TopicPartition(self.topic, index) for index in range(PARTITIONS)]
        committed = [place.offset for place in reader.committed(places, timeout=20)]
        reader.close()
        assert committed == self.ends, f"committed {committed}, written {self.ends}"

    def end(self):
        self.writes = False
        for one in self.members:
            one.kill()


def told(name, assignor, tell):
    """A story as a case."""
    def body():
        story = Story(name, assignor)
        try:
            return tell(story)
        finally:
            story.end()

    return name, body


def alone(language):
    """One language: members come, go, die and pause, and nothing is lost."""
    def tell(story):
        a, b = story.join(language), story.join(language)
        story.shared(a, b, what="two share")
        c = story.join(language)
        story.shared(a, b, c, what="three share")
        c.leave()
        story.shared(a, b, what="two have what the third left", patience_s=LEAVE_S)
        d = story.join(language)
        story.shared(a, b, d, what="three share again")
        d.kill()
        missed = story.shared(a, b, what="two have what the killed one had")
        if language in PAUSES:
            b.order("pause")
            story.shared(a, what="the one that polls has all")
            b.order("resume")
            story.shared(a, b, what="two share after the pause")
        count = story.all_read()
        a.leave()
        b.leave()
        story.all_committed()
        return f"{count} records, a killed member was missed after {missed:.1f} s"

    return told(f"{language}-alone", ASSIGNORS[language][0], tell)


def returns(language):
    """A static member that comes back within its session has what it had, and nobody else moves."""
    def tell(story):
        a, b = story.join(language, "first"), story.join(language, "second")
        story.shared(a, b, what="two share")
        story.until(lambda: len(story.got) > PARTITIONS, "both work")
        for stays, goes, name in ((a, b, "second"), (b, a, "first")):
            had, before = set(goes.owned), len(stays.history)
            goes.kill()
            back = story.join(language, name)
            story.until(lambda: back.owned == had, f"{name} has what it had")
            assert len(stays.history) == before, f"the other one moved: {stays.history}"
            if goes is b:
                b = back
            else:
                a = back
        count = story.all_read()
        return f"{count} records"

    return told(f"{language}-static", "range", tell)


def cooperates(language):
    """What a member keeps when another one comes it has at every moment."""
    def tell(story):
        a, b = story.join(language), story.join(language)
        story.shared(a, b, what="two share")
        had = [set(one.owned) for one in (a, b)]
        before = [len(one.history) for one in (a, b)]
        c = story.join(language)
        story.shared(a, b, c, what="three share")
        for one, mine, since in zip((a, b), had, before):
            keeps = mine & one.owned
            assert keeps, f"it kept nothing of {mine}"
            lost = [owned for owned in one.history[since:] if not keeps <= owned]
            assert not lost, f"it keeps {keeps}, and had {lost} between"
        c.kill()
        story.shared(a, b, what="two share again")
        count = story.all_read()
        a.leave()
        b.leave()
        story.all_committed()
        return f"{count} records"

    return told(f"{language}-cooperative", "cooperative-sticky", tell)


def mixes(one, other, assignor):
    """Two languages in one group; then each goes on where the other one committed."""
    def tell(story):
        a, b = story.join(one), story.join(other)
        story.shared(a, b, what="two share")
        c = story.join(other)
        story.shared(a, b, c, what="three share")
        c.leave()
        story.shared(a, b, what="two share again")
        count = story.all_read()
        b.leave()
        story.shared(a, what="the one that stays has all")
        a.leave()
        story.all_committed()
        for language in (one, other):
            story.got.clear()
            new = {(index, story.ends[index]) for index in range(PARTITIONS)}
            for index in range(PARTITIONS):
                story.write(index)
            assert story.producer.flush(20) == 0
            last = story.join(language)
            story.until(lambda: new <= story.got, f"{language} reads what is new")
            assert story.got == new, f"{language} read {sorted(story.got - new)} again"
            last.leave()
            story.all_committed()
        return f"{count} records"

    return told(f"{one}-{other}-{assignor}", assignor, tell)


def stories():
    for language in commands:
        yield alone(language)
        if language in STATIC:
            yield returns(language)
        if "cooperative-sticky" in ASSIGNORS[language]:
            yield cooperates(language)
    for one, other, assignor in MIXED:
        if one in commands and other in commands:
            yield mixes(one, other, assignor)


with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
    cases = records.Cases()
    for done in [pool.submit(cases.run, name, body) for name, body in stories()]:
        done.result()
