"""Target encodings: the exponentially weighted mean of the label per value, as labels arrive.

One table an encoding; one mean a half-life, counted in labels of that value: each label moves the mean by
``1 - 2**(-1 / half_life)`` of the difference. A value seen for the first time starts at the overall mean of the
same half-life, so that rare values are shrunk towards it. The overall mean starts at 0.5 (binary, worth one label)
or at the first label (regression) and is a plain mean until its window is full. A correction counts as a further label
(the one replaced is not taken back: its influence has decayed by an amount that nobody recorded).

After Micci-Barreca, "A preprocessing scheme for high-cardinality categorical attributes" (SIGKDD 2001), over a stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, log

import msgspec

from services.domain.plan import OTHER, EncodingPlan, Features, Key, Plan, key_of

UNIT = 1e6
"""Served values are rounded to six decimals: short in a prediction, and recorded there exactly as served."""
CLIP = 0.02
"""Rates are kept this far from 0 and 1 before the logit."""
LIMIT = floor(log((1.0 - CLIP) / CLIP) * UNIT + 0.5) / UNIT

Rows = dict[str, list[float]]


class Table:
    """One encoding as served: a row of numbers a key, and the row of every key that has none."""

    __slots__ = ("default", "key", "name", "rows")

    def __init__(self, plan: EncodingPlan, key: Key, rows: Rows, default: list[float]) -> None:
        self.name = plan.name
        self.key = key
        self.rows = rows
        self.default = default


class ServedEncodings:
    """The encodings as scoring computes them. Rows are shared, never changed: an update puts a new one."""

    __slots__ = ("tables",)

    def __init__(self, tables: list[Table]) -> None:
        self.tables = tables

    def encode(self, features: Features) -> dict[str, list[float]]:
        """One row of numbers (one a half-life) by encoding; the lists are shared, do not change them."""
        if not self.tables:
            return {}
        return {table.name: table.rows.get(table.key(features), table.default) for table in self.tables}

    def pack(self) -> bytes:
        """As msgpack: by encoding the default row and the rows."""
        return msgspec.msgpack.encode({table.name: (table.default, table.rows) for table in self.tables})

    @classmethod
    def unpack(cls, data: bytes, plan: Plan) -> ServedEncodings:
        """The inverse of :meth:`pack`, for the plan that the encodings were made under."""
        packed = msgspec.msgpack.decode(data, type=dict[str, tuple[list[float], Rows]])
        return cls([
            Table(encoding, key_of(encoding.by, plan.categories), packed[encoding.name][1], packed[encoding.name][0])
            for encoding in plan.encodings
        ])  # fmt: skip


class Overall:
    """The overall means of one set of half-lives, shared by the encodings that have the same."""

    __slots__ = ("count", "means", "prior", "rates")

    def __init__(self, half_lives: tuple[float, ...], *, binary: bool) -> None:
        self.rates = tuple(1.0 - 2.0 ** (-1.0 / half_life) for half_life in half_lives)
        self.count = 0
        self.prior = int(binary)
        self.means = [0.5 * self.prior] * len(half_lives)

    def update(self, label: float) -> None:
        """Move every mean towards the label: a plain mean at first, exponentially weighted once that is slower."""
        self.count += 1
        first = 1.0 / (self.count + self.prior)
        self.means = [
            mean + max(rate, first) * (label - mean) for mean, rate in zip(self.means, self.rates, strict=True)
        ]


class State(msgspec.Struct):
    """What a snapshot keeps: by encoding the overall count and means, and the means by key, in full precision."""

    tables: dict[str, tuple[int, list[float], Rows]]


class Encodings:
    """The encodings' part of the fold over examples."""

    def __init__(self, plan: Plan, state: State | None = None) -> None:
        self._plan = plan
        self._overall: dict[tuple[tuple[float, ...], bool], Overall] = {}
        self._means: list[tuple[EncodingPlan, Overall, Rows]] = []
        self._served = ServedEncodings([])
        self._stale: list[dict[str, None]] = [{} for _ in plan.encodings]
        kept = state.tables if state else {}
        for encoding in plan.encodings:
            self._add(encoding, kept.get(encoding.name))

    def _add(self, encoding: EncodingPlan, kept: tuple[int, list[float], Rows] | None) -> None:
        overall = self._overall.setdefault(
            (encoding.half_lives, encoding.logit), Overall(encoding.half_lives, binary=self._plan.task == "binary")
        )
        means: Rows = {}
        if kept and len(kept[1]) == len(encoding.half_lives):
            overall.count, overall.means, means = kept[0], kept[1], dict(kept[2])
        rows = {key: _served(row, logit=encoding.logit) for key, row in means.items()}
        self._means.append((encoding, overall, means))
        default = rows.get(OTHER) or _served(overall.means, logit=encoding.logit)
        self._served.tables.append(Table(encoding, key_of(encoding.by, self._plan.categories), rows, default))

    def tables(self) -> ServedEncodings:
        """What scoring needs, brought up to date: always the same object, which the next call changes."""
        defaults = {group: _served(overall.means, logit=group[1]) for group, overall in self._overall.items()}
        for (encoding, _, means), table, stale in zip(self._means, self._served.tables, self._stale, strict=True):
            rows = table.rows
            for key in stale:
                rows[key] = _served(means[key], logit=encoding.logit)
            stale.clear()
            table.default = rows.get(OTHER) or defaults[(encoding.half_lives, encoding.logit)]
        return self._served

    def update(self, features: Features, label: float) -> None:
        """Learn one label (a correction too is one)."""
        for (encoding, overall, means), table, stale in zip(self._means, self._served.tables, self._stale, strict=True):
            if not encoding.by:
                continue
            key = table.key(features)
            row = means.get(key)
            if row is None:
                if len(means) >= encoding.max_values:
                    key = OTHER
                row = means.get(key, overall.means)
            means[key] = [mean + rate * (label - mean) for mean, rate in zip(row, overall.rates, strict=True)]
            stale[key] = None
        for overall in self._overall.values():
            overall.update(label)

    def state(self) -> State:
        """For a snapshot: equal states go on equally."""
        return State({
            encoding.name: (overall.count, overall.means, means) for encoding, overall, means in self._means
        })  # fmt: skip

    def replanned(self, plan: Plan) -> Encodings:
        """The same encodings under another plan: known ones keep their means, new ones start."""
        before = {encoding.name: encoding.half_lives for encoding in self._plan.encodings}
        same = {encoding.name for encoding in plan.encodings if before.get(encoding.name) == encoding.half_lives}
        tables = self.state().tables
        return Encodings(plan, State({name: tables[name] for name in same}))


def _served(means: list[float], *, logit: bool) -> list[float]:
    """Rounded half up, by arithmetic: ``round`` takes three times as long."""
    if not logit:
        return [floor(mean * UNIT + 0.5) / UNIT for mean in means]
    return [
        floor(log(mean / (1.0 - mean)) * UNIT + 0.5) / UNIT
        if CLIP < mean < 1.0 - CLIP
        else (-LIMIT if mean <= CLIP else LIMIT)
        for mean in means
    ]


def names(plan: Plan) -> Mapping[str, tuple[str, ...]]:
    """Names of the numbers an encoding yields, by encoding: ``origin+hour@35`` for the half-life of 35 labels."""
    return {e.name: tuple(f"{e.name}@{half_life:g}" for half_life in e.half_lives) for e in plan.encodings}
