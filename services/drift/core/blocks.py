"""From parts to blocks: lanes' parts in order of event time, merged until a block is full."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from heapq import heappop, heappush

import msgspec

from schemas.predictions import ModelRef
from schemas.summaries import FeatureMoments, Moments, Summary
from services.domain.spec import Spec, duration

SMALLEST = 8
"""A block that ends for its time alone has at least an eighth of ``events``."""
MOST_BYTES = 14_000
"""What the features of a block in progress may take in a checkpoint; later ones are passed over (some 90 numbers)."""


class Part(msgspec.Struct, frozen=True):
    """A summary and its place in the log."""

    offset: int
    timestamp: int
    summary: Summary

    @property
    def key(self) -> Key:
        """Order of merging: event time, then lane, then log."""
        return self.summary.watermark, self.summary.lane, self.offset


Key = tuple[datetime, int, int]


class BlockSums(msgspec.Struct):
    """Parts merged. ``anchor`` is where the block begins, ``end`` its greatest watermark."""

    anchor: datetime
    end: datetime
    events: int = 0
    features: dict[str, FeatureMoments] = {}
    score: Moments = msgspec.field(default_factory=Moments)
    loss: dict[str, Moments] = {}
    model: ModelRef | None = None
    spent: int = 0


def merge_features(into: FeatureMoments, other: FeatureMoments) -> None:
    """Add another part's moments; its distances are moved to the centre of the first that has any."""
    into.count += other.count
    into.missing += other.missing
    into.sum += other.sum
    if not other.clipped_count:
        return
    if not into.clipped_count:
        into.centre = other.centre
    shift, n = other.centre - into.centre, other.clipped_count
    into.clipped_count += n
    into.scale += n / into.clipped_count * (other.scale - into.scale)
    into.clipped += other.clipped + n * shift
    into.clipped_sq += other.clipped_sq + 2 * shift * other.clipped + n * shift * shift


def merge_moments(into: Moments, other: Moments) -> None:
    """Add another part's moments."""
    into.count += other.count
    into.sum += other.sum
    into.sum_sq += other.sum_sq
    into.missing += other.missing


class Blocks:
    """Merges parts in the order given: a block is full with ``events`` over ``at_least``, or ends after ``at_most``."""

    def __init__(self, spec: Spec, current: BlockSums | None = None) -> None:
        block = spec.drift.block
        self._events = block.events
        self._at_least, self._at_most = duration(block.at_least), duration(block.at_most)
        self.current = current

    def add(self, summary: Summary) -> BlockSums | None:
        """Add a part; the block that it completes, if it does."""
        block = self.current
        if block is None:
            anchor = max(summary.start, summary.watermark - self._at_most)
            block = self.current = BlockSums(anchor, summary.watermark)
        merge(block, summary)
        span = block.end - block.anchor
        full = block.events >= self._events and span >= self._at_least
        if full or (span >= self._at_most and block.events * SMALLEST >= self._events):
            self.current = None
            return block
        return None


def merge(block: BlockSums, summary: Summary) -> None:
    """Add a part to a block."""
    block.end = max(block.end, summary.watermark)
    block.events += summary.events
    for name, feature in summary.features.items():
        if name in block.features:
            merge_features(block.features[name], feature)
        elif block.spent < MOST_BYTES:
            block.features[name] = msgspec.structs.replace(feature)
            block.spent += len(name.encode()) + (150 if feature.clipped_count else 60)
    for name, loss in summary.loss.items():
        merge_moments(block.loss.setdefault(name, Moments()), loss)
    merge_moments(block.score, summary.score)
    block.model = summary.model or block.model


class OrderState(msgspec.Struct):
    """The checkpointed form of :class:`Order`; what waits is read back from the log."""

    times: dict[int, datetime] = {}
    absent: list[int] = []
    merged: tuple[datetime, int, int] | None = None


class Order:
    """Parts of all lanes in order of event time, as far as one can know it.

    A part waits until every lane has passed its watermark, so lanes may run ahead of each other (catching up after
    an outage, a replay at full speed). A lane that keeps ``limit`` parts waiting is absent until it is heard of
    again; a part more than ``too_late`` behind what was merged is passed over.
    """

    def __init__(self, lanes: int, limit: int, too_late: timedelta) -> None:
        self._lanes, self._limit, self._too_late = lanes, limit, too_late
        self._times: dict[int, datetime] = {}
        self._absent: set[int] = set()
        self._merged: Key | None = None
        self._waiting: list[tuple[Key, Part]] = []
        self.late = 0

    def add(self, part: Part) -> Iterator[Part]:
        """Parts that may be merged now that this one is known, in order."""
        lane, time = part.summary.lane, part.summary.watermark
        self._times[lane] = max(time, self._times.get(lane, time))
        self._absent.discard(lane)
        if self._merged and time < self._merged[0] - self._too_late:
            self.late += 1
        else:
            heappush(self._waiting, (part.key, part))
        while self._waiting:
            bound = self._bound()
            if bound is not None and self._waiting[0][0][0] <= bound:
                key, ready = heappop(self._waiting)
                self._merged = max(key, self._merged or key)
                yield ready
            elif len(self._waiting) > self._limit:
                self._give_up()
            else:
                return

    def _bound(self) -> datetime | None:
        """The event time that all lanes have reached; never before what is merged already."""
        times = [self._times.get(lane) for lane in range(self._lanes) if lane not in self._absent]
        known = [time for time in times if time is not None]
        bound = min(known) if len(known) == len(times) else None
        if self._merged is None:
            return bound
        return max(bound or self._merged[0], self._merged[0])

    def _give_up(self) -> None:
        first = self._waiting[0][0][0]
        for lane in range(self._lanes):
            if lane not in self._times or self._times[lane] < first:
                self._absent.add(lane)

    def low_water(self) -> int | None:
        """The least offset that waits."""
        return min((part.offset for _, part in self._waiting), default=None)

    def state(self) -> OrderState:
        """What :meth:`restore` takes."""
        return OrderState(self._times, sorted(self._absent), self._merged)

    def restore(self, state: OrderState, parts: Iterable[Part]) -> None:
        """Continue; ``parts`` are those from the low water up to the checkpoint: the later ones by key still wait."""
        self._times, self._absent, self._merged = dict(state.times), set(state.absent), state.merged
        for part in parts:
            if self._merged is None or part.key > self._merged:
                heappush(self._waiting, (part.key, part))
