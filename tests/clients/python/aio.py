"""aiokafka: asyncio, a codec of its own, and versions that skip intermediate ones."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

import records
from records import COUNT, PARTITIONS, Cases

cases = Cases()


async def create(topic):
    admin = AIOKafkaAdminClient(bootstrap_servers=cases.bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, PARTITIONS, 1)], timeout_ms=20_000)
        errors = [error for error in answer.topic_errors if error[1] != 0]
        assert not errors, errors
        await asyncio.to_thread(records.settled, cases.bootstrap, topic, PARTITIONS)
    finally:
        await admin.close()


async def produce(topic, settings):
    producer = AIOKafkaProducer(bootstrap_servers=cases.bootstrap, linger_ms=5, **settings)
    await producer.start()
    try:
        # One partition after the other keeps the order of each; aiokafka batches inside.
        futures = [
            await producer.send(topic, value=records.value(i), key=records.key(i),
                                headers=records.header(i), partition=records.partition(i))
            for i in range(COUNT)
        ]
        await asyncio.wait_for(asyncio.gather(*futures), 30)
    finally:
        await producer.stop()


async def read(topic):
    reader = AIOKafkaConsumer(bootstrap_servers=cases.bootstrap, group_id=None,
                              enable_auto_commit=False, auto_offset_reset="earliest")
    await reader.start()
    try:
        places = [TopicPartition(topic, index) for index in range(PARTITIONS)]
        reader.assign(places)
        await reader.seek_to_beginning(*places)
        got, seen, end = {}, 0, records.deadline()
        while seen < COUNT and time.monotonic() < end:
            for place, batch in (await reader.getmany(timeout_ms=500)).items():
                for record in batch:
                    got.setdefault(place.partition, []).append(
                        (record.offset, record.key, record.value or b"", list(record.headers)))
                    seen += 1
        return got
    finally:
        await reader.stop()


def round_trip(name, **settings):
    async def case():
        topic = cases.topic(name)
        await create(topic)
        await produce(topic, settings)
        records.compare(await read(topic))

    cases.run(name, lambda: asyncio.run(asyncio.wait_for(case(), 60)))


for codec in (None, "gzip", "snappy", "lz4", "zstd"):
    round_trip(f"codec-{codec or 'none'}", compression_type=codec)
for acks in (0, 1, "all"):
    round_trip(f"acks-{acks}", acks=acks)
round_trip("idempotent", enable_idempotence=True)
