"""kafka-python 3: pure Python, idempotent and acks=all by default."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic

import records
from records import COUNT, PARTITIONS, Cases

cases = Cases()
admin = KafkaAdminClient(bootstrap_servers=cases.bootstrap)


def round_trip(name, **settings):
    def case():
        topic = cases.topic(name)
        admin.create_topics([NewTopic(topic, PARTITIONS, 1)], timeout_ms=20_000)
        records.settled(cases.bootstrap, topic, PARTITIONS)
        producer = KafkaProducer(bootstrap_servers=cases.bootstrap, linger_ms=5, **settings)
        sent = [
            producer.send(topic, value=records.value(i), key=records.key(i),
                          headers=records.header(i), partition=records.partition(i))
            for i in range(COUNT)
        ]
        producer.flush(timeout=30)
        for future in sent:
            future.get(timeout=30)
        producer.close(timeout=10)
        records.compare(read(topic))

    cases.run(name, case)


def read(topic):
    reader = KafkaConsumer(bootstrap_servers=cases.bootstrap, group_id=None,
                           enable_auto_commit=False, consumer_timeout_ms=1000)
    places = [TopicPartition(topic, index) for index in range(PARTITIONS)]
    reader.assign(places)
    reader.seek_to_beginning(*places)
    got, seen, end = {}, 0, records.deadline()
    while seen < COUNT and time.monotonic() < end:
        for place, batch in reader.poll(timeout_ms=500).items():
            for record in batch:
                got.setdefault(place.partition, []).append(
                    (record.offset, record.key, record.value or b"", list(record.headers)))
                seen += 1
    reader.close()
    return got


def group():
    """Two members share a topic; the next one goes on where they committed."""
    topic = cases.topic("group")
    admin.create_topics([NewTopic(topic, PARTITIONS, 1)], timeout_ms=20_000)
    records.settled(cases.bootstrap, topic, PARTITIONS)

    def member():
        return KafkaConsumer(topic, bootstrap_servers=cases.bootstrap, group_id=f"{topic}-readers",
                             enable_auto_commit=False, auto_offset_reset="earliest")

    def poll(members, done):
        seen, end = 0, records.deadline()
        while not done(seen):
            assert time.monotonic() < end, f"{seen} records, {[m.assignment() for m in members]}"
            for one in members:
                seen += sum(len(batch) for batch in one.poll(timeout_ms=200).values())
        return seen

    members = [member(), member()]
    shares = lambda: [len(one.assignment()) for one in members]
    poll(members, lambda _: min(shares()) > 0 and sum(shares()) == PARTITIONS)
    producer = KafkaProducer(bootstrap_servers=cases.bootstrap)
    for i in range(COUNT):
        producer.send(topic, value=records.value(i), partition=records.partition(i))
    producer.flush(timeout=30)
    assert poll(members, lambda seen: seen >= COUNT) == COUNT
    for one in members:
        one.commit()
        one.close()
    producer.send(topic, value=b"next", partition=0)
    producer.close(timeout=10)
    last = member()
    assert poll([last], lambda seen: seen > 0) == 1, "what was committed came again"
    last.close()


for codec in (None, "gzip", "snappy", "lz4", "zstd"):
    round_trip(f"codec-{codec or 'none'}", compression_type=codec)
for acks in (0, 1, "all"):
    round_trip(f"acks-{acks}", acks=acks, enable_idempotence=False)
round_trip("idempotent", enable_idempotence=True)
cases.run("group", group)
admin.close()
