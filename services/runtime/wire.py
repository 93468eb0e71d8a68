"""Records with a header whose name is not UTF-8: aiokafka raises on them in ``getmany``, again and again.

Kafka's protocol wants UTF-8 there, but no broker looks, and one such record would stop its partition for ever. Here the
name is read with surrogates (PEP 383) for what cannot be decoded: ``headers_invalid`` to whoever checks the headers.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch, _DefaultRecordBatchPy
from aiokafka.record.memory_records import _MemoryRecordsPy


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
    """Make every consumer of this process read such names."""
    fetcher.MemoryRecords = _Records
