"""librdkafka in a group."""

import time

from confluent_kafka import Consumer, KafkaException

import member

given, orders, owned = member.given(), member.Orders(), member.Owned()
is_cooperative = given.assignor == member.COOPERATIVE
settings = {
    "bootstrap.servers": given.bootstrap,
    "broker.address.family": "v4",
    "group.id": given.group,
    "partition.assignment.strategy": given.assignor,
    "session.timeout.ms": member.SESSION_MS,
    "heartbeat.interval.ms": member.HEARTBEAT_MS,
    "max.poll.interval.ms": member.MAX_POLL_MS,
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
}
if given.instance:
    settings["group.instance.id"] = given.instance
consumer = Consumer(settings)


def places(partitions):
    return [place.partition for place in partitions]


def assigned(_, partitions):
    (owned.more if is_cooperative else owned.now)(places(partitions))


def revoked(_, partitions):
    owned.fewer(places(partitions))


consumer.subscribe([given.topic], on_assign=assigned, on_revoke=revoked, on_lost=revoked)
while not orders.leaving:
    if orders.paused:
        time.sleep(0.05)
        continue
    messages = [one for one in consumer.consume(100, 0.2) if not one.error()]
    for one in messages:
        member.say("got", one.partition(), one.offset())
    if messages:
        try:
            consumer.commit(asynchronous=False)
        except KafkaException:
            pass  # The group rebalances: who has the partition next reads them again.
consumer.close()
member.say("left")
