"""Prequential evaluation: a candidate measured on scores it gave before their labels were known.

After Gama, Sebastião, Rodrigues, "On evaluating stream learning algorithms" (Machine Learning 2013). Every update
takes constant time. AUC is read from histograms of the scores in 1,000 bins: it is off by at most half the share of
pairs of a true and a false one that fall into the same bin (about 0.0005 where scores are spread).
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from math import log

import msgspec

from services.domain.records import LARGEST

BINS = 1000
RECENT = 5_000
"""Examples that the recent AUC is over."""
_DECAY = 2.0 ** (-1.0 / 1000)
"""The recent loss: exponentially weighted with a half-life of 1,000 examples."""
_FLOOR = 1e-15


class State(msgspec.Struct, array_like=True):
    """As a snapshot keeps it. ``recent`` holds 2 * bin + label of the last examples, ``trues`` counts by bin."""

    examples: int = 0
    loss: float = 0.0
    absolute: float = 0.0
    correct: int = 0
    decayed_loss: float = 0.0
    decayed_count: float = 0.0
    trues: list[int] = []
    falses: list[int] = []
    recent: list[int] = []


class Prequential:
    """The running measures of one candidate; corrections of labels are not to be counted again."""

    def __init__(self, *, binary: bool, threshold: float, state: State | None = None) -> None:
        self._binary = binary
        self._threshold = threshold
        self._state = state or State()
        if binary and not self._state.trues:
            self._state.trues, self._state.falses = [0] * BINS, [0] * BINS
        self._recent = deque(self._state.recent, RECENT)

    def update(self, score: float, label: float) -> None:
        """Count one score given before the label; one that cannot be squared is not counted."""
        if not abs(score) < LARGEST:
            return
        state = self._state
        state.examples += 1
        if self._binary:
            loss = -log(max(score if label else 1.0 - score, _FLOOR))
            state.correct += (score >= self._threshold) == bool(label)
            place = min(max(int(score * BINS), 0), BINS - 1)
            (state.trues if label else state.falses)[place] += 1
            self._recent.append(2 * place + bool(label))
        else:
            loss = (score - label) ** 2
            state.absolute += abs(score - label)
        state.loss += loss
        state.decayed_loss = state.decayed_loss * _DECAY + loss
        state.decayed_count = state.decayed_count * _DECAY + 1.0

    def report(self) -> dict[str, float]:
        """Measures by name; one that cannot be told yet is left out."""
        state = self._state
        if not state.examples:
            return {"examples": 0}
        mean, recent = state.loss / state.examples, state.decayed_loss / state.decayed_count
        if not self._binary:
            mae = state.absolute / state.examples
            return {"examples": state.examples, "rmse": mean**0.5, "rmse_recent": recent**0.5, "mae": mae}
        trues, falses = [0] * BINS, [0] * BINS
        for item in self._recent:
            (trues if item % 2 else falses)[item // 2] += 1
        found = {
            "examples": float(state.examples),
            "positive_rate": sum(state.trues) / state.examples,
            "accuracy": state.correct / state.examples,
            "log_loss": mean,
            "log_loss_recent": recent,
            "auc": auc(state.trues, state.falses),
            "auc_recent": auc(trues, falses),
        }
        return {name: value for name, value in found.items() if value is not None}

    def state(self) -> State:
        """For a snapshot."""
        self._state.recent = list(self._recent)
        return self._state


def auc(trues: list[int], falses: list[int]) -> float | None:
    """Area under the ROC curve from counts by ascending score: the share of pairs in the right order, ties half."""
    pairs = sum(trues) * sum(falses)
    if not pairs:
        return None
    below = accumulate(falses, initial=0)
    return sum(true * (2 * lower + false) for true, false, lower in zip(trues, falses, below, strict=False)) / (
        2 * pairs
    )
