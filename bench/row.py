"""A line of ``python -m bench.cores``: one kind of core, fed with the same records again and again."""

from __future__ import annotations

import gc
import pickle
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from bench import resident

_BATCH = 1000
_NOW = 2**42  # later than every record: the clock of a replay is in the events


class Row(NamedTuple):
    """A line of the table: CPU microseconds a record, and MB of memory."""

    stage: str
    what: str
    records: int
    us: float
    memory: float


def measured(
    stage: str,
    what: str,
    make: Callable[[], Any],
    records: Sequence[Any],
    runs: int,
    *,
    after: Callable[[Any], None] | None = None,
) -> Row:
    """One line: the CPU here, the memory in another process."""
    memory = resident.added(fed, make, [pickle.dumps(batch) for batch in _batches(records)], after)
    return Row(stage, what, len(records), best(make, records, runs, after), memory)


def fed(make: Callable[[], Any], batches: Sequence[bytes], after: Callable[[Any], None] | None = None) -> Any:
    """A fresh core that has processed all batches, each made of its bytes only then: what a core keeps of it counts."""
    core = make()
    for batch in batches:
        core.process(pickle.loads(batch), _NOW)  # noqa: S301 - of this program itself
        if after:
            after(core)
    return core


def best(
    make: Callable[[], Any], records: Sequence[Any], runs: int, after: Callable[[Any], None] | None = None
) -> float:
    """CPU microseconds a record: the best run of a fresh core over all records, batch by batch."""
    fastest = float("inf")
    for _ in range(runs):
        core = make()
        gc.collect()
        began = time.process_time()
        for batch in _batches(records):
            core.process(batch, _NOW)
            if after:
                after(core)
        fastest = min(fastest, time.process_time() - began)
    return fastest / len(records) * 1e6


def _batches(records: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (records[start : start + _BATCH] for start in range(0, len(records), _BATCH))
