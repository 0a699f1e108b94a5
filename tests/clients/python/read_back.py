"""Reads back, with confluent-kafka, topics that another client wrote (the last arguments)."""

import sys
import time

from confluent_kafka import Consumer, TopicPartition

import records
from records import COUNT, PARTITIONS, Cases

cases = Cases()


def read(topic):
    reader = Consumer({
        "bootstrap.servers": cases.bootstrap, "broker.address.family": "v4", "group.id": "none",
        "enable.auto.commit": False, "check.crcs": True})
    reader.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    got, seen, end = {}, 0, records.deadline()
    while seen < COUNT and time.monotonic() < end:
        message = reader.poll(0.5)
        if message is None:
            continue
        if message.error():
            raise AssertionError(message.error())
        got.setdefault(message.partition(), []).append(
            (message.offset(), message.key(), message.value() or b"", message.headers() or []))
        seen += 1
    reader.close()
    return got


for name in sys.argv[3:]:
    cases.run(f"{name}-read-by-confluent", lambda: records.compare(read(cases.topic(name))))
