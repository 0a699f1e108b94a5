"""Asks a broker, in its own protocol and with nothing but sockets, whether it can be used.

Two requests are enough for that: Metadata (which brokers and partitions are there) and ListOffsets
(does the leader answer for them). A third, IncrementalAlterConfigs, is the smallest change of
metadata; a fourth, FindCoordinator, says where a group is. All in versions that every Kafka and Walrus speaks. Metadata is asked with auto-creation
off, so that a probe changes nothing.
"""

import collections
import socket
import struct
import time

METADATA, LIST_OFFSETS, CHANGE_CONFIGS, FIND_COORDINATOR = 3, 2, 44, 10
METADATA_VERSION, LIST_OFFSETS_VERSION, FIND_COORDINATOR_VERSION = 4, 1, 1
LATEST = -1
TOPIC, SET = 2, 0
REPLICA_NOT_AVAILABLE = 9

#: Where a partition is.
Place = collections.namedtuple("Place", "leader replicas in_sync")


class NotReady(Exception):
    """The broker answered, and the answer is: not yet."""


class Reader:
    """Walks over the bytes of one answer."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values[0]

    def string(self):
        length = self.take("h")
        if length < 0:
            return None
        text = self.data[self.at : self.at + length].decode()
        self.at += length
        return text

    def array(self, read):
        return [read() for _ in range(self.take("i"))]


def string(text):
    data = text.encode()
    return struct.pack(">h", len(data)) + data


class Connection:
    """One connection, one request at a time."""

    def __init__(self, bootstrap, timeout_s=5.0):
        host, port = bootstrap.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout_s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def receive(self, size):
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(size - len(data))
            if not piece:
                raise ConnectionError("the broker closed the connection")
            data += piece
        return bytes(data)

    def ask(self, key, version, body):
        head = struct.pack(">hhi", key, version, 7) + string("probe")
        self.socket.sendall(struct.pack(">i", len(head) + len(body)) + head + body)
        (size,) = struct.unpack(">i", self.receive(4))
        reader = Reader(self.receive(size))
        if reader.take("i") != 7:
            raise ConnectionError("an answer to another request")
        return reader

    def metadata(self, topics=None):
        """(broker ids, {topic: {partition: leader}}) of the named topics, or of all."""
        brokers, found = self.layout(topics)
        leaders = {name: {index: place.leader for index, place in partitions.items()}
                   for name, partitions in found.items()}
        return brokers, leaders

    def layout(self, topics=None):
        """(broker ids, {topic: {partition: Place}}) of the named topics, or of all."""
        if topics is None:
            body = struct.pack(">i", -1)
        else:
            body = struct.pack(">i", len(topics)) + b"".join(string(name) for name in topics)
        reader = self.ask(METADATA, METADATA_VERSION, body + b"\0")
        reader.take("i")  # throttle time

        def broker():
            node = reader.take("i")
            reader.string(), reader.take("i"), reader.string()
            return node

        def partition():
            error, index, leader = reader.take("h"), reader.take("i"), reader.take("i")
            replicas = reader.array(lambda: reader.take("i"))
            in_sync = reader.array(lambda: reader.take("i"))
            # What is led although a replica is away is led (error 9).
            leader = leader if error in (0, REPLICA_NOT_AVAILABLE) else -1
            return index, Place(leader, replicas, in_sync)

        def topic():
            error, name = reader.take("h"), reader.string()
            reader.take("b")
            partitions = dict(reader.array(partition))
            return name, partitions if error == 0 else {}

        brokers = reader.array(broker)
        reader.string(), reader.take("i")  # cluster id, controller
        return brokers, dict(reader.array(topic))

    def coordinator(self, group):
        """The node that coordinates a group; NotReady if none does."""
        reader = self.ask(FIND_COORDINATOR, FIND_COORDINATOR_VERSION, string(group) + b"\0")
        reader.take("i")  # throttle time
        error, _, node = reader.take("h"), reader.string(), reader.take("i")
        if error != 0:
            raise NotReady(f"nobody coordinates {group}: error {error}")
        return node

    def ends(self, topic, partitions):
        """The end offset of each partition, from its leader; NotReady if one has none yet."""
        body = struct.pack(">ii", -1, 1) + string(topic) + struct.pack(">i", partitions)
        body += b"".join(struct.pack(">iq", index, LATEST) for index in range(partitions))
        reader = self.ask(LIST_OFFSETS, LIST_OFFSETS_VERSION, body)

        def partition():
            index, error = reader.take("i"), reader.take("h")
            reader.take("q")
            offset = reader.take("q")
            if error != 0:
                raise NotReady(f"{topic}-{index}: error {error}")
            return index, offset

        def answer():
            reader.string()
            return dict(reader.array(partition))

        return reader.array(answer)[0]


def change_topic(connection, topic, key, value):
    """Sets one config of a topic; the error code that came back."""
    body = struct.pack(">ib", 1, TOPIC) + string(topic)
    body += struct.pack(">i", 1) + string(key) + struct.pack(">b", SET) + string(value) + b"\0"
    reader = connection.ask(CHANGE_CONFIGS, 0, body)
    reader.take("i")  # throttle time

    def one():
        error = reader.take("h")
        reader.string(), reader.take("b"), reader.string()
        return error

    return reader.array(one)[0]


def check_ready(bootstrap, topic=None, partitions=0):
    """Raises unless the broker serves: it lists itself, and every partition of `topic` answers."""
    with Connection(bootstrap) as connection:
        brokers, topics = connection.metadata([topic] if topic else [])
        if not brokers:
            raise NotReady("no broker is listed")
        if topic:
            led = sum(leader >= 0 for leader in topics.get(topic, {}).values())
            if led < partitions:
                raise NotReady(f"{led} of {partitions} partitions of {topic} have a leader")
            ends = connection.ends(topic, partitions)
            if len(ends) < partitions:
                raise NotReady(f"{len(ends)} of {partitions} partitions of {topic} answer")
            return sum(ends.values())
    return 0


def wait_ready(bootstrap, topic=None, partitions=0, timeout_s=120.0, alive=lambda: True):
    """Waits until `check_ready` passes; returns the records that the topic's ends add up to."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            return check_ready(bootstrap, topic, partitions)
        except NotReady as error:
            why, pause_s = error, 0.02
        except OSError as error:
            why, pause_s = error, 0.002
        if not alive():
            raise RuntimeError("the broker ended before it was ready")
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {timeout_s:.0f} s: {why}")
        time.sleep(pause_s)
