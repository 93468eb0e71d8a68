"""How much a producer of ours puts into one batch, and what of it a topic of ours takes."""

from __future__ import annotations

import random

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder

from schemas.topics import MAX_MESSAGE_BYTES
from services.runtime.clients import BATCH_BYTES

CODECS = {"none": 0} | {codec: attributes for codec, (_, attributes) in AIOKafkaProducer._COMPRESSORS.items() if codec}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [200, 500, 50_000])
def test_a_full_batch_fits_into_a_message_though_nothing_can_be_compressed(codec: str, size: int) -> None:
    """Random bytes, in records of any size: whatever codec is set, the broker takes the batch."""
    source = random.Random(size)  # noqa: S311 - bytes to compress
    batch = BatchBuilder(BATCH_BYTES, CODECS[codec])
    while batch.append(timestamp=1, key=b"%08d" % batch.record_count(), value=source.randbytes(size)) is not None:
        pass
    assert BATCH_BYTES * 0.9 < batch.record_count() * (size + 8) < BATCH_BYTES
    assert len(batch._build()) <= MAX_MESSAGE_BYTES
