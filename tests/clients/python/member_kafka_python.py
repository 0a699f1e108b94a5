"""kafka-python in a group."""

import time

from kafka import ConsumerRebalanceListener, KafkaConsumer
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from kafka.errors import KafkaError

import member

ASSIGNORS = {
    "range": RangePartitionAssignor,
    "roundrobin": RoundRobinPartitionAssignor,
    member.COOPERATIVE: CooperativeStickyAssignor,
}
given, orders, owned = member.given(), member.Orders(), member.Owned()
is_cooperative = given.assignor == member.COOPERATIVE


class Listener(ConsumerRebalanceListener):
    def on_partitions_assigned(self, assigned):
        places = [place.partition for place in assigned]
        (owned.more if is_cooperative else owned.now)(places)

    def on_partitions_revoked(self, revoked):
        owned.fewer(place.partition for place in revoked)


settings = {"group_instance_id": given.instance} if given.instance else {}
consumer = KafkaConsumer(
    bootstrap_servers=given.bootstrap, group_id=given.group,
    partition_assignment_strategy=[ASSIGNORS[given.assignor]],
    session_timeout_ms=member.SESSION_MS, heartbeat_interval_ms=member.HEARTBEAT_MS,
    max_poll_interval_ms=member.MAX_POLL_MS, enable_auto_commit=False,
    auto_offset_reset="earliest", **settings)
consumer.subscribe([given.topic], listener=Listener())
while not orders.leaving:
    if orders.paused:
        time.sleep(0.05)
        continue
    got = consumer.poll(timeout_ms=200)
    for place, records in got.items():
        for one in records:
            member.say("got", place.partition, one.offset)
    if got:
        try:
            consumer.commit()
        except KafkaError:
            pass  # The group rebalances: who has the partition next reads them again.
consumer.close()
member.say("left")
