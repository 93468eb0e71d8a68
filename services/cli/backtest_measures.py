"""What a backtest measures: scores given before their labels were known, over time, by candidate."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from schemas.predictions import ChallengerScore, ModelRef
from services.domain.spec import Spec

Period = Literal["hour", "day", "week", "month"]
Floats = npt.NDArray[np.float64]
_FLOOR = 1e-15
_SHORTEST: list[tuple[Period, int]] = [("hour", 3_600), ("day", 86_400), ("week", 604_800)]


class Measured(msgspec.Struct, frozen=True):
    """One candidate over one period (of the predictions' event times); a measure that cannot be told is missing."""

    candidate: str
    start: datetime
    examples: int
    measures: dict[str, float]


class _Example(msgspec.Struct):
    """What is read of an example; of a control record there is no time."""

    time: datetime | None = None
    label: bool | float = False
    score: float = 0.0
    model: ModelRef | None = None
    challengers: list[ChallengerScore] = []
    corrects: bool | float | None = None


class Series:
    """Every score with its label, by candidate. Corrections of a label are not counted again."""

    def __init__(self, spec: Spec) -> None:
        self.binary = spec.pipeline.task == "binary"
        self.candidates = [candidate.name for candidate in spec.model.candidates]
        self._times = {name: array("d") for name in self.candidates}
        self._scores = {name: array("d") for name in self.candidates}
        self._labels = {name: array("d") for name in self.candidates}
        self._decode = msgspec.json.Decoder(_Example).decode

    def see(self, value: bytes) -> None:
        """Take in one record of ``examples``."""
        example = self._decode(value)
        if example.time is None or example.model is None or example.corrects is not None:
            return
        time, label = example.time.timestamp(), float(example.label)
        self._add(example.model.candidate, time, example.score, label)
        for challenger in example.challengers:
            self._add(challenger.candidate, time, challenger.score, label)

    def _add(self, candidate: str, time: float, score: float, label: float) -> None:
        self._times[candidate].append(time)
        self._scores[candidate].append(score)
        self._labels[candidate].append(label)

    def total(self) -> list[Measured]:
        """Every candidate over the whole."""
        return [
            Measured(name, _moment(min(times)), len(times), measures(self._of(name), self._labelled(name), self.binary))
            for name, times in self._times.items()
            if times
        ]

    def over_time(self, period: Period, zone: tzinfo) -> list[Measured]:
        """By period (as the calendar of ``zone`` has them; weeks from Monday), then by candidate."""
        found = [each for name in self.candidates for each in self._by_period(name, period, zone)]
        return sorted(found, key=lambda each: each.start)

    def span(self) -> tuple[datetime, datetime] | None:
        """The event times of the first and last prediction that has a label."""
        times = [moment for series in self._times.values() if series for moment in (min(series), max(series))]
        return (_moment(min(times)), _moment(max(times))) if times else None

    def period(self, most: int) -> Period:
        """The shortest period of which there are at most so many."""
        span = self.span()
        seconds = (span[1] - span[0]).total_seconds() if span else 0.0
        return next((name for name, length in _SHORTEST if seconds / length <= most), "month")

    def _by_period(self, name: str, period: Period, zone: tzinfo) -> Iterator[Measured]:
        times = np.array(self._times[name])
        starts = _starts(times, period, zone)
        scores, labels = self._of(name), self._labelled(name)
        for start in np.unique(starts).tolist():
            chosen = starts == start
            said = measures(scores[chosen], labels[chosen], self.binary)
            yield Measured(name, _moment(start), int(chosen.sum()), said)

    def _of(self, name: str) -> Floats:
        return np.array(self._scores[name])

    def _labelled(self, name: str) -> Floats:
        return np.array(self._labels[name])


def measures(scores: Floats, labels: Floats, binary: bool) -> dict[str, float]:
    """AUC, log loss and the share that is true of a binary task; RMSE and MAE of a regression."""
    if not binary:
        errors = scores - labels
        return {"rmse": float(np.sqrt(np.mean(errors**2))), "mae": float(np.mean(np.abs(errors)))}
    of_truth = np.where(labels > 0, scores, 1.0 - scores)
    said = {"log_loss": float(np.mean(-np.log(np.maximum(of_truth, _FLOOR))))}
    area = auc(scores, labels)
    return ({"auc": area} if area is not None else {}) | said | {"true": float(np.mean(labels > 0))}


def auc(scores: Floats, labels: Floats) -> float | None:
    """Area under the ROC curve: the share of pairs of a true and a false one in the right order, ties half.

    From the ranks (Mann and Whitney 1947); None when all labels are the same.
    """
    true = labels > 0
    trues, falses = int(true.sum()), int((~true).sum())
    if not trues or not falses:
        return None
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = np.cumsum(counts) - (counts - 1) / 2
    return float((ranks[place][true].sum() - trues * (trues + 1) / 2) / (trues * falses))


def _starts(times: Floats, period: Period, zone: tzinfo) -> Floats:
    """When the period of each time begins, in epoch seconds: local midnights, Mondays, first days of months."""
    hours = np.unique(times // 3600)
    begin = np.array([_start(hour * 3600, period, zone) for hour in hours.tolist()])
    return begin[np.searchsorted(hours, times // 3600)]


def _start(second: float, period: Period, zone: tzinfo) -> float:
    local = datetime.fromtimestamp(second, zone)
    if period == "hour":
        return second
    day = local.replace(hour=0, minute=0, second=0)
    if period == "month":
        day = day.replace(day=1)
    if period == "week":
        day = datetime.fromordinal(day.toordinal() - day.weekday()).replace(tzinfo=zone)
    return day.timestamp()


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
