"""confluent-kafka's own examples, run as a reader would: those of the README that its source
distribution has, and the programs of `examples/` where their folder is given (they are in no
package).

An example fails that says something else than on Kafka, or ends otherwise. What Walrus has not is
listed with the words of the failure and the reason: an example that is listed and passes is taken
from the list.
"""

import collections
import hashlib
import re
import shutil
import signal
import subprocess
import threading
import time

from fetched import Skip

#: Of which release `examples/` is, and the hash of each program that is run.
RELEASE = "2.15.0"
PROGRAMS = {
    "producer.py": "5a75143961dd509aa1787f90ba6a15093fc77c20e2d0d26b0620aded63141e3a",
    "consumer.py": "0e9e8287d1c36822a2dce42c2c587a6a527a9849df58655761e9dee3a97680ac",
    "get_watermark_offsets.py": "ff5ef22bf4fcadae09cc34bd1cc829630b7b9f3e19a56b714c25d8383ab51e47",
    "context_manager_example.py": "87f33fa75ce04ac65eb764a5f6d614e39008ad3b92bdeacc706c0a2c8f550b9b",
    "adminapi.py": "89e2e974f244719c6645d04546724d729cf75e9bc32b1ecf72aa51e559277356",
    "adminapi_logger.py": "366681db2c1ea531bc8377812b01bd5adfaba5eeb3158806a99ab7ba2d6e8340",
    "eos_transactions.py": "96be6a80ca50331a13bf94cebe14dd37acca587d388c4d05780d0eb0d6b08b07",
}
#: An example that takes longer hangs; each takes a second or two, those of groups a few.
PATIENCE_S = 30
#: One that is listed because it never ends costs so much in each run.
TRANSACTION_S = 8
RECORDS = 12

#: Words of what it fails with, and why.
Known = collections.namedtuple("Known", "words reason")
#: Where the broker is Walrus.
WALRUS = {
    "admin-acls": Known("SECURITY_DISABLED", "there are no ACLs"),
    "admin-scram": Known("somebody: Error: .*", "there are no users with passwords"),
    "transactions": Known(
        "no end after", "there are no transactions; librdkafka asks for their coordinator again, "
        "whatever the refusal, until init_transactions times out, and here it has no limit"),
}


class Failed(Exception):
    """An example did something else than on Kafka."""


class Program:
    """An example that goes on until it is interrupted, and what it has said so far."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, bufsize=1)
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()

    @property
    def said(self):
        return "".join(self.lines)

    def until(self, holds, what):
        """Waits until what it said is so."""
        with self.changed:
            if not self.changed.wait_for(lambda: holds(self.said), PATIENCE_S):
                raise Failed(f"not after {PATIENCE_S} s: {what}\n{self.said}")

    def interrupt(self):
        """As by Ctrl-C; it has to end well."""
        self.process.send_signal(signal.SIGINT)
        try:
            ended = self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end {PATIENCE_S} s after SIGINT\n{self.said}") from None
        self.reader.join()
        if ended != 0:
            raise Failed(f"ended with {ended}\n{self.said}")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Bench:
    """Runs examples against one broker."""

    def __init__(self, python, folder, broker):
        self.python, self.folder, self.broker = str(python), folder, broker
        self.bootstrap = broker.bootstrap
        #: Matches how a node is shown, whichever it is.
        self.node = rf"\(({'|'.join(map(str, broker.numbers))})\) 127\.0\.0\.1:"
        self.output = ""

    def command(self, program, *arguments):
        # Unbuffered: what it says is looked at while it runs.
        return [self.python, "-B", "-u", str(self.folder / program), *map(str, arguments)]

    def run(self, program, *arguments, stdin="", ends=0, patience_s=PATIENCE_S):
        """Runs one to its end, and keeps what it says."""
        try:
            done = subprocess.run(self.command(program, *arguments), input=stdin, text=True,
                                  capture_output=True, timeout=patience_s)
        except subprocess.TimeoutExpired as late:
            said = late.stdout.decode() if late.stdout else ""
            raise Failed(f"{program}: no end after {patience_s} s\n{said}") from None
        self.output = done.stdout + done.stderr
        if done.returncode != ends:
            raise Failed(f"{program} ended with {done.returncode}\n{self.output}")

    def admin(self, operation, *arguments, says=(), unsaid="^ *(Failed|Error)"):
        """One operation of adminapi.py, and what it has to say, and what not."""
        self.run("adminapi.py", self.bootstrap, operation, *arguments)
        for words in [says] if isinstance(says, str) else says:
            if not re.search(words, self.output, re.MULTILINE):
                raise Failed(f"{operation}: nothing like /{words}/\n{self.output}")
        if unsaid and re.search(unsaid, self.output, re.MULTILINE):
            raise Failed(f"{operation}: /{unsaid}/\n{self.output}")

    def refused(self, operation, *arguments, says):
        """One that is refused in these words."""
        self.admin(operation, *arguments, says=says, unsaid=None)

    def topic(self, name, records=RECORDS):
        """A topic of three partitions, and records in it by the producer's example."""
        self.admin("create_topics", name, says=f"Topic {name} created")
        if records:
            lines = "".join(f"line {number}\n" for number in range(records))
            self.run("producer.py", self.bootstrap, name, stdin=lines)
            same(len(re.findall("Message delivered to", self.output)), records, "deliveries")

    def consumer(self, group, topic):
        return Program(self.command("consumer.py", self.bootstrap, group, topic))


