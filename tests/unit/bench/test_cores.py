"""What a core of bench.cores costs: CPU here, memory in a process of its own."""

from __future__ import annotations

import pickle
import sys

import pytest

from bench.resident import added
from bench.row import fed, measured

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read as Linux tells it")
RECORDS = [bytes([number % 255 + 1]) * 10_000 for number in range(2500)]


class Keeping:
    """Keeps its records."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def process(self, batch: list[bytes], _now: int) -> None:
        self.kept += batch


class Forgetting:
    """Keeps nothing but the last of each batch."""

    last = b""

    def process(self, batch: list[bytes], _now: int) -> None:
        self.last = batch[-1]


def test_the_memory_of_a_core_is_what_it_keeps_of_its_records():
    """25 MB that were in this process before, as the records themselves, and are kept in the core's."""
    row = measured("stage", "what", Keeping, RECORDS, 1)
    assert row.memory == pytest.approx(25, abs=2.5)
    assert (row.stage, row.what, row.records) == ("stage", "what", 2500)
    assert 0 < row.us < 1000


def test_a_core_that_keeps_nothing_takes_no_more_than_a_batch():
    """Of 10 MB, which the allocator may have kept."""
    assert added(fed, Forgetting, [pickle.dumps(RECORDS[:1000])] * 5) < 12


def test_a_core_has_processed_every_record_and_is_tended_after_each_batch():
    """As when its CPU is measured."""
    sizes: list[int] = []
    core = fed(Keeping, [pickle.dumps([b"a", b"b"]), pickle.dumps([b"c"])], lambda it: sizes.append(len(it.kept)))
    assert core.kept == [b"a", b"b", b"c"]
    assert sizes == [2, 3]
