"""Columns: how features become the numbers that linear models weigh.

*Dense* columns are the numbers and the encoded numbers, standardised by running mean and variance (Welford; River's
``StandardScaler``) and held within ``CLIP`` deviations, so that one value far out (an inch of rain in an hour where
there is nearly never any) does not move every weight; a missing one is 0. *Sparse* columns are one-hot: one a value of a
boolean, a category or a cross (a missing value is a value), one for all values beyond ``max_values``, and one a number
that says it is missing.

The state is a function of the examples alone, so all candidates of a fold share one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite, sqrt

import msgspec

from schemas.events import Value
from services.domain.encodings import names as encoded_names
from services.domain.plan import OTHER, Encoded, Features, Key, Plan, key_of
from services.domain.standardise import CLIP, standardise


class Row(msgspec.Struct, frozen=True, gc=False):
    """One event as models see it: as it came, its dense columns, and which sparse columns are 1."""

    features: Features
    encoded: Encoded
    dense: list[float]
    sparse: list[int]


class State(msgspec.Struct):
    """Columns as written down. ``counts`` and ``variances`` are the learner's; served, the two are empty."""

    plan: Plan
    means: list[float]
    inverse: list[float]
    vocabulary: list[dict[str, int]]
    size: int
    counts: list[int] = []
    variances: list[float] = []


class Moves(msgspec.Struct, frozen=True):
    """Where each column of a new plan was before it (None: nowhere, it is new)."""

    dense: list[int | None]
    sparse: list[int | None]


