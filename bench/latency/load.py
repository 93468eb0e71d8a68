"""Open loop: each event is sent when it is due, whatever has come out, and its latency counts from when it was due.

Whoever waits for an answer before the next question measures fast answers only (coordinated omission).
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from array import array
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from math import isnan, nan
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from bench import ten
from services.cli import topic_batches
from services.cli.topic_batches import Keyed
from services.runtime import clients
from services.runtime.settings import Settings

_TICK_S = 0.001
_LOOK_EVERY_S = 0.02


def raw_events(count: int) -> list[Keyed]:
    """Raw events of ten numbers, as a producer writes them; their number is their id."""
    source = random.Random(1)  # noqa: S311 - a reproducible workload, no secret
    return [
        (
            b"%08d" % number,
            json.dumps(
                {
                    "id": f"{number:08d}",
                    "at": (ten.START + timedelta(seconds=number)).isoformat(),
                    **{name: source.uniform(-2.0, 2.0) for name in ten.FEATURES},
                }
            ).encode(),
        )
        for number in range(count)
    ]


async def send(settings: Settings, topic: str, events: Sequence[Keyed], rate: float) -> float:
    """Send so many events a second; returns when the first was due, in seconds of :func:`time.perf_counter`.

    What is due is sent at once, at most a millisecond late, in one batch a partition.
    """
    producer = await topic_batches.started(settings.kafka())
    try:
        batches = topic_batches.TopicBatches(producer, topic)
        await batches.open()
        begin, sent = time.perf_counter(), 0
        while sent < len(events):
            due = min(int((time.perf_counter() - begin) * rate) + 1, len(events))
            if due > sent:
                await batches.send(events[sent:due])
                sent = due
            await asyncio.sleep(max(_TICK_S, begin + sent / rate - time.perf_counter()))
        await batches.drain()
    finally:
        await producer.stop()
    return begin


class Arrivals:
    """When a read_committed consumer was handed each event of a topic, by number; NaN before. ``repeats`` came again."""

    def __init__(self, count: int) -> None:
        self.at = array("d", [nan]) * count
        self.came = 0
        self.repeats = 0

    def take(self, key: bytes, now: float) -> None:
        """One record."""
        number = int(key)
        if isnan(self.at[number]):
            self.at[number] = now
            self.came += 1
        else:
            self.repeats += 1

    async def reach(self, count: int, within_s: float) -> bool:
        """Wait until so many have come; False when they have not in time."""
        until = time.monotonic() + within_s
        while self.came < count and time.monotonic() < until:  # noqa: ASYNC110 - it happens in Kafka
            await asyncio.sleep(_LOOK_EVERY_S)
        return self.came >= count


@asynccontextmanager
async def arriving(settings: Settings, topic: str, partitions: int, count: int) -> AsyncIterator[Arrivals]:
    """When each event of a topic arrives, while the block runs."""
    found = Arrivals(count)
    async with following(settings, topic, partitions, lambda record, now: found.take(record.key, now)):
        yield found


@asynccontextmanager
async def following(
    settings: Settings, topic: str, partitions: int, take: Callable[[Any, float], None]
) -> AsyncIterator[None]:
    """Follow a topic from its beginning while the block runs: ``take`` has each record, and the time of its arrival."""
    async with clients.reading(settings) as consumer:
        places = [TopicPartition(topic, partition) for partition in range(partitions)]
        consumer.assign(places)
        for place in places:
            consumer.seek(place, 0)
        task = asyncio.create_task(_follow(consumer, take))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _follow(consumer: AIOKafkaConsumer, take: Callable[[Any, float], None]) -> None:
    while True:
        batches = await consumer.getmany(timeout_ms=200)
        now = time.perf_counter()
        for records in batches.values():
            for record in records:
                take(record, now)


def since(earlier: Sequence[float], later: Sequence[float], first: int) -> Iterator[float]:
    """Seconds between the two, event by event, from number ``first`` on."""
    return (then - before for before, then in zip(earlier[first:], later[first:], strict=True))
