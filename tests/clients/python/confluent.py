"""confluent-kafka: librdkafka of today."""

import time

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewPartitions, NewTopic
from confluent_kafka.admin import ResourceType

import records
from records import COUNT, PARTITIONS, Cases

cases = Cases()
BASE = {"bootstrap.servers": cases.bootstrap, "broker.address.family": "v4"}
admin = AdminClient(BASE)


def create(topic, partitions=PARTITIONS):
    new = [NewTopic(topic, partitions, 1)]
    for future in admin.create_topics(new, operation_timeout=20).values():
        future.result(30)
    records.settled(cases.bootstrap, topic, partitions)


def produce(topic, **settings):
    failures = []
    producer = Producer({**BASE, "linger.ms": 5, **settings})
    for i in range(COUNT):
        producer.produce(
            topic, value=records.value(i), key=records.key(i), partition=records.partition(i),
            headers=records.header(i),
            on_delivery=lambda error, _: failures.append(error) if error else None)
        producer.poll(0)
    left = producer.flush(30)
    if left or failures:
        raise AssertionError(f"{left} records without an ack, failures: {failures[:3]}")


def consumer(**settings):
    return Consumer({**BASE, "group.id": "none", "enable.auto.commit": False,
                     "check.crcs": True, **settings})


def read(topic, count=COUNT):
    reader = consumer()
    reader.assign([TopicPartition(topic, index, 0) for index in range(PARTITIONS)])
    got, end = {}, records.deadline()
    seen = 0
    while seen < count and time.monotonic() < end:
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


def round_trip(name, **settings):
    def case():
        topic = cases.topic(name)
        create(topic)
        produce(topic, **settings)
        records.compare(read(topic))

    cases.run(name, case)


def lookup():
    """Offsets by timestamp, exactly; and what lies past the end."""
    topic = cases.topic("lookup")
    create(topic, 1)
    producer = Producer({**BASE, "linger.ms": 0})
    for i in range(20):
        producer.produce(topic, value=b"x", partition=0, timestamp=1_700_000_000_000 + i * 1000)
        if i % 5 == 4:
            assert producer.flush(20) == 0
    reader = consumer()
    for at, offset in ((0, 0), (1_700_000_007_000, 7), (1_700_000_007_001, 8)):
        (found,) = reader.offsets_for_times([TopicPartition(topic, 0, at)], timeout=20)
        assert found.offset == offset, f"timestamp {at}: offset {found.offset}, not {offset}"
    (found,) = reader.offsets_for_times([TopicPartition(topic, 0, 1_800_000_000_000)], timeout=20)
    assert found.offset == -1, f"past the end: offset {found.offset}"
    assert reader.get_watermark_offsets(TopicPartition(topic, 0), timeout=20) == (0, 20)
    reader.close()


def long_poll():
    """A consumer that waits at the end gets a record as soon as it is committed."""
    topic = cases.topic("long-poll")
    create(topic, 1)
    reader = consumer(**{"fetch.wait.max.ms": 10_000, "fetch.min.bytes": 1})
    reader.assign([TopicPartition(topic, 0, 0)])
    reader.poll(1.0)
    producer = Producer({**BASE, "linger.ms": 0})
    producer.produce(topic, value=b"wake", partition=0)
    producer.flush(20)
    began = time.monotonic()
    message = reader.poll(8.0)
    took = time.monotonic() - began
    reader.close()
    assert message is not None and message.value() == b"wake"
    assert took < 2.0, f"woke after {took:.1f} s"
    return f"woke after {took * 1000:.0f} ms"


def admin_round():
    """Configs are described and changed, partitions added, the topic removed."""
    topic = cases.topic("admin")
    create(topic)
    resource = ConfigResource(ResourceType.TOPIC, topic)
    (described,) = admin.describe_configs([resource]).values()
    entries = described.result(20)
    assert "retention.ms" in entries and "max.message.bytes" in entries, sorted(entries)
    (added,) = admin.create_partitions([NewPartitions(topic, 5)]).values()
    added.result(20)
    end = records.deadline(10)
    while len(admin.list_topics(topic, timeout=10).topics[topic].partitions) != 5:
        assert time.monotonic() < end, "the new partitions do not show"
        time.sleep(0.1)
    (removed,) = admin.delete_topics([topic], operation_timeout=20).values()
    removed.result(20)
    end = records.deadline(10)
    while topic in admin.list_topics(timeout=10).topics:
        assert time.monotonic() < end, "the deleted topic is still listed"
        time.sleep(0.1)


for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
    round_trip(f"codec-{codec}", **{"compression.type": codec, "acks": "all"})
for acks in ("0", "1", "all"):
    round_trip(f"acks-{acks}", acks=acks)
round_trip("idempotent", **{"enable.idempotence": True})
cases.run("lookup", lookup)
cases.run("long-poll", long_poll)
cases.run("admin", admin_round)
