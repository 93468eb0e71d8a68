"""Publishes the outbox to ``<model>.models``: in order, acknowledged by all replicas, for as long as it takes.

Of several registries on one database the one that holds its lock publishes (:mod:`services.registry.turn`), and the
others stand by. The producer's transactional id is made of the database's identity: who takes over fences the one
before, so that a slow one can never put an older record behind a newer one. After every connection, and whenever
offsets say that a topic was made anew, the topic is read and what is missing or different is queued again.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import structlog
from aiokafka.errors import KafkaError
from sqlalchemy.exc import SQLAlchemyError

from schemas.topics import topic_name
from services.registry import outbox, topic
from services.registry.database import Database
from services.registry.metrics import (
    BROKER_CONNECTED,
    OUTBOX_OLDEST_SECONDS,
    OUTBOX_RECORDS,
    PUBLISH_FAILURES,
    PUBLISHED,
    STANDBY,
)  # fmt: skip
from services.registry.turn import Turn
from services.runtime import access
from services.runtime.clients import close_producer, require_broker, transactional_producer
from services.runtime.errors import OperatorError
from services.runtime.settings import Settings

_log = structlog.get_logger()
_TICK_SECONDS = 1.0
_PUBLISH_SECONDS = 10.0
_HELD_EVERY_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_LONGEST_RETRY_SECONDS = 5.0
_TOLD_AGAIN = 8
"""A trouble that lasts is told anew when it has come so many times as often as when it was told last."""
_TROUBLE = (KafkaError, OperatorError, OSError, TimeoutError, SQLAlchemyError)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How publishing stands: ``broker`` is ``unset``, ``connected``, ``standby`` (another registry publishes) or ``away``.

    ``error`` says why it is away.
    """

    broker: str
    error: str = ""


class Publisher:
    """One task that empties the outbox; ``kafka`` None only counts what waits."""

    def __init__(self, database: Database, kafka: Settings | None) -> None:
        self._database = database
        self._kafka = kafka
        self._turn = Turn(database.engine)
        self._woken = asyncio.Event()
        self._producer: Any = None
        self._tell_at = 1
        self._compared: set[str] = set()
        self._offsets: dict[str, int] = {}
        self.delivery = Delivery("unset") if kafka is None else Delivery("away", "not connected yet")

    def wake(self) -> None:
        """Say that something may wait, from the event loop's thread."""
        self._woken.set()

    async def run(self) -> None:
        """Publish until cancelled; trouble with broker or database is told ever more seldom, waited out, and retried."""
        failures = 0
        try:
            while True:
                try:
                    await self._round()
                    failures = 0
                    await self._wait()
                except _TROUBLE as error:
                    failures += 1
                    await self._failed(error, failures)
        finally:
            await self._close()
            await asyncio.to_thread(self._turn.give_up)

    async def hold(self) -> None:
        """Hold the turn while a round takes long, until cancelled; a turn that is lost is the next round's trouble."""
        while True:
            await asyncio.sleep(_HELD_EVERY_SECONDS)
            with contextlib.suppress(SQLAlchemyError):
                await asyncio.to_thread(self._turn.hold)

    async def _wait(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_TICK_SECONDS):
                await self._woken.wait()
        self._woken.clear()

    async def _failed(self, error: BaseException, failures: int) -> None:
        PUBLISH_FAILURES.inc()
        error = (self._kafka and access.explained(error, self._kafka)) or error
        why = str(error) if isinstance(error, OperatorError) else f"{type(error).__name__}: {error}"
        self._tell_at = 1 if failures == 1 else self._tell_at
        if failures == self._tell_at:
            self._tell_at *= _TOLD_AGAIN
            _log.warning("alias records wait", error=why, failures=failures)
        self._now(Delivery("away", why))
        await self._close()
        await asyncio.sleep(min(_RETRY_SECONDS * 2 ** min(failures - 1, 8), _LONGEST_RETRY_SECONDS))

    def _now(self, delivery: Delivery) -> None:
        self.delivery = delivery
        BROKER_CONNECTED.set(delivery.broker == "connected")
        STANDBY.set(delivery.broker == "standby")

    async def _close(self) -> None:
        producer, self._producer = self._producer, None
        self._compared.clear()
        if producer is not None:
            await close_producer(producer)

    async def _round(self) -> None:
        await self._count()
        if self._kafka is None:
            return
        if not await asyncio.to_thread(self._turn.take):
            await self._stand_by()
            return
        if self._producer is None:
            await self._connect(self._kafka)
        for name in await asyncio.to_thread(outbox.waiting_names, self._database):
            async with asyncio.timeout(_PUBLISH_SECONDS):
                if name not in self._compared:
                    await self._compare(self._kafka, name)
                await self._publish(name)
        await self._count()

    async def _count(self) -> None:
        backlog = await asyncio.to_thread(outbox.backlog, self._database)
        OUTBOX_RECORDS.set(backlog.records)
        since = backlog.since
        OUTBOX_OLDEST_SECONDS.set((datetime.now(UTC) - since).total_seconds() if since is not None else 0)

    async def _stand_by(self) -> None:
        await self._close()
        if self.delivery.broker != "standby":
            self._now(Delivery("standby"))
            _log.info("another registry on this database publishes; this one stands by")

    async def _connect(self, kafka: Settings) -> None:
        """Fence whoever published before, then compare every model's aliases with its topic."""
        await require_broker(kafka)  # says what is wrong; the producer's own start would log that, and tell less
        identity = await asyncio.to_thread(outbox.identity, self._database)
        self._producer = transactional_producer(kafka, f"rivermill.registry.{identity}")
        await self._producer.start()
        for name in await asyncio.to_thread(outbox.all_names, self._database):
            await self._compare(kafka, name)
        self._now(Delivery("connected"))
        _log.info("alias records are published", broker=kafka.broker)

    async def _compare(self, kafka: Settings, name: str) -> None:
        await topic.ensure(kafka, name)
        there = await topic.read(kafka, name)
        queued = await asyncio.to_thread(outbox.reconcile, self._database, name, there, datetime.now(UTC))
        if queued:
            _log.info("aliases missing or different on the topic are published again", model=name, aliases=queued)
        self._compared.add(name)

    async def _publish(self, name: str) -> None:
        """Send what waits of one model in one transaction, then forget it."""
        records = await asyncio.to_thread(outbox.waiting, self._database, name)
        if not records:
            return
        target = topic_name(name, "models")
        # no transaction(): it would wait for the broker to abort; a transaction that failed ends with its producer
        await self._producer.begin_transaction()
        sends = [
            await self._producer.send(target, record.record, key=record.alias.encode(), partition=0)
            for record in records
        ]
        sent = await asyncio.gather(*sends)
        await self._producer.commit_transaction()
        await asyncio.to_thread(outbox.acknowledged, self._database, [record.id for record in records])
        PUBLISHED.inc(len(records))
        if sent[0].offset <= self._offsets.get(name, -1):
            _log.warning("the topic was made anew; its aliases are compared again", model=name)
            await self._compare_again(name)
        self._offsets[name] = sent[-1].offset

    async def _compare_again(self, name: str) -> None:
        self._offsets.pop(name, None)
        if self._kafka is not None:
            await self._compare(self._kafka, name)
        self.wake()
