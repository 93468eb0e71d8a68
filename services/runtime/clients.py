"""Kafka clients, made in one place: connection, isolation, batch sizes and time-outs as measured."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

from services.runtime import access, compression, wire
from services.runtime.errors import OperatorError
from services.runtime.refusal import Refusal, refusal, untold, why
from services.runtime.settings import Settings, SettingsError

BATCH_BYTES = 960 * 1024
"""Of records before compression: what does not compress at all still fits into the 1 MiB that our topics take."""
TRANSACTION_TIMEOUT_MS = 10_000
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
MAX_REQUEST_BYTES = 16 * 1024 * 1024
ADMIN_ANSWER_MS = 20_000
"""An admin request without an answer is given up after this."""
_CLOSE_S = 2.0

wire.install()
compression.install()


class BrokerAwayError(OperatorError):
    """There is no broker where one should be: it may come back by itself."""


def transactional_producer(settings: Settings, transactional_id: str) -> AIOKafkaProducer:
    """A producer whose start fences the previous owner of its id and ends what that one left open."""
    return AIOKafkaProducer(
        **settings.kafka(),
        transactional_id=transactional_id,
        transaction_timeout_ms=TRANSACTION_TIMEOUT_MS,
        **_batching(settings),
    )


def idempotent_producer(settings: Settings) -> AIOKafkaProducer:
    """A producer without transactions: acknowledged by all in-sync replicas, no repeats by its own retries."""
    return AIOKafkaProducer(
        **settings.kafka(),
        enable_idempotence=True,
        **_batching(settings),
    )


def _batching(settings: Settings) -> dict[str, Any]:
    return {
        "max_batch_size": BATCH_BYTES,
        "max_request_size": MAX_REQUEST_BYTES,
        "compression_type": None if settings.compression == "none" else settings.compression,
    }


def reader(
    settings: Settings, *, committed: bool = True, max_poll_records: int = 4000, wait_ms: int = 500
) -> AIOKafkaConsumer:
    """A consumer without a group, to be given partitions by ``assign()``; a position it cannot find is an error.

    ``wait_ms`` is how long the broker holds a fetch that finds nothing. It reads nothing else from the connection then,
    not even TLS's goodbye, so over TLS that is how long stopping takes.
    """
    return AIOKafkaConsumer(
        **settings.kafka(),
        isolation_level="read_committed" if committed else "read_uncommitted",
        auto_offset_reset="none",
        enable_auto_commit=False,
        max_poll_records=max_poll_records,
        max_partition_fetch_bytes=2 * 1024 * 1024,
        fetch_max_wait_ms=wait_ms,
    )


@asynccontextmanager
async def reading(settings: Settings, **how: Any) -> AsyncIterator[AIOKafkaConsumer]:
    """A :func:`reader` that is started, and stopped at the end of the block, also where it could not start."""
    consumer = reader(settings, **how)
    try:
        await consumer.start()
        yield consumer
    finally:
        await consumer.stop()


def member(settings: Settings, group: str, assignor: Any, instance: str | None) -> AIOKafkaConsumer:
    """A group consumer for membership only: all its partitions are kept paused.

    The end offsets that it is asked for are those up to which a lane may read: the last stable ones.
    """
    return AIOKafkaConsumer(
        **settings.kafka(),
        isolation_level="read_committed",
        group_id=group,
        group_instance_id=instance,
        partition_assignment_strategy=[assignor],
        enable_auto_commit=False,
        auto_offset_reset="latest",
        session_timeout_ms=SESSION_TIMEOUT_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        rebalance_timeout_ms=SESSION_TIMEOUT_MS,
    )


@asynccontextmanager
async def admin(settings: Settings) -> AsyncIterator[AIOKafkaAdminClient]:
    """A started admin client, closed at the end of the block; what Kafka's errors mean is told (:func:`told`)."""
    await require_broker(settings)
    client = AIOKafkaAdminClient(**settings.kafka(), request_timeout_ms=ADMIN_ANSWER_MS)
    async with told(settings):
        try:
            await client.start()
            await _require_usable(settings, client)
            yield client
        finally:
            await client.close()


@asynccontextmanager
async def told(settings: Settings) -> AsyncIterator[None]:
    """An error of Kafka's in the block, and what aiokafka logs of it, become one SettingsError or BrokerAwayError."""
    with untold():
        try:
            yield
        except (KafkaError, ConnectionError, TimeoutError) as error:
            if (lacking := access.explained(error, settings)) is not None:
                raise lacking from error
            failed = f"the Kafka broker at {settings.broker} failed while it was used ({type(error).__name__})"
            raise _error(failed, await why(settings)) from error


async def require_broker(settings: Settings) -> None:
    """SettingsError says why the broker cannot be used, BrokerAwayError that none is there; both within seconds."""
    if (reason := await refusal(settings)) is not None:
        raise _error(f"the Kafka broker at {settings.broker} cannot be used", reason)


async def _require_usable(settings: Settings, client: AIOKafkaAdminClient) -> None:
    if unusable := await _unusable(client):
        answers = (
            f"the Kafka broker at {settings.broker} answers, but what it names as its address, {unusable}, cannot be used "
            "(advertised.listeners)"
        )
        raise _error(answers, await why(settings, unusable))


def _error(failed: str, reason: Refusal) -> OperatorError:
    return (BrokerAwayError if reason.away else SettingsError)(f"{failed}: {reason.told}")


async def _unusable(client: AIOKafkaAdminClient) -> str:
    """The addresses by which the brokers want to be called, when none of them works; else nothing."""
    brokers = client._client.cluster.brokers()
    for broker in brokers:
        if await client._client.ready(broker.nodeId):
            return ""
    return ",".join(f"{broker.host}:{broker.port}" for broker in brokers)


async def close_producer(producer: AIOKafkaProducer) -> None:
    """Stop a producer within seconds, also while the broker is away: ``stop()`` alone retries its last batch for ever."""
    for step in (producer.stop, producer._sender.close, producer.client.close):
        try:
            async with asyncio.timeout(_CLOSE_S):
                await step()
        except (KafkaError, OSError, TimeoutError):
            continue
        if step == producer.stop:
            return


def ignore_futures_of_failed_producers(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Event loop exception handler: a failed aiokafka producer leaves futures that nobody can await.

    What went wrong was raised and handled where it was sent from; their "never retrieved" would only look like more.
    """
    if not isinstance(context.get("exception"), KafkaError):
        loop.default_exception_handler(context)
