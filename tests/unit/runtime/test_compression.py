"""What producers compress, once ``clients`` is imported."""

from __future__ import annotations

import cramjam
from aiokafka import AIOKafkaProducer
from aiokafka.codec import zstd_decode
from aiokafka.producer.message_accumulator import BatchBuilder

from services.runtime import clients
from services.runtime.compression import LEVEL
from services.runtime.settings import Settings

HEADER = 61
"""Bytes of a batch before its records."""


def records(codec: str) -> bytes:
    """A hundred alike, as a producer with this codec writes them."""
    builder = BatchBuilder(clients.BATCH_BYTES, AIOKafkaProducer._COMPRESSORS[codec][1] if codec != "none" else 0)
    for number in range(100):
        builder.append(timestamp=1, key=b"%03d" % number, value=b'{"distance":%d.5,"carrier":"UA"}' % (number * 7919))
    return bytes(builder._build()[HEADER:])


def test_zstd_is_written_at_our_level() -> None:
    """Not at aiokafka's, which another client could not tell from it but by the time it takes."""
    plain = records("none")
    written = records(clients._batching(Settings())["compression_type"])
    assert written == bytes(cramjam.zstd.compress(plain, level=LEVEL)) != bytes(cramjam.zstd.compress(plain, level=3))
    assert zstd_decode(written) == plain
