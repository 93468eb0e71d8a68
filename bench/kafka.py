"""What the benchmarks do to the broker: make topics anew, fill them, watch them grow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from itertools import islice
from types import TracebackType

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import NewTopic

from schemas.topics import Topic
from services.cli import topic_batches
from services.cli.topic_batches import Keyed
from services.runtime import clients, readback, topics
from services.runtime.settings import Settings

_LOOK_EVERY_S = 0.02
_LOT = 16_000


async def recreate(settings: Settings, table: Iterable[Topic]) -> None:
    """Make these topics empty: delete those that exist, wait until they are gone, create all."""
    wanted = list(table)
    async with clients.admin(settings) as admin:
        names = [topic.name for topic in wanted]
        if present := list(await topics.partition_counts(admin, names)):
            await admin.delete_topics(present)
            while await topics.partition_counts(admin, present):  # noqa: ASYNC110 - it happens in Kafka
                await asyncio.sleep(_LOOK_EVERY_S)
        await admin.create_topics(
            [
                NewTopic(topic.name, topic.partitions, settings.replication, topic_configs=topic.config)
                for topic in wanted
            ]
        )


async def fill(settings: Settings, topic: str, records: Iterable[Keyed]) -> None:
    """Produce records in large batches, as Rivermill's services do, and wait until all are acknowledged."""
    producer = await topic_batches.started(settings.kafka())
    try:
        batches = topic_batches.TopicBatches(producer, topic)
        await batches.open()
        rest = iter(records)
        while lot := list(islice(rest, _LOT)):
            await batches.send(lot)
        await batches.drain()
    finally:
        await producer.stop()


async def committed(settings: Settings, topic: str, partitions: int) -> dict[int, list[tuple[int, bytes, bytes]]]:
    """All committed records by partition, in order: offset, key, value."""
    return {
        partition: [
            (record.offset, record.key or b"", record.value or b"")
            async for batch in readback.everything(settings, topic, partition)
            for record in batch
        ]
        for partition in range(partitions)
    }


class Ends:
    """Where a topic ends now, by partition, asked over one connection; an async context manager.

    ``appended`` counts what lies in open transactions too, ``stable`` only what read_committed readers are shown.
    Offsets count transaction markers.
    """

    def __init__(self, settings: Settings, topic: str, partitions: int) -> None:
        self._places = [TopicPartition(topic, partition) for partition in range(partitions)]
        self._all = clients.reader(settings, committed=False)
        self._committed = clients.reader(settings)

    async def __aenter__(self) -> Ends:
        for consumer in (self._all, self._committed):
            await consumer.start()
            consumer.assign(self._places)
            for place in self._places:
                consumer.seek(place, 0)
                consumer.pause(place)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self._all.stop(), self._committed.stop())

    async def appended(self) -> tuple[int, ...]:
        """The high watermarks."""
        return await self._ends(self._all)

    async def stable(self) -> tuple[int, ...]:
        """The last stable offsets."""
        return await self._ends(self._committed)

    async def _ends(self, consumer: AIOKafkaConsumer) -> tuple[int, ...]:
        found: Mapping[TopicPartition, int] = await consumer.end_offsets(self._places)
        return tuple(found[place] for place in self._places)
