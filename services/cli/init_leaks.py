"""Columns that know the label: most of them were filled in after it, and are not there when a prediction is made."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from services.cleaning.core.repair import number
from services.cli.backtest_measures import auc
from services.cli.init_columns import Column

_KNOWS = 0.99
"""Of the area under the ROC curve, or of a correlation."""
_FEW, _LEAST = 50, 50


def tells(column: Column, raw: Sequence[Any], labels: Sequence[bool | float | None]) -> bool:
    """Whether the column alone gives the labels (None: unknown), as nothing does that is known beforehand."""
    pairs = [(value, label) for value, label in zip(raw, labels, strict=True) if label is not None]
    scored = _numbers(pairs) if column.kind == "number" else _means(pairs) if len(column.counts) <= _FEW else []
    if len(scored) < _LEAST:
        return False
    scores, truths = (np.array(side, dtype=np.float64) for side in zip(*scored, strict=True))
    if all(isinstance(label, bool) for _, label in pairs):
        area = auc(scores, truths)
        return area is not None and max(area, 1 - area) >= _KNOWS
    with np.errstate(all="ignore"):
        return bool(scores.std() > 0 and truths.std() > 0 and abs(np.corrcoef(scores, truths)[0, 1]) >= _KNOWS)


def _numbers(pairs: Sequence[tuple[Any, bool | float]]) -> list[tuple[float, float]]:
    return [(found, float(label)) for value, label in pairs if (found := number(value)[0]) is not None]


def _means(pairs: Sequence[tuple[Any, bool | float]]) -> list[tuple[float, float]]:
    by_value: dict[str, list[float]] = defaultdict(list)
    for value, label in pairs:
        by_value[repr(value)].append(float(label))
    return [(sum(labels) / len(labels), label) for labels in by_value.values() for label in labels]
