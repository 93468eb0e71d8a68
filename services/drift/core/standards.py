"""What a lane standardises numbers by: running mean and variance, one a feature."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
import numpy.typing as npt

from services.domain.records import NUMBER_MAX

Floats = npt.NDArray[np.float64]

CLIP = 4.0
"""Values are clipped at this z, so that one of them moves a block's mean by little."""
WIDEST = 8.0
"""Standard deviations from the mean at which a value is taken, at most, for levels and for the standard itself."""
START = 9
"""Values that a standard starts from: their median and median absolute deviation, so up to four may be absurd."""
MEMORY = 20_000.0
"""Values that a standard remembers: later ones weigh at least 1/MEMORY, so it follows the seasons."""
_MAD_TO_SD = 1.4826


class StandardsState(msgspec.Struct):
    """The checkpointed form: arrays in the order of ``names``; ``first`` are the values of those not started,
    as little-endian doubles.
    """

    names: list[str]
    weight: list[float]
    mean: list[float]
    var: list[float]
    first: list[bytes]


class Standards:
    """Mean and variance by feature; they change only between parts (:meth:`learn`), so a part has one standard.

    After Chan et al. 1983 (merging variances), with values taken at most ``WIDEST`` deviations from the mean.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        count = len(self.names)
        self.weight = np.zeros(count)
        self.mean = np.zeros(count)
        self.var = np.zeros(count)
        self._first: dict[int, list[float]] = {i: [] for i in range(count)}
        self._prepare()

    def _prepare(self) -> None:
        self.started = self.weight > 0
        self.sd = sd = np.sqrt(self.var)
        # a feature that never varied may jump to anything of its own magnitude
        unit = np.where(sd > 0, sd, np.maximum(np.abs(self.mean), 1.0))
        self._width = np.where(self.started, WIDEST * unit, NUMBER_MAX)
        self._clip = np.where(self.started, CLIP * unit, 0.0)

    def distances(self, values: Floats) -> tuple[Floats, Floats]:
        """Of (events, features) values, NaN where missing: distance from the mean within ``WIDEST`` and ``CLIP``.

        Both are 0 where a value is missing; the clipped one is also 0 before a feature has started.
        """
        away = values - self.mean
        away[np.isnan(away)] = 0.0
        np.clip(away, -self._width, self._width, out=away)
        return away, np.clip(away, -self._clip, self._clip)

    def collect(self, values: Floats) -> None:
        """Keep the first values of features that have not started."""
        for index, first in self._first.items():
            if len(first) < START:
                column = values[:, index]
                first.extend(column[~np.isnan(column)][: START - len(first)].tolist())

    def learn(self, count: Floats, away: Floats, away_sq: Floats) -> None:
        """Fold a part that has ended: by feature its values, their sum and sum of squares about the mean."""
        seen = self.started & (count > 0)
        n = np.where(seen, count, 1.0)
        total = self.weight + n
        share = n / total
        shift = np.where(seen, away / n, 0.0)
        spread = np.maximum(away_sq / n - shift**2, 0.0)
        var = (1 - share) * self.var + share * spread + share * (1 - share) * shift**2
        self.mean = self.mean + share * shift
        self.var = np.where(seen, var, self.var)
        self.weight = np.where(seen, np.minimum(total, MEMORY), self.weight)
        self._start()
        self._prepare()

    def _start(self) -> None:
        for index in [i for i, first in self._first.items() if len(first) == START]:
            first = self._first.pop(index)
            middle = float(np.median(first))
            self.mean[index] = middle
            self.var[index] = (_MAD_TO_SD * float(np.median(np.abs(np.array(first) - middle)))) ** 2
            self.weight[index] = START

    def state(self) -> StandardsState:
        """What :meth:`restore` takes."""
        return StandardsState(
            names=self.names,
            weight=self.weight.tolist(),
            mean=self.mean.tolist(),
            var=self.var.tolist(),
            first=[np.array(self._first.get(i, ()), "<f8").tobytes() for i in range(len(self.names))],
        )

    def restore(self, state: StandardsState) -> None:
        """Continue from a checkpoint; features it does not know start anew, those no longer there are forgotten."""
        place = {name: i for i, name in enumerate(state.names)}
        for i, name in enumerate(self.names):
            k = place.get(name)
            self._first[i] = [] if k is None else np.frombuffer(state.first[k], "<f8").tolist()
            if k is not None and state.weight[k] > 0:
                self.weight[i], self.mean[i], self.var[i] = state.weight[k], state.mean[k], state.var[k]
                del self._first[i]
        self._prepare()
