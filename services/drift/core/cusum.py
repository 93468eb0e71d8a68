"""When a statistic of blocks has moved: a two-sided CUSUM against a reference of earlier blocks (Page 1954).

The deviation of a block is its distance from the reference's mean by the reference's **block-to-block** standard
deviation, which carries the signal's autocorrelation into the threshold.
"""

from __future__ import annotations

from enum import Enum, auto
from math import log, sqrt

import msgspec

K = 1.5
"""Deviation that the sums allow for."""
AUTOCORRELATION = 0.64
"""Assumed between neighbouring blocks (an AR(1) process) when a false-alarm rate is turned into a threshold."""
LEARNING = 30
"""Blocks of reference before a statistic is judged."""
MEMORY = 120
"""Blocks that a reference remembers: later ones weigh at least 1/MEMORY."""
LARGEST = 3.5
"""Deviation that one block counts for, at most: however far a few blocks go (a shower, a burst), a flag takes h / 2."""
WITHIN = 3.0
"""Deviation up to which a block lies within the reference, if those in a row have a mean within ``CENTRED``."""
CENTRED = 1.0
RETURNED = 6
"""Blocks in a row within the reference after which a statistic has come back."""
ACCEPTED = 60
"""Blocks after a flag at which what is now becomes the reference; blocks in a row without the statistic that end a flag."""
_EXTREME = 50.0
_TINY = 1e-12
_OVERSHOOT = 1.166


def threshold(false_alarms_per_day: float, blocks_per_day: float, sums: int) -> float:
    """The h at which ``sums`` one-sided CUSUMs together raise this many false alarms a day, if blocks were as assumed.

    Siegmund's approximation (1985) of the average run length, ARL = (e^y - 1 - y) V / 2K^2 with
    y = 2K (h + 1.166 sqrt V) / V, for normal deviations with the long-run variance V = (1 + r)/(1 - r) of an AR(1)
    process with autocorrelation r. It is no more than that until thresholds are calibrated on data.
    """
    v = (1 + AUTOCORRELATION) / (1 - AUTOCORRELATION)
    wanted = max(sums * blocks_per_day / false_alarms_per_day * 2 * K * K / v, 1.0)
    y = 1.0
    for _ in range(50):
        y = log(wanted + 1 + y)
    return max(y * v / (2 * K) - _OVERSHOOT * sqrt(v), 4.0)


class Verdict(Enum):
    """What a block did to a statistic."""

    NOTHING = auto()
    FLAGGED = auto()
    CAME_BACK = auto()
    NEW_NORMAL = auto()


class Reference(msgspec.Struct, array_like=True):
    """Mean and variance of a statistic over blocks, and the mean of ``level``, what a person would read."""

    blocks: int = 0
    mean: float = 0.0
    var: float = 0.0
    level: float = 0.0

    def learn(self, value: float, level: float) -> None:
        """Fold a block (Welford, with a bounded memory)."""
        self.blocks = min(self.blocks + 1, MEMORY)
        share = 1 / self.blocks
        shift = value - self.mean
        self.mean += share * shift
        self.var = (1 - share) * (self.var + share * shift * shift)
        self.level += share * (level - self.level)

    def deviation(self, value: float, noise: float) -> float:
        """In block-to-block standard deviations, or the ``noise`` a block must have if that is more."""
        spread = max(sqrt(self.var), noise, _TINY)
        return min(max((value - self.mean) / spread, -_EXTREME), _EXTREME)


class Run(msgspec.Struct, array_like=True):
    """Blocks since the sums left zero: how many, their deviations beyond K and their levels, summed."""

    blocks: int = 0
    excess: float = 0.0
    level: float = 0.0

    def add(self, deviation: float, level: float) -> None:
        """Count a block."""
        self.blocks += 1
        self.excess += max(abs(deviation) - K, 0.0)
        self.level += level


class Cusum(msgspec.Struct, array_like=True):
    """One statistic: judged while ``out`` is 0; after a flag ``out`` counts blocks until it is back or accepted.

    The reference is frozen while a sum is above half the threshold, and while out; ``fresh`` learns what is new, and
    ``absent`` counts blocks in a row that do not hold the statistic.
    """

    reference: Reference = msgspec.field(default_factory=Reference)
    up: float = 0.0
    down: float = 0.0
    run: Run = msgspec.field(default_factory=Run)
    out: int = 0
    within: int = 0
    centre: float = 0.0
    excursion: float = 0.0
    fresh: Reference = msgspec.field(default_factory=Reference)
    absent: int = 0

    def step(self, value: float, level: float, noise: float, h: float, *, falls: bool = True) -> Verdict:
        """Fold a block; ``falls`` is False where only a rise is bad."""
        if self.reference.blocks < LEARNING:
            self.reference.learn(value, level)
            return Verdict.NOTHING
        deviation = self.reference.deviation(value, noise)
        if self.out:
            return self._outside(deviation, value, level, noise)
        bounded = min(max(deviation, -LARGEST), LARGEST)
        self.up = max(0.0, self.up + bounded - K)
        self.down = max(0.0, self.down - bounded - K) if falls else 0.0
        if self.up == self.down == 0.0:
            self.run = Run()
        else:
            self.run.add(deviation, level)
        if max(self.up, self.down) > h:
            self.out, self.within, self.centre = 1, 0, 0.0
            self.fresh = Reference()
            return Verdict.FLAGGED
        if max(self.up, self.down) <= h / 2:
            self.reference.learn(value, level)
        return Verdict.NOTHING

    def miss(self) -> Verdict:
        """Pass over a block without the statistic: after sixty in a row a flag is over, and the reference stays."""
        if not self.out:
            return Verdict.NOTHING
        self.absent += 1
        if self.absent < ACCEPTED:
            return Verdict.NOTHING
        self._judge_again()
        return Verdict.NEW_NORMAL

    def _outside(self, deviation: float, value: float, level: float, noise: float) -> Verdict:
        self.out += 1
        self.absent = 0
        if abs(deviation) <= WITHIN:
            self.within += 1
            self.centre += deviation
        else:
            self.within, self.centre = 0, 0.0
            self.run.add(deviation, level)
            self.excursion += min(abs(deviation), LARGEST) ** 2
        self.fresh.learn(value, level)
        if self.within >= RETURNED and abs(self.centre) <= CENTRED * self.within:
            self._widen(noise)
            self._judge_again()
            return Verdict.CAME_BACK
        if self.out >= ACCEPTED:
            self.reference = self.fresh
            self._judge_again()
            return Verdict.NEW_NORMAL
        return Verdict.NOTHING

    def _widen(self, noise: float) -> None:
        """An excursion that came back is part of how the signal varies: its blocks count in the variance."""
        blocks = self.run.blocks
        share = min(blocks, MEMORY / 2) / (self.reference.blocks + min(blocks, MEMORY / 2))
        spread = max(self.reference.var, noise * noise)
        self.reference.var = (1 - share) * self.reference.var + share * self.excursion / max(blocks, 1) * spread

    def _judge_again(self) -> None:
        self.up = self.down = 0.0
        self.out = self.within = self.absent = 0
        self.excursion = 0.0
        self.fresh, self.run = Reference(), Run()

    @property
    def strength(self) -> float:
        """Mean deviation beyond K of the blocks of the run."""
        return self.run.excess / self.run.blocks if self.run.blocks else 0.0

    @property
    def level(self) -> float:
        """Mean level of the blocks of the run."""
        return self.run.level / self.run.blocks if self.run.blocks else self.reference.level
