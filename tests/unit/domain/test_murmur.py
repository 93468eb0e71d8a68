from __future__ import annotations

import pytest
from aiokafka.partitioner import DefaultPartitioner
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.murmur import murmur2, partition, partitions

KAFKA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "expected"), KAFKA.items())
def test_kafkas_own_vectors(key: bytes, expected: int) -> None:
    """The hashes are those of Kafka's UtilsTest.testMurmur2."""
    assert murmur2(key) == expected & 0xFFFFFFFF


@settings(max_examples=60)
@given(st.lists(st.binary(max_size=40) | st.binary(min_size=200, max_size=256), max_size=60), st.integers(1, 300))
def test_a_batch_places_keys_as_every_kafka_client_does(keys: list[bytes], count: int) -> None:
    """Batch, single key and aiokafka's default partitioner agree on every key, of any length."""
    expected = [DefaultPartitioner()(key, list(range(count)), []) for key in keys]
    assert partitions(keys, count) == expected
    assert [partition(key, count) for key in keys] == expected
