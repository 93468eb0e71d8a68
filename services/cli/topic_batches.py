"""Records in batches to one topic, placed as Kafka's default partitioner would: for ``produce`` and for replays."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError, KafkaError, MessageSizeTooLargeError, RecordTooLargeError

from services.domain.murmur import partitions as partitions_of
from services.runtime import compression

Keyed = tuple[bytes | None, bytes]
_BATCH_BYTES = 512 * 1024
_MAX_REQUEST_BYTES = 12 * 1024 * 1024
_IN_FLIGHT = 64
_TOPIC_TIMEOUT_S, _AGAIN_S = 5.0, 0.1
"""How long one that was just made may be unknown to the broker, and how soon it is asked again."""

compression.install()


class ProduceError(RuntimeError):
    """A record, a topic or a broker that cannot be used: which, why, and what to do."""


def producer(kafka: dict[str, Any]) -> AIOKafkaProducer:
    """An idempotent producer with zstd and large batches; ``kafka`` are aiokafka's connection arguments."""
    return AIOKafkaProducer(
        **kafka,
        enable_idempotence=True,
        compression_type="zstd",
        max_batch_size=_BATCH_BYTES,
        max_request_size=_MAX_REQUEST_BYTES,
    )


async def started(kafka: dict[str, Any]) -> AIOKafkaProducer:
    """A started :func:`producer`, or ProduceError saying that the broker cannot be reached."""
    made = producer(kafka)
    try:
        await made.start()
    except (KafkaConnectionError, KafkaError, OSError) as error:
        await made.stop()
        raise ProduceError(
            f"the Kafka broker at {kafka.get('bootstrap_servers')} cannot be used ({type(error).__name__}): check that "
            "it runs and that its address is right (RIVERMILL_BROKER, --broker)"
        ) from error
    return made


class TopicBatches:
    """Sends lists of keyed records to one topic, on the partitions that Kafka's default partitioner names.

    A batch is built for each partition of each list, which costs a fifth of sending one by one. Records without a key
    are spread over the partitions in turn.
    """

    def __init__(self, producer: AIOKafkaProducer, topic: str) -> None:
        self._producer = producer
        self._topic = topic
        self._count = 0
        self._turn = itertools.count()
        self._unanswered: deque[asyncio.Future[Any]] = deque()

    async def open(self) -> None:
        """Look up the topic's partitions; ProduceError if it is not there, which only the broker's answer can say."""
        client, deadline = self._producer.client, time.monotonic() + _TOPIC_TIMEOUT_S
        client.add_topic(self._topic)
        answered = await client.force_metadata_update()
        while not (found := client.cluster.partitions_for_topic(self._topic)):
            if time.monotonic() >= deadline:
                raise self._not_found() if answered else self._not_answered()
            await asyncio.sleep(_AGAIN_S)
            answered = await client.force_metadata_update()
        self._count = len(found)

    async def send(self, records: Sequence[Keyed]) -> None:
        """Hand over records; waits while too many batches are unanswered. ProduceError when one is refused."""
        placed = partitions_of([key or b"" for key, _ in records], self._count)
        lots: dict[int, list[Keyed]] = {}
        for record, partition in zip(records, placed, strict=True):
            place = partition if record[0] is not None else next(self._turn) % self._count
            lots.setdefault(place, []).append(record)
        for partition, lot in lots.items():
            await self._send_lot(lot, partition)
        await self._answered(_IN_FLIGHT)

    async def drain(self) -> None:
        """Wait until the broker has acknowledged everything; ProduceError when something was refused."""
        await self._answered(0)

    async def _send_lot(self, lot: list[Keyed], partition: int) -> None:
        now = int(time.time() * 1000)
        batch = self._producer.create_batch()
        for key, value in lot:
            if batch.append(timestamp=now, key=key, value=value) is None:
                await self._send_batch(batch, partition)
                batch = self._producer.create_batch()
                batch.append(timestamp=now, key=key, value=value)
        await self._send_batch(batch, partition)

    async def _send_batch(self, batch: Any, partition: int) -> None:
        batch.close()
        try:
            self._unanswered.append(await self._producer.send_batch(batch, self._topic, partition=partition))
        except KafkaError as error:
            raise self._refused(error) from error

    async def _answered(self, most: int) -> None:
        while len(self._unanswered) > most:
            try:
                await self._unanswered.popleft()
            except KafkaError as error:
                raise self._refused(error) from error

    def _not_found(self) -> ProduceError:
        return ProduceError(
            f"there is no topic {self._topic!r} on the broker, or it may not be written to: make a pipeline's topics "
            "with `rivermill topics PIPELINE.toml --create`"
        )

    def _not_answered(self) -> ProduceError:
        return ProduceError(f"the broker does not say whether there is a topic {self._topic!r}: check that it runs")

    def _refused(self, error: KafkaError) -> ProduceError:
        large = isinstance(error, MessageSizeTooLargeError | RecordTooLargeError)
        advice = "a record is larger than the topic's max.message.bytes" if large else "the broker refused or was lost"
        return ProduceError(f"cannot write to {self._topic} ({type(error).__name__}): {advice}")
