"""What a lane keeps of its fields: running profiles, and the running median and MAD of numbers.

Each is a function of the values in their order alone, not of how they were cut into batches: sums are plain
left-to-right additions (``functools.reduce``, and ``numpy.add.accumulate`` where there are many; the built-in ``sum``
compensates from Python 3.12 on, and numpy's adds in pairs).
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import add, mul
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
import numpy.typing as npt

from services.domain.records import json_bytes

_MEMORY = 4096
_MAD_TO_DEVIATION = 1.4826
_LEAST_SEEN = 60
_BUCKETS = 256
_FEW = 100
"""Below this many values plain Python is faster than numpy's fixed cost."""
_Numbers = npt.NDArray[np.float64]
LAST_MAX_BYTES = 64
"""In JSON: a longer text is not remembered as a field's last value: the checkpoint is small."""


class NumberProfile(msgspec.Struct, array_like=True):
    """Count, missing, least, greatest, mean and variance (sums of x - first and of its square)."""

    count: int = 0
    missing: int = 0
    first: float = 0.0
    total: float = 0.0
    square: float = 0.0
    low: float = 0.0
    high: float = 0.0
    last: float = 0.0

    def extend(self, column: Sequence[Any]) -> None:
        """Add the next values, None where missing."""
        try:
            values = array("d", column)
        except TypeError:
            values = array("d", [value for value in column if value is not None])
        self.missing += len(column) - len(values)
        if not values:
            return
        if not self.count:
            self.first = self.low = self.high = values[0]
        self.count += len(values)
        self.last = values[-1]
        if len(values) < _FEW:
            self._take_few(values)
        else:
            self._take_many(np.frombuffer(values))

    def _take_few(self, values: Sequence[float]) -> None:
        first = self.first
        offsets = [value - first for value in values]
        self.total = reduce(add, offsets, self.total)
        self.square = reduce(add, map(mul, offsets, offsets), self.square)
        self._reach(min(values), max(values))

    def _take_many(self, values: _Numbers) -> None:
        """The same additions in the same order."""
        offsets = values - self.first
        squares = offsets * offsets
        self.total = _added(self.total, offsets)
        self.square = _added(self.square, squares)
        self._reach(float(values.min()), float(values.max()))

    def _reach(self, least: float, greatest: float) -> None:
        """Adding zero makes -0.0 zero: which of the two a minimum is depends on who looks for it."""
        self.low = min(self.low, least) + 0.0
        self.high = max(self.high, greatest) + 0.0

    @property
    def mean(self) -> float | None:
        """The mean of the values so far."""
        return self.first + self.total / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """The population variance of the values so far."""
        if not self.count:
            return None
        return max(0.0, self.square / self.count - (self.total / self.count) ** 2)

    @property
    def distinct(self) -> int:
        """0, 1, or 2 for more."""
        return min(self.count, 1 if self.low == self.high else 2)


class BooleanProfile(msgspec.Struct, array_like=True):
    """Count, missing, how many true."""

    count: int = 0
    missing: int = 0
    true: int = 0
    last: bool | None = None

    def extend(self, column: Sequence[Any]) -> None:
        """Add the next values, None where missing."""
        missing = column.count(None)
        self.missing += missing
        self.count += len(column) - missing
        self.true += column.count(True)
        self.last = next((value for value in reversed(column) if value is not None), self.last)

    @property
    def distinct(self) -> int:
        """How many of true and false there were."""
        return (self.true > 0) + (self.true < self.count)


class CategoryProfile(msgspec.Struct, array_like=True):
    """Count, missing, and a bitmap for linear counting of distinct values (Whang et al. 1990, 256 buckets)."""

    count: int = 0
    missing: int = 0
    buckets: str = "0"
    last: str | None = None

    def extend(self, column: Sequence[Any]) -> None:
        """Add the next values, None where missing."""
        values = set(column)
        missing = column.count(None) if None in values else 0
        values.discard(None)
        self.missing += missing
        self.count += len(column) - missing
        bits = before = int(self.buckets, 16)
        for value in values:
            bits |= 1 << (crc32(value.encode()) & (_BUCKETS - 1))
        if bits != before:
            self.buckets = f"{bits:x}"
        self.last = next((value for value in reversed(column) if value and _is_short(value)), self.last)

    @property
    def distinct(self) -> int:
        """How many different values, estimated: exact for a few, within a tenth to 500, at most some 1,400."""
        empty = _BUCKETS - int(self.buckets, 16).bit_count()
        return round(_BUCKETS * math.log(_BUCKETS / max(empty, 1)))


Profile = NumberProfile | BooleanProfile | CategoryProfile


class Robust(msgspec.Struct, array_like=True):
    """Running median and median absolute deviation of a number, in a few bytes, whatever a minority of values are.

    Values are taken in blocks of ``size``. A block's median moves the running median towards it, then the median of
    its deviations from that moves the running MAD: an average of all blocks at first, a moving one over the last
    4,096 values later. ``low`` and ``high`` bound what is no outlier; open before 60 values, and while the MAD is 0
    (more than half of the values equal: nothing can be said).
    """

    size: int
    threshold: float
    median: float = 0.0
    mad: float = 0.0
    blocks: int = 0
    block: list[float] = []
    low: float = -math.inf
    high: float = math.inf

    def turn(self) -> None:
        """Take in the full block."""
        self.blocks += 1
        weight = 1 / min(self.blocks, max(1, _MEMORY // self.size))
        self.median += (middle(self.block) - self.median) * weight
        deviation = middle([abs(value - self.median) for value in self.block])
        self.mad += (deviation - self.mad) * weight
        self.block.clear()
        self.bound()

    def bound(self) -> None:
        """Set the bounds from median and MAD."""
        reach = self.threshold * _MAD_TO_DEVIATION * self.mad
        judged = self.mad > 0 and self.blocks * self.size >= _LEAST_SEEN
        self.low, self.high = (self.median - reach, self.median + reach) if judged else (-math.inf, math.inf)

    @property
    def centre(self) -> float | None:
        """The running median; of the values so far while there is no full block."""
        return self.median if self.blocks else middle(self.block) if self.block else None


def _added(start: float, numbers: _Numbers) -> float:
    """``start`` and then each of the numbers, from left to right; the array is used up."""
    numbers[0] += start
    return float(np.add.accumulate(numbers)[-1])


def middle(values: Iterable[float]) -> float:
    """The median (the upper of two middles)."""
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def _is_short(text: str) -> bool:
    return len(text) <= LAST_MAX_BYTES and json_bytes(text) <= LAST_MAX_BYTES