def same(found, expected, what):
    if found != expected:
        raise Failed(f"{what}: {found} instead of {expected}")


def records_in(said):
    return sorted(int(number) for number in re.findall(r"^b'line (\d+)'", said, re.MULTILINE))


def readme(bench):
    """Its AdminClient makes topics, its AIOProducer writes to one, and its Consumer reads that."""
    bench.run("admin.py")
    for topic in ("topic1", "topic2"):
        if f"Topic {topic} created" not in bench.output:
            raise Failed(f"{topic} was not created\n{bench.output}")
    bench.run("aio.py")
    reader = Program(bench.command("consumer.py"))
    try:
        reader.until(lambda said: "Received message: hello" in said, "it reads what was written")
    finally:
        reader.end()


def groups(bench):
    """The consumer's example alone, and where it stops another goes on."""
    bench.topic("read")
    first = bench.consumer("readers", "read")
    try:
        first.until(lambda said: len(records_in(said)) == RECORDS, "it has read all")
        same(records_in(first.said), list(range(RECORDS)), "records")
        if "Assignment: [TopicPartition{topic=read" not in first.said:
            raise Failed(f"it was told no assignment\n{first.said}")
        first.interrupt()
    finally:
        first.end()
    bench.run("get_watermark_offsets.py", bench.bootstrap, "readers", "read")
    rows = re.findall(r"^read \[\d\]\s+(\S+)\s+(\S+)", bench.output, re.MULTILINE)
    same(len(rows), 3, "partitions")
    same({lag for _, lag in rows}, {"0"}, "lags")
    bench.run("producer.py", bench.bootstrap, "read", stdin="line 100\n")
    second = bench.consumer("readers", "read")
    try:
        second.until(records_in, "it reads on")
        same(records_in(second.said), [100], "records after those that were read")
        second.interrupt()
    finally:
        second.end()


def assigned(said):
    """Partitions of the last assignment that it printed."""
    lines = re.findall(r"^Assignment: (.*)$", said, re.MULTILINE)
    return set(re.findall(r"partition=(\d+)", lines[-1])) if lines else set()


