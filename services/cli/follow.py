"""Reading any topic as a person does: from now on or from the beginning, committed records only."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from aiokafka import TopicPartition

from services.runtime import clients, readback
from services.runtime.settings import Settings, SettingsError
from services.runtime.topics import partition_counts

_WAIT_MS = 500
_OFFSETS_A_RECORD, _OFFSETS_MORE = 2, 50
"""How far to go back for so many records: a transaction of one record takes two offsets, with its marker."""


async def places(settings: Settings, topic: str) -> list[TopicPartition]:
    """The partitions of a topic; SettingsError when it does not exist."""
    async with clients.admin(settings) as admin:
        count = (await partition_counts(admin, [topic])).get(topic, 0)
    if not count:
        raise SettingsError(
            f"there is no topic {topic!r} on {settings.broker}: check the broker, or run the pipeline once "
            "(`rivermill up`, or `rivermill topics PIPELINE.toml --create`)"
        )
    return [TopicPartition(topic, partition) for partition in range(count)]


async def records(
    settings: Settings, topic: str, *, last: int | None = 0, follow: bool = True
) -> AsyncGenerator[Any, None]:
    """Committed records of all partitions: the ``last`` so many (None: all), then, if asked, what comes."""
    wanted = await places(settings, topic)
    async with clients.reading(settings, max_poll_records=500) as consumer:
        first, ends = await consumer.beginning_offsets(wanted), await consumer.end_offsets(wanted)
        consumer.assign(wanted)
        back = 0 if not last else _OFFSETS_A_RECORD * last + _OFFSETS_MORE
        for place in wanted:
            consumer.seek(place, first[place] if last is None else max(first[place], ends[place] - back))
        newest: deque[Any] = deque(maxlen=last)
        reached = False
        while not reached:
            fetched = await consumer.getmany(timeout_ms=_WAIT_MS) if back or last is None else {}
            _heed_cancellation()
            reached = all([await consumer.position(place) >= ends[place] for place in wanted])
            newest.extend(sorted((each for batch in fetched.values() for each in batch), key=_came))
            while newest and (last is None or reached):
                yield newest.popleft()
        while follow:
            fetched = await consumer.getmany(timeout_ms=_WAIT_MS)
            _heed_cancellation()
            for record in sorted((each for batch in fetched.values() for each in batch), key=_came):
                yield record


def _heed_cancellation() -> None:
    """Raise the one that aiokafka has swallowed: a fetch that is over just then returns, and Ctrl-C comes but once."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _came(record: Any) -> tuple[int, int, int]:
    return record.timestamp, record.partition, record.offset


async def one(settings: Settings, topic: str, partition: int, offset: int) -> Any | None:
    """The committed record at an offset; None when none lies there (any more)."""
    place = TopicPartition(topic, partition)
    if place not in await places(settings, topic):
        return None
    first, last = await readback.bounds(settings, topic, partition)
    if not first <= offset < last:
        return None
    async for batch in readback.records(settings, topic, partition, offset, offset + 1, whole=False):
        return batch[0]
    return None
