"""Merging a lane's inputs."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.records import Header, Incoming
from services.runtime.merge import merge


@dataclass(frozen=True)
class Stamped:
    topic: str
    offset: int
    timestamp: int
    partition: int = 0
    key: bytes | None = None
    value: bytes | None = None
    headers: tuple[Header, ...] = ()


def _log(topic: str, stamps: list[int]) -> list[Incoming]:
    return [Stamped(topic, offset, stamp) for offset, stamp in enumerate(stamps)]


def _drain(logs: list[list[Incoming]], chunks: list[tuple[int, int, int]]) -> list[Incoming]:
    """Merge the logs fetched in these chunks of (input, records, limit), then the rest at once."""
    fetched = [0] * len(logs)
    buffers: list[deque[Incoming]] = [deque() for _ in logs]
    merged: list[Incoming] = []
    rest = [(rank, len(log), 1_000) for rank, log in enumerate(logs)]
    for rank, count, limit in [*((rank % len(logs), count, limit) for rank, count, limit in chunks), *rest]:
        buffers[rank].extend(logs[rank][fetched[rank] : fetched[rank] + count])
        fetched[rank] = min(fetched[rank] + count, len(logs[rank]))
        merged += merge(buffers, [done == len(log) for done, log in zip(fetched, logs, strict=True)], limit)
    return merged


_LOGS = st.lists(st.lists(st.integers(0, 12), max_size=12), min_size=1, max_size=3).map(
    lambda stamps: [_log(f"t{rank}", log) for rank, log in enumerate(stamps)]
)
_CHUNKS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.integers(0, 6)), max_size=15)


@settings(max_examples=200, deadline=None)
@given(logs=_LOGS, chunks=_CHUNKS)
def test_the_merged_order_does_not_depend_on_how_the_logs_are_fetched(
    logs: list[list[Incoming]], chunks: list[tuple[int, int, int]]
) -> None:
    """For fixed logs, any chunks and any limits give the order that one fetch of everything gives."""
    assert _drain(logs, chunks) == _drain(logs, [])


@settings(max_examples=100, deadline=None)
@given(logs=_LOGS, chunks=_CHUNKS)
def test_every_record_comes_once_and_each_input_keeps_its_order(
    logs: list[list[Incoming]], chunks: list[tuple[int, int, int]]
) -> None:
    """The records of one input come out exactly as they lie in its log, even where timestamps go back."""
    merged = _drain(logs, chunks)
    assert len(merged) == sum(map(len, logs))
    for rank, log in enumerate(logs):
        assert [record for record in merged if record.topic == f"t{rank}"] == log


@settings(max_examples=100, deadline=None)
@given(logs=st.lists(st.lists(st.integers(0, 12), max_size=12).map(sorted), min_size=1, max_size=3))
def test_monotonous_inputs_merge_into_one_monotonous_order(logs: list[list[int]]) -> None:
    """Where no input's timestamps go back, the merged ones do not either, and ties go by rank."""
    merged = _drain([_log(f"t{rank}", stamps) for rank, stamps in enumerate(logs)], [])
    order = [(record.timestamp, record.topic) for record in merged]
    assert order == sorted(order)


def test_an_empty_input_that_is_not_exhausted_is_waited_for() -> None:
    """No record is released while another input may still hold an earlier one."""
    buffers: list[deque[Incoming]] = [deque(_log("a", [1, 2])), deque()]
    assert merge(buffers, [False, False], 10) == []
    assert [record.offset for record in merge(buffers, [False, True], 10)] == [0, 1]
