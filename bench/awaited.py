"""What labels that are awaited cost a lane of the join, by their number: memory for each, and CPU at work on top of them."""

from __future__ import annotations

import gc
import multiprocessing
import time
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from pathlib import Path
from tempfile import gettempdir
from typing import NamedTuple

import msgspec

from bench import resident, ten
from schemas.codec import encode
from schemas.events import CleanEvent
from schemas.labels import CleanLabel
from schemas.predictions import ModelRef, Prediction
from services.cli.offline import Record
from services.domain.spec import Spec, parse, spec_hash
from services.learner.core.join import Join
from services.learner.core.values import MOST_IN_MEMORY
from services.learner.disk import Disk

COUNTS = (10_000, 100_000, 1_000_000)
GOAL_BYTES = 400
"""In memory for each; what lies on disk past a stated number may take what it takes until then."""
_TOPICS = ("ten.predictions", "ten.labels.clean")
_BATCH = 1000
_AT_WORK = 10_000
_NOW = 2**42


class Awaited(NamedTuple):
    """For a number of labels awaited: bytes of a prediction, how many lie on disk, bytes of memory for each, and CPU
    microseconds a record while as many labels come, each for the oldest, as new predictions.
    """

    labels: int
    size: int
    on_disk: int
    memory: float
    us: float

    def verdict(self) -> str:
        """Whether the goal is met, and how."""
        if self.memory <= GOAL_BYTES:
            return "met"
        if self.on_disk >= self.labels - MOST_IN_MEMORY:
            return f"met: no more than {MOST_IN_MEMORY:,} in memory"
        return f"**missed** by {self.memory / GOAL_BYTES - 1:.0%}"


def joiner(spec: Spec, topics: tuple[str, str], folder: str, most_in_memory: int = MOST_IN_MEMORY) -> Join:
    return Join(spec, 0, 1, *topics, store=Disk(Path(folder)), most_in_memory=most_in_memory)


def table(most: int) -> Iterator[str]:
    """As Markdown, up to so many labels; every count in a process of its own."""
    yield "| labels awaited, of one lane | bytes of each prediction | on disk | memory, bytes each | goal | | CPU µs a record |"
    yield "|---|---|---|---|---|---|---|"
    goal = f"≤ {GOAL_BYTES} bytes, or on disk past {MOST_IN_MEMORY:,}"
    for count in (it for it in COUNTS if it <= most):
        with multiprocessing.get_context("spawn").Pool(1) as fresh:
            it: Awaited = fresh.apply(awaited, (count,))
        yield (
            f"| {it.labels:,} | {it.size:,} | {it.on_disk:,} | {it.memory:,.0f} | {goal} | {it.verdict()} | {it.us:.1f} |"
        )


def awaited(count: int) -> Awaited:
    """Let so many wait, and then replace some by others."""
    spec = parse(ten.pipeline("ten", 1))
    core, told = joiner(spec, _TOPICS, gettempdir()), spec_hash(spec)
    gc.collect()
    before = resident.anonymous()
    predictions = _predictions(count + _AT_WORK, told)
    size = 0
    for batch in _batches(islice(predictions, count)):
        core.process(batch, _NOW)
        size = len(batch[-1].value or b"")
    gc.collect()
    memory, on_disk = (resident.anonymous() - before) / count, core.ledger.values.stored
    work = [record for pair in zip(predictions, _labels(_AT_WORK), strict=True) for record in pair]
    began = time.process_time()
    for batch in _batches(work):
        core.process(batch, _NOW)
    used = time.process_time() - began
    if core.totals["labelled"] != _AT_WORK:
        raise RuntimeError(f"only {core.totals['labelled']:,} of {_AT_WORK:,} labels met their predictions")
    return Awaited(count, size, on_disk, memory, used / len(work) * 1e6)


def _predictions(count: int, told: str) -> Iterator[Record]:
    sample = next(ten.clean_events(1, told))[1]
    features = msgspec.json.decode(sample, type=CleanEvent).features
    ref = ModelRef("ten", "logistic", 1, 1)
    for number in range(count):
        value = encode(Prediction(f"{number:08d}", _time(number), 0.5, True, ref, 0, [], features, {}, told))
        yield Record(_TOPICS[0], 0, number, number, b"%08d" % number, value)


def _labels(count: int) -> Iterator[Record]:
    for number in range(count):
        value = encode(CleanLabel(f"{number:08d}", _time(number), True))
        yield Record(_TOPICS[1], 0, number, number, b"%08d" % number, value)


def _time(number: int) -> datetime:
    return ten.START + timedelta(milliseconds=number)


def _batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    rest = iter(records)
    while batch := list(islice(rest, _BATCH)):
        yield batch