def groups_shared(bench):
    """Two of one group share the partitions, and the admin's example shows both."""
    bench.topic("shared", records=0)
    members = [bench.consumer("sharers", "shared") for _ in range(2)]
    try:
        for member in members:
            member.until(lambda said: len(assigned(said)) in (1, 2), "each has its share")
        shares = [assigned(member.said) for member in members]
        same(set.union(*shares), {"0", "1", "2"}, "partitions of both")
        same(set.intersection(*shares), set(), "partitions of both at once")
        bench.admin("describe_consumer_groups", 1, "sharers", says=(
            r"State +: ConsumerGroupState.STABLE", "Partition Assignor : range",
            r"Type +: ConsumerGroupType.CLASSIC", "Coordinator +: " + bench.node,
            r"Authorized operations: *\n.*DELETE.*DESCRIBE.*READ|Authorized operations: *\n.*READ"))
        same(len(re.findall(r"Host +: .*127\.0\.0\.1", bench.output)), 2, "members")
        same(set(re.findall(r"shared \[(\d)\]", bench.output)), {"0", "1", "2"}, "assignments")
        bench.admin("list_consumer_groups", "-states", "STABLE", says="id: sharers .*STABLE")
        bench.admin("list_consumer_groups", "-types", "CLASSIC", says="id: sharers .*CLASSIC")
        bench.admin("list", "groups", says=r'"sharers" with 2 member\(s\), protocol: range')
        bench.refused("delete_consumer_groups", "sharers", says="NON_EMPTY_GROUP|not empty")
        bench.refused("alter_consumer_group_offsets", "sharers", "shared", 0, 0,
                      says="UNKNOWN_MEMBER_ID|[Uu]nknown member")
        for member in members:
            member.interrupt()
    finally:
        for member in members:
            member.end()
    bench.admin("list_consumer_groups", "-states", "EMPTY", says="id: sharers .*EMPTY")
    bench.admin("delete_consumer_groups", "sharers", says="Deleted group with id 'sharers'")
    bench.refused("describe_consumer_groups", 0, "sharers",
                  says=r"State +: ConsumerGroupState.DEAD|GROUP_ID_NOT_FOUND|not found")


def groups_offsets(bench):
    """Offsets of a group that nobody is in are set, shown and deleted."""
    bench.topic("placed")
    bench.admin("alter_consumer_group_offsets", "placers", "placed", 0, 1, "placed", 2, 0,
                says=(r"placed \[0\]: 1", r"placed \[2\]: 0"))
    bench.admin("list_consumer_group_offsets", "placers",
                says=(r"placed \[0\]: 1", r"placed \[2\]: 0"), unsaid=r"placed \[1\]|Error")
    bench.admin("list_consumer_group_offsets", "placers", "placed", 1, "placed", 2,
                says=(r"placed \[1\]: -1001", r"placed \[2\]: 0"))
    bench.refused("alter_consumer_group_offsets", "placers", "no-such", 0, 1,
                  says="(?i)unknown topic or partition")
    bench.admin("delete_consumer_groups", "placers", says="Deleted group with id 'placers'")
    bench.refused("delete_consumer_groups", "placers",
                  says="Error deleting group id 'placers'.*GROUP_ID_NOT_FOUND")


def context_manager(bench):
    bench.run("context_manager_example.py", bench.bootstrap)
    same(len(re.findall("^Consumed message: ", bench.output, re.MULTILINE)), 5, "records")
    if "completed successfully" not in bench.output or "Failed" in bench.output:
        raise Failed(bench.output)


def admin_topics(bench):
    bench.topic("kept", records=0)
    bench.refused("create_topics", "kept", says="Failed to create topic kept: .*TOPIC_ALREADY_EXISTS")
    bench.refused("create_topics", "no/slash", says="TOPIC_EXCEPTION")
    bench.admin("describe_topics", 1, "kept", says=(
        "Topic name +: kept", "Leader +: " + bench.node, "Replicas +: 1", "In-Sync Replicas +: 1",
        r"Authorized operations *: *\n.*(READ|ALTER)"))
    same(len(re.findall(r"^    Id +: \d", bench.output, re.MULTILINE)), 3, "partitions")
    bench.refused("describe_topics", 0, "no-such", says="Error while describing topic 'no-such'")
    bench.admin("create_partitions", "kept", 5, says="Additional partitions created for topic kept")
    bench.admin("list", "topics", says='"kept" with 5 partition')
    bench.refused("create_partitions", "kept", 4, says="Failed to add partitions.*INVALID_PARTITIONS")
    bench.admin("delete_topics", "kept", says="Topic kept deleted")
    bench.refused("delete_topics", "kept", says="Failed to delete topic kept: .*UNKNOWN_TOPIC")


