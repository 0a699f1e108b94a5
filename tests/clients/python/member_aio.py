"""aiokafka in a group."""

import asyncio

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.coordinator.assignors.range import RangePartitionAssignor
from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
from aiokafka.errors import KafkaError

import member

ASSIGNORS = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
given, orders, owned = member.given(), member.Orders(), member.Owned()


class Listener(ConsumerRebalanceListener):
    async def on_partitions_assigned(self, assigned):
        owned.now(place.partition for place in assigned)

    async def on_partitions_revoked(self, revoked):
        owned.fewer(place.partition for place in revoked)


async def main():
    settings = {"group_instance_id": given.instance} if given.instance else {}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=given.bootstrap, group_id=given.group,
        partition_assignment_strategy=(ASSIGNORS[given.assignor],),
        session_timeout_ms=member.SESSION_MS, heartbeat_interval_ms=member.HEARTBEAT_MS,
        max_poll_interval_ms=member.MAX_POLL_MS, enable_auto_commit=False,
        auto_offset_reset="earliest", **settings)
    consumer.subscribe([given.topic], listener=Listener())
    await consumer.start()
    while not orders.leaving:
        if orders.paused:
            await asyncio.sleep(0.05)
            continue
        got = await consumer.getmany(timeout_ms=200)
        for place, records in got.items():
            for one in records:
                member.say("got", place.partition, one.offset)
        if got:
            try:
                await consumer.commit()
            except KafkaError:
                pass  # The group rebalances: who has the partition next reads them again.
    await consumer.stop()
    member.say("left")


asyncio.run(main())