class Columns:
    """Standardisation and vocabulary of one plan. ``inverse`` holds 1 / deviation, or 0 where nothing varies yet.

    ``fields`` tells the sparse column of an event: the key of its value, that key's column if it has one, the others'
    column; ``encodings`` has the name and the length of each row of encoded numbers.
    """

    __slots__ = (
        "_dense",
        "_encoded",
        "counts",
        "encodings",
        "fields",
        "inverse",
        "means",
        "plan",
        "size",
        "variances",
        "vocabulary",
    )

    def __init__(self, plan: Plan, state: State | None = None) -> None:
        self.plan = plan
        width = len(plan.numbers) + sum(len(encoding.half_lives) for encoding in plan.encodings)
        state = state or State(
            plan, [0.0] * width, [0.0] * width, [{} for _ in plan.fields], len(plan.numbers) + len(plan.fields),
            [0] * width, [0.0] * width,
        )  # fmt: skip
        self.means = state.means
        self.inverse = state.inverse
        self.counts = state.counts
        self.variances = state.variances
        self.vocabulary = state.vocabulary
        self.size = state.size
        # sparse columns start with one a number (missing), then one a field (beyond max_values)
        self.fields: list[tuple[Key, Callable[[str, int], int], int]] = [
            (key_of(field.by, plan.categories), values.get, len(plan.numbers) + index)
            for index, (field, values) in enumerate(zip(plan.fields, self.vocabulary, strict=True))
        ]
        self._encoded: list[tuple[str, int, int]] = []
        start = len(plan.numbers)
        for encoding in plan.encodings:
            self._encoded.append((encoding.name, start, start + len(encoding.half_lives)))
            start += len(encoding.half_lives)
        self.encodings = tuple((name, end - start) for name, start, end in self._encoded)
        self._dense = standardise(plan.numbers, self.encodings)

    def row(self, features: Features, encoded: Encoded) -> Row:
        """Compute a row, learning nothing."""
        sparse = [column(key(features), other) for key, column, other in self.fields]
        try:
            dense = self._dense(features, encoded, self.means, self.inverse, sparse)
        except (KeyError, ValueError):  # made under another plan
            del sparse[len(self.fields) :]
            whole = dict.fromkeys(self.plan.numbers) | dict(features)
            dense = self._dense(whole, self._aligned(encoded), self.means, self.inverse, sparse)
        return Row(features, encoded, dense, sparse)

    def _aligned(self, encoded: Encoded) -> dict[str, list[float]]:
        """The plan's encodings: rows of the same name and length, means for the others."""
        rows = {}
        for name, start, end in self._encoded:
            row = encoded.get(name)
            rows[name] = row if row is not None and len(row) == end - start else self.means[start:end]
        return rows

    def learn(self, features: Features, encoded: Encoded) -> Row | None:
        """Move the standardisation and the vocabulary by one example and compute its row after that.

        None, and nothing learned, when a number is not finite, too large to be squared, or not a number.
        """
        values = self._numbers(features, encoded)
        if values is None:
            return None
        means, variances, counts, inverse = self.means, self.variances, self.counts, self.inverse
        dense = [0.0] * len(values)
        for index, value in enumerate(values):
            if value is None:
                continue
            count = counts[index] = counts[index] + 1
            before = value - means[index]
            mean = means[index] = means[index] + before / count
            after = value - mean
            variance = variances[index]
            variance = variances[index] = variance + (before * after - variance) / count
            if variance > 0.0:
                scale = inverse[index] = 1.0 / sqrt(variance)
                dense[index] = after * scale
        sparse = [self._column(index, key(features)) for index, (key, _, _) in enumerate(self.fields)]
        sparse += [index for index in range(len(self.plan.numbers)) if values[index] is None]
        return Row(features, encoded, _clipped(dense), sparse)

    def _numbers(self, features: Features, encoded: Encoded) -> list[float | None] | None:
        values: list[Value] = [features.get(name) for name in self.plan.numbers]
        for name, start, end in self._encoded:
            numbers = encoded.get(name)
            values += numbers if numbers is not None and len(numbers) == end - start else [None] * (end - start)
        try:
            if isfinite(sum([value * value for value in values if value is not None])):  # type: ignore[operator,misc]
                return values  # type: ignore[return-value]
        except TypeError:
            pass
        return None

    def _column(self, index: int, key: str) -> int:
        values = self.vocabulary[index]
        column = values.get(key)
        if column is None:
            if len(values) >= self.plan.fields[index].max_values:
                return len(self.plan.numbers) + index
            column = values[key] = self.size
            self.size += 1
        return column

    def state(self, *, served: bool = False) -> State:
        """As written down; ``served`` leaves out what only learning needs."""
        state = State(self.plan, self.means, self.inverse, self.vocabulary, self.size)
        if not served:
            state.counts, state.variances = self.counts, self.variances
        return state

    def replanned(self, plan: Plan) -> tuple[Columns, Moves]:
        """These columns under another plan: what has the same name keeps its state."""
        new = Columns(plan)
        old_dense = {name: index for index, name in enumerate(dense_names(self.plan))}
        moves = Moves([old_dense.get(name) for name in dense_names(plan)], [])
        for index, was in enumerate(moves.dense):
            if was is not None:
                new.means[index], new.inverse[index] = self.means[was], self.inverse[was]
                new.counts[index], new.variances[index] = self.counts[was], self.variances[was]
        old_fields = {field.name: index for index, field in enumerate(self.plan.fields)}
        moves.sparse.extend(old_dense.get(name) for name in plan.numbers)
        for field in plan.fields:
            was = old_fields.get(field.name)
            moves.sparse.append(None if was is None else len(self.plan.numbers) + was)
        for index, field in enumerate(plan.fields):
            if field.name in old_fields:
                for key, column in self.vocabulary[old_fields[field.name]].items():
                    if new._column(index, key) == len(moves.sparse):
                        moves.sparse.append(column)
        return new, moves


def _clipped(dense: list[float]) -> list[float]:
    if dense and (max(dense) > CLIP or min(dense) < -CLIP):
        return [CLIP if value > CLIP else max(value, -CLIP) for value in dense]
    return dense


def dense_names(plan: Plan) -> list[str]:
    """Names of the dense columns, in order."""
    return [*plan.numbers, *(name for names in encoded_names(plan).values() for name in names)]


def sparse_names(columns: Columns) -> list[str]:
    """Names of the sparse columns, in order: ``field=value``, ``field=missing``, and ``field=`` with the key of the others."""
    plan = columns.plan
    names = [f"{name}=missing" for name in plan.numbers] + [f"{field.name}={OTHER}" for field in plan.fields]
    names += [""] * (columns.size - len(names))
    for field, values in zip(plan.fields, columns.vocabulary, strict=True):
        for key, column in values.items():
            names[column] = f"{field.name}={key}"
    return names