def admin_cluster(bench):
    numbers = bench.broker.numbers
    bench.admin("list", says=(
        r"Cluster \S+ metadata", f" {len(numbers)} brokers:", r"  127\.0\.0\.1:\d+/\d  \(controller\)"))
    bench.admin("describe_cluster", 1, says=(
        r"Cluster_id +: \S+", "Controller: " + bench.node, "Node: " + bench.node,
        r"Authorized operations: *\n.*DESCRIBE"))
    same(len(re.findall("  Node: ", bench.output)), len(numbers), "nodes")
    bench.run("adminapi_logger.py", bench.bootstrap)
    if "List consumer groups result End" not in bench.output or "\n0 errors" not in bench.output:
        raise Failed(bench.output)


def admin_configs(bench):
    bench.topic("set", records=0)
    bench.admin("describe_configs", "TOPIC", "set", says=(
        r"retention\.ms = 604800000 .*DEFAULT.*default=True", r"cleanup\.policy = delete "))
    number = bench.broker.numbers[-1]
    bench.admin("describe_configs", "BROKER", number, says=rf"node\.id = {number} ")
    bench.admin("alter_configs", "TOPIC", "set", "retention.ms=1000000,max.message.bytes=70000",
                says="successfully altered")
    bench.admin("delta_alter_configs", "TOPIC", "set", "segment.ms=900000",
                says="Config for .* updated")
    bench.admin("incremental_alter_configs", "TOPIC", "set",
                "max.message.bytes=SET:80000;retention.ms=DELETE", says="successfully altered")
    bench.admin("describe_configs", "TOPIC", "set", says=(
        r"retention\.ms = 604800000 ", r"max\.message\.bytes = 80000 .*DYNAMIC_TOPIC.*default=False",
        r"segment\.ms = 900000 .*DYNAMIC_TOPIC"))
    bench.run("adminapi.py", bench.bootstrap, "alter_configs", "TOPIC", "set",
              "retention.ms=soon", ends=1)
    if "INVALID_CONFIG" not in bench.output:
        raise Failed(bench.output)
    bench.refused("describe_configs", "TOPIC", "no-such", says="Failed to describe .*UNKNOWN_TOPIC")


def admin_records(bench):
    bench.topic("cut", records=0)
    lines = "".join(f"line {number}\n" for number in range(40))
    began_ms = int(time.time() * 1000)
    bench.run("producer.py", bench.bootstrap, "cut", stdin=lines)
    ends = {}
    for at in range(3):
        offsets = re.findall(rf"delivered to cut \[{at}\] @ (\d+)", bench.output)
        ends[at] = max(map(int, offsets), default=-1) + 1
    at = max(ends, key=ends.get)
    end = ends[at]

    def row(offset, timestamp=r"-?\d+"):
        return rf"Topicname : cut Partition_Index : {at} Offset : {offset} Timestamp : {timestamp}$"

    level = "READ_COMMITTED"
    bench.admin("list_offsets", level, "cut", at, "EARLIEST", says=row(0))
    bench.admin("list_offsets", "READ_UNCOMMITTED", "cut", at, "LATEST", says=row(end))
    bench.admin("list_offsets", level, "cut", at, "MAX_TIMESTAMP", says=row(r"\d+", r"\d{13}"))
    bench.admin("list_offsets", level, "cut", at, "TIMESTAMP", began_ms, says=row(0, r"\d{13}"))
    bench.refused("list_offsets", level, "cut", 9, "LATEST", says="Partition_Index : 9 Error")
    bench.admin("delete_records", "cut", at, 1, says="minimum offset in this partition is now 1$")
    bench.admin("delete_records", "cut", at, -1, says=f"this partition is now {end}$")
    bench.admin("list_offsets", level, "cut", at, "EARLIEST", says=row(end))
    bench.refused("delete_records", "cut", at, end + 1, says="Error deleting .*OFFSET_OUT_OF_RANGE")


