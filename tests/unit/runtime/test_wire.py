"""Batches with header names that are not UTF-8, as aiokafka's consumers read them once ``clients`` is imported."""

from __future__ import annotations

import gzip
from dataclasses import fields
from typing import Any

import pytest
from aiokafka import ConsumerRecord, TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.util import NO_EXTENSIONS

from services.domain.deadletters import legible
from services.runtime import clients

NAMES = ["plain", "né", "bad", "né"]
BAD = b"b\xffd"


def fetched(codec: int) -> bytes:
    """Four records with a header each; the third one's name is not UTF-8."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for number, name in enumerate(NAMES):
        builder.append(number, 1000, b"k%d" % number, b"v", [(name, b"x"), (name, None)])
    raw = bytearray(bytes(builder.build()).replace(b"bad", BAD))
    if codec:
        raw = raw[:61] + gzip.compress(raw[61:])
        raw[8:12] = (len(raw) - 12).to_bytes(4, "big")
        raw[22] |= codec
    return bytes(raw)


def read(raw: bytes) -> list[Any]:
    """The records as a consumer's fetcher unpacks them, one poll of one record at a time."""
    records = fetcher.PartitionRecords(
        TopicPartition("t", 0), fetcher.MemoryRecords(raw), None, 0, None, None, check_crcs=False, isolation_level=1
    )
    return list(records)


@pytest.mark.parametrize("codec", [0, 1])
def test_every_record_is_read_once_with_its_names(codec: int) -> None:
    """Those before it, it, and those after it, compressed or not; its name can be told apart, and written."""
    assert not NO_EXTENSIONS
    assert clients.wire
    found = read(fetched(codec))
    assert [(record.offset, record.key) for record in found] == [(number, b"k%d" % number) for number in range(4)]
    names = [[name for name, _ in record.headers] for record in found]
    assert names == [["plain"] * 2, ["né"] * 2, ["b\udcffd"] * 2, ["né"] * 2]
    assert [legible(name) for name, *_ in names] == ["plain", "né", r"b\xffd", "né"]


def test_a_record_holds_what_aiokafkas_own_does() -> None:
    """Attribute by attribute: Faust reads them all. A poll that stops half-way goes on where it stopped."""
    builder = DefaultRecordBatchBuilder(2, 0, 0, -1, -1, -1, 1 << 20)
    for number, (key, value) in enumerate([(b"k", b"value"), (None, b""), (b"", None)]):
        builder.append(number, 1000 + number, key, value, [("h", b"x")] if number else [])
    raw = bytes(builder.build())
    names = [field.name for field in fields(ConsumerRecord)]
    told = TopicPartition("t", 3), fetcher.MemoryRecords(raw), None, 0, None, None, False, 1
    records = fetcher.PartitionRecords(*told)
    found = [next(records), *records, *records]
    theirs = fetcher.PartitionRecords.__mro__[1](told[0], fetcher.MemoryRecords(raw), *told[2:])
    assert [[getattr(it, name) for name in names] for it in found] == [
        [getattr(it, name) for name in names] for it in theirs
    ]
    assert records.next_fetch_offset == 3
