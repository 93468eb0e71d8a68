"""Publishing a batch with its checkpoint: exactly once through two transactional ids, or at least once.

Why two ids in turn: after a commit the same id waits some 20 ms for its transaction markers (CONCURRENT_TRANSACTIONS
back-off); another id need not. They never overlap: a later commit must not jump over an earlier abort.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import IllegalOperation, KafkaError, ProducerFenced, TopicAuthorizationFailedError

from services.domain.records import Out
from services.runtime import access, clients
from services.runtime.settings import Settings

Place = tuple[str, int]
"""A topic's full name and a partition."""
_TO_WRITE = 3
"""So many turns of the event loop aiokafka's sender takes until a request of a transaction is on its way."""


class FencedError(RuntimeError):
    """Another process owns the lane now: this one ends quietly."""


class Publisher(Protocol):
    """Sends a batch's records, checkpoint included, and says where each partition's output ended."""

    async def publish(
        self, sends: Mapping[Place, Iterable[Out]], group_offsets: Mapping[TopicPartition, int]
    ) -> dict[Place, int]:
        """All or nothing (exactly once) or acknowledged in order (at least once); offsets after the last records."""

    async def expect(self, places: Iterable[Place]) -> None:
        """Where the next batch will probably be written: what can be arranged while the core works on it, is."""

    async def close(self) -> None:
        """Stop the producers."""


Sent = list["asyncio.Future[Any]"]


def _batches(producer: AIOKafkaProducer, outs: Iterable[Out]) -> Iterator[Any]:
    """The records as aiokafka's batches; an empty batch takes any record, however large."""
    rest = iter(outs)
    out = next(rest, None)
    while out is not None:
        batch = producer.create_batch()
        append, count = batch._builder.append, 0  # the batch's own append() takes half as long again around it
        while out is not None and append(count, out.timestamp, out.key, out.value, out.headers) is not None:
            count += 1
            out = next(rest, None)
        batch._relative_offset = count
        yield batch


async def _send_all(producer: AIOKafkaProducer, sends: Mapping[Place, Iterable[Out]]) -> Sent:
    sent: Sent = []
    try:
        for (topic, partition), outs in sends.items():
            for batch in _batches(producer, outs):
                sent.append(await producer.send_batch(batch, topic, partition=partition))
    except BaseException:
        await asyncio.gather(*sent, return_exceptions=True)
        raise
    return sent


async def _acknowledged(futures: Sent) -> dict[Place, int]:
    """Await every send (``flush()`` hides errors); the offset of each place's last batch's first record."""
    results = await asyncio.gather(*futures, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return {
        (result.topic, result.partition): result.offset for result in results if not isinstance(result, BaseException)
    }


def _ended_by(producer: AIOKafkaProducer) -> BaseException | None:
    """What ended the transaction; who sends after it is told only that none is open, by IllegalOperation or an assertion."""
    end = producer._txn_manager._transaction_waiter
    return end.exception() if end is not None and end.done() and not end.cancelled() else None


@contextmanager
def _told(producer: AIOKafkaProducer) -> Iterator[None]:
    """What an error in the block means: FencedError when another owner has the lane; else what ended the transaction."""
    try:
        yield
    except (KafkaError, IllegalOperation, AssertionError) as error:
        cause = _ended_by(producer) or error
        if isinstance(cause, ProducerFenced):
            raise FencedError(str(cause)) from cause
        if isinstance(cause, TopicAuthorizationFailedError):
            raise access.unwritable(cause) from cause
        raise cause from cause.__cause__


class ExactlyOnce:
    """The pair of transactional producers of one lane; open it with :meth:`open`."""

    def __init__(self, producers: tuple[AIOKafkaProducer, AIOKafkaProducer], group: str) -> None:
        self._producers = producers
        self._group = group
        self._turn = 0

    @classmethod
    async def open(cls, settings: Settings, group: str, lane: int) -> ExactlyOnce:
        """Start producer 0, then producer 1: each start fences the previous owner.

        The order matters, and that the first transaction uses 0: two owners starting in different orders could each
        commit one batch.
        """
        started: list[AIOKafkaProducer] = []
        try:
            for index in (0, 1):
                producer = clients.transactional_producer(settings, f"{group}-{lane}-{index}")
                started.append(producer)
                await producer.start()
        except BaseException:
            await asyncio.gather(*(clients.close_producer(producer) for producer in started), return_exceptions=True)
            raise
        return cls((started[0], started[1]), group)

    async def publish(
        self, sends: Mapping[Place, Iterable[Out]], group_offsets: Mapping[TopicPartition, int]
    ) -> dict[Place, int]:
        """One transaction; FencedError when another owner has the lane; any other error has an unknown outcome."""
        producer = self._producers[self._turn]
        self._turn ^= 1
        with _told(producer):
            if not producer._txn_manager.is_in_transaction():  # nobody expected it
                await producer.begin_transaction()
            ends = await _acknowledged(await _send_all(producer, sends))
            if group_offsets:
                await producer.send_offsets_to_transaction(dict(group_offsets), self._group)
            await producer.commit_transaction()
        return ends

    async def expect(self, places: Iterable[Place]) -> None:
        """Begin the next transaction and name its partitions to its coordinator (AddPartitionsToTxn, KIP-98), which is one of
        a commit's three round trips. Where nothing is written after all, nothing but the transaction's marker will lie.
        """
        producer = self._producers[self._turn]
        with _told(producer):
            await producer.begin_transaction()
            for topic, partition in places:
                producer._txn_manager.maybe_add_partition_to_txn(TopicPartition(topic, partition))
        for _ in range(_TO_WRITE):
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Stop both producers; an open transaction is left for the next owner's InitProducerId to abort."""
        await asyncio.gather(*(clients.close_producer(producer) for producer in self._producers))


class AtLeastOnce:
    """Outputs acknowledged first, then the checkpoint: after a crash the batch is done again."""

    def __init__(self, producer: AIOKafkaProducer, state_topic: str) -> None:
        self._producer = producer
        self._state_topic = state_topic

    @classmethod
    async def open(cls, settings: Settings, state_topic: str) -> AtLeastOnce:
        """Start an idempotent producer."""
        producer = clients.idempotent_producer(settings)
        await producer.start()
        return cls(producer, state_topic)

    async def publish(
        self,
        sends: Mapping[Place, Iterable[Out]],
        group_offsets: Mapping[TopicPartition, int],  # noqa: ARG002 - only a transaction carries them
    ) -> dict[Place, int]:
        """Outputs, then state; raises what any send raised."""
        outputs = {place: outs for place, outs in sends.items() if place[0] != self._state_topic}
        state = {place: outs for place, outs in sends.items() if place[0] == self._state_topic}
        try:
            ends = await _acknowledged(await _send_all(self._producer, outputs))
            return ends | await _acknowledged(await _send_all(self._producer, state))
        except TopicAuthorizationFailedError as error:
            raise access.unwritable(error) from error

    async def expect(self, places: Iterable[Place]) -> None:
        """There is nothing to arrange."""

    async def close(self) -> None:
        """Stop the producer."""
        await clients.close_producer(self._producer)