def admin_leaders(bench):
    bench.topic("led", records=0)
    bench.refused("elect_leaders", "PREFERRED", "led", 0, "led", 2,
                  says=("returned 2 result", "'led' partition: '0' error code: 84"))
    bench.refused("elect_leaders", "PREFERRED", "no-such", 0,
                  says="'no-such' partition: '0' error code: (3|17)")
    # Of all partitions, those that their preferred node leads already may be left out.
    bench.admin("elect_leaders", "PREFERRED", says=r"returned \d+ result",
                unsaid="error code: (?!84)")


def admin_acls(bench):
    acl = ["TOPIC", "kept", "LITERAL", "User:somebody", "*", "READ", "ALLOW"]
    bench.admin("create_acls", *acl, says="Created AclBinding")
    bench.admin("describe_acls", *acl, says="AclBinding.*User:somebody")
    bench.admin("delete_acls", *acl, says="Deleted acls matching")


def admin_scram(bench):
    user = ["UPSERT", "somebody", "SCRAM_SHA_256", "4096", "password", "salt"]
    bench.admin("alter_user_scram_credentials", *user, says="somebody: Success")
    bench.admin("describe_user_scram_credentials", "somebody", says="Iterations: 4096")


def transactions(bench):
    bench.topic("taken")
    bench.run("eos_transactions.py", "-b", bench.bootstrap, "-t", "taken", "-o", "made",
              patience_s=TRANSACTION_S)
    if "Committing final transaction" not in bench.output:
        raise Failed(f"no transaction\n{bench.output}")


EXAMPLES = {
    "groups": groups,
    "groups-shared": groups_shared,
    "groups-offsets": groups_offsets,
    "context-manager": context_manager,
    "admin-topics": admin_topics,
    "admin-cluster": admin_cluster,
    "admin-configs": admin_configs,
    "admin-records": admin_records,
    "admin-leaders": admin_leaders,
    "admin-acls": admin_acls,
    "admin-scram": admin_scram,
    "transactions": transactions,
}


def of_readme(path, bootstrap, folder):
    """The programs of the README that need nothing else than a broker, told where that is."""
    blocks = re.findall(r"^```python\n(.*?)^```", path.read_text(), re.DOTALL | re.MULTILINE)
    for name, words in (("admin.py", "AdminClient("), ("aio.py", 'AIOProducer({"bootstrap.servers": "mybroker"'),
                        ("consumer.py", "Consumer({")):
        (block,) = (block for block in blocks if words in block)
        (folder / name).write_text(re.sub(r"(['\"])mybroker\1", repr(bootstrap), block))
    return folder


def checked(examples, folder):
    """Copies of the programs, each of them as it was released."""
    if not examples.is_dir():
        raise Skip(f"the programs of examples/ are in no package; --examples names their folder "
                   f"(confluent-kafka-python {RELEASE})")
    for name, wanted in PROGRAMS.items():
        program = examples / name
        if hashlib.sha256(program.read_bytes()).hexdigest() != wanted:
            raise Skip(f"{program} is not that of confluent-kafka-python {RELEASE}")
        shutil.copy(program, folder)
    return folder


def attempt(name, case, bench, tally):
    began = time.monotonic()
    known = None if bench.broker.kind == "kafka" else WALRUS.get(name)
    try:
        case(bench)
    except Failed as why:
        first, _, rest = str(why).partition("\n")
        if known and re.search(known.words, str(why)):
            tally.known(name, f"fails, as listed: {known.reason}")
        else:
            tally.fail(name, first, rest)
    else:
        if known:
            tally.fail(name, f"passes: take it from the list ({known.reason})", "")
            return
        tally.passed += 1
        tally.say(name, f"passed in {time.monotonic() - began:.0f} s")


def run(python, readme_path, examples, broker, folder, tally):
    programs, released = folder / "readme", folder / "examples"
    programs.mkdir()
    released.mkdir()
    of_readme(readme_path, broker.bootstrap, programs)
    attempt("readme", readme, Bench(python, programs, broker), tally)
    try:
        checked(examples, released)
    except Skip as skip:
        tally.left_out("examples", skip)
        return
    bench = Bench(python, released, broker)
    for name, case in EXAMPLES.items():
        attempt(name, case, bench, tally)
