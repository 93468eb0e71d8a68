"""Records as consumers are handed them: cheaper than aiokafka's own, and whatever their headers are named.

aiokafka raises in ``getmany`` on a header whose name is not UTF-8, again and again. Kafka's protocol wants UTF-8 there, but
no broker looks, and one such record would stop its partition for ever. Here the name is read with surrogates (PEP 383)
for what cannot be decoded: ``headers_invalid`` to whoever checks the headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


class Record(msgspec.Struct, gc=False):
    """What aiokafka's ConsumerRecord holds, as a struct: made in a third of the time."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    timestamp_type: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]

    @property
    def checksum(self) -> None:
        """Records have had none since Kafka 0.11."""

    @property
    def serialized_key_size(self) -> int:
        """Bytes; -1 without a key."""
        return -1 if self.key is None else len(self.key)

    @property
    def serialized_value_size(self) -> int:
        """Bytes; -1 without a value."""
        return -1 if self.value is None else len(self.value)


class _Partition(fetcher.PartitionRecords):
    def __iter__(self) -> Iterator[Any]:
        return self._records_iterator or iter(())

    def _consumer_record(self, place: TopicPartition, record: Any) -> Any:
        if self._key_deserializer or self._value_deserializer:
            return super()._consumer_record(place, record)
        return Record(
            place.topic, place.partition, record.offset, record.timestamp, record.timestamp_type, record.key,
            record.value, tuple(record.headers),
        )  # fmt: skip


class _Lenient(bytearray):
    """Bytes of which every part can be decoded."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _Lenient(found) if isinstance(at, slice) else found

    def decode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> str:
        return super().decode(encoding, errors)


class _Batch:
    """aiokafka's batch of records, read in its compiled form; with such a name in it, in Python."""

    def __init__(self, batch: Any, raw: memoryview) -> None:
        self._batch = batch
        self._raw = raw

    def __getattr__(self, name: str) -> Any:
        return getattr(self._batch, name)

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._batch
        except UnicodeDecodeError:  # the fetcher skips what it has had already
            lenient = _DefaultRecordBatchPy(self._raw)
            lenient._maybe_uncompress()
            lenient._buffer = _Lenient(lenient._buffer)
            yield from lenient


class _Records(_MemoryRecordsPy):
    """What a fetch brought, batch by batch."""

    def next_batch(self, *args: Any) -> Any:
        raw = self._next_slice
        batch = super().next_batch(*args)
        return _Batch(batch, raw) if isinstance(batch, DefaultRecordBatch) and raw is not None else batch


def install() -> None:
    """Make every consumer of this process read so."""
    fetcher.MemoryRecords = _Records
    fetcher.PartitionRecords = _Partition
