"""Follows ``<model>.alerts`` and ``<model>.summaries`` of every model, so that the pages can tell what happened.

What is read is kept in memory, bounded, and read again after a restart: alerts from their beginning, summaries from
some blocks before their end. The registry's decisions do not depend on it, and the pages say when it is behind.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError, OffsetOutOfRangeError
from sqlalchemy.exc import SQLAlchemyError

from schemas.alerts import Alert
from schemas.codec import from_ms, type_decoder
from schemas.summaries import Summary
from schemas.topics import topic_name
from services.registry import outbox
from services.registry.database import Database
from services.registry.incidents import Incidents
from services.registry.profiles import Profiles
from services.registry.publisher import Publisher
from services.runtime.clients import reading, require_broker
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

_log = structlog.get_logger()
_STREAMS = ("alerts", "summaries")
_MOST_MODELS = 100
_NEWEST_SUMMARIES = 2_000
"""Offsets before the end of ``summaries`` to begin at."""
_MOST_ALERT_BYTES = 64 * 1024
"""No service of ours writes larger ones, and a thousand are kept."""
_LOOK_SECONDS = 5.0
_POLL_SECONDS = 0.5
_RETRY_SECONDS = 2.0
_TROUBLE = (KafkaError, OperatorError, OSError, TimeoutError, SQLAlchemyError)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_alert = type_decoder(Alert)
_summary = type_decoder(Summary)


class Follower:
    """One task that reads by a connection of its own, whoever publishes; ``kafka`` None reads nothing."""

    def __init__(self, database: Database, kafka: Settings | None, publisher: Publisher) -> None:
        self._database = database
        self._kafka = kafka
        self._publisher = publisher
        self._next: dict[TopicPartition, int] = {}
        self._caught_up = False
        self._failing = False
        self._told = False
        self.incidents = Incidents()
        self.profiles = Profiles()

    @property
    def caveat(self) -> str:
        """What a person should know before believing what is shown; empty when all has been read."""
        if self._kafka is None:
            return "No broker is set (RIVERMILL_BROKER), so incidents and fields are not known here."
        if self._failing:
            return (
                "The broker is away or cannot be read: incidents and fields are as they were when it was last reached."
            )
        return "" if self._caught_up else "Incidents and fields are still being read from the broker."

    async def run(self) -> None:
        """Read until cancelled. A broker that is away is the publisher's to tell, and tried until it is back."""
        while self._kafka is not None:
            try:
                await self._follow(self._kafka)
            except OffsetOutOfRangeError:  # deleted before they were read, or the topic was made anew
                self._forget(list(self._next))
                self._caught_up = False
            except _TROUBLE as error:
                self._failed(error)
            await asyncio.sleep(_RETRY_SECONDS)

    def _failed(self, error: BaseException) -> None:
        self._failing = True
        if not self._told and self._publisher.delivery.broker != "away":
            self._told = True
            _log.warning("alerts and summaries are not read", error=f"{type(error).__name__}: {error}")

    async def _follow(self, kafka: Settings) -> None:
        await require_broker(kafka)  # the consumer's own start would log what is wrong
        async with reading(kafka) as consumer:
            while True:
                ends = await self._look(consumer)
                self._failing = self._told = False
                again = asyncio.get_running_loop().time() + _LOOK_SECONDS
                while asyncio.get_running_loop().time() < again:
                    await self._read(consumer)
                    self._caught_up = self._caught_up or all(self._next[place] >= end for place, end in ends.items())

    async def _read(self, consumer: AIOKafkaConsumer) -> None:
        if not consumer.assignment():
            await asyncio.sleep(_POLL_SECONDS)
            return
        for place, records in (await consumer.getmany(timeout_ms=int(_POLL_SECONDS * 1000))).items():
            self._take(place, records)
        for place in consumer.assignment():  # also past what ends transactions
            self._next[place] = await consumer.position(place)

    async def _look(self, consumer: AIOKafkaConsumer) -> Mapping[TopicPartition, int]:
        """Take up topics that are there now and drop those that are not; return where they end."""
        models = (await asyncio.to_thread(outbox.all_names, self._database))[:_MOST_MODELS]
        there = await consumer.topics()
        names = {topic_name(model, stream) for model in models for stream in _STREAMS}
        wanted = {TopicPartition(name, 0) for name in names & there}
        ends: Mapping[TopicPartition, int] = await consumer.end_offsets(list(wanted)) if wanted else {}
        made_anew = [place for place, end in ends.items() if self._next.get(place, 0) > end]
        self._forget([*(place for place in self._next if place not in wanted), *made_anew])
        if made_anew or consumer.assignment() != wanted:
            await self._begin(consumer, ends)
        return ends

    async def _begin(self, consumer: AIOKafkaConsumer, ends: Mapping[TopicPartition, int]) -> None:
        """Read these, each from where it was left or from its beginning."""
        consumer.assign(list(ends))
        unread = [place for place in ends if place not in self._next]
        begins = await consumer.beginning_offsets(unread) if unread else {}
        for place, begin in begins.items():
            newest = ends[place] - _NEWEST_SUMMARIES if place.topic.endswith(".summaries") else 0
            self._next[place] = max(begin, newest)
        for place in ends:
            consumer.seek(place, self._next[place])

    def _forget(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            self._next.pop(place, None)
            model, _, stream = place.topic.rpartition(".")
            (self.incidents if stream == "alerts" else self.profiles).forget(model)

    def _take(self, place: TopicPartition, records: Sequence[Any]) -> None:
        model, _, stream = place.topic.rpartition(".")
        for record in records:
            value = record.value or b""
            try:
                if stream == "summaries":
                    self.profiles.take(model, _summary.decode(value))
                elif len(value) <= _MOST_ALERT_BYTES:
                    self.incidents.take(model, _alert.decode(value), from_ms(record.timestamp))
            except _UNREADABLE as error:
                _log.warning("a record is passed over", topic=place.topic, offset=record.offset, error=str(error))
