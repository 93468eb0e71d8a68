"""Reading a stretch of a partition back: what a restore knows a lane by."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from services.runtime import clients
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

_WAIT_MS = 20  # a restore reads many stretches to their end, and waits so long for the last fetch of each


class LogTruncatedError(OperatorError):
    """Retention has removed records that a restore needs."""


class Watcher:
    """Asks for offsets again and again over one connection; close it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None

    async def bounds(self, topic: str, partition: int) -> tuple[int, int]:
        """The partition's first offset and its high watermark (open transactions included)."""
        if self._consumer is None:
            self._consumer = clients.reader(self._settings, committed=False)
            await self._consumer.start()
        place = TopicPartition(topic, partition)
        if place not in self._consumer.assignment():  # an unassigned topic's metadata costs the first question 100 ms
            self._consumer.assign([place])
            self._consumer.seek(place, 0)
            self._consumer.pause(place)
        first = await self._consumer.beginning_offsets([place])
        last = await self._consumer.end_offsets([place])
        return first[place], last[place]

    async def close(self) -> None:
        """Stop the consumer, if it was needed."""
        if self._consumer is not None:
            await self._consumer.stop()


async def bounds(settings: Settings, topic: str, partition: int) -> tuple[int, int]:
    """The partition's first offset and its high watermark (open transactions included), asked once."""
    watcher = Watcher(settings)
    try:
        return await watcher.bounds(topic, partition)
    finally:
        await watcher.close()


async def records(
    settings: Settings, topic: str, partition: int, start: int, end: int, *, whole: bool = True
) -> AsyncIterator[list[Any]]:
    """Committed records with start <= offset < end, in lists.

    Waits for transactions that are still open below ``end``: a checkpoint hidden behind one is not missed. A ``start``
    below the log's first offset is LogTruncatedError, unless nobody needs the ``whole`` stretch.
    """
    if start >= end:
        return
    place = TopicPartition(topic, partition)
    async with clients.reading(settings, wait_ms=_WAIT_MS) as consumer:
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        consumer.seek(place, max(start, first))
        if start < first and whole:
            raise LogTruncatedError(
                f"{topic}/{partition} begins at offset {first}, but a restore needs it from {start}: records were deleted "
                "that the pipeline had still to remember. Nothing brings them back: start anew with `rivermill reset`, and "
                "keep this topic longer (retention.ms) than any outage"
            )
        while await consumer.position(place) < end:
            fetched = (await consumer.getmany(place, timeout_ms=500)).get(place, [])
            wanted = [record for record in fetched if record.offset < end]
            if wanted:
                yield wanted


async def everything(settings: Settings, topic: str, partition: int) -> AsyncIterator[list[Any]]:
    """All committed records from the partition's first offset to its high watermark of now.

    What retention removes meanwhile is left out, as if it had looked earlier.
    """
    first, last = await bounds(settings, topic, partition)
    async for batch in records(settings, topic, partition, first, last, whole=False):
        yield batch


async def newest(
    settings: Settings, topic: str, partition: int, wanted: Callable[[Any], bool], stretch: int = 1000
) -> Any | None:
    """The newest committed record that is ``wanted``, or None; what an open transaction still hides does not count.

    Looks backwards from the end, in stretches that grow: what is written often is found at once.
    """
    place = TopicPartition(topic, partition)
    async with clients.reading(settings, wait_ms=_WAIT_MS) as consumer:
        consumer.assign([place])
        first = (await consumer.beginning_offsets([place]))[place]
        stop, width = (await consumer.end_offsets([place]))[place], stretch
        found = None
        while stop > first and found is None:
            start = max(first, stop - width)
            consumer.seek(place, start)
            while await consumer.position(place) < stop:
                for record in (await consumer.getmany(place, timeout_ms=500)).get(place, []):
                    if record.offset < stop and wanted(record):
                        found = record
            stop, width = start, width * 4
        return found


async def last_keys(settings: Settings, topic: str, partition: int, count: int) -> list[bytes]:
    """Keys of at least the last ``count`` committed records (all, if there are fewer), oldest first.

    Offsets count transaction markers and aborted records too, so the stretch is widened backwards until it holds enough.
    """
    first, end = await bounds(settings, topic, partition)
    keys: list[bytes] = []
    stop, width = end, count + count // 4 + 1000
    while stop > first and len(keys) < count:
        start = max(first, stop - width)
        earlier = [
            record.key
            async for batch in records(settings, topic, partition, start, stop, whole=False)
            for record in batch
            if record.key is not None
        ]
        keys = earlier + keys
        stop, width = start, width * 2
    return keys
