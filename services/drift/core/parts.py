"""A part of a block in progress: what a lane has summed up since its last summary."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import msgspec
import numpy as np

from schemas.predictions import ModelRef
from schemas.summaries import FeatureMoments, Moments
from services.domain.records import NUMBER_MAX
from services.domain.spec import Spec, duration
from services.drift.core.standards import Floats, Standards

LEAST_EVENTS = 16
"""Events of a part, however many lanes share a block."""
_MOST_PARTS_LATE = 100
_TOP = 3


class Ends(msgspec.Struct, frozen=True):
    """When a part ends, a function of its records alone.

    With the record that makes it ``events`` long and lies ``at_least`` after its first one (or makes it a hundred
    times as long); and before one that lies ``at_most`` after its first.
    """

    events: int
    at_least: timedelta
    at_most: timedelta

    def find(self, times: Sequence[datetime], begin: int, count: int, anchor: datetime) -> tuple[int, bool]:
        """Of ``times[begin:]`` continue a part of ``count`` events: where it stops (exclusive), and whether it ends."""
        for j in range(begin, len(times)):
            elapsed = times[j] - anchor
            if elapsed >= self.at_most and count:
                return j, True
            count += 1
            if count >= self.events and (elapsed >= self.at_least or count >= self.events * _MOST_PARTS_LATE):
                return j + 1, True
        return len(times), False


def ends_of(spec: Spec, partitions: int) -> Ends:
    """A block's events shared by the lanes, at least 16; a quarter of its least time, all of its longest."""
    block = spec.drift.block
    least = max(block.events // partitions, LEAST_EVENTS)
    return Ends(least, duration(block.at_least) / 4, duration(block.at_most))


class Span(msgspec.Struct):
    """Which records a part holds. ``anchor`` is its first one's event time, ``top`` its three greatest, ascending."""

    first_offset: int
    last_offset: int
    anchor: datetime
    start: datetime
    end: datetime
    top: list[datetime]
    timestamp: int
    spec: str
    model: ModelRef
    events: int = 0

    @property
    def watermark(self) -> datetime:
        """The third-greatest event time; the least of fewer."""
        return self.top[0]

    def take(self, offset: int, timestamp: int, times: Sequence[datetime], spec: str, model: ModelRef) -> None:
        """Add records: the last one's offset, spec and model, the newest's timestamp, all their event times."""
        self.last_offset, self.spec, self.model = offset, spec, model
        self.timestamp = max(self.timestamp, timestamp)
        self.events += len(times)
        ordered = sorted(times)
        self.start, self.end = min(self.start, ordered[0]), max(self.end, ordered[-1])
        self.top = sorted(self.top + ordered[-_TOP:])[-_TOP:]


def begin(offset: int, time: datetime, spec: str, model: ModelRef) -> Span:
    """An empty span that begins with this record (which :meth:`Span.take` then adds)."""
    return Span(offset, offset, time, time, time, [], 0, spec, model)


def add(moments: Moments, value: float) -> None:
    """Add one value; one too large to square (or not a number) counts as missing."""
    if -NUMBER_MAX <= value <= NUMBER_MAX:
        moments.count += 1
        moments.sum += value
        moments.sum_sq += value * value
    else:
        moments.missing += 1


class SumsState(msgspec.Struct):
    """The checkpointed form of :class:`Sums`; ``sums`` are its rows as little-endian doubles."""

    sums: bytes
    counts: list[int]
    missing: dict[str, tuple[int, int]]
    score: Moments


class Sums:
    """Running sums of one part over the numeric features, in one order of additions wherever batches end.

    Rows of ``sums``: distance from the lane's mean and its square, the same clipped. ``others`` are the booleans and
    categories, of which present and missing values are counted.
    """

    def __init__(self, numbers: Sequence[str], others: Sequence[str]) -> None:
        self.numbers, self.others = list(numbers), list(others)
        self.clear()

    def clear(self) -> None:
        """Forget the part: a new one begins."""
        width = len(self.numbers)
        self._sums = np.zeros(4 * width)
        self._present = np.zeros(width, dtype=np.int64)
        self._missing = np.zeros(width, dtype=np.int64)
        self._others = dict.fromkeys(self.others, (0, 0))
        self.score = Moments()

    def take_numbers(self, values: Floats, standards: Standards) -> None:
        """Add (events, features) values: NaN is missing, infinity is a feature the event's pipeline did not have."""
        known = ~np.isinf(values)
        values = np.where(known & (np.abs(values) <= NUMBER_MAX), values, np.nan)
        present = ~np.isnan(values)
        self._present += present.sum(axis=0)
        self._missing += (known & ~present).sum(axis=0)
        standards.collect(values)
        away, clipped = standards.distances(values)
        for row in np.concatenate((away, away * away, clipped, clipped * clipped), axis=1):
            self._sums += row

    def take_other(self, name: str, present: int, missing: int) -> None:
        """Count values of a boolean or category."""
        before = self._others[name]
        self._others[name] = (before[0] + present, before[1] + missing)

    def features(self, standards: Standards) -> dict[str, FeatureMoments]:
        """The part's moments by feature."""
        away, _, clipped, clipped_sq = self._sums.reshape(4, -1)
        mean, n = standards.mean, self._present
        columns = zip(
            self.numbers, n.tolist(), self._missing.tolist(), (away + n * mean).tolist(),
            np.where(standards.started, n, 0).tolist(), mean.tolist(), clipped.tolist(), clipped_sq.tolist(), standards.sd.tolist(),
            strict=True,
        )  # fmt: skip
        moments = {name: FeatureMoments(*row) for name, *row in columns}
        moments.update({name: FeatureMoments(*counts) for name, counts in self._others.items()})
        return moments

    def learned_by(self, standards: Standards) -> None:
        """Let the standards follow the part that ends."""
        away, away_sq, _, _ = self._sums.reshape(4, -1)
        standards.learn(self._present.astype(np.float64), away, away_sq)

    def state(self) -> SumsState:
        """What :meth:`restore` takes."""
        counts = np.concatenate((self._present, self._missing)).tolist()
        return SumsState(self._sums.astype("<f8").tobytes(), counts, self._others, self.score)

    def restore(self, state: SumsState, numbers: Sequence[str]) -> None:
        """Continue a part whose numeric features were ``numbers``; others than ours are forgotten."""
        place = {name: i for i, name in enumerate(numbers)}
        rows = np.frombuffer(state.sums, "<f8").reshape(4, -1)
        sums, counts = self._sums.reshape(4, -1), np.array(state.counts, dtype=np.int64).reshape(2, -1)
        for i, name in enumerate(self.numbers):
            k = place.get(name)
            if k is not None:
                sums[:, i] = rows[:, k]
                self._present[i], self._missing[i] = counts[:, k]
        self._others.update({name: state.missing[name] for name in self.others if name in state.missing})
        self.score = state.score
