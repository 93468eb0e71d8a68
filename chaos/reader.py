"""A plain reader of committed records: from a topic's first offset to where it ends now. Nothing of the services' is in it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

_WITHIN_S = 60.0


class HiddenError(RuntimeError):
    """Records lie in the log that no read_committed reader is shown: a transaction is still open."""


async def read(broker: str, topic: str, partitions: int) -> AsyncIterator[Any]:
    """The committed records of all partitions, those of one partition in their order.

    Up to the high watermark, so that what an open transaction hides is not overlooked: HiddenError when a minute brings
    nothing more.
    """
    ends = await _high_watermarks(broker, topic, partitions)
    consumer = _consumer(broker, "read_committed")
    await consumer.start()
    try:
        consumer.assign(list(ends))
        await consumer.seek_to_beginning(*ends)
        behind = list(ends)
        moved_at = time.monotonic()
        while behind := [place for place in behind if await consumer.position(place) < ends[place]]:
            for place, records in (await consumer.getmany(*behind, timeout_ms=200)).items():
                moved_at = time.monotonic()
                for record in records:
                    if record.offset < ends[place]:
                        yield record
            if time.monotonic() - moved_at > _WITHIN_S:
                told = ", ".join([f"{it.topic}/{it.partition}@{await consumer.position(it)}" for it in behind])
                raise HiddenError(f"what lies behind {told} is hidden by a transaction that stays open")
    finally:
        await consumer.stop()


async def follow(broker: str, topics: Mapping[str, int]) -> AsyncIterator[Any]:
    """The committed records of topics (partitions by name) from their first on, for ever: some are compacted away before the end."""
    consumer = _consumer(broker, "read_committed")
    await consumer.start()
    try:
        places = [TopicPartition(topic, partition) for topic, count in topics.items() for partition in range(count)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        while True:
            for records in (await consumer.getmany(*places, timeout_ms=500)).values():
                for record in records:
                    yield record
    finally:
        await consumer.stop()


async def _high_watermarks(broker: str, topic: str, partitions: int) -> dict[TopicPartition, int]:
    consumer = _consumer(broker, "read_uncommitted")
    await consumer.start()
    try:
        ends: dict[TopicPartition, int] = await consumer.end_offsets(
            [TopicPartition(topic, partition) for partition in range(partitions)]
        )
        return ends
    finally:
        await consumer.stop()


def _consumer(broker: str, isolation: str) -> AIOKafkaConsumer:
    return AIOKafkaConsumer(
        bootstrap_servers=broker,
        isolation_level=isolation,
        auto_offset_reset="none",
        enable_auto_commit=False,
        max_partition_fetch_bytes=4 * 1024 * 1024,
        fetch_max_wait_ms=100,
    )
