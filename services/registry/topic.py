"""``<model>.models`` as the registry meets it: made if absent, read to its end when the registry starts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec
import structlog
from aiokafka import TopicPartition

from schemas.codec import type_decoder
from schemas.models import AliasRecord
from schemas.topics import topic_name, topics
from services.runtime.clients import reader
from services.runtime.settings import Settings
from services.runtime.topics import ensure as ensure_topics

_decoder = type_decoder(AliasRecord)
_log = structlog.get_logger()
_READ_SECONDS = 60


async def ensure(kafka: Settings, name: str) -> None:
    """Make the topic as the topic table has it, unless it is there; TopicError when it has another shape."""
    table = topics(name, 1, 1, 1, kafka.replication)
    await ensure_topics(kafka, [topic for topic in table if topic.stream == "models"])


async def read(kafka: Settings, name: str) -> dict[str, AliasRecord]:
    """Return the record of the greatest revision of every alias on the topic.

    The end is asked for as an uncommitted reader sees it: a committed one would stop short of a record that lies
    behind somebody's open transaction.
    """
    partition = TopicPartition(topic_name(name, "models"), 0)
    found: dict[str, AliasRecord] = {}
    asking = reader(kafka, committed=False)
    consumer = reader(kafka)
    try:
        await asking.start()
        await consumer.start()
        end = (await asking.end_offsets([partition]))[partition]
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        async with asyncio.timeout(_READ_SECONDS):
            while await consumer.position(partition) < end:
                batch = await consumer.getmany(partition, timeout_ms=200)
                _keep(found, batch.get(partition, ()), partition.topic)
    finally:
        await asking.stop()
        await consumer.stop()
    return found


def _keep(found: dict[str, AliasRecord], records: Iterable[Any], topic: str) -> None:
    for record in records:
        if record.value is None:
            found.pop((record.key or b"").decode(errors="replace"), None)
            continue
        try:
            decoded = _decoder.decode(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            _log.warning("a record that is no alias is ignored", topic=topic, offset=record.offset, error=str(error))
            continue
        known = found.get(decoded.alias)
        if known is None or decoded.revision >= known.revision:
            found[decoded.alias] = decoded
