"""Goals as ratios of two measurements of one round, and whether they are met."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from bench.window import Measured

Rounds = Mapping[str, Sequence[Measured | None]]
"""By system: what was measured in each round; None where it did not run."""


@dataclass(frozen=True)
class Spread:
    """The median of some numbers, and their range."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Goal:
    """``ours`` against ``theirs``: at least ``bound`` times the events a second, or at most ``bound`` times the CPU."""

    what: str
    ours: str
    theirs: str
    measure: Literal["rate", "cpu"]
    bound: float

    def met(self, ratio: float) -> bool:
        """Whether this ratio satisfies the goal."""
        return ratio >= self.bound if self.measure == "rate" else ratio <= self.bound

    def asked(self) -> str:
        """What is asked for, in short."""
        return f"≥ {self.bound:g}× events/s" if self.measure == "rate" else f"≤ {self.bound:g}× CPU"

    def verdict(self, ratio: float) -> str:
        """Met or missed, and by how much of the bound."""
        return _verdict(self.met(ratio), ratio, self.bound)


def at_most(found: float, bound: float) -> str:
    """Whether what was found is at most the bound, and by how much of it."""
    return _verdict(found <= bound, found, bound)


def _verdict(met: bool, found: float, bound: float) -> str:
    return f"{'met' if met else '**missed**'} by {abs(found / bound - 1) * 100:.0f} %"


def spread(numbers: Iterable[float]) -> Spread | None:
    """Median and range; None of nothing."""
    found = list(numbers)
    return Spread(median(found), min(found), max(found)) if found else None


def rates(rounds: Sequence[Measured | None]) -> Spread | None:
    """Events a second."""
    return spread(it.rate for it in rounds if it)


def cpu(rounds: Sequence[Measured | None]) -> Spread | None:
    """CPU microseconds an event."""
    return spread(it.cpu_us for it in rounds if it)


def ratios(rounds: Rounds, ours: str, theirs: str, measure: Literal["rate", "cpu"]) -> Spread | None:
    """Ours divided by theirs, round by round, so that what slows a whole round down does not count."""
    pairs = [
        (it, other) for it, other in zip(rounds.get(ours, ()), rounds.get(theirs, ()), strict=False) if it and other
    ]
    if measure == "rate":
        return spread(it.rate / other.rate for it, other in pairs)
    return spread(it.cpu_us / other.cpu_us for it, other in pairs)
