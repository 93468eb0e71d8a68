"""What the ``summaries`` topics tell of every field: values, missing ones, mean and spread, block by block."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from math import sqrt
from threading import Lock

import msgspec
from msgspec.structs import replace

from schemas.summaries import FeatureMoments, Summary

BLOCK_EVENTS = 400
"""Events that make a block here; the newest block may have fewer."""
MOST_BLOCKS = 60
MOST_FIELDS = 100


class Part(msgspec.Struct):
    """Sums over a field's values: ``mean`` of all, ``centre`` and ``squares`` (around it) of the ``numbers``.

    ``numbers`` are a numeric field's values, clipped as drift clips them; there are none of other fields.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    numbers: int = 0
    centre: float = 0.0
    squares: float = 0.0

    @property
    def missing_rate(self) -> float | None:
        """Share of missing values; None without events."""
        return self.missing / total if (total := self.count + self.missing) else None

    @property
    def deviation(self) -> float | None:
        """Standard deviation of the clipped numbers; None where there are none."""
        return sqrt(max(self.squares / self.numbers, 0.0)) if self.numbers else None

    @property
    def average(self) -> float | None:
        """Mean of a numeric field; None where it has no numbers."""
        return self.mean if self.numbers else None

    def add(self, other: Part) -> None:
        """Merge (Chan, Golub, LeVeque, "Updating formulae", 1979)."""
        if other.count:
            self.mean += (other.mean - self.mean) * other.count / (self.count + other.count)
        if other.numbers:
            both, apart = self.numbers + other.numbers, other.centre - self.centre
            self.squares += other.squares + apart * apart * self.numbers * other.numbers / both
            self.centre += apart * other.numbers / both
            self.numbers = both
        self.count += other.count
        self.missing += other.missing


class Block(msgspec.Struct):
    """The fields over consecutive summaries of all lanes; event times from ``start`` to ``end``."""

    start: datetime
    end: datetime
    events: int = 0
    fields: dict[str, Part] = {}


class Profiles:
    """Summaries of predictions folded into blocks by model; one thread writes, others read."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks: dict[str, deque[Block]] = {}

    def take(self, model: str, summary: Summary) -> None:
        """Fold a summary; those of ``examples`` have no fields."""
        if summary.source != "predictions":
            return
        with self._lock:
            blocks = self._blocks.setdefault(model, deque(maxlen=MOST_BLOCKS))
            if not blocks or blocks[-1].events >= BLOCK_EVENTS:
                blocks.append(Block(summary.start, summary.watermark))
            block = blocks[-1]
            block.end = max(block.end, summary.watermark)
            block.events += summary.events
            for name, moments in summary.features.items():
                if name in block.fields or len(block.fields) < MOST_FIELDS:
                    block.fields.setdefault(name, Part()).add(part_of(moments))

    def forget(self, model: str) -> None:
        """Drop what is known of a model."""
        with self._lock:
            self._blocks.pop(model, None)

    def of(self, model: str) -> list[Block]:
        """The blocks of a model, oldest first."""
        with self._lock:
            blocks = list(self._blocks.get(model, ()))
            if blocks:  # the newest alone still changes
                copied = {name: replace(part) for name, part in blocks[-1].fields.items()}
                blocks[-1] = replace(blocks[-1], fields=copied)
            return blocks


def part_of(moments: FeatureMoments) -> Part:
    """A summary's moments, their distances turned into a mean and squares around it."""
    n = moments.clipped_count
    away = moments.clipped / n if n else 0.0
    return Part(
        count=moments.count,
        missing=moments.missing,
        mean=moments.sum / moments.count if moments.count else 0.0,
        numbers=n,
        centre=moments.centre + away if n else 0.0,
        squares=max(moments.clipped_sq - n * away * away, 0.0),
    )


def names(blocks: Iterable[Block]) -> Iterator[str]:
    """The fields of all blocks, in the order in which they appeared."""
    return iter(dict.fromkeys(name for block in blocks for name in block.fields))


def over_all(blocks: Iterable[Block], name: str) -> Part:
    """One field over all blocks."""
    whole = Part()
    for block in blocks:
        if name in block.fields:
            whole.add(block.fields[name])
    return whole
