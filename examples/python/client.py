#!/usr/bin/env python3
"""A Walrus client in Python: Kafka's protocol through confluent-kafka, the text protocol by hand.

  pip install confluent-kafka
  python3 client.py [HOST:PORT] [kafka|text]
"""

import json
import socket
import struct
import sys
import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ADDRESS = sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:9091"
PART = sys.argv[2] if len(sys.argv) > 2 else "both"


def kafka(topic):
    """Walrus speaks Kafka's protocol, so any Kafka client will do."""
    admin = AdminClient({"bootstrap.servers": ADDRESS})
    for future in admin.create_topics([NewTopic(topic, num_partitions=3)]).values():
        future.result()

    # acks=all is answered when the record is on disk; an idempotent producer may retry as often
    # as it likes without storing a record twice.
    producer = Producer({"bootstrap.servers": ADDRESS, "enable.idempotence": True})

    def delivered(error, message):
        if error:
            sys.exit(f"not delivered: {error}")
        print(f"  stored {message.value().decode()} in {topic}-{message.partition()} "
              f"at offset {message.offset()}")

    for city in ("Tromsø", "Bodø", "Narvik"):
        producer.produce(topic, key=city, value=f"a letter from {city}", on_delivery=delivered)
    producer.flush()
    found = read(topic, partitions=3, count=3)
    assert len(found) == 3, found


def read(topic, partitions, count):
    """Reads `count` records from the start. It says itself which partitions it wants: `assign`."""
    consumer = Consumer({"bootstrap.servers": ADDRESS, "group.id": "example",
                         "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, index, 0) for index in range(partitions)])
    found, give_up = [], time.monotonic() + 20
    while len(found) < count and time.monotonic() < give_up:
        message = consumer.poll(1.0)
        if message and not message.error():
            print(f"  read {message.value().decode()} from {topic}-{message.partition()}")
            found.append(message.value())
    consumer.close()
    return found


class Text:
    """The text protocol: four bytes of length, little-endian, then a line. So is the answer."""

    def __init__(self, address):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=20)

    def ask(self, command, payload=b""):
        frame = command.encode() + payload
        self.socket.sendall(struct.pack("<I", len(frame)) + frame)
        (length,) = struct.unpack("<I", self.receive(4))
        answer = self.receive(length)
        if answer.startswith(b"ERR "):
            sys.exit(f"{command}: {answer.decode()}")
        return answer

    def receive(self, length):
        data = b""
        while len(data) < length:
            piece = self.socket.recv(length - len(data))
            if not piece:
                sys.exit("the broker closed the connection")
            data += piece
        return data


def text(topic):
    """The same port understands short commands, for when a Kafka client is too much."""
    walrus = Text(ADDRESS)
    walrus.ask(f"REGISTER {topic}")
    # The payload is everything after the topic and one blank: any bytes, line ends included.
    for payload in (b"first", b"second\nwith a second line", b""):
        walrus.ask(f"PUT {topic} ", payload)
    for expected in (b"OK first", b"OK second\nwith a second line", b"OK ", b"EMPTY"):
        answer = walrus.ask(f"GET {topic}")
        print(f"  GET {topic}: {answer}")
        assert answer == expected, (answer, expected)
    state = json.loads(walrus.ask(f"STATE {topic}").removeprefix(b"OK "))
    print(f"  segment {state['current_segment']} is led by node {state['leader_node']}")
    metrics = json.loads(walrus.ask("METRICS").removeprefix(b"OK "))
    print(f"  raft: {metrics['state']}, leader {metrics['current_leader']}")
    # What was written here is ordinary records, which a Kafka client reads.
    assert read(topic, partitions=1, count=3)[0] == b"first"


run = f"{int(time.time())}"
if PART in ("both", "kafka"):
    print(f"Kafka's protocol, topic letters-{run}")
    kafka(f"letters-{run}")
if PART in ("both", "text"):
    print(f"the text protocol, topic notes-{run}")
    text(f"notes-{run}")
