"""Latencies of one run, and the goals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bench.latency.load import since
from bench.latency.systems import AT_LEAST_ONCE, EXACTLY_ONCE, KAFKA_STREAMS

PARTS = ("cleaning", "scoring", "both")


class Quantiles(NamedTuple):
    """Milliseconds."""

    p50: float
    p99: float
    p999: float


@dataclass(frozen=True)
class Measured:
    """One system under one load, at so many events a second: quantiles by part, what was lost or came twice, and how long
    after the last event was due the last one came out (NaN when some never did).
    """

    rate: float
    parts: dict[str, Quantiles]
    lost: int
    repeats: int
    last_s: float


@dataclass(frozen=True)
class Goal:
    """What the median and the 99th percentile of both hops together may be at most, in ms, under a load."""

    system: str
    load: str
    p50: float
    p99: float


GOALS = (
    Goal(EXACTLY_ONCE.name, "50 %", 50.0, 150.0),
    Goal(EXACTLY_ONCE.name, "200/s", 15.0, 50.0),
    Goal(AT_LEAST_ONCE.name, "50 %", 25.0, 80.0),
)
BELOW = (EXACTLY_ONCE.name, KAFKA_STREAMS.name)
"""The first system's latency shall be below the second's, at half load."""


def quantiles(seconds: Sequence[float]) -> Quantiles:
    """Of the events that have come, NaN left out; NaN when none has."""
    found = np.asarray(seconds)
    found = found[~np.isnan(found)] * 1000
    if not found.size:
        return Quantiles(float("nan"), float("nan"), float("nan"))
    return Quantiles(*(float(each) for each in np.quantile(found, (0.5, 0.99, 0.999))))


def parts(due: Sequence[float], middle: Sequence[float], last: Sequence[float], first: int) -> dict[str, Quantiles]:
    """By hop and for both together, of the events from number ``first`` on."""
    return {
        part: quantiles(list(since(begin, end, first)))
        for part, begin, end in zip(PARTS, (due, middle, due), (middle, last, last), strict=True)
    }
