"""A lane's inputs: partition p of each topic, fetched, buffered, and merged in order of Kafka timestamp."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import NoOffsetForPartitionError, OffsetOutOfRangeError

from services.runtime import clients
from services.runtime.merge import merge
from services.runtime.readback import LogTruncatedError
from services.runtime.settings import Settings

_HELD_WAIT_MS = 5
"""How soon to look again while records wait for what another input may still hold."""


class Inputs:
    """Owns the lane's consumer; open it with :meth:`open`.

    ``positions`` are the next offsets to process by topic: what the checkpoint holds.
    """

    def __init__(self, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition], positions: dict[str, int]) -> None:
        self._consumer = consumer
        self._places = places
        self._buffers: dict[TopicPartition, deque[Any]] = {place: deque() for place in places}
        self._told_at: dict[TopicPartition, int | None] = {}
        self.positions = positions

    @classmethod
    async def open(
        cls, settings: Settings, topics: Sequence[str], lane: int, checkpointed: Mapping[str, int]
    ) -> Inputs:
        """Seek every topic to its checkpointed offset; one that is not in the checkpoint starts at its beginning."""
        consumer = clients.reader(settings)
        await consumer.start()
        try:
            places = [TopicPartition(topic, lane) for topic in topics]
            consumer.assign(places)
            first = await consumer.beginning_offsets(places)
            positions = {}
            for place in places:
                start = checkpointed.get(place.topic, first[place])
                if start < first[place]:
                    raise LogTruncatedError(
                        f"{place.topic}/{lane} begins at offset {first[place]}, but the lane stopped at {start}: records "
                        "were deleted before they were read. Nothing brings them back: start anew with `rivermill reset`, "
                        "and keep this topic longer (retention.ms) than any outage"
                    )
                consumer.seek(place, start)
                positions[place.topic] = start
        except BaseException:
            await consumer.stop()
            raise
        return cls(consumer, places, positions)

    async def fetch(self, limit: int, wait_ms: int, blocked: frozenset[str]) -> list[Any]:
        """At most ``limit`` records in merged order; waits up to ``wait_ms`` when there is nothing."""
        places = [place for place in self._places if place.topic not in blocked]
        held = any(self._buffers[place] for place in places)
        await self._fill(places, limit, 0 if held else wait_ms)
        merged = self._take(places, limit, answered=True)
        if not merged and any(self._buffers[place] for place in places):
            await self._fill(places, limit, _HELD_WAIT_MS)
            merged = self._take(places, limit)
        self._advance(merged)
        if merged and self.caught_up:
            self._pause()
        return merged

    def _pause(self) -> None:
        """Fetch nothing ahead: it would be the first record that comes, and the others once that one has been dealt with."""
        self._consumer.pause(*self._places)
        self._told_at = {place: self._consumer.last_poll_timestamp(place) for place in self._places}

    async def _fill(self, places: Sequence[TopicPartition], limit: int, wait_ms: int) -> None:
        wanted = [place for place in places if len(self._buffers[place]) < limit]
        if not wanted:
            await asyncio.sleep(wait_ms / 1000)
            return
        self._consumer.resume(*self._places)
        try:
            fetched = await self._consumer.getmany(*wanted, timeout_ms=wait_ms, max_records=limit)
        except (OffsetOutOfRangeError, NoOffsetForPartitionError) as error:
            raise LogTruncatedError(
                f"the lane's position is outside its log ({error}): the topic was recreated or its records were "
                "deleted before they were read; see `rivermill reset`"
            ) from error
        for place, records in fetched.items():
            self._buffers[place].extend(records)

    def _take(self, places: Sequence[TopicPartition], limit: int, *, answered: bool = False) -> list[Any]:
        """``answered``: what an input's last fetch told does not count if it was before the pause: its broker answers soon."""
        if len(places) == 1:
            buffer = self._buffers[places[0]]
            return [buffer.popleft() for _ in range(min(limit, len(buffer)))]
        exhausted = [self._exhausted(place) and (not answered or self._answered(place)) for place in places]
        return merge([self._buffers[place] for place in places], exhausted, limit)

    def _answered(self, place: TopicPartition) -> bool:
        return bool(self._consumer.last_poll_timestamp(place) != self._told_at.get(place, -1))

    @property
    def caught_up(self) -> bool:
        """Whether the last fetch left nothing behind, and all that it brought has been handed out."""
        return all(self._exhausted(place) for place in self._places)

    def _exhausted(self, place: TopicPartition) -> bool:
        return not self._buffers[place] and self._fetched_up(place)

    def _fetched_up(self, place: TopicPartition) -> bool:
        """Whether the last fetch of this partition told that nothing committed lies ahead."""
        stable = self._consumer.last_stable_offset(place)
        return stable is not None and stable >= 0 and self._position(place) >= stable

    def _position(self, place: TopicPartition) -> int:
        state = self._consumer._subscription.subscription.assignment.state_value(place)
        # the public position() is a coroutine that waits; this is what it returns when there is nothing to wait for
        return int(state.position) if state.has_valid_position else 0

    def _advance(self, merged: Sequence[Any]) -> None:
        """Positions after these records; where nothing is left in the buffer, control and aborted records are behind."""
        self.positions.update({record.topic: record.offset + 1 for record in merged})
        for place, buffer in self._buffers.items():
            if not buffer:
                self.positions[place.topic] = max(self.positions[place.topic], self._position(place))

    def lag(self, ends: Mapping[str, int]) -> dict[str, int]:
        """Offsets not processed yet by topic (records and transaction markers that may be read).

        An input ends where the last fetch saw it end, or at its offset in ``ends`` if that is later.
        """
        lag = {}
        for place in self._places:
            end = max(self._consumer.last_stable_offset(place) or 0, ends.get(place.topic, 0))
            lag[place.topic] = max(0, end - self.positions[place.topic])
        return lag

    async def close(self) -> None:
        """Stop the consumer."""
        await self._consumer.stop()
